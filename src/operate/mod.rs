//! `sawlog cluster`, and the routes that it asks.

mod api;
mod show;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use cluster::peer::{has_certificate, issue};
use model::wire::ClusterStatus;
use platform::clock::Clock;
use serde_json::json;

use crate::args::{AddArgs, CertsArgs, ClusterCommand, NodeNameArgs, StatusArgs, StatusFormat};
use crate::client::{self, Client};
use crate::tell;
pub(crate) use api::{REPLICAS_CALL, StoreSeen, replicas_here, router, router_alone};

/// Path of the cluster's state.
const CLUSTER_PATH: &str = "/api/v1/cluster";
/// How long a node may take to tell it: others are asked for it, which may be away.
const STATUS_WAIT: Duration = Duration::from_secs(20);

pub(crate) fn cluster(command: ClusterCommand) -> Result<()> {
    match command {
        ClusterCommand::Status(args) => client::block_on(status(args)),
        ClusterCommand::Drain(args) => client::block_on(change(args, "drain")),
        ClusterCommand::Undrain(args) => client::block_on(change(args, "undrain")),
        ClusterCommand::Remove(args) => client::block_on(change(args, "remove")),
        ClusterCommand::Add(args) => client::block_on(add(args)),
        ClusterCommand::Certs(args) => certs(&args),
    }
}

async fn status(args: StatusArgs) -> Result<()> {
    use std::io::Write as _;
    let body = seen(&Client::new(&args.server)?).await?;
    let mut out = std::io::stdout().lock();
    if args.format == StatusFormat::Json {
        out.write_all(&body)?;
        return Ok(writeln!(out)?);
    }
    let status: ClusterStatus =
        serde_json::from_slice(&body).context("the node's answer is not ours")?;
    show::print(&mut out, &status)
}

/// How many nodes a new one is told to ask: the first that is there lets it in.
const DOORS: usize = 3;

/// The cluster as a node sees it. One that hangs takes connections all the same.
async fn seen(client: &Client) -> Result<Bytes> {
    let answer = async { anyhow::Ok(client.get(CLUSTER_PATH, &[]).await?.bytes().await?) };
    let answer = Clock::system().timeout(STATUS_WAIT, answer).await;
    answer.with_context(|| {
        let seconds = STATUS_WAIT.as_secs();
        format!("the node has said nothing for {seconds} s: ask another one, with --server")
    })?
}

async fn add(args: AddArgs) -> Result<()> {
    let body = seen(&Client::new(&args.server)?).await?;
    let status: ClusterStatus =
        serde_json::from_slice(&body).context("the node's answer is not ours")?;
    let there = status.nodes.iter().filter(|node| node.health == "up");
    let doors: Vec<&str> = there.map(|node| &*node.address).take(DOORS).collect();
    ensure!(!doors.is_empty(), "no node of the cluster is up: see `sawlog cluster status`");
    let join = doors.join(",");
    tell(&format!(
        "On the new machine, with an empty data directory and an address that the others reach:\n\n    \
         sawlog node --data-dir DIR --listen ADDRESS:7410 --join {join}\n\nGive it --cluster-tls (a \
         certificate from `sawlog cluster certs`) and --store if the other nodes have them. It takes \
         its share by itself: watch `sawlog cluster status`."
    ));
    Ok(())
}

async fn change(args: NodeNameArgs, what: &str) -> Result<()> {
    let client = Client::new(&args.server)?;
    let path = format!("{CLUSTER_PATH}/{what}");
    let answer = client.post(&path, &json!({ "node": args.node })).await?.bytes().await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    tell(answer.get("message").and_then(|words| words.as_str()).unwrap_or("done"));
    Ok(())
}

/// Makes what nodes need to know each other.
fn certs(args: &CertsArgs) -> Result<()> {
    for node in &args.nodes {
        let is_name = !node.is_empty() && !node.contains('/') && !node.starts_with('.');
        ensure!(is_name, "{node:?} is no name for a node's folder below {}", args.folder.display());
        ensure!(
            args.renew || !has_certificate(&args.folder.join(node)),
            "node {node} has a certificate in {}: leave {node} out, or give --renew and start that node again with the new one",
            args.folder.join(node).display()
        );
    }
    for node in &args.nodes {
        let folder = args.folder.join(node);
        let made = issue(&args.folder, &folder)?;
        if made.is_new_authority {
            tell(&format!(
                "a new authority: keep {} safe, who has it can make nodes",
                args.folder.join("ca.key").display()
            ));
        }
        tell(&format!(
            "node {node}: copy {} to it and start it with --cluster-tls there",
            folder.display()
        ));
    }
    Ok(())
}
