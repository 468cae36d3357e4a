//! Aggregations over real records.

mod few;
mod kinds;
mod pipelines;
mod times;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::elastic::router;
use crate::elastic::tests::{ask, post, small};
use crate::fixture::{Fixture, Rest};

async fn check(app: &axum::Router, aggs: Value, expected: Value) {
    let answer = post(app, "/es/main/_search", json!({ "size": 0, "aggs": aggs })).await;
    assert_eq!(answer["aggregations"], expected, "{aggs}");
}

fn keys(members: &Value) -> Vec<&String> {
    members.as_object().unwrap().keys().collect()
}

fn buckets(pairs: &[(Value, u64)]) -> Value {
    let bucket = |(key, count): &(Value, u64)| json!({ "key": key, "doc_count": count });
    pairs.iter().map(bucket).collect()
}

#[tokio::test]
async fn buckets_hold_what_they_say() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = small(rest).await;
        let terms = buckets(&[(json!(200), 2), (json!(404), 1)]);
        check(&app, json!({"a": {"terms": {"field": "status", "size": 2}}}),
            json!({"a": {"doc_count_error_upper_bound": 0, "sum_other_doc_count": 2, "buckets": terms}})).await;
        let levels = buckets(&[
            (json!("error"), 2),
            (json!("fatal"), 1),
            (json!("info"), 3),
            (json!("warn"), 1),
        ]);
        check(&app, json!({"a": {"terms": {"field": "level", "order": {"_key": "asc"}}}}),
            json!({"a": {"doc_count_error_upper_bound": 0, "sum_other_doc_count": 0, "buckets": levels}})).await;
        let day = |key: i64, text: &str, count: u64| json!({"key_as_string": text, "key": key, "doc_count": count});
        check(&app, json!({"a": {"date_histogram": {"field": "@timestamp", "calendar_interval": "day", "format": "yyyy-MM-dd",
                "extended_bounds": {"min": "2025-12-31", "max": "2026-01-02"}}}}),
            json!({"a": {"buckets": [day(1_767_139_200_000, "2025-12-31", 0), day(1_767_225_600_000, "2026-01-01", 7), day(1_767_312_000_000, "2026-01-02", 1)]}})).await;
        let minute = |key: i64, count: u64| json!({"key_as_string": key.to_string(), "key": key, "doc_count": count});
        check(&app, json!({"a": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1m", "min_doc_count": 1, "format": "epoch_millis"}}}),
            json!({"a": {"buckets": [minute(1_767_225_600_000, 5), minute(1_767_225_660_000, 1), minute(1_767_225_720_000, 1), minute(1_767_312_000_000, 1)]}})).await;
        let steps =
            buckets(&[(json!(200.0), 2), (json!(300.0), 0), (json!(400.0), 1), (json!(500.0), 2)]);
        check(
            &app,
            json!({"a": {"histogram": {"field": "status", "interval": 100}}}),
            json!({"a": {"buckets": steps}}),
        )
        .await;
        check(&app, json!({"a": {"range": {"field": "status", "ranges": [{"to": 300}, {"from": 300, "key": "bad"}]}}}),
            json!({"a": {"buckets": [{"key": "*-300.0", "to": 300.0, "doc_count": 2}, {"key": "bad", "from": 300.0, "doc_count": 3}]}})).await;
        check(&app, json!({"a": {"filters": {"filters": {"get": {"match": {"message": "get"}}, "job": {"term": {"host": "job1"}}}}, "aggs": {"took": {"max": {"field": "took"}}}}}),
            json!({"a": {"buckets": {"get": {"doc_count": 4, "took": {"value": 2.0}}, "job": {"doc_count": 3, "took": {"value": 7.0}}}}})).await;
        check(&app, json!({"a": {"missing": {"field": "status"}}, "b": {"cardinality": {"field": "status"}}, "c": {"value_count": {"field": "took"}}}),
            json!({"a": {"doc_count": 3}, "b": {"value": 4}, "c": {"value": 4}})).await;
    }
}

/// Records with lists: repeated values, single ones, none, and values of two types.
async fn with_lists(rest: Rest) -> (Fixture, axum::Router) {
    let fixture = Fixture::new(rest);
    let records = [
        json!({"ts":"2026-01-01T00:00:01Z","msg":"one","tags":["a","b","a"],"sizes":[1,2,2],"took":1}),
        json!({"ts":"2026-01-01T00:00:02Z","msg":"two","tags":["b"],"sizes":[10],"took":2}),
        json!({"ts":"2026-01-01T00:00:03Z","msg":"three","tags":"c","took":4}),
        json!({"ts":"2026-01-01T00:00:04Z","msg":"four","mixed":[7,"x"],"took":8}),
    ];
    fixture.append(0, &[("host", "web1")], records.map(|line| line.to_string())).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = router(fixture.engine.clone());
    (fixture, app)
}

#[tokio::test]
async fn every_value_of_a_list_counts() {
    let keys = |pairs: &[(&str, u64)]| {
        let pairs: Vec<_> = pairs.iter().map(|(key, count)| (json!(key), *count)).collect();
        json!({"doc_count_error_upper_bound": 0, "sum_other_doc_count": 0, "buckets": buckets(&pairs)})
    };
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = with_lists(rest).await;
        let terms = |field: &str| json!({"terms": {"field": field}});
        check(&app, json!({"a": terms("tags"), "b": terms("mixed"), "c": {"cardinality": {"field": "tags"}}, "d": {"value_count": {"field": "tags"}}}),
            json!({"a": keys(&[("b", 2), ("a", 1), ("c", 1)]), "b": keys(&[("7", 1), ("x", 1)]), "c": {"value": 3}, "d": {"value": 4}})).await;
        check(&app, json!({"a": {"stats": {"field": "sizes"}}, "b": {"percentiles": {"field": "sizes", "percents": [100]}}, "c": {"cardinality": {"field": "sizes"}}, "d": {"avg": {"field": "took"}}}),
            json!({"a": {"count": 4, "min": 1.0, "max": 10.0, "avg": 3.75, "sum": 15.0}, "b": {"values": {"100.0": 10.0}}, "c": {"value": 3}, "d": {"value": 3.75}})).await;
        // A record counts once in a step, however many of its values are in it.
        check(&app, json!({"a": {"histogram": {"field": "sizes", "interval": 5}, "aggs": {"t": {"sum": {"field": "took"}}, "s": {"sum": {"field": "sizes"}}}}}),
            json!({"a": {"buckets": [
                {"key": 0.0, "doc_count": 1, "t": {"value": 1.0}, "s": {"value": 5.0}},
                {"key": 5.0, "doc_count": 0, "t": {"value": 0.0}, "s": {"value": 0.0}},
                {"key": 10.0, "doc_count": 1, "t": {"value": 2.0}, "s": {"value": 10.0}}]}})).await;
        let inner = |key: &str, count: u64, sum: f64, pairs: &[(&str, u64)]| json!({"key": key, "doc_count": count, "s": {"value": sum}, "again": keys(pairs)});
        check(&app, json!({"a": {"terms": {"field": "tags"}, "aggs": {"s": {"sum": {"field": "sizes"}}, "again": terms("tags")}}}),
            json!({"a": {"doc_count_error_upper_bound": 0, "sum_other_doc_count": 0, "buckets": [
                inner("b", 2, 15.0, &[("b", 2), ("a", 1)]), inner("a", 1, 5.0, &[("a", 1), ("b", 1)]), inner("c", 1, 0.0, &[("c", 1)])]}})).await;
        let composite =
            json!({"a": {"composite": {"sources": [{"t": {"terms": {"field": "tags"}}}]}}});
        let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": composite})).await;
        let found: Vec<_> = answer["aggregations"]["a"]["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bucket| {
                (bucket["key"]["t"].as_str().unwrap(), bucket["doc_count"].as_u64().unwrap())
            })
            .collect();
        assert_eq!(found, [("a", 1), ("b", 2), ("c", 1)]);
        let top = json!({"a": {"terms": {"field": "tags"}, "aggs": {"h": {"top_hits": {"size": 1, "_source": ["tags"]}}}}});
        let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": top})).await;
        let first = |at: usize| {
            answer["aggregations"]["a"]["buckets"][at]["h"]["hits"]["hits"][0]["_source"].clone()
        };
        assert_eq!([first(0), first(1)], [json!({"tags": "b"}), json!({"tags": ["a", "b", "a"]})]);
    }
}

#[tokio::test]
async fn figures_are_those_of_their_records() {
    let (_fixture, app) = small(Rest::Splits).await;
    // 0.5, 2, 7 and 3.
    check(&app, json!({"a": {"stats": {"field": "took"}}, "p": {"percentiles": {"field": "took", "percents": [50, 100]}}, "s": {"sum": {"field": "none"}}, "m": {"avg": {"field": "took", "missing": 0}}}),
        json!({"a": {"count": 4, "min": 0.5, "max": 7.0, "avg": 3.125, "sum": 12.5}, "p": {"values": {"50.0": 2.5, "100.0": 7.0}}, "s": {"value": 0.0}, "m": {"value": 1.5625}})).await;
    let formatted =
        json!({"size": 0, "aggs": {"t": {"max": {"field": "@timestamp", "format": "yyyy-MM-dd"}}}});
    let answer = post(&app, "/es/main/_search", formatted).await;
    assert_eq!(answer["aggregations"]["t"]["value_as_string"], "2026-01-02");
    let refused = json!({"aggs": {"a": {"avg": {"field": "took", "format": "0.0"}}}}).to_string();
    let (status, answer) = ask(&app, "POST", "/es/main/_search", &refused).await;
    assert_eq!(status.as_u16(), 400, "{answer}");
    let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": {"a": {"extended_stats": {"field": "took"}}, "t": {"max": {"field": "@timestamp"}}}})).await;
    let variance = answer["aggregations"]["a"]["variance"].as_f64().unwrap();
    assert!((variance - 5.796_875).abs() < 1e-9, "{answer}");
    assert_eq!(
        answer["aggregations"]["t"],
        json!({"value": 1_767_312_000_000.0, "value_as_string": "2026-01-02T00:00:00.000Z"})
    );
}

#[tokio::test]
async fn aggregations_stand_inside_each_other() {
    let (_fixture, app) = small(Rest::Splits).await;
    let aggs = json!({"host": {"terms": {"field": "host", "order": {"most": "desc"}}, "aggs": {
        "most": {"max": {"field": "took"}},
        "by": {"date_histogram": {"field": "@timestamp", "fixed_interval": "12h"}, "aggs": {"s": {"avg": {"field": "status"}}}},
        "last": {"top_hits": {"size": 1, "_source": ["message"]}},
    }}});
    let answer = post(&app, "/es/main/_search", json!({ "size": 0, "aggs": aggs })).await;
    let hosts = answer["aggregations"]["host"]["buckets"].as_array().unwrap().clone();
    assert_eq!(hosts.len(), 2);
    assert_eq!(
        (&hosts[0]["key"], &hosts[0]["doc_count"], &hosts[0]["most"]["value"]),
        (&json!("job1"), &json!(3), &json!(7.0))
    );
    let halves = hosts[0]["by"]["buckets"].as_array().unwrap();
    let counts: Vec<&Value> = halves.iter().map(|half| &half["doc_count"]).collect();
    assert_eq!(counts, [&json!(2), &json!(0), &json!(1)]);
    assert_eq!(halves[1]["s"]["value"], Value::Null);
    assert_eq!(hosts[0]["last"]["hits"]["hits"][0]["_source"]["message"], "disk full");
    assert_eq!(hosts[1]["last"]["hits"]["hits"][0]["_source"]["message"], "GET /d");
    assert_eq!(hosts[1]["last"]["hits"]["total"]["value"], 5);
}

#[tokio::test]
async fn composite_buckets_come_page_by_page() {
    let (_fixture, app) = small(Rest::Splits).await;
    let (mut found, mut after) = (Vec::new(), Value::Null);
    loop {
        let sources = json!([{"host": {"terms": {"field": "host", "order": "desc"}}}, {"day": {"date_histogram": {"field": "@timestamp", "calendar_interval": "1d"}}}]);
        let mut composite = json!({"size": 2, "sources": sources});
        if !after.is_null() {
            composite["after"] = after;
        }
        let answer = post(
            &app,
            "/es/main/_search",
            json!({"size": 0, "aggs": {"c": {"composite": composite}}}),
        )
        .await;
        let page = answer["aggregations"]["c"].clone();
        let Some(list) = page["buckets"].as_array().filter(|list| !list.is_empty()) else { break };
        found.extend(
            list.iter().map(|bucket| (bucket["key"]["host"].clone(), bucket["doc_count"].clone())),
        );
        after = page["after_key"].clone();
    }
    let expected =
        [("web1", 5), ("job1", 2), ("job1", 1)].map(|(host, count)| (json!(host), json!(count)));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn what_aggregations_cannot_do_is_named() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (aggs, word) in [
        (json!({"a": {"geohash_grid": {"field": "x"}}}), "geohash_grid"),
        (json!({"a": {"terms": {"field": "x", "script": "1"}}}), "script"),
        (json!({"a": {"terms": {"field": "x", "order": {"nope": "asc"}}}}), "nope"),
        (json!({"a": {"date_histogram": {"field": "@timestamp"}}}), "fixed_interval"),
        (json!({"a": {"terms": {"field": "x", "min_doc_count": 0}}}), "min_doc_count"),
        (json!({"a": {"histogram": {"field": "x", "interval": 1, "offset": "far"}}}), "offset"),
        (
            json!({"a": {"composite": {"sources": [{"x": {"terms": {"field": "x", "missing_order": "middle"}}}]}}}),
            "missing_order",
        ),
        (
            json!({"a": {"composite": {"sources": [{"x": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1h", "format": "yyyy-MM"}}}], "after": {"x": "2026-01-05"}}}}),
            "after",
        ),
        (
            json!({"a": {"composite": {"sources": [{"x": {"terms": {"field": "x"}}, "y": {"terms": {"field": "y"}}}]}}}),
            "sources",
        ),
        (
            json!({"a": {"composite": {"sources": [{"x": {"terms": {"field": "x"}}}, {"x": {"terms": {"field": "y"}}}]}}}),
            "duplicates",
        ),
        (
            json!({"a": {"composite": {"sources": [{"x": {"terms": {"field": "x"}}}], "after": {"x": 1, "y": 2}}}}),
            "[after] has 2",
        ),
        (json!({"a": {"extended_stats": {"field": "x", "sigma": -1}}}), "sigma"),
        (json!({"a": {"avg": {"field": "x", "missing": "none"}}}), "is no number"),
        (json!({"a": {"max": {"field": "@timestamp", "missing": "2026-01-01"}}}), "is no number"),
        (json!({"a": {"extended_stats": {"field": "x", "sigma": "wide"}}}), "sigma"),
        (
            json!({"a": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1ms", "extended_bounds": {"min": 0, "max": "now"}}}}),
            "too many buckets",
        ),
        (
            json!({"a": {"avg": {"field": "x"}, "aggs": {"b": {"avg": {"field": "y"}}}}}),
            "sub-aggregations",
        ),
    ] {
        let (status, answer) =
            ask(&app, "POST", "/es/_search", &json!({"aggs": aggs}).to_string()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{aggs}: {answer}");
        let reason = answer["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(word), "{aggs}: {reason}");
    }
}

#[tokio::test]
async fn grafana_gets_what_its_source_asks() {
    let (_fixture, app) = small(Rest::Splits).await;
    let header =
        json!({"ignore_unavailable": true, "index": "main", "search_type": "query_then_fetch"});
    let range = json!({"range": {"@timestamp": {"gte": 1_767_225_600_000_i64, "lte": 1_767_225_720_000_i64, "format": "epoch_millis"}}});
    let text = |query: &str| json!({"query_string": {"analyze_wildcard": true, "query": query}});
    let query = |text: Value| json!({"bool": {"filter": [range.clone(), text]}});
    let logs = json!({
        "query": query(text("failed")), "size": 500, "sort": {"@timestamp": {"order": "desc", "unmapped_type": "boolean"}, "_doc": {"order": "desc"}},
        "docvalue_fields": ["@timestamp"], "script_fields": {}, "fields": [{"field": "@timestamp", "format": "strict_date_optional_time_nanos"}],
        "highlight": {"fields": {"*": {}}, "pre_tags": ["@HIGHLIGHT@"], "post_tags": ["@/HIGHLIGHT@"], "fragment_size": 2_147_483_647},
    });
    let chart = json!({"query": query(text("*")), "size": 0, "aggs": {"3": {"terms": {"field": "host", "size": "10", "min_doc_count": "1", "order": {"_term": "desc"}}, "aggs": {"2": {"date_histogram": {
        "field": "@timestamp", "min_doc_count": 0, "fixed_interval": "60s", "extended_bounds": {"min": 1_767_225_600_000_i64, "max": 1_767_225_720_000_i64}, "format": "epoch_millis"}}}}}});
    let wrong = json!({"aggs": {"1": {"derivative": {"buckets_path": "3"}}}});
    let body = format!("{header}\n{logs}\n{header}\n{chart}\n{header}\n{wrong}\n");
    let (status, answer) =
        ask(&app, "POST", "/es/_msearch?max_concurrent_shard_requests=5", &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let hit = &answer["responses"][0]["hits"]["hits"][0];
    assert_eq!(hit["highlight"]["message"], json!(["GET /b @HIGHLIGHT@failed@/HIGHLIGHT@"]));
    assert_eq!(hit["sort"][0], json!(1_767_225_603_000_i64));
    let hosts = &answer["responses"][1]["aggregations"]["3"]["buckets"];
    let counts: Vec<u64> = hosts[0]["2"]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["doc_count"].as_u64().unwrap())
        .collect();
    assert_eq!((hosts[0]["key"].as_str(), counts), (Some("web1"), vec![3, 1, 1]));
    assert_eq!(answer["responses"][2]["status"], 400);
    let (_, mapping) = ask(&app, "GET", "/es/main/_mapping", "").await;
    let properties = &mapping["main"]["mappings"]["properties"];
    assert_eq!(
        (&properties["@timestamp"]["type"], &properties["status"]["type"]),
        (&json!("date"), &json!("long"))
    );
    assert_eq!(properties["user"]["properties"]["name"]["type"], "keyword");
    let (_, caps) = ask(&app, "GET", "/es/main/_field_caps?fields=@timestamp", "").await;
    assert_eq!(caps["fields"]["@timestamp"]["date"]["searchable"], true);
    let (_, cat) = ask(&app, "GET", "/es/_cat/indices?format=json&h=index,docs.count", "").await;
    assert_eq!(
        cat,
        json!([{"index": "logs-other", "docs.count": "1"}, {"index": "main", "docs.count": "8"}])
    );
    let (_, found) = ask(&app, "GET", "/es/_resolve/index/logs-*", "").await;
    assert_eq!(found["indices"][0]["name"], "logs-other");
}

#[tokio::test]
async fn typed_keys_name_the_types() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let body = json!({"size": 0, "aggs": {
        "hosts": {"terms": {"field": "host"}, "aggs": {"p": {"percentiles": {"field": "took", "percents": [50]}}}},
        "codes": {"terms": {"field": "status"}},
        "none": {"terms": {"field": "nothing"}},
        "bad": {"filter": {"term": {"level": "error"}}, "aggs": {"most": {"max": {"field": "took"}}}},
    }});
    let answer = post(&app, "/es/main/_search?typed_keys=true", body).await;
    let found = &answer["aggregations"];
    let names = ["sterms#hosts", "lterms#codes", "umterms#none", "filter#bad"];
    assert_eq!(keys(found), names);
    let bucket = &found["sterms#hosts"]["buckets"][0];
    assert!(bucket.get("tdigest_percentiles#p").is_some(), "{bucket}");
    assert_eq!(found["filter#bad"]["max#most"]["value"], 7.0);
}
