//! One moment of the whole cluster: this node's records, those of others, and what cannot be had.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::partition::{Offset, PartitionId};
use model::wire::Missing;

use crate::core::{PartitionState, State};
use crate::fresh::FreshPart;
use crate::remote::{Lack, Lacks, MOVE_WAIT, Remote, fresh_of};
use crate::searcher::Searcher;
use crate::view::View;

/// How long a question waits for records that were acknowledged before it was asked. A consumer is
/// a millisecond behind; more than this only after a start or below a bound on fresh records, and
/// then the answer is given from what there is.
const CATCH_UP_MAX: Duration = Duration::from_millis(500);

/// What was found when all nodes were asked once.
#[derive(Debug)]
pub(crate) struct Round {
    view: Arc<View>,
    /// The partitions that are not whole in it, and those of them that may be soon, for they move.
    lacks: Lacks,
    soon: BTreeSet<PartitionId>,
    /// Whether what was committed here was searchable in time.
    in_time: bool,
}

impl Round {
    /// Whether one of these is still not whole.
    fn lacks_of(&self, partitions: &BTreeSet<PartitionId>) -> bool {
        partitions.iter().any(|partition| self.lacks.contains_key(partition))
    }
}

/// Whether the fresh records of a partition that is indexed here under a lease of that token are
/// in a view: its lease may have moved since the others were asked. What one of them answered for
/// is theirs, and what nobody was asked for, since it was ours then, is ours.
fn is_ours(token: Option<u64>, before: Option<u64>, lease: Option<u64>, is_answered: bool) -> bool {
    !is_answered && (token == lease || token == before)
}

/// The partitions of which more is published than this node has heard of.
fn unheard(state: &State, published: &[(PartitionId, Offset)]) -> Vec<PartitionId> {
    let at = |id| state.published.get(id).copied().unwrap_or_default();
    let behind = published.iter().filter(|(id, offset)| at(id) < *offset);
    behind.map(|(id, _)| *id).collect()
}

/// Names the newest records of a partition as what is missing. One stands also for a number that nobody
/// can say.
pub(crate) fn newest(count: u64, partition: PartitionId) -> String {
    let count = if count > 1 { format!("{count} ") } else { String::new() };
    format!("{count}newest records of partition {partition}")
}

impl Searcher {
    /// Waits until what was committed before the call is searchable, so that who was told that a
    /// record is stored finds it. Gives up after half a second and counts it.
    /// Which partitions of this node are not, by how many records; one, when nobody can say.
    pub async fn catch_up(&self) -> Vec<(PartitionId, u64)> {
        let (behind, in_time) = self.caught_up().await;
        self.count_late(in_time);
        behind
    }

    fn count_late(&self, in_time: bool) {
        if !in_time {
            self.0.parties.metrics.behind.inc();
        }
    }

    /// The same, and whether all was searchable in time.
    async fn caught_up(&self) -> (Vec<(PartitionId, u64)>, bool) {
        let settled = self.0.queues().into_iter().map(|queue| {
            let settled = queue.settled();
            async move { (queue.partition(), settled.await) }
        });
        let settled = futures::future::join_all(settled).await;
        let wanted: Vec<(PartitionId, Offset)> =
            settled.iter().filter_map(|(id, offset)| Some((*id, (*offset)?))).collect();
        let in_time = self.wait_shown(&wanted, CATCH_UP_MAX).await;
        let shown = |id| self.0.read(|state| Some(state.partitions.get(id)?.active.end));
        let behind = settled.iter().filter_map(|(id, settled)| {
            // One that is indexed elsewhere by now is asked for there.
            let end = shown(id)?;
            let behind = settled.map_or(1, |settled| settled.0.saturating_sub(end.0));
            (behind > 0).then_some((*id, behind))
        });
        (behind.collect(), in_time)
    }

    /// Waits until partitions that are indexed here are searchable up to these offsets. Whether
    /// they are.
    pub(crate) async fn wait_shown(
        &self,
        wanted: &[(PartitionId, Offset)],
        wait: Duration,
    ) -> bool {
        let core = &self.0;
        let mut shown = core.shown.subscribe();
        let all_shown = async {
            while !core.read(|state| state.has_shown(wanted)) {
                // The sender lives as long as we do.
                drop(shown.changed().await);
            }
        };
        tokio::select! {
            biased;
            () = all_shown => true,
            () = core.parties.clock.sleep(wait) => false,
        }
    }

    /// What there is now in the whole cluster, with everything that was acknowledged before the
    /// call; what cannot be had is named in it. Partitions that move are waited for, 5 s at most.
    pub async fn gather(&self) -> Arc<View> {
        self.gather_within(MOVE_WAIT).await
    }

    /// The same for who waits no longer than so for partitions that move.
    pub async fn gather_within(&self, wait_max: Duration) -> Arc<View> {
        let Some(remote) = &self.0.parties.remote else {
            self.catch_up().await;
            let view = self.view();
            let ends = self.partitions().into_iter().map(|(id, figures)| (id, figures.end));
            return Arc::new(View { ends: ends.collect(), ..View::clone(&view) });
        };
        let (clock, metrics) = (&self.0.parties.clock, &self.0.parties.metrics);
        let by = clock.elapsed() + wait_max.min(MOVE_WAIT);
        let (mut round, mut awaited) = (Box::pin(self.round(remote)).await, BTreeSet::new());
        while !round.soon.is_empty() {
            let (searcher, asked) = (self.clone(), remote.clone());
            let ask = Box::pin(async move { searcher.round(&asked).await });
            let Some(next) = remote.next_round(by, ask) else { break };
            if awaited.is_empty() {
                metrics.move_waits.inc();
            }
            awaited.extend(round.soon.iter().copied());
            let Some(found) = next.found().await else { break };
            round = found;
        }
        if round.lacks_of(&awaited) {
            metrics.move_waits_over.inc();
        }
        self.count_late(round.in_time);
        round.view.clone()
    }

    /// Asks all nodes once.
    async fn round(&self, remote: &Remote) -> Arc<Round> {
        let (view, lacks, in_time) = Box::pin(self.gather_once(remote)).await;
        let (view, soon) = (Arc::new(view), remote.come_soon(&lacks));
        Arc::new(Round { view, lacks, soon, in_time })
    }

    /// What there is as of one moment, the partitions that are not whole in it, and whether what was
    /// committed here was searchable in time.
    async fn gather_once(&self, remote: &Remote) -> (View, Lacks, bool) {
        let mine = self.tokens();
        let (gathered, (behind, in_time)) = tokio::join!(remote.gather(&mine), self.caught_up());
        let (mut missing, mut lacks) = (gathered.missing, gathered.lacks);
        for (partition, count) in behind {
            lacks.insert(partition, Lack::of(count));
            let why = "they are being read from the queue, or nobody leads it now".to_owned();
            missing.push(Missing { what: newest(count, partition), why });
        }
        let unheard = self.wait_published(&gathered.published).await;
        for partition in &unheard {
            lacks.entry(*partition).or_insert(Lack::Away);
        }
        if !unheard.is_empty() {
            missing.push(Missing {
                what: "the newest splits".to_owned(),
                why: "this node is behind its cluster's catalog".to_owned(),
            });
        }
        missing.extend(remote.silence());
        let topology = remote.topology();
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ends: BTreeMap<PartitionId, Offset> = gathered.ends.into_iter().collect();
        let own: Vec<(PartitionId, &PartitionState)> = state
            .partitions
            .iter()
            .filter(|(id, one)| {
                let token = one.fence.as_ref().map(|fence| fence.token);
                let lease = topology.indexer(**id).map(|lease| lease.token);
                is_ours(token, mine.get(*id).copied(), lease, ends.contains_key(*id))
            })
            .map(|(id, one)| (*id, one))
            .collect();
        ends.extend(own.iter().map(|(id, partition)| (*id, partition.active.end)));
        for partition in mine.keys().filter(|id| !ends.contains_key(id)) {
            lacks.insert(*partition, Lack::Away);
            let lost = fresh_of(*partition, "another node began to index it meanwhile".to_owned());
            if !missing.iter().any(|known| known.what == lost.what) {
                missing.push(lost);
            }
        }
        // What was published since is in the splits of this view.
        let from = |id: PartitionId| state.published.get(&id).copied().unwrap_or_default();
        let behind = |part: Arc<FreshPart>| part.behind(from(part.partition));
        let fresh = own.iter().flat_map(|(_, one)| one.parts()).filter_map(behind).collect();
        let remote = gathered.parts.into_iter();
        let remote = remote.filter_map(|part| {
            let from = from(part.partition());
            part.behind(from).map(Arc::new)
        });
        let remote = remote.collect();
        let splits = state.splits.values().cloned().collect();
        (View { splits, fresh, remote, ends, missing }, lacks, in_time)
    }

    /// Waits until this node knows what others have published. Of which partitions it does not.
    async fn wait_published(&self, published: &[(PartitionId, Offset)]) -> Vec<PartitionId> {
        let core = &self.0;
        let mut changed = core.parties.catalog.changed();
        let behind = || core.read(|state| unheard(state, published));
        let all_known = async {
            while !behind().is_empty() {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        match core.parties.clock.timeout(CATCH_UP_MAX, all_known).await {
            Some(()) => Vec::new(),
            None => behind(),
        }
    }

    /// The tokens of the leases under which partitions are indexed here.
    fn tokens(&self) -> BTreeMap<PartitionId, u64> {
        self.0.read(|state| {
            let token = |partition: &PartitionState| Some(partition.fence.as_ref()?.token);
            let all = state.partitions.iter();
            all.filter_map(|(id, partition)| Some((*id, token(partition)?))).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::{Lack, Lacks, PartitionId, Round, View, is_ours, newest};

    #[test]
    fn a_wait_is_in_vain_when_what_was_waited_for_stays_away() {
        let [moved, lost] = [1, 2].map(PartitionId);
        let round = Round {
            view: Arc::new(View::default()),
            lacks: Lacks::from([(lost, Lack::Away)]),
            soon: BTreeSet::new(),
            in_time: true,
        };
        assert!(!round.lacks_of(&BTreeSet::new()));
        // What moved is there; what is not was not waited for.
        assert!(!round.lacks_of(&BTreeSet::from([moved])));
        assert!(round.lacks_of(&BTreeSet::from([moved, lost])));
    }

    #[test]
    fn a_number_that_nobody_can_say_is_not_said() {
        assert_eq!(newest(1, PartitionId(4)), "newest records of partition 4");
        assert_eq!(newest(2_000, PartitionId(4)), "2000 newest records of partition 4");
    }

    #[test]
    fn a_partition_that_moves_during_a_question_is_in_it_once() {
        // It was here and is.
        assert!(is_ours(Some(1), Some(1), Some(1), false));
        // It went to another node after the others were asked: they said nothing of it.
        assert!(is_ours(Some(1), Some(1), Some(2), false));
        // It came here after another node had answered for it, or before anybody did.
        assert!(!is_ours(Some(2), None, Some(2), true));
        assert!(is_ours(Some(2), None, Some(2), false));
        // An old lease that was known to be over when the others were asked.
        assert!(!is_ours(Some(1), Some(1), Some(2), true));
        assert!(!is_ours(Some(1), None, Some(2), false));
    }
}
