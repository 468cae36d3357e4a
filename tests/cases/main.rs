//! The cases: what the product must do, seen from outside, and the rules the tree must keep.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests fail by panicking, look at what is there, and stage files as they please"
)]

mod tidy;
mod oracle;
mod walk;
mod ingest;
mod kafka;
mod answers;
mod bad_input;
mod bad_disk;
mod access;
mod openapi;
mod command_line;
mod crash;
mod shipper;
mod cluster;
mod spread;
mod random;
mod shipper_disk;
mod shipper_doomed;
mod shipper_edges;
mod shipper_feeds;
mod shipper_front;
mod shipper_faults;
mod shipper_framing;
mod shipper_limits;
mod shipper_model;
mod shipper_operated;
mod shipper_package;
mod shipper_refused;
mod shipper_rotated;
mod shipper_rules;
mod shipper_stopped;
