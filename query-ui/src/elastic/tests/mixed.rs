//! Values of several types under one name, and names that records have of their own beside those of
//! documents: found, sorted, paged.

use axum::Router;
use serde_json::{Value, json};

use super::super::router;
use super::{ask, check_pages, found, post};
use crate::fixture::{Fixture, Rest};

/// Records with these members, the oldest first.
async fn stored(rest: Rest, records: impl IntoIterator<Item = Value>) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let line = |(at, mut record): (usize, Value)| {
        record["ts"] = json!(format!("2026-01-01T00:00:{at:02}Z"));
        record.to_string()
    };
    fixture.append(0, &[("host", "web1")], records.into_iter().enumerate().map(line)).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = router(fixture.engine.clone());
    (fixture, app)
}

/// The messages of all records in an order.
async fn sorted(app: &Router, sort: &Value) -> Vec<String> {
    let answer = post(app, "/es/main/_search", json!({"size": 100, "sort": sort})).await;
    let hits = answer["hits"]["hits"].as_array().unwrap();
    hits.iter().map(|hit| hit["_source"]["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_is_missing_comes_first_where_that_is_said() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let records = [
            json!({"msg": "two", "n": 2, "t": "b"}),
            json!({"msg": "none"}),
            json!({"msg": "one", "n": 1, "t": "a"}),
            json!({"msg": "neither"}),
        ];
        let (_fixture, app) = stored(rest, records).await;
        for name in ["n", "t"] {
            for (order, expected) in [
                ("asc", ["neither", "none", "one", "two"]),
                ("desc", ["neither", "none", "two", "one"]),
            ] {
                let sort = json!([{name: {"order": order, "missing": "_first"}}]);
                assert_eq!(sorted(&app, &sort).await, expected, "{rest:?} {sort}");
                // Page by page, each of one hit.
                let tied = json!([{name: {"order": order, "missing": "_first"}}, "_doc"]);
                let (mut found, mut body) = (Vec::new(), json!({"size": 1, "sort": tied}));
                loop {
                    let answer = post(&app, "/es/main/_search", body.clone()).await;
                    let hit = &answer["hits"]["hits"][0];
                    let Some(message) = hit["_source"]["message"].as_str() else { break };
                    found.push(message.to_owned());
                    assert!(found.len() <= expected.len(), "{found:?}");
                    body["search_after"] = hit["sort"].clone();
                }
                assert_eq!(found, expected, "{rest:?} {tied}");
            }
        }
        // It is no matter of what all records have.
        let sort = json!([{"@timestamp": {"order": "asc", "missing": "_first"}}]);
        assert_eq!(sorted(&app, &sort).await, ["two", "none", "one", "neither"], "{rest:?}");
    }
}

#[tokio::test]
async fn a_value_stands_in_for_what_is_missing() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let records = [
            json!({"msg": "two", "n": 2, "t": "b", "v": 2, "f": 2.5, "on": true}),
            json!({"msg": "none"}),
            json!({"msg": "four", "n": 4, "t": "d", "v": "x", "f": 4.5, "on": false}),
        ];
        let (_fixture, app) = stored(rest, records).await;
        for (name, value, expected) in [
            ("n", json!(3), ["two", "none", "four"]),
            ("n", json!("3"), ["two", "none", "four"]),
            ("n", json!(1), ["none", "two", "four"]),
            ("n", json!(4.5), ["two", "four", "none"]),
            ("f", json!(3), ["two", "none", "four"]),
            ("t", json!("c"), ["two", "none", "four"]),
            ("t", json!("z"), ["two", "four", "none"]),
            // Of several types: numbers come before texts.
            ("v", json!(1), ["none", "two", "four"]),
            ("v", json!("m"), ["two", "none", "four"]),
        ] {
            let key = |order: &str| json!({name: {"order": order, "missing": value}});
            assert_eq!(
                sorted(&app, &json!([key("asc")])).await,
                expected,
                "{rest:?} {name} {value}"
            );
            // Page by page, each of one hit, which tells the value.
            let (mut found, mut body) =
                (Vec::new(), json!({"size": 1, "sort": [key("asc"), "_doc"]}));
            loop {
                let answer = post(&app, "/es/main/_search", body.clone()).await;
                let hit = &answer["hits"]["hits"][0];
                let Some(message) = hit["_source"]["message"].as_str() else { break };
                found.push(message.to_owned());
                assert!(found.len() <= expected.len(), "{found:?}");
                body["search_after"] = hit["sort"].clone();
            }
            assert_eq!(found, expected, "{rest:?} {name} {value}");
        }
        let sort = json!([{"n": {"order": "desc", "missing": 3}}]);
        assert_eq!(sorted(&app, &sort).await, ["four", "none", "two"], "{rest:?}");
        let on = json!([{"on": {"missing": true}}]);
        assert_eq!(sorted(&app, &on).await, ["four", "none", "two"], "{rest:?}");
        // Of a field that no record has, and of what all have, it changes nothing.
        for name in ["nowhere", "@timestamp"] {
            let sort = json!([{name: {"order": "desc", "missing": 5}}]);
            assert_eq!(sorted(&app, &sort).await, ["four", "none", "two"], "{rest:?} {name}");
        }
        let body = json!({"size": 3, "sort": [{"n": {"missing": 3}}]});
        let answer = post(&app, "/es/main/_search", body).await;
        assert_eq!(answer["hits"]["hits"][1]["sort"], json!([3]), "{rest:?}");
        for wrong in [json!("three"), json!([3]), json!({"a": 1})] {
            let body = json!({"sort": [{"n": {"missing": wrong}}]}).to_string();
            let (status, answer) = ask(&app, "POST", "/es/main/_search", &body).await;
            assert_eq!(status, axum::http::StatusCode::BAD_REQUEST, "{answer}");
            assert!(answer.to_string().contains("[missing]"), "{answer}");
        }
    }
}

#[tokio::test]
async fn numbers_come_back_with_the_value_that_they_were_sent_with() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let sent = r#"{"ts":"2026-01-01T00:00:00Z","msg":"m","one":1.0,"exp":1e5,"tiny":1.5e-7,"third":0.1,
            "huge":1e300,"least":-9223372036854775808,"most":9223372036854775807,"whole":100}"#;
        let fixture = Fixture::new(rest);
        fixture.append(0, &[], [sent.replace('\n', " ")]).await;
        if rest == Rest::Splits {
            fixture.settle().await;
        }
        let app = router(fixture.engine.clone());
        let answer = post(&app, "/es/main/_search", json!({})).await;
        let source = &answer["hits"]["hits"][0]["_source"];
        let sent: Value = serde_json::from_str(sent).unwrap();
        for name in ["one", "exp", "tiny", "third", "huge", "least", "most", "whole"] {
            // Floats stay floats, whole numbers whole ones.
            assert_eq!(source[name].to_string(), sent[name].to_string(), "{rest:?} {name}");
        }
    }
}

#[tokio::test]
async fn numbers_come_before_texts_and_pages_lose_none() {
    let values = [
        ("ten", json!(10)),
        ("word", json!("abc")),
        ("text of ten", json!("10")),
        ("nine", json!(9)),
        ("truth", json!(true)),
        ("text of nine", json!("9.0")),
        ("half", json!(9.5)),
        ("endless", json!("inf")),
        ("minus", json!("-3")),
        ("huge", json!(u64::MAX)),
        ("blank", json!("")),
    ];
    let record = |(name, value): &(&str, Value)| json!({"msg": name, "v": value});
    let records: Vec<Value> = values.iter().map(record).chain([json!({"msg": "none"})]).collect();
    let ascending = [
        "minus",
        "nine",
        "text of nine",
        "half",
        "text of ten",
        "ten",
        "huge",
        "blank",
        "word",
        "endless",
        "truth",
        "none",
    ];
    let descending = [
        "huge",
        "text of ten",
        "ten",
        "half",
        "nine",
        "text of nine",
        "minus",
        "truth",
        "endless",
        "word",
        "blank",
        "none",
    ];
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = stored(rest, records.clone()).await;
        for (order, expected) in [("asc", &ascending), ("desc", &descending)] {
            let sort = json!([{"v": order}]);
            assert_eq!(sorted(&app, &sort).await, expected.as_slice(), "{rest:?} {order}");
            check_pages(&app, &sort, expected.len()).await;
            check_pages(&app, &json!([{"host": "asc"}, {"v": order}]), expected.len()).await;
        }
    }
}

#[tokio::test]
async fn whole_numbers_of_many_bits_are_put_in_order_exactly() {
    let great = [
        ("e19", json!(10_000_000_000_000_000_000_u64)),
        ("below", json!(9_999_999_999_999_999_999_u64)),
        ("most", json!(u64::MAX)),
        ("next", json!(u64::MAX - 1)),
        ("least", json!(1_u64 << 63)),
    ];
    let words = [("zeta", json!("zeta")), ("small", json!("12")), ("alpha", json!("alpha"))];
    let close = [
        ("up", json!(9_007_199_254_740_993_i64)),
        ("mid", json!(9_007_199_254_740_992_i64)),
        ("low", json!(-9_007_199_254_740_993_i64)),
        ("lower", json!(-9_007_199_254_740_992_i64)),
        ("half", json!(0.5)),
    ];
    let order = ["least", "below", "e19", "next", "most"];
    for rest in [Rest::Fresh, Rest::Splits] {
        for (records, ascending, descending) in [
            (great.to_vec(), order.to_vec(), vec!["most", "next", "e19", "below", "least"]),
            (
                [great.as_slice(), &words].concat(),
                [order.as_slice(), &["small", "alpha", "zeta"]].concat(),
                vec!["most", "next", "e19", "below", "least", "zeta", "alpha", "small"],
            ),
            (
                [great.as_slice(), &close, &words[..1]].concat(),
                [["low", "lower", "half", "mid", "up"].as_slice(), &order, &["zeta"]].concat(),
                vec![
                    "most", "next", "e19", "below", "least", "up", "mid", "half", "lower", "low",
                    "zeta",
                ],
            ),
        ] {
            let named = records.iter().map(|(name, value)| json!({"msg": name, "v": value}));
            let (_fixture, app) = stored(rest, named.chain([json!({"msg": "none"})])).await;
            for (order, expected) in [("asc", ascending), ("desc", descending)] {
                let expected = [expected.as_slice(), &["none"]].concat();
                let sort = json!([{"v": order}]);
                assert_eq!(sorted(&app, &sort).await, expected, "{rest:?} {order}");
                check_pages(&app, &sort, expected.len()).await;
            }
        }
        let (_fixture, app) = stored(
            rest,
            great
                .iter()
                .chain(&words)
                .map(|(name, value)| json!({"msg": name, "v": value}))
                .chain([json!({"msg": "none"})]),
        )
        .await;
        let sort = json!([{"v": {"order": "asc", "missing": "_first"}}]);
        assert_eq!(sorted(&app, &sort).await[..2], ["none", "least"], "{rest:?}");
        check_pages(&app, &sort, 9).await;
        // A number is as good a place as its text.
        let body = json!({"size": 2, "sort": [{"v": "asc"}], "search_after": [u64::MAX - 1]});
        let answer = post(&app, "/es/main/_search", body).await;
        let hits = answer["hits"]["hits"].as_array().unwrap();
        let messages: Vec<&Value> = hits.iter().map(|hit| &hit["_source"]["message"]).collect();
        assert_eq!(messages, ["most", "small"], "{rest:?}");
        assert_eq!(hits[0]["sort"], json!([u64::MAX.to_string()]), "{rest:?}");
    }
}

#[tokio::test]
async fn a_page_goes_on_where_a_text_came_among_numbers() {
    let (fixture, app) =
        stored(Rest::Fresh, (0..4).map(|n| json!({"msg": format!("m{n}"), "v": n}))).await;
    let page = |after: Value| {
        let mut body = json!({"size": 2, "sort": [{"v": "asc"}]});
        if !after.is_null() {
            body["search_after"] = after;
        }
        body
    };
    let first = post(&app, "/es/main/_search", page(Value::Null)).await;
    let place = first["hits"]["hits"][1]["sort"].clone();
    assert_eq!(place, json!([1]));
    let late = [json!({"msg": "text", "v": "soon"}), json!({"msg": "low", "v": "0.5"})];
    fixture.append(0, &[("host", "web1")], late.map(|record| record.to_string())).await;
    let next = post(&app, "/es/main/_search", page(place)).await;
    let hits = next["hits"]["hits"].as_array().unwrap();
    let messages: Vec<&Value> = hits.iter().map(|hit| &hit["_source"]["message"]).collect();
    assert_eq!(messages, ["m2", "m3"]);
    let rest = post(&app, "/es/main/_search", page(hits[1]["sort"].clone())).await;
    assert_eq!(rest["hits"]["hits"][0]["_source"]["message"], "text", "{rest}");
}

#[tokio::test]
async fn figures_with_many_digits_lists_and_ids_are_paged() {
    let figures = [31.245_270_191_439_438, 121.487_919_511_619_45, 0.1, 1e-7, 5e300];
    let record = |n: usize| {
        let list = if n.is_multiple_of(3) { json!([n % 5, 0.5]) } else { json!(n % 4) };
        json!({"msg": format!("m{n}"), "f": figures[n % figures.len()], "list": list})
    };
    let (_fixture, app) = stored(Rest::Splits, (0..40).map(record)).await;
    for sort in ["f", "list", "_id"] {
        for order in ["asc", "desc"] {
            check_pages(&app, &json!([{sort: order}]), 40).await;
        }
    }
}

#[tokio::test]
async fn a_documents_own_id_and_index_are_found() {
    let records = [
        json!({"msg": "own", "id": 5, "index": "left", "offset": 7}),
        json!({"msg": "other", "id": "a-b c", "index": "right", "partition": 3}),
        json!({"msg": "without"}),
    ];
    let text = |query: &str| json!({"query_string": {"query": query}});
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = stored(rest, records.clone()).await;
        for (query, expected) in [
            (json!({"term": {"id": 5}}), vec!["own"]),
            (json!({"term": {"id.keyword": "a-b c"}}), vec!["other"]),
            (json!({"match": {"id": "b"}}), vec!["other"]),
            (json!({"prefix": {"index": "le"}}), vec!["own"]),
            (json!({"range": {"offset": {"gte": 7}}}), vec!["own"]),
            (json!({"term": {"partition": 3}}), vec!["other"]),
            (json!({"exists": {"field": "id"}}), vec!["other", "own"]),
            (text("index:left AND id:5"), vec!["own"]),
            (json!({"term": {"index": "main"}}), vec![]),
            (json!({"term": {"_index": "main"}}), vec!["without", "other", "own"]),
        ] {
            assert_eq!(found(&app, query.clone()).await, expected, "{rest:?} {query}");
        }
        assert_eq!(sorted(&app, &json!([{"index": "desc"}])).await, ["other", "own", "without"]);
        let body = json!({
            "query": {"term": {"id": 5}}, "fields": ["id", "_index"], "highlight": {"fields": {"index": {}}},
            "aggs": {"i": {"terms": {"field": "index"}}},
        });
        let answer = post(&app, "/es/main/_search", body).await;
        let hit = &answer["hits"]["hits"][0];
        let source = [&hit["_source"]["id"], &hit["_source"]["index"], &hit["_source"]["offset"]];
        assert_eq!(source, [&json!(5), &json!("left"), &json!(7)]);
        assert_eq!(hit["fields"], json!({"id": [5], "_index": ["main"]}));
        assert_eq!(
            answer["aggregations"]["i"]["buckets"],
            json!([{"key": "left", "doc_count": 1}])
        );
        let by_id = json!({"query": {"ids": {"values": [hit["_id"]]}}});
        assert_eq!(post(&app, "/es/_count", by_id).await["count"], 1);
        let (_, mapping) = ask(&app, "GET", "/es/main/_mapping", "").await;
        let properties = &mapping["main"]["mappings"]["properties"];
        assert_eq!(properties["index"]["type"], "keyword");
        assert_eq!(properties["offset"]["type"], "long");
    }
}

#[tokio::test]
async fn a_number_to_find_is_not_taken_apart() {
    let values = [
        ("half", json!(74.5)),
        ("whole", json!(74)),
        ("five", json!(5)),
        ("minus", json!(-5)),
        ("text", json!("is 74.5 or -5")),
    ];
    let simple = |query: &str| json!({"simple_query_string": {"query": query, "fields": ["v"]}});
    for rest in [Rest::Fresh, Rest::Splits] {
        let records = values.iter().map(|(name, value)| json!({"msg": name, "v": value}));
        let (_fixture, app) = stored(rest, records).await;
        for (query, expected) in [
            (json!({"match_phrase": {"v": 74.5}}), ["text", "half"]),
            (json!({"match_phrase": {"v": "-5"}}), ["text", "minus"]),
            (json!({"match_phrase": {"v": 5}}), ["text", "five"]),
            (json!({"match": {"v": "-5"}}), ["text", "minus"]),
            (simple("74.5"), ["text", "half"]),
            (simple("\"74.5\""), ["text", "half"]),
        ] {
            assert_eq!(found(&app, query.clone()).await, expected, "{rest:?} {query}");
        }
    }
}
