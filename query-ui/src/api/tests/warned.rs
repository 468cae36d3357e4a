//! Fields that no record has are named, with the one that may have been meant.

use super::*;

/// A field and the one that may have been meant.
type Expected = (&'static str, Option<&'static str>);

/// Names and hints of an answer's warnings.
async fn warned(app: &Router, body: Value) -> Vec<(String, Option<String>)> {
    let lines = lines(app, body).await;
    let warnings = lines.last().unwrap()["end"]["warnings"].as_array().unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    warnings.iter().map(|one| (text(&one["field"]).unwrap(), text(&one["hint"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_no_record_has_is_named() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let cases: &[(&str, &[Expected])] = &[
            ("statsu:200", &[("statsu", Some("status"))]),
            ("get OR -statsu:200", &[("statsu", Some("status"))]),
            ("| stats count() by hots", &[("hots", Some("host"))]),
            (
                "| where tooks > 5 or hots == \"a\"",
                &[("hots", Some("host")), ("tooks", Some("took"))],
            ),
            ("| sort hots", &[("hots", Some("host"))]),
            ("| drop statsu", &[("statsu", Some("status"))]),
            ("| top messag_e", &[("messag_e", Some("message"))]),
            ("| stats max(nowhere_at_all)", &[("nowhere_at_all", None)]),
            ("| union (error | sort statsu)", &[("statsu", Some("status"))]),
            ("| where host in (hots:a | fields host)", &[("hots", Some("host"))]),
            // What is there, what every record has, and what a pipe made.
            ("status:200 host:web1 level:* user.name:alice tags:x id:0-1 index:main", &[]),
            ("| sort timestamp, level, message, id, ingest_time, index, host", &[]),
            ("| eval x = took * 2, y = x + 1 | where x > 1 and y > 1 | sort x", &[]),
            ("| rename took as seconds | where seconds > 1", &[]),
            ("| extract \"<verb> /<path>\" | sort verb, path", &[]),
            ("| expand tags as tag | sort tag", &[]),
            ("| parse json | where anything > 1", &[]),
            ("| stats count() as n by host | sort n | eval m = n + 1", &[]),
            ("| join host (| stats count() as n by host) | where n > 1", &[]),
            ("error | context 1 | where _matched | stats count() by _pattern", &[]),
        ];
        for (query, expected) in cases {
            let found = warned(&app, json!({ "query": query })).await;
            let expected: Vec<(String, Option<String>)> = expected
                .iter()
                .map(|(name, near)| {
                    ((*name).to_owned(), near.map(|near| format!("did you mean {near}?")))
                })
                .collect();
            assert_eq!(found, expected, "{rest:?} {query}");
        }
        let nowhere = json!({"query": "statsu:200", "indexes": ["none"]});
        assert!(warned(&app, nowhere).await.is_empty());
        let whole = lines(&app, json!({"query": "statsu:200"})).await;
        let message = &whole.last().unwrap()["end"]["warnings"][0]["message"];
        assert_eq!(message, "no record has a field \"statsu\"");
    }
}
