//! The read side of Loki, under `/loki/api/v1`: LogQL lowered onto our own plan, its answers
//! (docs/loki.md). The write side is a door of `ingest`.

mod ast;
mod lex;
mod template;
mod parse;
mod members;
mod stages;
mod asked;
mod lower;
mod filters;
mod lines;
mod figures;
mod series;
mod catalog;
mod detected;
mod socket;
mod tenant;
mod tail;
mod routes;

pub(crate) use routes::router;
pub(crate) use tail::Tails;

#[cfg(test)]
mod tests;
