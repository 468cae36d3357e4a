//! The name of whatever is asked, and its bounds: time, memory, places, rows.

use tokio::task::{JoinSet, yield_now};

use super::*;

/// Asks under a name.
async fn named(app: &Router, path: &str, name: &str, body: &Value) -> Response<Body> {
    let request = Request::post(path).header("x-query-id", name);
    let request = request.body(Body::from(body.to_string())).unwrap();
    app.clone().oneshot(request).await.unwrap()
}

async fn ended(app: &Router, name: &str) -> StatusCode {
    let path = format!("/api/v1/queries/{name}");
    let request = Request::delete(path).body(Body::empty()).unwrap();
    app.clone().oneshot(request).await.unwrap().status()
}

/// What is answered in one piece, with what it is asked.
fn small_answers() -> [(&'static str, Value); 5] {
    [
        ("/api/v1/histogram", json!({})),
        ("/api/v1/fields", json!({})),
        ("/api/v1/field-values", json!({ "field": "host" })),
        ("/api/v1/facets", json!({ "fields": ["host", "level"] })),
        ("/api/v1/query/parse", json!({ "query": "host:" })),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_has_a_name_also_one_that_the_asker_gives() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let given = "00000000c0ffee00";
    let streamed =
        ["/api/v1/query", "/api/v1/patterns", "/api/v1/export"].map(|path| (path, json!({})));
    for (path, body) in small_answers().into_iter().chain(streamed) {
        let response = named(&app, path, given, &body).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()["x-query-id"], given, "{path}");
        // What is no name of sixteen digits is none: the node draws one.
        let response = named(&app, path, "mine", &body).await;
        let drawn = response.headers()["x-query-id"].to_str().unwrap();
        assert!(drawn.len() == 16 && drawn != given, "{path}: {drawn}");
    }
    let status = Request::get("/api/v1/status").body(Body::empty()).unwrap();
    let status = app.clone().oneshot(status).await.unwrap();
    assert!(!status.headers().contains_key("x-query-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_answer_is_ended_by_its_name_and_when_its_asker_goes() {
    let fixture = Fixture::with(Rest::Fresh, |settings| {
        settings.concurrency_max = 1;
        settings.wait_max = std::time::Duration::from_secs(600);
    });
    fixture.append(0, &[("host", "a")], ["{\"msg\":\"x\"}"]).await;
    let app = app(&fixture);
    let metrics = fixture.engine.metrics().clone();
    let ticket = fixture.engine.admit(None).await.unwrap();
    for (number, (path, body)) in small_answers().into_iter().enumerate() {
        let name = format!("{:016x}", 0xabc0 + number);
        let mut tasks = JoinSet::new();
        let (own, given) = (app.clone(), name.clone());
        tasks.spawn(async move { named(&own, path, &given, &body).await });
        while ended(&app, &name).await != StatusCode::NO_CONTENT {
            yield_now().await;
        }
        let response = tasks.join_next().await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::CONFLICT, "{path}");
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let told: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(told["error"]["code"], "cancelled", "{path}");
        assert_eq!(ended(&app, &name).await, StatusCode::NOT_FOUND, "{path}");
    }
    for (path, body) in small_answers() {
        let mut tasks = JoinSet::new();
        let own = app.clone();
        tasks.spawn(async move { post(&own, path, &body).await });
        while metrics.waiting.get() == 0 {
            yield_now().await;
        }
        tasks.shutdown().await;
        assert_eq!(metrics.waiting.get(), 0, "{path}");
    }
    assert_eq!(metrics.running.get(), 1);
    drop(ticket);
    assert_eq!(answer(&app, "/api/v1/histogram", json!({})).await["total"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_answers_have_the_time_of_a_query() {
    let fixture =
        Fixture::with(Rest::Fresh, |settings| settings.deadline = std::time::Duration::ZERO);
    fixture.append(0, &[("host", "a")], ["{\"msg\":\"x\"}"]).await;
    let app = app(&fixture);
    for (path, body) in small_answers() {
        let response = post(&app, path, &body).await;
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_fields_have_the_memory_of_a_query() {
    let fixture = Fixture::with(Rest::Fresh, |settings| settings.memory_bytes_max = 16 << 10);
    let line = |n: usize| json!({ "msg": "x", format!("field{n}"): n }).to_string();
    fixture.append(0, &[("host", "a")], (0..400).map(line)).await;
    let app = app(&fixture);
    // What units say of their fields, and what their records have.
    for query in ["", "x"] {
        let response = post(&app, "/api/v1/fields", &json!({ "query": query })).await;
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "{query:?}");
        let few = post(&app, "/api/v1/fields", &json!({ "query": "field7:7" })).await;
        assert_eq!(few.status(), StatusCode::OK);
    }
    assert_eq!(fixture.engine.metrics().memory_bytes.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_ends_at_its_bound_and_says_so_and_an_export_does_not() {
    for rest in BOTH {
        let fixture = Fixture::with(rest, |settings| settings.table_rows_max = 5);
        let line = |n: usize| json!({ "msg": "x", "n": n }).to_string();
        fixture.append(0, &[("host", "a")], (0..20).map(line)).await;
        let app = app(&fixture);
        let cut = json!([{ "what": "rows beyond the first 5",
            "why": "a table has so many at most (query.table_rows_max): group by fields with fewer values, or export it" }]);
        for (path, body, whole) in [
            ("/api/v1/query", json!({ "query": "| stats count() by n" }), false),
            ("/api/v1/query", json!({ "query": "| fields n" }), false),
            ("/api/v1/query", json!({ "query": "| stats count() by n | limit 5" }), true),
            ("/api/v1/query", json!({ "query": "| stats count() by host" }), true),
            ("/api/v1/sql", json!({ "sql": "SELECT n FROM logs" }), false),
            ("/api/v1/sql", json!({ "sql": "SELECT n FROM logs LIMIT 5" }), true),
        ] {
            let response = post(&app, path, &body).await;
            let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
            let end = &last["end"];
            let rows = text.lines().filter(|line| line.starts_with("{\"row\"")).count();
            assert_eq!(end["rows"], json!(rows), "{body}");
            assert!(rows == 5 || (whole && rows < 5), "{body}: {rows}");
            assert_eq!(end["partial"], if whole { json!([]) } else { cut.clone() }, "{body}");
        }
        assert_eq!(fixture.engine.metrics().tables_cut.get(), 3);
        // Records have a limit of their own, and files cannot say that they lack something.
        assert_eq!(rows(&app, json!({ "query": "", "limit": 0 })).await.len(), 20);
        let request = Request::post("/api/v1/query").header("accept", "text/csv");
        let body = json!({ "query": "| stats count() by n" }).to_string();
        let request = request.body(Body::from(body)).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        assert!(to_bytes(response.into_body(), usize::MAX).await.is_err());
        let export = json!({ "query": "| stats count() by n", "format": "csv" });
        let response = post(&app, "/api/v1/export", &export).await;
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        assert_eq!(String::from_utf8(bytes.to_vec()).unwrap().lines().count(), 21);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_made_have_a_bound() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let twice = |n: usize| match n {
        0 => "x0 = concat(message, message)".to_owned(),
        n => format!("x{n} = concat(x{0}, x{0})", n - 1),
    };
    let doubled: Vec<String> = (0..28).map(twice).collect();
    let long = "e".repeat(20_000);
    for query in [
        format!("| eval {} | stats sum(length(x27))", doubled.join(", ")),
        format!(
            "| eval x = replace(message, \"a\", \"{long}\"), y = replace(x, \"e\", \"{long}\") | stats max(y)"
        ),
        format!(
            "| eval x = replace_regex(message, /./, \"{long}\"), y = replace_regex(x, /./, \"{long}\") | stats max(y)"
        ),
    ] {
        let body = json!({ "query": query });
        let response = post(&app, "/api/v1/query", &body).await;
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(last["error"]["code"], "too_large", "{text}");
    }
    let some = "SELECT max(concat(message, '-', status)) AS x, max(replace(message, 'GET', 'got')) AS y, \
                max(lpad(message, 12, '.')) AS z FROM logs WHERE matches('GET')";
    let response = post(&app, "/api/v1/sql", &json!({ "sql": some })).await;
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    // The longest is cut to what is asked.
    let expected = json!({ "row": { "x": "GET /d-404", "y": "got /d", "z": "GET /b faile" } });
    assert_eq!(serde_json::from_str::<Value>(text.lines().nth(1).unwrap()).unwrap(), expected);
    for wrong in [
        "SELECT repeat(message, 1000000) FROM logs",
        "SELECT lpad(message, 1000000) FROM logs",
        "SELECT message FROM logs WHERE rpad(message, status) = 'x'",
        "EXPLAIN SELECT message FROM logs",
    ] {
        let response = post(&app, "/api/v1/sql", &json!({ "sql": wrong })).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
}
