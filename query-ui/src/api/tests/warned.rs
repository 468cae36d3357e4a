//! Fields that no record has, levels and indexes that there are not are named, with what may have been meant.

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
        // Where there are no records nothing is told of fields.
        let nowhere = json!({"query": "statsu:200", "indexes": ["none"]});
        assert_eq!(warned(&app, nowhere).await, [("index".to_owned(), None)]);
        let whole = lines(&app, json!({"query": "statsu:200"})).await;
        let message = &whole.last().unwrap()["end"]["warnings"][0]["message"];
        assert_eq!(message, "no record has a field \"statsu\"");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_level_is_told_also_where_there_are_no_records() {
    let (_fixture, app) = small(Rest::Splits).await;
    let meant = Some("did you mean error?".to_owned());
    let expected = vec![("level".to_owned(), meant)];
    for body in [
        json!({ "query": "level:errror" }),
        json!({ "query": "get NOT level:errror | stats count()" }),
        json!({ "query": "| union (level:errror)" }),
        json!({ "query": "level:errror OR level:errror" }),
    ] {
        assert_eq!(warned(&app, body.clone()).await, expected, "{body}");
    }
    let nowhere = json!({ "query": "level:errror", "indexes": ["none"] });
    let both = [expected, vec![("index".to_owned(), None)]].concat();
    assert_eq!(warned(&app, nowhere).await, both);
    assert!(warned(&app, json!({ "query": "level:err level:/err/ level:e*" })).await.is_empty());
    let both = warned(&app, json!({ "query": "level:errror statsu:200" })).await;
    assert_eq!(
        both.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(),
        ["level", "statsu"]
    );
    let told = warned_in_sql(&app, "level:errror").await;
    assert_eq!(
        told,
        [("level:errror names no level".to_owned(), "did you mean error?".to_owned())]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_there_is_not_is_told_with_the_nearest_and_is_no_error() {
    for rest in BOTH {
        let (fixture, app) = small(rest).await;
        fixture.append_to(0, "web-audit", &[], [r#"{"msg":"b"}"#]).await;
        let told = |near: Option<&str>| {
            vec![("index".to_owned(), near.map(|near| format!("did you mean {near}?")))]
        };
        for (body, near) in [
            (json!({ "query": "", "indexes": ["mian"] }), Some("main")),
            (
                json!({ "query": "", "indexes": ["main", "web-audti", "web-audti"] }),
                Some("web-audit"),
            ),
            (json!({ "query": "| stats count()", "indexes": ["billing"] }), None),
            (json!({ "query": "index:mian" }), Some("main")),
            (json!({ "query": "get NOT index:mian" }), Some("main")),
            (json!({ "query": "| union (index:mian)" }), Some("main")),
            (json!({ "query": "index:bill*" }), None),
            // However many there are before it that there are.
            (
                json!({ "query": format!("{} OR index:mian", vec!["index:main"; 20].join(" OR ")) }),
                Some("main"),
            ),
        ] {
            assert_eq!(warned(&app, body.clone()).await, told(near), "{rest:?} {body}");
        }
        // Indexes that there are, words and stars in their names, and what is no index but a field.
        for query in ["index:main", "index:(audit OR MAIN)", "index:w*", "index:* index>=a", "mian"]
        {
            assert!(warned(&app, json!({ "query": query })).await.is_empty(), "{rest:?} {query}");
        }
        assert!(warned(&app, json!({ "query": "", "indexes": ["main"] })).await.is_empty());
        // As many as can be read are told, each once.
        let many: Vec<String> = (0..40).map(|n| format!("index:zz{n} index:zz{n}")).collect();
        let query = many.join(" OR ");
        assert_eq!(warned(&app, json!({ "query": query })).await.len(), 16, "{rest:?}");
        let whole = lines(&app, json!({ "query": "", "indexes": ["mian"] })).await;
        let message = &whole.last().unwrap()["end"]["warnings"][0]["message"];
        assert_eq!(message, "there is no index \"mian\" yet");
        assert_eq!(whole.last().unwrap()["end"]["rows"], 0);
        let told = warned_in_sql(&app, "index:mian").await;
        assert_eq!(
            told,
            [("index:mian names no index".to_owned(), "did you mean main?".to_owned())]
        );
    }
}

/// What is told of a search inside of a statement, with the hints.
async fn warned_in_sql(app: &Router, search: &str) -> Vec<(String, String)> {
    let sql = format!("SELECT count(*) FROM logs WHERE matches('{search}')");
    let response = post(app, "/api/v1/sql", &json!({ "sql": sql })).await;
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let told = last["end"]["warnings"].as_array().unwrap().iter();
    let said = |one: &Value, name: &str| one[name].as_str().unwrap().to_owned();
    told.map(|one| (said(one, "message"), said(one, "hint"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_in_sql_is_told_of_fields_that_no_record_has() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let told = warned_in_sql(&app, "statsu:200 host:web1 NOT level:error").await;
        let expected = ("no record has a field \"statsu\"", "did you mean status?");
        assert_eq!(told, [(expected.0.to_owned(), expected.1.to_owned())], "{rest:?}");
        assert!(warned_in_sql(&app, "status:200 get").await.is_empty(), "{rest:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn editors_are_told_where_a_word_names_no_level() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (query, expected) in [
        ("level:errror errror", vec![(6, 12)]),
        ("level:(errror OR \"wran\") message:errror", vec![(7, 13), (17, 23)]),
        ("NOT level:=errror | stats count()", vec![(11, 17)]),
        ("level:errror | stat count()", vec![(6, 12)]),
        ("level:error level:(warn OR info) level>=warn level:/err/ \"level:errror\"", vec![]),
        ("(level:error errror) message:nothing", vec![]),
    ] {
        let told = answer(&app, "/api/v1/query/parse", json!({ "query": query })).await;
        let diagnostics = told["diagnostics"].as_array().unwrap().iter();
        let places: Vec<(u64, u64)> = diagnostics
            .filter(|one| one["message"].as_str().unwrap().ends_with("names no level"))
            .map(|one| (one["start"].as_u64().unwrap(), one["end"].as_u64().unwrap()))
            .collect();
        assert_eq!(places, expected, "{query}");
        let severities = |one: &Value| one["severity"] == "warning" || one["severity"] == "error";
        assert!(told["diagnostics"].as_array().unwrap().iter().all(severities), "{query}");
    }
    let told = answer(&app, "/api/v1/query/parse", json!({ "query": "level:errror" })).await;
    assert_eq!(
        told["diagnostics"],
        json!([{ "severity": "warning", "start": 6, "end": 12, "expected": [],
            "message": "level:errror names no level", "hint": "did you mean error?" }])
    );
}
