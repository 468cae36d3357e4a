//! Few of more groups than an answer may have.

use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::elastic::aggs::BUCKETS_MAX;
use crate::elastic::router;
use crate::elastic::tests::{ask, post};
use crate::fixture::{Fixture, Rest};

/// Clients beyond the bound, each with one record; of each of the last three there are more.
const CLIENTS: usize = BUCKETS_MAX + 500;

async fn crowd(rest: Rest) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let record = |client: usize, took: usize| {
        json!({"ts": "2026-01-01T00:00:01Z", "msg": "x", "client": format!("c{client:05}"), "took": took}).to_string()
    };
    let lines = (0..CLIENTS).map(|client| record(client, 1));
    fixture.append(0, &[("host", "web1")], lines).await;
    let more = (1..=3).flat_map(|nth| (0..nth * 2).map(move |took| record(CLIENTS - nth, took)));
    fixture.append(1, &[("host", "web2")], more).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = router(fixture.engine.clone());
    (fixture, app)
}

fn name(client: usize) -> String {
    format!("c{client:05}")
}

async fn found(app: &Router, aggs: Value) -> Value {
    post(app, "/es/main/_search", json!({"size": 0, "aggs": {"a": aggs}})).await["aggregations"]["a"].clone()
}

#[tokio::test]
async fn the_first_of_very_many_terms_are_found() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = crowd(rest).await;
        let pairs = |answer: &Value| -> Vec<(String, u64)> {
            let list = answer["buckets"].as_array().unwrap();
            list.iter()
                .map(|b| (b["key"].as_str().unwrap().to_owned(), b["doc_count"].as_u64().unwrap()))
                .collect()
        };
        let top = found(&app, json!({"terms": {"field": "client", "size": 4}})).await;
        let last = |nth: usize, count: u64| (name(CLIENTS - nth), count);
        assert_eq!(pairs(&top), [last(3, 7), last(2, 5), last(1, 3), (name(0), 1)], "{rest:?}");
        assert_eq!(top["sum_other_doc_count"], CLIENTS - 4, "{rest:?}");
        assert_eq!(top["doc_count_error_upper_bound"], 0);
        let by_key = json!({"terms": {"field": "client", "size": 2, "order": {"_key": "desc"}, "exclude": [name(CLIENTS - 1)]}});
        let by_key = found(&app, by_key).await;
        assert_eq!(pairs(&by_key), [last(2, 5), last(3, 7)], "{rest:?}");
        assert_eq!(by_key["sum_other_doc_count"], CLIENTS - 3, "{rest:?}");
        let often = json!({"terms": {"field": "client", "min_doc_count": 4, "include": "c.*"}});
        let often = found(&app, often).await;
        assert_eq!(
            (pairs(&often), &often["sum_other_doc_count"]),
            (vec![last(3, 7), last(2, 5)], &json!(0))
        );
        let inner = json!({"terms": {"field": "client", "size": 2}, "aggs": {
            "took": {"sum": {"field": "took"}},
            "hosts": {"terms": {"field": "host"}},
            "last": {"top_hits": {"size": 1, "_source": ["client"]}},
        }});
        let inner = found(&app, inner).await;
        let first = &inner["buckets"][0];
        assert_eq!(pairs(&inner), [last(3, 7), last(2, 5)]);
        // One, and 0 to 5.
        assert_eq!(first["took"]["value"], 16.0);
        let hosts = json!([{"key": "web2", "doc_count": 6}, {"key": "web1", "doc_count": 1}]);
        assert_eq!(first["hosts"]["buckets"], hosts);
        assert_eq!(first["last"]["hits"]["hits"][0]["_source"]["client"], name(CLIENTS - 3));
        assert_eq!(first["last"]["hits"]["total"]["value"], 7);
        let both =
            json!({"multi_terms": {"terms": [{"field": "client"}, {"field": "host"}], "size": 1}});
        assert_eq!(
            found(&app, both).await["buckets"][0]["key"],
            json!([name(CLIENTS - 3), "web2"])
        );
        let few = json!({"filter": {"term": {"host": "web1"}}, "aggs": {"t": {"terms": {"field": "client", "size": 1}}}});
        assert_eq!(found(&app, few).await["t"]["sum_other_doc_count"], CLIENTS - 1);
    }
}

#[tokio::test]
async fn very_many_keys_come_page_by_page() {
    let (_fixture, app) = crowd(Rest::Splits).await;
    for aggs in [json!({}), json!({"took": {"sum": {"field": "took"}}})] {
        let (mut clients, mut sums, mut after) = (Vec::new(), 0.0, Value::Null);
        loop {
            let sources = json!([{"client": {"terms": {"field": "client", "order": "desc"}}}]);
            let mut composite = json!({"size": 700, "sources": sources});
            if !after.is_null() {
                composite["after"] = after;
            }
            let page = found(&app, json!({"composite": composite, "aggs": aggs})).await;
            let list = page["buckets"].as_array().unwrap();
            clients.extend(list.iter().map(|b| b["key"]["client"].as_str().unwrap().to_owned()));
            sums += list.iter().filter_map(|b| b["took"]["value"].as_f64()).sum::<f64>();
            match page.get("after_key") {
                Some(key) => after = key.clone(),
                None => break,
            }
        }
        let all: Vec<String> = (0..CLIENTS).rev().map(name).collect();
        assert!(clients == all, "{} of {CLIENTS}", clients.len());
        // 0 and 1, 0 to 3, 0 to 5.
        let expected = if aggs == json!({}) { 0.0 } else { (CLIENTS + 1 + 6 + 15) as f64 };
        assert!((sums - expected).abs() < 1e-9, "{sums}");
    }
}

/// The buckets of a `composite`, page by page.
async fn paged(app: &Router, mut composite: Value, aggs: &Value) -> Vec<Value> {
    let mut buckets = Vec::new();
    for _ in 0..20 {
        let page = found(app, json!({"composite": composite, "aggs": aggs})).await;
        buckets.extend(page["buckets"].as_array().unwrap().iter().cloned());
        match page.get("after_key") {
            Some(after) => composite["after"] = after.clone(),
            None => return buckets,
        }
    }
    panic!("pages without end: {buckets:?}");
}

#[tokio::test]
async fn keys_that_read_as_times_are_paged_as_texts() {
    let fixture = Fixture::new(Rest::Fresh);
    // As texts are sorted.
    let texts = [
        "2026-01",
        "2026-01-01T10:00:00.5Z",
        "2026-01-01T10:00:00Z",
        "2026-01-01T12:00:00+05:00",
        "2026-01-15",
        "2026-01-15T08:00:00Z",
    ];
    let lines = texts.map(|text| json!({"msg": "x", "at": text, "took": 1}).to_string());
    fixture.append(0, &[("host", "web1")], lines).await;
    let app = router(fixture.engine.clone());
    let aggs = json!({"took": {"sum": {"field": "took"}}});
    for size in [1, 2, 4] {
        let composite = json!({"size": size, "sources": [{"at": {"terms": {"field": "at"}}}]});
        let buckets = paged(&app, composite, &aggs).await;
        let shown: Vec<_> =
            buckets.iter().map(|b| (&b["key"]["at"], &b["took"]["value"])).collect();
        let expected = texts.map(|text| (json!(text), json!(1.0)));
        assert_eq!(shown, expected.each_ref().map(|(key, sum)| (key, sum)), "{size}");
    }
}

#[tokio::test]
async fn a_choice_among_very_many_dates_is_of_texts() {
    let fixture = Fixture::new(Rest::Fresh);
    // A day, and more moments of it than an answer has buckets.
    let moment = |at: usize| format!("2026-01-01T00:{:02}:{:02}Z", at / 60, at % 60);
    let texts = (0..BUCKETS_MAX).map(moment).chain(["2026-01-01".to_owned()]);
    let lines = texts.map(|text| json!({"msg": "x", "at": text, "took": 1}).to_string());
    fixture.append(0, &[("host", "web1")], lines).await;
    let app = router(fixture.engine.clone());
    let terms = |choice: &str| json!({"terms": {"field": "at", "size": 1, "order": {"_key": "asc"}, choice: ["2026-01-01"]}, "aggs": {"took": {"sum": {"field": "took"}}}});
    for (choice, key, others) in
        [("exclude", "2026-01-01T00:00:00Z", BUCKETS_MAX - 1), ("include", "2026-01-01", 0)]
    {
        let answer = found(&app, terms(choice)).await;
        let bucket = json!([{"key": key, "doc_count": 1, "took": {"value": 1.0}}]);
        assert_eq!(
            (&answer["buckets"], &answer["sum_other_doc_count"]),
            (&bucket, &json!(others)),
            "{choice}"
        );
    }
}

#[tokio::test]
async fn keys_that_cannot_be_given_back_make_no_endless_pages() {
    let fixture = Fixture::new(Rest::Fresh);
    let lines = [
        json!({"ts": "2026-01-01T05:00:00Z", "msg": "x", "size": 1}),
        json!({"ts": "2026-01-01T07:00:00Z", "msg": "x", "size": 1e308}),
    ];
    fixture.append(0, &[("host", "web1")], lines.map(|line| line.to_string())).await;
    let app = router(fixture.engine.clone());
    // The step of the greater one is no number that JSON has.
    let source = json!({"s": {"histogram": {"field": "size", "interval": 0.5}}});
    let steps = paged(&app, json!({"size": 1, "sources": [source]}), &json!({})).await;
    assert_eq!(steps, [json!({"key": {"s": 1.0}, "doc_count": 1})]);
    let hours = |format: &str| json!({"d": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1h", "format": format}}});
    // Told by its day, an hour would be given back as the first of that day.
    let composite = json!({"composite": {"size": 1, "sources": [hours("yyyy-MM-dd")]}});
    let body = json!({"size": 0, "aggs": {"a": composite}}).to_string();
    let (status, answer) = ask(&app, "POST", "/es/main/_search", &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let reason = answer["error"]["reason"].as_str().unwrap();
    assert!(reason.contains("no page can begin"), "{reason}");
    // Behind a page that is not full there is none.
    let composite = json!({"composite": {"size": 3, "sources": [hours("yyyy-MM-dd")]}});
    let page = found(&app, composite).await;
    let count = page["buckets"].as_array().unwrap().len();
    assert_eq!((count, page.get("after_key")), (2, None), "{page}");
    let source = hours("yyyy-MM-dd HH:mm");
    let pages = paged(&app, json!({"size": 1, "sources": [source]}), &json!({})).await;
    let days: Vec<&Value> = pages.iter().map(|bucket| &bucket["key"]["d"]).collect();
    assert_eq!(days, [&json!("2026-01-01 05:00"), &json!("2026-01-01 07:00")]);
}

#[tokio::test]
async fn more_than_an_answer_may_have_is_refused() {
    let (_fixture, app) = crowd(Rest::Fresh).await;
    let terms = |size: usize| json!({"terms": {"field": "client", "size": size}});
    let within = |aggs: Value| json!({"terms": {"field": "host"}, "aggs": {"b": aggs}});
    for (aggs, word) in [
        (terms(CLIENTS), "too many buckets"),
        (within(terms(1)), "too many buckets"),
        (
            json!({"terms": {"field": "client", "order": {"t": "asc"}}, "aggs": {"t": {"max": {"field": "took"}}}}),
            "too many buckets",
        ),
        (
            within(json!({"composite": {"sources": [{"c": {"terms": {"field": "client"}}}]}})),
            "composite",
        ),
    ] {
        let body = json!({"size": 0, "aggs": {"a": aggs}}).to_string();
        let (status, answer) = ask(&app, "POST", "/es/main/_search", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{aggs}: {answer}");
        let reason = answer["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(word), "{aggs}: {reason}");
    }
}
