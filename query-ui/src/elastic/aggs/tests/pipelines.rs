//! Figures made of the figures of a histogram's buckets.

use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::router;
use crate::elastic::tests::{ask, post, small};
use crate::fixture::{Fixture, Rest};

/// Figures of five minutes, of which the third has none: 1 and 3, 10, nothing, 4 and 8, 6.
async fn minutes(rest: Rest) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let record = |(minute, value): (u32, u32)| json!({"ts": format!("2026-01-01T00:0{minute}:0{value}Z"), "msg": "x", "v": value});
    let records = [(0, 1), (0, 3), (3, 4), (3, 8), (4, 6)].map(record);
    let ten = json!({"ts": "2026-01-01T00:01:00Z", "msg": "x", "v": 10});
    let lines = records.into_iter().chain([ten]).map(|record| record.to_string());
    fixture.append(0, &[("host", "web1")], lines).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = router(fixture.engine.clone());
    (fixture, app)
}

/// A figure of each minute: its value, or a text where there is none.
async fn series(app: &Router, figure: Value) -> Vec<Value> {
    let aggs = json!({"m": {
        "date_histogram": {"field": "@timestamp", "fixed_interval": "1m", "min_doc_count": "0"},
        "aggs": {
            "x": figure,
            "1": {"sum": {"field": "v"}},
            "3": {"extended_stats": {"field": "v"}},
            "5": {"percentiles": {"field": "v", "percents": [0, 100]}},
            "my_count": {"sum": {"field": "v"}},
            "7": {"cumulative_sum": {"buckets_path": "1"}},
            "11": {"derivative": {"buckets_path": "1"}},
            "9": {"filter": {"range": {"v": {"gte": 8}}}, "aggs": {"most": {"max": {"field": "v"}}}},
        },
    }});
    let answer = post(app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
    let buckets = answer["aggregations"]["m"]["buckets"].as_array().unwrap();
    let value = |bucket: &Value| match bucket.get("x") {
        Some(figure) => figure["value"].clone(),
        None => json!("none"),
    };
    buckets.iter().map(value).collect()
}

/// Figures, and what they are in each minute.
fn of_neighbours() -> Vec<(Value, Value)> {
    let none = || json!("none");
    vec![
        (json!({"derivative": {"buckets_path": "1"}}), json!([none(), 6.0, null, null, -6.0])),
        (
            json!({"derivative": {"buckets_path": "1", "gap_policy": "insert_zeros"}}),
            json!([none(), 6.0, -10.0, 12.0, -6.0]),
        ),
        (json!({"derivative": {"buckets_path": "_count"}}), json!([none(), -1.0, -1.0, 2.0, -1.0])),
        (json!({"derivative": {"buckets_path": "7"}}), json!([none(), 10.0, null, null, 6.0])),
        // A bucket without records is a gap, whatever is counted or summed in it.
        (
            json!({"derivative": {"buckets_path": "9>_count"}}),
            json!([none(), 1.0, null, null, -1.0]),
        ),
        (
            json!({"derivative": {"buckets_path": "my_count", "format": ""}}),
            json!([none(), 6.0, null, null, -6.0]),
        ),
        // What the first bucket has not is no gap: the second has no difference to it.
        (json!({"derivative": {"buckets_path": "11"}}), json!([none(), none(), null, null, null])),
        (json!({"cumulative_sum": {"buckets_path": "11"}}), json!([0.0, 6.0, 6.0, 6.0, 0.0])),
        (
            json!({"derivative": {"buckets_path": "1", "gap_policy": "keep_values"}}),
            json!([none(), 6.0, -10.0, 12.0, -6.0]),
        ),
        (
            json!({"derivative": {"buckets_path": "9>most", "gap_policy": "keep_values"}}),
            json!([none(), null, null, null, null]),
        ),
        (json!({"cumulative_sum": {"buckets_path": "1"}}), json!([4.0, 14.0, 14.0, 26.0, 32.0])),
        (
            json!({"cumulative_sum": {"buckets_path": "3.max"}}),
            json!([3.0, 13.0, 13.0, 21.0, 27.0]),
        ),
        (
            json!({"cumulative_sum": {"buckets_path": "5[100.0]"}}),
            json!([3.0, 13.0, 13.0, 21.0, 27.0]),
        ),
        (json!({"cumulative_sum": {"buckets_path": "9>_count"}}), json!([0.0, 1.0, 1.0, 2.0, 2.0])),
        (
            json!({"cumulative_sum": {"buckets_path": "9>most"}}),
            json!([0.0, 10.0, 10.0, 18.0, 18.0]),
        ),
        (
            json!({"serial_diff": {"buckets_path": "1", "lag": "2"}}),
            json!([none(), none(), none(), 2.0, none()]),
        ),
    ]
}

/// The same of what looks at several values, or at several figures.
fn of_windows() -> Vec<(Value, Value)> {
    let none = || json!("none");
    vec![
        (
            json!({"moving_avg": {"buckets_path": "1", "window": 2, "model": "simple", "minimize": false}}),
            json!([none(), 4.0, none(), 7.0, 11.0]),
        ),
        (
            json!({"moving_avg": {"buckets_path": "1", "model": "ewma", "settings": {"alpha": "0.5"}}}),
            json!([none(), 4.0, none(), 7.0, 9.5]),
        ),
        (
            json!({"moving_fn": {"buckets_path": "1", "window": "2", "script": "MovingFunctions.max(values)"}}),
            json!([null, 4.0, none(), 10.0, 12.0]),
        ),
        (
            json!({"moving_fn": {"buckets_path": "1", "window": 2, "shift": 1, "script": {"source": "MovingFunctions.unweightedAvg(values)"}}}),
            json!([4.0, 7.0, none(), 11.0, 9.0]),
        ),
        (
            json!({"bucket_script": {"buckets_path": {"all": "1", "n": "_count"}, "script": "params.all / params.n"}}),
            json!([2.0, 10.0, none(), 6.0, 6.0]),
        ),
        (
            json!({"bucket_script": {"buckets_path": {"n": "_count"}, "script": {"source": "params.k / params.n", "params": {"k": 6}}}}),
            json!([3.0, 6.0, null, 3.0, 6.0]),
        ),
    ]
}

#[tokio::test]
async fn figures_are_made_of_those_of_neighbours() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = minutes(rest).await;
        for (figure, expected) in of_neighbours().into_iter().chain(of_windows()) {
            let found = Value::from(series(&app, figure.clone()).await);
            assert_eq!(found, expected, "{rest:?} {figure}");
        }
    }
}

#[tokio::test]
async fn a_path_leads_to_one_figure_of_several() {
    let (_fixture, app) = minutes(Rest::Splits).await;
    for (path, expected) in [
        ("3.std_deviation", [1.0, 1.0, 1.0, 3.0, 3.0]),
        ("3.std_upper", [4.0, 14.0, 14.0, 24.0, 30.0]),
    ] {
        let found = series(&app, json!({"cumulative_sum": {"buckets_path": path}})).await;
        for (found, expected) in found.iter().zip(expected) {
            assert!((found.as_f64().unwrap() - expected).abs() < 1e-9, "{path}: {found}");
        }
    }
}

#[tokio::test]
async fn a_rate_is_by_its_unit_whatever_the_order_and_types_are_told() {
    let (_fixture, app) = minutes(Rest::Splits).await;
    let aggs = json!({"m": {
        "date_histogram": {"field": "@timestamp", "fixed_interval": "1m", "order": {"_key": "desc"}},
        "aggs": {
            "rate": {"derivative": {"buckets_path": "_count", "unit": "1s"}, "meta": {"a": 1}},
            "sum": {"cumulative_sum": {"buckets_path": "rate.normalized_value"}},
        },
    }});
    let body = json!({"size": 0, "aggs": aggs});
    let answer = post(&app, "/es/main/_search?typed_keys=true", body).await;
    let buckets = answer["aggregations"]["date_histogram#m"]["buckets"].as_array().unwrap();
    let rate = &buckets[1]["derivative#rate"];
    assert_eq!((&rate["value"], &rate["meta"]), (&json!(2.0), &json!({"a": 1})), "{answer}");
    let by_second = rate["normalized_value"].as_f64().unwrap();
    assert!((by_second - 2.0 / 60.0).abs() < 1e-12, "{rate}");
    assert_eq!(buckets[4].get("derivative#rate"), None);
    assert_eq!(buckets[4]["simple_value#sum"]["value"], 0.0);
}

#[tokio::test]
async fn steps_of_a_number_have_them_too() {
    let (_fixture, app) = minutes(Rest::Fresh).await;
    let aggs = json!({"h": {"histogram": {"field": "v", "interval": 5}, "aggs": {
        "c": {"cumulative_sum": {"buckets_path": "_count"}},
    }}});
    let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
    let buckets = answer["aggregations"]["h"]["buckets"].as_array().unwrap();
    let sums: Vec<&Value> = buckets.iter().map(|bucket| &bucket["c"]["value"]).collect();
    assert_eq!(sums, [&json!(3.0), &json!(5.0), &json!(6.0)]);
}

#[tokio::test]
async fn arithmetic_stands_within_buckets_of_any_kind() {
    let (_fixture, app) = minutes(Rest::Splits).await;
    let inner = json!({
        "n": {"bucket_script": {"buckets_path": {"sum": "s", "n": "_count"}, "script": "params.sum / params.n"}},
        "s": {"sum": {"field": "v"}},
    });
    let aggs = json!({
        "t": {"terms": {"field": "v", "size": 2, "order": {"_key": "desc"}}, "aggs": inner},
        "c": {"composite": {"sources": [{"v": {"terms": {"field": "v"}}}], "size": 2}, "aggs": inner},
        "f": {"filters": {"filters": {"a": {"range": {"v": {"gte": 8}}}, "b": {"match_none": {}}}}, "aggs": inner},
    });
    let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
    let aggs = &answer["aggregations"];
    let values = |name: &str| {
        let buckets = aggs[name]["buckets"].as_array().unwrap();
        buckets.iter().map(|bucket| bucket["n"]["value"].clone()).collect::<Value>()
    };
    assert_eq!(values("t"), json!([10.0, 8.0]), "{answer}");
    assert_eq!(values("c"), json!([1.0, 3.0]), "{answer}");
    let filters = &aggs["f"]["buckets"];
    assert_eq!(filters["a"]["n"]["value"], 9.0, "{answer}");
    assert_eq!(filters["b"].get("n"), None, "{answer}");
}

#[tokio::test]
async fn empty_buckets_are_bounded_for_all_that_are_around_together() {
    let (_fixture, app) = minutes(Rest::Fresh).await;
    // Six seconds of so many steps each, and empty minutes with what stands in them.
    let steps = |most: u32| json!({"s": {"histogram": {"field": "v", "interval": 1, "extended_bounds": {"min": 0, "max": most}}}});
    let bounds = json!({"min": "2026-01-01T00:00:00Z", "max": "2026-01-01T00:40:00Z"});
    let within = |dates: Value, inner: Value| json!({"size": 0, "aggs": {"m": {"date_histogram": dates, "aggs": inner}}});
    let seconds = || json!({"field": "@timestamp", "fixed_interval": "1s", "min_doc_count": 1});
    let minutes =
        || json!({"field": "@timestamp", "fixed_interval": "1m", "extended_bounds": bounds});
    let filters = |inner: Value| json!({"f": {"filters": {"filters": {"a": {"match_none": {}}}}, "aggs": inner}});
    for (body, status) in [
        (within(seconds(), steps(800)), StatusCode::OK),
        (within(seconds(), steps(1_200)), StatusCode::BAD_REQUEST),
        (within(minutes(), steps(50)), StatusCode::OK),
        (within(minutes(), steps(200)), StatusCode::BAD_REQUEST),
        (within(seconds(), filters(steps(800))), StatusCode::OK),
        (within(seconds(), filters(steps(1_200))), StatusCode::BAD_REQUEST),
    ] {
        let (found, answer) = ask(&app, "POST", "/es/main/_search", &body.to_string()).await;
        assert_eq!(found, status, "{body}: {answer}");
        if status == StatusCode::BAD_REQUEST {
            assert_eq!(answer["error"]["type"], "too_many_buckets_exception", "{answer}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_made_is_named() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let within = |inner: Value| json!({"h": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1m"}, "aggs": inner}});
    let one = |figure: Value| within(json!({"x": figure, "p": {"percentiles": {"field": "took"}}}));
    let script = |script: &str| json!({"bucket_script": {"buckets_path": {"a": "_count"}, "script": script}});
    for (aggs, word) in [
        (json!({"x": {"derivative": {"buckets_path": "_count"}}}), "parent"),
        (
            json!({"t": {"terms": {"field": "host"}, "aggs": {"x": {"cumulative_sum": {"buckets_path": "_count"}}}}}),
            "parent",
        ),
        (json!({"x": script("params.a")}), "parent"),
        (json!({"f": {"filter": {"match_all": {}}, "aggs": {"x": script("params.a")}}}), "parent"),
        (
            one(json!({"cumulative_sum": {"buckets_path": "_count", "gap_policy": "skip"}})),
            "gap_policy",
        ),
        (one(json!({"derivative": {"buckets_path": "nope"}})), "nope"),
        (one(json!({"derivative": {"buckets_path": "p"}})), "[p]"),
        (one(json!({"derivative": {"buckets_path": "p.51"}})), "p.51"),
        (one(json!({"derivative": {}})), "buckets_path"),
        (one(json!({"derivative": {"buckets_path": "_count", "unit": "soon"}})), "soon"),
        (
            one(json!({"derivative": {"buckets_path": "_count", "gap_policy": "fill"}})),
            "gap_policy",
        ),
        (one(json!({"derivative": {"buckets_path": "_count", "format": "0"}})), "format"),
        (one(json!({"serial_diff": {"buckets_path": "_count", "lag": 0}})), "lag"),
        (one(json!({"moving_avg": {"buckets_path": "_count", "model": "holt"}})), "holt"),
        (one(json!({"moving_avg": {"buckets_path": "_count", "predict": 3}})), "predict"),
        (one(json!({"moving_fn": {"buckets_path": "_count", "script": "1"}})), "window"),
        (
            one(json!({"moving_fn": {"buckets_path": "_count", "window": 3, "script": "1"}})),
            "script",
        ),
        (one(script("params.a > 1")), "bucket_script"),
        (one(script("params.b")), "[b]"),
        (one(json!({"max_bucket": {"buckets_path": "_count"}})), "max_bucket"),
        (
            within(json!({
                "x": {"derivative": {"buckets_path": "y"}}, "y": {"derivative": {"buckets_path": "x"}},
            })),
            "Cyclical",
        ),
        (
            within(
                json!({"x": {"derivative": {"buckets_path": "_count"}, "aggs": {"y": {"avg": {"field": "v"}}}}}),
            ),
            "sub-aggregations",
        ),
    ] {
        let body = json!({ "aggs": aggs }).to_string();
        let (status, answer) = ask(&app, "POST", "/es/_search", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{aggs}: {answer}");
        let reason = answer["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(word), "{aggs}: {reason}");
    }
}
