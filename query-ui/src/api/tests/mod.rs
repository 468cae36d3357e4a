//! Requests and their answers, over a real socketless router, fresh records and splits.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use futures::StreamExt as _;
use model::wire::Status;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;
use crate::fixture::{Fixture, Rest};

struct Still;

impl StatusSource for Still {
    fn status(&self) -> Status {
        Status { node: "n1".to_owned(), ..Status::default() }
    }
}

fn app(fixture: &Fixture) -> Router {
    let engine = fixture.engine.clone();
    router(QueryState::new(engine, Arc::new(Still), fixture.shutdown.clone()))
}

async fn post(app: &Router, path: &str, body: &Value) -> Response<Body> {
    let request = Request::post(path).body(Body::from(body.to_string())).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn answer(app: &Router, path: &str, body: Value) -> Value {
    let response = post(app, path, &body).await;
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The lines of an answer.
async fn lines(app: &Router, body: Value) -> Vec<Value> {
    let response = post(app, "/api/v1/query", &body).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/x-ndjson");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows of an answer that is whole.
async fn rows(app: &Router, body: Value) -> Vec<Value> {
    let lines = lines(app, body).await;
    assert!(lines[0].get("header").is_some(), "{lines:?}");
    let end = &lines.last().unwrap()["end"];
    let rows: Vec<Value> = lines.iter().filter_map(|line| line.get("row").cloned()).collect();
    assert_eq!(end["rows"], json!(rows.len()), "{lines:?}");
    assert_eq!(end["partial"], json!([]));
    rows
}

fn messages(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["message"].as_str().unwrap()).collect()
}

/// Five web requests on one host, three jobs on another.
async fn small(rest: Rest) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let web = [
        json!({"ts":"2026-01-01T00:00:01Z","level":"info","msg":"GET /a","status":200,"took":0.5}),
        json!({"ts":"2026-01-01T00:00:03Z","level":"error","msg":"GET /b failed","status":503,"took":2}),
        json!({"ts":"2026-01-01T00:00:05Z","level":"info","msg":"GET /c","status":200}),
        json!({"ts":"2026-01-01T00:01:00Z","level":"warn","msg":"slow","status":"none","user":{"name":"Alice"}}),
        json!({"ts":"2026-01-01T00:02:00Z","msg":"GET /d","status":404,"ok":true}),
    ];
    let jobs = [
        json!({"ts":"2026-01-01T00:00:02Z","level":"error","msg":"job failed \"a\"\n\ttrace","took":7}),
        json!({"ts":"2026-01-01T00:00:03Z","level":"info","msg":"job done","took":9007199254740993_i64}),
        json!({"ts":"2026-01-02T00:00:00Z","level":"fatal","msg":"disk full","tags":["x","y"]}),
    ];
    fixture.append(0, &[("host", "web1")], web.map(|line| line.to_string())).await;
    fixture.append(1, &[("host", "job1")], jobs.map(|line| line.to_string())).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = app(&fixture);
    (fixture, app)
}

const BOTH: [Rest; 2] = [Rest::Fresh, Rest::Splits];

#[tokio::test(flavor = "multi_thread")]
async fn records_come_newest_first() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let all = rows(&app, json!({"query":""})).await;
        assert_eq!(
            messages(&all),
            [
                "disk full",
                "GET /d",
                "slow",
                "GET /c",
                "job done",
                "GET /b failed",
                "job failed \"a\"\n\ttrace",
                "GET /a"
            ],
            "{rest:?}"
        );
        assert_eq!(
            all[2],
            json!({
                "id":"0-3","timestamp":"2026-01-01T00:01:00.000000000Z",
                "ingest_time":"1970-01-01T00:00:00.000001000Z","index":"main","level":"warn",
                "message":"slow","labels":{"host":"web1"},
                "fields":{"status":"none","user.name":"Alice"},
            })
        );
        assert_eq!(all[0]["fields"], json!({"tags":["x","y"]}));
        assert_eq!(messages(&rows(&app, json!({"query":"failed"})).await).len(), 2);
        assert_eq!(
            messages(&rows(&app, json!({"query":"","limit":2})).await),
            ["disk full", "GET /d"]
        );
        assert_eq!(messages(&rows(&app, json!({"query":"| limit 1"})).await), ["disk full"]);
        assert_eq!(rows(&app, json!({"query":"| limit 0"})).await.len(), 0);
        for limit in [0, u64::MAX] {
            assert_eq!(rows(&app, json!({"query":"","limit":limit})).await.len(), 8);
            assert_eq!(rows(&app, json!({"query":"| sample 1","limit":limit})).await.len(), 8);
        }
        let window = json!({"query":"","from":"2026-01-01T00:00:03Z","to":"2026-01-01T00:01:00Z"});
        assert_eq!(rows(&app, window).await.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_find_what_they_say() {
    let cases = [
        ("level:error", 2),
        ("level>=warn", 4),
        ("level:*", 7),
        ("status>=500", 1),
        ("status:200", 2),
        ("status:200..404", 3),
        ("status:none", 1),
        ("status!=200", 6),
        ("host:web1", 5),
        ("host:web1 get", 4),
        ("user.name:alice", 1),
        ("ok:true", 1),
        ("tags:y", 1),
        ("took:*", 4),
        ("\"failed \\\"a\\\"\"", 1),
        ("index:main -level:info", 5),
        ("timestamp>=2026-01-02", 1),
        ("timestamp:[\"2026-01-01T00:00:02Z\" TO \"2026-01-01T00:00:03Z\"]", 3),
        ("id:0-3", 1),
        ("nothinglikethis", 0),
    ];
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        for (query, count) in cases {
            let found = rows(&app, json!({ "query": query })).await;
            assert_eq!(found.len(), count, "{rest:?} {query}");
            let counted =
                rows(&app, json!({"query": format!("{query} | stats count() as n")})).await;
            assert_eq!(counted, [json!({ "n": count })], "{rest:?} {query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_count_and_compute_in_groups() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let table = |query: &str| rows(&app, json!({ "query": query }));
        assert_eq!(
            table("| stats count() as n by level").await,
            [
                json!({"level":"unknown","n":1}),
                json!({"level":"info","n":3}),
                json!({"level":"warn","n":1}),
                json!({"level":"error","n":2}),
                json!({"level":"fatal","n":1}),
            ]
        );
        // Two types in one field: groups are texts; sums take what reads as a number.
        assert_eq!(
            table("| stats count(), sum(status) by status").await,
            [
                json!({"status":"200","count":2,"sum_status":400.0}),
                json!({"status":"404","count":1,"sum_status":404.0}),
                json!({"status":"503","count":1,"sum_status":503.0}),
                json!({"status":"none","count":1,"sum_status":null}),
                json!({"status":null,"count":3,"sum_status":null}),
            ]
        );
        // Whole numbers and others in one field are floats.
        assert_eq!(
            table("host:web1 | stats sum(took) as s, min(took), max(took), avg(took) as a").await,
            [json!({"s":2.5,"min_took":0.5,"max_took":2.0,"a":1.25})]
        );
        assert_eq!(
            table("| stats count() as n by bin(timestamp, 1m), host | sort n desc, host | limit 2")
                .await,
            [
                json!({"timestamp":"2026-01-01T00:00:00.000000000Z","host":"web1","n":3}),
                json!({"timestamp":"2026-01-01T00:00:00.000000000Z","host":"job1","n":2}),
            ]
        );
        assert_eq!(
            table("| stats count_distinct(host) as hosts, count(ok) as oks, max(level) as worst")
                .await,
            [json!({"hosts":2,"oks":1,"worst":"fatal"})]
        );
        assert_eq!(
            table("| stats first(message) as f, last(message) as l, first(took) as t by host")
                .await,
            [
                json!({"host":"job1","f":"job failed \"a\"\n\ttrace","l":"disk full","t":7.0}),
                json!({"host":"web1","f":"GET /a","l":"GET /d","t":0.5}),
            ]
        );
        assert_eq!(table("nothing | stats count() as n").await, [json!({"n":0})]);
        assert_eq!(table("nothing | stats count() as n by host").await, [] as [Value; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_beyond_64_bits_are_exact() {
    let fixture = Fixture::new(Rest::Fresh);
    let line = json!({"msg":"x","n":i64::MAX}).to_string();
    fixture.append(0, &[], vec![line; 3]).await;
    let response = post(&app(&fixture), "/api/v1/query", &json!({"query":"| stats sum(n)"})).await;
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains("{\"sum_n\":27670116110564327421}"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_sort_and_choose_columns() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let found = rows(&app, json!({"query":"| sort level desc, took | limit 3"})).await;
        assert_eq!(messages(&found), ["disk full", "GET /b failed", "job failed \"a\"\n\ttrace"]);
        let answer =
            lines(&app, json!({"query":"host:web1 | fields id, took, status | limit 2"})).await;
        assert_eq!(
            answer[0]["header"],
            json!({"kind":"table","columns":[{"name":"id","type":"text"},
                {"name":"took","type":"float"},{"name":"status","type":"text"}],
                "from":null,"to":null})
        );
        assert_eq!(answer[1]["row"], json!({"id":"0-4","took":null,"status":"404"}));
        assert_eq!(answer.len(), 4);
        let found =
            rows(&app, json!({"query":"| limit 3 | sort timestamp | fields message"})).await;
        assert_eq!(messages(&found), ["slow", "GET /d", "disk full"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn histograms_count_levels_over_time() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let body = json!({"query":"","from":"2026-01-01T00:00:00Z","to":"2026-01-01T00:03:00Z","buckets":3});
        let found = answer(&app, "/api/v1/histogram", body).await;
        assert_eq!(
            found,
            json!({"from":"2026-01-01T00:00:00.000000000Z","to":"2026-01-01T00:03:00.000000000Z",
                "interval_ms":60_000,"total":7,"partial":[],"buckets":[
                {"start":"2026-01-01T00:00:00.000000000Z","total":5,"levels":{"info":3,"error":2}},
                {"start":"2026-01-01T00:01:00.000000000Z","total":1,"levels":{"warn":1}},
                {"start":"2026-01-01T00:02:00.000000000Z","total":1,"levels":{"unknown":1}}]})
        );
        let found = answer(&app, "/api/v1/histogram", json!({"query":"get | stats count()"})).await;
        assert_eq!(found["total"], json!(4));
        assert_eq!(found["from"], json!("2026-01-01T00:00:01.000000000Z"));
        assert_eq!(found["to"], json!("2026-01-02T00:00:00.000000001Z"));
        let found = answer(&app, "/api/v1/histogram", json!({"query":"","buckets":1})).await;
        assert_eq!(found["total"], json!(8));
        let body = json!({"query":"level>=warn -level:fatal","buckets":1});
        let found = answer(&app, "/api/v1/histogram", body).await;
        assert_eq!(found["buckets"][0]["levels"], json!({"error":2,"warn":1}));
    }
    let fixture = Fixture::new(Rest::Fresh);
    let found = answer(&app(&fixture), "/api/v1/histogram", json!({})).await;
    assert_eq!(found["buckets"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_are_counted_with_their_types() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let expected =
            |records: u64, list: Value| json!({"records":records,"fields":list,"partial":[]});
        let all = answer(&app, "/api/v1/fields", json!({})).await;
        assert_eq!(all["records"], json!(8));
        let find = |name: &str| {
            all["fields"].as_array().unwrap().iter().find(|field| field["name"] == name).cloned()
        };
        assert_eq!(
            find("host"),
            Some(json!({"name":"host","label":true,"types":["text"],"count":8}))
        );
        assert_eq!(
            find("took"),
            Some(json!({"name":"took","label":false,"types":["int","float"],"count":4}))
        );
        assert_eq!(find("status").unwrap()["types"], json!(["text", "int"]));
        let some = answer(&app, "/api/v1/fields", json!({"query":"slow"})).await;
        let list = json!([
            {"name":"host","label":true,"types":["text"],"count":1},
            {"name":"status","label":false,"types":["text"],"count":1},
            {"name":"user.name","label":false,"types":["text"],"count":1},
        ]);
        assert_eq!(some, expected(1, list));
        let part = json!({"from":"2026-01-01T00:00:03Z","to":"2026-01-01T00:00:04Z"});
        assert_eq!(answer(&app, "/api/v1/fields", part).await["records"], json!(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_counted_exactly() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let values = |body: Value| answer(&app, "/api/v1/field-values", body);
        assert_eq!(
            values(json!({"query":"","field":"level"})).await,
            json!({"field":"level","records":8,"present":8,"partial":[],"values":[
                {"value":"info","count":3},{"value":"error","count":2},{"value":"fatal","count":1},
                {"value":"unknown","count":1},{"value":"warn","count":1}]})
        );
        let found = values(json!({"query":"host:job1","field":"took","limit":1})).await;
        assert_eq!(found["present"], json!(2));
        assert_eq!(found["values"], json!([{"value":7.0,"count":1}]));
        let found = values(json!({"field":"nosuchfield"})).await;
        assert_eq!((&found["present"], &found["values"]), (&json!(0), &json!([])));
        assert_eq!(values(json!({})).await["error"]["code"], json!("invalid_value"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_narrow_the_answer() {
    let fixture = Fixture::new(Rest::Fresh);
    fixture.append(0, &[], [r#"{"msg":"a"}"#]).await;
    fixture.append_to(0, "audit", &[], [r#"{"msg":"b"}"#]).await;
    let app = app(&fixture);
    assert_eq!(messages(&rows(&app, json!({"query":"","indexes":["audit"]})).await), ["b"]);
    assert_eq!(rows(&app, json!({"query":"","indexes":["none"]})).await.len(), 0);
    let by = rows(&app, json!({"query":"| stats count() as n by index"})).await;
    assert_eq!(by, [json!({"index":"audit","n":1}), json!({"index":"main","n":1})]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests_say_what_is_wrong() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let response = post(&app, "/api/v1/query", &json!({"query":"status:"})).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let found = answer(&app, "/api/v1/query", json!({"query":"status:"})).await;
    assert_eq!(found["error"]["code"], json!("invalid_query"));
    assert_eq!(found["error"]["position"]["start"], json!(7));
    for body in [
        json!({"from":"soon"}),
        json!({"from":"now","to":"-1h"}),
        json!({"querry":""}),
        json!("error"),
        json!(["error"]),
        json!({"buckets":0}),
    ] {
        let found = answer(&app, "/api/v1/histogram", body).await;
        assert_eq!(found["error"]["code"], json!("invalid_value"), "{found}");
    }
    let found = answer(&app, "/api/v1/nothing", json!({})).await;
    assert_eq!(found["error"]["code"], json!("not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_split_is_named_and_the_rest_answered() {
    let (fixture, app) = small(Rest::Splits).await;
    let view = fixture.engine.searcher().view();
    let broken = view.splits.iter().find(|split| split.partition.0 == 1).unwrap();
    let objects = fixture.folder.path().join("objects");
    let mut damaged = 0;
    for (name, _) in platform::objects::Objects::local(&objects).unwrap().list().unwrap() {
        if name.contains(&broken.id.0) {
            platform::disk::write_atomically(&objects.join(&name), b"not what it was").unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    for (query, count) in [("", 5), ("| stats count() by status", 4)] {
        let lines = lines(&app, json!({ "query": query })).await;
        let end = &lines.last().unwrap()["end"];
        assert_eq!(end["rows"], json!(count), "{query}: {lines:?}");
        let what = end["partial"][0]["what"].as_str().unwrap();
        assert!(what.contains(&broken.id.0), "{what}");
    }
    let found = answer(&app, "/api/v1/fields", json!({})).await;
    assert_eq!(found["records"], json!(5));
    assert_eq!(found["partial"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bounds_of_a_query_hold() {
    let fixture = Fixture::with(Rest::Fresh, |settings| {
        settings.concurrency_max = 1;
        settings.wait_max = std::time::Duration::from_millis(10);
        settings.memory_bytes_max = 8 << 20;
        settings.tails_max = 0;
    });
    let line = |n: usize| json!({"msg":format!("{n} {}", "long ".repeat(200)),"n":n}).to_string();
    for chunk in 0..10 {
        fixture.append(0, &[], (chunk * 2_000..(chunk + 1) * 2_000).map(line)).await;
    }
    let app = app(&fixture);
    let ticket = fixture.engine.admit(None).await.unwrap();
    let response = post(&app, "/api/v1/query", &json!({})).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after"));
    drop(ticket);
    let distinct = lines(&app, json!({"query":"| stats count_distinct(message)"})).await;
    assert!(distinct[0]["header"].is_object(), "{distinct:?}");
    assert_eq!(distinct.last().unwrap()["error"]["code"], json!("too_large"));
    // Sorting goes on on disk.
    let all = rows(&app, json!({"query":"","limit":0})).await;
    let numbers: Vec<u64> = all.iter().map(|row| row["fields"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..20_000).rev().collect::<Vec<_>>());
    let tail = Request::get("/api/v1/tail?query=").body(Body::empty()).unwrap();
    let response = app.clone().oneshot(tail).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_when_its_reader_goes() {
    let fixture = Fixture::new(Rest::Fresh);
    let line = |n: usize| json!({"msg":format!("{n} {}", "long ".repeat(200))}).to_string();
    fixture.append(0, &[], (0..5_000).map(line)).await;
    let app = app(&fixture);
    let response = post(&app, "/api/v1/query", &json!({"query":"","limit":0})).await;
    let mut body = response.into_body().into_data_stream();
    assert!(body.next().await.is_some());
    let running = &fixture.engine.metrics().running;
    assert_eq!(running.get(), 1);
    drop(body);
    while running.get() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_ends_at_its_deadline() {
    let fixture = Fixture::with(Rest::Fresh, |settings| {
        settings.deadline = std::time::Duration::ZERO;
    });
    fixture.append(0, &[], [r#"{"msg":"a"}"#]).await;
    let app = app(&fixture);
    let found = answer(&app, "/api/v1/query", json!({"query":""})).await;
    assert_eq!(found["error"]["code"], json!("timeout"));
    let response = post(&app, "/api/v1/histogram", &json!({})).await;
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_guarded() {
    let fixture = Fixture::new(Rest::Fresh);
    let app = app(&fixture);
    let get = |path: &str| app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
    let page = get("/").await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("'self'"));
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    assert_eq!(get("/no/such.js").await.unwrap().status(), StatusCode::NOT_FOUND);
    let status = get("/api/v1/status").await.unwrap();
    let bytes = to_bytes(status.into_body(), usize::MAX).await.unwrap();
    let status: Status = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(status.node, "n1");
}

mod reading;
mod reference;
mod computed;
mod warned;
mod deleting;
mod formats;
mod statements;
mod exact;
mod tail;
mod stored;
mod whole;
mod bounds;
