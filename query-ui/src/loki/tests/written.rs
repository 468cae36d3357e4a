//! Labels and lines that stages write: templates, levels, what was dropped.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{WHEN, ask, lines, result, small};
use crate::fixture::{Fixture, Rest};

const FIRST: &str = r#"{"level":"ERROR","a":"line"}"#;
const SECOND: &str = r#"{"b":"x"}"#;

/// Beside the small ones, lines that say other things than what is stored with them.
async fn layered(rest: Rest) -> (Fixture, axum::Router) {
    let (fixture, app) = small(rest).await;
    let records = [
        json!({"ts":"2026-01-01T00:00:01Z","level":"info","msg":FIRST,"a":"stored"}),
        json!({"ts":"2026-01-01T00:00:02Z","level":"warn","msg":SECOND,"a":"stored","user-agent":"curl"}),
    ];
    fixture.append(0, &[("app", "lay")], records.map(|record| record.to_string())).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    (fixture, app)
}

#[tokio::test]
async fn a_level_that_a_stage_writes_is_the_label_behind_it() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = layered(rest).await;
        for (stages, expected) in [
            (r#"| level="info""#, vec![FIRST]),
            (r#"| json | level="ERROR""#, vec![FIRST]),
            (r#"| json | level="info""#, vec![]),
            // A line that says none has that of its record.
            (r#"| json | level="warn""#, vec![SECOND]),
            (r#"| json | detected_level="info""#, vec![FIRST]),
            (r#"| json level="none" | level="info""#, vec![FIRST]),
            (r#"| label_format level="x" | level="x""#, vec![FIRST, SECOND]),
            (r#"| label_format level="x" | detected_level="warn""#, vec![SECOND]),
            ("| regexp `\"(?P<level>[a-z])\":` | level=\"a\"", vec![FIRST]),
            (r#"| drop level | json | level="""#, vec![SECOND]),
        ] {
            let query = format!(r#"{{app="lay"}} {stages}"#);
            assert_eq!(lines(&app, &query).await, expected, "{rest:?} {query}");
        }
        let query = r#"sum by (level) (count_over_time({app="lay"} | json [1m]))"#;
        let found = result(&app, "query", query, "&time=1767225660").await;
        let one =
            |level: &str| json!({ "metric": {"level": level}, "value": [1_767_225_660, "1"] });
        assert_eq!(found, json!([one("ERROR"), one("warn")]), "{rest:?}");
        let query = r#"{app="lay"} |= "ERROR" | json | label_format level="x""#;
        let (_, answer) = ask(&app, "query_range", query, WHEN).await;
        let labels = json!({"app": "lay", "a": "line", "level": "x", "detected_level": "info"});
        assert_eq!(answer["data"]["result"][0]["stream"], labels, "{rest:?}");
    }
}

#[tokio::test]
async fn what_was_dropped_comes_back_from_lines_alone() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = layered(rest).await;
        for (stages, expected) in [
            (r#"| drop a | json a="a" | a="line""#, vec![FIRST]),
            (r#"| drop a | json a="a" | a="stored""#, vec![]),
            (r#"| drop a | json a="a" | a="""#, vec![SECOND]),
            (r#"| json a="a" | a="stored""#, vec![SECOND]),
            (r#"| drop a | json | a="stored""#, vec![]),
            (r#"| drop a | json | a="line""#, vec![FIRST]),
            (r#"| drop a | logfmt | json | a="""#, vec![SECOND]),
            (r#"| drop user_agent | json user_agent="none" | user_agent="""#, vec![FIRST, SECOND]),
        ] {
            let query = format!(r#"{{app="lay"}} {stages}"#);
            assert_eq!(lines(&app, &query).await, expected, "{rest:?} {query}");
        }
        let shown = async |stages: &str| {
            let query = format!(r#"{{app="lay"}} | drop detected_level {stages}"#);
            let (_, answer) = ask(&app, "query_range", &query, WHEN).await;
            let streams = answer["data"]["result"].as_array().unwrap();
            streams.iter().map(|one| one["stream"].clone()).collect::<Vec<Value>>()
        };
        let second = json!({"app": "lay"});
        let expected = vec![json!({"a": "line", "app": "lay"}), second.clone()];
        assert_eq!(shown(r#"| drop a, user_agent | json a="a""#).await, expected, "{rest:?}");
        let found = shown(r#"| drop a, user_agent | json user_agent="b""#).await;
        assert_eq!(found, [second, json!({"app": "lay", "user_agent": "x"})], "{rest:?}");
    }
}

#[tokio::test]
async fn what_was_not_kept_comes_back_from_lines_alone() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = layered(rest).await;
        for (stages, expected) in [
            (r#"| keep app | json | a="line""#, vec![FIRST]),
            (r#"| keep app | json | a="stored""#, vec![]),
            (r#"| keep app | json | a="""#, vec![SECOND]),
            (r#"| keep a | json | app="lay""#, vec![]),
            (r#"| keep app | keep a | a="stored""#, vec![]),
            (r#"| keep app | json | level="info""#, vec![]),
            (r#"| keep app | json | level="ERROR""#, vec![FIRST]),
            (r#"| keep app | json b="b" | b="x""#, vec![SECOND]),
            ("| keep app | regexp `(?P<a>li[a-z]+)` | a=\"line\"", vec![FIRST]),
            (r#"| label_format level="x" | drop level | json | level="x""#, vec![]),
            (r#"| label_format c="x" | keep app | json | c="x""#, vec![]),
        ] {
            let query = format!(r#"{{app="lay"}} {stages}"#);
            assert_eq!(lines(&app, &query).await, expected, "{rest:?} {query}");
        }
        for (stages, first, second) in [
            (
                "| keep app | json",
                json!({"app": "lay", "a": "line", "level": "ERROR"}),
                json!({"app": "lay", "b": "x"}),
            ),
            ("| keep app | json | keep app", json!({"app": "lay"}), json!({"app": "lay"})),
            (
                "| keep a | json",
                json!({"a": "line", "level": "ERROR"}),
                json!({"a": "stored", "b": "x"}),
            ),
            ("| json | keep app | logfmt", json!({"app": "lay"}), json!({"app": "lay"})),
            (
                r#"| json | keep app, level | json x="a" | label_format y="1""#,
                json!({"app": "lay", "level": "ERROR", "x": "line", "y": "1"}),
                json!({"app": "lay", "y": "1"}),
            ),
            (
                r#"| keep app, detected_level | json x="a""#,
                json!({"app": "lay", "detected_level": "info", "x": "line"}),
                json!({"app": "lay", "detected_level": "warn"}),
            ),
        ] {
            let shown = async |line: &str| {
                let query = format!(r#"{{app="lay"}} |= `{line}` {stages}"#);
                let (_, answer) = ask(&app, "query_range", &query, WHEN).await;
                answer["data"]["result"][0]["stream"].clone()
            };
            assert_eq!(shown(FIRST).await, first, "{rest:?} {stages}");
            assert_eq!(shown(SECOND).await, second, "{rest:?} {stages}");
        }
        // What could not be taken apart is told whatever is kept.
        let query = r#"{app="web"} |= "slow" | json | __error__!="" | keep app"#;
        let (_, answer) = ask(&app, "query_range", query, WHEN).await;
        let stream = &answer["data"]["result"][0]["stream"];
        assert_eq!(stream["__error__"], "JSONParserErr", "{rest:?} {stream}");
        let query = r#"sum by (a) (count_over_time({app="lay"} | keep app | json [1m]))"#;
        let found = result(&app, "query", query, "&time=1767225660").await;
        let metrics: Vec<&Value> =
            found.as_array().unwrap().iter().map(|one| &one["metric"]).collect();
        assert_eq!(metrics, [&json!({}), &json!({"a": "line"})], "{rest:?}");
    }
}

#[tokio::test]
async fn lines_without_colours_are_those_that_stages_see() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (fixture, app) = small(rest).await;
        let message = "\u{1b}[1;31mERROR\u{1b}[0m {\u{1b}[32m\"k\"\u{1b}[0m:\"v\"}";
        let record = json!({"ts": "2026-01-01T00:00:01Z", "msg": message}).to_string();
        fixture.append(0, &[("app", "tty")], [record]).await;
        if rest == Rest::Splits {
            fixture.settle().await;
        }
        let plain = r#"ERROR {"k":"v"}"#;
        for (stages, expected) in [
            ("| decolorize", vec![plain]),
            ("| decolorize |~ `^ERROR .\"k`", vec![plain]),
            ("|~ `^ERROR` | decolorize", vec![]),
            ("| decolorize | json | k=\"v\" | line_format `{{.k}}`", vec!["v"]),
        ] {
            let query = format!(r#"{{app="tty"}} {stages}"#);
            assert_eq!(lines(&app, &query).await, expected, "{rest:?} {query}");
        }
        let query = r#"sum(bytes_over_time({app="tty"} | decolorize [1m]))"#;
        let found = result(&app, "query", query, "&time=1767225660").await;
        assert_eq!(found[0]["value"][1], plain.len().to_string(), "{rest:?}");
    }
}

#[tokio::test]
async fn templates_go_through_values() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = layered(rest).await;
        for (stages, expected) in [
            (
                "| line_format `{{range $k, $v := fromJson __line__}}{{$k}}={{$v}};{{end}}`",
                vec!["a=line;level=ERROR;", "b=x;"],
            ),
            (
                "| line_format `{{$x := fromJson __line__}}{{with $x.a}}{{.}}{{else}}none{{end}}`",
                vec!["line", "none"],
            ),
            // Where that cannot be done the line stays, and the label.
            ("| line_format `{{range (fromJson __line__).a}}x{{else}}y{{end}}`", vec![FIRST, "y"]),
            (
                "| label_format a=`{{range (fromJson __line__).a}}x{{end}}y` | a=\"stored\"",
                vec![FIRST],
            ),
        ] {
            let query = format!(r#"{{app="lay"}} {stages}"#);
            assert_eq!(lines(&app, &query).await, expected, "{rest:?} {query}");
        }
        let query = "{app=\"lay\"} | line_format `{{range 1000000000}}{{end}}`";
        let (status, answer) = ask(&app, "query_range", query, WHEN).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert!(answer.to_string().contains("too many values"), "{answer}");
    }
}

#[tokio::test]
async fn templates_call_functions() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = layered(rest).await;
        for (stages, expected) in [
            (
                "| line_format `{{.a | ToUpper}}-{{__timestamp__ | date \"05\"}}`",
                vec!["STORED-01", "STORED-02"],
            ),
            (
                "| json | line_format `{{if eq .level \"ERROR\"}}!{{else}}{{printf \"%5s\" .b}}{{end}}`",
                vec!["!", "    x"],
            ),
            ("| line_format `{{__line__ | len | add 1}}`", vec!["29", "10"]),
            (
                "| line_format `{{\"x\" | repeat 3}}` | line_format `{{__line__ | upper}}`",
                vec!["XXX", "XXX"],
            ),
            ("| json | label_format c=`{{default \"none\" .b | trunc 2}}` | c=\"no\"", vec![FIRST]),
            (
                "| line_format `{{regexReplaceAll \"[^a-z]+\" __line__ \" \" | trim}}`",
                vec!["level a line", "b x"],
            ),
        ] {
            let query = format!(r#"{{app="lay"}} {stages}"#);
            assert_eq!(lines(&app, &query).await, expected, "{rest:?} {query}");
        }
        let query = "sum(bytes_over_time({app=\"lay\"} | line_format `{{repeat 4 \"ab\"}}` [1m]))";
        let found = result(&app, "query", query, "&time=1767225660").await;
        assert_eq!(found[0]["value"][1], "16", "{rest:?}");
    }
}
