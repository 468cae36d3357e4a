//! Searches over real records, fresh and in splits: what is found, and what is refused.

mod anything;
mod kinds;
mod marks;
mod mixed;
mod paths;
mod taken;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::router;
use crate::fixture::{Fixture, Rest};

/// Five web requests on one host, three jobs on another, one record of another index.
pub(super) async fn small(rest: Rest) -> (Fixture, Router) {
    let fixture = Fixture::new(rest);
    let web = [
        json!({"ts":"2026-01-01T00:00:01Z","level":"info","msg":"GET /a","status":200,"took":0.5,"user":{"name":"Alice"}}),
        json!({"ts":"2026-01-01T00:00:03Z","level":"error","msg":"GET /b failed","status":503,"took":2}),
        json!({"ts":"2026-01-01T00:00:05Z","level":"info","msg":"GET /c","status":200,"user":{"name":"alice smith"}}),
        json!({"ts":"2026-01-01T00:01:00Z","level":"warn","msg":"slow answer","status":504,"user":{"name":"bob"}}),
        json!({"ts":"2026-01-01T00:02:00Z","msg":"GET /d","status":404,"ok":true}),
    ];
    let jobs = [
        json!({"ts":"2026-01-01T00:00:02Z","level":"error","msg":"job failed: disk quota","took":7}),
        json!({"ts":"2026-01-01T00:00:03Z","level":"info","msg":"job done","took":3}),
        json!({"ts":"2026-01-02T00:00:00Z","level":"fatal","msg":"disk full","tags":["x","y"]}),
    ];
    fixture.append(0, &[("host", "web1")], web.map(|line| line.to_string())).await;
    fixture.append(1, &[("host", "job1")], jobs.map(|line| line.to_string())).await;
    let other = json!({"ts":"2026-02-01T00:00:00Z","msg":"elsewhere","status":1});
    fixture.append_to(0, "logs-other", &[("host", "x")], [other.to_string()]).await;
    if rest == Rest::Splits {
        fixture.settle().await;
    }
    let app = router(fixture.engine.clone());
    (fixture, app)
}

pub(super) async fn ask(app: &Router, method: &str, path: &str, body: &str) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).body(Body::from(body.to_owned()));
    let response = app.clone().oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.headers()["x-elastic-product"], "Elasticsearch", "{path}");
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

pub(super) async fn post(app: &Router, path: &str, body: Value) -> Value {
    let (status, answer) = ask(app, "POST", path, &body.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}: {answer}");
    answer
}

/// The messages that a query finds in the index `main`, newest first.
pub(super) async fn found(app: &Router, query: Value) -> Vec<String> {
    let answer = post(app, "/es/main/_search", json!({ "query": query, "size": 100 })).await;
    let hits = answer["hits"]["hits"].as_array().unwrap();
    assert_eq!(answer["hits"]["total"]["value"], json!(hits.len()), "{query}");
    hits.iter().map(|hit| hit["_source"]["message"].as_str().unwrap().to_owned()).collect()
}

type Expected = Vec<(Value, Vec<&'static str>)>;

#[tokio::test]
async fn queries_find_what_they_say() {
    for rest in [Rest::Fresh, Rest::Splits] {
        let (_fixture, app) = small(rest).await;
        for (query, expected) in
            text_queries().into_iter().chain(value_queries()).chain(joined_queries())
        {
            assert_eq!(found(&app, query.clone()).await, expected, "{rest:?} {query}");
        }
    }
}

fn text_queries() -> Expected {
    vec![
        (json!({"match_none": {}}), vec![]),
        (
            json!({"match": {"message": "failed disk"}}),
            vec!["disk full", "GET /b failed", "job failed: disk quota"],
        ),
        (
            json!({"match": {"message": {"query": "failed disk", "operator": "and"}}}),
            vec!["job failed: disk quota"],
        ),
        (json!({"match_phrase": {"message": "failed disk"}}), vec!["job failed: disk quota"]),
        (json!({"match_phrase_prefix": {"message": "failed di"}}), vec!["job failed: disk quota"]),
        (
            json!({"multi_match": {"query": "bob", "fields": ["user.name", "message"]}}),
            vec!["slow answer"],
        ),
    ]
}

fn value_queries() -> Expected {
    vec![
        (json!({"term": {"user.name": "Alice"}}), vec!["GET /a"]),
        (
            json!({"term": {"user.name.keyword": {"value": "ALICE", "case_insensitive": true}}}),
            vec!["GET /a"],
        ),
        (json!({"term": {"status": 200}}), vec!["GET /c", "GET /a"]),
        (
            json!({"term": {"host": "job1"}}),
            vec!["disk full", "job done", "job failed: disk quota"],
        ),
        (json!({"terms": {"status": [404, 503]}}), vec!["GET /d", "GET /b failed"]),
        (json!({"terms": {"log.level": ["fatal", "warning"]}}), vec!["disk full", "slow answer"]),
        (json!({"range": {"status": {"gte": 404, "lt": 504}}}), vec!["GET /d", "GET /b failed"]),
        (
            json!({"range": {"@timestamp": {"gt": "2026-01-01", "lte": "2026-01-02"}}}),
            vec!["disk full"],
        ),
        (
            json!({"range": {"@timestamp": {"gte": 1_767_225_602_000_i64, "lte": 1_767_225_603_000_i64, "format": "epoch_millis"}}}),
            vec!["job done", "GET /b failed", "job failed: disk quota"],
        ),
        (json!({"exists": {"field": "ok"}}), vec!["GET /d"]),
        (json!({"match": {"@timestamp": "2026-01-01T00:02:00Z"}}), vec!["GET /d"]),
        (json!({"match": {"took": "0.5"}}), vec!["GET /a"]),
        (json!({"match": {"took": "2.0"}}), vec!["GET /b failed"]),
        (json!({"query_string": {"query": "took:2.0"}}), vec!["GET /b failed"]),
        (json!({"query_string": {"query": "@timestamp:\"2026-01-01T00:02:00Z\""}}), vec!["GET /d"]),
        (json!({"term": {"message.keyword": "disk full"}}), vec!["disk full"]),
        (json!({"term": {"message.keyword": "disk"}}), vec![]),
        (json!({"prefix": {"message.keyword": "disk f"}}), vec!["disk full"]),
        (json!({"wildcard": {"message.keyword": "* failed"}}), vec!["GET /b failed"]),
        (json!({"exists": {"field": "user"}}), vec!["slow answer", "GET /c", "GET /a"]),
        (json!({"prefix": {"user.name": "ali"}}), vec!["GET /c"]),
        (json!({"wildcard": {"user.name": {"value": "?lice*"}}}), vec!["GET /c", "GET /a"]),
        (
            json!({"wildcard": {"message": "*ailed"}}),
            vec!["GET /b failed", "job failed: disk quota"],
        ),
        (json!({"regexp": {"user.name": "[Aa]lice"}}), vec!["GET /a"]),
    ]
}

fn joined_queries() -> Expected {
    vec![
        (
            json!({"bool": {"should": [{"term": {"status": 404}}, {"term": {"took": 7}}]}}),
            vec!["GET /d", "job failed: disk quota"],
        ),
        (
            json!({"bool": {"must": {"match": {"message": "get"}}, "must_not": [{"term": {"status": 200}}], "should": {"match_all": {}}}}),
            vec!["GET /d", "GET /b failed"],
        ),
        (
            json!({"bool": {"minimum_should_match": 2, "should": [{"term": {"status": 200}}, {"exists": {"field": "took"}}, {"match": {"message": "a"}}]}}),
            vec!["GET /a"],
        ),
        (json!({"constant_score": {"filter": {"term": {"tags": "y"}}}}), vec!["disk full"]),
        (json!({"query_string": {"query": "status:[404 TO 503] AND NOT failed"}}), vec!["GET /d"]),
        (json!({"query_string": {"query": "level:error -job"}}), vec!["GET /b failed"]),
        (
            json!({"query_string": {"query": "message:(\"failed disk\" OR full)"}}),
            vec!["disk full", "job failed: disk quota"],
        ),
        (
            json!({"query_string": {"query": "status:>=504 OR fu?l"}}),
            vec!["disk full", "slow answer"],
        ),
        (
            json!({"query_string": {"query": "failed disk", "default_operator": "AND"}}),
            vec!["job failed: disk quota"],
        ),
        (json!({"query_string": {"query": "_exists_:ok"}}), vec!["GET /d"]),
        (
            json!({"query_string": {"query": "_exists_:user"}}),
            vec!["slow answer", "GET /c", "GET /a"],
        ),
        (
            json!({"simple_query_string": {"query": "\"failed disk\" | ful*", "fields": ["message"]}}),
            vec!["disk full", "job failed: disk quota"],
        ),
        (json!({"simple_query_string": {"query": "failed + -job"}}), vec!["GET /b failed"]),
    ]
}

#[tokio::test]
async fn what_is_not_supported_is_named() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (body, word) in [
        (json!({"query": {"fuzzy": {"a": "b"}}}), "fuzzy"),
        (json!({"query": {"match": {"a": {"query": "b", "fuzziness": "AUTO"}}}}), "fuzziness"),
        (json!({"query": {"query_string": {"query": "a~2"}}}), "fuzzy"),
        (json!({"query": {"query_string": {"query": "(a"}}}), "bracket"),
        (json!({"query": {"exists": {"field": "user.*"}}}), "pattern"),
        (json!({"query": {"query_string": {"query": "us*:bob"}}}), "pattern"),
        (json!({"query": {"regexp": {"a": "b~c"}}}), "regexp"),
        (json!({"query": {"range": {"@timestamp": {"gte": "soon"}}}}), "soon"),
        (json!({"query": {"match": {"a": {"query": "b", "_name": "x"}}}}), "_name"),
        (json!({"query": {"terms": {"a": ["b"], "_name": "x"}}}), "_name"),
        (json!({"query": {"bool": {"_name": "x"}}}), "_name"),
        (json!({"query": {"range": {"level": {"gte": "soon"}}}}), "level"),
        (json!({"highlight": {"fields": {"a": {"matched_fields": ["b"]}}}}), "matched_fields"),
        (json!({"highlight": {"fields": {"a": {}}, "type": "semantic"}}), "type"),
        (
            json!({"highlight": {"fields": {"a": {}}, "boundary_scanner": "word"}}),
            "boundary_scanner",
        ),
        (json!({"highlight": {"fields": {"a": {}}, "encoder": "xml"}}), "encoder"),
        (json!({"sort": [{"tags": {"order": "asc", "mode": "min"}}]}), "mode"),
        (json!({"sort": [{"took": {"mode": "most"}}]}), "mode"),
        (json!({"sort": [{"took": {"numeric_type": "long"}}]}), "numeric_type"),
        (json!({"version": "yes"}), "version"),
        (json!({"collapse": {"field": "a"}}), "collapse"),
        (json!({"script_fields": {"a": {}}}), "script_fields"),
        (json!({"sort": [{"_script": {}}]}), "_script"),
        (json!({"size": 10_001}), "too large"),
        (json!({"size": -1}), "size"),
        (json!([]), "object"),
    ] {
        let (status, answer) = ask(&app, "POST", "/es/_search", &body.to_string()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
        let reason = answer["error"]["reason"].as_str().unwrap();
        assert!(reason.contains(word), "{body}: {reason}");
    }
    let (status, answer) = ask(&app, "POST", "/es/none/_search", "").await;
    assert_eq!(
        (status, &answer["error"]["type"]),
        (StatusCode::NOT_FOUND, &json!("index_not_found_exception"))
    );
    let (status, _) = ask(&app, "POST", "/es/none/_search?ignore_unavailable=true", "").await;
    assert_eq!(status, StatusCode::OK);
    let (status, answer) = ask(&app, "POST", "/es/_search?colour=red", "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
}

#[tokio::test]
async fn hits_are_shown_as_asked() {
    let (_fixture, app) = small(Rest::Splits).await;
    let body = json!({
        "query": {"term": {"status": 503}}, "_source": ["user", "status"], "fields": ["took", {"field": "@timestamp", "format": "epoch_millis"}],
        "sort": [{"took": "desc"}, "_doc"], "highlight": {"fields": {"*": {}}},
    });
    let answer = post(&app, "/es/ma*/_search", body).await;
    let hit = &answer["hits"]["hits"][0];
    assert_eq!(hit["_index"], "main");
    assert_eq!(hit["_source"], json!({"status": 503}));
    assert_eq!(hit["fields"], json!({"took": [2], "@timestamp": ["1767225603000"]}));
    assert_eq!(hit["sort"][0], json!(2));
    let body = json!({"query": {"match": {"message": "failed"}}, "highlight": {"fields": {"message": {}}, "pre_tags": ["<"], "post_tags": [">"]}});
    let answer = post(&app, "/es/main/_search?size=1&filter_path=hits.hits.highlight", body).await;
    assert_eq!(
        answer,
        json!({"hits": {"hits": [{"highlight": {"message": ["GET /b <failed>"]}}]}})
    );
    let id = post(&app, "/es/_search", json!({"size": 1})).await["hits"]["hits"][0]["_id"].clone();
    let answer = post(&app, "/es/_count", json!({"query": {"ids": {"values": [id]}}})).await;
    assert_eq!(answer["count"], 1);
    let nested = post(&app, "/es/_search", json!({"query": {"term": {"user.name": "bob"}}})).await;
    assert_eq!(nested["hits"]["hits"][0]["_source"]["user"], json!({"name": "bob"}));
}

#[tokio::test]
async fn aliases_name_indexes() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let actions = json!({"actions": [
        {"add": {"index": "ma*", "alias": "both", "is_write_index": true}},
        {"add": {"indices": ["logs-other"], "aliases": ["both", "few"]}},
    ]});
    post(&app, "/es/_aliases", actions).await;
    for (expression, expected) in
        [("both", 9), ("few", 1), ("fe*,main", 9), ("both,-main", 1), ("*", 9)]
    {
        let answer = post(&app, &format!("/es/{expression}/_count"), json!({})).await;
        assert_eq!(answer["count"], expected, "{expression}");
    }
    let (_, answer) = ask(&app, "GET", "/es/main/_alias", "").await;
    let writes = json!({"both": {"is_write_index": true}});
    assert_eq!(answer, json!({"main": {"aliases": writes}}));
    let (_, answer) = ask(&app, "GET", "/es/_alias/few", "").await;
    assert_eq!(answer, json!({"logs-other": {"aliases": {"few": {}}}}));
    let (_, answer) = ask(&app, "GET", "/es/_resolve/index/both", "").await;
    assert_eq!(answer["aliases"], json!([{"name": "both", "indices": ["logs-other", "main"]}]));
    let (_, answer) = ask(&app, "GET", "/es/both", "").await;
    assert_eq!(answer["main"]["aliases"], writes);
    let (_, answer) = ask(&app, "GET", "/es/_cat/aliases/f*?format=json&h=alias,i", "").await;
    assert_eq!(answer, json!([{"alias": "few", "i": "logs-other"}]));
    for (method, path, body, expected) in [
        ("HEAD", "/es/both", json!(null), 200),
        ("HEAD", "/es/_alias/none", json!(null), 404),
        ("PUT", "/es/main/_alias/main", json!(null), 400),
        ("PUT", "/es/main/_alias/Not!", json!(null), 400),
        ("PUT", "/es/none/_alias/fine", json!(null), 404),
        ("PUT", "/es/main/_alias/part", json!({"filter": {"match_all": {}}}), 400),
        ("PUT", "/es/logs-other/_alias/both", json!({"is_write_index": true}), 400),
        ("POST", "/es/_aliases", json!({"actions": [{"remove_index": {"index": "main"}}]}), 400),
        ("DELETE", "/es/main/_alias/few", json!(null), 404),
        ("DELETE", "/es/logs-other/_alias/few", json!(null), 200),
        ("GET", "/es/few/_count", json!(null), 404),
        ("PUT", "/es/main/_alias/later", json!(null), 200),
        ("GET", "/es/later/_count", json!(null), 200),
    ] {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = ask(&app, method, path, &text).await;
        assert_eq!(status.as_u16(), expected, "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn what_clients_ask_beside_searches_is_answered() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (method, path, expected) in [
        ("POST", "/es/_refresh", 200),
        ("POST", "/es/main/_flush", 200),
        ("POST", "/es/none/_refresh", 404),
        ("HEAD", "/es/main", 200),
        ("HEAD", "/es/none", 404),
        ("GET", "/es/none*/_search?allow_no_indices=false", 404),
        ("GET", "/es/none*/_search", 200),
        ("GET", "/es/_cat/indices?h=colour", 400),
        ("GET", "/es/_cat/shards", 400),
        ("GET", "/es/_cat/count/none", 404),
        ("POST", "/es/_cat/count/main", 200),
        ("GET", "/es/_field_caps?fields=*&filters=%2Bmetadata", 400),
    ] {
        let (status, answer) = ask(&app, method, path, "").await;
        assert_eq!(status.as_u16(), expected, "{method} {path}: {answer}");
    }
    let (_, answer) =
        ask(&app, "GET", "/es/_cat/indices?h=index,dc&s=dc:desc&format=json", "").await;
    let rows = json!([{"index": "main", "dc": "8"}, {"index": "logs-other", "dc": "1"}]);
    assert_eq!(answer, rows);
    let (_, answer) = ask(&app, "GET", "/es/main", "").await;
    assert_eq!(answer["main"]["mappings"]["properties"]["status"]["type"], "long", "{answer}");
    let none = json!({"query": {"match_none": {}}});
    let counted = post(&app, "/es/_cat/count?h=count&format=json", none).await;
    assert_eq!(counted, json!([{"count": "0"}]));
    let (status, _) = ask(&app, "POST", "/es/_cat/count", r#"{"project_routing":"x"}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    for (path, expected) in [
        ("/es/_cat/count?h=count&format=json", json!([{"count": "9"}])),
        ("/es/_cat/count/logs-*?h=dc&format=json", json!([{"dc": "1"}])),
        ("/es/_cat/nodes?h=name,master&format=json", json!([{"name": "sawlog", "master": "*"}])),
        ("/es/_cat/templates?format=json", json!([])),
    ] {
        let (_, answer) = ask(&app, "GET", path, "").await;
        assert_eq!(answer, expected, "{path}");
    }
    let filter = json!({"fields": ["st*", "ok"], "index_filter": {"term": {"status": 1}}});
    let caps = post(&app, "/es/_field_caps?types=long,boolean", filter).await;
    assert_eq!(caps["indices"], json!(["logs-other"]));
    let names: Vec<&String> = caps["fields"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["status"]);
    let lines = concat!(
        "{\"index\":\"main\",\"request_cache\":true,\"ccs_minimize_roundtrips\":true}\n{}\n",
        "{\"index\":\"none*\",\"allow_no_indices\":false}\n{}\n",
    );
    let (_, answer) = ask(&app, "POST", "/es/_msearch", lines).await;
    let statuses = [&answer["responses"][0]["status"], &answer["responses"][1]["status"]];
    assert_eq!(statuses, [&json!(200), &json!(404)], "{answer}");
    let (_, answer) = ask(&app, "POST", "/es/_msearch", "[]\n{}\n").await;
    assert_eq!(answer["responses"][0]["status"], 400, "{answer}");
}

/// Clients that take text and JSON put first what they want.
#[tokio::test]
async fn a_table_is_text_where_text_is_accepted_first() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (accept, expected) in [
        ("text/plain,application/json", "main 8\nlogs-other 1\n"),
        ("*/*", "main 8\nlogs-other 1\n"),
        (
            "application/json",
            r#"[{"index":"main","docs.count":"8"},{"index":"logs-other","docs.count":"1"}]"#,
        ),
    ] {
        let path = "/es/_cat/indices?h=index,docs.count&s=docs.count:desc";
        let request = Request::builder().uri(path).header("accept", accept);
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let read = |text: &str| serde_json::from_str::<Value>(text).ok();
        assert!(
            text == expected || read(&text).is_some_and(|all| Some(all) == read(expected)),
            "{text}"
        );
    }
}

/// All ids, page by page.
async fn paged(app: &Router, sort: &Value) -> Vec<Value> {
    let (_, point) = ask(app, "POST", "/es/_all/_pit?keep_alive=1m", "").await;
    let (mut ids, mut after) = (Vec::new(), Value::Null);
    loop {
        let mut body =
            json!({"size": 2, "sort": sort, "pit": {"id": point["id"], "keep_alive": "1m"}});
        if !after.is_null() {
            body["search_after"] = after;
        }
        let answer = post(app, "/es/_search", body).await;
        let hits = answer["hits"]["hits"].as_array().unwrap().clone();
        let Some(last) = hits.last() else { return ids };
        after = last["sort"].clone();
        ids.extend(hits.iter().map(|hit| hit["_id"].clone()));
    }
}

/// Page by page come the same records in the same order as at once.
async fn check_pages(app: &Router, sort: &Value, expected: usize) {
    let all = post(app, "/es/_search", json!({"size": 100, "sort": sort})).await;
    let all: Vec<Value> =
        all["hits"]["hits"].as_array().unwrap().iter().map(|hit| hit["_id"].clone()).collect();
    assert_eq!(all.len(), expected);
    assert_eq!(paged(app, sort).await, all, "{sort}");
}

#[tokio::test]
async fn pages_hold_every_record_once() {
    let (fixture, app) = small(Rest::Splits).await;
    for sort in [
        json!([{"@timestamp": "desc"}]),
        json!([{"@timestamp": "asc"}]),
        json!("_doc"),
        json!([{"took": "desc"}]),
        json!([{"status": "asc"}, {"took": "desc"}]),
        json!(["level"]),
        json!(["_index", "took"]),
        json!(["host", {"user.name": {"order": "desc"}}]),
        json!([{"event.ingested": "asc"}, {"took": {"order": "asc", "mode": "max"}}]),
        json!([{"ts": {"order": "asc", "numeric_type": "date"}}]),
    ] {
        check_pages(&app, &sort, 9).await;
    }
    let first = post(&app, "/es/_all/_search?scroll=1m", json!({"size": 4, "sort": "_doc"})).await;
    assert_eq!(first["hits"]["total"]["value"], 9);
    // What comes later is in no page.
    fixture.append(0, &[("host", "late")], [json!({"msg": "late"}).to_string()]).await;
    let (mut count, mut page) = (0, first);
    while let Some(hits) = page["hits"]["hits"].as_array().filter(|hits| !hits.is_empty()) {
        count += hits.len();
        let body = json!({"scroll_id": page["_scroll_id"], "scroll": "1m"});
        page = post(&app, "/es/_search/scroll", body).await;
    }
    assert_eq!(count, 9);
    let (status, _) = ask(&app, "POST", "/es/_search/scroll", r#"{"scroll_id":"x"}"#).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn texts_that_read_as_times_are_paged_as_texts() {
    let fixture = Fixture::new(Rest::Fresh);
    let texts = [
        "2026-01-01T10:00:00Z",
        "2026-01-01T10:00:00.5Z",
        "2026-01-01T10:00:00.25Z",
        "2026-01-01T12:00:00+05:00",
        "2026-01-15T08:00:00Z",
        "2026-01-15",
        "2026-01",
    ];
    let lines = texts.map(|text| json!({"msg": "x", "at": text}).to_string());
    fixture.append(0, &[("host", "web1")], lines).await;
    let app = router(fixture.engine.clone());
    for order in ["asc", "desc"] {
        check_pages(&app, &json!([{"at": order}]), texts.len()).await;
    }
}
