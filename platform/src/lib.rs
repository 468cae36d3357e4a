//! The one door to the world: time, chance, disk, objects, HTTP, telemetry, shutdown.
//! Everything else is written so that what comes through here can be staged in a test.

pub mod clock;
pub mod random;
pub mod disk;
#[cfg(feature = "objects")]
pub mod objects;
pub mod telemetry;
pub mod shutdown;
pub mod tls;
#[cfg(feature = "http")]
pub mod http;
