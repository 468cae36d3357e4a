//! Split → answer: the language, the plan on DataFusion, the HTTP API and the page.

pub mod metrics;
pub mod language;
pub mod plan;
pub mod api;
mod elastic;
mod loki;
pub mod ui;

#[cfg(test)]
mod fixture;
