//! HTTP to a node: one request, its errors as sentences, its streams as lines.

use std::future::Future;

use anyhow::{Context as _, Error, Result, bail};
use futures::StreamExt as _;
use model::wire::{ErrorBody, ErrorDetail};
use serde_json::Value;

use crate::args::ServerArgs;

/// Runs a command that talks to a node.
pub(crate) fn block_on(command: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the program's event loop")?
        .block_on(command)
}

/// A node to talk to.
pub(crate) struct Client {
    http: reqwest::Client,
    server: String,
    token: Option<String>,
}

impl Client {
    /// Reads the token, if one is named. Does not connect yet.
    pub(crate) fn new(args: &ServerArgs) -> Result<Self> {
        let token = args.token_file.as_deref().map(crate::config::read_token).transpose()?;
        let server = args.server.trim_end_matches('/').to_owned();
        let server = if server.contains("://") { server } else { format!("http://{server}") };
        // A proxy meant for the web has no business between us and a node.
        platform::tls::install();
        let mut http = reqwest::Client::builder().no_proxy();
        if server.starts_with("http:") {
            // The system may have no certificates at all.
            http = http.tls_certs_only([]);
        }
        let http = http.build().context(
            "cannot make a client: are the system's certificates installed (ca-certificates)?",
        )?;
        Ok(Self { http, server, token })
    }

    /// GETs a path; a failed answer becomes an error in the node's own words.
    pub(crate) async fn get(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<reqwest::Response> {
        let url = reqwest::Url::parse_with_params(&format!("{}{path}", self.server), query)
            .with_context(|| format!("{:?} is no address of a node", self.server))?;
        self.send(self.http.get(url)).await
    }

    /// POSTs a JSON body; a failed answer becomes an error in the node's own words.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<reqwest::Response> {
        let body = serde_json::to_vec(body).context("a request is plain JSON")?;
        let request = self
            .http
            .post(format!("{}{path}", self.server))
            .header("content-type", "application/json")
            .body(body);
        self.send(request).await
    }

    /// Ends a query by the name that its answer came with.
    pub(crate) async fn cancel(&self, id: &str) -> Result<()> {
        self.send(self.http.delete(format!("{}/api/v1/queries/{id}", self.server))).await?;
        Ok(())
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.map_err(|error| {
            let words = unanswered(&self.server, &error);
            Error::new(error).context(words)
        })?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(body) => Err(Refusal(body.error).into()),
            Err(_) => bail!("the node answers {status}: {}", String::from_utf8_lossy(&body).trim()),
        }
    }
}

/// What to do where a request got no answer.
fn unanswered(server: &str, error: &(dyn std::error::Error + 'static)) -> String {
    let mut causes = std::iter::successors(Some(error), |error| (**error).source());
    // Nodes speak HTTP/2 to each other, and nothing else: its first words are read as an answer, or come
    // before there is a request.
    let is_other = |words: &String| {
        words.contains("invalid HTTP version")
            || words.contains("unexpected message from connection")
    };
    if causes.any(|cause| is_other(&cause.to_string())) {
        return format!(
            "{server} is where other nodes hear a node: name where clients do with --server, its --listen, as a rule one port below"
        );
    }
    format!("no node answers at {server}: start one with `sawlog run`, or name it with --server")
}

/// The node's own words about a request it refused.
#[derive(Debug, thiserror::Error)]
#[error("{}", sentence(.0))]
pub(crate) struct Refusal(pub(crate) ErrorDetail);

/// An error of the API as a sentence.
pub(crate) fn sentence(error: &ErrorDetail) -> String {
    use std::fmt::Write as _;
    let mut text = error.message.clone();
    if let Some(hint) = &error.hint {
        write!(text, " ({hint})").expect("a String takes every write");
    }
    text
}

/// The query with its wrong part underlined, and the error below.
pub(crate) fn underlined(query: &str, error: &ErrorDetail) -> Option<String> {
    let position = error.position.as_ref()?;
    let width = position.end.saturating_sub(position.start).max(1);
    let line = query.replace(['\n', '\t'], " ");
    let marks = format!("{}{}", " ".repeat(position.start), "^".repeat(width));
    let column = position.start + 1;
    Some(format!("column {column}: {}\n  {line}\n  {marks}", sentence(error)))
}

/// The lines of a streamed answer, without their ends.
pub(crate) struct Lines {
    body: futures::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl Lines {
    pub(crate) fn of(response: reqwest::Response) -> Self {
        let body = response.bytes_stream().boxed();
        Self { body, buffer: Vec::new(), taken: 0, ended: false }
    }

    /// The next line; `None` at the end of the answer.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let rest = self.buffer.get(self.taken..).unwrap_or_default();
            if let Some(length) = rest.iter().position(|b| *b == b'\n') {
                let line = rest.get(..length).unwrap_or_default().to_vec();
                self.taken += length + 1;
                return Ok(Some(line));
            }
            if self.ended {
                let rest = rest.to_vec();
                self.taken = self.buffer.len();
                return Ok(Some(rest).filter(|rest| !rest.is_empty()));
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            match self.body.next().await {
                Some(Ok(bytes)) => self.buffer.extend_from_slice(&bytes),
                Some(Err(error)) => {
                    return Err(error).context("the connection to the node broke off");
                }
                None => self.ended = true,
            }
        }
    }

    /// The next line as JSON.
    pub(crate) async fn next_json(&mut self) -> Result<Option<Value>> {
        match self.next().await? {
            Some(line) => Ok(Some(
                serde_json::from_slice(&line).context("the node sent a line that is no JSON")?,
            )),
            None => Ok(None),
        }
    }
}
