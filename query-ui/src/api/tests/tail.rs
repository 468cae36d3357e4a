//! Tails: what comes, as it comes.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_shows_what_comes() {
    let fixture = Fixture::new(Rest::Fresh);
    let app = app(&fixture);
    fixture.append(0, &[], [r#"{"msg":"before error"}"#]).await;
    let open = |query: &str| {
        let uri = format!("/api/v1/tail?query={query}");
        let request = Request::get(uri).body(Body::empty()).unwrap();
        app.clone().oneshot(request)
    };
    let refused = open("a%7Climit%201").await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let response = open("error").await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    fixture.append(0, &[], [r#"{"msg":"error 1"}"#, r#"{"msg":"fine"}"#]).await;
    fixture.append(1, &[], [r#"{"msg":"error 2"}"#]).await;
    let mut body = response.into_body().into_data_stream();
    let mut text = String::new();
    while text.matches("event: record").count() < 2 {
        text.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(text.contains("error 1") && text.contains("error 2"), "{text}");
    assert!(!text.contains("fine") && !text.contains("before"), "{text}");
    fixture.shutdown.trigger();
    assert!(body.next().await.is_none());
}
