//! `sawlog-shipper`: the shipper as a process of its own.

mod args;
mod table;

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use model::wire::ShipperSettings;
use platform::clock::Clock;
use platform::shutdown::Shutdown;
use shipper::config::Until;
use shipper::feed::{Feed, Input};
use shipper::figures;
use shipper::journal::Journal;
use shipper::operate::{self, SettingsWatch};
use shipper::{Config, Control, Fetched, Handle, Settings, Shipper, masked};

use args::{Args, Command, JournalArgs, ShipArgs, SpanArgs};

/// Says to the C library how many heaps it may have.
const HEAPS: &str = "MALLOC_ARENA_MAX";
/// What is said of new settings that cannot be.
const REFUSED: &str = "the new settings are not taken, the old ones hold";

fn main() -> ExitCode {
    let args = Args::parse();
    if !matches!(args.command, Some(Command::Check { .. } | Command::Status { .. })) {
        with_one_heap();
    }
    run(args)
}

/// With a heap for each thread the C library keeps twice the memory. It reads its settings when a
/// program starts, so this one starts over, once, as the same process.
fn with_one_heap() {
    let Ok(program) = std::env::current_exe() else { return };
    if std::env::var_os(HEAPS).is_none() {
        let mut again = std::process::Command::new(program);
        again.args(std::env::args_os().skip(1)).env(HEAPS, "1");
        // It returns only when it failed; with more heaps everything works as well.
        drop(again.exec());
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(args: Args) -> ExitCode {
    platform::telemetry::init();
    let piped = matches!(args.command, Some(Command::Pipe(_)));
    let done = match args.command {
        Some(Command::Check { config, cluster: false }) => check(&config),
        Some(Command::Check { config, cluster: true }) => check_document(&config),
        Some(Command::Status { state_dir, json }) => status(&state_dir, json),
        Some(Command::Pipe(common)) => {
            let args = ShipArgs::of(*common, SpanArgs::default());
            ship(What::of(args, Some(Input::Stdin))).await
        }
        Some(Command::Journal(args)) => {
            let JournalArgs { common, span, journalctl, arguments } = *args;
            let input = Input::Journal(Journal { journalctl, arguments });
            ship(What::of(ShipArgs::of(common, span), Some(input))).await
        }
        None => ship(What::of(args.ship, None)).await,
    };
    let well = done.is_ok();
    if let Err(error) = done {
        tracing::error!("{error:#}");
    }
    if piped {
        // Somebody may still hold standard input open, and reading it cannot be called off.
        std::process::exit(i32::from(!well));
    }
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(path: &std::path::Path) -> anyhow::Result<()> {
    let settings = ShipArgs::of_file(path.to_owned()).settings()?;
    let is_whole = !settings.to.is_empty() && settings.state_dir.is_some();
    let config = settings.config().with_context(|| path.display().to_string());
    let config = match is_whole {
        true => config?,
        false => config.context("no settings of a server (what the cluster keeps: --cluster)")?,
    };
    let to: Vec<String> = config.to.iter().map(|url| masked(url)).collect();
    let mut out = std::io::stdout();
    writeln!(out, "well: {}, to {}", counted(&config), to.join(", "))?;
    for feed in &config.feeds {
        // Nothing is wrong with the settings, and all else is shipped meanwhile.
        if let Input::Journal(journal) = &feed.input
            && let Some(absent) = journal.absent()
        {
            writeln!(out, "waits for a journal: {absent}")?;
        }
    }
    Ok(())
}

/// How much is followed.
fn counted(config: &Config) -> String {
    let patterns: usize = config.files.iter().map(|files| files.paths.len()).sum();
    let patterns = match patterns {
        1 => "1 pattern".to_owned(),
        count => format!("{count} patterns"),
    };
    match config.feeds.len() {
        1 => format!("{patterns}, 1 source that is no file"),
        count => format!("{patterns}, {count} sources that are no files"),
    }
}

/// Whether shippers could use what the cluster would keep.
fn check_document(path: &std::path::Path) -> anyhow::Result<()> {
    let config = Fetched::check(path)?;
    writeln!(std::io::stdout(), "well for the cluster: {}", counted(&config))?;
    Ok(())
}

fn status(state_dir: &std::path::Path, json: bool) -> anyhow::Result<()> {
    let report = operate::ask(state_dir)?;
    let text = if json { serde_json::to_string(&report)? } else { table::render(&report) };
    let mut out = std::io::stdout();
    writeln!(out, "{text}").context("cannot print the status")
}

/// What was typed: settings, and a source that is shipped in place of theirs.
struct What {
    args: ShipArgs,
    input: Option<Input>,
    /// What the cluster says, if it is asked.
    fetched: Option<Fetched>,
    /// What holds from one start to the next.
    standing: Option<Standing>,
}

/// Settings that are not taken anew while the shipper runs.
struct Standing {
    state_dir: std::path::PathBuf,
    metrics_listen: Option<std::net::SocketAddr>,
}

impl What {
    fn of(args: ShipArgs, input: Option<Input>) -> Self {
        Self { args, input, fetched: None, standing: None }
    }

    /// What the server says alone.
    fn local(&self) -> anyhow::Result<Settings> {
        let mut settings = self.args.settings()?;
        if let Some(input) = &self.input {
            // The first source of the settings says how lines are read; what they name is shipped
            // by who follows it.
            let mut how = settings.files.drain(..).next().unwrap_or_default();
            (how.paths, how.excludes) = (Vec::new(), Vec::new());
            settings.journal.clear();
            settings.syslog.clear();
            settings.feeds = vec![Feed::new(input.clone(), how, None)];
            settings.settings_from_cluster = false;
        }
        Ok(settings)
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let local = self.local()?;
        match &self.fetched {
            Some(fetched) => Ok(fetched.over(local)?),
            None => Ok(local),
        }
    }

    fn config(&self) -> anyhow::Result<Config> {
        let until = match &self.input {
            Some(Input::Stdin) => Until::Fed,
            _ => self.args.until(),
        };
        let config = self.settings()?.config();
        let config = match &self.args.common.config {
            Some(path) => config.with_context(|| path.display().to_string())?,
            None => config?,
        };
        Ok(self.where_it_stands(Config { until, ..config }))
    }

    /// The settings with the state directory that is in use.
    fn where_it_stands(&self, mut config: Config) -> Config {
        if let Some(standing) = &self.standing {
            config.state_dir.clone_from(&standing.state_dir);
        }
        config
    }

    /// Says which of the new settings wait for the next start.
    fn tell_what_waits(&self) -> anyhow::Result<()> {
        let (Some(standing), settings) = (&self.standing, self.settings()?) else { return Ok(()) };
        if settings.state_dir.as_ref() != Some(&standing.state_dir) {
            tracing::warn!("the new state_dir holds from the next start on");
        }
        if settings.metrics_listen != standing.metrics_listen {
            tracing::warn!("the new metrics_listen holds from the next start on");
        }
        Ok(())
    }

    /// The next version of the cluster's settings, for who asks it.
    async fn next(&mut self) -> ShipperSettings {
        match (self.config(), &mut self.fetched) {
            (Ok(config), Some(fetched)) => fetched.next(&config).await,
            _ => std::future::pending().await,
        }
    }

    /// Takes it, if it can be used.
    async fn take(&mut self, other: ShipperSettings, control: &Control) -> anyhow::Result<()> {
        let config = Fetched::tried(&other, self.local()?)?.config()?;
        let config = Config { until: self.args.until(), ..config };
        control.reload(self.where_it_stands(config)).await?;
        tracing::info!(version = other.version, "the settings are the cluster's");
        if let Some(fetched) = &mut self.fetched {
            fetched.hold(other);
        }
        Ok(())
    }
}

async fn ship(mut what: What) -> anyhow::Result<()> {
    let (clock, shutdown) = (Clock::system(), Shutdown::on_signals()?);
    let local = what.local()?;
    if let Some(state_dir) = local.state_dir.filter(|_| local.settings_from_cluster) {
        what.fetched = Some(Fetched::kept(&state_dir, clock.clone()));
    }
    let config = what.config()?;
    let metrics_listen = what.settings()?.metrics_listen;
    what.standing = Some(Standing { state_dir: config.state_dir.clone(), metrics_listen });
    // Before anything else: a SIGHUP that nobody waits for ends the process.
    let path = what.args.common.config.clone().filter(|_| what.input.is_none());
    let watch = SettingsWatch::new(path, clock.clone())?;
    let (state_dir, metrics) = (config.state_dir.clone(), config.metrics.clone());
    let to: Vec<String> = config.to.iter().map(|url| masked(url)).collect();
    tracing::info!(?to, "shipping");
    let shipper = Shipper::start(config, clock.clone(), shutdown.clone())?;
    let control = shipper.control();
    operate::serve_status(&state_dir, control.clone(), clock.clone(), shutdown.clone());
    if let Some(address) = metrics_listen {
        figures::serve(address, metrics, control.clone(), clock, shutdown);
    }
    ship_and_reload(shipper, control, what, watch).await
}

async fn ship_and_reload(
    shipper: Handle,
    control: Control,
    mut what: What,
    mut watch: SettingsWatch,
) -> anyhow::Result<()> {
    let ended = shipper.join();
    tokio::pin!(ended);
    loop {
        let taken = tokio::select! {
            ended = &mut ended => return Ok(ended?),
            () = watch.changed() => reload(&what, &control).await,
            other = what.next() => what.take(other, &control).await,
        };
        let refused = taken.err().map(|error| format!("{REFUSED}: {error:#}"));
        if let Some(why) = &refused {
            tracing::error!("{why}");
        }
        control.settings_refused(refused);
    }
}

async fn reload(what: &What, control: &Control) -> anyhow::Result<()> {
    control.reload(what.config()?).await?;
    what.tell_what_waits()
}
