//! The cluster's state for people.

use std::io::Write;

use anyhow::Result;
use model::wire::{ClusterNode, ClusterStatus};

/// Columns of nodes and partitions.
pub(super) fn print(out: &mut impl Write, status: &ClusterStatus) -> Result<()> {
    let name = |id: &str| short(status, id);
    writeln!(out, "cluster {}, seen by node {}", status.cluster, name(&status.node))?;
    match status.leader.as_str() {
        "" => writeln!(
            out,
            "NOBODY LEADS: nothing is decided until a majority of the voters is there"
        )?,
        leader => writeln!(out, "metadata led by {}", name(leader))?,
    }
    if is_silent(status) {
        writeln!(
            out,
            "THIS NODE HAS HEARD NOTHING OF ITS CLUSTER FOR {} s",
            status.silent_ms / 1_000
        )?;
    }
    writeln!(
        out,
        "\nnode      state     epoch  votes  replicas  indexes  splits   heard     clock  roles               addresses"
    )?;
    for node in &status.nodes {
        print_node(out, node, condition(status, node))?;
    }
    print_earlier(out, status)?;
    writeln!(
        out,
        "\npartition  leader    indexer     committed    published  replicas (entries behind)"
    )?;
    for partition in &status.partitions {
        let replicas: Vec<String> = partition
            .replicas
            .iter()
            .map(|replica| {
                let lag = match (&replica.trouble, replica.lag) {
                    (Some(trouble), _) => trouble.clone(),
                    (None, Some(lag)) => lag.to_string(),
                    (None, None) => "?".to_owned(),
                };
                format!("{} ({lag})", name(&replica.node))
            })
            .collect();
        writeln!(
            out,
            "{:>9}  {:<8}  {:<8}  {:>11}  {:>11}  {}",
            partition.partition,
            name(&partition.leader),
            name(&partition.indexer),
            partition.committed,
            partition.published,
            replicas.join(", ")
        )?;
    }
    writeln!(
        out,
        "\n{} splits, {} of {} copies missing",
        status.splits, status.copies_missing, status.copies_wanted
    )?;
    Ok(())
}

/// The nodes that are still to be started with the newest program that is there.
fn print_earlier(out: &mut impl Write, status: &ClusterStatus) -> Result<()> {
    let newest = status.nodes.iter().map(|node| node.protocol).max().unwrap_or_default();
    for node in status.nodes.iter().filter(|node| node.protocol < newest) {
        writeln!(
            out,
            "{} runs {} and speaks version {} of the nodes' protocol, others {newest}: what is new waits for it",
            short(status, &node.id),
            node.version,
            node.protocol
        )?;
    }
    Ok(())
}

/// A node that heard nothing of its cluster for so long may be wrong in all it says.
const SILENT_MS_MAX: u64 = 3_000;

fn is_silent(status: &ClusterStatus) -> bool {
    status.silent_ms > SILENT_MS_MAX
}

/// What a silent node says of others is what it heard last.
fn condition<'a>(status: &ClusterStatus, node: &'a ClusterNode) -> &'a str {
    let answers = node.health == "up" || node.health == "draining";
    let unheard = node.heard_ms_ago.is_none_or(|ms| ms > SILENT_MS_MAX);
    match is_silent(status) && answers && node.id != status.node && unheard {
        true => "unheard",
        false => &node.health,
    }
}

fn print_node(out: &mut impl Write, node: &ClusterNode, condition: &str) -> Result<()> {
    let heard = node.heard_ms_ago.map_or("-".to_owned(), |ms| format!("{ms} ms"));
    let clock = node.clock_ahead_ms.map_or("-".to_owned(), |ms| format!("{ms:+} ms"));
    writeln!(
        out,
        "{:<8}  {:<8}  {:>5}  {:<5}  {:>8}  {:>7}  {:>6}  {:>8}  {:>8}  {:<18}  {} (http {})",
        node.id.get(..8).unwrap_or(&node.id),
        condition,
        node.epoch,
        if node.votes { "yes" } else { "" },
        node.replicas,
        node.indexing,
        node.splits,
        heard,
        clock,
        node.roles,
        node.address,
        node.http
    )?;
    Ok(())
}

/// The beginning of an id, as long as it names one node.
fn short(status: &ClusterStatus, id: &str) -> String {
    if id.is_empty() {
        return "-".to_owned();
    }
    let short = id.get(..8).unwrap_or(id);
    let alike = status.nodes.iter().filter(|node| node.id.starts_with(short)).count();
    if alike > 1 { id.to_owned() } else { short.to_owned() }
}
