//! Founding a cluster: what the founder had on its own becomes what the cluster has, before anybody
//! comes.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use model::node::{NodeId, Topology};
use model::partition::PartitionId;

use super::join::{STORE, place_of_splits};
use super::lead::PARTITIONS;
use super::{MetaError, Metadata};
use crate::catalog::{Catalog, CatalogError, Command, Order};
use crate::raft::Peer;

/// The fact that says who had partitions before it founded the cluster, and how many partitions the
/// cluster began with.
const FOUNDER: &str = "founder";

/// Who had partitions of its own before it founded the cluster: it knows where these ended, and what
/// producers had sent. The cluster's first partitions begin there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founder {
    /// The node.
    pub node: NodeId,
    /// How many partitions begin where its own ended; those that came later begin with nothing.
    pub partition_count: u32,
}

impl Founder {
    /// The founder, when it had partitions of its own.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn of(catalog: &Catalog) -> Result<Option<Self>, CatalogError> {
        let fact = catalog.fact(FOUNDER)?;
        Ok(fact.as_deref().and_then(Self::read))
    }

    /// Whether this node is to say yet where its partitions ended: some did not begin there.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn is_asked(catalog: &Catalog) -> Result<bool, CatalogError> {
        let Some(founder) = Self::of(catalog)? else { return Ok(false) };
        let topology = catalog.topology().borrow().clone();
        Ok(founder.node == catalog.node_id()? && founder.is_awaited(&topology))
    }

    fn is_awaited(self, topology: &Topology) -> bool {
        let is_born = |number| {
            topology.partitions.get(&PartitionId(number)).is_some_and(|placement| placement.born)
        };
        !(0..self.partition_count).all(is_born)
    }

    fn fact(self) -> String {
        format!("{} {}", self.node, self.partition_count)
    }

    fn read(fact: &str) -> Option<Self> {
        let (node, count) = fact.split_once(' ')?;
        Some(Self { node: NodeId::parse(node)?, partition_count: count.parse().ok()? })
    }
}

impl Metadata {
    /// Founds the cluster, or goes on where that broke off. This node registers last: whoever comes
    /// is let in when somebody is registered, and finds all the rest.
    pub(super) async fn found(&self) -> Result<(), MetaError> {
        let me = self.0.me;
        let peer = Peer { node: me.0, address: self.0.settings.address.clone() };
        let begun = self.0.group.raft().initialize(BTreeMap::from([(me.0, peer)]));
        // A first try may have broken off behind this.
        if let Err(error) = begun.await {
            tracing::debug!(%error, "the metadata group has begun before");
        }
        let cluster = format!("{:016x}", platform::random::u64());
        let found = Order::from(Command::Found { cluster: cluster.clone() });
        let cluster = match self.decide(&found).await {
            Ok(_) => cluster,
            Err(error) => match self.0.catalog.fact("cluster")? {
                Some(cluster) => cluster,
                None => return Err(error.into()),
            },
        };
        self.0.peers.belong_to(&cluster);
        // Whoever comes finds in the log what this node had on its own.
        for estate in self.0.catalog.estate(me)? {
            self.decide(&Command::Adopt(estate).into()).await?;
        }
        let partition_count = self.0.settings.partition_count;
        if self.0.settings.had_partitions {
            self.remember(FOUNDER, Founder { node: me, partition_count }.fact()).await?;
        }
        self.remember(PARTITIONS, partition_count.to_string()).await?;
        self.remember(STORE, place_of_splits(self.0.settings.store).to_owned()).await?;
        let epoch = self.decide(&Command::Register(self.joining()).into()).await?;
        self.0.epoch.store(epoch.number(), Ordering::Relaxed);
        self.heard_leader();
        self.0.catalog.remember_local("cluster", &cluster)?;
        tracing::info!(cluster, node = %me, "a cluster begins");
        Ok(())
    }

    async fn remember(&self, name: &str, fact: String) -> Result<(), CatalogError> {
        let command = Command::Remember { name: name.to_owned(), fact };
        self.decide(&command.into()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use model::node::Placement;

    use super::*;

    #[test]
    fn the_founder_is_asked_until_its_partitions_have_begun() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        assert_eq!(Founder::of(&catalog).unwrap(), None);
        assert!(!Founder::is_asked(&catalog).unwrap());
        let founder = Founder { node: catalog.node_id().unwrap(), partition_count: 2 };
        let remember = |founder: Founder| {
            let (name, fact) = (FOUNDER.to_owned(), founder.fact());
            catalog.execute(Command::Remember { name, fact }).unwrap();
        };
        remember(founder);
        assert_eq!(Founder::of(&catalog).unwrap(), Some(founder));
        for number in 0..3 {
            assert_eq!(Founder::is_asked(&catalog).unwrap(), number < 2, "{number}");
            let placement = Placement { replicas: Vec::new(), born: true };
            let (partition, before) = (PartitionId(number), None);
            catalog.execute(Command::Place { partition, before, placement }).unwrap();
        }
        // Another node is asked elsewhere.
        remember(Founder { node: NodeId(1), partition_count: 9 });
        assert!(!Founder::is_asked(&catalog).unwrap());
    }
}
