//! Logs of replicas that are to live elsewhere, on a node that was away when that was decided. They go
//! when their group has let them go; until that is known the group may count on them, and they work.

use model::node::Placement;
use model::partition::PartitionId;
use platform::disk;

use super::Fleet;
use super::tend::{TendError, words_of};
use crate::replica::Replica;

/// Rounds between two looks at a partition.
const LOOK_ROUNDS: u64 = 8;
/// Rounds for which a group that does not answer is waited for: nodes start one after the other.
const PATIENCE_ROUNDS: u64 = 24;

impl Fleet {
    /// Looks whether a log of a partition that is to live elsewhere is on this disk.
    pub(super) async fn look_for_left(
        &self,
        partition: PartitionId,
        placement: &Placement,
        round: u64,
    ) -> Result<(), TendError> {
        let me = self.0.metadata.me();
        let lives_here = placement.replicas.iter().any(|replica| replica.node == me)
            || self.replica(partition).is_some();
        if lives_here || !placement.born || !round.is_multiple_of(LOOK_ROUNDS) {
            return Ok(());
        }
        let Some(member) = self.logs(partition).first().copied() else { return Ok(()) };
        let path = self.path(partition, member);
        match self.group_has(partition, member, placement).await {
            Some(false) => {
                tracing::info!(%partition, "this replica lives elsewhere now; its log goes");
                disk::remove_dir_all(&path)?;
            }
            // Perhaps nobody leads because it is missing.
            None if round < PATIENCE_ROUNDS => {}
            Some(true) | None => {
                self.may_open(partition)?;
                tracing::info!(%partition, "this replica is to live elsewhere; it works until its group has let it go");
                let parties = self.0.parties.clone();
                let opened = Replica::open(&path, partition, member, 0, parties).await;
                let replica =
                    opened.inspect_err(|error| self.let_rest(partition, &words_of(error)))?;
                self.0.members.insert(replica.group().clone());
                self.keep(replica);
            }
        }
        Ok(())
    }
}
