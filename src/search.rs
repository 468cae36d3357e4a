//! `sawlog search`: one query, its answer printed as it comes.

use anyhow::{Context as _, Result, bail};
use model::wire::{ErrorDetail, QueryRequest};
use serde::Serialize;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Format, SearchArgs, WhenArgs};
use crate::client::{Client, Lines, Refusal, sentence, underlined};
use crate::render::Printer;
use crate::tell;

pub(crate) async fn search(args: SearchArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    let request = request(&args);
    let asked = Asked { text: &args.query, when: &args.when, format: args.format };
    asked.show(&client, "/api/v1/query", &request).await
}

/// What was asked, whose answer is to be shown.
pub(crate) struct Asked<'a> {
    pub(crate) text: &'a str,
    pub(crate) when: &'a WhenArgs,
    pub(crate) format: Option<Format>,
}

impl Asked<'_> {
    /// Asks, and prints the answer as it comes; Ctrl-C ends the query on the node as well.
    pub(crate) async fn show(
        &self,
        client: &Client,
        path: &str,
        request: &impl Serialize,
    ) -> Result<()> {
        // Heard from before the query runs, so that it is not missed.
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot hear Ctrl-C")?;
        let response = tokio::select! {
            response = client.post(path, request) => response,
            _ = interrupt.recv() => bail!("ended by Ctrl-C before the answer began"),
        };
        let response = response.map_err(|error| point_at(self.text, error))?;
        let id = response.headers().get("x-query-id").and_then(|id| id.to_str().ok());
        let id = id.map(str::to_owned);
        let mut printer = Printer::new(self.format);
        let answer = tokio::select! {
            answer = self.print(response, &mut printer) => answer?,
            _ = interrupt.recv() => {
                printer.flush()?;
                if let Some(id) = id {
                    // It may have ended meanwhile, which is as well.
                    client.cancel(&id).await.ok();
                }
                bail!("ended by Ctrl-C; the answer is not complete");
            }
        };
        if !answer.ended {
            bail!("the answer broke off: the node stopped, or the connection did");
        }
        if answer.rows == 0 && printer.for_people() {
            match &self.when.last {
                Some(last) => {
                    tell(&format!("nothing found in the last {last}; --all asks all of time"));
                }
                None if self.when.is_chosen() => tell("nothing found"),
                None => tell("nothing found in the last 24h; --all asks all of time"),
            }
        }
        Ok(())
    }

    async fn print(&self, response: reqwest::Response, printer: &mut Printer) -> Result<Answer> {
        let mut lines = Lines::of(response);
        let mut answer = Answer::default();
        while let Some(line) = lines.next_json().await? {
            answer.take(&line, self.text, printer)?;
        }
        printer.flush()?;
        Ok(answer)
    }
}

/// An error about the query, with the query's wrong part underlined.
pub(crate) fn point_at(query: &str, error: anyhow::Error) -> anyhow::Error {
    let refusal = error.downcast_ref::<Refusal>();
    match refusal.and_then(|refusal| underlined(query, &refusal.0)) {
        Some(words) => anyhow::anyhow!(words),
        None => error,
    }
}

fn request(args: &SearchArgs) -> QueryRequest {
    let (from, to) = args.when.range();
    QueryRequest {
        query: args.query.clone(),
        from: from.map(Value::String),
        to: to.map(Value::String),
        limit: Some(args.limit),
        indexes: (!args.index.is_empty()).then(|| args.index.clone()),
        ..QueryRequest::default()
    }
}

#[derive(Default)]
struct Answer {
    table: bool,
    rows: u64,
    ended: bool,
}

impl Answer {
    fn take(&mut self, line: &Value, query: &str, printer: &mut Printer) -> Result<()> {
        if let Some(header) = line.get("header") {
            self.table = header.get("kind").and_then(Value::as_str) == Some("table");
            if let Some(columns) = header.get("columns").and_then(Value::as_array) {
                let name = |column: &Value| Some(column.get("name")?.as_str()?.to_owned());
                printer.columns(columns.iter().filter_map(name).collect());
            }
        } else if let Some(row) = line.get("row") {
            self.rows += 1;
            if self.table { printer.row(row)? } else { printer.record(row)? }
        } else if let Some(end) = line.get("end") {
            self.ended = true;
            for missing in end.get("partial").and_then(Value::as_array).into_iter().flatten() {
                let part = |name| missing.get(name).and_then(Value::as_str).unwrap_or("?");
                tell(&format!("incomplete: {} is missing: {}", part("what"), part("why")));
            }
            for warning in end.get("warnings").and_then(Value::as_array).into_iter().flatten() {
                let part = |name| warning.get(name).and_then(Value::as_str);
                let hint = part("hint").map(|hint| format!(": {hint}")).unwrap_or_default();
                tell(&format!("{}{hint}", part("message").unwrap_or("?")));
            }
        } else if let Some(error) = line.get("error") {
            printer.flush()?;
            let error: ErrorDetail = serde_json::from_value(error.clone()).unwrap_or_default();
            bail!(underlined(query, &error).unwrap_or_else(|| sentence(&error)));
        }
        Ok(())
    }
}
