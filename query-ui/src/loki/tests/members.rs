//! Labels out of places of lines, lines that could not be taken apart, series that become others.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{WHEN, ask, lines, result, small};
use crate::fixture::Rest;

#[tokio::test]
async fn labels_come_from_where_they_are_said_to_stand() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = small(rest).await;
        let job = [r#"{"job":"a","took":7}"#, r#"{"job":"b","took":3}"#];
        for (query, expected) in [
            (r#"{app="job"} | json j="job" | j="b" | line_format "{{.j}}""#, vec!["b"]),
            (r#"{app="job"} | json j="job", took | took > 5 | j="a""#, vec![job[0]]),
            (r#"{app="job"} | json j="none" | j="""#, job.to_vec()),
            (
                r#"{app="web"} | logfmt c="code" | c="503""#,
                vec!["GET /b failed took=20ms code=503"],
            ),
            // What no place says is not taken out.
            (r#"{app="job"} | json j="job" | took > 5"#, vec![]),
            (r#"{app="job"} | json | __error__="""#, job.to_vec()),
            (r#"{app=~".+"} | json | __error__="JSONParserErr" |= "slow""#, vec!["slow"]),
            (r#"{app="web"} |= "slow" | json a="b" | __error_details__!="""#, vec!["slow"]),
            (r#"{app="web"} |= "slow" | json | drop __error__ | __error__!="""#, vec![]),
            (
                r#"{app="web"} |= "slow" | json | line_format "{{.__error__}}""#,
                vec!["JSONParserErr"],
            ),
        ] {
            assert_eq!(lines(&app, query).await, expected, "{rest:?} {query}");
        }
    }
}

#[tokio::test]
async fn series_become_others() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = small(rest).await;
        let value = |labels: Value, value: &str| json!({ "metric": labels, "value": [1_767_225_660, value] });
        for (query, expected) in [
            (
                r#"max(max_over_time({app="web"} | logfmt | unwrap duration(took) [1m]))"#,
                json!([value(json!({}), "0.02")]),
            ),
            (
                r#"max(max_over_time({app="web"} | logfmt | label_format s="{{.code}}KB" | unwrap bytes(s) [1m]))"#,
                json!([value(json!({}), "503000")]),
            ),
            (
                r#"absent_over_time({app="none", host=~"x"}[1m])"#,
                json!([value(json!({"app": "none"}), "1")]),
            ),
            (r#"absent_over_time({app="web"}[1m])"#, json!([])),
            (r#"sum(absent_over_time({app="none"}[1m]))"#, json!([value(json!({}), "1")])),
            (
                r#"label_replace(sum by (host) (count_over_time({app="web"}[1m])), "n", "no. $1", "host", "[a-z]+(.)")"#,
                json!([value(json!({"host": "web1", "n": "no. 1"}), "4")]),
            ),
            (
                r#"sum by (__error__) (count_over_time({app=~".+"} | json [1m]))"#,
                json!([value(json!({}), "2"), value(json!({"__error__": "JSONParserErr"}), "4"),]),
            ),
        ] {
            let found = result(&app, "query", query, "&time=1767225660").await;
            assert_eq!(found, expected, "{rest:?} {query}");
        }
        // At each moment for itself.
        let range = "&start=1767225600&end=1767225720&step=60";
        let found =
            result(&app, "query_range", r#"absent_over_time({app="job"}[1m])"#, range).await;
        let absent = json!([[1_767_225_600, "1"], [1_767_225_720, "1"]]);
        assert_eq!(found, json!([{ "metric": {"app": "job"}, "values": absent }]), "{rest:?}");
    }
}

#[tokio::test]
async fn what_they_cannot_be_is_told() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (query, word) in [
        (r#"{app="job"} | json a="b..c""#, "no path"),
        (r#"{app="job"} | json a=b"#, "text in quotes"),
        (r#"{app="job"} | logfmt --strict"#, "no options"),
        (r#"label_replace({app="job"}, "a", "", "b", "")"#, "series"),
        (r#"label_replace(vector(1), "1x", "", "a", "")"#, "cannot be a label"),
        (r#"label_replace(vector(1), "x", "", "a", "(")"#, "regular expression"),
        (r#"absent_over_time({app="job"}[1m]) by (app)"#, "neither"),
        (r#"sum_over_time({app="job"} | json | unwrap hours(took) [1m])"#, "hours"),
    ] {
        let (status, answer) = ask(&app, "query_range", query, WHEN).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {answer}");
        assert!(answer.as_str().unwrap().contains(word), "{query}: {answer}");
    }
}
