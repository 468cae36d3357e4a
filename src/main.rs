//! The `sawlog` program: a node, and the command line that talks to one.

mod args;
mod config;
mod kafka;
mod queue;
mod node;
mod starting;
mod removed;
mod readiness;
mod seats;
mod status_source;
mod clustered;
mod settle;
mod listeners;
mod client;
mod render;
mod search;
mod query;
mod delete;
mod compact;
mod tail;
mod import;
mod status;
mod split;
mod operate;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match args.command {
        Command::Run(run) => node::run(run),
        Command::Node(node) => node::node(&node),
        Command::Search(search) => client::block_on(search::search(search)),
        Command::Query(query) => client::block_on(query::query(query)),
        Command::Delete(delete) => client::block_on(delete::delete(delete)),
        Command::Compact(compact) => client::block_on(compact::compact(compact)),
        Command::Tail(tail) => client::block_on(tail::tail(tail)),
        Command::Import(import) => import::import(import),
        Command::Status(status) => client::block_on(status::status(status)),
        Command::Split(args) => split::split(&args),
        Command::Cluster(command) => operate::cluster(command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // The chain is printed once, here; inner errors do not repeat their causes.
            tell(&format!("sawlog: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// `sawlog search … | head` is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Says something to the person at the terminal, beside the output. Nobody may be there any more.
fn tell(words: &str) {
    drop(writeln!(std::io::stderr(), "{words}"));
}

/// Asks the person at the terminal something; the answer stands on the same line.
#[expect(clippy::print_stderr, reason = "the other place that speaks to the terminal")]
fn ask(question: &str) {
    eprint!("{question}");
}
