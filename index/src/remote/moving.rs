//! How long questions wait for records that are on their way from one node to another.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::node::Topology;
use model::partition::PartitionId;

/// How long questions of a node wait for the records of a partition at most, since they were first missed
/// there or its lease came to another node. Then they are answered without: a node that died was silent
/// for a session by then, and another one has read the queue.
pub(crate) const MOVE_WAIT: Duration = Duration::from_secs(5);

/// Why not all records of a partition are in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Whoever should have them does not (yet), or nobody can say how many there are; or they are in
    /// splits that this node has not heard of.
    Away,
    /// Some are being read from the queue.
    Behind,
}

impl Lack {
    /// Of so many records. One stands also for a number that nobody can say.
    pub(crate) fn of(count: u64) -> Self {
        if count > 1 { Self::Behind } else { Self::Away }
    }
}

/// The partitions whose records are not all in an answer.
pub(crate) type Lacks = BTreeMap<PartitionId, Lack>;

/// What a node has met of the partitions' moves, by the clock's elapsed time.
#[derive(Debug, Default)]
pub(crate) struct Moves(BTreeMap<PartitionId, Met>);

#[derive(Debug)]
struct Met {
    /// Of the lease under which it is indexed, 0 while there is none.
    token: u64,
    /// When that was first met.
    at: Duration,
    /// Since when nobody gives its records.
    away: Option<Duration>,
}

impl Moves {
    /// Notes who has which lease, whenever one moves.
    pub(crate) fn meet(&mut self, topology: &Topology, now: Duration) {
        self.0.retain(|partition, _| topology.partitions.contains_key(partition));
        for partition in topology.partitions.keys() {
            let token = topology.indexer(*partition).map_or(0, |lease| lease.token);
            let begun = || Met { token, at: now, away: None };
            let met = self.0.entry(*partition).or_insert_with(begun);
            if met.token != token {
                *met = begun();
            }
        }
    }

    /// Notes how a question was answered. Of which partitions what it lacks may be there soon. Who is behind
    /// long after it took a partition has more to read than questions wait for.
    pub(crate) fn note(
        &mut self,
        topology: &Topology,
        lacks: &Lacks,
        now: Duration,
    ) -> BTreeSet<PartitionId> {
        self.meet(topology, now);
        let mut soon = BTreeSet::new();
        for (partition, met) in &mut self.0 {
            let since = match lacks.get(partition) {
                None => {
                    met.away = None;
                    continue;
                }
                Some(Lack::Away) => *met.away.get_or_insert(now),
                Some(Lack::Behind) => met.at,
            };
            if now.saturating_sub(since) < MOVE_WAIT {
                soon.insert(*partition);
            }
        }
        soon
    }
}

#[cfg(test)]
mod tests {
    use model::node::{Lease, NodeId, Placement, indexer_lease};

    use super::*;

    const PARTITION: PartitionId = PartitionId(3);

    fn topology(token: u64) -> Topology {
        let mut topology = Topology::default();
        topology.partitions.insert(PARTITION, Placement { replicas: Vec::new(), born: true });
        topology.leases.insert(indexer_lease(PARTITION), Lease { node: NodeId(token), token });
        topology
    }

    /// Plays answers (when, under which token, what is lacking) and says of which more is waited for.
    fn waits(answers: &[(u64, u64, Option<Lack>)]) -> Vec<bool> {
        let mut moves = Moves::default();
        let answer = |(seconds, token, lack): &(u64, u64, Option<Lack>)| {
            let lacks: Lacks = lack.iter().map(|lack| (PARTITION, *lack)).collect();
            let soon = moves.note(&topology(*token), &lacks, Duration::from_secs(*seconds));
            soon.contains(&PARTITION)
        };
        answers.iter().map(answer).collect()
    }

    #[test]
    fn who_has_a_partition_no_more_is_waited_for_and_not_by_every_question() {
        let away = Some(Lack::Away);
        // A node dies, and its partition moves late.
        assert_eq!(
            waits(&[
                (100, 1, None),
                (200, 1, away),
                (204, 1, away),
                (205, 1, away),
                (300, 1, away)
            ]),
            [false, true, true, false, false]
        );
        assert_eq!(
            waits(&[
                (200, 1, away),
                (206, 1, away),
                (207, 2, away),
                (211, 2, away),
                (212, 2, away)
            ]),
            [true, false, true, true, false]
        );
        // It was there in between.
        assert_eq!(
            waits(&[(200, 1, away), (206, 1, away), (207, 1, None), (208, 1, away)]),
            [true, false, false, true]
        );
    }

    #[test]
    fn who_reads_the_queue_is_waited_for_after_a_move_only() {
        let behind = Some(Lack::Behind);
        assert_eq!(
            waits(&[(100, 1, None), (104, 1, behind), (105, 1, behind), (106, 2, behind)]),
            [false, true, false, true]
        );
        assert_eq!(
            waits(&[(100, 1, None), (200, 1, behind), (201, 1, None), (202, 1, behind)]),
            [false; 4]
        );
        assert_eq!([0, 1, 2].map(Lack::of), [Lack::Away, Lack::Away, Lack::Behind]);
    }

    #[test]
    fn a_move_begins_when_the_lease_moves_and_not_when_somebody_asks() {
        let lacks = Lacks::from([(PARTITION, Lack::Behind)]);
        let (mut moves, at) = (Moves::default(), Duration::from_secs);
        moves.meet(&topology(1), at(100));
        moves.meet(&topology(2), at(200));
        assert!(moves.note(&topology(2), &lacks, at(206)).is_empty());
        moves.meet(&topology(3), at(300));
        assert_eq!(moves.note(&topology(3), &lacks, at(304)), BTreeSet::from([PARTITION]));
    }

    #[test]
    fn of_two_partitions_only_the_one_that_moves_is_waited_for() {
        let other = PartitionId(4);
        let mut both = topology(1);
        both.partitions.insert(other, Placement { replicas: Vec::new(), born: true });
        let lacks = Lacks::from([(PARTITION, Lack::Away), (other, Lack::Behind)]);
        let mut moves = Moves::default();
        moves.meet(&both, Duration::ZERO);
        let soon = moves.note(&both, &lacks, Duration::from_secs(60));
        assert_eq!(soon, BTreeSet::from([PARTITION]));
    }

    #[test]
    fn partitions_that_nobody_knows_are_not_waited_for() {
        let lacks = Lacks::from([(PARTITION, Lack::Away)]);
        let mut moves = Moves::default();
        assert!(moves.note(&Topology::default(), &lacks, Duration::ZERO).is_empty());
        assert!(moves.0.is_empty());
    }
}
