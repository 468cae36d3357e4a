//! Asking a node, in blocking calls.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::questions::Question;
use crate::wait::eventually;

/// Somebody who asks one node.
#[derive(Debug)]
pub struct Client {
    /// The node's address.
    pub url: String,
    http: reqwest::Client,
    runtime: Runtime,
}

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers, names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// It is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.body))
    }

    /// The body's lines as JSON.
    ///
    /// # Panics
    /// One is none.
    #[must_use]
    pub fn lines(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Client {
    /// For the node at `host:port`.
    ///
    /// # Panics
    /// No event loop can be made.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self::build(address, reqwest::Client::builder())
    }

    /// For a node that may hang: every request ends after so long.
    ///
    /// # Panics
    /// No event loop can be made.
    #[must_use]
    pub fn hurried(address: &str, patience: Duration) -> Self {
        Self::build(address, reqwest::Client::builder().timeout(patience))
    }

    /// [`Self::hurried`], each request over a connection of its own: one that is kept is not looked at
    /// between two requests, and that the node closed it meanwhile would be the next one's fault.
    ///
    /// # Panics
    /// No event loop can be made.
    #[must_use]
    pub fn fresh(address: &str, patience: Duration) -> Self {
        Self::build(address, reqwest::Client::builder().timeout(patience).pool_max_idle_per_host(0))
    }

    fn build(address: &str, builder: reqwest::ClientBuilder) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        platform::tls::install();
        let http = builder.no_proxy().build().unwrap();
        Self { url: format!("http://{address}"), http, runtime }
    }

    /// Sends a request; `None` when nobody answers, or the answer breaks off.
    #[must_use]
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<Answer> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).ok()?;
        let mut request = self.http.request(method, format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.runtime.block_on(async {
            let answer = request.send().await.ok()?;
            let status = answer.status().as_u16();
            let text = |value: &reqwest::header::HeaderValue| {
                String::from_utf8_lossy(value.as_bytes()).into_owned()
            };
            let headers = answer.headers().iter();
            let headers = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
            let body = String::from_utf8_lossy(&answer.bytes().await.ok()?).into_owned();
            Some(Answer { status, headers, body })
        })
    }

    /// The status of a GET, if anybody answers.
    #[must_use]
    pub fn status_of(&self, path: &str) -> Option<u16> {
        Some(self.send("GET", path, &[], Vec::new())?.status)
    }

    /// GETs JSON.
    ///
    /// # Panics
    /// The answer is no 200 with JSON.
    #[track_caller]
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.send("GET", path, &[], Vec::new()).expect("the node answers");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// POSTs JSON.
    ///
    /// # Panics
    /// Nobody answers.
    #[track_caller]
    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send("POST", path, &headers, body.to_string().into_bytes()).expect("the node answers")
    }

    /// POSTs NDJSON for ingestion; the path may carry parameters.
    ///
    /// # Panics
    /// It is not taken.
    #[track_caller]
    pub fn ingest(&self, path: &str, lines: &[u8]) -> Value {
        let answer = self.send("POST", path, &[], lines.to_vec()).expect("the node answers");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// The rows of a query, complete: header first, end last, nothing missing.
    ///
    /// # Panics
    /// The answer is refused, incomplete, or not of the documented shape.
    #[track_caller]
    #[must_use]
    pub fn rows(&self, request: &Value) -> Vec<Value> {
        let answer = self.post("/api/v1/query", request);
        assert_eq!(answer.status, 200, "{request}: {}", answer.body);
        let mut lines = answer.lines();
        let end = lines.pop().expect("an answer has lines");
        assert_eq!(end["end"]["partial"], json!([]), "{request}: {end}");
        assert!(lines.remove(0)["header"].is_object(), "{request}");
        lines.retain(|line| line.get("progress").is_none());
        assert_eq!(end["end"]["rows"], json!(lines.len()), "{request}");
        lines.into_iter().map(|mut line| line["row"].take()).collect()
    }

    /// How many records answer, by `stats`.
    ///
    /// # Panics
    /// As [`Self::rows`].
    #[track_caller]
    #[must_use]
    pub fn count(&self, question: &Question) -> u64 {
        let mut request = request(question);
        request["query"] = json!(format!("{} | stats count() as n", question.typed).trim());
        let rows = self.rows(&request);
        rows[0]["n"].as_u64().expect("a count is a number")
    }

    /// How many records answer a query, over all of time.
    ///
    /// # Panics
    /// As [`Self::rows`].
    #[track_caller]
    #[must_use]
    pub fn count_of(&self, query: &str) -> u64 {
        let typed = query.to_owned();
        self.count(&Question { typed, ask: crate::oracle::Ask::All, window: None })
    }

    /// The rows of a query; `None` when nobody answers, it is refused, or something is missing from
    /// the answer.
    #[must_use]
    pub fn complete(&self, query: &str) -> Option<Vec<Value>> {
        let body = json!({ "query": query }).to_string().into_bytes();
        let headers = [("content-type", "application/json")];
        let answer = self.send("POST", "/api/v1/query", &headers, body)?;
        if answer.status != 200 {
            return None;
        }
        let mut lines = answer.lines();
        let whole = lines.pop()?["end"]["partial"] == json!([]);
        lines.retain(|line| line.get("row").is_some());
        whole.then(|| lines.into_iter().map(|mut line| line["row"].take()).collect())
    }

    /// The rows of a query as soon as nothing is missing from them: a node that came back or whose
    /// cluster moves work says what it does not know yet.
    ///
    /// # Panics
    /// The answer is never complete.
    #[track_caller]
    #[must_use]
    pub fn whole_rows(&self, query: &str) -> Vec<Value> {
        eventually(&format!("a complete answer to {query}"), || self.complete(query))
    }

    /// Waits until so many records can be found.
    ///
    /// # Panics
    /// More are found, or they do not come.
    #[track_caller]
    pub fn expect_records(&self, expected: u64) {
        eventually(&format!("{expected} records"), || {
            let rows = self.whole_rows("| stats count() as n");
            let found = rows[0]["n"].as_u64().expect("a count is a number");
            assert!(found <= expected, "{found} records, {expected} were written");
            (found == expected).then_some(())
        });
    }
}

/// The body of a request for records.
#[must_use]
pub fn request(question: &Question) -> Value {
    let mut request = json!({ "query": question.typed });
    if let Some((from, to)) = question.window {
        request["from"] = json!(model::time::Timestamp(from).to_string());
        request["to"] = json!(model::time::Timestamp(to).to_string());
    }
    request
}
