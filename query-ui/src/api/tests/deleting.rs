//! Records that are deleted are in no answer from then on, and in no split after a while.

use index::searcher::Searcher;

use super::*;

async fn got(app: &Router, path: &str) -> Value {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
}

/// Everything that can be counted agrees.
async fn check(app: &Router, expected: &[&str], what: &str) {
    let all = rows(app, json!({"query":"","limit":0})).await;
    assert_eq!(messages(&all), expected, "{what}");
    let counted = rows(app, json!({"query":"| stats count() as n"})).await;
    assert_eq!(counted[0]["n"], json!(expected.len()), "{what}");
    // What is known of splits from the first time answers the second.
    for word in ["get", "job", "failed", "nowhere"] {
        let has = |text: &&&str| text.to_ascii_lowercase().split_whitespace().any(|w| w == word);
        let passing = expected.iter().filter(has).count();
        for query in ["stats count() as n", "stats count() as n, max(timestamp) as t"] {
            for _ in 0..2 {
                let query = format!("{word} | {query}");
                let counted = rows(app, json!({ "query": query })).await;
                assert_eq!(counted[0]["n"], json!(passing), "{query} {what}");
            }
        }
    }
    let histogram = answer(app, "/api/v1/histogram", json!({"query":""})).await;
    assert_eq!(histogram["total"], json!(expected.len()), "{what}");
    let fields = answer(app, "/api/v1/fields", json!({"query":""})).await;
    assert_eq!(fields["records"], json!(expected.len()), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_in_no_answer() {
    for rest in BOTH {
        let (fixture, app) = small(rest).await;
        let what = format!("{rest:?}");
        let delete = |body| answer(&app, "/api/v1/deletions", body);
        let begun = delete(json!({"query":"GET -b"})).await;
        assert_eq!((&begun["number"], &begun["query"]), (&json!(1), &json!("GET -b")), "{begun}");
        let left = ["disk full", "slow", "job done", "GET /b failed", "job failed \"a\"\n\ttrace"];
        check(&app, &left, &what).await;
        let window = json!({"query":"*","from":"2026-01-02","to":"2026-01-03"});
        assert_eq!(delete(window).await["number"], json!(2));
        check(&app, &left[1..], &what).await;
        // What comes later is not meant.
        let line = json!({"ts":"2026-01-02T00:00:00Z","msg":"GET /later"}).to_string();
        fixture.append(0, &[("host", "web1")], [line]).await;
        let all = [&["GET /later"], &left[1..]].concat();
        check(&app, &all, &what).await;
        if rest == Rest::Fresh {
            continue;
        }
        // Everything goes into splits, and those are written anew.
        fixture.settle().await;
        let done = |searcher: &Searcher| {
            searcher.deletions().unwrap().iter().all(|(one, _)| one.done.is_some())
        };
        fixture.until(done).await;
        let listed = got(&app, "/api/v1/deletions").await;
        let deleted: u64 = listed["deletions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["deleted"].as_u64().unwrap())
            .sum();
        assert_eq!(deleted, 4, "{listed}");
        assert!(listed["deletions"].as_array().unwrap().iter().all(|one| one["splits_left"] == 0));
        check(&app, &all, &what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_says_what_goes() {
    let (_fixture, app) = small(Rest::Fresh).await;
    let wrong = StatusCode::UNPROCESSABLE_ENTITY;
    for (body, status) in [
        (json!({"query":""}), wrong),
        (json!({"query":"error | limit 5"}), wrong),
        (json!({"query":"("}), StatusCode::BAD_REQUEST),
        (json!({"query":"x","from":"now","to":"-1h"}), wrong),
        (json!({"query":"GET","indexes":["mian"]}), StatusCode::NOT_FOUND),
        (json!({"query":"GET","indexes":["main", "other"]}), StatusCode::NOT_FOUND),
    ] {
        let response = post(&app, "/api/v1/deletions", &body).await;
        assert_eq!(response.status(), status, "{body}");
    }
    assert_eq!(got(&app, "/api/v1/deletions").await, json!({"deletions": []}));
    assert_eq!(rows(&app, json!({"query":""})).await.len(), 8);
    let unknown = json!({"query":"GET","indexes":["main", "other"]});
    let error = answer(&app, "/api/v1/deletions", unknown).await["error"].take();
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("not_found"), &json!("there is no index \"other\""))
    );
    let known = json!({"query":"GET","indexes":["main"]});
    assert_eq!(post(&app, "/api/v1/deletions", &known).await.status(), StatusCode::ACCEPTED);
}
