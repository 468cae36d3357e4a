//! Aggregations of kinds that few clients send, and their options.

use axum::Router;
use serde_json::{Value, json};

use super::{buckets, check, keys};
use crate::elastic::router;
use crate::elastic::tests::{post, small};
use crate::fixture::{Fixture, Rest};

#[tokio::test]
async fn several_terms_make_one_key() {
    let (_fixture, app) = small(Rest::Splits).await;
    let terms = json!([{"field": "host"}, {"field": "level", "missing": "none"}]);
    let aggs = json!({"a": {"multi_terms": {"terms": terms, "size": 2, "order": [{"_count": "desc"}, {"_key": "desc"}]}}});
    let bucket = |level: &str, host: &str, count: u64| json!({"key": [host, level], "key_as_string": format!("{host}|{level}"), "doc_count": count});
    let shown = [bucket("info", "web1", 2), bucket("warn", "web1", 1)];
    check(&app, aggs, json!({"a": {"doc_count_error_upper_bound": 0, "sum_other_doc_count": 5, "buckets": shown}})).await;
    let aggs = json!({"a": {"terms": {"field": "host", "show_term_doc_count_error": true}, "aggs": {
        "s": {"multi_terms": {"terms": [{"field": "status"}, {"field": "ok"}]}}}}});
    let both = json!([{"key": [404, 1], "key_as_string": "404|true", "doc_count": 1}]);
    let inner = |buckets: Value| json!({"doc_count_error_upper_bound": 0, "sum_other_doc_count": 0, "buckets": buckets});
    let hosts = json!([
        {"key": "web1", "doc_count": 5, "s": inner(both), "doc_count_error_upper_bound": 0},
        {"key": "job1", "doc_count": 3, "s": inner(json!([])), "doc_count_error_upper_bound": 0},
    ]);
    check(&app, aggs, json!({"a": inner(hosts)})).await;
}

#[tokio::test]
async fn ranges_of_dates_are_told_as_asked() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let ranges =
        json!([{"to": "2026-01-02"}, {"from": "2026-01-02", "key": "late"}, {"to": "2000"}]);
    let mut body = json!({"field": "@timestamp", "format": "yyyy-MM-dd", "ranges": ranges});
    let noon = 1_767_312_000_000.0;
    let shown = |to: &str| {
        json!([
            {"key": format!("*-{to}"), "to": noon, "to_as_string": to, "doc_count": 7},
            {"key": "late", "from": noon, "from_as_string": to, "doc_count": 1},
        ])
    };
    let answer =
        post(&app, "/es/main/_search", json!({"size": 0, "aggs": {"a": {"date_range": body}}}))
            .await;
    let mut found = answer["aggregations"]["a"]["buckets"].clone();
    let old = found.as_array_mut().unwrap().pop().unwrap();
    assert_eq!((found, &old["doc_count"]), (shown("2026-01-02"), &json!(0)));
    body["time_zone"] = json!("+02:00");
    body["ranges"] = json!([{"from": "2026-01-02", "key": "late"}]);
    body["keyed"] = json!(true);
    let late = json!({"from": noon - 7_200_000.0, "from_as_string": "2026-01-02", "doc_count": 1});
    check(&app, json!({"a": {"date_range": body}}), json!({"a": {"buckets": {"late": late}}}))
        .await;
}

#[tokio::test]
async fn steps_stay_where_the_offset_puts_them() {
    let (_fixture, app) = small(Rest::Splits).await;
    // 200, 503, 200, 504 and 404.
    for (offset, expected) in [
        (
            json!(50),
            vec![
                (-50.0, 0),
                (50.0, 0),
                (150.0, 2),
                (250.0, 0),
                (350.0, 1),
                (450.0, 2),
                (550.0, 0),
                (650.0, 0),
            ],
        ),
        (
            json!("-40"),
            vec![
                (-40.0, 0),
                (60.0, 0),
                (160.0, 2),
                (260.0, 0),
                (360.0, 1),
                (460.0, 2),
                (560.0, 0),
                (660.0, 0),
            ],
        ),
    ] {
        let expected: Vec<_> =
            expected.into_iter().map(|(key, count)| (json!(key), count)).collect();
        let steps = json!({"field": "status", "interval": 100, "offset": offset, "extended_bounds": {"min": 0, "max": 700}});
        check(
            &app,
            json!({"a": {"histogram": steps}}),
            json!({"a": {"buckets": buckets(&expected)}}),
        )
        .await;
    }
    // Steps that no float holds exactly.
    let steps = json!({"field": "took", "interval": 0.7, "offset": 0.1, "min_doc_count": 0});
    let answer =
        post(&app, "/es/main/_search", json!({"size": 0, "aggs": {"a": {"histogram": steps}}}))
            .await;
    let found = answer["aggregations"]["a"]["buckets"].as_array().unwrap();
    let counts: Vec<u64> = found.iter().map(|b| b["doc_count"].as_u64().unwrap()).collect();
    // 0.5, 2, 3 and 7.
    assert_eq!(counts, [1, 0, 1, 0, 1, 0, 0, 0, 0, 1], "{found:?}");
}

/// A Monday, a Saturday whose night is Sunday's in Berlin, and the day on which its clocks go forward.
async fn spring() -> (Fixture, Router) {
    let fixture = Fixture::new(Rest::Splits);
    let times = ["2026-01-05T00:00:00Z", "2026-01-31T23:30:00Z", "2026-03-29T12:00:00Z"];
    let records = times.map(|time| json!({"ts": time, "msg": "x"}).to_string());
    fixture.append(0, &[], records).await;
    fixture.settle().await;
    let app = router(fixture.engine.clone());
    (fixture, app)
}

#[tokio::test]
async fn calendars_are_those_of_their_zone() {
    let (_fixture, app) = spring().await;
    let bucket =
        |(key, text): (i64, &str)| json!({"key_as_string": text, "key": key, "doc_count": 1});
    let shown = |pairs: [(i64, &str); 3]| json!({"a": {"buckets": pairs.map(bucket)}});
    let dates = |options: Value| {
        let mut body = json!({"field": "@timestamp", "min_doc_count": 1, "format": "yyyy-MM-dd"});
        body.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        json!({"a": {"date_histogram": body}})
    };
    let months = [
        (1_767_222_000_000, "2026-01-01"),
        (1_769_900_400_000, "2026-02-01"),
        (1_772_319_600_000, "2026-03-01"),
    ];
    // An offset of nothing has no unit.
    for offset in [json!(null), json!("0"), json!("+0")] {
        let month =
            json!({"calendar_interval": "month", "time_zone": "Europe/Berlin", "offset": offset});
        check(&app, dates(month), shown(months)).await;
    }
    // Weeks that begin on Tuesday.
    let weeks = [
        (1_767_052_800_000, "2025-12-30"),
        (1_769_472_000_000, "2026-01-27"),
        (1_774_310_400_000, "2026-03-24"),
    ];
    for offset in [json!("1d"), json!("+1d"), json!(86_400_000)] {
        check(&app, dates(json!({"calendar_interval": "week", "offset": offset})), shown(weeks))
            .await;
    }
    // A day that begins at six, of 23 hours when clocks go forward.
    let days = [
        (1_767_589_200_000 - 86_400_000, "2026-01-04"),
        (1_769_900_400_000 + 21_600_000 - 86_400_000, "2026-01-31"),
        (1_774_760_400_000, "2026-03-29"),
    ];
    let day = json!({"calendar_interval": "1d", "time_zone": "Europe/Berlin", "offset": "6h"});
    let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": dates(day)})).await;
    let found: Vec<_> = answer["aggregations"]["a"]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| {
            (bucket["key"].as_i64().unwrap(), bucket["key_as_string"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(found, days.map(|(key, text)| (key, text.to_owned())));
}

/// The keys and counts of a `composite`, page by page.
async fn paged(app: &Router, composite: Value) -> Vec<(Value, u64)> {
    let (mut found, mut composite) = (Vec::new(), composite);
    for _ in 0..100 {
        let body = json!({"size": 0, "aggs": {"c": {"composite": composite}}});
        let page = post(app, "/es/main/_search", body).await["aggregations"]["c"].clone();
        found.extend(
            page["buckets"]
                .as_array()
                .unwrap()
                .iter()
                .map(|bucket| (bucket["key"].clone(), bucket["doc_count"].as_u64().unwrap())),
        );
        match page.get("after_key") {
            Some(after) => composite["after"] = after.clone(),
            None => return found,
        }
    }
    panic!("pages without end: {found:?}");
}

#[tokio::test]
async fn pages_of_keys_hold_what_is_missing_once() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = small(rest).await;
        let whole = [(json!(200), 2), (json!(404), 1), (json!(503), 1), (json!(504), 1)];
        let missing = (Value::Null, 3);
        for (options, is_first, is_reversed) in [
            (json!({}), true, false),
            (json!({"order": "desc"}), false, true),
            (json!({"missing_order": "last"}), false, false),
            (json!({"order": "desc", "missing_order": "first"}), true, true),
        ] {
            let mut source = json!({"field": "status", "missing_bucket": true});
            source.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
            let mut expected = whole.to_vec();
            if is_reversed {
                expected.reverse();
            }
            expected.insert(if is_first { 0 } else { 4 }, missing.clone());
            let expected: Vec<_> =
                expected.into_iter().map(|(key, count)| (json!({"s": key}), count)).collect();
            for size in [1, 2, 10] {
                let composite = json!({"size": size, "sources": [{"s": {"terms": source}}]});
                assert_eq!(paged(&app, composite).await, expected, "{rest:?} {options} {size}");
            }
        }
        let sources = json!([
            {"day": {"date_histogram": {"field": "@timestamp", "calendar_interval": "day", "format": "yyyy-MM-dd", "order": "desc"}}},
            {"level": {"terms": {"field": "level", "missing_bucket": true}}},
            {"took": {"histogram": {"field": "took", "interval": 5, "missing_bucket": true}}},
        ]);
        let found = paged(&app, json!({"size": 2, "sources": sources})).await;
        let key = |day: u32, level: Value, took: Value| json!({"day": format!("2026-01-0{day}"), "level": level, "took": took});
        let expected = [
            (key(2, json!("fatal"), Value::Null), 1),
            (key(1, Value::Null, Value::Null), 1),
            (key(1, json!("error"), json!(0.0)), 1),
            (key(1, json!("error"), json!(5.0)), 1),
            (key(1, json!("info"), Value::Null), 1),
            (key(1, json!("info"), json!(0.0)), 2),
            (key(1, json!("warn"), Value::Null), 1),
        ];
        assert_eq!(found, expected, "{rest:?}");
    }
}

#[tokio::test]
async fn typed_keys_name_the_types_of_all_kinds() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let body = json!({"size": 0, "aggs": {
        "g": {"extended_stats": {"field": "took"}},
        "a": {"multi_terms": {"terms": [{"field": "host"}, {"field": "level"}]}},
        "b": {"date_range": {"field": "@timestamp", "ranges": [{"to": "now"}]}},
        "c": {"composite": {"sources": [{"h": {"terms": {"field": "host"}}}]}, "aggs": {"m": {"avg": {"field": "took"}}}},
        "d": {"filters": {"filters": {"x": {"match_all": {}}}}, "aggs": {"t": {"top_hits": {"size": 1}}}},
        "e": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1d"}},
        "f": {"terms": {"field": "took"}},
    }});
    let answer = post(&app, "/es/main/_search?typed_keys=true", body).await;
    assert_eq!(
        keys(&answer["aggregations"]),
        [
            "extended_stats#g",
            "multi_terms#a",
            "date_range#b",
            "composite#c",
            "filters#d",
            "date_histogram#e",
            "dterms#f",
        ]
    );
    let found = &answer["aggregations"];
    assert!(found["composite#c"]["buckets"][0].get("avg#m").is_some(), "{answer}");
    assert!(found["filters#d"]["buckets"]["x"].get("top_hits#t").is_some(), "{answer}");
}
