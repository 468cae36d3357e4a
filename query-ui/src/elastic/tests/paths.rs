//! How paths may be written.

use axum::http::StatusCode;
use serde_json::json;

use super::{ask, small};
use crate::fixture::Rest;

#[tokio::test]
async fn a_path_may_end_in_a_slash() {
    let (_fixture, app) = small(Rest::Fresh).await;
    for (path, least) in
        [("/es/_search", "hits"), ("/es/main/_count", "count"), ("/es/main", "main")]
    {
        let method = if path == "/es/main" { "GET" } else { "POST" };
        let (status, plain) = ask(&app, method, path, "").await;
        let (slashed, same) = ask(&app, method, &format!("{path}/"), "").await;
        assert_eq!((status, slashed), (StatusCode::OK, StatusCode::OK), "{path}: {same}");
        assert!(plain.get(least).is_some(), "{plain}");
        assert_eq!(plain[least], same[least], "{path}");
    }
    for path in ["/es/_cat/aliases/", "/es/_mapping/", "/es/_alias/"] {
        assert_eq!(ask(&app, "GET", path, "").await.0, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_name_may_tell_a_date() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let (status, answer) = ask(&app, "POST", "/es/%3Cmain-%7Bnow%2Fd%7D%3E/_count", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{answer}");
    let reason = answer["error"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("no such index [main-20"), "{reason}");
    let (status, answer) =
        ask(&app, "POST", "/es/%3Cma*%3E,%3Cnone-%7Bnow%7D*%3E/_count", "").await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert!(answer["count"].as_u64().is_some_and(|count| count > 0), "{answer}");
    let (status, answer) = ask(&app, "POST", "/es/%3Cmain-%7Bsoon%7D%3E/_count", "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    let search = format!("{}\n{}\n", json!({"index": "<main>"}), json!({"size": 0}));
    let (_, answer) = ask(&app, "POST", "/es/_msearch", &search).await;
    assert_eq!(answer["responses"][0]["status"], 200, "{answer}");
    let wanted = json!({"docs": [{"_index": "<main-{now/d}>", "_id": "x"}]}).to_string();
    let (_, answer) = ask(&app, "POST", "/es/_mget", &wanted).await;
    let reason = answer["docs"][0]["error"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("[main-20"), "{answer}");
}
