//! What pipes and functions compute, value by value, and what spans, sizes and times find.

use super::*;

/// Four records of each of two hosts, with everything that is computed below.
async fn measured(rest: Rest) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let a = [
        json!({"ts":"2026-01-01T00:00:00Z","msg":"GET /items/17 took 12ms","n":1,"user":"ann",
            "took":"1.5s","size":"30MB"}),
        json!({"ts":"2026-01-01T00:00:10Z","msg":"GET /items/18 took 340ms","n":2,"user":"bob",
            "took":"500ms","size":"10MB"}),
        json!({"ts":"2026-01-01T00:00:20Z","msg":"GET /items/19 took 5ms","n":3,"user":"ann",
            "took":"2m","size":"25 MB"}),
        json!({"ts":"2026-01-01T00:01:00Z","msg":"level=debug code=9 note=\"a b\"","n":4,"took":"100us","size":"1KiB"}),
    ];
    let b = [
        json!({"ts":"2026-01-01T00:00:05Z","msg":"connection refused by peer","n":10,"user":"cid","wait_ms":1500,
            "expires":"2026-01-31T00:00:00+02:00"}),
        json!({"ts":"2026-01-01T00:00:15Z","msg":"connection\trefused","n":20,"user":"ann","wait_ms":20,"cache_mb":5,
            "expires":"2026-01-30T23:00:00Z"}),
        json!({"ts":"2026-01-01T00:00:50Z","msg":"reconnection refused","n":30,"user":"bob","sent":2048,
            "expires":"2026-02-01 10:00"}),
        json!({"ts":"2026-01-01T00:01:30Z","msg":"{\"code\":7,\"deep\":{\"x\":\"y\"}}","expires":"never"}),
    ];
    fixture.append(0, &[("host", "a")], a.iter().map(Value::to_string)).await;
    fixture.append(1, &[("host", "b")], b.iter().map(Value::to_string)).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = app(&fixture);
    (fixture, app)
}

/// Whether two values are the same, numbers to the ninth digit.
fn is_same(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-9 * b.abs().max(1.0)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && b.iter().all(|(name, b)| a.get(name).is_some_and(|a| is_same(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Asks all of them, of fresh records and of splits.
async fn check(cases: &[(&str, Value)]) {
    for rest in BOTH {
        let (_fixture, app) = measured(rest).await;
        for (query, expected) in cases {
            let body = json!({"query": query, "from": "2026-01-01T00:00:00Z", "to": "2026-01-01T00:02:00Z"});
            let found = Value::Array(rows(&app, body).await);
            assert!(is_same(&found, expected), "{rest:?} {query}\n{found}\n{expected}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aggregates_compute_exact_values() {
    let deviation = (730.0_f64 / 6.0).sqrt();
    // Of n are 1, 2, 3, 4, 10, 20, 30 and one missing.
    let aggregates = [
        ("count()", json!(8)),
        ("count(n)", json!(7)),
        ("count() where n > 3", json!(4)),
        ("count_distinct(user)", json!(3)),
        ("count_distinct_estimate(user)", json!(3)),
        ("sum(n)", json!(70)),
        ("sum(n * 2) where n < 4", json!(12.0)),
        ("avg(n)", json!(10.0)),
        ("min(n)", json!(1)),
        ("max(n)", json!(30)),
        ("min(user)", json!("ann")),
        ("max(timestamp)", json!("2026-01-01T00:01:30.000000000Z")),
        ("median(n)", json!(4.0)),
        ("p50(n)", json!(4.0)),
        ("p75(n)", json!(15.0)),
        ("p90(n)", json!(24.0)),
        ("quantile(0.25, n)", json!(2.5)),
        ("quantile(0, n)", json!(1.0)),
        ("quantile(1, n)", json!(30.0)),
        ("stddev(n)", json!(deviation)),
        ("first(n)", json!(1)),
        ("last(n)", json!(4)),
        ("first(user) where n > 1", json!("cid")),
        ("rate()", json!(8.0 / 120.0)),
        ("values(user)", json!(["ann", "bob", "cid"])),
        ("values(user) where n < 3", json!(["ann", "bob"])),
        ("sum(nowhere)", json!(null)),
    ];
    let queries: Vec<String> =
        aggregates.iter().map(|(aggregate, _)| format!("| stats {aggregate} as x")).collect();
    let expected = aggregates.iter().map(|(_, value)| json!([{ "x": value }]));
    let cases: Vec<(&str, Value)> = queries.iter().map(String::as_str).zip(expected).collect();
    check(&cases).await;
    for rest in BOTH {
        let (_fixture, app) = measured(rest).await;
        let query = "| stats quantile_estimate(0.5, n) as x, quantile_estimate(0.99, n) as y";
        let found = rows(&app, json!({ "query": query })).await;
        let (x, y) = (found[0]["x"].as_f64().unwrap(), found[0]["y"].as_f64().unwrap());
        assert!((3.0..=10.0).contains(&x) && (20.0..=30.0).contains(&y), "{x} {y}");
        // Between neighbours to a millionth of their distance, which is ten here.
        let found = rows(&app, json!({"query": "| stats p95(n) as x, p99(n) as y"})).await;
        let (x, y) = (found[0]["x"].as_f64().unwrap(), found[0]["y"].as_f64().unwrap());
        assert!((x - 27.0).abs() < 2e-5 && (y - 29.4).abs() < 2e-5, "{x} {y}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_compute_exact_values() {
    // Over the one record of which n is 3, user ann, took 2m.
    let functions = [
        ("abs(1 - n)", json!(2.0)),
        ("ceil(n / 2)", json!(2.0)),
        ("floor(n / 2)", json!(1.0)),
        ("round(n / 7, 2)", json!(0.43)),
        ("round(n / 2)", json!(2.0)),
        ("sqrt(n + 1)", json!(2.0)),
        ("sqrt(0 - n)", json!(null)),
        ("round(n, 1e12)", json!(null)),
        ("ln(1)", json!(0.0)),
        ("log10(n * 1000 / 3)", json!(3.0)),
        ("power(n, 2)", json!(9.0)),
        ("n % 2 - 1", json!(0.0)),
        ("n / 0", json!(null)),
        ("lower(\"ÄB\")", json!("äb")),
        ("upper(concat(user, \"ä\"))", json!("ANNÄ")),
        ("concat(user, \"-\", n)", json!("ann-3")),
        ("replace(\"a.b.a\", \"a\", \"c\")", json!("c.b.c")),
        ("replace_regex(message, /[0-9]+/, \"#\")", json!("GET /items/# took #ms")),
        ("replace_regex(user, /(a)(n)/, \"$2$1\")", json!("nan")),
        ("substr(message, 6, 5)", json!("items")),
        ("substr(user, 2)", json!("nn")),
        ("substr(user, 2, 0 - n)", json!("")),
        ("substr(user, 1e300)", json!(null)),
        ("split_part(message, \" \", 3)", json!("took")),
        ("split_part(message, \" \", 0)", json!(null)),
        ("bytes(\"é\")", json!(2)),
        ("length(\"é\")", json!(1)),
        ("number(\"12.5\") + n", json!(15.5)),
        ("number(user)", json!(null)),
        ("text(n)", json!("3")),
        ("seconds(1m30s)", json!(90.0)),
        ("seconds(took)", json!(120.0)),
        ("contains(message, \"ITEMS/1\")", json!(true)),
        ("starts_with(message, \"get\")", json!(true)),
        ("starts_with(message, \"items\")", json!(false)),
        ("ends_with(message, \"5MS\")", json!(true)),
        ("in_cidr(\"10.1.2.3\", \"10.0.0.0/8\")", json!(true)),
        ("in_cidr(\"11.1.2.3\", \"10.0.0.0/8\")", json!(false)),
        ("if(n > 2, \"big\", \"small\")", json!("big")),
        ("if(n > 5, \"big\")", json!(null)),
        ("case(n > 5, \"a\", n > 2, \"b\", \"c\")", json!("b")),
        ("case(n > 5, \"a\", \"c\")", json!("c")),
        ("coalesce(nowhere, user, \"x\")", json!("ann")),
        ("coalesce(null, n)", json!(3)),
        ("exists(user) and not exists(nowhere)", json!(true)),
        ("timestamp + 1h", json!("2026-01-01T01:00:20.000000000Z")),
        ("timestamp - n", json!("2026-01-01T00:00:17.000000000Z")),
        ("timestamp + 9000000000", json!(null)),
        ("timestamp - 1e300", json!(null)),
        ("time_bin(timestamp, \"minute\")", json!("2026-01-01T00:00:00.000000000Z")),
        ("took > 1m", json!(true)),
        ("size < 25MB", json!(false)),
        ("message =~ /items.19/ and message !~ /items.18/", json!(true)),
        ("n in (1, 3) and n not in (2, 4)", json!(true)),
        ("user is not null and nowhere is null", json!(true)),
    ];
    let query = |function: &str| format!("host:a n:3 | eval x = {function} | fields x");
    let queries: Vec<String> = functions.iter().map(|(function, _)| query(function)).collect();
    let expected = functions.iter().map(|(_, value)| json!([{ "x": value }]));
    let cases: Vec<(&str, Value)> = queries.iter().map(String::as_str).zip(expected).collect();
    check(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_have_the_texts_by_which_they_are_found_and_bins_are_spans_too() {
    let row = |value: Value| json!([{ "x": value }]);
    check(&[
        ("host:a n:3 | eval x = text(n * 2) | fields x", row(json!("6"))),
        ("host:a n:3 | eval x = text(n / 2) | fields x", row(json!("1.5"))),
        (
            "host:a n:3 | eval x = concat(n * 1000000000000000000, \"s\") | fields x",
            row(json!("3000000000000000000s")),
        ),
        ("host:a n:3 | eval x = n / 1 =~ /^3$/ | fields x", row(json!(true))),
        (
            "host:a n:3 | eval x = time_bin(timestamp, 15s) | fields x",
            row(json!("2026-01-01T00:00:15.000000000Z")),
        ),
        (
            "host:a n:3 | eval x = time_bin(timestamp, 1h30m, \"UTC\", 0s) | fields x",
            row(json!("2026-01-01T00:00:00.000000000Z")),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipes_make_the_rows_that_they_say() {
    let (midnight, later) = ("2026-01-01T00:00:00.000000000Z", "2026-01-01T00:01:00.000000000Z");
    check(&[
        (
            "| timechart 1m count() as c",
            json!([{"timestamp": midnight, "c": 6}, {"timestamp": later, "c": 2}]),
        ),
        (
            "| timechart 1m sum(n) as s by host",
            json!([{"timestamp": midnight, "host": "a", "s": 6}, {"timestamp": midnight, "host": "b", "s": 60},
                {"timestamp": later, "host": "a", "s": 4}, {"timestamp": later, "host": "b", "s": null}]),
        ),
        ("| top 1 user", json!([{"user": "ann", "count": 3}])),
        (
            "| rare user",
            json!([{"user": "cid", "count": 1}, {"user": "bob", "count": 2}, {"user": "ann", "count": 3}]),
        ),
        ("host:a n<3 | fields n, user | rename n as m", json!([{"m": 2, "user": "bob"}, {"m": 1, "user": "ann"}])),
        ("host:b n:30 | rename n as m | fields m, n", json!([{"m": 30, "n": null}])),
        ("n:1 | drop user, size | fields user, size, took", json!([{"user": null, "size": null, "took": "1.5s"}])),
        ("host:a user:* | dedup user | fields n", json!([{"n": 3}, {"n": 2}])),
        ("user:* | uniq user | fields n", json!([{"n": 30}, {"n": 3}, {"n": 10}])),
        ("user:* | dedup 2 user | fields n", json!([{"n": 30}, {"n": 3}, {"n": 20}, {"n": 2}, {"n": 10}])),
        (
            "host:a | fields n, user | join left user (host:b | stats max(n) as top by user) | sort n",
            json!([{"n": 1, "user": "ann", "top": 20}, {"n": 2, "user": "bob", "top": 30},
                {"n": 3, "user": "ann", "top": 20}, {"n": 4, "user": null, "top": null}]),
        ),
        (
            "host:a | fields n, user | join inner user (host:b n>20 | stats max(n) as top by user)",
            json!([{"n": 2, "user": "bob", "top": 30}]),
        ),
        ("n:1 | union (n:10 OR n:20) | fields n | sort n", json!([{"n": 1}, {"n": 10}, {"n": 20}])),
        (
            "| stats count() as c by host | union (n<3 | stats sum(n) as s by host)",
            json!([{"host": "a", "c": 4, "s": null}, {"host": "b", "c": 4, "s": null},
                {"host": "a", "c": null, "s": 3}]),
        ),
        ("| parse json | where code > 5 | fields code, deep.x", json!([{"code": "7", "deep.x": "y"}])),
        ("| parse json | drop code | where exists(code) | fields code", json!([])),
        ("| drop code | parse json | where code > 5 | fields code, deep.x", json!([{"code": "7", "deep.x": "y"}])),
        ("n:1 | drop user | parse json | fields user", json!([{"user": null}])),
        ("| parse logfmt | where exists(note) | fields code, note", json!([{"code": "9", "note": "a b"}])),
        (
            "n<3 | extract \"<verb> /items/<id> took <ms>ms\" | where ms > 12 | fields verb, id, ms",
            json!([{"verb": "GET", "id": "18", "ms": "340"}]),
        ),
        (
            "host:a | extract /items.(?<id>[0-9]+) took (?<ms>[0-9]+)/ | sort ms desc | fields id, ms",
            json!([{"id": "18", "ms": "340"}, {"id": "17", "ms": "12"}, {"id": "19", "ms": "5"},
                {"id": null, "ms": null}]),
        ),
        (
            "GET | patterns",
            json!([{"_pattern": "GET /items/<*> took <*>", "count": 3, "first_seen": midnight,
                "last_seen": "2026-01-01T00:00:20.000000000Z", "example": "GET /items/17 took 12ms"}]),
        ),
        ("host:a | sort n desc | limit 2 | fields n", json!([{"n": 4}, {"n": 3}])),
        ("| stats sum(n) as s by bin(n, 10) | where s >= 10", json!([{"n": 0.0, "s": 10}, {"n": 10.0, "s": 10}, {"n": 20.0, "s": 20},
                {"n": 30.0, "s": 30}])),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_and_conditions_find_by_value() {
    // The values of n that are found, ascending; 0 stands for the record without.
    let cases: &[(&str, &[i64])] = &[
        ("took>1s", &[1, 3]),
        ("took>=1500ms", &[1, 3]),
        ("took<1s", &[2, 4]),
        ("took:500ms..1.5s", &[1, 2]),
        ("took:*..1ms", &[4]),
        ("wait_ms>1s", &[10]),
        ("wait_ms:20ms..2s", &[10, 20]),
        ("size>20MB", &[1, 3]),
        ("size<=1024B", &[4]),
        ("size:1KiB..10MB", &[2, 4]),
        ("size:0..10MB", &[2, 4]),
        ("cache_mb>=5MB", &[20]),
        ("sent>1KiB", &[30]),
        ("n:*..2", &[1, 2]),
        ("n:20..*", &[20, 30]),
        ("user:[ann TO bob}", &[1, 3, 20]),
        ("timestamp:2026-01-01T00:01", &[0, 4]),
        ("timestamp>2026-01-01T00:00 -timestamp:2026-01-02", &[0, 4]),
        ("timestamp<=2026-01-01T00:00 n>=10", &[10, 20, 30]),
        ("timestamp:2026-01-01T00:00:05..2026-01-01T00:00:15", &[2, 10, 20]),
        ("timestamp:\"2026-01-01 00:00:50\"", &[30]),
        ("timestamp:2026-01 n:1", &[1]),
        ("timestamp:2025-12", &[]),
        ("expires:2026-01-30..2026-01-30", &[10, 20]),
        ("expires<2026-01-30T23:00:00Z", &[10]),
        ("expires:2026-01-30T22..2026-01-30", &[10, 20]),
        // A text that is no time is compared as text.
        ("expires>2026-01-30T22:00:00Z", &[0, 20, 30]),
        ("expires:2026-01-31..2026-02", &[30]),
        ("| where expires > \"2026-01-30T22:30:00Z\"", &[0, 20, 30]),
        ("| where expires == \"2026-01-30T22:00:00Z\"", &[10]),
        ("| where expires <= \"2026-01-30\"", &[10, 20]),
        ("| where expires > timestamp", &[10, 20, 30]),
        ("| where timestamp == \"2026-01-01T00:01\"", &[0, 4]),
        ("| where \"2026-01-01T00:00:50Z\" < timestamp", &[0, 4]),
        ("| where timestamp < 1767225605", &[1]),
        ("*\"nection refused\"*", &[10, 30]),
        ("\"connection ref\"*", &[10]),
        ("*\"nection refused\"", &[10, 30]),
        ("\"nection refused\"", &[]),
        ("*\"nection\\trefused\"*", &[20]),
        ("conn*\" refused by \"*", &[10]),
        ("message:*\"s/17 took 1\"*", &[1]),
        ("=*\"ET /items\"*", &[1, 2, 3]),
        ("=*\"et /items\"*", &[]),
        ("/items/", &[1, 2, 3]),
        ("/ITEMS/i", &[1, 2, 3]),
        ("\"/items/\"", &[1, 2, 3]),
        ("/items/17", &[1]),
        ("message:/^re/", &[30]),
    ];
    for rest in BOTH {
        let (_fixture, app) = measured(rest).await;
        for (query, expected) in cases {
            let query = format!("{query} | eval n = coalesce(n, 0) | sort n | fields n");
            let found = rows(&app, json!({ "query": query })).await;
            let found: Vec<i64> = found.iter().map(|row| row["n"].as_i64().unwrap()).collect();
            assert_eq!(&found, expected, "{rest:?} {query}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_the_same_part_every_time() {
    let mut drawn = Vec::new();
    for rest in BOTH {
        let fixture = Fixture::new(rest);
        let line = |n: usize| json!({"ts":"2026-01-01T00:00:00Z","msg":"x","n":n}).to_string();
        fixture.append(0, &[], (0..400).map(line)).await;
        let app = app(&fixture);
        let some = async |sample: &str| {
            let query = format!("| sample {sample} | sort n | fields n");
            rows(&app, json!({ "query": query })).await
        };
        assert_eq!(some("1").await.len(), 400);
        let tenth = some("10%").await;
        assert!((20..=65).contains(&tenth.len()), "{}", tenth.len());
        assert_eq!(some("10").await, tenth);
        let half = some("2").await;
        assert!(tenth.iter().all(|row| half.contains(row)));
        drawn.push(tenth);
    }
    assert_eq!(drawn[0], drawn[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_no_condition_is_shown_where_it_stands() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (query, place, piece) in [
        ("| where status", (8, 14), "status"),
        ("| where took > 1 and user.name | limit 1", (21, 30), "user.name"),
        ("é | stats count() as n by host | where n", (39, 40), "n"),
        ("| eval x = if(status, 1, 2)", (14, 20), "status"),
        ("| where if(ok, 1, 2)", (8, 10), "if(ok, 1, 2)"),
    ] {
        for path in ["/api/v1/query", "/api/v1/query/explain", "/api/v1/export"] {
            let found = answer(&app, path, json!({ "query": query })).await;
            let error = &found["error"];
            assert_eq!(error["code"], "invalid_query", "{path} {query}: {found}");
            assert_eq!(error["message"], format!("{piece} is no condition"), "{path} {query}");
            let position = &error["position"];
            assert_eq!((&position["start"], &position["end"]), (&json!(place.0), &json!(place.1)));
            assert!(position["expected"].as_array().unwrap().len() > 3, "{error}");
            assert!(error["hint"].as_str().unwrap().starts_with("compare it"), "{error}");
        }
    }
    assert_eq!(rows(&app, json!({ "query": "| where ok" })).await.len(), 1);
    assert_eq!(rows(&app, json!({ "query": "| where not ok" })).await.len(), 7);
}
