//! `sawlog query`: one SQL statement, its answer printed as it comes.

use anyhow::Result;
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
    asked.show(&client, "/api/v1/sql", &request).await
}
