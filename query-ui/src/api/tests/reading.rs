//! For editors, by id, around a record, as a file.

use std::io::Read as _;

use super::*;

async fn get(app: &Router, path: &str, encoding: &str) -> Response<Body> {
    let request = Request::get(path).header("accept-encoding", encoding).body(Body::empty());
    app.clone().oneshot(request.unwrap()).await.unwrap()
}

async fn got(app: &Router, path: &str) -> Value {
    let response = get(app, path, "identity").await;
    serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
}

fn texts(completions: &Value) -> Vec<&str> {
    completions.as_array().unwrap().iter().map(|one| one["text"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_taken_apart_for_editors() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let parsed = |body| answer(&app, "/api/v1/query/parse", body);
        let read = parsed(json!({"query":"level:error | stats count() as n by host"})).await;
        assert_eq!(read["kind"], "table");
        assert_eq!(read["tokens"][0], json!({"start":0,"end":5,"kind":"field"}));
        assert_eq!(read["diagnostics"], json!([]));
        let wrong = parsed(json!({"query":"error | stat count()"})).await;
        assert_eq!(wrong["kind"], Value::Null);
        let first = &wrong["diagnostics"][0];
        assert_eq!((&first["start"], &first["end"]), (&json!(8), &json!(12)));
        assert_eq!(first["hint"], "did you mean stats?");
        let unknown = parsed(json!({"query":"statsu:200"})).await;
        assert_eq!(unknown["diagnostics"][0]["severity"], "warning");
        assert_eq!(unknown["diagnostics"][0]["hint"], "did you mean status?");
        for (query, place, hint) in [
            ("| stats count() by statsu", [19, 25], "did you mean status?"),
            ("| where tooks > 5", [8, 13], "did you mean took?"),
            ("| eval t = took | sort t, hots", [26, 30], "did you mean host?"),
            ("| union (level:info | dedup `hots`)", [28, 34], "did you mean host?"),
        ] {
            let found = parsed(json!({ "query": query })).await["diagnostics"].clone();
            assert_eq!(found.as_array().map(Vec::len), Some(1), "{query}: {found}");
            let [start, end] = place;
            let expected = json!({"severity": "warning", "start": start, "end": end, "hint": hint,
                "message": found[0]["message"], "expected": []});
            assert_eq!(found[0], expected, "{query}");
        }
        let fields = parsed(json!({"query":"GET sta"})).await;
        // Those that begin so, then those that hold it.
        assert_eq!(texts(&fields["completions"]), ["status", "timestamp"]);
        assert_eq!(fields["completions"][0]["start"], 4);
        let values = parsed(json!({"query":"host:w"})).await;
        assert_eq!(texts(&values["completions"]), ["web1"]);
        let open = parsed(json!({"query":"host:","cursor":5})).await;
        assert_eq!(texts(&open["completions"]), ["web1", "job1"]);
        for (query, start, end) in [("host:\"w", 5, 7), ("-host:eb", 6, 8), ("a host:w b", 7, 8)] {
            let cursor = end;
            let value = parsed(json!({"query":query,"cursor":cursor})).await;
            assert_eq!(texts(&value["completions"]), ["web1"], "{query}");
            let place = (&value["completions"][0]["start"], &value["completions"][0]["end"]);
            assert_eq!(place, (&json!(start), &json!(end)), "{query}");
        }
        let negated = parsed(json!({"query":"-hos"})).await;
        assert_eq!(texts(&negated["completions"]), ["host"]);
        assert_eq!(negated["completions"][0]["start"], 1);
        let compared = parsed(json!({"query":"status>"})).await;
        assert_eq!(texts(&compared["completions"]), [""; 0]);
        let pipes = parsed(json!({"query":"GET | so"})).await;
        assert_eq!(texts(&pipes["completions"]), ["sort"]);
        let columns = parsed(json!({"query":"| stats count_d"})).await;
        assert_eq!(texts(&columns["completions"]), ["count_distinct(", "count_distinct_estimate("]);
        for (query, first) in [("| stats s", "sum("), ("| stats count() by s", "status")] {
            let offered = parsed(json!({"query":query})).await;
            assert_eq!(texts(&offered["completions"])[0], first, "{query}");
        }
        let bad = post(&app, "/api/v1/query/parse", &json!({"query":1})).await;
        assert_eq!(bad.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_explained_without_reading() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let body = json!({"query":"GET NOT /b from 2026-01-01 to 2026-01-02 | limit 5"});
        let explained = answer(&app, "/api/v1/query/explain", body).await;
        assert_eq!(explained["filter"], "\"get\" NOT \"/b\"");
        assert_eq!(explained["to"], "2026-01-02T00:00:00.000000000Z");
        assert!(explained["plan"].as_str().unwrap().contains("LogScan"), "{explained}");
        let units = &explained["units"];
        let count = units["splits"].as_u64().unwrap() + units["fresh"].as_u64().unwrap();
        assert!(count >= 1, "{units}");
        assert!(explained["records"].as_u64().unwrap() >= 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_an_address_and_surroundings() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        assert_eq!(got(&app, "/api/v1/records/0-2").await["record"]["message"], "GET /c");
        let around = got(&app, "/api/v1/records/0-2/context?before=1&after=5").await;
        let side = |name: &str| messages(around[name].as_array().unwrap()).join(", ");
        assert_eq!(side("before"), "GET /b failed");
        assert_eq!(around["record"]["message"], "GET /c");
        assert_eq!(side("after"), "slow, GET /d");
        let all = got(&app, "/api/v1/records/0-2/context?scope=all&before=2&after=0").await;
        assert_eq!(messages(all["before"].as_array().unwrap()).len(), 2);
        assert_eq!(all["after"], json!([]));
        for (path, status) in [
            ("/api/v1/records/0-99", StatusCode::NOT_FOUND),
            ("/api/v1/records/nonsense", StatusCode::UNPROCESSABLE_ENTITY),
            ("/api/v1/records/0-2/context?before=5000", StatusCode::UNPROCESSABLE_ENTITY),
            ("/api/v1/records/0-2/context?scope=moon", StatusCode::UNPROCESSABLE_ENTITY),
        ] {
            assert_eq!(get(&app, path, "identity").await.status(), status, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_with_those_around_them() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let found = async |query: &str| {
            let query = format!("{query} | fields message, host, _matched");
            rows(&app, json!({ "query": query })).await
        };
        let row = |message: &str, matched: bool| json!({"message": message, "host": "web1", "_matched": matched});
        // The other host's records of the same time are not among them.
        assert_eq!(
            found("slow | context before 2 after 1").await,
            [
                row("GET /d", false),
                row("slow", true),
                row("GET /c", false),
                row("GET /b failed", false)
            ]
        );
        // What is around several comes once, as searched where it was.
        assert_eq!(
            found("slow OR \"/c\" | sort timestamp | limit 1 | context after 1").await,
            [row("slow", false), row("GET /c", true)]
        );
        assert_eq!(found("slow OR \"/c\" | context before 1").await.len(), 3);
        assert_eq!(found("nowhere | context 5").await, [] as [Value; 0]);
        // The time of a query holds for what is around, also in brackets.
        let inner =
            "nowhere | union (from 2026-01-01T00:00:59Z to 2026-01-01T00:01:30Z slow | context 9)";
        assert!(found(inner).await.len() < found("slow | context 9").await.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_answer_is_a_file() {
    let (_fixture, app) = small(Rest::Splits).await;
    let file = async |path: &str| {
        let response = get(&app, path, "identity").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    let lines = file("/api/v1/export?query=host:job1").await;
    assert_eq!(lines.lines().count(), 3);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["message"], "disk full");
    let table = file(
        "/api/v1/export?query=|%20stats%20count()%20as%20n%20by%20host%20|%20sort%20host&format=csv",
    );
    assert_eq!(table.await, "host,n\r\njob1,3\r\nweb1,5\r\n");
    let records = file("/api/v1/export?query=trace&format=csv").await;
    assert!(records.contains(",error,\"job failed \"\"a\"\"\n\ttrace\",1-0,"), "{records}");
    let packed = get(&app, "/api/v1/export?query=", "gzip, br").await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = to_bytes(packed.into_body(), usize::MAX).await.unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*packed).read_to_string(&mut text).unwrap();
    assert_eq!(text.lines().count(), 8);
    let wrong = get(&app, "/api/v1/export?query=(&format=csv", "identity").await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    let wrong = get(&app, "/api/v1/export?format=xml", "identity").await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
}
