//! Settings of a node: as typed (`RawConfig`, a TOML file and flags) and as used (`Config`).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use cluster::peer::PROTOCOL;
use model::node::Roles;
use serde::{Deserialize, Serialize};

use crate::args::NodeArgs;
use crate::kafka::KafkaConfig;
use crate::listeners::SyslogConfig;
use crate::queue::QueueConfig;

/// Partitions of a cluster's queue, unless said otherwise: a few for each of its first nodes.
const CLUSTER_PARTITIONS: u32 = 6;

/// The settings file, as typed. Everything may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConfig {
    listen: Option<SocketAddr>,
    es_listen: Option<SocketAddr>,
    otlp_listen: Option<SocketAddr>,
    otlp_grpc_listen: Option<SocketAddr>,
    syslog_listen: Option<SocketAddr>,
    syslog_tls_listen: Option<SocketAddr>,
    fluent_listen: Option<SocketAddr>,
    fluent_key_file: Option<PathBuf>,
    gelf_listen: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    token_file: Option<PathBuf>,
    insecure: bool,
    partitions: Option<u32>,
    cluster: RawCluster,
    syslog: SyslogConfig,
    kafka: Vec<KafkaConfig>,
    queue: QueueConfig,
    index: RawIndex,
    query: RawQuery,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCluster {
    bootstrap: bool,
    join: Vec<String>,
    listen: Option<SocketAddr>,
    advertise: Option<String>,
    roles: Option<String>,
    tls: Option<PathBuf>,
    store: Option<String>,
    store_cache_bytes_max: Option<u64>,
    gone_after_s: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawIndex {
    fresh_rows_max: Option<u64>,
    fresh_bytes_max: Option<u64>,
    fresh_age_max_s: Option<u64>,
    merge_fan_in: Option<u32>,
    merge_rows_max: Option<u64>,
    cold_after_s: Option<u64>,
    removed_kept_s: Option<u64>,
    retention_days: Option<u32>,
    disk_percent_max: Option<u32>,
    disk_free_bytes_min: Option<u64>,
    cache_bytes_max: Option<u64>,
    page_bytes_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawQuery {
    timeout_s: Option<u64>,
    concurrency_max: Option<u32>,
    memory_bytes_max: Option<u64>,
    table_rows_max: Option<u64>,
}

/// The settings of a node, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Config {
    /// Address of UI, API and ingest.
    pub(crate) listen: SocketAddr,
    /// Another address, for clients of Elasticsearch that cannot be told the path `/es`.
    pub(crate) es_listen: Option<SocketAddr>,
    /// Another address for OTLP over HTTP.
    pub(crate) otlp_listen: Option<SocketAddr>,
    /// Address for OTLP over gRPC.
    pub(crate) otlp_grpc_listen: Option<SocketAddr>,
    /// Address for syslog over UDP and TCP. Its senders show no token.
    pub(crate) syslog_listen: Option<SocketAddr>,
    /// Address for syslog over TLS.
    pub(crate) syslog_tls_listen: Option<SocketAddr>,
    /// Address for the forward protocol of Fluentd.
    pub(crate) fluent_listen: Option<SocketAddr>,
    /// File with the key that its senders must share.
    pub(crate) fluent_key_file: Option<PathBuf>,
    /// Address for GELF over UDP and TCP. Its senders show no token.
    pub(crate) gelf_listen: Option<SocketAddr>,
    /// Where all state is kept.
    pub(crate) data_dir: PathBuf,
    /// File with the token that every request must carry.
    pub(crate) token_file: Option<PathBuf>,
    /// Whether to listen beyond this machine without a token.
    pub(crate) insecure: bool,
    /// Partitions of the queue; it may grow, not shrink.
    pub(crate) partitions: u32,
    /// The node's place in a cluster.
    pub(crate) cluster: ClusterConfig,
    /// Certificate and zone of the syslog listeners.
    pub(crate) syslog: SyslogConfig,
    /// Topics that are read from Kafka.
    pub(crate) kafka: Vec<KafkaConfig>,
    /// Bounds of the queue on disk.
    pub(crate) queue: QueueConfig,
    /// Fresh records, splits, merging and retention.
    pub(crate) index: IndexConfig,
    /// Bounds of queries.
    pub(crate) query: QueryConfig,
}

/// The node's place in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ClusterConfig {
    /// Whether this node founds a cluster.
    pub(crate) bootstrap: bool,
    /// Nodes that let it in.
    pub(crate) join: Vec<String>,
    /// Address for other nodes.
    pub(crate) listen: SocketAddr,
    /// Where they reach it.
    pub(crate) advertise: String,
    /// What it does.
    pub(crate) roles: String,
    /// Folder with certificates.
    pub(crate) tls: Option<PathBuf>,
    /// A store that all nodes share.
    pub(crate) store: Option<String>,
    /// Bytes of this node's disk that what comes from there may take.
    pub(crate) store_cache_bytes_max: u64,
    /// Seconds after which a node that is down is not expected back.
    pub(crate) gone_after_s: u64,
    /// The version of the nodes' protocol that it speaks: the newest but in tests.
    #[serde(skip)]
    pub(crate) protocol: u32,
}

impl ClusterConfig {
    fn complete(raw: RawCluster, args: &NodeArgs, main: SocketAddr) -> Self {
        // Port 0 is any free one for both.
        let beside = if main.port() == 0 { 0 } else { main.port().saturating_add(1) };
        let listen = args.peer_listen.or(raw.listen).unwrap_or_else(|| (main.ip(), beside).into());
        let advertise = args.advertise.clone().or(raw.advertise);
        Self {
            bootstrap: args.bootstrap || raw.bootstrap && args.join.is_empty(),
            join: if args.join.is_empty() { raw.join } else { args.join.clone() },
            listen,
            advertise: advertise.unwrap_or_else(|| listen.to_string()),
            roles: args.roles.clone().or(raw.roles).unwrap_or_else(|| "all".to_owned()),
            tls: args.cluster_tls.clone().or(raw.tls),
            store: args.store.clone().or(raw.store),
            store_cache_bytes_max: raw.store_cache_bytes_max.unwrap_or(10 << 30),
            gone_after_s: raw.gone_after_s.unwrap_or(600),
            protocol: args.protocol.unwrap_or(PROTOCOL),
        }
    }

    /// Partitions of the queue, unless said otherwise.
    fn partitions(&self) -> u32 {
        match (self.bootstrap, self.join.is_empty()) {
            (true, _) => CLUSTER_PARTITIONS,
            (false, true) => 1,
            (false, false) => 0,
        }
    }

    /// Whether the settings say that there is a cluster.
    pub(crate) fn is_named(&self) -> bool {
        self.bootstrap || !self.join.is_empty()
    }

    fn check(&self, main: SocketAddr, insecure: bool) -> Result<()> {
        Roles::parse(&self.roles).map_err(|words| anyhow!("cluster.roles: {words}"))?;
        ensure!(
            !self.bootstrap || self.join.is_empty(),
            "--bootstrap founds a cluster, --join enters one: give one of them"
        );
        if let Some(wrong) = self.join.iter().find(|text| !crate::clustered::is_address(text)) {
            bail!("--join {wrong:?} is no HOST:PORT where nodes hear each other (--peer-listen)");
        }
        if !self.is_named() {
            return Ok(());
        }
        if !self.listen.ip().is_loopback() && self.tls.is_none() && !insecure {
            bail!(
                "other machines reach {} and no certificates are set: make them with `sawlog cluster certs DIR NODE` and give --cluster-tls DIR/NODE, or --insecure if everybody may be a node",
                self.listen
            );
        }
        let is_apart = self.listen != main || main.port() == 0;
        ensure!(is_apart, "--listen and --peer-listen are both {main}: they need an address each");
        let unspecified =
            self.advertise.starts_with("0.0.0.0:") || self.advertise.starts_with("[::]:");
        ensure!(
            !unspecified,
            "other nodes cannot reach {}: give --advertise HOST:PORT",
            self.advertise
        );
        Ok(())
    }
}

/// Fresh records, splits, merging and retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct IndexConfig {
    /// Fresh records of a partition at which a split is cut.
    pub(crate) fresh_rows_max: u64,
    /// Bytes of fresh records at which a split is cut.
    pub(crate) fresh_bytes_max: u64,
    /// Age of the oldest fresh record at which a split is cut, seconds.
    pub(crate) fresh_age_max_s: u64,
    /// Splits of one size that are merged into one.
    pub(crate) merge_fan_in: u32,
    /// Rows of a split that merging does not exceed.
    pub(crate) merge_rows_max: u64,
    /// Age of records at which splits that are done are packed for size, seconds; 0 is never.
    pub(crate) cold_after_s: u64,
    /// How long objects of splits that are no more stay for answers of other nodes, seconds.
    pub(crate) removed_kept_s: u64,
    /// Days that records are kept.
    pub(crate) retention_days: u32,
    /// Share of the disk that Sawlog may take, percent.
    pub(crate) disk_percent_max: u32,
    /// Bytes of the disk that Sawlog leaves free.
    pub(crate) disk_free_bytes_min: u64,
    /// Bytes of opened splits kept in memory.
    pub(crate) cache_bytes_max: u64,
    /// Bytes of unpacked pages of splits kept in memory.
    pub(crate) page_bytes_max: u64,
}

/// Bounds of queries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct QueryConfig {
    /// Seconds a query may take.
    pub(crate) timeout_s: u64,
    /// Queries at one time; more are told to come again.
    pub(crate) concurrency_max: u32,
    /// Bytes of memory one query may take for sorting and grouping.
    pub(crate) memory_bytes_max: u64,
    /// Rows that a table of an answer may have; an export has all.
    pub(crate) table_rows_max: u64,
}

impl Config {
    /// Reads the settings file, if one is named; flags win over it.
    ///
    /// # Errors
    /// What is wrong and what to do: an unreadable or unknown setting, a value out of range, an
    /// address beyond this machine without a token.
    pub(crate) fn load(args: &NodeArgs) -> Result<Self> {
        let raw = match &args.config {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the settings in {}", path.display()))?;
                Self::parse(&text).with_context(|| format!("in {}", path.display()))?
            }
            None => RawConfig::default(),
        };
        Self::complete(raw, args)
    }

    fn parse(text: &str) -> Result<RawConfig> {
        Ok(toml::from_str(text)?)
    }

    fn complete(raw: RawConfig, args: &NodeArgs) -> Result<Self> {
        let listen = args.listen.or(raw.listen).unwrap_or((Ipv4Addr::LOCALHOST, 7410).into());
        let cluster = ClusterConfig::complete(raw.cluster, args, listen);
        let config = Self {
            listen,
            es_listen: args.es_listen.or(raw.es_listen),
            otlp_listen: args.otlp_listen.or(raw.otlp_listen),
            otlp_grpc_listen: args.otlp_grpc_listen.or(raw.otlp_grpc_listen),
            syslog_listen: args.syslog_listen.or(raw.syslog_listen),
            syslog_tls_listen: args.syslog_tls_listen.or(raw.syslog_tls_listen),
            fluent_listen: args.fluent_listen.or(raw.fluent_listen),
            fluent_key_file: raw.fluent_key_file,
            gelf_listen: args.gelf_listen.or(raw.gelf_listen),
            data_dir: args.data_dir.clone().or(raw.data_dir).unwrap_or_else(|| "data".into()),
            token_file: args.token_file.clone().or(raw.token_file),
            insecure: args.insecure || raw.insecure,
            partitions: raw.partitions.unwrap_or_else(|| cluster.partitions()),
            cluster,
            syslog: raw.syslog,
            kafka: KafkaConfig::complete(raw.kafka, args)?,
            queue: raw.queue,
            index: IndexConfig {
                fresh_rows_max: raw.index.fresh_rows_max.unwrap_or(256 << 10),
                fresh_bytes_max: raw.index.fresh_bytes_max.unwrap_or(64 << 20),
                fresh_age_max_s: raw.index.fresh_age_max_s.unwrap_or(300),
                merge_fan_in: raw.index.merge_fan_in.unwrap_or(8),
                merge_rows_max: raw.index.merge_rows_max.unwrap_or(1_000_000),
                cold_after_s: raw.index.cold_after_s.unwrap_or(7 * 86_400),
                removed_kept_s: raw.index.removed_kept_s.unwrap_or(60),
                retention_days: raw.index.retention_days.unwrap_or(30),
                disk_percent_max: raw.index.disk_percent_max.unwrap_or(80),
                disk_free_bytes_min: raw.index.disk_free_bytes_min.unwrap_or(2 << 30),
                cache_bytes_max: raw.index.cache_bytes_max.unwrap_or(128 << 20),
                page_bytes_max: raw.index.page_bytes_max.unwrap_or(64 << 20),
            },
            query: QueryConfig {
                timeout_s: raw.query.timeout_s.unwrap_or(60),
                concurrency_max: raw.query.concurrency_max.unwrap_or(16),
                memory_bytes_max: raw.query.memory_bytes_max.unwrap_or(256 << 20),
                table_rows_max: raw.query.table_rows_max.unwrap_or(1_000_000),
            },
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        // Who joins takes as many as there are.
        let least = u32::from(self.cluster.join.is_empty());
        ensure!((least..=64).contains(&self.partitions), "partitions must be 1 to 64");
        ensure!(self.index.fresh_rows_max >= 1, "index.fresh_rows_max must be at least 1");
        ensure!(
            self.index.fresh_bytes_max >= 1 << 10,
            "index.fresh_bytes_max must be at least 1024"
        );
        ensure!(self.index.fresh_age_max_s >= 1, "index.fresh_age_max_s must be at least 1");
        ensure!(self.index.merge_fan_in >= 2, "index.merge_fan_in must be at least 2");
        ensure!(self.index.retention_days >= 1, "index.retention_days must be at least 1");
        ensure!(
            (1..=100).contains(&self.index.disk_percent_max),
            "index.disk_percent_max must be 1 to 100"
        );
        ensure!(self.query.timeout_s >= 1, "query.timeout_s must be at least 1");
        ensure!(self.query.concurrency_max >= 1, "query.concurrency_max must be at least 1");
        ensure!(
            self.query.memory_bytes_max >= 1 << 20,
            "query.memory_bytes_max must be at least 1 MiB"
        );
        self.queue.check()?;
        ensure!(self.query.table_rows_max >= 1, "query.table_rows_max must be at least 1");
        self.cluster.check(self.listen, self.insecure)?;
        KafkaConfig::check(&self.kafka)?;
        if self.syslog_tls_listen.is_some() {
            self.syslog.tls()?;
        }
        // Those of syslog and GELF know no token: who names their address beyond this machine
        // lets everybody there write, and nobody read.
        let listeners =
            [Some(self.listen), self.es_listen, self.otlp_listen, self.otlp_grpc_listen];
        if let Some(address) = self.fluent_listen
            && !address.ip().is_loopback()
            && self.fluent_key_file.is_none()
            && !self.insecure
        {
            bail!(
                "{address} can be reached from other machines and its senders share no key: name a file \
                 with one as fluent_key_file in the settings, or give --insecure"
            );
        }
        for address in listeners.into_iter().flatten() {
            if !address.ip().is_loopback() && self.token_file.is_none() && !self.insecure {
                bail!(
                    "{address} can be reached from other machines and no token is set: give --token-file FILE \
                     (any secret text in it), or --insecure if everybody may read and write"
                );
            }
        }
        Ok(())
    }

    /// The token that requests must carry, if one is set.
    ///
    /// # Errors
    /// The file cannot be read or holds no token.
    pub(crate) fn token(&self) -> Result<Option<String>> {
        self.token_file.as_deref().map(read_token).transpose()
    }

    /// The key that senders of the forward protocol share, if one is set.
    ///
    /// # Errors
    /// The file cannot be read or holds no key.
    pub(crate) fn fluent_key(&self) -> Result<Option<String>> {
        self.fluent_key_file.as_deref().map(read_token).transpose()
    }

    /// The settings as a TOML text that gives them again.
    pub(crate) fn print(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }
}

/// Reads a token from a file: its text without white space at the ends.
///
/// # Errors
/// The file cannot be read, or the token is too short to be one.
pub(crate) fn read_token(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the token in {}", path.display()))?;
    let token = text.trim();
    ensure!(
        token.len() >= 8 && token.bytes().all(|b| b.is_ascii_graphic()),
        "{} must hold a token of at least 8 visible ASCII characters: `openssl rand -hex 32 > {}` makes one",
        path.display(),
        path.display()
    );
    Ok(token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(toml: &str, expected: Result<(), &str>) {
        let given = Config::parse(toml)
            .and_then(|raw| Config::complete(raw, &NodeArgs::default()))
            .map(|_| ())
            .map_err(|error| format!("{error:#}"));
        match (given, expected) {
            (Ok(()), Ok(())) => {}
            (Err(given), Err(expected)) => assert!(given.contains(expected), "{given}"),
            (given, expected) => panic!("{given:?}, expected {expected:?}"),
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        check("", Ok(()));
        check("listne = '127.0.0.1:1'", Err("listne"));
        check("[index]\nretention_days = 0", Err("retention_days"));
        check("[index]\ncold_after_s = 0", Ok(()));
        check("[queue]\nsegment_bytes_max = 65536\nbytes_max = 262144", Ok(()));
        check("[queue]\nbytes_max = 67108864", Err("queue.bytes_max"));
        check("[queue]\nsegment_bytes_max = 67108865", Err("queue.segment_bytes_max"));
        check("listen = '0.0.0.0:7410'", Err("--token-file"));
        check("listen = '0.0.0.0:7410'\ninsecure = true", Ok(()));
        check("es_listen = '0.0.0.0:9200'", Err("0.0.0.0:9200"));
        check("[cluster]\nbootstrap = true", Ok(()));
        check("[cluster]\nroles = 'ingset'", Err("ingset"));
        check("[cluster]\nbootstrap = true\nlisten = '127.0.0.1:7410'", Err("an address each"));
        check("[cluster]\nbootstrap = true\njoin = ['a:1']", Err("--join"));
        check("[cluster]\njoin = ['http://a:1']", Err("HOST:PORT"));
        check("[cluster]\njoin = ['a:1']\nlisten = '10.0.0.1:7411'", Err("sawlog cluster certs"));
        check(
            "insecure = true\n[cluster]\njoin = ['a:1']\nlisten = '0.0.0.0:7411'",
            Err("--advertise"),
        );
        check("fluent_listen = '0.0.0.0:24224'", Err("fluent_key_file"));
        check("syslog_listen = '0.0.0.0:5514'", Ok(()));
        check("syslog_tls_listen = '0.0.0.0:6514'", Err("certificate_file"));
    }

    #[test]
    fn wrong_topics_are_named() {
        let source = |more: &str| format!("[[kafka]]\nbrokers = ['a:1']\ntopics = ['t']\n{more}");
        check(&source("start = 'now'"), Err("earliest"));
        check(&source("index = 'A'"), Err("index"));
        check(&source("[kafka.labels]\ntopic = 'x'"), Err("labels"));
        check(&source(&source("")), Err("each needs its own"));
        check("[[kafka]]\nbrokers = []\ntopics = ['t']", Err("broker"));
        check(&source("[kafka.properties]\n'group.id' = 'g'"), Err("the name of the source"));
        let good = source("name = 'shop'\n[kafka.properties]\n'fetch.wait.max.ms' = '100'");
        #[cfg(feature = "kafka")]
        check(&good, Ok(()));
        #[cfg(not(feature = "kafka"))]
        check(&good, Err("built without Kafka"));
    }

    #[test]
    fn what_is_printed_reads_back() {
        let config = Config::complete(RawConfig::default(), &NodeArgs::default()).unwrap();
        let raw = Config::parse(&config.print().unwrap()).unwrap();
        assert_eq!(Config::complete(raw, &NodeArgs::default()).unwrap(), config);
    }

    #[test]
    fn the_settings_we_ship_are_good() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/config");
        let mut count = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let args = NodeArgs { config: Some(file.unwrap().path()), ..NodeArgs::default() };
            Config::load(&args).unwrap();
            count += 1;
        }
        assert!(count >= 2);
    }
}
