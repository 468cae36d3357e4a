//! Who may come in, and what a node refuses to do before it starts.

use std::path::Path;

use tests::process::{FRESH, Node, free_address, refuses};

const TOKEN: &str = "a-secret-of-many-letters";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn beyond_this_machine_a_token_is_a_must() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["node", "--data-dir", text(folder.path()), "--listen", "0.0.0.0:0"];
    refuses("sawlog", &args, &["--token-file", "--insecure"]);
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let node = Node::start("node", folder.path(), FRESH, &[]);
    let address = node.url().trim_start_matches("http://");
    let args = ["node", "--data-dir", text(other.path()), "--listen", address];
    refuses("sawlog", &args, &[address, "in use", "--listen"]);
}

#[test]
fn a_second_process_on_the_same_folder_names_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("node", folder.path(), FRESH, &[]);
    let (data, address) = (folder.path().join("data"), free_address());
    let args = ["node", "--data-dir", text(&data), "--listen", &address];
    refuses("sawlog", &args, &["in use by process", &node.process.id().to_string()]);
    // The first one does not notice.
    node.client.ingest("/api/v1/ingest", b"{\"msg\":\"still here\"}\n");
    node.client.expect_records(1);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let below = file.path().join("data");
    for folder in [text(&below), "/proc/sawlog"] {
        let address = free_address();
        refuses("sawlog", &["node", "--data-dir", folder, "--listen", &address], &[folder]);
    }
}

#[test]
fn unknown_settings_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("node.toml");
    std::fs::write(&config, "listne = '127.0.0.1:1'\n").unwrap();
    refuses("sawlog", &["node", "--config", text(&config)], &["listne", text(&config)]);
}

#[test]
fn the_token_opens_every_door_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let address = free_address();
    let args = ["--token-file", text(&file)];
    let node = Node::begin("node", folder.path(), &address, FRESH, &args);
    let bearer = format!("Bearer {TOKEN}");
    let get = |path: &str, authorization: &str| {
        let headers = [("authorization", authorization)];
        let headers = if authorization.is_empty() { &headers[..0] } else { &headers };
        node.client.send("GET", path, headers, Vec::new()).map(|answer| answer.status)
    };
    tests::wait::eventually("the node", || get("/readyz", &bearer).filter(|s| *s == 200));
    assert_eq!(get("/livez", ""), Some(200));
    // base64 of `me:a-secret-of-many-letters`
    assert_eq!(get("/api/v1/status", "Basic bWU6YS1zZWNyZXQtb2YtbWFueS1sZXR0ZXJz"), Some(200));
    for path in ["/", "/readyz", "/metrics", "/api/v1/status", "/api/v1/tail?query="] {
        for authorization in ["", "Bearer wrong-wrong-wrong", "Basic bWU6d3Jvbmc="] {
            assert_eq!(get(path, authorization), Some(401), "{path} {authorization}");
        }
    }
    for path in ["/api/v1/ingest", "/api/v1/batches", "/api/v1/query"] {
        let answer = node.client.send("POST", path, &[], b"{}".to_vec()).unwrap();
        assert_eq!(answer.status, 401, "{path}");
        assert_eq!(answer.json()["error"]["code"], "unauthorized");
    }
    refuses("sawlog", &["search", "x", "--server", node.url()], &["token"]);
}

#[test]
fn a_page_elsewhere_cannot_ask_through_the_browser_here() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start("node", folder.path(), FRESH, &[]);
    let forms = [("host", "evil.example:7410"), ("origin", "http://evil.example")];
    for header in forms {
        let answer = node.client.send("GET", "/api/v1/status", &[header], Vec::new()).unwrap();
        assert_eq!(
            (answer.status, answer.json()["error"]["code"].as_str()),
            (403, Some("forbidden"))
        );
    }
}
