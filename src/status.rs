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

/// How the node is, in a few words.
fn state(status: &Status) -> String {
    match (&status.lack, status.ready) {
        (_, true) if status.behind => "ready, the newest records cannot be found yet".to_owned(),
        (_, true) => "ready".to_owned(),
        (Some(lack), false) => format!("not ready: {lack}"),
        (None, false) => "not ready".to_owned(),
    }
}

fn print(out: &mut impl std::io::Write, status: &Status) -> Result<()> {
    writeln!(
        out,
        "node {} ({}), {}, up {} s",
        status.node,
        status.version,
        state(status),
        status.uptime_s
    )?;
    if let Some(seconds) = status.store_silent_s {
        writeln!(out, "THE STORE OF SPLITS HAS NOT ANSWERED FOR {seconds} s")?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: &Status, expected: &str) {
        let mut out = Vec::new();
        print(&mut out, status).unwrap();
        let words = String::from_utf8(out).unwrap();
        assert!(words.contains(expected) && !words.contains("starting"), "{words}");
    }

    #[test]
    fn a_node_that_is_behind_is_not_starting() {
        let ready = Status { ready: true, uptime_s: 1_037, ..Status::default() };
        check(&ready, ", ready, up 1037 s\n");
        let behind = Status { behind: true, ..ready.clone() };
        check(&behind, ", ready, the newest records cannot be found yet, up 1037 s\n");
        let alone = Some("nothing is heard of the cluster".to_owned());
        let alone = Status { ready: false, lack: alone, ..behind };
        check(&alone, ", not ready: nothing is heard of the cluster, up 1037 s\n");
        let away = Status { store_silent_s: Some(75), ..ready };
        check(&away, "\nTHE STORE OF SPLITS HAS NOT ANSWERED FOR 75 s\n");
    }
}
