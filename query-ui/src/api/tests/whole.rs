//! Answers of all records, in slices; pages of one range; what goes down into scans, pipes' or SQL's; several
//! facets.

use super::*;

/// As many records as make many slices and several splits, some of one time.
async fn many(rest: Rest, slice_rows: u32) -> (Fixture, Router) {
    let fixture = Fixture::with(rest, |settings| settings.slice_rows = slice_rows);
    for partition in 0..2 {
        for part in 0..3 {
            let line = |number: usize| {
                let second = (number * 7 + part * 11 + partition) % 50;
                let (status, host) = ([200, 404, 503][number % 3], ["a", "b"][number % 2]);
                let level = ["info", "warn", "error"][number % 3];
                json!({"ts": format!("2026-01-01T00:00:{second:02}Z"), "level": level, "host": host,
                    "msg": format!("request {part} {number}"), "status": status, "took": number})
                .to_string()
            };
            let lines: Vec<String> = (0..60).map(line).collect();
            fixture.append(partition, &[("service", "web")], lines).await;
        }
    }
    let app = app(&fixture);
    (fixture, app)
}

async fn exported(app: &Router, query: &str) -> Vec<String> {
    let response = post(app, "/api/v1/export", &json!({ "query": query })).await;
    assert_eq!(response.status(), StatusCode::OK, "{query}");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_in_slices_is_what_is_sorted_at_once() {
    for rest in BOTH {
        let (_sliced, in_slices) = many(rest, 17).await;
        let (_whole, at_once) = many(rest, u32::MAX).await;
        for (query, count) in [
            ("", 360),
            ("status:503", 120),
            ("| where status == 503 | fields timestamp, host, took", 120),
            ("host:a | eval twice = took * 2", 180),
            ("| sort -timestamp", 360),
            ("timestamp>=2026-01-01T00:00:20Z timestamp<2026-01-01T00:00:21Z", 8),
        ] {
            let (parts, whole) =
                (exported(&in_slices, query).await, exported(&at_once, query).await);
            assert_eq!(parts, whole, "{query}");
            assert!(parts.len() >= count / 2 && parts.len() <= count, "{query}: {}", parts.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_pipes_find_what_they_find_by_themselves() {
    // What stands in a function is not known to scans.
    let pairs = [
        ("status == 503", "status + 0 == 503"),
        ("took >= 57", "took * 1 >= 57"),
        ("5 > took", "took + 0 < 5"),
        ("host == \"a\" and level == \"error\"", "upper(host) == \"A\" and status + 0 == 503"),
        (
            "status in (404, 503) or host == \"b\"",
            "status + 0 in (404, 503) or upper(host) == \"B\"",
        ),
        ("level >= \"warn\"", "status + 0 >= 404"),
        ("level != \"info\"", "status + 0 >= 404"),
        ("not (status == 503)", "status + 0 != 503"),
    ];
    for rest in BOTH {
        let (_fixture, app) = many(rest, 1_000).await;
        for (down, by_itself) in pairs {
            let count = async |condition: &str| {
                let query = format!("| where {condition} | stats count() as n, sum(took) as t");
                rows(&app, json!({ "query": query })).await
            };
            let (one, other) = (count(down).await, count(by_itself).await);
            assert_eq!(one, other, "{down}");
            assert!(one[0]["n"].as_u64().unwrap() > 0, "{down}");
        }
        let sql = async |condition: &str| {
            let sql = format!("SELECT count(*) AS n FROM logs WHERE {condition}");
            let response = post(&app, "/api/v1/sql", &json!({ "sql": sql })).await;
            let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let row: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
            row["row"]["n"].as_u64().unwrap()
        };
        assert_eq!(sql("status = 503 AND host = 'a'").await, 60);
        assert_eq!(sql("level = 'error'").await, 120);
        assert_eq!(sql("timestamp >= '2026-01-01T00:01:00Z'").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_of_pipes_leave_units_unread() {
    let (_fixture, app) = many(Rest::Splits, 1_000).await;
    let units = async |query: &str| {
        let lines = lines(&app, json!({ "query": query })).await;
        let stats = &lines.last().unwrap()["end"]["stats"];
        (stats["units"].as_u64().unwrap(), stats["records_passed"].as_u64().unwrap())
    };
    assert!(units("| where status == 503 | stats count()").await.1 <= 120);
    assert_eq!(units("| where host == \"nobody\" | stats count()").await.1, 0);
    let later = "| where timestamp > \"2026-02-01T00:00:00Z\" | stats count()";
    assert_eq!(units(later).await, (0, 0));
}

/// Rows of a statement, and how many records its scans gave.
async fn selected(app: &Router, sql: &str) -> (Vec<Value>, u64) {
    let response = post(app, "/api/v1/sql", &json!({ "sql": sql })).await;
    assert_eq!(response.status(), StatusCode::OK, "{sql}");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let passed = lines.last().unwrap()["end"]["stats"]["records_passed"].as_u64().unwrap();
    (lines.iter().filter_map(|line| line.get("row").cloned()).collect(), passed)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_few_are_picked_by_scans_for_pipes_and_for_sql() {
    for rest in BOTH {
        let (_fixture, app) = many(rest, 1_000).await;
        let piped = async |query: &str| {
            let lines = lines(&app, json!({ "query": query })).await;
            let passed = lines.last().unwrap()["end"]["stats"]["records_passed"].as_u64().unwrap();
            let times = lines.iter().filter_map(|line| line.get("row"));
            (times.map(|row| row["timestamp"].clone()).collect::<Vec<_>>(), passed)
        };
        let times = |rows: &[Value]| -> Vec<Value> {
            rows.iter().map(|row| row["timestamp"].clone()).collect()
        };
        for (sql, query, is_down) in [
            ("SELECT * FROM logs ORDER BY timestamp DESC LIMIT 7", "| limit 7", true),
            (
                "SELECT timestamp, message FROM logs AS l WHERE matches('status:503') \
                 ORDER BY l.timestamp DESC LIMIT 4",
                "status:503 | eval x = took * 2 | sort -timestamp | limit 4",
                true,
            ),
            (
                "SELECT timestamp FROM (SELECT timestamp, upper(host) AS h FROM logs) \
                 ORDER BY timestamp DESC LIMIT 3",
                "| fields timestamp | limit 3",
                true,
            ),
            (
                "SELECT timestamp FROM logs WHERE status = 503 ORDER BY timestamp DESC LIMIT 5",
                "| where status == 503 | limit 5",
                false,
            ),
        ] {
            let ((rows, by_sql), (expected, by_pipes)) =
                (selected(&app, sql).await, piped(query).await);
            assert_eq!(times(&rows), expected, "{rest:?} {sql}");
            let most = if is_down { 12 * expected.len() as u64 } else { 120 };
            assert!(by_sql <= most && by_pipes <= most, "{rest:?} {sql}: {by_sql} {by_pipes}");
        }
        // What is passed over is among them, what is asked of time alone is the order of all.
        let (all, _) = selected(&app, "SELECT timestamp FROM logs ORDER BY timestamp DESC").await;
        let (some, _) =
            selected(&app, "SELECT timestamp FROM logs ORDER BY timestamp DESC LIMIT 3 OFFSET 4")
                .await;
        assert_eq!(some, all[4..7]);
        let (oldest, _) =
            selected(&app, "SELECT timestamp FROM logs ORDER BY timestamp LIMIT 1").await;
        assert_eq!(oldest, all[all.len() - 1..]);
        let (latest, _) = selected(
            &app,
            "SELECT host, timestamp FROM logs ORDER BY host, timestamp DESC LIMIT 2",
        )
        .await;
        assert!(latest.iter().all(|row| row["host"] == "a"), "{latest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_are_of_the_range_of_the_first() {
    let (fixture, app) = many(Rest::Splits, 1_000).await;
    let age = fixture.engine.clock().now().0 / 1_000_000_000 - 1_767_225_600;
    // So long ago that the first records fall out of it while somebody reads on.
    let from = format!("-{}s", age);
    let mut ask = json!({ "query": "host:a", "from": from, "limit": 50 });
    let (mut seen, mut ranges) = (0, Vec::new());
    while ask["cursor"].is_string() || ranges.is_empty() {
        let lines = lines(&app, ask.clone()).await;
        let end = &lines.last().unwrap()["end"];
        seen += end["rows"].as_u64().unwrap();
        ranges.push(lines[0]["header"]["from"].as_str().unwrap().to_owned());
        ask["cursor"] = end["cursor"].clone();
    }
    let all = exported(&app, "host:a").await.len() as u64;
    assert!(seen > 150 && seen < all && ranges.len() == 4, "{seen} of {all} in {ranges:?}");
    assert!(ranges.iter().all(|from| *from == ranges[0]), "{ranges:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_facets_and_patterns_have_routes() {
    let (_fixture, app) = many(Rest::Splits, 1_000).await;
    let asked =
        json!({ "query": "status:503", "fields": ["host", "status", "absent"], "limit": 5 });
    let told = answer(&app, "/api/v1/facets", asked).await;
    let facets = told["facets"].as_array().unwrap();
    assert_eq!(facets.len(), 3);
    assert_eq!(facets[0]["values"], json!([{"value":"a","count":60},{"value":"b","count":60}]));
    assert_eq!(facets[1]["present"], 120);
    assert_eq!(facets[2]["values"], json!([]));
    for wrong in [json!({ "fields": [] }), json!({ "fields": ["a"], "limit": 0 })] {
        let refused = post(&app, "/api/v1/facets", &wrong).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    let search = json!({ "query": "status:503 | stats count()" });
    let response = post(&app, "/api/v1/patterns", &search).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let row = lines.iter().find_map(|line| line.get("row")).unwrap();
    assert_eq!((&row["_pattern"], &row["count"]), (&json!("request <*> <*>"), &json!(120)));
    assert_eq!(row["example"], "request 0 11");
    assert!(row["first_seen"].as_str() < row["last_seen"].as_str(), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_scans_tell_of_groups_is_what_their_records_say() {
    let told = "count() as n, min(timestamp) as first, max(timestamp) as last, \
                min(message) as example, max(level) as worst, min(level) as mildest";
    for rest in BOTH {
        let (_fixture, app) = many(rest, 1_000).await;
        for (search, by) in [
            ("", "_pattern"),
            ("status:503", "_pattern, host"),
            ("host:a took>20", "_pattern, level"),
            ("timestamp>2026-01-01T00:00:10Z", "host, bin(timestamp, 10s)"),
            ("", "service, host, _pattern, level"),
        ] {
            let counted = format!("{search} | stats {told} by {by}");
            let counted = rows(&app, json!({ "query": counted })).await;
            // A sum needs the records.
            let query = format!("{search} | stats {told}, sum(took) as sum by {by}");
            let mut expected = rows(&app, json!({ "query": query })).await;
            for row in &mut expected {
                row.as_object_mut().unwrap().remove("sum").unwrap();
            }
            assert_eq!(counted, expected, "{rest:?} {search} {by}");
            assert!(!counted.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_a_file_of_parquet_with_times_that_are_times() {
    let (_fixture, app) = many(Rest::Splits, 100).await;
    let body = json!({ "query": "status:503", "format": "parquet" });
    let response = post(&app, "/api/v1/export", &body).await;
    assert_eq!(response.headers()["content-type"], "application/vnd.apache.parquet");
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes);
    let mut rows = 0;
    for batch in reader.unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let time = batch.column_by_name("timestamp").unwrap().data_type().clone();
        assert!(matches!(time, arrow::datatypes::DataType::Timestamp(_, Some(_))), "{time}");
        let fields = arrow::util::display::array_value_to_string(batch.column(7), 0).unwrap();
        assert!(fields.contains("\"status\":503"), "{fields}");
        rows += batch.num_rows();
    }
    assert_eq!(rows, 120);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_not_let_in() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for method in ["POST", "OPTIONS"] {
        let request = Request::builder()
            .method(method)
            .uri("/api/v1/query")
            .header("origin", "https://elsewhere.example")
            .header("access-control-request-method", "POST")
            .body(Body::from("{}"))
            .unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let allows = |name: &&str| name.starts_with("access-control-");
        assert_eq!(response.headers().keys().map(|name| name.as_str()).find(allows), None);
        assert_eq!(response.status().is_success(), method == "POST", "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_has_a_name_that_nobody_guesses() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let name = async || {
        let response = post(&app, "/api/v1/query", &json!({})).await;
        response.headers()["x-query-id"].to_str().unwrap().to_owned()
    };
    let (one, other) = (name().await, name().await);
    assert_eq!((one.len(), other.len()), (16, 16));
    let number = |id: &str| u64::from_str_radix(id, 16).unwrap();
    assert!(number(&one).abs_diff(number(&other)) > 1 << 20, "{one} {other}");
}
