//! Queries and options of kinds that few clients send.

use axum::http::StatusCode;
use serde_json::json;

use super::{ask, found, post, small};
use crate::fixture::Rest;

#[tokio::test]
async fn a_text_is_looked_for_in_several_fields() {
    let (_fixture, app) = small(Rest::Splits).await;
    let fields = json!(["message", "user.name^3"]);
    for (query, kind, expected) in [
        ("failed disk", "phrase", vec!["job failed: disk quota"]),
        ("disk failed", "phrase", vec![]),
        ("alice smith", "phrase", vec!["GET /c"]),
        ("failed di", "phrase_prefix", vec!["job failed: disk quota"]),
        ("ali", "phrase_prefix", vec!["GET /c", "GET /a"]),
    ] {
        let query = json!({"multi_match": {"query": query, "type": kind, "fields": fields}});
        assert_eq!(found(&app, query.clone()).await, expected, "{query}");
    }
    // Each word may be in another field.
    for (operator, expected) in
        [("and", vec!["slow answer"]), ("or", vec!["slow answer", "GET /a"])]
    {
        let words = if operator == "and" { "bob slow" } else { "slow a" };
        let query = json!({"multi_match": {
            "query": words, "type": "cross_fields", "operator": operator, "fields": fields,
        }});
        assert_eq!(found(&app, query.clone()).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_hit_shows_what_it_is_asked_for() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let source = json!({"includes": ["user", "status", "took"], "excludes": ["took", "user.n*"]});
    let body = json!({
        "query": {"term": {"status": 200}}, "sort": "took", "_source": source,
        "version": true, "seq_no_primary_term": true,
    });
    let hit = post(&app, "/es/main/_search", body).await["hits"]["hits"][0].clone();
    assert_eq!(hit["_source"], json!({"status": 200}));
    assert_eq!(
        [&hit["_version"], &hit["_seq_no"], &hit["_primary_term"]],
        [&json!(1), &json!(0), &json!(1)]
    );
    let path = "/es/main/_search?_source_excludes=message,@timestamp,user&q=status:503";
    let (status, answer) = ask(&app, "GET", path, "").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let hit = &answer["hits"]["hits"][0];
    let rest = json!({"level": "error", "status": 503, "took": 2, "host": "web1"});
    assert_eq!((&hit["_source"], hit.get("_version")), (&rest, None));
}
