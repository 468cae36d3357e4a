//! Where batches go when partitions were added. A producer stays with the partition that knows it, which
//! recognises what it sends again; who is known nowhere goes where its stream belongs by now. An earlier
//! partition that says that it does not know a producer takes nothing new of it from then on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cluster::peer::PeerServer;
use futures::future::join_all;
use model::node::NodeId;
use model::partition::PartitionId;
use model::stream::StreamId;
use serde::{Deserialize, Serialize};

use super::{Fleet, PAUSE_MAX};
use crate::partition::{AppendError, Appended, Checked};
use crate::route::homes;

/// The call that asks a partition which producers it knows.
const KNOWN_CALL: &str = "known_producers";
/// How long that may take: the group may have to be told of the partitions first.
const KNOWN_WAIT: Duration = Duration::from_secs(10);
/// How long a node waits to hear of partitions that another one knows of.
const COUNT_WAIT: Duration = Duration::from_secs(1);
/// Producers of which is kept where they go, so that not every batch is asked for.
const HOMES_MAX: usize = 65_536;

/// A producer and its stream.
type Sender = (u64, StreamId);

/// Where producers go whose streams had several partitions.
#[derive(Debug, Default)]
pub(super) struct Homes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Over how many partitions batches were spread when it was asked.
    count: u32,
    homes: HashMap<Sender, PartitionId>,
}

impl Homes {
    fn of(&self, count: u32, sender: Sender) -> Option<PartitionId> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.homes.get(&sender).copied().filter(|_| known.count == count)
    }

    /// Keeps where producers go among so many. How many are kept.
    fn keep(&self, count: u32, found: impl IntoIterator<Item = (Sender, PartitionId)>) -> usize {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.count != count || known.homes.len() >= HOMES_MAX {
            *known = Known { count, homes: HashMap::new() };
        }
        known.homes.extend(found);
        known.homes.len()
    }

    /// A partition says otherwise: all are asked for again.
    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }
}

/// What is asked of a partition.
#[derive(Debug, Serialize, Deserialize)]
struct Asked {
    partition: PartitionId,
    /// Over how many partitions batches are spread.
    count: u32,
    producers: Vec<u64>,
}

/// Which producers which partitions are asked for: the earlier homes of those whose place is not known.
fn questions(open: &[(Sender, Vec<PartitionId>)]) -> BTreeMap<PartitionId, BTreeSet<u64>> {
    let mut questions: BTreeMap<PartitionId, BTreeSet<u64>> = BTreeMap::new();
    for ((producer, _), homes) in open {
        let Some((_, earlier)) = homes.split_last() else { continue };
        for home in earlier {
            questions.entry(*home).or_default().insert(*producer);
        }
    }
    questions
}

/// Where a producer goes: to the first of its homes that knows it, or else to the last.
fn home_of(
    producer: u64,
    homes: &[PartitionId],
    known: &BTreeSet<(PartitionId, u64)>,
) -> Option<PartitionId> {
    let knows = |home: &&PartitionId| known.contains(&(**home, producer));
    homes.iter().find(knows).or(homes.last()).copied()
}

impl Fleet {
    /// Answers nodes that ask which producers a partition knows, if this one leads it.
    pub(super) fn serve_homes(&self, server: &PeerServer) {
        let fleet = self.clone();
        server.on_call(KNOWN_CALL, move |body| {
            let fleet = fleet.clone();
            async move {
                let asked: Asked = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
                let known = fleet.known_here(&asked).await.map_err(|e| e.to_string())?;
                serde_json::to_vec(&known).map(Bytes::from).map_err(|e| e.to_string())
            }
        });
    }

    async fn known_here(&self, asked: &Asked) -> Result<Vec<bool>, AppendError> {
        let Asked { partition, count, producers } = asked;
        let not_here = AppendError::NotLeader { partition: *partition, leader: None };
        self.begun(*partition).ok_or(not_here)?.knows(*count, producers).await
    }

    /// The partition of each batch; `named` where there is no choice.
    pub(super) async fn homes_of(
        &self,
        named: PartitionId,
        batches: &[Checked],
        until: Duration,
    ) -> Result<Vec<PartitionId>, AppendError> {
        let counts = self.0.metadata.catalog().topology().borrow().counts.clone();
        let Some(count) = counts.last().copied().filter(|_| counts.len() > 1) else {
            return Ok(vec![named; batches.len()]);
        };
        let sender = |batch: &Checked| (batch.sequence.producer, batch.stream);
        let mut found: HashMap<Sender, PartitionId> = HashMap::new();
        let mut open: Vec<(Sender, Vec<PartitionId>)> = Vec::new();
        // What has no sequence gets one at this node, which nobody knows yet.
        for batch in batches.iter().filter(|batch| !is_unnamed(batch)) {
            let (sender, homes) = (sender(batch), homes(batch.stream, &counts));
            match self.0.homes.of(count, sender) {
                Some(home) => {
                    found.insert(sender, home);
                }
                None if homes.len() > 1 => open.push((sender, homes)),
                None => {}
            }
        }
        if !open.is_empty() {
            found.extend(self.find_homes(count, &open, until).await?);
        }
        let home = |batch: &Checked| {
            let found = found.get(&sender(batch)).copied();
            found.or_else(|| homes(batch.stream, &counts).last().copied()).unwrap_or(named)
        };
        Ok(batches.iter().map(home).collect())
    }

    /// Asks where producers go, and keeps it.
    async fn find_homes(
        &self,
        count: u32,
        open: &[(Sender, Vec<PartitionId>)],
        until: Duration,
    ) -> Result<Vec<(Sender, PartitionId)>, AppendError> {
        let known = self.ask_all(count, questions(open), until).await?;
        let found = open.iter().filter_map(|((producer, stream), homes)| {
            Some(((*producer, *stream), home_of(*producer, homes, &known)?))
        });
        let found: Vec<_> = found.collect();
        let kept = self.0.homes.keep(count, found.iter().copied());
        self.0.parties.metrics.homes.set(kept as u64);
        Ok(found)
    }

    /// Asks partitions which producers they know.
    async fn ask_all(
        &self,
        count: u32,
        questions: BTreeMap<PartitionId, BTreeSet<u64>>,
        until: Duration,
    ) -> Result<BTreeSet<(PartitionId, u64)>, AppendError> {
        let asked = questions.into_iter().map(|(partition, producers)| {
            let producers = producers.into_iter().collect();
            self.ask_leader(Asked { partition, count, producers }, until)
        });
        let mut known = BTreeSet::new();
        for answer in join_all(asked).await {
            known.extend(answer?);
        }
        Ok(known)
    }

    /// Asks a partition's leader which producers it knows, until it answers.
    async fn ask_leader(
        &self,
        asked: Asked,
        until: Duration,
    ) -> Result<Vec<(PartitionId, u64)>, AppendError> {
        let (partition, clock) = (asked.partition, &self.0.parties.clock);
        loop {
            let node = self.leader(partition).or_else(|| self.any(partition));
            let answers = match node {
                Some(node) => self.ask_known(node, &asked).await,
                None => None,
            };
            if let Some(answers) = answers.filter(|all| all.len() == asked.producers.len()) {
                self.remember(partition, node);
                let all = asked.producers.into_iter().zip(answers);
                return Ok(all.filter(|(_, is)| *is).map(|(one, _)| (partition, one)).collect());
            }
            self.remember(partition, None);
            if clock.elapsed() >= until {
                return Err(AppendError::NoMajority(partition));
            }
            clock.sleep(PAUSE_MAX).await;
        }
    }

    async fn ask_known(&self, node: NodeId, asked: &Asked) -> Option<Vec<bool>> {
        if node == self.0.metadata.me() {
            return self.known_here(asked).await.ok();
        }
        let address = self.0.metadata.address_of(node)?;
        let body = serde_json::to_vec(asked).ok()?;
        let peers = self.0.metadata.peers();
        let answer = peers.call(&address, KNOWN_CALL, body.into(), KNOWN_WAIT).await.ok()?;
        serde_json::from_slice(&answer).ok()
    }

    /// Brings the batches that have no answer yet to their partitions. What says that it belongs
    /// elsewhere, as there are so many partitions, was not taken and is left without one.
    pub(super) async fn bring_home(
        &self,
        batches: &[Checked],
        homes: &[PartitionId],
        answers: &mut [Option<Appended>],
        until: Duration,
    ) -> Result<Option<u32>, AppendError> {
        let groups = by_home(batches, homes, answers);
        // Whom nobody recognises comes last: when something fails before, all may be sent again.
        let (unnamed, named): (Vec<Group>, Vec<Group>) =
            groups.into_iter().partition(|group| group.batches.iter().any(is_unnamed));
        let bring = |group| self.bring_group(group, until);
        let mut elsewhere: Option<u32> = None;
        for (places, outcome) in join_all(named.into_iter().map(bring)).await {
            elsewhere = elsewhere.max(settle(answers, &places, outcome)?);
        }
        for group in unnamed {
            let (places, outcome) = bring(group).await;
            elsewhere = elsewhere.max(settle(answers, &places, outcome)?);
        }
        Ok(elsewhere)
    }

    async fn bring_group(
        &self,
        group: Group,
        until: Duration,
    ) -> (Vec<usize>, Result<Vec<Appended>, AppendError>) {
        (group.places, self.append_at(group.home, group.batches, until).await)
    }

    /// A partition says that there are so many: waits until that is known here too, or asks again where
    /// producers go that were forgotten there.
    pub(super) async fn look_again(&self, count: u32) {
        self.0.homes.forget();
        let mut topology = self.0.metadata.catalog().topology();
        let known = topology.wait_for(|topology| topology.counts.last() >= Some(&count));
        drop(self.0.parties.clock.timeout(COUNT_WAIT, known).await);
        self.0.parties.clock.sleep(super::PAUSE_MIN).await;
    }
}

/// Batches of one request that go to one partition, and their places in it.
#[derive(Debug)]
struct Group {
    home: PartitionId,
    places: Vec<usize>,
    batches: Vec<Checked>,
}

/// Whether nobody recognises a batch when it is sent again.
pub(super) fn is_unnamed(batch: &Checked) -> bool {
    batch.sequence.producer == 0
}

/// The batches that have no answer yet, by their partitions.
fn by_home(batches: &[Checked], homes: &[PartitionId], answers: &[Option<Appended>]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let all = batches.iter().zip(homes).zip(answers).enumerate();
    for (place, ((batch, home), _)) in all.filter(|(_, (_, answer))| answer.is_none()) {
        match groups.iter_mut().find(|group| group.home == *home) {
            Some(group) => {
                group.places.push(place);
                group.batches.push(batch.clone());
            }
            None => {
                let (places, batches) = (vec![place], vec![batch.clone()]);
                groups.push(Group { home: *home, places, batches });
            }
        }
    }
    groups
}

/// Notes the answers of a partition to what is at these places of a request. How many partitions there
/// are, if it says that they go elsewhere.
fn settle(
    answers: &mut [Option<Appended>],
    places: &[usize],
    outcome: Result<Vec<Appended>, AppendError>,
) -> Result<Option<u32>, AppendError> {
    match outcome {
        Ok(taken) => {
            for (place, appended) in places.iter().zip(taken) {
                if let Some(answer) = answers.get_mut(*place) {
                    *answer = Some(appended);
                }
            }
            Ok(None)
        }
        Err(AppendError::Elsewhere { count }) => Ok(Some(count)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use model::batch::Sequence;

    use super::*;

    const P: fn(u32) -> PartitionId = PartitionId;

    #[test]
    fn a_producer_goes_to_the_first_home_that_knows_it() {
        let homes = [P(1), P(4), P(7)];
        let known: BTreeSet<_> = [(P(4), 30), (P(7), 30), (P(1), 31)].into();
        let home = |producer| home_of(producer, &homes, &known);
        assert_eq!((home(30), home(31), home(32)), (Some(P(4)), Some(P(1)), Some(P(7))));
        assert_eq!(home_of(30, &[], &known), None);
    }

    #[test]
    fn what_has_no_answer_goes_home_in_its_order() {
        let batch = |producer: u64| Checked {
            sequence: Sequence { producer, epoch: 0, from: 0, to: 1 },
            stream: StreamId(1),
            record_count: 1,
            bytes: Bytes::new(),
        };
        let batches = [30, 31, 0, 32].map(batch);
        let taken = Appended { record_count: 1, duplicate: false, next: 1, first: None };
        let mut answers = vec![None, Some(taken), None, None];
        let homes = [P(4), P(4), P(1), P(4)];
        let groups = by_home(&batches, &homes, &answers);
        let places: Vec<(PartitionId, &[usize])> =
            groups.iter().map(|group| (group.home, &group.places[..])).collect();
        assert_eq!(places, [(P(4), &[0, 3][..]), (P(1), &[2][..])]);
        assert!(is_unnamed(&groups[1].batches[0]) && !is_unnamed(&groups[0].batches[0]));
        let elsewhere = Err(AppendError::Elsewhere { count: 6 });
        assert_eq!(settle(&mut answers, &[2], elsewhere).unwrap(), Some(6));
        assert!(settle(&mut answers, &[2], Err(AppendError::Unsure)).is_err());
        assert!(answers[0].is_none() && answers[2].is_none());
        assert_eq!(settle(&mut answers, &[0, 3], Ok(vec![taken; 2])).unwrap(), None);
        assert!(answers[0].is_some() && answers[2].is_none() && answers[3].is_some());
    }

    #[test]
    fn only_earlier_homes_are_asked_and_each_once_for_a_producer() {
        let stream = StreamId(9);
        let open = [
            ((30, stream), vec![P(1), P(4), P(7)]),
            ((30, stream), vec![P(1), P(4), P(7)]),
            ((31, stream), vec![P(1), P(2)]),
            ((32, stream), Vec::new()),
        ];
        let asked: Vec<(PartitionId, BTreeSet<u64>)> = questions(&open).into_iter().collect();
        let set = |producers: &[u64]| producers.iter().copied().collect::<BTreeSet<u64>>();
        assert_eq!(asked, [(P(1), set(&[30, 31])), (P(4), set(&[30]))]);
    }

    #[test]
    fn what_is_kept_holds_for_one_count_and_is_bounded() {
        let (kept, sender) = (Homes::default(), (30, StreamId(9)));
        assert_eq!(kept.keep(4, [(sender, P(1))]), 1);
        assert_eq!((kept.of(4, sender), kept.of(6, sender)), (Some(P(1)), None));
        assert_eq!(kept.of(4, (30, StreamId(8))), None);
        assert_eq!(kept.keep(6, [(sender, P(5))]), 1);
        assert_eq!((kept.of(4, sender), kept.of(6, sender)), (None, Some(P(5))));
        let many = |first: u64| {
            (first..first + HOMES_MAX as u64).map(|producer| ((producer, StreamId(9)), P(1)))
        };
        kept.keep(6, many(100));
        assert_eq!(kept.keep(6, [((7, StreamId(9)), P(2))]), 1);
        assert_eq!(kept.of(6, sender), None);
        kept.forget();
        assert_eq!(kept.of(6, (7, StreamId(9))), None);
    }
}
