//! Station 1, line → batch: finds files, reads them as they grow, and sends what they say until
//! it is acknowledged. A file is its own buffer: nothing else holds its lines meanwhile.

pub mod config;
mod discover;
mod watch;
mod source;
mod identity;
mod frame;
mod parse;
mod pack;
mod send;
mod checkpoint;
mod tail;
mod import;
mod status;
mod metrics;
#[cfg(test)]
mod receiver;

pub use config::{Config, ConfigError, StartAt, Until};
pub use import::{ImportError, Imported, Progress, import};
pub use status::{Handle, ShipperError};
pub use tail::Shipper;
