//! The nouns of Sawlog: values, formats and limits. Nothing here waits, reads a clock or touches a disk.

pub mod time;
pub mod zone;
pub mod level;
pub mod text;
pub mod quantity;
pub mod number;
pub mod stream;
pub mod record;
pub mod json;
pub mod syslog;
pub mod batch;
pub mod codec;
pub mod partition;
pub mod node;
pub mod split;
pub mod query;
pub mod deletion;
pub mod limits;
pub mod wire;
pub mod error;
