//! `sawlog-shipper`: the shipper as a process of its own.

mod args;
mod table;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use platform::clock::Clock;
use platform::shutdown::Shutdown;
use shipper::files::Files;
use shipper::journal::{self, Journal};
use shipper::operate::{self, SettingsWatch};
use shipper::{Config, Control, Handle, Shipper};

use args::{Args, Command, JournalArgs, ShipArgs};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    platform::telemetry::init();
    let done = match args.command {
        Some(Command::Check { config }) => check(config),
        Some(Command::Status { state_dir, json }) => status(&state_dir, json),
        Some(Command::Pipe(args)) => pipe(*args).await,
        Some(Command::Journal(args)) => journal(*args).await,
        None => ship(args.ship).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: std::path::PathBuf) -> anyhow::Result<()> {
    let config = ShipArgs::of_file(path).settings()?.config()?;
    let count: usize = config.files.iter().map(|files| files.paths.len()).sum();
    let mut out = std::io::stdout();
    writeln!(out, "well: {count} patterns, to {}", config.to.join(", "))?;
    Ok(())
}

fn status(state_dir: &std::path::Path, json: bool) -> anyhow::Result<()> {
    let report = operate::ask(state_dir)?;
    let text = if json { serde_json::to_string(&report)? } else { table::render(&report) };
    let mut out = std::io::stdout();
    writeln!(out, "{text}").context("cannot print the status")
}

/// For what is no file: the settings' first source says how lines are read; what it names is
/// shipped by who follows it.
fn spooled(args: &ShipArgs) -> anyhow::Result<(Config, Files)> {
    let mut settings = args.settings()?;
    let how = settings.files.drain(..).next().unwrap_or_default();
    settings.files = vec![Files { paths: vec!["/".to_owned()], ..how.clone() }];
    Ok((Config { until: args.until(), ..settings.config()? }, how))
}

async fn journal(args: JournalArgs) -> anyhow::Result<()> {
    let (config, how) = spooled(&args.ship)?;
    let journal = Journal { journalctl: args.journalctl, arguments: args.arguments };
    let shutdown = Shutdown::on_signals()?;
    Ok(journal::ship(config, journal, how, Clock::system(), shutdown).await?)
}

async fn pipe(args: ShipArgs) -> anyhow::Result<()> {
    let ((config, how), clock) = (spooled(&args)?, Clock::system());
    let shutdown = Shutdown::on_signals()?;
    shipper::pipe::pipe(config, how, tokio::io::stdin(), clock, shutdown).await?;
    // Somebody may still hold standard input open, and reading it cannot be called off.
    std::process::exit(0)
}

async fn ship(args: ShipArgs) -> anyhow::Result<()> {
    let settings = args.settings()?;
    let metrics_listen = settings.metrics_listen;
    let config = Config { until: args.until(), ..settings.config()? };
    let (clock, shutdown) = (Clock::system(), Shutdown::on_signals()?);
    // Before anything else: a SIGHUP that nobody waits for ends the process.
    let watch =
        args.config.clone().map(|path| SettingsWatch::new(path, clock.clone())).transpose()?;
    let (state_dir, metrics) = (config.state_dir.clone(), config.metrics.clone());
    tracing::info!(to = ?config.to, "shipping");
    let shipper = Shipper::start(config, clock.clone(), shutdown.clone())?;
    let control = shipper.control();
    if let Err(error) =
        operate::serve_status(&state_dir, control.clone(), clock.clone(), shutdown.clone())
    {
        tracing::warn!(%error, "no status can be asked for: the socket cannot be made");
    }
    if let Some(address) = metrics_listen {
        operate::serve_metrics(address, metrics, shutdown).await?;
    }
    match watch {
        Some(watch) => ship_and_reload(shipper, control, args, watch).await,
        None => Ok(shipper.join().await?),
    }
}

async fn ship_and_reload(
    shipper: Handle,
    control: Control,
    args: ShipArgs,
    mut watch: SettingsWatch,
) -> anyhow::Result<()> {
    let ended = shipper.join();
    tokio::pin!(ended);
    loop {
        tokio::select! {
            ended = &mut ended => return Ok(ended?),
            () = watch.changed() => {}
        }
        if let Err(error) = reload(&args, &control).await {
            tracing::error!("the new settings are not taken, the old ones hold: {error:#}");
        }
    }
}

async fn reload(args: &ShipArgs, control: &Control) -> anyhow::Result<()> {
    let config = Config { until: args.until(), ..args.settings()?.config()? };
    Ok(control.reload(config).await?)
}
