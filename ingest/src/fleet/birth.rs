//! How a partition begins: with members that are all new, and where the founder's own partition ended,
//! whoever leads it. Before that it takes no records: they would stand where others stood.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::catalog::Command;
use cluster::meta::Founder;
use cluster::peer::PeerServer;
use model::node::{NodeId, Placement, Topology};
use model::partition::{Offset, PartitionId};

use super::Fleet;
use super::tend::{TendError, peers_of};
use crate::partition::{Beginning, Seeds};
use crate::replica::Replica;

/// The call for what a partition begins with.
const SEED_CALL: &str = "seed";
/// How long the founder may take to say it.
const SEED_WAIT: Duration = Duration::from_secs(10);

impl Fleet {
    /// Tells others with what their partitions begin, if this node founded the cluster.
    pub fn serve_seeds(&self, server: &PeerServer, seeds: Arc<Seeds>) {
        server.on_call(SEED_CALL, move |body| {
            let seeds = seeds.clone();
            async move {
                let number = body.as_ref().try_into().map(u32::from_le_bytes);
                let number = number.map_err(|_| "no partition is named".to_owned())?;
                let beginning = seeds.beginning(PartitionId(number));
                // No bytes where there is nothing.
                Ok(beginning.map(|known| Bytes::from(known.bytes())).unwrap_or_default())
            }
        });
    }

    /// The replica here of a partition that has begun.
    pub(super) fn begun(&self, partition: PartitionId) -> Option<Replica> {
        let topology = self.0.metadata.catalog().topology();
        let is_born = topology.borrow().partitions.get(&partition).is_some_and(|one| one.born);
        self.replica(partition).filter(|_| is_born)
    }

    /// Begins a group whose members are all new.
    pub(super) async fn begin(
        &self,
        partition: PartitionId,
        placement: &Placement,
        topology: &Topology,
        replica: &Replica,
        seeds: &Seeds,
    ) -> Result<(), TendError> {
        // All but those whose nodes were removed before it began: every node knows the same ones.
        replica.begin(peers_of(placement, topology)).await?;
        if !replica.leads() {
            return Ok(());
        }
        if replica.tail().0 == Offset(0)
            && let Some(beginning) = self.beginning(partition, seeds).await?
        {
            replica.seed(&beginning.0).await?;
        }
        let born = Placement { born: true, ..placement.clone() };
        let command =
            Command::Place { partition, before: Some(placement.clone()), placement: born };
        self.0.metadata.decide(&command.into()).await?;
        Ok(())
    }

    /// What a partition begins with: never below the offset up to which records are in splits, or
    /// what is taken then would count as being there.
    async fn beginning(
        &self,
        partition: PartitionId,
        seeds: &Seeds,
    ) -> Result<Option<Beginning>, TendError> {
        let catalog = self.0.metadata.catalog();
        let published = catalog.indexed_offset(partition)?;
        let founder = Founder::of(catalog)?.filter(|one| partition.0 < one.partition_count);
        let known = match founder {
            Some(founder) if founder.node == self.0.metadata.me() => seeds.beginning(partition),
            Some(founder) => self.ask_founder(founder.node, partition).await?,
            None => None,
        };
        if known.is_none() && published > Offset(0) {
            tracing::warn!(%partition, %published, "what producers had sent is not known any more");
            return Ok(Some(Beginning::default().behind(published)));
        }
        Ok(known.map(|beginning| beginning.behind(published)))
    }

    /// What the founder says. One that was removed says nothing any more.
    async fn ask_founder(
        &self,
        node: NodeId,
        partition: PartitionId,
    ) -> Result<Option<Beginning>, TendError> {
        let Some(address) = self.0.metadata.address_of(node) else { return Ok(None) };
        let body = Bytes::copy_from_slice(&partition.0.to_le_bytes());
        let asked = self.0.metadata.peers().call(&address, SEED_CALL, body, SEED_WAIT).await;
        let no_seed = |why: String| TendError::NoSeed { partition, node, why };
        let answer = asked.map_err(|error| no_seed(error.to_string()))?;
        if answer.is_empty() {
            return Ok(None);
        }
        let beginning = Beginning::read(&answer);
        beginning.map(Some).ok_or_else(|| no_seed("its answer cannot be read".to_owned()))
    }
}
