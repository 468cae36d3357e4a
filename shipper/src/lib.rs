//! Station 1, line → batch: finds files, reads them as they grow, and sends what they say until
//! it is acknowledged. A file is its own buffer: nothing else holds its lines meanwhile.

pub mod config;
mod settings;
mod fetched;
pub mod files;
mod recipe;
mod braces;
mod doubt;
mod discover;
mod rotation;
mod watch;
mod descriptors;
mod source;
mod identity;
mod origin;
mod frame;
mod parse;
mod shape;
mod effort;
mod pack;
mod send;
mod checkpoint;
mod tail;
mod import;
mod status;
pub mod operate;
pub mod figures;
pub mod feed;
pub mod journal;
mod metrics;
mod fill;
pub mod probe;
#[cfg(test)]
mod receiver;

pub use config::{Config, ConfigError, StartAt, Until};
pub use effort::Compression;
pub use fetched::Fetched;
pub use import::{ImportError, Imported, Progress, import};
pub use send::{Balance, HttpVersion, TargetError, Tls, masked};
pub use settings::{Settings, SettingsError};
pub use status::{Control, FileState, FileStatus, Handle, Report, ShipperError};
pub use tail::Shipper;
