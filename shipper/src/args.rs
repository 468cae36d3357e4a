//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use shipper::config::Until;
use shipper::files::Files;
use shipper::{Settings, SettingsError, StartAt};

/// Follows files and sends their lines to Sawlog: nothing lost, nothing twice.
#[derive(Debug, Parser)]
#[command(name = "sawlog-shipper", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) ship: ShipArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Says whether a settings file can be used, and what is wrong in it
    Check {
        /// The file
        config: PathBuf,
        /// It holds what the cluster is to keep for its shippers, not the settings of one server
        #[arg(long)]
        cluster: bool,
    },
    /// Ships standard input: app | sawlog-shipper pipe --to URL --state-dir D --label service=app
    Pipe(Box<CommonArgs>),
    /// Ships systemd's journal, and goes on where it was: journal --to URL --state-dir D
    Journal(Box<JournalArgs>),
    /// Shows how far a running shipper is with every file
    Status {
        /// The state directory it runs with
        #[arg(long, value_name = "DIR")]
        state_dir: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// What every source that is shipped can have said of it.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct CommonArgs {
    /// File with settings; read again at SIGHUP and when it changes
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Address of a node; give several to have them tried in turn
    #[arg(long, value_name = "URL")]
    to: Vec<String>,
    /// Where checkpoints are kept
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A label of every record
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The index the records go to [default: main]
    #[arg(long, value_name = "NAME")]
    index: Option<String>,
    /// File that holds the token the nodes want
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Zone of times that state none, such as Europe/Berlin [default: the machine's]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Where /metrics is served, such as 127.0.0.1:7411
    #[arg(long, value_name = "ADDRESS")]
    metrics_listen: Option<std::net::SocketAddr>,
}

/// Of what has a beginning and an end: standard input has neither.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct SpanArgs {
    /// Where what was there before the first run begins [default: begin]
    #[arg(long, value_enum)]
    start_at: Option<Start>,
    /// Exit when everything is read and acknowledged
    #[arg(long)]
    once: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct JournalArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    pub(crate) span: SpanArgs,
    /// The program that reads the journal
    #[arg(long, value_name = "PROGRAM", default_value = "journalctl")]
    pub(crate) journalctl: PathBuf,
    /// More of its arguments, behind --: -- --unit=nginx --directory=/var/log/journal/remote
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) arguments: Vec<String>,
}

#[derive(Debug, Default, clap::Args)]
pub(crate) struct ShipArgs {
    #[command(flatten)]
    pub(crate) common: CommonArgs,
    #[command(flatten)]
    pub(crate) span: SpanArgs,
    /// Files to follow: *, ?, [a-z], {a,b}, and ** for folders of any depth
    #[arg(long = "path", value_name = "GLOB")]
    paths: Vec<String>,
    /// Of those, files not to follow
    #[arg(long = "exclude", value_name = "GLOB")]
    excludes: Vec<String>,
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

impl ShipArgs {
    /// Only that file, no flags.
    pub(crate) fn of_file(path: PathBuf) -> Self {
        Self::of(CommonArgs { config: Some(path), ..CommonArgs::default() }, SpanArgs::default())
    }

    /// No files of their own.
    pub(crate) fn of(common: CommonArgs, span: SpanArgs) -> Self {
        Self { common, span, ..Self::default() }
    }

    /// What the file says, and over it what the flags say.
    pub(crate) fn settings(&self) -> Result<Settings, SettingsError> {
        if self.paths.is_empty() && !self.excludes.is_empty() {
            return Err(SettingsError::LoneExclude);
        }
        let (common, span) = (&self.common, &self.span);
        let mut settings = match &common.config {
            Some(path) => Settings::read(path)?,
            None => Settings::default(),
        };
        if !common.to.is_empty() {
            settings.to.clone_from(&common.to);
        }
        if !self.paths.is_empty() {
            settings.files.push(Files::new(self.paths.clone(), self.excludes.clone()));
        }
        settings.labels.extend(common.labels.iter().cloned());
        let start_at = span.start_at.map(|start| match start {
            Start::Begin => StartAt::Begin,
            Start::End => StartAt::End,
        });
        settings.state_dir = common.state_dir.clone().or(settings.state_dir);
        settings.index = common.index.clone().or(settings.index);
        settings.token_file = common.token_file.clone().or(settings.token_file);
        settings.time_zone = common.time_zone.clone().or(settings.time_zone);
        settings.start_at = start_at.or(settings.start_at);
        settings.metrics_listen = common.metrics_listen.or(settings.metrics_listen);
        Ok(settings)
    }

    /// When to stop.
    pub(crate) fn until(&self) -> Until {
        if self.span.once { Until::Done } else { Until::Stopped }
    }
}
