//! `sawlog-shipper`: the shipper as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use model::stream::IndexName;
use platform::clock::Clock;
use platform::shutdown::Shutdown;
use shipper::config::Until;
use shipper::{Config, Shipper, StartAt};

/// Follows files and sends their lines to Sawlog: nothing lost, nothing twice.
#[derive(Debug, Parser)]
#[command(name = "sawlog-shipper", version)]
struct Args {
    /// Address of a node; give several to have them tried in turn
    #[arg(long, value_name = "URL", required = true)]
    to: Vec<String>,
    /// Where checkpoints are kept
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// Files to follow: *, ?, [a-z], {a,b}, and ** for folders of any depth
    #[arg(long = "path", value_name = "GLOB", required = true)]
    paths: Vec<String>,
    /// Files not to follow
    #[arg(long = "exclude", value_name = "GLOB")]
    excludes: Vec<String>,
    /// A label of every record
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The index the records go to
    #[arg(long, value_name = "NAME", default_value = "main")]
    index: String,
    /// File that holds the token the nodes want
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Zone of times that state none, such as Europe/Berlin [default: the machine's]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Where files begin that were there before the first run
    #[arg(long, value_enum, default_value = "begin")]
    start_at: Start,
    /// Exit when everything is read and acknowledged
    #[arg(long)]
    once: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Start {
    Begin,
    End,
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = pair.ok_or_else(|| "write it as name=value".to_owned())?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    platform::telemetry::init();
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let token = match &args.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read the token in {}", path.display()))?;
            Some(text.trim().to_owned())
        }
        None => None,
    };
    let config = Config {
        to: args.to,
        token,
        excludes: args.excludes,
        labels: args.labels,
        index: IndexName::new(&args.index)?,
        start_at: match args.start_at {
            Start::Begin => StartAt::Begin,
            Start::End => StartAt::End,
        },
        time_zone: args.time_zone,
        until: if args.once { Until::Done } else { Until::Stopped },
        ..Config::new(String::new(), args.state_dir, args.paths)
    };
    let shutdown = Shutdown::on_signals()?;
    tracing::info!(to = ?config.to, paths = ?config.paths, "shipping");
    let shipper = Shipper::start(config, Clock::system(), shutdown)?;
    Ok(shipper.join().await?)
}
