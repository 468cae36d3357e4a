//! `sawlog query`: one SQL statement, its answer printed as it comes.

use anyhow::{Result, anyhow};
use serde_json::json;

use crate::args::QueryArgs;
use crate::client::Client;
use crate::search::Asked;

pub(crate) async fn query(args: QueryArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    let (from, to) = args.when.range();
    let request = json!({
        "sql": args.sql, "from": from, "to": to,
        "indexes": (!args.index.is_empty()).then_some(&args.index),
    });
    let asked = Asked { text: &args.sql, when: &args.when, format: args.format };
    let shown = asked.show(&client, "/api/v1/sql", &request).await;
    shown.map_err(|error| if is_sql(&args.sql) { error } else { no_sql(&args.sql, &error) })
}

/// Whether a text begins as statements do that are answered.
fn is_sql(text: &str) -> bool {
    let first = text.trim_start_matches(['(', ' ', '\n']).split_whitespace().next();
    let is_it = |word: &str| first.is_some_and(|first| first.eq_ignore_ascii_case(word));
    ["select", "with", "values", "explain"].into_iter().any(is_it)
}

fn no_sql(text: &str, error: &anyhow::Error) -> anyhow::Error {
    anyhow!("{error}\nthis command takes SQL; for words and pipes: sawlog search '{text}'")
}
