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
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};

/// What the C library is told of a node's memory: so many heaps, blocks of so many bytes come from the
/// system and go back to it one by one, and so much that is free at the end of a heap stays.
const MEMORY: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_MMAP_THRESHOLD_", "1048576"),
    ("MALLOC_TRIM_THRESHOLD_", "134217728"),
];

fn main() -> ExitCode {
    let args = Args::parse();
    if matches!(args.command, Command::Run(_) | Command::Node(_)) {
        with_little_memory();
    }
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

/// As it is, the C library keeps a tenth more of what was let go. It reads its settings when a program
/// starts, so this one starts over, once, as the same process; unless who started it said something of them.
fn with_little_memory() {
    let is_said = |(name, _): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.to_string_lossy();
        name.starts_with("MALLOC_") || name == "GLIBC_TUNABLES"
    };
    let Ok(program) = std::env::current_exe() else { return };
    if !cfg!(target_env = "gnu") || std::env::vars_os().any(is_said) {
        return;
    }
    let mut again = std::process::Command::new(program);
    again.args(std::env::args_os().skip(1)).envs(MEMORY);
    // It returns only when it failed; without it everything works as well.
    drop(again.exec());
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
