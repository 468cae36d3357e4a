//! The node: everything of one machine wired together, started in order and stopped in order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use cluster::catalog::Catalog;
use cluster::queue::Queue;
use index::indexer::Indexer;
use index::metrics::IndexMetrics;
use index::retain::IndexDocuments;
use index::searcher::{Parties, Searcher};
use index::settings::Settings;
use ingest::doors::{self, Audience, Doors, IngestState};
use ingest::metrics::IngestMetrics;
use ingest::partition::{Partition, PartitionSettings};
use ingest::route::Partitions;
use model::partition::PartitionId;
use model::wire::{DiskStatus, PartitionStatus, ShipperStatus, Status};
use platform::clock::Clock;
use platform::disk::{self, Disk, Lock};
use platform::http::Access;
use platform::objects::Objects;
use platform::shutdown::Shutdown;
use platform::telemetry::{self, Metrics};
use query_ui::api::{QueryState, StatusSource, index_status};
use query_ui::metrics::QueryMetrics;
use query_ui::plan::{Engine, QuerySettings};

use crate::args::{NodeArgs, RunArgs};
use crate::config::Config;
use crate::listeners;
use crate::tell;

/// `sawlog run`: a node that also ships this machine's files.
pub(crate) fn run(args: RunArgs) -> Result<()> {
    ensure!(!args.ship.is_empty(), "name the files to ship: --ship '/var/log/**/*.log'");
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the node's event loop")?;
    runtime.block_on(serve(config, shipping))
}

/// Opens everything below the data directory, serves until the wish to stop, then stops in the
/// order in which records flow: doors, queue, index.
async fn serve(config: Config, shipping: Option<Shipping>) -> Result<()> {
    let token = config.token()?;
    let _lock = Lock::take(&config.data_dir)?;
    let listener = platform::http::bind(config.listen).await?;
    let address = listener.local_addr().context("the address is not known")?;
    let shutdown = Shutdown::on_signals().context("cannot hear signals")?;
    let (clock, metrics) = (Clock::system(), Metrics::default());

    let catalog = Catalog::open(&config.data_dir.join("catalog.redb"))?;
    let node = node_id(&catalog)?;
    let ingest_metrics = IngestMetrics::new(&metrics);
    let partitions = open_partitions(&config, &clock, &ingest_metrics)?;
    let indexer =
        start_indexer(&config, &clock, &metrics, &catalog, &partitions, shutdown.clone())?;
    let searcher = indexer.searcher();
    let settings = QuerySettings {
        deadline: Duration::from_secs(config.query.timeout_s),
        concurrency_max: usize::try_from(config.query.concurrency_max).unwrap_or(usize::MAX),
        memory_bytes_max: usize::try_from(config.query.memory_bytes_max).unwrap_or(usize::MAX),
        ..QuerySettings::new(config.data_dir.join("spill"))
    };
    let engine =
        Engine::new(searcher.clone(), clock.clone(), settings, QueryMetrics::new(&metrics))
            .context("cannot start the query engine")?;

    let shipper = match shipping {
        Some(shipping) => {
            let shipped =
                ship(&config, address, token.clone(), shipping, &clock, &metrics, &shutdown)?;
            Some(shipped)
        }
        None => None,
    };
    let source = Arc::new(NodeStatus {
        node,
        data_dir: config.data_dir.clone(),
        clock: clock.clone(),
        searcher: searcher.clone(),
        partitions: partitions.clone(),
        shipper: shipper.as_ref().map(|shipper| Box::new(shipper.status_reader()) as Reader),
    });
    let doors = Doors::open(
        IngestState::new(partitions.clone(), clock.clone(), ingest_metrics),
        catalog.clone(),
        &config.data_dir.join("doors"),
        &Disk::default(),
    )
    .context("what the doors remember cannot be read")?;
    let router = query_ui::api::router(QueryState::new(engine, source, shutdown.clone()))
        .merge(doors.router())
        .merge(operating(searcher, metrics));
    let access = Access::new(token, config.insecure);
    let guarded =
        |router, audience| doors::translated(platform::http::named(access.guard(router)), audience);
    let more = listeners::open(&config, &router, &doors, guarded, &access, &shutdown).await?;

    announce(address);
    platform::http::serve(listener, guarded(router, Audience::All), shutdown.clone())
        .await
        .context("serving failed")?;
    more.join().await?;
    if let Some(shipper) = shipper {
        shipper.join().await.context("the embedded shipper failed")?;
    }
    let stopped = tokio::task::spawn_blocking(move || {
        partitions.iter().for_each(Partition::stop);
        indexer.join();
    });
    stopped.await.context("stopping failed")?;
    tracing::info!("stopped");
    Ok(())
}

fn announce(address: SocketAddr) {
    tell(&format!("Sawlog is ready: open http://{}", reachable(address)));
}

/// The address by which this machine reaches itself.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The node's id: drawn once, kept in the catalog.
fn node_id(catalog: &Catalog) -> Result<String> {
    if let Some(id) = catalog.fact("node")? {
        return Ok(id);
    }
    let id = format!("{:016x}", platform::random::u64());
    catalog.remember("node", &id)?;
    Ok(id)
}

fn open_partitions(config: &Config, clock: &Clock, metrics: &IngestMetrics) -> Result<Partitions> {
    let open = |number: u32| {
        let folder = config.data_dir.join(format!("queue/{number:04}"));
        let (id, settings) = (PartitionId(number), PartitionSettings::default());
        Partition::open(&folder, id, Disk::default(), clock.clone(), settings, metrics.clone())
    };
    let more = config.data_dir.join(format!("queue/{:04}", config.partitions));
    ensure!(
        !more.exists(),
        "there are more partitions in {} than the {} of the settings: partitions can be raised, not lowered",
        config.data_dir.display(),
        config.partitions
    );
    let partitions = (0..config.partitions).map(open).collect::<Result<Vec<_>, _>>();
    Ok(Partitions::new(partitions.context("the queue cannot be opened")?))
}

fn start_indexer(
    config: &Config,
    clock: &Clock,
    metrics: &Metrics,
    catalog: &Catalog,
    partitions: &Partitions,
    shutdown: Shutdown,
) -> Result<Indexer> {
    let data = &config.data_dir;
    let limits = &config.index;
    let settings = Settings {
        fresh_rows_max: limits.fresh_rows_max,
        fresh_bytes_max: limits.fresh_bytes_max,
        fresh_age_max: Duration::from_secs(limits.fresh_age_max_s),
        merge_fan_in: usize::try_from(limits.merge_fan_in).unwrap_or(usize::MAX),
        merge_rows_max: limits.merge_rows_max,
        retention: Duration::from_secs(u64::from(limits.retention_days) * 86_400),
        disk_percent_max: u64::from(limits.disk_percent_max),
        disk_free_bytes_min: limits.disk_free_bytes_min,
        cache_bytes_max: limits.cache_bytes_max,
        page_bytes_max: limits.page_bytes_max,
    };
    let objects =
        Objects::local(&data.join("objects")).context("the folder of splits cannot be made")?;
    let help = "Bytes read of the objects of splits";
    metrics.register("objects_read_bytes", help, objects.read_bytes());
    let parties = Parties {
        queues: partitions
            .iter()
            .map(|partition| Arc::new(partition.clone()) as Arc<dyn Queue>)
            .collect(),
        catalog: catalog.clone(),
        objects,
        work: data.join("work"),
        poison: data.join("poison"),
        clock: clock.clone(),
        settings,
        metrics: IndexMetrics::new(metrics),
    };
    Ok(Indexer::start(parties, data.clone(), shutdown)?)
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
fn operating(searcher: Searcher, metrics: Metrics) -> Router {
    let ready = |State(searcher): State<Searcher>| async move {
        if searcher.is_caught_up() {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "reading the queue\n")
        }
    };
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(move || async move { metrics.encode() }))
        .with_state(searcher)
}

type Reader = Box<dyn Fn() -> ShipperStatus + Send + Sync>;

/// Who knows the state of the whole node.
struct NodeStatus {
    node: String,
    data_dir: PathBuf,
    clock: Clock,
    searcher: Searcher,
    partitions: Partitions,
    shipper: Option<Reader>,
}

impl StatusSource for NodeStatus {
    fn status(&self) -> Status {
        let (free_bytes, total_bytes) = disk::space(&self.data_dir).unwrap_or_default();
        let used_bytes = disk::folder_bytes(&self.data_dir);
        let figures = self.searcher.partitions();
        let own = self.searcher.index_settings().unwrap_or_else(|error| {
            tracing::error!(%error, "the settings of the indexes cannot be told");
            IndexDocuments::new()
        });
        let partition = |partition: &Partition| {
            let id = partition.partition();
            let figures = figures.get(&id).copied().unwrap_or_default();
            PartitionStatus {
                partition: id.0,
                committed: partition.committed().borrow().0,
                published: figures.published,
                fresh_records: figures.fresh_rows,
                queue_bytes: partition.stored_bytes(),
                oldest_unpublished_s: figures.fresh_age_s,
            }
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            node: self.node.clone(),
            uptime_s: self.clock.elapsed().as_secs(),
            ready: self.searcher.is_caught_up(),
            data_dir: self.data_dir.display().to_string(),
            disk: DiskStatus { used_bytes, free_bytes, total_bytes },
            partitions: self.partitions.iter().map(partition).collect(),
            indexes: index_status(&self.searcher.view(), &own, self.searcher.retention_days()),
            shippers: self.shipper.iter().map(|read| read()).collect(),
        }
    }
}
