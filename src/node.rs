//! The node: everything of one machine wired together, started in order and stopped in order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Router};
use cluster::catalog::Catalog;
use cluster::meta::Metadata;
use cluster::queue::Queue;
use index::indexer::Indexer;
use index::metrics::IndexMetrics;
use index::searcher::{Parties, Searcher};
use index::settings::Settings;
use ingest::doors::{self, Audience, Doors, IngestState};
use ingest::metrics::IngestMetrics;
use ingest::partition::{Partition, Seeds};
use ingest::route::Partitions;
use model::partition::PartitionId;
use platform::clock::Clock;
use platform::disk::{Disk, Lock};
use platform::http::Access;
use platform::objects::Objects;
use platform::shutdown::Shutdown;
use platform::telemetry::{self, Metrics};
use query_ui::api::QueryState;
use query_ui::metrics::QueryMetrics;
use query_ui::plan::{Engine, QuerySettings};

use crate::args::{NodeArgs, RunArgs};
use crate::clustered::Clustered;
use crate::config::Config;
use crate::listeners;
use crate::operate;
use crate::readiness::Readiness;
use crate::removed;
use crate::starting::Starting;
use crate::status_source::{NodeStatus, Reader};
use crate::tell;

/// `sawlog run`: a node that also ships this machine's files.
pub(crate) fn run(args: RunArgs) -> Result<()> {
    ensure!(
        !args.ship.is_empty(),
        "name the files to ship: --ship '/var/log/**/*.log'; `sawlog node` runs without"
    );
    start(&args.node, Some(Shipping { paths: args.ship, labels: args.label }))
}

/// `sawlog node`.
pub(crate) fn node(args: &NodeArgs) -> Result<()> {
    start(args, None)
}

/// What the embedded shipper reads.
struct Shipping {
    paths: Vec<String>,
    labels: Vec<(String, String)>,
}

fn start(args: &NodeArgs, shipping: Option<Shipping>) -> Result<()> {
    let config = Config::load(args)?;
    if args.print_config {
        use std::io::Write as _;
        return Ok(std::io::stdout().write_all(config.print()?.as_bytes())?);
    }
    telemetry::init();
    // Held until nothing below the folder is open any more: who starts next may wait for it.
    let lock = Lock::take(&config.data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the node's event loop")?;
    let served = runtime.block_on(serve(config, shipping));
    if served.is_err() {
        // What was begun ends with the process: its threads would panic when the runtime goes before.
        std::mem::forget((runtime, lock));
    }
    served
}

/// What takes records: this node's own partitions, or its place in a cluster.
#[derive(Clone)]
pub(crate) enum Parts {
    /// All partitions are here.
    Solo(Arc<[Partition]>),
    /// Replicas of some are here.
    Clustered(Clustered),
}

impl Parts {
    /// The partitions' logs that are here.
    pub(crate) fn queues(&self) -> Vec<Arc<dyn Queue>> {
        match self {
            Self::Solo(partitions) => {
                partitions.iter().map(|one| Arc::new(one.clone()) as Arc<dyn Queue>).collect()
            }
            Self::Clustered(clustered) => {
                let replicas = clustered.fleet.replicas().into_iter();
                replicas.map(|one| Arc::new(one) as Arc<dyn Queue>).collect()
            }
        }
    }

    fn partitions(&self) -> Partitions {
        match self {
            Self::Solo(partitions) => Partitions::Solo(partitions.clone()),
            Self::Clustered(clustered) => Partitions::Fleet(clustered.fleet.clone()),
        }
    }

    /// Answers what other nodes ask of this one's records from now on, where there are others.
    fn answer(&self, searcher: &Searcher, engine: &Engine) {
        if let Self::Clustered(clustered) = self {
            clustered.answer(searcher.clone(), engine);
        }
    }

    /// What `sawlog cluster` asks.
    fn router(&self, config: &Config, readiness: &Readiness) -> Router {
        match self {
            Self::Clustered(clustered) => {
                let store = operate::StoreSeen::new(config.cluster.store.clone(), readiness);
                clustered.router().layer(Extension(store))
            }
            Self::Solo(_) => operate::router_alone(),
        }
    }

    /// The metadata of the cluster, where there is one.
    fn metadata(&self) -> Option<&Metadata> {
        match self {
            Self::Clustered(clustered) => Some(&clustered.metadata),
            Self::Solo(_) => None,
        }
    }

    /// How long this node has heard nothing of its cluster.
    pub(crate) fn silence(&self) -> Duration {
        match self {
            Self::Solo(_) => Duration::ZERO,
            Self::Clustered(clustered) => clustered.metadata.silence(),
        }
    }

    /// Gives to others what this node does, where there are others.
    async fn leave(&self) {
        if let Self::Clustered(clustered) = self {
            clustered.leave().await;
        }
    }

    /// Ends what writes.
    async fn stop(&self) -> Result<()> {
        match self {
            Self::Solo(partitions) => {
                let partitions = partitions.clone();
                let stop = move || partitions.iter().for_each(Partition::stop);
                tokio::task::spawn_blocking(stop).await.context("stopping failed")?;
            }
            Self::Clustered(clustered) => clustered.stop().await,
        }
        Ok(())
    }
}

/// What the whole node shares.
pub(crate) struct Base {
    pub(crate) config: Config,
    pub(crate) catalog: Catalog,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) ingest_metrics: IngestMetrics,
    pub(crate) shutdown: Shutdown,
    /// Where clients reach it.
    pub(crate) address: SocketAddr,
}

/// Opens everything below the data directory, serves until the wish to stop, then stops in the
/// order in which records flow: doors, queue, index.
async fn serve(config: Config, shipping: Option<Shipping>) -> Result<()> {
    let token = config.token()?;
    let access = Access::new(token.clone(), config.insecure);
    let listener = platform::http::bind(config.listen).await?;
    let address = listener.local_addr().context("the address is not known")?;
    let starting = Starting::begin(listener, &access).context("the address cannot be served")?;
    let (wish, shutdown) =
        (Shutdown::on_signals().context("cannot hear signals")?, Shutdown::default());
    let (clock, metrics) = (Clock::system(), Metrics::default());
    let catalog = Catalog::open_in(&config.data_dir)?;
    let ingest_metrics = IngestMetrics::new(&metrics);
    let base = Base { config, catalog, clock, metrics, ingest_metrics, shutdown, address };
    let node = base.catalog.node_id()?;
    let (parts, indexer) = tokio::select! {
        started = start_parts(&base) => started?,
        () = wish.wait() => return Ok(()),
    };
    let (leaving, ending) = (parts.clone(), base.shutdown.clone());
    tokio::spawn(async move {
        wish.wait().await;
        leaving.leave().await;
        ending.trigger();
    });
    let Base { config, catalog, clock, metrics, ingest_metrics, shutdown, .. } = base;
    let searcher = indexer.searcher();
    let engine = start_engine(&config, &searcher, &clock, &metrics)?;
    parts.answer(&searcher, &engine);
    let shipper = shipping
        .map(|shipping| ship(&config, address, token, shipping, &clock, &metrics, &shutdown));
    let shipper = shipper.transpose()?;
    let readiness = Readiness::watch(&searcher, &parts, &clock, &shutdown);
    let source = Arc::new(NodeStatus {
        node: node.to_string(),
        data_dir: config.data_dir.clone(),
        clock: clock.clone(),
        searcher,
        parts: parts.clone(),
        readiness: readiness.clone(),
        shipper: shipper.as_ref().map(|shipper| Box::new(shipper.status_reader()) as Reader),
    });
    let doors = Doors::open(
        IngestState::new(parts.partitions(), clock.clone(), ingest_metrics),
        catalog.clone(),
        &config.data_dir.join("doors"),
        &Disk::default(),
    )
    .context("what the doors remember cannot be read")?;
    let router = query_ui::api::router(QueryState::new(engine, source, shutdown.clone()))
        .merge(doors.router())
        .merge(operating(readiness.clone(), metrics))
        .merge(parts.router(&config, &readiness));
    let router = removed::answered(router, parts.metadata());
    let guarded =
        |router, audience| doors::translated(platform::http::named(access.guard(router)), audience);
    let more = listeners::open(&config, &router, &doors, guarded, &access, &shutdown).await?;

    let listener = starting.end(&clock).await.context("the address cannot be served")?;
    announce(address, readiness, &clock, &shutdown);
    let main = platform::http::serve(listener, guarded(router, Audience::All), shutdown.clone());
    let out = removed::serve(main, more, parts.metadata(), &clock).await?;
    if let Some(shipper) = shipper {
        shipper.join().await.context("the embedded shipper failed")?;
    }
    parts.stop().await?;
    tokio::task::spawn_blocking(move || indexer.join()).await.context("stopping failed")?;
    tracing::info!("stopped");
    out.map_or(Ok(()), Err)
}

/// The queue and the indexer on it.
async fn start_parts(base: &Base) -> Result<(Parts, Arc<Indexer>)> {
    if base.config.cluster.is_named() || base.catalog.local("cluster")?.is_some() {
        let clustered = Clustered::start(base).await?;
        let indexer = clustered.start_indexer(base).await?;
        return Ok((Parts::Clustered(clustered), indexer));
    }
    let roles = &base.config.cluster.roles;
    if roles != "all" {
        tracing::warn!(%roles, "this node is of no cluster, and does everything: roles count with --bootstrap or --join");
    }
    let partitions = open_partitions(&base.config, &base.clock, &base.ingest_metrics)?;
    let objects = local_objects(&base.config)?;
    objects.figures().register(&base.metrics);
    let parties =
        parties(base, index_settings(&base.config), objects, IndexMetrics::new(&base.metrics))?;
    let indexer = Indexer::start(parties, base.config.data_dir.clone(), base.shutdown.clone())?;
    for partition in &partitions {
        // What was published when the power failed has not been cut away yet.
        partition.trim(base.catalog.indexed_offset(partition.partition())?);
        indexer.take(Arc::new(partition.clone()), None)?;
    }
    Ok((Parts::Solo(partitions.into()), Arc::new(indexer)))
}

fn start_engine(
    config: &Config,
    searcher: &Searcher,
    clock: &Clock,
    metrics: &Metrics,
) -> Result<Engine> {
    let settings = QuerySettings {
        deadline: Duration::from_secs(config.query.timeout_s),
        concurrency_max: usize::try_from(config.query.concurrency_max).unwrap_or(usize::MAX),
        memory_bytes_max: usize::try_from(config.query.memory_bytes_max).unwrap_or(usize::MAX),
        table_rows_max: config.query.table_rows_max,
        ..QuerySettings::new(config.data_dir.join("spill"))
    };
    Engine::new(searcher.clone(), clock.clone(), settings, QueryMetrics::new(metrics))
        .context("cannot start the query engine")
}

/// Says that the node is ready as soon as it is, and until then why it is not, where that lasts.
fn announce(address: SocketAddr, readiness: Readiness, clock: &Clock, shutdown: &Shutdown) {
    let (clock, shutdown) = (clock.clone(), shutdown.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = readiness.begun(&clock, |lack| tell(&format!("not ready yet: {lack}"))) => {
                tell(&format!("Sawlog is ready: open http://{}", reachable(address)));
            }
            () = shutdown.wait() => {}
        }
    });
}

/// The address by which this machine reaches itself.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The partitions of a node of its own.
pub(crate) fn open_partitions(
    config: &Config,
    clock: &Clock,
    metrics: &IngestMetrics,
) -> Result<Vec<Partition>> {
    let open = |others: &[Partition], number: u32| {
        let folder = config.data_dir.join(format!("queue/{number:04}"));
        // One that is added knows the producers of the others: their streams may be its own by now. (A
        // lone file may be one that a crash left half made.)
        let is_old = platform::disk::names(&folder).is_ok_and(|names| names.len() > 1);
        let seeds = if is_old { Seeds::default() } else { Seeds::of(others) };
        let (id, settings) = (PartitionId(number), config.queue.settings());
        let (disk, clock) = (Disk::default(), clock.clone());
        Partition::open_behind(&seeds, (&folder, id), disk, clock, settings, metrics.clone())
    };
    let more = config.data_dir.join(format!("queue/{:04}", config.partitions));
    ensure!(
        !more.exists(),
        "there are more partitions in {} than the {} of the settings: partitions can be raised, not lowered",
        config.data_dir.display(),
        config.partitions
    );
    let mut partitions = Vec::new();
    for number in 0..config.partitions {
        let opened = open(&partitions, number).context("the queue cannot be opened")?;
        partitions.push(opened);
    }
    Ok(partitions)
}

/// The folder of splits.
pub(crate) fn local_objects(config: &Config) -> Result<Objects> {
    let folder = config.data_dir.join("objects");
    Objects::local(&folder).context("the folder of splits cannot be made")
}

/// Bounds of the indexer.
pub(crate) fn index_settings(config: &Config) -> Settings {
    let limits = &config.index;
    Settings {
        fresh_rows_max: limits.fresh_rows_max,
        fresh_bytes_max: limits.fresh_bytes_max,
        fresh_age_max: Duration::from_secs(limits.fresh_age_max_s),
        merge_fan_in: usize::try_from(limits.merge_fan_in).unwrap_or(usize::MAX),
        merge_rows_max: limits.merge_rows_max,
        cold_after: (limits.cold_after_s > 0).then(|| Duration::from_secs(limits.cold_after_s)),
        removed_kept: Duration::from_secs(limits.removed_kept_s),
        retention: Duration::from_secs(u64::from(limits.retention_days) * 86_400),
        disk_percent_max: u64::from(limits.disk_percent_max),
        disk_free_bytes_min: limits.disk_free_bytes_min,
        cache_bytes_max: limits.cache_bytes_max,
        page_bytes_max: limits.page_bytes_max,
    }
}

/// What the indexer is made of, on a node of its own.
pub(crate) fn parties(
    base: &Base,
    settings: Settings,
    objects: Objects,
    metrics: IndexMetrics,
) -> Result<Parties> {
    let data = &base.config.data_dir;
    Ok(Parties {
        node: base.catalog.node_id()?,
        keeper: None,
        remote: None,
        catalog: base.catalog.clone(),
        objects,
        work: data.join("work"),
        poison: data.join("poison"),
        clock: base.clock.clone(),
        settings,
        metrics,
    })
}

fn ship(
    config: &Config,
    address: SocketAddr,
    token: Option<String>,
    shipping: Shipping,
    clock: &Clock,
    metrics: &Metrics,
    shutdown: &Shutdown,
) -> Result<shipper::Handle> {
    let to = format!("http://{}", reachable(address));
    tell(&format!("shipping {}", shipping.paths.join(" ")));
    let own = config.data_dir.canonicalize().unwrap_or_else(|_| config.data_dir.clone());
    let mut settings = shipper::Config::new(to, config.data_dir.join("shipper"), shipping.paths);
    settings.token = token;
    settings.labels = shipping.labels;
    settings.metrics = metrics.clone();
    // Our own files must not be shipped to ourselves.
    settings.excludes.push(format!("{}/**", own.display()));
    Ok(shipper::Shipper::start(settings, clock.clone(), shutdown.clone())?)
}

/// Routes for who operates the node.
fn operating(readiness: Readiness, metrics: Metrics) -> Router {
    let ready = |State(readiness): State<Readiness>| async move {
        match readiness.lack() {
            None => (StatusCode::OK, readiness.words()),
            Some(lack) => (StatusCode::SERVICE_UNAVAILABLE, format!("{lack}\n")),
        }
    };
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        // As Loki and its shippers ask.
        .route("/ready", get(ready))
        .route("/metrics", get(move || async move { metrics.encode() }))
        .with_state(readiness)
}
