//! Batch → partition: the doors, admission, routing, and the durable ordered queue behind them.

pub mod metrics;
pub mod doors;
pub mod route;
pub mod partition;
pub mod replica;
pub mod fleet;
#[cfg(test)]
mod sim;
