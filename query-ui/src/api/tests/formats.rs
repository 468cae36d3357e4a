//! Formats of an answer, pages, SQL, ending a query.

use arrow_ipc::reader::StreamReader;

use super::*;

async fn accepting(app: &Router, path: &str, accept: &str, body: Value) -> (StatusCode, Vec<u8>) {
    let request = Request::post(path).header("accept", accept);
    let request = request.body(Body::from(body.to_string())).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

async fn sql(app: &Router, statement: &str) -> Vec<Value> {
    let body = json!({ "sql": statement });
    let (status, bytes) = accepting(app, "/api/v1/sql", "application/json", body).await;
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(status, StatusCode::OK, "{statement}: {answer}");
    answer["rows"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_in_the_format_that_is_accepted() {
    let (_fixture, app) = small(BOTH[1]).await;
    let count = json!({"query":"| stats count() as n by level | sort level"});
    let (status, bytes) = accepting(&app, "/api/v1/query", "text/csv", count.clone()).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        String::from_utf8(bytes).unwrap(),
        "level,n\r\nunknown,1\r\ninfo,3\r\nwarn,1\r\nerror,2\r\nfatal,1\r\n"
    );
    let accept = "text/html, application/json;q=0.9, */*;q=0.1";
    let (_, bytes) = accepting(&app, "/api/v1/query", accept, count.clone()).await;
    let whole: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(whole["rows"][1], json!({"level":"info","n":3}));
    assert_eq!(whole["end"]["rows"], json!(5));
    let arrow = "application/vnd.apache.arrow.stream";
    for (query, expected) in [(count, 5), (json!({"query":"host:web1"}), 5)] {
        let (_, bytes) = accepting(&app, "/api/v1/query", arrow, query).await;
        let read = StreamReader::try_new(bytes.as_slice(), None).unwrap();
        let found: usize = read.map(|rows| rows.unwrap().num_rows()).sum();
        assert_eq!(found, expected);
    }
    let (status, _) = accepting(&app, "/api/v1/query", "image/png", json!({"query":""})).await;
    assert_eq!(status, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_plan_has_its_status() {
    let (_fixture, app) = small(BOTH[0]).await;
    let body = json!({"query":"| where host"});
    let response = post(&app, "/api/v1/query", &body).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let found = answer(&app, "/api/v1/query", body).await;
    assert_eq!(found["error"]["code"], "invalid_query");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_where_the_last_one_ended() {
    for rest in BOTH {
        let (fixture, app) = small(rest).await;
        let all = rows(&app, json!({"query":"","limit":0})).await;
        let mut found = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let body = json!({"query":"","limit":3,"cursor":cursor});
            let (_, bytes) = accepting(&app, "/api/v1/query", "application/json", body).await;
            let page: Value = serde_json::from_slice(&bytes).unwrap();
            found.extend(page["rows"].as_array().unwrap().clone());
            cursor = page["end"]["cursor"].clone();
            if cursor.is_null() {
                break;
            }
            // What arrives meanwhile shifts no page.
            fixture
                .append(
                    0,
                    &[("host", "new")],
                    [json!({"ts":"2027-01-01T00:00:00Z","msg":"later"}).to_string()],
                )
                .await;
        }
        assert_eq!(found, all, "{rest:?}");
        let wrong = answer(&app, "/api/v1/query", json!({"query":"","cursor":"x"})).await;
        assert_eq!(wrong["error"]["code"], "invalid_value");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_sees_the_same_records() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let found = sql(&app, "SELECT count(*) AS n FROM logs WHERE matches('GET')").await;
        assert_eq!(found, [json!({"n":4})], "{rest:?}");
        let found = sql(
            &app,
            "SELECT host, count(*) AS n, max(took) AS most FROM logs \
             WHERE matches('level:error') AND took > 1 GROUP BY host ORDER BY host",
        )
        .await;
        let expected =
            [json!({"host":"job1","n":1,"most":7.0}), json!({"host":"web1","n":1,"most":2.0})];
        assert_eq!(found, expected);
        let found = sql(
            &app,
            "SELECT message FROM logs WHERE (matches('slow') OR NOT matches('host:job1 OR GET')) \
             ORDER BY timestamp DESC LIMIT 5",
        )
        .await;
        assert_eq!(messages(&found), ["slow"]);
        let found = sql(
            &app,
            "SELECT a.message, b.n FROM (SELECT * FROM logs WHERE matches('disk')) a \
             JOIN (SELECT host, count(*) AS n FROM logs GROUP BY host) b ON a.host = b.host",
        )
        .await;
        assert_eq!(found, [json!({"message":"disk full","n":3})]);
        let found = sql(
            &app,
            "SELECT \"user.name\", date_trunc('minute', timestamp) AS m, id, level \
                       FROM logs WHERE level = 'warn'",
        )
        .await;
        let expected = json!({"user.name":"Alice","m":"2026-01-01T00:01:00.000000000Z","id":"0-3","level":"warn"});
        assert_eq!(found, [expected]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn now_in_sql_is_the_moment_of_the_question() {
    let (_fixture, app) = small(Rest::Splits).await;
    let later = "SELECT now() > TIMESTAMP '2026-01-01T00:00:00Z' AS later FROM logs LIMIT 1";
    assert_eq!(sql(&app, later).await, [json!({"later":true})]);
    let ages = "SELECT count(*) AS n FROM logs WHERE timestamp < now() - INTERVAL '1 second'";
    let all = sql(&app, "SELECT count(*) AS n FROM logs").await;
    assert_eq!(sql(&app, ages).await, all);
    // A session that is shared does not stop its clock.
    let mut moments = Vec::new();
    for _ in 0..2 {
        let found = sql(&app, "SELECT now() AS moment FROM logs LIMIT 1").await;
        moments.push(found[0]["moment"].as_str().unwrap().to_owned());
    }
    assert!(moments[0] < moments[1], "{moments:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn casts_in_sql_lose_no_record() {
    for rest in BOTH {
        let fixture = Fixture::new(rest);
        let lines = [5.7, 5.25, -5.5].map(|took| json!({"msg":"m","took":took}).to_string());
        fixture.append(0, &[("host", "a")], lines).await;
        if rest == Rest::Splits {
            fixture.settle().await;
        }
        let app = app(&fixture);
        for (condition, expected) in [
            ("CAST(took AS BIGINT) = 5", 2),
            ("CAST(took AS BIGINT) <= 5", 3),
            ("CAST(took AS BIGINT) >= -5", 3),
            ("CAST(took AS DECIMAL(10, 0)) = 6", 1),
        ] {
            let statement = format!("SELECT count(*) AS n FROM logs WHERE {condition}");
            assert_eq!(sql(&app, &statement).await[0]["n"], json!(expected), "{condition}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_cannot_be_is_refused() {
    let (_fixture, app) = small(BOTH[0]).await;
    for (statement, says) in [
        ("DROP TABLE logs", "only SELECT"),
        ("INSERT INTO logs SELECT * FROM logs", "only SELECT"),
        ("SELECT", ""),
        ("SELECT nosuch FROM logs", "nosuch"),
        ("SELECT 1 FROM logs WHERE matches('a') OR level = 'x'", "joined"),
        ("SELECT matches('a') FROM logs", "WHERE"),
        ("SELECT 1 FROM logs WHERE matches('foo:')", "expected a value"),
        ("SELECT 1 FROM logs WHERE matches(message)", "in quotes"),
        ("SELECT 1 FROM '/etc/passwd'", "passwd"),
        ("SET a = 1", "only SELECT"),
        ("COPY logs TO '/tmp/x'", "only SELECT"),
        ("COPY logs TO '/tmp/x.csv'", "only SELECT"),
        ("SELECT host INTO other FROM logs", "only SELECT"),
        ("EXPLAIN SELECT 1", "only SELECT"),
        ("SHOW TABLES", "only SELECT"),
    ] {
        let found = answer(&app, "/api/v1/sql", json!({ "sql": statement })).await;
        assert_eq!(found["error"]["code"], "invalid_query", "{statement}: {found}");
        let message = found["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{statement}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_of_the_reference_runs() {
    let (_fixture, app) = small(Rest::Splits).await;
    let statements = crate::language::tests::examples("sql");
    assert!(!statements.is_empty());
    for statement in statements {
        sql(&app, statement).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_ended_by_its_name() {
    let (fixture, app) = small(Rest::Fresh).await;
    let end = async |id: String| {
        let path = format!("/api/v1/queries/{id}");
        let request = Request::delete(path).body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(end("ff".to_owned()).await, StatusCode::NOT_FOUND);
    let ticket = fixture.engine.admit(None).await.unwrap();
    assert_eq!(end(ticket.id().to_string()).await, StatusCode::NO_CONTENT);
    let never = futures::future::pending::<Result<(), QueryFailure>>();
    let outcome = ticket.unless_cancelled(never).await;
    assert!(matches!(outcome, Err(QueryFailure::Cancelled)), "{outcome:?}");
    let response = post(&app, "/api/v1/query", &json!({"query":""})).await;
    assert!(response.headers().contains_key("x-query-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_says_how_many_records_matched_where_that_is_known() {
    for rest in BOTH {
        let (_fixture, app) = small(rest).await;
        let matched =
            async |body: Value| lines(&app, body).await.last().unwrap()["end"]["matched"].clone();
        for (query, limit, expected) in [
            ("", 0, json!(8)),
            ("level:error", 100, json!(2)),
            ("level:error", 1, Value::Null),
            ("absent", 100, json!(0)),
            ("| stats count() by host", 100, json!(8)),
            ("host:web1 | where status > 300", 100, Value::Null),
            ("host:web1 | eval bad = status > 300", 100, json!(5)),
            ("host:web1 | sort took desc | limit 1", 100, json!(5)),
            ("| stats count() as n by host | sort n | limit 0", 100, Value::Null),
            ("level:error | union (level:fatal)", 100, Value::Null),
        ] {
            let found = matched(json!({ "query": query, "limit": limit })).await;
            assert_eq!(found, expected, "{query} {limit} {rest:?}");
        }
    }
}
