//! `sawlog cluster`, and the routes that it asks.

mod api;
mod show;

use anyhow::{Context as _, Result};
use cluster::peer::issue;
use model::wire::ClusterStatus;
use serde_json::json;

use crate::args::{CertsArgs, ClusterCommand, NodeNameArgs, StatusArgs, StatusFormat};
use crate::client::{self, Client};
use crate::tell;
pub(crate) use api::{REPLICAS_CALL, replicas_here, router, router_alone};

/// Path of the cluster's state.
const CLUSTER_PATH: &str = "/api/v1/cluster";

pub(crate) fn cluster(command: ClusterCommand) -> Result<()> {
    match command {
        ClusterCommand::Status(args) => client::block_on(status(args)),
        ClusterCommand::Drain(args) => client::block_on(change(args, "drain")),
        ClusterCommand::Undrain(args) => client::block_on(change(args, "undrain")),
        ClusterCommand::Remove(args) => client::block_on(change(args, "remove")),
        ClusterCommand::Certs(args) => certs(&args),
    }
}

async fn status(args: StatusArgs) -> Result<()> {
    use std::io::Write as _;
    let client = Client::new(&args.server)?;
    let body = client.get(CLUSTER_PATH, &[]).await?.bytes().await?;
    let mut out = std::io::stdout().lock();
    if args.format == StatusFormat::Json {
        out.write_all(&body)?;
        return Ok(writeln!(out)?);
    }
    let status: ClusterStatus =
        serde_json::from_slice(&body).context("the node's answer is not ours")?;
    show::print(&mut out, &status)
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
