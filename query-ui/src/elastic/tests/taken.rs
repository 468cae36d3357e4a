//! Names from which a record's own time, message and level were taken.

use axum::Router;
use serde_json::{Value, json};

use super::super::router;
use super::{check_pages, found, post};
use crate::fixture::{Fixture, Rest};

/// Records of pino, of zap, of ECS, of who has two of each, and of a container.
async fn several(rest: Rest) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let records = [
        json!({"time": 1_767_225_601_000_i64, "level": 30, "msg": "request done"}),
        json!({"ts": 1_767_225_602.5, "severity": "ERROR", "message": "disk failed"}),
        json!({"@timestamp": "2026-01-01T00:00:03Z", "log": {"level": "warn"}, "message": "slow"}),
        json!({"@timestamp": "2026-01-01T00:00:04Z", "time": "12ms", "level": "info",
            "severity": "critical", "message": "both", "event": "click"}),
        json!({"timestamp": "2026-01-01T00:00:05Z", "lvl": "debug", "log": "container text"}),
    ];
    fixture.append(0, &[("host", "web1")], records.map(|line| line.to_string())).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = router(fixture.engine.clone());
    (fixture, app)
}

#[tokio::test]
async fn queries_of_such_names_find_what_was_taken() {
    let all = ["container text", "both", "slow", "disk failed", "request done"];
    let text = |query: &str| json!({"query_string": {"query": query}});
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = several(rest).await;
        for (query, expected) in [
            (json!({"term": {"severity": "error"}}), vec!["disk failed"]),
            (json!({"term": {"severity.keyword": "critical"}}), vec!["both"]),
            (json!({"term": {"severity": "info"}}), vec!["request done"]),
            (json!({"term": {"severity": 30}}), vec!["request done"]),
            (
                json!({"terms": {"level": [30, "debug"]}}),
                vec!["container text", "both", "request done"],
            ),
            (json!({"term": {"log.level": "warning"}}), vec!["slow"]),
            (text("severity:err"), vec!["disk failed"]),
            (text("level:50 AND NOT severity:critical"), vec!["disk failed"]),
            (text("loglevel:deb*"), vec!["container text"]),
            (json!({"match": {"msg": "disk"}}), vec!["disk failed"]),
            (json!({"match_phrase": {"log": "container text"}}), vec!["container text"]),
            (json!({"prefix": {"body": "cont"}}), vec!["container text"]),
            (json!({"wildcard": {"msg": "re*est"}}), vec!["request done"]),
            (json!({"term": {"msg.keyword": "slow"}}), vec!["slow"]),
            (
                json!({"multi_match": {"query": "slow done", "fields": ["msg"]}}),
                vec!["slow", "request done"],
            ),
            (
                json!({"simple_query_string": {"query": "sl* -done", "fields": ["msg"], "default_operator": "and"}}),
                vec!["slow"],
            ),
            (json!({"term": {"event": "click"}}), vec!["both"]),
            (json!({"match": {"event": "slow"}}), vec!["slow"]),
            (json!({"exists": {"field": "msg"}}), all.to_vec()),
            (json!({"exists": {"field": "time"}}), all.to_vec()),
            (text("_exists_:severity"), all.to_vec()),
            (json!({"bool": {"must_not": {"exists": {"field": "lvl"}}}}), vec![]),
        ] {
            assert_eq!(found(&app, query.clone()).await, expected, "{rest:?} {query}");
        }
    }
}

#[tokio::test]
async fn ranges_of_such_names_are_read_as_records_are() {
    let text = |query: &str| json!({"query_string": {"query": query}});
    let range = |name: &str, ends: Value| json!({"range": {name: ends}});
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = several(rest).await;
        for (query, expected) in [
            (range("severity", json!({"gte": "warning"})), vec!["slow", "disk failed"]),
            (range("severity", json!({"gte": 40})), vec!["slow", "disk failed"]),
            (range("severity", json!({"lte": 3})), vec!["disk failed"]),
            (range("level", json!({"gt": 30, "lt": "50"})), vec!["slow"]),
            (text("lvl:[error TO fatal]"), vec!["disk failed"]),
            (text("level:>=40"), vec!["slow", "disk failed"]),
            (range("time", json!({"gte": "2026-01-01T00:00:04Z"})), vec!["container text"]),
            (range("ts", json!({"gte": 1_767_225_602, "lt": 1_767_225_603})), vec!["disk failed"]),
            (
                range("ts", json!({"gte": 1_767_225_605_000_i64, "format": "epoch_millis"})),
                vec!["container text"],
            ),
            (json!({"term": {"time": 1_767_225_601_000_i64}}), vec!["request done"]),
            (json!({"term": {"ts": 1_767_225_602.5}}), vec!["disk failed"]),
            (json!({"match": {"eventTime": "2026-01-01T00:00:03Z"}}), vec!["slow"]),
            (json!({"term": {"time": "12ms"}}), vec!["both"]),
            (text("ts:>1767225604"), vec!["container text"]),
            (text("ts:soon"), vec![]),
        ] {
            assert_eq!(found(&app, query.clone()).await, expected, "{rest:?} {query}");
        }
    }
}

#[tokio::test]
async fn hits_are_sorted_and_shown_by_such_names() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = several(rest).await;
        for (sort, expected) in [
            (
                json!({"ts": "desc"}),
                ["container text", "both", "slow", "disk failed", "request done"],
            ),
            // Of a field that is there it is its own values that count, then what was taken.
            (
                json!({"time": "asc"}),
                ["both", "request done", "disk failed", "slow", "container text"],
            ),
            (
                json!({"severity": "asc"}),
                ["both", "container text", "disk failed", "request done", "slow"],
            ),
            (
                json!({"lvl": "asc"}),
                ["container text", "both", "request done", "slow", "disk failed"],
            ),
            (
                json!({"msg": "asc"}),
                ["both", "container text", "disk failed", "request done", "slow"],
            ),
        ] {
            let body = json!({"sort": sort, "query": {"match_all": {}}});
            let answer = post(&app, "/es/main/_search", body).await;
            let hits = answer["hits"]["hits"].as_array().unwrap();
            let messages: Vec<&str> =
                hits.iter().map(|hit| hit["_source"]["message"].as_str().unwrap()).collect();
            assert_eq!(messages, expected, "{rest:?} {sort}");
            check_pages(&app, &json!([sort]), 5).await;
        }
        let body = json!({
            "query": {"match": {"msg": "disk"}}, "sort": {"ts": "asc"}, "_source": false,
            "fields": ["severity", "msg", {"field": "ts", "format": "epoch_millis"}, "event"],
            "highlight": {"fields": {"msg": {}}},
        });
        let hit = post(&app, "/es/main/_search", body).await["hits"]["hits"][0].clone();
        let fields = json!({
            "severity": ["error"], "msg": ["disk failed"], "ts": ["1767225602500"], "event": ["disk failed"],
        });
        assert_eq!(hit["fields"], fields);
        assert_eq!(hit["highlight"], json!({"msg": ["<em>disk</em> failed"]}));
        assert_eq!(hit["sort"], json!([1_767_225_602_500_i64]));
    }
}

#[tokio::test]
async fn aggregations_of_such_names_hold_what_was_taken() {
    let keys = |pairs: &[(&str, u64)]| -> Value {
        pairs.iter().map(|(key, count)| json!({"key": key, "doc_count": count})).collect()
    };
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = several(rest).await;
        let aggs = json!({
            "levels": {"terms": {"field": "lvl"}},
            "severities": {"terms": {"field": "severity"}, "aggs": {"last": {"max": {"field": "ts"}}}},
            "seconds": {"date_histogram": {"field": "ts", "fixed_interval": "2s"}},
            "own": {"date_histogram": {"field": "time", "fixed_interval": "1h"}},
            "bad": {"range": {"field": "severity", "ranges": [{"from": 40}]}},
            "first": {"min": {"field": "ts"}},
            "kinds": {"cardinality": {"field": "severity"}},
            "texts": {"value_count": {"field": "msg"}},
            "none": {"missing": {"field": "severity"}},
            "pages": {"composite": {"sources": [{"s": {"terms": {"field": "severity"}}}], "size": 2, "after": {"s": "debug"}}},
        });
        let answer = post(&app, "/es/main/_search", json!({"size": 0, "aggs": aggs})).await;
        let found = &answer["aggregations"];
        let levels = keys(&[("info", 2), ("debug", 1), ("error", 1), ("warn", 1)]);
        assert_eq!(found["levels"]["buckets"], levels, "{rest:?}");
        let buckets = found["severities"]["buckets"].as_array().unwrap();
        let told = buckets.iter().map(|bucket| {
            (bucket["key"].as_str().unwrap(), bucket["last"]["value"].as_f64().unwrap())
        });
        let at = |seconds: f64| (1_767_225_600.0 + seconds) * 1_000.0;
        let expected = [
            ("critical", at(4.0)),
            ("debug", at(5.0)),
            ("error", at(2.5)),
            ("info", at(1.0)),
            ("warn", at(3.0)),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected, "{rest:?}");
        let counts = |name: &str| -> Vec<u64> {
            let buckets = found[name]["buckets"].as_array().unwrap();
            buckets.iter().map(|bucket| bucket["doc_count"].as_u64().unwrap()).collect()
        };
        assert_eq!(counts("seconds"), [1, 2, 2]);
        // "12ms" is no time: the record with it is in no bin.
        assert_eq!(counts("own"), [4]);
        assert_eq!(counts("bad"), [2]);
        assert_eq!(found["first"]["value"], json!(at(1.0)));
        assert_eq!(found["first"]["value_as_string"], "2026-01-01T00:00:01.000Z");
        assert_eq!((&found["kinds"]["value"], &found["texts"]["value"]), (&json!(5), &json!(5)));
        assert_eq!(found["none"]["doc_count"], 0);
        let pages = json!([
            {"key": {"s": "error"}, "doc_count": 1}, {"key": {"s": "info"}, "doc_count": 1},
        ]);
        assert_eq!(found["pages"]["buckets"], pages);
    }
}
