//! `sawlog compact`: the splits of an index are packed for size, whatever their age.

use std::time::Duration;

use anyhow::Result;
use indicatif::HumanBytes;
use model::stream::IndexName;
use platform::clock::Clock;
use serde_json::{Value, json};

use crate::args::CompactArgs;
use crate::client::Client;
use crate::delete::answer;
use crate::tell;

/// How often a compaction that is waited for is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) async fn compact(args: CompactArgs) -> Result<()> {
    let index = IndexName::new(&args.index)?;
    let client = Client::new(&args.server)?;
    let path = format!("/api/v1/indexes/{}/compact", index.as_str());
    let mut progress: Value = answer(client.post(&path, &json!({})).await?).await?;
    let [splits, bytes] = ["splits_left", "bytes_left"].map(|name| number(&progress, name));
    tell(&format!("{splits} splits of {} are to be packed for size", HumanBytes(bytes)));
    if !args.wait {
        return Ok(());
    }
    let clock = Clock::system();
    while number(&progress, "splits_left") > 0 {
        clock.sleep(LOOK_INTERVAL).await;
        progress = answer(client.get(&path, &[]).await?).await?;
    }
    let [splits, bytes] = ["cold_splits", "cold_bytes"].map(|name| number(&progress, name));
    tell(&format!("done: {splits} splits of {} are cold", HumanBytes(bytes)));
    Ok(())
}

fn number(progress: &Value, name: &str) -> u64 {
    progress.get(name).and_then(Value::as_u64).unwrap_or_default()
}
