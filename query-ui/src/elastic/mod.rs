//! The read side of Elasticsearch, under `/es`: its searches lowered onto our own plan, its
//! answers (docs/elastic.md). The write side is a door of `ingest`.

mod refusal;
mod names;
mod dates;
mod dated;
mod values;
mod levels;
mod taken;
mod clause;
mod range;
mod dsl;
mod regexp;
mod lucene;
mod simple;
mod missing;
mod sort;
mod numbered;
mod hits;
mod highlight;
mod pages;
mod search;
mod aggs;
mod request;
mod msearch;
mod documents;
mod aliases;
mod catalog;
mod cat;
mod routes;

pub(crate) use routes::router;

#[cfg(test)]
mod tests;
