//! `sawlog delete`: records that match are deleted, after a look at how many they are.

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use model::wire::QueryRequest;
use platform::clock::Clock;
use serde_json::Value;

use crate::args::DeleteArgs;
use crate::client::{Client, Lines};
use crate::search::point_at;
use crate::tell;

/// How often a deletion that is waited for is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) async fn delete(args: DeleteArgs) -> Result<()> {
    ensure!(
        args.when.is_chosen(),
        "say when: --last 7d, --from and --to, or --all for every record that matches"
    );
    let client = Client::new(&args.server)?;
    let (from, to) = args.when.range();
    let request = QueryRequest {
        query: args.query.clone(),
        from: from.map(Value::String),
        to: to.map(Value::String),
        indexes: (!args.index.is_empty()).then(|| args.index.clone()),
        ..QueryRequest::default()
    };
    let count = count(&client, &request).await.map_err(|error| point_at(&args.query, error))?;
    if !args.yes && !agreed(&format!("delete {count} records? They do not come back. [y/N] "))? {
        bail!("nothing was deleted");
    }
    let response = client.post("/api/v1/deletions", &request).await;
    let response = response.map_err(|error| point_at(&args.query, error))?;
    let begun: Value = answer(response).await?;
    let number = begun.get("number").and_then(Value::as_u64).unwrap_or_default();
    tell(&format!("deletion {number}: no query finds these {count} records any more"));
    if !args.wait {
        return Ok(());
    }
    followed(&client, number).await
}

/// Waits until a deletion is done, and says how far it is.
async fn followed(client: &Client, number: u64) -> Result<()> {
    let (clock, mut told) = (Clock::system(), None);
    loop {
        let all: Value = answer(client.get("/api/v1/deletions", &[]).await?).await?;
        let all = all.get("deletions").and_then(Value::as_array);
        let is_it = |one: &&Value| one.get("number").and_then(Value::as_u64) == Some(number);
        let one = all.and_then(|all| all.iter().find(is_it));
        let one = one.with_context(|| format!("the node does not know deletion {number}"))?;
        let count = |name: &str| one.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (deleted, left) = (count("deleted"), count("splits_left"));
        if one.get("done").is_some_and(Value::is_string) {
            tell(&format!("deletion {number}: {deleted} records are gone from the disk"));
            return Ok(());
        }
        if left > 0 && told.replace(left) != Some(left) {
            tell(&format!("deletion {number}: {left} splits are still to be written without them"));
        }
        clock.sleep(LOOK_INTERVAL).await;
    }
}

/// The JSON of a node's answer.
pub(crate) async fn answer(response: reqwest::Response) -> Result<Value> {
    let bytes = response.bytes().await.context("the connection to the node broke off")?;
    serde_json::from_slice(&bytes).context("the node's answer is no JSON")
}

/// How many records match now.
async fn count(client: &Client, request: &QueryRequest) -> Result<u64> {
    let query = format!("{} | stats count() as n", request.query);
    let request = QueryRequest { query, ..request.clone() };
    let mut lines = Lines::of(client.post("/api/v1/query", &request).await?);
    let mut count = None;
    while let Some(line) = lines.next_json().await? {
        count = line.pointer("/row/n").and_then(Value::as_u64).or(count);
    }
    count.context("the node did not say how many records match")
}

/// What the person at the terminal says; without one nobody agrees.
fn agreed(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nothing was deleted: say --yes where nobody can be asked");
    }
    crate::ask(question);
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("no answer came")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
