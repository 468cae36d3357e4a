//! `sawlog tail`: new records that match, as they are accepted.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::args::TailArgs;
use crate::client::{Client, Lines};
use crate::render::Printer;
use crate::search::point_at;
use crate::tell;

pub(crate) async fn tail(args: TailArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    let response = client.get("/api/v1/tail", &[("query", &args.query)]).await;
    let response = response.map_err(|error| point_at(&args.query, error))?;
    let mut lines = Lines::of(response);
    let mut printer = Printer::new(args.format);
    let mut event = String::new();
    while let Some(line) = lines.next().await? {
        let line = String::from_utf8_lossy(&line);
        if let Some(name) = line.strip_prefix("event:") {
            name.trim().clone_into(&mut event);
        } else if let Some(data) = line.strip_prefix("data:") {
            let data: Value = serde_json::from_str(data.trim())?;
            match event.as_str() {
                "record" => printer.record(&data)?,
                "lost" => {
                    let count = data.get("count").and_then(Value::as_u64).unwrap_or_default();
                    tell(&format!("{count} records went by too fast to show; a search finds them"));
                }
                _ => {}
            }
            printer.flush()?;
        }
    }
    bail!("the node ended the tail")
}
