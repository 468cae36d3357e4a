//! The sawlog binary.
fn main() {}
