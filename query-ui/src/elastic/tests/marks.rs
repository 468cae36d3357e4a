//! Marks in the texts of hits.

use axum::Router;
use serde_json::{Value, json};

use super::super::router;
use super::post;
use crate::fixture::{Fixture, Rest};

async fn noted() -> (Fixture, Router) {
    let fixture = Fixture::new(Rest::Fresh);
    let long = format!("beta {} beta beta", "x ".repeat(200));
    let record = json!({
        "msg": "one two", "tags": ["alpha beta", "beta", "gamma", 7],
        "note": "<b>beta</b>", "long": long,
    });
    fixture.append(0, &[], [record.to_string()]).await;
    let app = router(fixture.engine.clone());
    (fixture, app)
}

async fn check(app: &Router, field: &str, highlight: Value, expected: Value) {
    let body = json!({"query": {"match": {field: "beta"}}, "highlight": highlight});
    let answer = post(app, "/es/main/_search", body).await;
    assert_eq!(answer["hits"]["hits"][0]["highlight"], expected, "{highlight}");
}

#[tokio::test]
async fn every_value_of_a_list_is_marked() {
    let (_fixture, app) = noted().await;
    let both = json!(["alpha <em>beta</em>", "<em>beta</em>"]);
    check(&app, "tags", json!({"fields": {"tags": {}}}), json!({"tags": both})).await;
    let first = json!({"fields": {"tags": {"number_of_fragments": 1}}});
    check(&app, "tags", first, json!({"tags": ["alpha <em>beta</em>"]})).await;
    let whole = json!({"fields": [{"tags": {}}], "number_of_fragments": 0});
    check(&app, "tags", whole, json!({"tags": both})).await;
}

#[tokio::test]
async fn options_of_a_field_come_before_those_of_all() {
    let (_fixture, app) = noted().await;
    let tags = json!({
        "pre_tags": ["<"], "post_tags": [">"], "encoder": "html", "type": "plain",
        "fields": {"note": {"pre_tags": ["["], "post_tags": ["]"]}},
    });
    check(&app, "note", tags, json!({"note": ["&lt;b&gt;[beta]&lt;&#x2F;b&gt;"]})).await;
    let unmarked = json!({"fields": {"tags": {}, "message": {"no_match_size": 3}, "note": {}}});
    let expected = json!({"tags": ["alpha <em>beta</em>", "<em>beta</em>"], "message": ["one"]});
    check(&app, "tags", unmarked, expected).await;
    let any = json!({"require_field_match": false, "fields": {"note": {}}});
    check(&app, "tags", any, json!({"note": ["<b><em>beta</em></b>"]})).await;
    for (order, expected) in [("none", 1), ("score", 2)] {
        let fields = json!({"long": {"order": order, "number_of_fragments": 1}});
        let body = json!({"query": {"match": {"long": "beta"}}, "highlight": {"fields": fields}});
        let answer = post(&app, "/es/main/_search", body).await;
        let marked = answer["hits"]["hits"][0]["highlight"]["long"].clone();
        let marks = marked[0].as_str().unwrap().matches("<em>").count();
        assert_eq!((marks, marked.as_array().unwrap().len()), (expected, 1), "{marked}");
    }
}
