//! What the tests stand on: the oracle, seeded material, and real processes to ask.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, look at what is there, and stage files as they please"
)]

pub mod chance;
pub mod wait;
pub mod oracle;
pub mod material;
pub mod corpus;
pub mod records;
pub mod questions;
pub mod process;
pub mod client;
pub mod links;
pub mod load;
pub mod cluster;
pub mod preload;
pub mod disks;
pub mod power;
pub mod clocks;
pub mod chaos;
pub mod measure;
pub mod scene;
pub mod grpc;
pub mod wires;
