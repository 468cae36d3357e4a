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
    print_plights(out, status)?;
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
    print_splits(out, status)
}

/// Where splits are, and what is wrong there.
fn print_splits(out: &mut impl Write, status: &ClusterStatus) -> Result<()> {
    match (&status.store, status.copies_wanted) {
        (Some(store), _) => writeln!(out, "\n{} splits in the store {store}", status.splits)?,
        (None, 0) => writeln!(out, "\n{} splits", status.splits)?,
        (None, wanted) => writeln!(
            out,
            "\n{} splits, {} of {wanted} copies missing",
            status.splits, status.copies_missing
        )?,
    }
    if let Some(seconds) = status.store_silent_s {
        writeln!(
            out,
            "THE STORE HAS NOT ANSWERED THIS NODE FOR {seconds} s: answers lack what is only there, and what is taken waits in the queue"
        )?;
    }
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

/// What is wrong with nodes that are up all the same.
fn print_plights(out: &mut impl Write, status: &ClusterStatus) -> Result<()> {
    for node in status.nodes.iter().filter(|node| node.short_of_room) {
        writeln!(
            out,
            "{}'s disk is short of room: it takes no records, and others lead and index what they can; make room there, or lower the retention",
            short(status, &node.id)
        )?;
    }
    for node in status.nodes.iter().filter(|node| !node.unreached.is_empty()) {
        let names: Vec<String> = node.unreached.iter().map(|id| short(status, id)).collect();
        writeln!(
            out,
            "{} does not reach {} directly: what it asks there goes through a node that reaches both; look at the network between them",
            short(status, &node.id),
            names.join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: &ClusterStatus, expected: &str) {
        let mut out = Vec::new();
        print(&mut out, status).unwrap();
        let words = String::from_utf8(out).unwrap();
        assert!(words.ends_with(expected), "{words}");
    }

    #[test]
    fn where_splits_are_is_told() {
        let status = ClusterStatus { splits: 7, ..ClusterStatus::default() };
        check(&status, "\n7 splits\n");
        let copied = ClusterStatus { copies_wanted: 21, copies_missing: 2, ..status.clone() };
        check(&copied, "\n7 splits, 2 of 21 copies missing\n");
        let store = Some("s3://logs/shop".to_owned());
        let shared = ClusterStatus { store, ..status };
        check(&shared, "\n7 splits in the store s3://logs/shop\n");
        let away = ClusterStatus { store_silent_s: Some(12), ..shared };
        check(
            &away,
            "THE STORE HAS NOT ANSWERED THIS NODE FOR 12 s: answers lack what is only there, and what is taken waits in the queue\n",
        );
    }
}
