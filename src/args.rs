//! What can be typed after `sawlog`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use cluster::peer::PROTOCOL;

/// Sawlog collects the logs of every server and makes them searchable in one place.
#[derive(Debug, Parser)]
#[command(name = "sawlog", version, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a node that also ships this machine's files: the laptop case
    Run(RunArgs),
    /// Start a node; records come over the network
    Node(NodeArgs),
    /// Search, newest first: sawlog search 'error | stats count() by service'
    Search(SearchArgs),
    /// Ask in SQL: sawlog query "SELECT host, count(*) FROM logs WHERE matches('error') GROUP BY 1"
    Query(QueryArgs),
    /// Follow new records that match
    Tail(TailArgs),
    /// Send existing files, also .gz and .zst; each is stored once however often it is sent
    Import(ImportArgs),
    /// Show partitions, lag, splits and disk of a node
    Status(StatusArgs),
    /// Delete records that match, for good
    Delete(DeleteArgs),
    /// Pack the splits of an index for size now, whatever their age
    Compact(CompactArgs),
    /// Look into splits on disk, without a node
    Split(SplitArgs),
    /// Show and change the cluster a node belongs to
    #[command(subcommand)]
    Cluster(ClusterCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Nodes, partitions with their leaders and lag, copies that are missing
    Status(StatusArgs),
    /// Move what a node keeps to others; it stays in the cluster and takes no new work
    Drain(NodeNameArgs),
    /// Let a drained node work again
    Undrain(NodeNameArgs),
    /// Take a node out for good: others make the copies that it had
    Remove(NodeNameArgs),
    /// Tell the command that makes a new machine one of its nodes
    Add(AddArgs),
    /// Make certificates for mutual TLS between nodes: sawlog cluster certs DIR NODE…
    Certs(CertsArgs),
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct NodeNameArgs {
    /// The node: its id, the beginning of it, or its address
    pub(crate) node: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct CertsArgs {
    /// Folder of the authority, made when it is not there; each node's certificate gets a folder in it
    pub(crate) folder: PathBuf,
    /// Names of the nodes
    #[arg(required = true)]
    pub(crate) nodes: Vec<String>,
    /// Make new ones for nodes that have certificates
    #[arg(long)]
    pub(crate) renew: bool,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct NodeArgs {
    /// Settings file; flags win over it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where all state is kept [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Address of UI, API and ingest [default: 127.0.0.1:7410]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<SocketAddr>,
    /// Another address, for clients of Elasticsearch that cannot be told the path /es
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) es_listen: Option<SocketAddr>,
    /// Another address for OTLP over HTTP, where clients expect port 4318
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) otlp_listen: Option<SocketAddr>,
    /// Address for OTLP over gRPC, as a rule port 4317
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:4317")]
    pub(crate) otlp_grpc_listen: Option<SocketAddr>,
    /// Address for syslog over UDP and TCP, as a rule port 5514
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:5514")]
    pub(crate) syslog_listen: Option<SocketAddr>,
    /// Address for syslog over TLS, as a rule port 6514; needs a certificate in the settings file
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:6514")]
    pub(crate) syslog_tls_listen: Option<SocketAddr>,
    /// Address for Fluentd's and Fluent Bit's forward output, as a rule port 24224
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:24224")]
    pub(crate) fluent_listen: Option<SocketAddr>,
    /// Address for GELF over UDP and TCP, as a rule port 12201
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:12201")]
    pub(crate) gelf_listen: Option<SocketAddr>,
    /// Brokers of Kafka to read topics from; more can be said in the settings file
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) kafka_brokers: Vec<String>,
    /// Topics to read there, or patterns that begin with ^
    #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
    pub(crate) kafka_topics: Vec<String>,
    /// File with the token that every request must carry
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Listen beyond this machine without any token
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Found a cluster: this is its first node
    #[arg(long, conflicts_with = "join")]
    pub(crate) bootstrap: bool,
    /// Join the cluster of one of these nodes, at their addresses for other nodes
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub(crate) join: Vec<String>,
    /// Address for other nodes [default: that of --listen, one port higher]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) peer_listen: Option<SocketAddr>,
    /// Where other nodes reach this one, when that is another address
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
    /// What this node does: ingest, index, query [default: all]
    #[arg(long, value_name = "LIST")]
    pub(crate) roles: Option<String>,
    /// Folder with ca.crt, node.crt and node.key for mutual TLS between nodes
    #[arg(long, value_name = "DIR")]
    pub(crate) cluster_tls: Option<PathBuf>,
    /// Keep splits in a store that all nodes share, such as s3://bucket/prefix
    #[arg(long, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Speak to other nodes as a program of this version of their protocol: for tests of neighbours
    #[arg(
        long,
        hide = true,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(PROTOCOL))
    )]
    pub(crate) protocol: Option<u32>,
    /// Show the settings that result, and stop
    #[arg(long)]
    pub(crate) print_config: bool,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct RunArgs {
    /// Files to ship, `**` crosses folders; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub(crate) ship: Vec<String>,
    /// Label of every record shipped from here; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) node: NodeArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ServerArgs {
    /// The node to ask
    #[arg(
        long,
        value_name = "URL",
        env = "SAWLOG_SERVER",
        default_value = "http://127.0.0.1:7410"
    )]
    pub(crate) server: String,
    /// File with the node's token
    #[arg(long, value_name = "FILE", env = "SAWLOG_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    Table,
    /// Messages as they were logged (or values, tab separated)
    Raw,
    /// One JSON object a line
    Ndjson,
}

/// The time that is asked.
#[derive(Debug, Clone, ClapArgs)]
#[command(group(ArgGroup::new("when").args(["last", "all"]).conflicts_with_all(["from", "to"])))]
pub(crate) struct WhenArgs {
    /// How far back: 15m, 2h, 7d [default: 24h]
    #[arg(long, value_name = "SPAN")]
    pub(crate) last: Option<String>,
    /// First moment: RFC 3339, epoch, or relative such as -2h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) from: Option<String>,
    /// First moment after
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) to: Option<String>,
    /// All of time
    #[arg(long)]
    pub(crate) all: bool,
}

impl WhenArgs {
    /// Whether anything was said.
    pub(crate) fn is_chosen(&self) -> bool {
        self.all || self.last.is_some() || self.from.is_some() || self.to.is_some()
    }

    /// First moment, first moment after; the last day when nothing was said.
    pub(crate) fn range(&self) -> (Option<String>, Option<String>) {
        let from = match (&self.from, &self.last) {
            (Some(from), _) => Some(from.clone()),
            (None, Some(last)) => Some(format!("-{}", last.trim_start_matches('-'))),
            (None, None) if self.is_chosen() => None,
            (None, None) => Some("-24h".to_owned()),
        };
        (from, self.to.clone())
    }
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct SearchArgs {
    /// Words and pipes; see docs/query.md. Everything when left out
    #[arg(default_value = "")]
    pub(crate) query: String,
    #[command(flatten)]
    pub(crate) when: WhenArgs,
    /// Records at most; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: u64,
    /// Only this index; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) index: Vec<String>,
    /// Table on a terminal, NDJSON in a pipe
    #[arg(long)]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct QueryArgs {
    /// A SELECT over the table logs; matches('…') takes a search
    pub(crate) sql: String,
    #[command(flatten)]
    pub(crate) when: WhenArgs,
    /// Only this index; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) index: Vec<String>,
    /// Table on a terminal, NDJSON in a pipe
    #[arg(long)]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct DeleteArgs {
    /// A search without pipes; * is every record
    pub(crate) query: String,
    #[command(flatten)]
    pub(crate) when: WhenArgs,
    /// Only this index; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) index: Vec<String>,
    /// Do not ask before
    #[arg(long)]
    pub(crate) yes: bool,
    /// Wait until the records are gone from the disk
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct CompactArgs {
    /// The index
    #[arg(value_name = "INDEX")]
    pub(crate) index: String,
    /// Wait until it is done
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct TailArgs {
    /// A search without pipes; everything when left out
    #[arg(default_value = "")]
    pub(crate) query: String,
    /// Table on a terminal, NDJSON in a pipe
    #[arg(long)]
    pub(crate) format: Option<Format>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ImportArgs {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The index that takes them
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) index: String,
    /// Label of every record; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
    /// Zone of time stamps that name none, such as Europe/Berlin [default: this machine's]
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusFormat {
    /// For people
    Table,
    /// As the API gives it
    Json,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct StatusArgs {
    /// How to show it
    #[arg(long, default_value = "table")]
    pub(crate) format: StatusFormat,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a label is written NAME=VALUE".to_owned()),
    }
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct SplitArgs {
    #[command(subcommand)]
    pub(crate) command: SplitCommand,
}

#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SplitCommand {
    /// Show what a split is made of: bytes by part, templates
    Dump {
        /// Its folder: DATA/objects/splits/ID
        folder: PathBuf,
        /// Templates to show, those with most rows first
        #[arg(long, value_name = "N", default_value_t = 20)]
        templates: usize,
        /// How to show it
        #[arg(long, default_value = "table")]
        format: StatusFormat,
    },
    /// Read every byte of splits and compare what is known twice
    Check {
        /// Their folders: DATA/objects/splits/ID
        #[arg(required = true)]
        folders: Vec<PathBuf>,
    },
}
