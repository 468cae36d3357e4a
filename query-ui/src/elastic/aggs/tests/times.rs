//! Rates, bounds of histograms, and values of first records.

use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{buckets, check};
use crate::elastic::router;
use crate::elastic::tests::{ask, post, small};
use crate::fixture::{Fixture, Rest};

/// Two records of 3 and 5 in January, one of 14 in February, one without a figure in February.
async fn months(rest: Rest) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let record = |(time, value): (&str, Value)| json!({"ts": time, "msg": "x", "v": value});
    let records = [
        ("2026-01-10T00:00:00Z", json!(3)),
        ("2026-01-20T00:00:00Z", json!(5)),
        ("2026-02-03T00:00:00Z", json!(14)),
        ("2026-02-04T00:00:00Z", Value::Null),
    ];
    let lines = records.map(|pair| record(pair).to_string());
    fixture.append(0, &[("host", "web1")], lines).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = router(fixture.engine.clone());
    (fixture, app)
}

/// The rates of each bucket of a histogram of months.
async fn monthly(app: &Router, rate: Value) -> Vec<f64> {
    let dates = json!({"field": "@timestamp", "calendar_interval": "month"});
    let aggs = json!({"m": {"date_histogram": dates, "aggs": {"r": {"rate": rate}}}});
    let answer = post(app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
    let buckets = answer["aggregations"]["m"]["buckets"].as_array().unwrap();
    buckets.iter().map(|bucket| bucket["r"]["value"].as_f64().unwrap()).collect()
}

#[tokio::test]
async fn rates_are_by_the_units_that_buckets_are_long() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = months(rest).await;
        for (rate, expected) in [
            (json!({}), [2.0, 2.0]),
            (json!({"unit": "month"}), [2.0, 2.0]),
            (json!({"unit": "year", "field": "v"}), [96.0, 168.0]),
            (json!({"unit": "quarter", "field": "v", "mode": "value_count"}), [6.0, 3.0]),
            // January has 31 days, February 28.
            (json!({"unit": "day", "field": "v", "mode": "sum"}), [8.0 / 31.0, 0.5]),
            (json!({"unit": "1w", "field": "v"}), [8.0 / (31.0 / 7.0), 3.5]),
            (json!({"unit": "", "mode": null, "field": "v", "missing": 6}), [8.0, 20.0]),
        ] {
            assert_eq!(monthly(&app, rate.clone()).await, expected, "{rest:?} {rate}");
        }
        let hours = json!({"field": "@timestamp", "fixed_interval": "12h", "min_doc_count": 1});
        let aggs = json!({"h": {"date_histogram": hours, "aggs": {
            "web": {"filter": {"term": {"host": "web1"}}, "aggs": {"r": {"rate": {"unit": "hour", "field": "v"}}}},
            "none": {"filter": {"term": {"host": "x"}}, "aggs": {"r": {"rate": {"unit": "hour"}}}},
        }}});
        let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
        let first = &answer["aggregations"]["h"]["buckets"][0];
        assert_eq!(first["web"]["r"]["value"], json!(0.25), "{rest:?}");
        assert_eq!(first["none"]["r"]["value"], json!(0.0), "{rest:?}");
        let sources = json!([
            {"host": {"terms": {"field": "host"}}},
            {"month": {"date_histogram": {"field": "@timestamp", "calendar_interval": "month"}}},
        ]);
        let aggs = json!({"c": {"composite": {"sources": sources}, "aggs": {"r": {"rate": {"unit": "day", "field": "v"}}}}});
        let answer =
            post(&app, "/es/main/_search?typed_keys=true", json!({"size": 0, "aggs": aggs})).await;
        let rates: Vec<f64> = answer["aggregations"]["composite#c"]["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bucket| bucket["rate#r"]["value"].as_f64().unwrap())
            .collect();
        assert_eq!(rates, [8.0 / 31.0, 0.5], "{rest:?}");
    }
}

#[tokio::test]
async fn rates_order_terms_and_make_other_figures() {
    let (_fixture, app) = months(Rest::Splits).await;
    let aggs = json!({"m": {
        "date_histogram": {"field": "@timestamp", "calendar_interval": "month", "order": {"r": "desc"}},
        "aggs": {
            "r": {"rate": {"unit": "month", "field": "v"}},
            "d": {"derivative": {"buckets_path": "r"}},
        },
    }});
    let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
    let first = &answer["aggregations"]["m"]["buckets"][0];
    assert_eq!((&first["r"]["value"], &first["d"]["value"]), (&json!(14.0), &json!(6.0)));
}

#[tokio::test]
async fn rates_without_a_length_are_refused() {
    let (_fixture, app) = months(Rest::Fresh).await;
    let within = |bins: Value, rate: Value| {
        let mut dates = json!({"field": "@timestamp"});
        dates.as_object_mut().unwrap().extend(bins.as_object().unwrap().clone());
        json!({"m": {"date_histogram": dates, "aggs": {"r": {"rate": rate}}}})
    };
    let day = json!({"calendar_interval": "day"});
    let sources = json!([{"host": {"terms": {"field": "host"}}}]);
    for (aggs, words) in [
        (json!({"r": {"rate": {"unit": "day"}}}), "can only be used inside a date histogram"),
        (
            json!({"c": {"composite": {"sources": sources}, "aggs": {"r": {"rate": {}}}}}),
            "must have exactly one date_histogram group by",
        ),
        (
            within(day.clone(), json!({"unit": "month"})),
            "month-based rate unit [month] with non-month based calendar interval histogram [day]",
        ),
        (
            within(json!({"fixed_interval": "2d"}), json!({"unit": "year"})),
            "month-based rate unit [year] with fixed interval based histogram",
        ),
        (within(day.clone(), json!({"unit": "fortnight"})), "Unsupported unit fortnight"),
        (within(day.clone(), json!({"mode": "sum"})), "only supported with field or script"),
        (within(day.clone(), json!({"field": "v", "mode": "most"})), "[most]"),
        (within(day, json!({"script": "1"})), "script"),
        (
            json!({"m": {"date_histogram": {"field": "@timestamp", "calendar_interval": "month"}, "aggs": {
                "f": {"filter": {"match_all": {}}, "aggs": {"r": {"rate": {"unit": "day"}}}}}}}),
            "non month-based rate unit [day] with calendar interval histogram [month]",
        ),
    ] {
        let body = json!({"aggs": aggs}).to_string();
        let (status, answer) = ask(&app, "POST", "/es/_search", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{aggs}: {answer}");
        let reason = answer["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(words), "{aggs}: {reason}");
    }
}

#[tokio::test]
async fn no_bucket_lies_beyond_hard_bounds() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = small(rest).await;
        let minute = |key: i64, count: u64| json!({"key_as_string": key.to_string(), "key": key, "doc_count": count});
        let dates = |options: Value| {
            let mut body =
                json!({"field": "@timestamp", "fixed_interval": "1m", "format": "epoch_millis"});
            body.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
            json!({"a": {"date_histogram": body}})
        };
        // Five records, one, one, and one of the next day. Bounds stand for the bucket that holds them, and
        // that of the upper one is not inside.
        for (options, expected) in [
            (
                json!({"hard_bounds": {"min": "2026-01-01T00:00:30Z", "max": 1_767_225_660_001_i64}}),
                vec![(1_767_225_600_000, 5)],
            ),
            (
                json!({"hard_bounds": {"min": "2026-01-01T00:01:59Z", "max": "2026-01-01T00:03"},
                    "extended_bounds": {"max": "2026-01-01T00:03"}}),
                vec![(1_767_225_660_000, 1), (1_767_225_720_000, 1), (1_767_225_780_000, 0)],
            ),
            (json!({"hard_bounds": {"min": "2026-01-02"}}), vec![(1_767_312_000_000, 1)]),
            (json!({"hard_bounds": {"min": "2027"}, "extended_bounds": {"max": "2027"}}), vec![]),
        ] {
            let shown: Vec<Value> =
                expected.iter().map(|(key, count)| minute(*key, *count)).collect();
            check(&app, dates(options), json!({"a": {"buckets": shown}})).await;
        }
        // What is beyond is counted by what stands around.
        let aggs = json!({"h": {"terms": {"field": "host"}, "aggs": dates(json!({"hard_bounds": {"max": "2025"}}))}});
        let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
        let host = &answer["aggregations"]["h"]["buckets"][0];
        assert_eq!((&host["doc_count"], &host["a"]["buckets"]), (&json!(5), &json!([])));
        // 200, 503, 200, 504 and 404.
        let steps =
            json!({"field": "status", "interval": 100, "hard_bounds": {"min": 300, "max": "499"}});
        let shown = buckets(&[(json!(400.0), 1)]);
        check(&app, json!({"a": {"histogram": steps}}), json!({"a": {"buckets": shown}})).await;
    }
}

#[tokio::test]
async fn bounds_that_cannot_be_are_refused() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (kind, bounds) in [
        ("histogram", json!({"hard_bounds": {"min": 2, "max": 1}})),
        ("histogram", json!({"hard_bounds": {"min": 1}, "extended_bounds": {"min": 0}})),
        ("date_histogram", json!({"hard_bounds": {"min": "soon"}})),
        (
            "date_histogram",
            json!({"hard_bounds": {"max": "2026"}, "extended_bounds": {"max": "2027"}}),
        ),
        ("date_histogram", json!({"hard_bounds": {"least": 1}})),
    ] {
        let mut body = bounds.clone();
        body["field"] = json!(if kind == "histogram" { "status" } else { "@timestamp" });
        let width = if kind == "histogram" { "interval" } else { "fixed_interval" };
        body[width] = if kind == "histogram" { json!(1) } else { json!("1h") };
        let body = json!({"aggs": {"a": {kind: body}}}).to_string();
        let (status, answer) = ask(&app, "POST", "/es/_search", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bounds}: {answer}");
    }
}

#[tokio::test]
async fn the_first_records_tell_their_values() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = small(rest).await;
        let newest = json!({"metrics": [{"field": "status"}, {"field": "message"}, {"field": "ok", "missing": "no"}], "sort": {"@timestamp": "desc"}});
        let top = |place: &str, status: Value, message: &str, ok: Value| json!({"sort": [place], "metrics": {"status": status, "message": message, "ok": ok}});
        let aggs =
            json!({"h": {"terms": {"field": "host"}, "aggs": {"t": {"top_metrics": newest}}}});
        let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
        let hosts = &answer["aggregations"]["h"]["buckets"];
        assert_eq!(
            (&hosts[0]["t"], &hosts[1]["t"]),
            (
                &json!({"top": [top("2026-01-01T00:02:00.000Z", json!(404), "GET /d", json!(true))]}),
                &json!({"top": [top("2026-01-02T00:00:00.000Z", Value::Null, "disk full", json!("no"))]}),
            ),
            "{rest:?}"
        );
        let slowest = json!({"metrics": {"field": "took"}, "sort": [{"took": {"order": "desc"}}], "size": "2"});
        let two = json!({"size": 0, "aggs": {"t": {"top_metrics": slowest}}});
        let answer = post(&app, "/es/main/_search", two).await;
        let found = answer["aggregations"]["t"]["top"].as_array().unwrap().iter();
        let figures =
            found.map(|top| [&top["sort"][0], &top["metrics"]["took"]].map(Value::as_f64));
        let figures: Vec<_> = figures.collect();
        assert_eq!(figures, [[Some(7.0); 2], [Some(3.0); 2]], "{rest:?}");
        let none = json!({"f": {"filter": {"term": {"host": "x"}}, "aggs": {"t": {"top_metrics": slowest}}}});
        check(&app, none, json!({"f": {"doc_count": 0, "t": {"top": []}}})).await;
        let when = json!({"metrics": {"field": "@timestamp"}, "sort": "status"});
        let first = json!({"top": [{"sort": [200], "metrics": {"@timestamp": "2026-01-01T00:00:05.000Z"}}]});
        check(&app, json!({"t": {"top_metrics": when}}), json!({"t": first})).await;
    }
}

#[tokio::test]
async fn first_records_order_buckets_and_make_other_figures() {
    let (_fixture, app) = small(Rest::Splits).await;
    let most = json!({"top_metrics": {"metrics": {"field": "took"}, "sort": {"took": "desc"}}});
    for (path, first) in [("t.took", "web1"), ("t[took]", "web1")] {
        let aggs =
            json!({"h": {"terms": {"field": "host", "order": {path: "asc"}}, "aggs": {"t": most}}});
        let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
        assert_eq!(answer["aggregations"]["h"]["buckets"][0]["key"], first, "{path}");
    }
    let dates = json!({"field": "@timestamp", "fixed_interval": "1d"});
    let aggs = json!({"d": {"date_histogram": dates, "aggs": {"t": most, "s": {"cumulative_sum": {"buckets_path": "t[took]"}}}}});
    let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
    assert_eq!(answer["aggregations"]["d"]["buckets"][0]["s"]["value"], json!(7.0));
    for (body, word) in [
        (json!({"metrics": {"field": "x"}}), "sort"),
        (json!({"metrics": {"field": "x"}, "sort": ["a", "b"]}), "exactly one sort"),
        (json!({"metrics": {"field": "x"}, "sort": "_doc"}), "_doc"),
        (json!({"metrics": {"field": "x"}, "sort": "a", "size": 0}), "more than 0"),
        (json!({"metrics": {"field": "x"}, "sort": "a", "size": 11}), "more than [10]"),
        (json!({"metrics": [], "sort": "a"}), "metrics"),
        (json!({"metrics": {"field": "x*"}, "sort": "a"}), "x*"),
        (json!({"metrics": {"field": "x", "script": "1"}, "sort": "a"}), "script"),
    ] {
        let body = json!({"aggs": {"a": {"top_metrics": body}}}).to_string();
        let (status, answer) = ask(&app, "POST", "/es/_search", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        let reason = answer["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(word), "{body}: {reason}");
    }
    let aggs =
        json!({"h": {"terms": {"field": "host", "order": {"t.none": "asc"}}, "aggs": {"t": most}}});
    let (status, _) = ask(&app, "POST", "/es/_search", &json!({"aggs": aggs}).to_string()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}
