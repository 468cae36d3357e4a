//! `sawlog status`: partitions, lag, splits and disk of a node.

use std::io::Write as _;

use anyhow::{Context as _, Result};
use indicatif::HumanBytes;
use model::wire::Status;

use crate::args::{StatusArgs, StatusFormat};
use crate::client::Client;

pub(crate) async fn status(args: StatusArgs) -> Result<()> {
    let client = Client::new(&args.server)?;
    let body = client.get("/api/v1/status", &[]).await?.bytes().await?;
    let mut out = std::io::stdout().lock();
    if args.format == StatusFormat::Json {
        out.write_all(&body)?;
        return Ok(writeln!(out)?);
    }
    let status: Status = serde_json::from_slice(&body).context("the node's status is not ours")?;
    print(&mut out, &status)
}

fn print(out: &mut impl std::io::Write, status: &Status) -> Result<()> {
    let state = if status.ready { "ready" } else { "starting" };
    writeln!(out, "node {} ({}), {state}, up {} s", status.node, status.version, status.uptime_s)?;
    let disk = &status.disk;
    writeln!(
        out,
        "data in {}: {} used, {} free of {}",
        status.data_dir,
        HumanBytes(disk.used_bytes),
        HumanBytes(disk.free_bytes),
        HumanBytes(disk.total_bytes)
    )?;
    writeln!(out, "\npartition   accepted   in splits       fresh      queue   waiting")?;
    for partition in &status.partitions {
        writeln!(
            out,
            "{:>9} {:>10} {:>11} {:>11} {:>10} {:>7} s",
            partition.partition,
            partition.committed,
            partition.published,
            partition.fresh_records,
            HumanBytes(partition.queue_bytes).to_string(),
            partition.oldest_unpublished_s
        )?;
    }
    writeln!(out, "\nindex            records  splits     stored        raw  days  from … to")?;
    for index in &status.indexes {
        let moment = |time: &Option<String>| {
            time.as_deref().and_then(|time| time.get(..19)).unwrap_or("-").replace('T', " ")
        };
        writeln!(
            out,
            "{:<12} {:>11} {:>7} {:>10} {:>10} {:>5}  {} … {}",
            index.name,
            index.records,
            index.splits,
            HumanBytes(index.bytes).to_string(),
            HumanBytes(index.raw_bytes).to_string(),
            index.retention_days,
            moment(&index.time_min),
            moment(&index.time_max)
        )?;
    }
    for shipper in &status.shippers {
        writeln!(
            out,
            "\nshipping {} files ({}), {} behind",
            shipper.files,
            shipper.patterns.join(" "),
            HumanBytes(shipper.lag_bytes)
        )?;
        if let Some(error) = &shipper.last_error {
            writeln!(out, "  {error}")?;
        }
    }
    Ok(())
}
