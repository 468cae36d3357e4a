//! Whatever is sent, the node answers.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ask, small};
use crate::fixture::Rest;

/// Words of queries.
const WORDS: &[&str] = &[
    "query",
    "bool",
    "must",
    "should",
    "match",
    "term",
    "terms",
    "range",
    "gte",
    "lt",
    "message",
    "status",
    "@timestamp",
    "query_string",
    "fields",
    "exists",
    "field",
    "regexp",
    "wildcard",
    "value",
    "sort",
    "_doc",
    "size",
    "from",
    "search_after",
    "_source",
    "ids",
    "values",
    "highlight",
    "severity",
    "msg",
    "ts",
    "mode",
    "after",
    "missing_bucket",
    "offset",
    "extended_bounds",
    "pit",
    "id",
    "minimum_should_match",
    "aggs",
    "date_histogram",
    "fixed_interval",
    "calendar_interval",
    "cardinality",
    "composite",
    "sources",
    "filters",
    "top_hits",
    "percentiles",
    "order",
    "_count",
    "1d",
    "now-1d/d",
    "*",
    "a AND (b OR",
    "[a",
    "-1",
    "",
];

/// JSON that looks more or less like a query.
fn anything() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(WORDS);
    let leaf = prop_oneof![
        word.clone().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..4)
                .prop_map(|members| members.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()),
        ]
    })
}

#[test]
fn no_body_panics_or_breaks_the_node() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (_fixture, app) = runtime.block_on(small(Rest::Splits));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(300));
    let ran = runner.run(&anything(), |body| {
        let bodies = [json!({ "query": body }), json!({ "aggs": { "a": body } }), body];
        for body in bodies {
            let (status, answer) =
                runtime.block_on(ask(&app, "POST", "/es/_search", &body.to_string()));
            prop_assert!(!status.is_server_error(), "{body}: {answer}");
        }
        Ok(())
    });
    ran.unwrap();
}
