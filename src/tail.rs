//! `sawlog tail`: new records that match, as they are accepted.

use std::time::Duration;

use anyhow::{Result, bail};
use platform::clock::Clock;
use serde_json::Value;

use crate::args::TailArgs;
use crate::client::{Client, Lines, Refusal};
use crate::render::Printer;
use crate::search::point_at;
use crate::tell;

/// How long after a connection broke off the next one is tried.
const AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn tail(args: TailArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    let response = client.get("/api/v1/tail", &[("query", &args.query)]).await;
    let mut response = response.map_err(|error| point_at(&args.query, error))?;
    let mut follower = Follower { printer: Printer::new(args.format), place: None };
    let clock = Clock::system();
    loop {
        let why = follower.follow(response).await?;
        // Without a place there is nothing to go on behind.
        let Some(place) = follower.place.clone() else { bail!("{why}") };
        tell(&format!("{why}; trying again, nothing will be missing"));
        response = loop {
            clock.sleep(AGAIN).await;
            let parameters = [("query", args.query.as_str()), ("after", &place)];
            match client.get("/api/v1/tail", &parameters).await {
                Ok(response) => break response,
                Err(error) => match error.downcast_ref::<Refusal>() {
                    Some(Refusal(detail)) if detail.code != "unavailable" => return Err(error),
                    _ => {}
                },
            }
        };
        tell("the node is there again");
    }
}

/// Prints a tail and remembers how far it is.
struct Follower {
    printer: Printer,
    place: Option<String>,
}

impl Follower {
    /// Until the connection ends; says why it did.
    async fn follow(&mut self, response: reqwest::Response) -> Result<String> {
        let mut lines = Lines::of(response);
        let (mut event, mut id, mut data) = (String::new(), None, None);
        loop {
            let line = match lines.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return Ok("the node ended the tail".to_owned()),
                Err(error) => return Ok(error.to_string()),
            };
            let line = String::from_utf8_lossy(&line);
            if let Some(name) = line.strip_prefix("event:") {
                name.trim().clone_into(&mut event);
            } else if let Some(place) = line.strip_prefix("id:") {
                id = Some(place.trim().to_owned());
            } else if let Some(text) = line.strip_prefix("data:") {
                data = Some(text.trim().to_owned());
            } else if line.is_empty() {
                // Only now the event is whole; one that broke off comes again.
                if let Some(data) = data.take() {
                    self.event(&event, &serde_json::from_str(&data)?)?;
                }
                self.place = id.take().or(self.place.take());
                event.clear();
            }
        }
    }

    fn event(&mut self, event: &str, data: &Value) -> Result<()> {
        let part = |name| data.get(name).and_then(Value::as_str).unwrap_or("?");
        match event {
            "record" => self.printer.record(data)?,
            "lost" => {
                let count = data.get("count").and_then(Value::as_u64).unwrap_or_default();
                tell(&format!("{count} records went by too fast to show; a search finds them"));
            }
            "missing" => tell(&format!("incomplete: {} is missing: {}", part("what"), part("why"))),
            "failed" => tell(&format!("the node failed: {}", part("message"))),
            _ => {}
        }
        self.printer.flush()
    }
}
