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

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_has_nothing_to_show_says_that_it_is_alive() {
    let fixture = Fixture::new(Rest::Fresh);
    let request = Request::get("/api/v1/tail?query=").body(Body::empty()).unwrap();
    let response = app(&fixture).oneshot(request).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let mut text = String::new();
    while text.matches("event: alive\ndata: {}\n\n").count() < 2 {
        text.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(!text.contains("record"), "{text}");
}

/// The records and the last id of some events; a block that is cut off does not count.
fn events(text: &str) -> (Vec<String>, Option<String>) {
    let (mut records, mut last) = (Vec::new(), None);
    for block in text.split_inclusive("\n\n").filter(|block| block.ends_with("\n\n")) {
        let part = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        if let Some(id) = part("id: ") {
            last = Some(id.to_owned());
        }
        if part("event: ") == Some("record") {
            let record: Value = serde_json::from_str(part("data: ").unwrap()).unwrap();
            records.push(record["message"].as_str().unwrap().to_owned());
        }
        assert_ne!(part("event: "), Some("lost"), "{block}");
    }
    (records, last)
}

/// A tail whose connection breaks again and again, at any byte, while records come on two
/// partitions: what was seen is everything, in the order of each partition, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_tail_goes_on_where_it_broke_off() {
    for rest in BOTH {
        let fixture = Fixture::new(rest);
        let app = app(&fixture);
        let mut expected = [Vec::new(), Vec::new()];
        let mut came = 0;
        let mut more = async || {
            for _ in 0..7 {
                let partition = came % 3 % 2;
                let lines: Vec<String> =
                    (0..=came % 4).map(|at| format!("seen {partition} {came}.{at}")).collect();
                let bodies = lines.iter().map(|line| format!("{{\"msg\":\"{line}\"}}"));
                let other = std::iter::once("{\"msg\":\"another\"}".to_owned());
                fixture.append(partition, &[], other.chain(bodies)).await;
                expected[partition].extend(lines);
                came += 1;
            }
        };
        more().await;
        let (mut seen, mut last) = (Vec::new(), "-".to_owned());
        for round in 0..12 {
            let request = Request::get("/api/v1/tail?query=seen&after=-");
            let request = request.header("last-event-id", &last).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let mut body = response.into_body().into_data_stream();
            if round < 6 {
                more().await;
            }
            if round == 8 && rest == Rest::Splits {
                fixture.settle().await;
            }
            let mut text = Vec::new();
            for _ in 0..=(round % 5) * 3 {
                let chunk = fixture
                    .engine
                    .clock()
                    .timeout(std::time::Duration::from_millis(300), body.next());
                let Some(Some(Ok(chunk))) = chunk.await else { break };
                text.extend_from_slice(&chunk);
            }
            // The connection dies in the middle of what was on its way.
            text.truncate(text.len() - (round * 7) % (text.len() / 2).max(1));
            let (records, id) = events(&String::from_utf8_lossy(&text));
            seen.extend(records);
            last = id.unwrap_or(last);
        }
        let request = Request::get(format!("/api/v1/tail?query=seen&after={last}"));
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let mut body = response.into_body().into_data_stream();
        let (mut text, count) = (Vec::new(), expected.iter().map(Vec::len).sum::<usize>());
        while seen.len() + events(&String::from_utf8_lossy(&text)).0.len() < count {
            text.extend_from_slice(&body.next().await.unwrap().unwrap());
        }
        seen.extend(events(&String::from_utf8_lossy(&text)).0);
        for (partition, expected) in expected.iter().enumerate() {
            let mark = format!("seen {partition} ");
            let of: Vec<&String> = seen.iter().filter(|line| line.starts_with(&mark)).collect();
            assert_eq!(of, expected.iter().collect::<Vec<_>>(), "{rest:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_cannot_be_is_refused() {
    let fixture = Fixture::new(Rest::Fresh);
    let app = app(&fixture);
    fixture.append(0, &[], [r#"{"msg":"one"}"#]).await;
    for (after, status) in [
        ("0-1", StatusCode::OK),
        ("-", StatusCode::OK),
        ("0-2", StatusCode::UNPROCESSABLE_ENTITY),
        ("7-1", StatusCode::UNPROCESSABLE_ENTITY),
        ("now", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let request = Request::get(format!("/api/v1/tail?after={after}"));
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{after}");
    }
}
