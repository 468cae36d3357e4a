//! What the node keeps for people: shared views, settings of indexes, shippers.

use index::searcher::Searcher;

use super::*;

async fn asked(app: &Router, method: &str, path: &str, body: Value) -> (StatusCode, Value) {
    let body = Body::from(if body.is_null() { String::new() } else { body.to_string() });
    let request = Request::builder().method(method).uri(path).body(body).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[track_caller]
fn refused(answer: &(StatusCode, Value), code: &str) {
    let status = match code {
        "not_found" => StatusCode::NOT_FOUND,
        "name_taken" => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    assert_eq!((answer.0, &answer.1["error"]["code"]), (status, &json!(code)), "{answer:?}");
    assert!(answer.1["error"]["hint"].is_string(), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_view_is_kept_found_and_removed() {
    let fixture = Fixture::new(Rest::Fresh);
    let app = app(&fixture);
    let wanted = json!({"name":" Refused ","author":"Ada","search":"?q=refused&tz=utc"});
    let (status, view) = asked(&app, "POST", "/api/v1/views", wanted.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!((&view["name"], &view["author"]), (&json!("Refused"), &json!("Ada")));
    refused(&asked(&app, "POST", "/api/v1/views", wanted).await, "name_taken");
    let id = view["id"].as_str().unwrap();
    let path = format!("/api/v1/views/{id}");
    assert_eq!(asked(&app, "GET", &path, Value::Null).await, (StatusCode::OK, view.clone()));
    // Another router over the same catalog knows it: it is not in this one's memory.
    let other = super::app(&fixture);
    let (_, list) = asked(&other, "GET", "/api/v1/views", Value::Null).await;
    assert_eq!(list, json!({ "views": [view] }));
    let request = Request::get(format!("/v/{id}")).body(Body::empty()).unwrap();
    let led = app.clone().oneshot(request).await.unwrap();
    assert_eq!(led.status(), StatusCode::FOUND);
    assert_eq!(led.headers()["location"], "/?q=refused&tz=utc");
    let anew = json!({"name":"Refused","author":"Bob","search":"?q=refused+bank"});
    assert_eq!(asked(&app, "PUT", &path, anew).await.1["author"], json!("Bob"));
    assert_eq!(asked(&app, "DELETE", &path, Value::Null).await.0, StatusCode::NO_CONTENT);
    refused(&asked(&app, "DELETE", &path, Value::Null).await, "not_found");
    refused(&asked(&app, "GET", &path, Value::Null).await, "not_found");
    let anew = json!({"name":"Refused","search":""});
    refused(&asked(&app, "PUT", &path, anew).await, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_view_is_refused() {
    let fixture = Fixture::new(Rest::Fresh);
    let app = app(&fixture);
    for wrong in [
        json!({"name":"","search":"?q=a"}),
        json!({"name":"x".repeat(121),"search":"?q=a"}),
        json!({"name":"line\nbreak","search":"?q=a"}),
        json!({"name":"a","search":"https://elsewhere.example/"}),
        json!({"name":"a","search":"/elsewhere"}),
        json!({"name":"a","search":"?q=\r\nx: y"}),
        json!({"name":"a","search":format!("?{}", "x".repeat(40_000))}),
        json!({"name":"a"}),
        json!({"name":"a","search":"","colour":"red"}),
    ] {
        refused(&asked(&app, "POST", "/api/v1/views", wrong).await, "invalid_value");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_is_asked_for_and_tells_how_far_it_is() {
    let fixture = Fixture::new(Rest::Splits);
    let app = app(&fixture);
    fixture.append(0, &[], [r#"{"msg":"one"}"#]).await;
    fixture.settle().await;
    let path = "/api/v1/indexes/main/compact";
    let (status, told) = asked(&app, "GET", path, Value::Null).await;
    assert_eq!((status, &told["asked"]), (StatusCode::OK, &Value::Null), "{told}");
    assert_eq!((&told["splits_left"], &told["cold_splits"]), (&json!(0), &json!(0)), "{told}");
    let (status, told) = asked(&app, "POST", path, json!({})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{told}");
    assert!(told["asked"].is_string() && told["name"] == "main", "{told}");
    let is_done = |searcher: &Searcher| {
        let progress = searcher.compaction("main").unwrap();
        (progress.splits_left, progress.cold_splits) == (0, 1)
    };
    fixture.until(is_done).await;
    let (_, told) = asked(&app, "GET", path, Value::Null).await;
    assert_eq!((&told["splits_left"], &told["cold_splits"]), (&json!(0), &json!(1)), "{told}");
    assert_eq!(messages(&rows(&app, json!({"query":""})).await), ["one"]);
    for wrong in [json!({"all":true}), json!([]), json!(7)] {
        refused(&asked(&app, "POST", path, wrong).await, "invalid_value");
    }
    let none = "/api/v1/indexes/none/compact";
    refused(&asked(&app, "POST", none, json!({})).await, "not_found");
    refused(&asked(&app, "GET", none, Value::Null).await, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_retention_is_told_before_and_holds_after() {
    let fixture = Fixture::new(Rest::Splits);
    let app = app(&fixture);
    let old = r#"{"ts":"2020-01-01T00:00:00Z","msg":"old"}"#;
    fixture.append_to(0, "audit", &[], [old]).await;
    fixture.append_to(1, "main", &[], [old]).await;
    fixture.settle().await;
    let path = "/api/v1/indexes/audit";
    let days = |days: Value| json!({ "retention_days": days });
    let (_, told) = asked(&app, "PATCH", &format!("{path}?preview=true"), days(json!(7))).await;
    assert_eq!((&told["expiring_records"], &told["changed"]), (&json!(1), &json!(false)), "{told}");
    let status = || {
        let searcher = fixture.engine.searcher();
        let own = searcher.index_settings().unwrap();
        let shown = index_status(&searcher.view(), &own, 30).into_iter();
        shown.map(|i| (i.name, i.retention_days, i.retention_is_own)).collect::<Vec<_>>()
    };
    let both = |audit| vec![audit, ("main".to_owned(), 30, false)];
    assert_eq!(status(), both(("audit".to_owned(), 30, false)));
    assert_eq!(asked(&app, "PATCH", path, days(json!(7))).await.1["changed"], json!(true));
    assert_eq!(status(), both(("audit".to_owned(), 7, true)));
    assert_eq!(asked(&app, "PATCH", path, days(Value::Null)).await.0, StatusCode::OK);
    assert_eq!(status(), both(("audit".to_owned(), 30, false)));
    for wrong in [json!(0), json!(-1), json!(36_501), json!("week"), json!(1.5)] {
        refused(&asked(&app, "PATCH", path, days(wrong)).await, "invalid_value");
    }
    refused(&asked(&app, "PATCH", &format!("{path}?dry=1"), days(json!(7))).await, "invalid_value");
    refused(&asked(&app, "PATCH", "/api/v1/indexes/none", days(json!(7))).await, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_shippers_have_versions_that_can_be_waited_for() {
    let fixture = Fixture::new(Rest::Fresh);
    let app = app(&fixture);
    let path = "/api/v1/shippers/settings";
    let (_, none) = asked(&app, "GET", path, Value::Null).await;
    assert_eq!(none, json!({"version":0,"settings":"","changed":null}));
    let waiting = tokio::spawn({
        let (app, path) = (app.clone(), format!("{path}?after=0&wait_s=60"));
        async move { asked(&app, "GET", &path, Value::Null).await }
    });
    let text = "[[files]]\npaths = [\"/a\"]\n";
    let (status, one) = asked(&app, "PUT", path, json!({ "settings": text })).await;
    assert_eq!((status, &one["version"]), (StatusCode::OK, &json!(1)));
    assert_eq!(waiting.await.unwrap(), (StatusCode::OK, one.clone()));
    assert_eq!(asked(&app, "GET", path, Value::Null).await.1, one);
    let known = format!("{path}?after=1");
    assert_eq!(asked(&app, "GET", &known, Value::Null).await.0, StatusCode::NO_CONTENT);
    refused(&asked(&app, "PUT", path, json!({ "settings": "[[files" })).await, "invalid_value");
    let long = format!("{path}?wait_s=61");
    refused(&asked(&app, "GET", &long, Value::Null).await, "invalid_value");
    // Who lost the catalog begins again: another version is another one.
    let newer = format!("{path}?after=9");
    assert_eq!(asked(&app, "GET", &newer, Value::Null).await.1, one);
}

#[tokio::test(flavor = "multi_thread")]
async fn shippers_are_known_by_what_they_reported_last() {
    let fixture = Fixture::new(Rest::Fresh);
    let app = app(&fixture);
    let path = "/api/v1/shippers/a1";
    let report = |lag| json!({"host":"web1","version":"1.0","files":2,"lag_bytes":lag});
    assert_eq!(asked(&app, "POST", path, report(5)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(asked(&app, "POST", path, report(9)).await.0, StatusCode::NO_CONTENT);
    let (_, all) = asked(&app, "GET", "/api/v1/shippers", Value::Null).await;
    assert_eq!(all["shippers"].as_array().unwrap().len(), 1, "{all}");
    let one = &all["shippers"][0];
    assert_eq!(
        (&one["id"], &one["host"], &one["lag_bytes"]),
        (&json!("a1"), &json!("web1"), &json!(9))
    );
    assert_eq!((&one["gaps"], &one["silent_s"]), (&json!(0), &json!(0)));
    // Who restarts the node still knows who was there, and how it was when that was written down.
    let (_, all) = asked(&super::app(&fixture), "GET", "/api/v1/shippers", Value::Null).await;
    assert_eq!(all["shippers"][0]["lag_bytes"], json!(5), "{all}");
    refused(&asked(&app, "POST", path, json!({"host":"web1"})).await, "invalid_value");
    let long = format!("/api/v1/shippers/{}", "x".repeat(65));
    refused(&asked(&app, "POST", &long, report(1)).await, "invalid_value");
    assert_eq!(asked(&app, "DELETE", path, Value::Null).await.0, StatusCode::NO_CONTENT);
    refused(&asked(&app, "DELETE", path, Value::Null).await, "not_found");
}
