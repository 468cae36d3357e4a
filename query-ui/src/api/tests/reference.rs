//! Every example of docs/query.md is run over records of which each finds one at least.

use super::*;
use crate::language::tests::examples;
use crate::language::{FUNCTIONS, Function, PIPES};
use model::time::Timestamp;

/// Examples that find nothing here: the records of a fixture have arrived in 1970.
const EMPTY: [&str; 1] = ["ingest_time>2026-01-31T12:00:00.5Z"];

/// The records of which the reference speaks, of two hosts, and plain ones around them.
async fn told(rest: Rest) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let now = fixture.engine.clock().now();
    let recent = Timestamp(now.0 - 60_000_000_000).to_string();
    let at = |second: usize| format!("2026-01-31T10:{:02}:{:02}Z", second / 60, second % 60);
    let mut web: Vec<Value> = (0..60)
        .map(|n| {
            json!({"ts": at(n), "level": "info", "msg": format!("GET /item/{n} 200"), "status": 200,
                "took_ms": n, "bytes": n * 1_000, "user": "bob"})
        })
        .collect();
    web.extend([
        json!({"ts": at(60), "level": "error", "msg": "error: disk full", "status": 500,
            "took_ms": 1_500, "user": "zoe", "ip": "10.1.2.3", "user.name": "alice"}),
        json!({"ts": at(61), "level": "error",
            "msg": "error timeout, it timed-out: connection refused by the peer",
            "status": 503, "took_ms": 100, "took": "1.5s", "size": 20_000, "user": "root"}),
        json!({"ts": at(62), "level": "warn", "msg": "404 Not Found, status:404 for user=alice", "status": 404,
            "took_ms": 0.25, "user": "alice", "path": "/api/v1/users", "ip": "2001:db8::1"}),
        json!({"ts": at(63), "level": "info", "msg": "/api/v1/users from 10.0.0.1 in /var/log/syslog at 12:30:01",
            "status": 200, "took_ms": 1, "user": "Alice Smith", "path": "abc", "my field": "x"}),
        json!({"ts": at(64), "level": "info", "msg": "say \"hi\" to this AND that: http://example.org/a kibana-search.png",
            "tags": ["team-a", "team-b"], "expires": "2026-01-31T05:00:00+02:00"}),
        json!({"ts": at(65), "level": "debug",
            "msg": "failed sudo of 2*3 Überlauf 日志 NullPointerexception /tmp/ and /var/log/ code=500",
            "expires": "2026-02-01", "user": "alfred"}),
        json!({"ts": at(66), "level": "info", "msg": "get /x 503"}),
        json!({"ts": recent, "level": "error", "msg": "Error of now, an error"}),
    ]);
    let db = [
        json!({"ts": at(0), "level": "info", "msg": "10.0.0.1 - bob [now]"}),
        json!({"ts": at(1), "level": "fatal", "msg": "{\"error\":\"gone\"}", "status": 500}),
        json!({"ts": at(2), "level": "info", "msg": "msg=done code=7"}),
    ];
    let api = [("host", "web1"), ("service", "api"), ("source", "/var/log/api.log")];
    fixture.append(0, &api, web.iter().map(Value::to_string)).await;
    let labels = [("host", "db2"), ("service", "db")];
    fixture.append(1, &labels, db.iter().map(Value::to_string)).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = app(&fixture);
    (fixture, app)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_of_the_reference_finds_something() {
    for rest in BOTH {
        let (_fixture, app) = told(rest).await;
        for query in examples("query") {
            let lines = lines(&app, json!({ "query": query })).await;
            let end = &lines.last().unwrap()["end"];
            assert_eq!(end["partial"], json!([]), "{query}: {lines:?}");
            assert_eq!(end["warnings"], json!([]), "{query}");
            let is_empty = end["rows"] == json!(0);
            assert_eq!(is_empty, EMPTY.contains(&query), "{rest:?} {query}");
        }
    }
}

#[test]
fn every_element_has_an_example() {
    let all = examples("query").join("\n");
    let aggregates = Function::ALL.iter().map(|(name, _)| *name);
    let others = ["median", "p50", "p75", "p90", "p95", "p99", "exists"];
    for name in FUNCTIONS.iter().map(|known| known.name).chain(aggregates).chain(others) {
        assert!(all.contains(&format!("{name}(")), "no example calls {name}()");
    }
    for pipe in &PIPES {
        assert!(all.contains(&format!("| {}", pipe.name)), "no example has the pipe {}", pipe.name);
    }
    let others =
        ["join left", "join inner", "parse json", "parse logfmt", "fields - ", "!~", " in ("];
    for text in others {
        assert!(all.contains(text), "no example has {text}");
    }
}
