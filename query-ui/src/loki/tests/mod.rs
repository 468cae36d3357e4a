//! LogQL over real records, as Grafana's source asks it.

mod members;
mod written;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::router;
use crate::fixture::{Fixture, Rest};

/// Five web requests on one host, three jobs on another, all within two minutes of 2026.
async fn small(rest: Rest) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let web = [
        json!({"ts":"2026-01-01T00:00:01Z","level":"info","msg":"GET /a took=5ms code=200","status":200}),
        json!({"ts":"2026-01-01T00:00:03Z","level":"error","msg":"GET /b failed took=20ms code=503","status":503}),
        json!({"ts":"2026-01-01T00:00:10Z","level":"info","msg":"GET /c took=7ms code=200","status":200}),
        json!({"ts":"2026-01-01T00:01:00Z","level":"warn","msg":"slow","user":{"name":"bob"}}),
    ];
    let jobs = [
        json!({"ts":"2026-01-01T00:00:02Z","level":"error","msg":r#"{"job":"a","took":7}"#}),
        json!({"ts":"2026-01-01T00:00:59Z","level":"info","msg":r#"{"job":"b","took":3}"#}),
    ];
    fixture.append(0, &[("host", "web1"), ("app", "web")], web.map(|line| line.to_string())).await;
    fixture.append(1, &[("host", "job1"), ("app", "job")], jobs.map(|line| line.to_string())).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    let tails = super::Tails { room, shutdown: platform::shutdown::Shutdown::default() };
    let app = router(fixture.engine.clone(), tails);
    (fixture, app)
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

async fn ask(app: &Router, path: &str, query: &str, rest: &str) -> (StatusCode, Value) {
    ask_as(app, None, path, query, rest).await
}

/// Asks as somebody who names tenants.
async fn ask_as(
    app: &Router,
    tenants: Option<&str>,
    path: &str,
    query: &str,
    rest: &str,
) -> (StatusCode, Value) {
    let uri = format!("/loki/api/v1/{path}?query={}{rest}", encoded(query));
    let mut request = Request::get(uri);
    if let Some(tenants) = tenants {
        request = request.header("X-Scope-OrgID", tenants);
    }
    if rest.contains("categorized") {
        request = request.header("X-Loki-Response-Encoding-Flags", "categorize-labels");
    }
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

const WHEN: &str = "&start=1767225600000000000&end=1767225720000000000";

async fn lines(app: &Router, query: &str) -> Vec<String> {
    let (status, answer) = ask(app, "query_range", query, WHEN).await;
    assert_eq!(status, StatusCode::OK, "{query}: {answer}");
    let mut lines: Vec<(String, String)> = Vec::new();
    for stream in answer["data"]["result"].as_array().unwrap() {
        for value in stream["values"].as_array().unwrap() {
            let text = |at: usize| value[at].as_str().unwrap().to_owned();
            lines.push((text(0), text(1)));
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

#[tokio::test]
async fn lines_are_those_that_a_query_says() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = small(rest).await;
        let job = [r#"{"job":"a","took":7}"#, r#"{"job":"b","took":3}"#];
        for (query, expected) in [
            (r#"{app="job"}"#, job.to_vec()),
            (r#"{app=~"j.*", host!="web1"}"#, job.to_vec()),
            (r#"{app="web"} |= "failed""#, vec!["GET /b failed took=20ms code=503"]),
            (r#"{app="web"} |= "FAILED""#, vec![]),
            (r#"{app="web"} != "GET""#, vec!["slow"]),
            (
                r#"{app="web"} |= "ailed" or "slo""#,
                vec!["GET /b failed took=20ms code=503", "slow"],
            ),
            (r#"{app="web"} |~ `/[ac]` !~ "/c""#, vec!["GET /a took=5ms code=200"]),
            (
                r#"{app="web"} |> "GET <_> took=<_>""#,
                vec![
                    "GET /a took=5ms code=200",
                    "GET /b failed took=20ms code=503",
                    "GET /c took=7ms code=200",
                ],
            ),
            (r#"{app="web"} !> "GET <_>""#, vec!["slow"]),
            // Something stands for each <_>, and a line ends where its pattern does.
            (
                r#"{app="web"} |> `<_> code=200` or `slow` !> "<_>GET <_>""#,
                vec!["GET /a took=5ms code=200", "GET /c took=7ms code=200", "slow"],
            ),
            (r#"{app="job"} | json | took > 5"#, vec![job[0]]),
            (r#"{app="job"} | json | job="b" | line_format "{{.job}}={{.took}}""#, vec!["b=3"]),
            (
                r#"{app="web"} | logfmt | took >= 7ms and code != 200"#,
                vec!["GET /b failed took=20ms code=503"],
            ),
            (
                r#"{app="web"} | pattern "GET <path> <_>" | path="/c""#,
                vec!["GET /c took=7ms code=200"],
            ),
            (
                r#"{app="web"} | regexp "code=(?P<code>[0-9]+)" | code =~ "5.." | line_format "{{.code}}""#,
                vec!["503"],
            ),
            (r#"{app="web"} | status = 503"#, vec!["GET /b failed took=20ms code=503"]),
            (r#"{app="web"} | user_name = "bob""#, vec!["slow"]),
            (
                r#"{host=~".+"} | detected_level = "error""#,
                vec![job[0], "GET /b failed took=20ms code=503"],
            ),
        ] {
            assert_eq!(lines(&app, query).await, expected, "{rest:?} {query}");
        }
    }
}

/// Beside the small ones, a record of a tracer, and a line that calls its members like what records have.
async fn odd(rest: Rest) -> (Fixture, Router) {
    let (fixture, app) = small(rest).await;
    let lines = [
        json!({"ts":"2026-01-01T00:00:05Z","msg":"otel","http.status_code":503,"user-agent":"curl","k8s.pod.start_time":"now","id":"m1"}),
        json!({"ts":"2026-01-01T00:00:06Z","msg":INNER}),
    ];
    let labels = [("app", "odd"), ("label_id", "L1")];
    fixture.append(0, &labels, lines.map(|line| line.to_string())).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    (fixture, app)
}

const INNER: &str = r#"{"id":7,"message":"inner","timestamp":"t"}"#;

#[tokio::test]
async fn labels_find_what_they_were_made_of() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = odd(rest).await;
        for (stages, expected) in [
            (r#"| http_status_code="503""#, vec!["otel"]),
            ("| http_status_code > 500", vec!["otel"]),
            (r#"| http_status_code="""#, vec![INNER]),
            (r#"| user_agent=~"cu.*""#, vec!["otel"]),
            (r#"| k8s_pod_start_time="now""#, vec!["otel"]),
            (r#"| id="m1""#, vec!["otel"]),
            ("| json | id=7", vec![INNER]),
            (r#"| json | message="inner" | timestamp="t""#, vec![INNER]),
            (r#"| json | line_format "{{.message}} {{.id}}""#, vec![" m1", "inner 7"]),
            (r#"| regexp "(?P<message>ot.l)" | message="otel""#, vec!["otel"]),
            (r#"| label_format id=user_agent | id="curl""#, vec!["otel"]),
            // What lines lost they have no more, until something is taken out of them again.
            (r#"| drop user_agent | user_agent="curl""#, vec![]),
            (r#"| drop user_agent | user_agent="""#, vec!["otel", INNER]),
            ("| drop http_status_code | http_status_code > 500", vec![]),
            (r#"| keep app | id="m1""#, vec![]),
            (r#"| label_format ua=user_agent | user_agent="" | ua="curl""#, vec!["otel"]),
            ("| drop id | json | id=7", vec![INNER]),
        ] {
            let query = format!(r#"{{app="odd"}} {stages}"#);
            assert_eq!(lines(&app, &query).await, expected, "{rest:?} {query}");
        }
        assert_eq!(lines(&app, r#"{id="L1"} |= "otel""#).await, ["otel"], "{rest:?}");
        let one = |labels: Value, value: &str| json!([{ "metric": labels, "value": [1_767_225_660, value] }]);
        for (query, expected) in [
            // A piece called timestamp is not the record's time.
            (
                r#"sum(count_over_time({app="odd"} | pattern "<timestamp>" [1m]))"#,
                one(json!({}), "2"),
            ),
            (
                r#"sum by (http_status_code) (count_over_time({app="odd"} | id="m1" [1m]))"#,
                one(json!({"http_status_code": "503"}), "1"),
            ),
            (
                r#"sum by (user_agent) (count_over_time({app="odd"} | drop user_agent [1m]))"#,
                one(json!({}), "2"),
            ),
        ] {
            let found = result(&app, "query", query, "&time=1767225660").await;
            assert_eq!(found, expected, "{rest:?} {query}");
        }
        let query = r#"{app="odd"}"#;
        let (_, answer) = ask(&app, "detected_field/http_status_code/values", query, WHEN).await;
        assert_eq!(answer["values"], json!(["503"]), "{rest:?}");
        let categorized = format!("{WHEN}&x=categorized");
        let query = r#"{app="odd"} | regexp "(?P<id>in+)er""#;
        let (_, answer) = ask(&app, "query_range", query, &categorized).await;
        let newest = &answer["data"]["result"][0]["values"][0];
        assert_eq!(newest[2], json!({"parsed": {"id": "inn"}}), "{rest:?} {answer}");
    }
}

async fn result(app: &Router, path: &str, query: &str, rest: &str) -> Value {
    let (status, answer) = ask(app, path, query, rest).await;
    assert_eq!(status, StatusCode::OK, "{query}: {answer}");
    answer["data"]["result"].clone()
}

#[tokio::test]
async fn figures_are_those_of_the_lines() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = small(rest).await;
        let at = "&time=1767225660";
        let one = |labels: Value, value: &str| json!([{ "metric": labels, "value": [1_767_225_660, value] }]);
        for (query, expected) in [
            (r#"sum(count_over_time({app=~".+"}[1m]))"#, one(json!({}), "6")),
            (r#"sum by (app) (count_over_time({app="web"}[1m]))"#, one(json!({"app": "web"}), "4")),
            (
                r#"count_over_time({app="job"}[1m])"#,
                one(json!({"app": "job", "host": "job1"}), "2"),
            ),
            (r#"sum(rate({app="web"}[30s]))"#, one(json!({}), "0.03333333333333333")),
            (r#"sum(bytes_over_time({app="web"} |= "slow" [1m]))"#, one(json!({}), "4")),
            (r#"sum(sum_over_time({app="job"} | json | unwrap took [1m]))"#, one(json!({}), "10")),
            (r#"max(max_over_time({app="job"} | json | unwrap took [1m]))"#, one(json!({}), "7")),
            (
                r#"avg_over_time({app="job"} | json | unwrap took [1m]) by (app)"#,
                one(json!({"app": "job"}), "5"),
            ),
            (
                r#"quantile_over_time(0.5, {app="job"} | json | unwrap took [1m]) by (app)"#,
                one(json!({"app": "job"}), "5"),
            ),
            (
                r#"topk(1, sum by (app) (count_over_time({app=~".+"}[1m])))"#,
                one(json!({"app": "web"}), "4"),
            ),
            (
                r#"sum(count_over_time({app="web"}[1m])) / sum(count_over_time({app="job"}[1m])) * 10"#,
                one(json!({}), "20"),
            ),
            (r#"sum(count_over_time({app="web"}[1m])) > 5"#, json!([])),
            (r#"sum(count_over_time({app="none"}[1m])) or vector(0)"#, one(json!({}), "0")),
        ] {
            assert_eq!(result(&app, "query", query, at).await, expected, "{rest:?} {query}");
        }
        // A range of two steps: the spans overlap.
        let range = "&start=1767225600&end=1767225660&step=30";
        let found =
            result(&app, "query_range", r#"sum(count_over_time({app=~".+"}[1m]))"#, range).await;
        assert_eq!(
            found,
            json!([{ "metric": {}, "values": [[1_767_225_630, "4"], [1_767_225_660, "6"]] }])
        );
        let found = result(
            &app,
            "query_range",
            r#"sum by (level, detected_level) (count_over_time({app="job"}[1m]))"#,
            "&start=1767225600&end=1767225660&step=60000ms",
        )
        .await;
        assert_eq!(found[0]["metric"], json!({"level": "error", "detected_level": "error"}));
    }
}

#[tokio::test]
async fn grafana_finds_what_its_source_needs() {
    let (_fixture, app) = small(Rest::Splits).await;
    let found =
        result(&app, "query", "vector(1)+vector(1)", "&time=4000000000&direction=backward").await;
    assert_eq!(found, json!([{ "metric": {}, "value": [4_000_000_000_i64, "2"] }]));
    let (_, answer) = ask(&app, "labels", "", WHEN).await;
    assert_eq!(answer, json!({"status": "success", "data": ["app", "host"]}));
    let (_, answer) = ask(&app, "label/app/values", "", WHEN).await;
    assert_eq!(answer["data"], json!(["job", "web"]));
    let (_, answer) = ask(&app, "label/level/values", r#"{app="job"}"#, WHEN).await;
    assert_eq!(answer["data"], json!(["error", "info"]));
    let (_, answer) =
        ask(&app, "series", "", &format!("{WHEN}&match[]={}", encoded(r#"{app="job"}"#))).await;
    assert_eq!(answer["data"], json!([{"app": "job", "host": "job1"}]));
    let (_, answer) = ask(&app, "detected_fields", r#"{app="web"}"#, WHEN).await;
    let status = json!({"label": "status", "type": "int", "cardinality": 2, "parsers": null});
    assert_eq!(answer["fields"][0], status);
    // Of the newest two lines, one has a status.
    let newest = format!("{WHEN}&line_limit=2");
    let (_, answer) = ask(&app, "detected_fields", r#"{app="web"}"#, &newest).await;
    assert_eq!(answer["fields"][0]["cardinality"], 1);
    let (status, _) = ask(&app, "detected_fields", "", "&line_limit=many").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (_, answer) = ask(&app, "index/volume", r#"{app=~".+"}"#, WHEN).await;
    assert_eq!(answer["data"]["result"][0]["metric"], json!({"app": "web"}));
    let (_, answer) = ask(&app, "index/stats", r#"{app="web"}"#, WHEN).await;
    assert_eq!(answer["entries"], 4);
    let categorized = format!("{WHEN}&x=categorized");
    let (_, answer) =
        ask(&app, "query_range", r#"{app="job"} | json | job="a""#, &categorized).await;
    let stream = &answer["data"]["result"][0];
    assert_eq!(answer["data"]["encodingFlags"], json!(["categorize-labels"]));
    assert_eq!(stream["stream"], json!({"app": "job", "host": "job1"}));
    let more = json!({"structuredMetadata": {"detected_level": "error"}, "parsed": {"job": "a", "took": "7"}});
    assert_eq!(stream["values"][0][2], more);
    let (_, answer) = ask(&app, "patterns", r#"{app="web"}"#, WHEN).await;
    assert!(!answer["data"].as_array().unwrap().is_empty(), "{answer}");
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (query, word) in [
        (r#"{app="web""#, "expected , or }"),
        (r#"sum(rate({app="web"}[1m])) or 0"#, "no numbers"),
        (r#"(1 + 1) unless sum(rate({app="web"}[1m]))"#, "no numbers"),
        (r#"{app=web}"#, "value"),
        (r#"{app="web"} | wat"#, "wat"),
        (r#"{app=~"("}"#, "regular expression"),
        (r#"{app="web"} |> "<_><_>""#, "side by side"),
        (r#"{app="web"} |> "GET <path>""#, "names"),
        (r#"histogram_quantile(0.9, x)"#, "histogram_quantile"),
        (r#"sum({app="web"})"#, "count"),
        (r#"rate({app="web"}[0s])"#, "range"),
        ("{app=\"web\"} |= \"x", "nothing that a query has"),
        (
            r#"{app="web"} | line_format "{{ .a | sha256sum }}""#,
            "col 36: sha256sum is not supported",
        ),
        (r#"{app="web"} | label_format b=`{{define "x"}}{{end}}`"#, "define is not supported"),
    ] {
        let (status, answer) = ask(&app, "query_range", query, WHEN).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {answer}");
        assert!(answer.as_str().unwrap().contains(word), "{query}: {answer}");
    }
}

#[tokio::test]
async fn what_is_joined_is_bounded() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let sum = |count: usize| "vector(1)".to_owned() + &"+vector(1)".repeat(count);
    let (_, answer) = ask(&app, "query", &sum(200), "&time=4000000000").await;
    assert_eq!(answer["data"]["result"][0]["value"][1], "201", "{answer}");
    let tests = |word: &str| {
        format!(r#"{{app="web"}} | a="1"{}"#, format!(r#" {word} a="1""#).repeat(1_000))
    };
    let stages = |part: &str| format!(r#"{{app="web"}}{}"#, part.repeat(1_000));
    let texts = format!(r#"{{app="web"}} |= "a"{}"#, r#" or "a""#.repeat(1_000));
    let labels = format!(r#"{{app="web"}} | json {}a"#, "a,".repeat(1_000));
    let formats = format!(r#"{{app="web"}} | label_format {}a=b"#, "a=b,".repeat(1_000));
    let all = [sum(2_000), tests("or"), tests("and"), tests(""), texts, labels, formats];
    for query in all.into_iter().chain([" | json", r#" |= "a""#].map(stages)) {
        let (status, answer) = ask(&app, "query_range", &query, WHEN).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer.as_str().unwrap().contains("more than 256"), "{answer}");
    }
}

/// Lines of two tenants, and one of nobody, on one host each.
async fn of_tenants(rest: Rest) -> (Fixture, Router) {
    let (fixture, _) = small(rest).await;
    for (number, labels, line) in [
        (1, &[("host", "ha"), ("job", "shop"), ("tenant", "a")][..], "sold three apples"),
        (2, &[("host", "hb"), ("job", "shop"), ("tenant", "b"), ("zone", "z")][..], "sold pears"),
        (3, &[("host", "hn"), ("job", "shop")][..], "sold nothing"),
    ] {
        let line = json!({"ts": format!("2026-01-01T00:00:2{number}Z"), "msg": line, "n": number});
        fixture.append(0, labels, [line.to_string()]).await;
    }
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let room = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    let tails = super::Tails { room, shutdown: platform::shutdown::Shutdown::default() };
    let app = router(fixture.engine.clone(), tails);
    (fixture, app)
}

#[tokio::test]
async fn who_names_a_tenant_sees_its_records_alone() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = of_tenants(rest).await;
        for (tenants, expected) in [
            (Some("a"), vec!["ha"]),
            (Some(" a | b "), vec!["ha", "hb"]),
            (Some("a|nobody"), vec!["ha"]),
            (Some("."), vec![]),
            (None, vec!["ha", "hb", "hn"]),
        ] {
            let query = r#"{job="shop"} |= "sold""#;
            let (_, answer) = ask_as(&app, tenants, "query_range", query, WHEN).await;
            let streams = answer["data"]["result"].as_array().unwrap();
            let mut hosts: Vec<&str> =
                streams.iter().map(|one| one["stream"]["host"].as_str().unwrap()).collect();
            hosts.sort_unstable();
            assert_eq!(hosts, expected, "{rest:?} {tenants:?}");
            let (_, answer) = ask_as(&app, tenants, "label/host/values", query, WHEN).await;
            assert_eq!(answer["data"], json!(expected), "{tenants:?}");
            let figure = r#"sum(count_over_time({job="shop"}[2m])) + sum(count_over_time({job="shop"}[2m]))"#;
            let at = "&time=1767225700";
            let (_, answer) = ask_as(&app, tenants, "query", figure, at).await;
            let found = answer["data"]["result"][0]["value"][1].as_str().unwrap_or("0");
            assert_eq!(found, (2 * expected.len()).to_string(), "{tenants:?}");
        }
    }
}

#[tokio::test]
async fn no_route_shows_a_tenant_anothers_records() {
    let (_fixture, app) = of_tenants(Rest::Splits).await;
    let asked = async |path: &str, query: &str, rest: &str| {
        let rest = format!("{WHEN}{rest}");
        let (status, answer) = ask_as(&app, Some("a"), path, query, &rest).await;
        assert_eq!(status, StatusCode::OK, "{path} {query}: {answer}");
        answer
    };
    // What is written in the query is no way around it.
    for query in
        [r#"{tenant="b"}"#, r#"{__tenant_id__="b"}"#, r#"{tenant=~"b|"}"#, r#"{host="web1"}"#]
    {
        assert_eq!(asked("query_range", query, "").await["data"]["result"], json!([]), "{query}");
    }
    assert_eq!(asked("labels", "", "").await["data"], json!(["host", "job", "tenant"]));
    let own = json!([{"host": "ha", "job": "shop", "tenant": "a"}]);
    assert_eq!(asked("series", "", "").await["data"], own);
    let all = format!("&match[]={}", encoded(r#"{job="shop"}"#));
    assert_eq!(asked("series", "", &all).await["data"], own);
    let volume = asked("index/volume", r#"{job=~".+"}"#, "").await;
    assert_eq!(volume["data"]["result"][0]["metric"], json!({"job": "shop"}));
    assert_eq!(volume["data"]["result"][0]["value"][1], "17");
    assert_eq!(asked("index/stats", r#"{job=~".+"}"#, "").await["entries"], 1);
    let fields = asked("detected_fields", r#"{job=~".+"}"#, "").await;
    assert_eq!(fields["fields"].as_array().map(Vec::len), Some(1), "{fields}");
    let values = asked("detected_field/n/values", r#"{job=~".+"}"#, "").await;
    assert_eq!(values["values"], json!(["1"]));
    let patterns = asked("patterns", r#"{job="shop"}"#, "").await;
    assert_eq!(patterns["data"].as_array().map(Vec::len), Some(1), "{patterns}");
    let many = "a|".repeat(300);
    let counted = |labels: &Value| labels["detectedLabels"].as_array().map(Vec::len);
    assert_eq!(counted(&asked("detected_labels", "", "").await), Some(3));
    for (tenants, word) in [("", "no org id"), (" | ", "no org id"), (many.as_str(), "more than")] {
        let (status, answer) = ask_as(&app, Some(tenants), "labels", "", WHEN).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer.as_str().unwrap().contains(word), "{answer}");
    }
}
