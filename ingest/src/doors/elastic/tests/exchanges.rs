//! What shippers say to Elasticsearch from their start on, in their order, and what they look at in the
//! answers: written from what was seen on the wire or read in their sources.

use std::io::Write as _;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use serde_json::{Value, json};

use super::{Fixture, field, fixture, messages, statuses};

/// An answer: status, headers, body.
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }
}

/// A client that asks in turn. Every answer must name the product: without it the official clients
/// go no further.
struct Client {
    fixture: Fixture,
    headers: &'static [(&'static str, &'static str)],
}

impl Client {
    fn new(headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { fixture: fixture(), headers }
    }

    async fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/es{path}"));
        for (name, value) in self.headers.iter().chain(more) {
            request = request.header(*name, *value);
        }
        let response = self.fixture.response(request.body(Body::from(body)).unwrap()).await;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        assert_eq!(headers["x-elastic-product"], "Elasticsearch", "{method} {path}");
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Answer { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// Asks without a body, and wants that status.
    async fn ask(&self, method: &str, path: &str, expected: u16) -> Answer {
        let answer = self.send(method, path, &[], Vec::new()).await;
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.text);
        answer
    }

    /// Leaves a document that was not there, and finds it as it was given, at that place of the
    /// answer.
    async fn leave(&self, path: &str, document: &Value, place: &str) {
        self.ask("HEAD", path, 404).await;
        let sent = document.to_string().into_bytes();
        let kept = self.send("PUT", path, &[], sent).await;
        assert_eq!((kept.status, kept.json()), (200, json!({ "acknowledged": true })), "{path}");
        self.ask("HEAD", path, 200).await;
        let found = self.ask("GET", path, 200).await.json();
        assert_eq!(found.pointer(place), Some(document), "{path}: {found}");
    }

    /// Stores a bulk; every item of it is to be new.
    async fn bulk(&self, path: &str, more: &[(&str, &str)], body: Vec<u8>, count: usize) -> Answer {
        let answer = self.send("POST", path, more, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(statuses(&answer.json()), vec![201; count], "{}", answer.text);
        answer
    }

    /// Every record that was sent is there once.
    #[track_caller]
    fn check_stored(&self, expected: &[&str]) {
        let mut stored = messages(&self.fixture);
        stored.sort();
        assert_eq!(stored, expected);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Action and document in turn.
fn lines(parts: &[Value]) -> Vec<u8> {
    parts.iter().flat_map(|part| format!("{part}\n").into_bytes()).collect()
}

/// What Filebeat does before it sends: license, policy, template, data stream, pipeline.
async fn check_filebeat_start(client: &Client, name: &str) {
    let info = client.ask("GET", "/", 200).await.json();
    let version = info["version"]["number"].as_str().unwrap();
    assert!(version.split('.').next().unwrap().parse::<u32>().unwrap() >= 8, "{version}");
    for _ in 0..2 {
        let license = client.ask("GET", "/_license?human=false", 200).await.json();
        assert_eq!(license["license"]["status"], "active");
    }
    let policy = json!({ "policy": { "phases": { "hot": { "actions": { "rollover": { "max_age": "30d" } } } } } });
    client.leave("/_ilm/policy/filebeat", &policy, "/filebeat").await;
    let template =
        json!({ "index_patterns": [format!("{name}*")], "data_stream": {}, "priority": 150 });
    let (path, place) = (format!("/_index_template/{name}"), "/index_templates/0/index_template");
    client.leave(&path, &template, place).await;
    let stream = format!("/_data_stream/{name}");
    client.ask("HEAD", &stream, 404).await;
    client.ask("PUT", &stream, 200).await;
    let found = client.ask("GET", &stream, 200).await.json();
    assert_eq!(found["data_streams"][0]["name"], name);
    let pipeline =
        json!({ "description": "d", "processors": [{ "set": { "field": "a", "value": 1 } }] });
    let (path, place) = ("/_ingest/pipeline/filebeat-nginx", "/filebeat-nginx");
    client.leave(path, &pipeline, place).await;
}

/// Filebeat 8 and 9: its bulks, one of whose events has an id.
async fn check_filebeat(headers: &'static [(&'static str, &'static str)], name: &str) {
    let client = Client::new(headers);
    check_filebeat_start(&client, name).await;
    let event = |text: &str, offset: u64| {
        json!({
            "@timestamp": "2026-11-20T10:00:00.000Z", "message": text, "host": { "name": "web1" },
            "log": { "offset": offset, "file": { "path": "/var/log/a.log" } }, "ecs": { "version": "8.0.0" },
        })
    };
    let (plain, with_id) = (
        json!({ "create": { "_index": name } }),
        json!({ "create": { "_index": name, "_id": "f1" } }),
    );
    let one_of_them = lines(&[with_id.clone(), event("two", 9)]);
    let body = lines(&[
        plain.clone(),
        event("one", 0),
        with_id,
        event("two", 9),
        plain,
        event("three", 20),
    ]);
    let path = "/_bulk?filter_path=errors,items.*.error,items.*.status";
    let packed = [("content-encoding", "gzip"), ("content-type", "application/json")];
    let answer = client.bulk(path, &packed, gzip(&body), 3).await.json();
    assert_eq!(answer["errors"], false);
    // What has an id and comes again is a conflict, which it takes for stored.
    let again = client.send("POST", path, &packed, gzip(&one_of_them)).await.json();
    assert_eq!(statuses(&again), [409]);
    client.check_stored(&["one", "three", "two"]);
    let record = client.fixture.records().remove(0);
    assert_eq!(record.timestamp, model::time::Timestamp::parse("2026-11-20T10:00:00Z"));
    assert!(field(&record, "log.file.path").is_some() && field(&record, "host.name").is_some());
}

#[tokio::test]
async fn filebeat_8() {
    const HEADERS: &[(&str, &str)] =
        &[("accept", "application/json"), ("user-agent", "Elastic-filebeat/8.19.0")];
    check_filebeat(HEADERS, "filebeat-8.19.0").await;
}

#[tokio::test]
async fn filebeat_9() {
    const HEADERS: &[(&str, &str)] = &[
        ("accept", "application/vnd.elasticsearch+json; compatible-with=9"),
        ("user-agent", "Elastic-filebeat/9.1.0"),
    ];
    check_filebeat(HEADERS, "filebeat-9.1.0").await;
}

#[tokio::test]
async fn logstash() {
    let client = Client::new(&[
        ("user-agent", "logstash-output-elasticsearch"),
        ("accept", "application/json"),
    ]);
    client.ask("HEAD", "/", 200).await;
    let info = client.ask("GET", "/", 200).await.json();
    assert_eq!(info["version"]["build_flavor"], "default");
    // Without an object in it the node counts as dead.
    let license = client.ask("GET", "/_license", 200).await.json();
    assert_eq!(license["license"]["status"], "active");
    let settings = json!({ "index": { "refresh_interval": "5s" } });
    let template =
        json!({ "index_patterns": ["logstash-*"], "template": { "settings": settings } });
    let place = "/index_templates/0/index_template";
    client.leave("/_index_template/logstash", &template, place).await;
    // The older kinds.
    client.leave("/_template/logstash", &template, "/logstash").await;
    let part = "/component_templates/0/component_template";
    client.leave("/_component_template/logstash-settings", &json!({ "template": {} }), part).await;
    assert_eq!(client.ask("GET", "/_ilm/policy", 200).await.json(), json!({}));
    let policy = json!({ "policy": { "phases": {} } });
    client.leave("/_ilm/policy/logstash-policy", &policy, "/logstash-policy").await;
    // The alias it writes to, with the index behind it.
    let alias = json!({ "aliases": { "logstash": { "is_write_index": true } } });
    let made = client.send("PUT", "/logstash-000001", &[], alias.to_string().into_bytes()).await;
    assert_eq!((made.status, &made.json()["acknowledged"]), (200, &json!(true)));
    // A name with a date in it is refused with 400, which it takes for "is there already".
    let dated = "/%3Clogstash-%7Bnow%2Fd%7D-000001%3E";
    let made = client.send("PUT", dated, &[], alias.to_string().into_bytes()).await;
    assert_eq!(made.status, 400, "{}", made.text);
    let nodes = client.ask("GET", "/_nodes/http", 200).await.json();
    let node = nodes["nodes"].as_object().unwrap().values().next().unwrap();
    assert!(node["http"]["publish_address"].is_string(), "{nodes}");
    let action = json!({ "index": { "_index": "logstash", "routing": null } });
    let event = |text: &str| json!({ "@timestamp": "2026-11-20T10:00:00.000Z", "@version": "1", "message": text });
    let mut parts = vec![action.clone(), event("one"), action.clone(), event("two")];
    // 400 goes to its queue of dead letters, the others of the bulk are stored.
    parts.extend([json!({ "index": { "_index": "NOT" } }), event("dead"), action, event("three")]);
    let path = "/_bulk?filter_path=errors,items.*.error,items.*.status";
    let packed = [("content-encoding", "gzip"), ("content-type", "application/x-ndjson")];
    let answer = client.send("POST", path, &packed, gzip(&lines(&parts))).await;
    assert_eq!(statuses(&answer.json()), [201, 201, 400, 201], "{}", answer.text);
    assert_eq!(answer.json()["errors"], true);
    assert!(answer.json()["items"][2]["index"]["error"]["reason"].is_string());
    client.check_stored(&["one", "three", "two"]);
}

#[tokio::test]
async fn fluent_bit_es() {
    let client =
        Client::new(&[("user-agent", "Fluent-Bit"), ("content-type", "application/x-ndjson")]);
    let action = json!({ "create": { "_index": "fluent-bit" } });
    let event = |text: &str| json!({ "@timestamp": "2026-11-20T10:00:00.000Z", "log": text, "stream": "stdout" });
    let plain = lines(&[action.clone(), event("one"), action.clone(), event("two")]);
    let answer = client.bulk("/_bulk", &[], plain, 2).await;
    // Of an answer that it has cut it reads no more than this.
    assert!(answer.text.contains("\"errors\":false,\"items\":["), "{}", answer.text);
    for item in answer.json()["items"].as_array().unwrap() {
        let item = item.as_object().unwrap();
        assert!(item.len() == 1 && item.values().all(|one| one["status"].is_u64()), "{item:?}");
    }
    let packed = gzip(&lines(&[action, event("three")]));
    client.bulk("/_bulk?pipeline=p", &[("content-encoding", "gzip")], packed, 1).await;
    client.check_stored(&["one", "three", "two"]);
}

#[tokio::test]
async fn vector_elasticsearch() {
    let client = Client::new(&[("user-agent", "Vector/0.50.0"), ("authorization", "Basic eDp5")]);
    client.ask("GET", "/_cluster/health", 200).await;
    let info = client.ask("GET", "/", 200).await.json();
    assert!(info["version"]["number"].as_str().unwrap().starts_with("8."), "{info}");
    let kind = [("content-type", "application/x-ndjson")];
    let event = |text: &str| json!({ "@timestamp": "2026-11-20T10:00:00.123456Z", "message": text, "host": "h", "source_type": "file" });
    let bulk = json!({ "index": { "_index": "vector-2026.11.20" } });
    let stream = json!({ "create": { "_index": "logs-generic-default" } });
    let body = lines(&[bulk.clone(), event("one"), stream, event("two")]);
    let answer = client.bulk("/_bulk?timeout=60s", &kind, body, 2).await;
    // The words it looks for in an answer, down to the spaces.
    assert!(!answer.text.contains("\"errors\":true"), "{}", answer.text);
    let bad = lines(&[
        json!({ "update": { "_index": "a", "_id": "1" } }),
        json!({ "doc": {} }),
        bulk,
        event("three"),
    ]);
    let answer = client.send("POST", "/_bulk?timeout=60s", &kind, bad).await;
    assert!(answer.text.contains("\"errors\":true"), "{}", answer.text);
    let error = &answer.json()["items"][0]["update"]["error"];
    assert!(error["type"].is_string() && error["reason"].is_string(), "{error}");
    client.check_stored(&["one", "three", "two"]);
}

#[tokio::test]
async fn rsyslog_omelasticsearch() {
    let client = Client::new(&[
        ("content-type", "application/json; charset=utf-8"),
        ("authorization", "Basic eDp5"),
    ]);
    client.ask("GET", "/", 200).await;
    client.ask("GET", "/_cat/health", 200).await;
    let action = json!({ "index": { "_index": "rsyslog" } });
    let event = |text: &str| json!({ "message": text, "fromhost": "web1", "facility": "local0", "timestamp": "2026-11-20T10:00:00+01:00" });
    let mut body = lines(&[action.clone(), event("one"), action, event("two")]);
    body.push(b'\n');
    let answer = client.bulk("/_bulk?pipeline=p&timeout=1m", &[], body, 2).await;
    assert_eq!(answer.json()["errors"], false);
    // One at a time, where bulks are off.
    let single = client.send("POST", "/rsyslog/_doc", &[], event("three").to_string().into()).await;
    assert_eq!((single.status, &single.json()["result"]), (201, &json!("created")));
    client.check_stored(&["one", "three", "two"]);
    let record = client.fixture.records().remove(0);
    assert_eq!(record.timestamp, model::time::Timestamp::parse("2026-11-20T09:00:00Z"));
}

/// Addresses that are put together of parts often end so.
#[tokio::test]
async fn paths_may_end_in_a_slash() {
    let client = Client::new(&[("content-type", "application/x-ndjson")]);
    for path in ["/", "/_license/", "/_cluster/health/", "/_nodes/http/", "/_cat/health/"] {
        client.ask("GET", path, 200).await;
    }
    let body = || lines(&[json!({ "index": {} }), json!({ "message": "one" })]);
    client.bulk("/shop/_bulk/", &[], body(), 1).await;
    let single = client.send("POST", "/shop/_doc/", &[], br#"{"message":"two"}"#.to_vec()).await;
    assert_eq!(single.status, 201, "{}", single.text);
    let template = json!({ "index_patterns": ["a*"] }).to_string().into_bytes();
    let kept = client.send("PUT", "/_index_template/t/", &[], template).await;
    assert_eq!(kept.status, 200, "{}", kept.text);
    client.ask("GET", "/_index_template/t", 200).await;
    client.ask("GET", "/_index_template/", 200).await;
    client.check_stored(&["one", "two"]);
}

#[tokio::test]
async fn syslog_ng_http() {
    let client = Client::new(&[
        ("user-agent", "syslog-ng/3.38.1"),
        ("content-type", "application/x-ndjson"),
    ]);
    // A template of its configuration, as much of it as there is in a batch.
    let body = concat!(
        r#"{"index":{"_index":"syslog-ng"}}"#,
        "\n",
        r#"{"PROGRAM":"su","MESSAGE":"one","ISODATE":"2026-11-20T10:00:00+00:00","message":"one"}"#,
        "\n",
        r#"{"index":{"_index":"syslog-ng"}}"#,
        "\n",
        r#"{"PROGRAM":"su","message":"two"}"#,
    );
    let answer = client.bulk("/_bulk", &[], body.into(), 2).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    client.check_stored(&["one", "two"]);
    // Any 2xx is success to it, so what is no bulk must not be one.
    let refused = client.send("POST", "/_bulk", &[], b"<13>no bulk\n".to_vec()).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
}
