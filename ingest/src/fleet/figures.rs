//! What a node's metrics say of its cluster: who is there, and how the replicas fare that live here.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use model::node::{Health, Topology};
use platform::shutdown::Shutdown;
use platform::telemetry::Metrics;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::Fleet;
use crate::replica::Replica;

/// How often the figures are brought up to date.
const FIGURES_INTERVAL: Duration = Duration::from_secs(2);
/// All that the cluster may take a node for.
const HEALTHS: [Health; 4] = [Health::Up, Health::Down, Health::Draining, Health::Gone];

type Figure = Gauge<u64, AtomicU64>;
/// Labels of a count of nodes: what they are taken for.
type Condition = [(&'static str, String); 1];

/// Figures of the cluster as this node sees it.
#[derive(Debug)]
struct Figures {
    silence: Gauge<f64, AtomicU64>,
    nodes: Family<Condition, Figure>,
    protocol: Figure,
    clock_differs: Figure,
    clock_compared: Figure,
    short_of_room: Figure,
    unreached: Figure,
    replicas: Figure,
    leading: Figure,
    leaderless: Figure,
    troubled: Figure,
    behind: Figure,
}

impl Fleet {
    /// Tells the metrics of the cluster from now on, until the shutdown.
    pub fn tell_figures(&self, metrics: &Metrics, shutdown: Shutdown) {
        let (fleet, figures) = (self.clone(), Figures::new(metrics));
        tokio::spawn(async move {
            loop {
                figures.set(&fleet);
                tokio::select! {
                    () = fleet.0.metadata.clock().sleep(FIGURES_INTERVAL) => {}
                    () = shutdown.wait() => return,
                }
            }
        });
    }
}

impl Figures {
    fn new(metrics: &Metrics) -> Self {
        let gauge = |name: &str, help: &str| metrics.register(name, help, Figure::default());
        Self {
            silence: metrics.register(
                "cluster_silence_seconds",
                "How long this node has heard nothing of who decides",
                Gauge::default(),
            ),
            nodes: metrics.register(
                "cluster_nodes",
                "Nodes of the cluster, by what they are taken for",
                Family::default(),
            ),
            protocol: gauge(
                "cluster_protocol_least",
                "The earliest version of the nodes' protocol that a node speaks",
            ),
            clock_differs: gauge(
                "cluster_clock_differs",
                "Whether this node's clock differs from those of most nodes by over a minute",
            ),
            clock_compared: gauge(
                "cluster_clock_compared",
                "Whether it is known what the clocks of most nodes say; while it is not, nothing expires by age here",
            ),
            short_of_room: gauge(
                "cluster_disk_short",
                "Whether this node's disk is short of room: it takes no records, and leads nothing that others can lead",
            ),
            unreached: gauge(
                "cluster_nodes_unreached",
                "Nodes that are there and that this one does not reach directly",
            ),
            replicas: gauge("cluster_replicas", "Replicas of partitions that live here"),
            leading: gauge("cluster_replicas_leading", "Replicas here that lead their partition"),
            leaderless: gauge(
                "cluster_replicas_leaderless",
                "Replicas here that know nobody who leads their partition",
            ),
            troubled: gauge(
                "cluster_replicas_troubled",
                "Replicas here that failed, or are not as they should be",
            ),
            behind: gauge(
                "cluster_entries_behind",
                "Entries that replicas here know of and have not carried out",
            ),
        }
    }

    fn set(&self, fleet: &Fleet) {
        let metadata = &fleet.0.metadata;
        self.silence.set(metadata.silence().as_secs_f64());
        let (agrees, differs) = (metadata.clock_agrees(), metadata.clock_differs());
        self.clock_differs.set(u64::from(differs));
        self.clock_compared.set(u64::from(agrees || differs));
        self.short_of_room.set(u64::from(metadata.is_short()));
        self.unreached.set(metadata.unreached().len() as u64);
        let topology = metadata.catalog().topology().borrow().clone();
        for (health, count) in healths(&topology) {
            self.nodes.get_or_create(&[("health", health.to_string())]).set(count);
        }
        let protocols = topology.nodes.values().map(|node| u64::from(node.protocol));
        self.protocol.set(protocols.min().unwrap_or_default());
        let replicas = fleet.replicas();
        let count = |is: &dyn Fn(&Replica) -> bool| {
            replicas.iter().filter(|replica| is(replica)).count() as u64
        };
        self.replicas.set(replicas.len() as u64);
        self.leading.set(count(&Replica::leads));
        self.leaderless.set(count(&|replica| replica.leader().is_none()));
        let troubles = fleet.troubles();
        let failed =
            |replica: &Replica| replica.is_poisoned() && !troubles.contains_key(&replica.id());
        self.troubled.set(count(&failed) + troubles.len() as u64);
        self.behind.set(replicas.iter().map(Replica::lag).sum());
    }
}

/// How many nodes are taken for what.
fn healths(topology: &Topology) -> [(Health, u64); 4] {
    let count = |health: Health| {
        topology.nodes.values().filter(|node| node.health == health).count() as u64
    };
    HEALTHS.map(|health| (health, count(health)))
}
