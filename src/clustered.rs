//! The node's place in a cluster: its connections, the metadata group, the replicas that live here,
//! the copies that it keeps.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow};
use axum::Router;
use cluster::meta::{AskOwner, MetaSettings, Metadata, Start};
use cluster::peer::{Members, PeerServer, PeerTls, Peers};
use index::indexer::Indexer;
use index::keep::{Copies, Keeper};
use index::metrics::IndexMetrics;
use index::remote::{Host, Remote};
use index::room::Room;
use index::searcher::{Parties, Searcher};
use ingest::fleet::Fleet;
use ingest::replica::ReplicaParties;
use model::node::{Placement, Roles};
use model::partition::PartitionId;
use platform::clock::Clock;
use platform::disk::Disk;
use platform::http::BindError;
use platform::objects::{Objects, StoreOptions};
use query_ui::plan::Engine;

use crate::config::Config;
use crate::node::{Base, index_settings, local_objects, parties};
use crate::{operate, seats, settle, tell};

/// How long a node waits for its cluster's partitions before it serves.
const PARTITIONS_WAIT: Duration = Duration::from_secs(15);
/// How often it looks.
const PARTITIONS_LOOK: Duration = Duration::from_millis(50);
/// How long a store may take to say whose it is before a node knocks at a cluster.
const OWNER_WAIT: Duration = Duration::from_secs(5);
/// How long a node waits before it asks a store again that did not answer.
const CLAIM_PAUSE: Duration = Duration::from_secs(5);

/// The node in its cluster. Clones share it.
#[derive(Clone)]
pub(crate) struct Clustered {
    pub(crate) metadata: Metadata,
    pub(crate) fleet: Fleet,
    server: PeerServer,
    members: Members,
}

/// Whether a text may name where another node is heard: `HOST:PORT`.
pub(crate) fn is_address(text: &str) -> bool {
    let port = text.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
    matches!(port, Some((host, Ok(_))) if !host.is_empty() && !host.contains('/'))
}

impl Clustered {
    /// Comes into the cluster.
    pub(crate) async fn start(base: &Base) -> Result<Self> {
        let config = &base.config;
        let tls = config.cluster.tls.as_deref().map(PeerTls::read).transpose()?;
        let peers = Peers::speaking(config.cluster.protocol, base.clock.clone(), tls.clone());
        let (server, members) = (PeerServer::new(peers.clone()), Members::default());
        members.serve(&server);
        let listener = platform::http::bind(config.cluster.listen).await.map_err(unheard)?;
        let bound = listener.local_addr().context("the address is not known")?;
        let serving = server.clone().serve(listener, tls, base.shutdown.clone());
        let shutdown = base.shutdown.clone();
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "other nodes are not heard any more; stopping");
                shutdown.trigger();
            }
        });
        let seeds = Arc::new(settle::seeds(base).await?);
        let store_owner = store_owner(base).await?;
        let settings = meta_settings(base, bound, seeds.partition_count(), store_owner);
        tell(&format!("other nodes are heard at {}", settings.address));
        let metadata = Metadata::start(
            settings,
            base.catalog.clone(),
            (peers.clone(), &server, &members),
            base.clock.clone(),
            base.shutdown.clone(),
        );
        let metadata = metadata.await.context("this node is not in its cluster")?;
        let replica_parties = ReplicaParties {
            disk: Disk::default(),
            clock: base.clock.clone(),
            settings: config.queue.settings(),
            metrics: base.ingest_metrics.clone(),
            transport: Arc::new(members.transport(peers.clone())),
            peers,
        };
        let folder = config.data_dir.join("replicas");
        let fleet = Fleet::new(metadata.clone(), members.clone(), replica_parties, folder, &server);
        fleet.tell_figures(&base.metrics, base.shutdown.clone());
        fleet.serve_leading(&server);
        fleet.serve_reading(&server);
        fleet.serve_seeds(&server, seeds.clone());
        let tending = fleet.clone().tend(seeds, base.shutdown.clone());
        tokio::spawn(tending);
        let clustered = Self { metadata, fleet, server, members };
        let own = clustered.clone();
        clustered.server.on_call(operate::REPLICAS_CALL, move |_| {
            let clustered = own.clone();
            async move {
                let replicas = operate::replicas_here(&clustered);
                serde_json::to_vec(&replicas).map(Into::into).map_err(|error| error.to_string())
            }
        });
        clustered.wait_for_partitions(base).await;
        Ok(clustered)
    }

    /// Waits until there are partitions and somebody leads each: who is told that the node is ready
    /// sends records.
    async fn wait_for_partitions(&self, base: &Base) {
        let until = base.clock.elapsed() + PARTITIONS_WAIT;
        let topology = self.metadata.catalog().topology().borrow().clone();
        let lacks = roles_lacking(topology.nodes.values().map(|node| node.roles));
        if !lacks.is_empty() {
            let lacks = lacks.join(", ");
            tracing::warn!(%lacks, "no node of the cluster has these roles: start one with them (--roles); without `ingest` no record is taken, without `index` none is found");
        }
        while base.clock.elapsed() < until {
            let topology = self.metadata.catalog().topology().borrow().clone();
            let led = |(partition, placement): (&PartitionId, &Placement)| {
                // A replica here knows who leads; others are asked when there is something to say.
                let here = self.fleet.replica(*partition);
                placement.born
                    && topology.indexer(*partition).is_some()
                    && here.is_none_or(|replica| replica.leader().is_some())
            };
            if !topology.partitions.is_empty() && topology.partitions.iter().all(led) {
                return;
            }
            base.clock.sleep(PARTITIONS_LOOK).await;
        }
        tracing::warn!("not every partition is led yet; records wait for it");
    }

    /// Whether there are partitions, as far as this node knows.
    pub(crate) fn has_partitions(&self) -> bool {
        !self.metadata.catalog().topology().borrow().partitions.is_empty()
    }

    /// The indexer of the partitions that the cluster gives to this node.
    pub(crate) async fn start_indexer(&self, base: &Base) -> Result<Arc<Indexer>> {
        let remote = Remote::new(self.metadata.clone());
        let (objects, keeper) = self.objects(&base.config)?;
        if let Some(url) = base.config.cluster.store.as_deref().filter(|_| keeper.is_none()) {
            self.claim(&objects, url, base).await?;
        }
        objects.figures().register(&base.metrics);
        let metrics = IndexMetrics::new(&base.metrics);
        let alone = parties(base, index_settings(&base.config), objects, metrics)?;
        let parties = Parties {
            keeper: keeper.clone().map(|copies| Arc::new(copies) as Arc<dyn Keeper>),
            remote: Some(remote),
            ..alone
        };
        let data = base.config.data_dir.clone();
        let indexer = Arc::new(Indexer::start(parties, data, base.shutdown.clone())?);
        if let Some(copies) = keeper {
            copies.tell_figures(&base.metrics, base.shutdown.clone());
            tokio::spawn(copies.look_after(self.server.clone(), base.shutdown.clone()));
        }
        tokio::spawn(seats::hold(self.clone(), indexer.clone(), base.shutdown.clone()));
        Ok(indexer)
    }

    /// Answers what other nodes ask of this one's records from now on.
    pub(crate) fn answer(&self, searcher: Searcher, engine: &Engine) {
        let host = Host::serve(searcher, &self.server);
        engine.serve(&host, &self.server);
    }

    /// Where splits are: in a store that all nodes share, or as copies on some of them.
    fn objects(&self, config: &Config) -> Result<(Objects, Option<Copies>)> {
        if let Some(url) = &config.cluster.store {
            let options = StoreOptions::from_env();
            let (cache, bytes) =
                (config.data_dir.join("store-cache"), config.cluster.store_cache_bytes_max);
            let runtime = tokio::runtime::Handle::current();
            let objects = Objects::shared(url, &options, &cache, bytes, runtime);
            return Ok((objects.with_context(|| format!("cannot use the store {url}"))?, None));
        }
        let room = Room::new(config.data_dir.clone(), &index_settings(config));
        let copies = Copies::new(self.metadata.clone(), room);
        let objects = local_objects(config)?.with_fallback(Arc::new(copies.clone()));
        copies.own(objects.clone());
        copies.serve(&self.server);
        Ok((objects, Some(copies)))
    }

    /// Makes sure that the store is this cluster's, and still the one that it was. A store that does
    /// not answer is asked again later.
    async fn claim(&self, objects: &Objects, url: &str, base: &Base) -> Result<()> {
        let claimed = claim_once(&self.metadata, objects).await;
        match claimed {
            Ok(()) => return Ok(()),
            Err(error) if is_for_good(&error) => {
                return Err(error).with_context(|| format!("cannot use the store {url}"));
            }
            Err(error) => {
                tracing::warn!(%error, url, "the store does not answer: it is asked again whose it is");
            }
        }
        let (metadata, objects, url) = (self.metadata.clone(), objects.clone(), url.to_owned());
        let (clock, shutdown) = (base.clock.clone(), base.shutdown.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = clock.sleep(CLAIM_PAUSE) => {}
                    () = shutdown.wait() => return,
                }
                match claim_once(&metadata, &objects).await {
                    Ok(()) => return,
                    Err(error) if error.kind() == ErrorKind::InvalidInput => {
                        tracing::error!(%error, url, "the store cannot be used; stopping");
                        return shutdown.trigger();
                    }
                    Err(_) => {}
                }
            }
        });
        Ok(())
    }

    /// Routes for who operates the cluster.
    pub(crate) fn router(&self) -> Router {
        operate::router(self.clone())
    }

    /// Gives what this node does to others, so that nobody misses it.
    pub(crate) async fn leave(&self) {
        if self.metadata.catalog().topology().borrow().nodes.len() < 2 {
            return;
        }
        self.metadata.say_going().await;
        let given = async {
            self.fleet.hand_over_all().await;
            self.metadata.leave().await;
        };
        tokio::select! {
            () = given => {}
            () = self.metadata.all_others_go() => {
                tracing::info!("all other nodes have gone, or go too: nobody takes this one's work over");
            }
        }
    }

    /// Ends the members that live here; the replicas were ended by who looks after them.
    pub(crate) async fn stop(&self) {
        for replica in self.fleet.replicas() {
            replica.stop().await;
        }
        self.metadata.stop().await;
        drop(self.members.clone());
    }
}

/// Why other nodes cannot be heard.
fn unheard(error: BindError) -> Error {
    match error {
        BindError::InUse(address) => anyhow!(
            "other nodes cannot be heard: {address} is in use by another program: stop it, or choose another address with --peer-listen"
        ),
        error @ BindError::Other { .. } => {
            Error::new(error).context("other nodes cannot be heard: choose another --peer-listen")
        }
    }
}

/// The roles that none of the nodes has and without which a cluster does nothing.
fn roles_lacking(nodes: impl Iterator<Item = Roles>) -> Vec<&'static str> {
    let (mut ingest, mut index) = (false, false);
    for roles in nodes {
        ingest |= roles.ingest;
        index |= roles.index;
    }
    let all = [(ingest, "ingest"), (index, "index")];
    all.into_iter().filter(|(has, _)| !has).map(|(_, name)| name).collect()
}

/// Asks the store whose it is, and takes it when it is nobody's.
async fn claim_once(metadata: &Metadata, objects: &Objects) -> io::Result<()> {
    let was_claimed = metadata.store_was_claimed().map_err(io::Error::other)?;
    let (owner, objects) = (metadata.store_owner(), objects.clone());
    let claim = move || objects.claim(&owner, was_claimed).map_err(nowhere);
    tokio::task::spawn_blocking(claim).await.map_err(io::Error::other)??;
    if !was_claimed {
        metadata.store_is_claimed().await.map_err(io::Error::other)?;
    }
    Ok(())
}

/// Who cannot put an object because something is not there has no bucket.
fn nowhere(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::NotFound => {
            let words = format!("there is no such bucket or folder: make it first. {error}");
            io::Error::new(ErrorKind::NotFound, words)
        }
        _ => error,
    }
}

/// Whether a store that answers so is of no use however often it is asked.
fn is_for_good(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound)
}

/// Whose the store says that it is, for a node that is of no cluster yet: one whose store is another
/// one is not let in. `None` when there is none, or it does not answer.
async fn store_owner(base: &Base) -> Result<Option<String>> {
    let Some(url) = &base.config.cluster.store else { return Ok(None) };
    if base.catalog.local("cluster")?.is_some() {
        return Ok(None);
    }
    let asked = owner_of(url.clone(), base.clock.clone()).await;
    asked.with_context(|| format!("cannot use the store {url}"))
}

/// Whose a store says that it is. `None` when it does not answer.
async fn owner_of(url: String, clock: Clock) -> io::Result<Option<String>> {
    let runtime = tokio::runtime::Handle::current();
    let ask = move || Objects::owner(&url, &StoreOptions::from_env(), runtime);
    match clock.timeout(OWNER_WAIT, tokio::task::spawn_blocking(ask)).await {
        Some(Ok(Ok(owner))) => Ok(Some(owner)),
        Some(Ok(Err(error))) if error.kind() == ErrorKind::InvalidInput => Err(error),
        _ => Ok(None),
    }
}

/// Asks the store again, where there is one.
fn ask_owner(base: &Base) -> AskOwner {
    let (url, clock) = (base.config.cluster.store.clone(), base.clock.clone());
    AskOwner::new(move || {
        let (url, clock) = (url.clone(), clock.clone());
        Box::pin(async move { owner_of(url?, clock).await.ok().flatten() })
    })
}

fn meta_settings(
    base: &Base,
    bound: std::net::SocketAddr,
    solo_count: u32,
    store_owner: Option<String>,
) -> MetaSettings {
    let config = &base.config;
    // A port that was drawn is told as it was drawn.
    let advertise = match config.cluster.listen.port() {
        0 => bound.to_string(),
        _ => config.cluster.advertise.clone(),
    };
    let start = if config.cluster.bootstrap {
        Start::Bootstrap
    } else {
        Start::Join(config.cluster.join.clone())
    };
    MetaSettings {
        folder: config.data_dir.join("meta"),
        address: advertise,
        http: base.address.to_string(),
        roles: Roles::parse(&config.cluster.roles).unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        start,
        partition_count: config.partitions.max(solo_count),
        gone_after: Duration::from_secs(config.cluster.gone_after_s),
        store: config.cluster.store.is_some(),
        store_owner,
        ask_owner: ask_owner(base),
        had_partitions: solo_count > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_that_is_not_there_is_said_and_a_store_that_is_silent_is_asked_again() {
        let of = |kind: ErrorKind| nowhere(io::Error::new(kind, "404"));
        let missing = of(ErrorKind::NotFound);
        assert!(
            is_for_good(&missing) && missing.to_string().contains("make it first"),
            "{missing}"
        );
        assert!(is_for_good(&of(ErrorKind::InvalidInput)));
        assert!(!is_for_good(&of(ErrorKind::ConnectionRefused)));
        assert_eq!(of(ErrorKind::TimedOut).to_string(), "404");
    }

    #[test]
    fn what_no_node_does_is_known() {
        let lacks =
            |roles: &[&str]| roles_lacking(roles.iter().map(|roles| Roles::parse(roles).unwrap()));
        assert_eq!(lacks(&["query"]), ["ingest", "index"]);
        assert_eq!(lacks(&["query", "ingest"]), ["index"]);
        assert!(lacks(&["ingest", "index,query"]).is_empty());
        assert!(lacks(&["all"]).is_empty());
    }
}
