//! The API and the document that describes it: the same routes, errors of one shape, names of
//! requests. (`make test-api` sends what the document allows, and what it does not.)

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::process::{FRESH, Node};

use crate::tidy::{files, read};

/// Methods of an OpenAPI path.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn start() -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("node", folder.path(), FRESH, &[]);
    (folder, node)
}

/// Path to methods, as the document says.
fn documented(node: &Node) -> BTreeMap<String, BTreeSet<String>> {
    let document = node.client.get("/api/v1/openapi.json");
    assert_eq!(document["openapi"], json!("3.1.0"));
    assert_eq!(document["info"]["version"], json!(env!("CARGO_PKG_VERSION")));
    let methods = |path: &Value| {
        let said = path.as_object().unwrap().keys();
        said.filter(|key| METHODS.contains(&key.as_str())).map(|key| key.to_uppercase()).collect()
    };
    let paths = document["paths"].as_object().unwrap();
    paths.iter().map(|(path, said)| (path.clone(), methods(said))).collect()
}

/// The paths of the API for which the code has a `route`.
fn in_the_code() -> BTreeSet<String> {
    let is_served = |name: &String| {
        let ours = ["src/", "ingest/src/", "query-ui/src/"];
        name.ends_with(".rs")
            && ours.iter().any(|folder| name.starts_with(folder))
            && !name.contains("tests")
    };
    let mut found = BTreeSet::new();
    for name in files().into_iter().filter(is_served) {
        let text = read(&name);
        for call in text.split(".route(").skip(1) {
            let first = call.split(',').next().unwrap().trim();
            let path = match first.strip_prefix('"') {
                Some(literal) => literal.trim_end_matches('"').to_owned(),
                None if first.ends_with("BATCHES_PATH") => model::wire::BATCHES_PATH.to_owned(),
                None if first.ends_with("SHIPPERS_PATH") => model::wire::SHIPPERS_PATH.to_owned(),
                // What clients of Elasticsearch and Loki speak is described by those.
                None if name.ends_with("doors/elastic/mod.rs") => continue,
                None if name.ends_with("loki/routes.rs") => continue,
                None => {
                    panic!("{name}: the path of a route is {first:?}: teach this test its value")
                }
            };
            found.insert(path);
        }
    }
    let operating = ["/livez", "/readyz", "/metrics"];
    let is_api = |path: &String| {
        operating.contains(&path.as_str())
            || (path.starts_with("/api/") && !path.starts_with("/api/prom/") && !path.contains('*'))
    };
    found.retain(is_api);
    found
}

#[test]
fn the_document_has_the_routes_of_the_program() {
    let (_folder, node) = start();
    let documented = documented(&node);
    assert_eq!(documented.keys().cloned().collect::<BTreeSet<_>>(), in_the_code());
    for (path, methods) in documented {
        let path = path.replace("{id}", "0-1").replace("{name}", "main");
        let answer = node.client.send("PURGE", &path, &[], Vec::new()).unwrap();
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.json()["error"]["code"], json!("method_not_allowed"), "{path}");
        let allowed = answer.headers["allow"].split(',').map(|one| one.trim().to_owned());
        // Whoever can be got can be asked for the head alone.
        let allowed: BTreeSet<String> = allowed.filter(|method| method != "HEAD").collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[test]
fn every_answer_names_its_request() {
    let (_folder, node) = start();
    let get = |path: &str, headers: &[(&str, &str)]| {
        node.client.send("GET", path, headers, Vec::new()).unwrap()
    };
    for path in ["/", "/livez", "/api/v1/status", "/api/v1/nowhere"] {
        let names: BTreeSet<String> =
            (0..2).map(|_| get(path, &[]).headers["x-request-id"].clone()).collect();
        assert_eq!(names.len(), 2, "{path}");
        assert!(names.iter().all(|name| name.len() == 16), "{path}: {names:?}");
    }
    let answer = get("/api/v1/records/nonsense", &[("x-request-id", "trace-7")]);
    assert_eq!(answer.headers["x-request-id"], "trace-7");
    assert_eq!(answer.json()["error"]["request_id"], json!("trace-7"));
    assert_ne!(get("/livez", &[("x-request-id", "a b")]).headers["x-request-id"], "a b");
}

#[test]
fn refusals_have_the_status_and_the_shape_that_fit() {
    let (_folder, node) = start();
    let check = |kind: &str, body: Vec<u8>, status: u16, code: &str| {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let headers = [("content-type", kind)];
        let answer = node.client.send("POST", "/api/v1/query", &headers, body).unwrap();
        assert_eq!(answer.status, status, "{shown}: {}", answer.body);
        let error = &answer.json()["error"];
        assert_eq!(error["code"], json!(code), "{shown}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{shown}");
        assert_eq!(error["request_id"], json!(answer.headers["x-request-id"]), "{shown}");
    };
    let json = "application/json";
    check(json, b"{\"query\":".to_vec(), 400, "invalid_request");
    check(json, b"{\"query\":\"(\"}".to_vec(), 400, "invalid_query");
    check(json, b"{\"query\":7}".to_vec(), 422, "invalid_value");
    check(json, b"{\"qwery\":\"a\"}".to_vec(), 422, "invalid_value");
    check(json, b"{\"query\":\"a\",\"from\":\"soon\"}".to_vec(), 422, "invalid_value");
    check("text/plain", b"{\"query\":\"a\"}".to_vec(), 415, "unsupported_media_type");
    check("application/x-www-form-urlencoded", b"q=a".to_vec(), 415, "unsupported_media_type");
    check(json, vec![b' '; 2 << 20], 413, "too_large");
}
