//! SQL: where a statement is wrong, and how much its functions may make.

use super::*;

/// The error of a statement that is refused.
async fn refused(app: &Router, sql: &str) -> Value {
    let mut found = answer(app, "/api/v1/sql", json!({ "sql": sql })).await;
    assert_eq!(found["error"]["code"], "invalid_query", "{sql}: {found}");
    found["error"].take()
}

/// The last line of an answer.
async fn last(app: &Router, sql: &str) -> Value {
    let response = post(app, "/api/v1/sql", &json!({ "sql": sql })).await;
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// The rows of an answer.
async fn selected(app: &Router, sql: &str) -> Vec<Value> {
    let response = post(app, "/api/v1/sql", &json!({ "sql": sql })).await;
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|mut line| line.get_mut("row").map(Value::take)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_wrong_says_where() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (sql, piece, hint) in [
        ("SELECT statsu FROM logs", "statsu", "did you mean status?"),
        ("SELECT host,\n  mesage FROM logs", "mesage", "did you mean message?"),
        ("SELECT 'é', hots FROM logs", "hots", "did you mean host?"),
        ("SELECT logs.statsu FROM logs", "logs.statsu", "did you mean status?"),
        ("SELECT host FROM logs WHERE tooks > 5", "tooks", "did you mean took?"),
        ("SELECT count(*) FROM logs GROUP BY hots", "hots", "did you mean host?"),
        ("SELECT host FROM log", "log", "the table is logs"),
        ("SELECT uppr(host) FROM logs", "uppr", "did you mean upper?"),
        // What makes rows without end of nothing.
        ("SELECT count(*) FROM generate_series(1, 5)", "generate_series", "the table is logs"),
        ("SELECT x.value FROM logs, range(1, 5) x", "range", "the table is logs"),
        ("SELECT host FORM logs", "logs", ""),
        (
            "SELECT “x” FROM logs",
            "“",
            "this is a typographic quote: replace it by the plain character",
        ),
        ("SELECT count(*) FROM logs WHERE matches('it''s level>=lud') AND 1 = 1", "lud", ""),
        (
            "SELECT sum(host) FROM logs",
            "sum",
            "what is text here becomes a number so: sum(TRY_CAST(field AS DOUBLE))",
        ),
    ] {
        let error = refused(&app, sql).await;
        let place =
            |name: &str| usize::try_from(error["position"][name].as_u64().unwrap()).unwrap();
        let (start, end) = (place("start"), place("end"));
        let found: String = sql.chars().skip(start).take(end - start).collect();
        assert_eq!(found, piece, "{sql}: {error}");
        assert_eq!(error["hint"].as_str().unwrap_or_default(), hint, "{sql}: {error}");
    }
    let error = refused(&app, "SELECT host FROM logs WHERE").await;
    assert_eq!((&error["position"]["start"], &error["position"]["end"]), (&json!(27), &json!(28)));
    assert!(!error["message"].as_str().unwrap().contains("Line"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_without_equal_keys_has_all_its_rows_or_is_too_large() {
    let line = |n: usize| json!({ "msg": "x".repeat(1_000), "n": n }).to_string();
    let sql =
        "SELECT count(*) AS n FROM logs a JOIN logs b ON a.n < b.n AND a.message <= b.message";
    for (bytes_max, expected) in [(64 << 10, None), (64 << 20, Some(19_900))] {
        let fixture = Fixture::with(Rest::Fresh, |settings| settings.memory_bytes_max = bytes_max);
        fixture.append(0, &[("host", "a")], (0..200).map(line)).await;
        let app = app(&fixture);
        match expected {
            Some(count) => assert_eq!(selected(&app, sql).await, [json!({ "n": count })]),
            None => assert_eq!(last(&app, sql).await["error"]["code"], "too_large"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_sql_makes_have_a_bound() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let long = "e".repeat(20_000);
    let doubled = |first: &str, next: &str| {
        let more: Vec<String> =
            (1..25).map(|n| format!("a{n} AS (SELECT {next} AS x FROM a{})", n - 1)).collect();
        let more = more.join(", ");
        format!("WITH a0 AS (SELECT {first} AS x FROM logs), {more} SELECT max(length(x)) FROM a24")
    };
    for sql in [
        doubled("message || message", "x || x"),
        doubled("message", "concat_ws('-', x, x)"),
        format!(
            "SELECT max(regexp_replace(regexp_replace(message, '.', '{long}', 'g'), 'e', '{long}', 'g')) \
             FROM logs"
        ),
    ] {
        assert_eq!(last(&app, &sql).await["error"]["code"], "too_large", "{sql}");
    }
    let groups = "()".repeat(17);
    for sql in [
        "SELECT overlay(message PLACING 'x' FROM 1) FROM logs".to_owned(),
        "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT n FROM x"
            .to_owned(),
        format!("SELECT regexp_match(message, '{groups}') FROM logs"),
        "SELECT regexp_match(message, host) FROM logs".to_owned(),
        format!("SELECT string_agg(message, '{long}') FROM logs"),
        format!("SELECT to_char(timestamp, '{long}') FROM logs"),
        "SELECT date_format(timestamp, message) FROM logs".to_owned(),
        "SELECT string_agg(message, ',') OVER (ORDER BY timestamp) FROM logs".to_owned(),
        "SELECT count(x) FROM (SELECT array_agg(message) OVER () AS x FROM logs)".to_owned(),
    ] {
        refused(&app, &sql).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_sql_makes_are_what_they_were() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let sql = "SELECT max(message || '-' || status) AS x, \
                   max(regexp_replace(message, '[a-z]', '#')) AS y, \
                   max(concat_ws('/', host, status)) AS z FROM logs WHERE matches('GET')";
        let expected = json!({ "x": "GET /d-404", "y": "GET /# failed", "z": "web1/503" });
        assert_eq!(selected(&app, sql).await, [expected], "{rest:?}");
        let sql = "SELECT message || status AS x, concat_ws('/', status, host) AS y FROM logs \
                   WHERE matches('disk')";
        assert_eq!(selected(&app, sql).await, [json!({ "x": null, "y": "job1" })], "{rest:?}");
        let sql =
            "SELECT host || '!' AS h, count(*) AS n FROM logs GROUP BY host || '!' ORDER BY h";
        let expected = [json!({ "h": "job1!", "n": 3 }), json!({ "h": "web1!", "n": 5 })];
        assert_eq!(selected(&app, sql).await, expected, "{rest:?}");
        let sql =
            "SELECT regexp_match(message, '/(.)')  AS m FROM logs WHERE matches('status:404')";
        assert_eq!(selected(&app, sql).await, [json!({ "m": ["d"] })], "{rest:?}");
    }
}
