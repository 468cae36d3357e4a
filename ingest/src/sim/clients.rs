//! Who sends: producers with sequences of their own, and requests that get a lane.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::batch::Sequence;
use model::partition::PartitionId;
use model::stream::StreamId;

use super::chance::Chance;
use super::world::{FEWER, MORE};
use crate::fleet::lanes::{Fate, Lane, Lanes};
use crate::partition::Checked;
use crate::route::{homes, owner};

/// How often who has sequences begins as another producer, percent: with its next file.
const NEW_LIFE_PERCENT: u64 = 10;

/// What a client has on its way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) batch: Checked,
    /// For a request without a sequence of its own: the partition in which it has one.
    pub(super) partition: Option<usize>,
    lane: Option<Lane>,
    /// How often it was sent.
    pub(super) tries: u64,
    /// A leader had it in its log: it may be taken, whatever is said later.
    pub(super) in_doubt: bool,
}

/// A client sends one batch after the other and sends again until it is answered.
#[derive(Debug)]
pub(super) struct Client {
    name: usize,
    stream: StreamId,
    has_sequence: bool,
    /// Which producer it is by now.
    life: u64,
    next: u64,
    pub(super) waiting: Option<Request>,
    /// What was acknowledged, in order.
    pub(super) acknowledged: Vec<String>,
}

/// A node's lanes: they go with the process.
#[derive(Debug, Default)]
pub(super) struct Ways(BTreeMap<usize, Lanes>);

impl Client {
    /// The streams of the first four move to a partition that is added, those of others stay.
    pub(super) fn new(name: usize, has_sequence: bool) -> Self {
        let moves = |stream: &StreamId| owner(*stream, u64::from(MORE)) == Some(PartitionId(FEWER));
        let mut fitting = (0..).map(StreamId).filter(|stream| moves(stream) == (name < 4));
        let stream = fitting.nth(name).unwrap();
        let (waiting, acknowledged, life, next) = Default::default();
        Self { name, stream, has_sequence, life, next, waiting, acknowledged }
    }

    /// The partitions of its stream.
    pub(super) fn homes(&self, counts: &[u32]) -> Vec<usize> {
        homes(self.stream, counts).into_iter().map(|home| home.0 as usize).collect()
    }

    /// The text of a record: who, and which one.
    pub(super) fn text(name: usize, number: u64) -> String {
        format!("{name}:{number}")
    }

    /// Begins the next request at a node that knows of so many partitions, if none is on its way.
    pub(super) fn begin(
        &mut self,
        ways: &mut Ways,
        (node, counts): (usize, &[u32]),
        chance: &mut Chance,
    ) {
        if self.waiting.is_some() {
            return;
        }
        let number = self.next;
        self.next += 1;
        self.life += u64::from(self.has_sequence && chance.percent(NEW_LIFE_PERCENT));
        let own = 1_000 + 100 * self.life + self.name as u64;
        let producer = if self.has_sequence { own } else { 0 };
        let sequence = Sequence { producer, epoch: 0, from: number, to: number + 1 };
        let bytes = Bytes::from(Self::text(self.name, number));
        let batch = Checked { sequence, stream: self.stream, record_count: 1, bytes };
        let last = self.homes(counts).pop().unwrap();
        self.waiting = Some(Request::new(batch, last, ways.0.entry(node).or_default(), chance));
    }

    /// The request of this client was not taken, for its stream belongs to another partition.
    pub(super) fn begin_again(
        &mut self,
        ways: &mut Ways,
        (node, counts): (usize, &[u32]),
        chance: &mut Chance,
    ) {
        let last = self.homes(counts).pop().unwrap();
        let Some(request) = self.waiting.take() else { return };
        let mut batch = request.batch.clone();
        if request.lane.is_some() {
            batch.sequence = Sequence::NONE;
        }
        request.end(ways, node, Fate::Refused);
        self.waiting = Some(Request::new(batch, last, ways.0.entry(node).or_default(), chance));
    }

    /// The answer came: taken now or before.
    pub(super) fn acknowledge(&mut self, ways: &mut Ways, node: usize) {
        let Some(request) = self.waiting.take() else { return };
        self.acknowledged.push(String::from_utf8(request.batch.bytes.to_vec()).unwrap());
        request.end(ways, node, Fate::Taken);
    }

    /// The client hears that it is not taken, or that nobody knows, and goes on with the next.
    pub(super) fn give_up(&mut self, ways: &mut Ways, node: usize) {
        // Who has sequences sends the same until it is taken.
        let Some(request) = self.waiting.take_if(|waiting| waiting.lane.is_some()) else { return };
        let fate = if request.in_doubt { Fate::InDoubt } else { Fate::Refused };
        request.end(ways, node, fate);
    }
}

impl Request {
    fn new(batch: Checked, last: usize, lanes: &Lanes, chance: &mut Chance) -> Self {
        let partition = PartitionId(u32::try_from(last).unwrap());
        let mut batches = [batch];
        let lane = lanes.take_as(partition, &mut batches, || chance.number().max(1));
        let ([batch], partition) = (batches, lane.is_some().then_some(last));
        Self { batch, partition, lane, tries: 0, in_doubt: false }
    }

    fn end(self, ways: &mut Ways, node: usize, fate: Fate) {
        let (Some(lane), Some(partition)) = (self.lane, self.partition) else { return };
        let partition = PartitionId(u32::try_from(partition).unwrap());
        ways.0.entry(node).or_default().give_back(partition, lane, fate);
    }
}

impl Ways {
    /// The node's process died: its lanes are gone.
    pub(super) fn forget(&mut self, node: usize) {
        self.0.remove(&node);
    }
}
