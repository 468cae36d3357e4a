//! Who sends: producers with sequences of their own, and requests that get a lane.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::batch::Sequence;
use model::partition::PartitionId;

use super::chance::Chance;
use crate::fleet::lanes::{Fate, Lane, Lanes};
use crate::partition::Checked;

/// What a client has on its way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) partition: usize,
    pub(super) batch: Checked,
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
    partition: usize,
    has_sequence: bool,
    next: u64,
    pub(super) waiting: Option<Request>,
    /// What was acknowledged, in order.
    pub(super) acknowledged: Vec<String>,
}

/// A node's lanes: they go with the process.
#[derive(Debug, Default)]
pub(super) struct Ways(BTreeMap<usize, Lanes>);

impl Client {
    pub(super) fn new(name: usize, partitions: usize, has_sequence: bool) -> Self {
        let (waiting, acknowledged) = Default::default();
        Self { name, partition: name % partitions, has_sequence, next: 0, waiting, acknowledged }
    }

    /// The text of a record: who, and which one.
    pub(super) fn text(name: usize, number: u64) -> String {
        format!("{name}:{number}")
    }

    /// Begins the next request at a node, if none is on its way.
    pub(super) fn begin(&mut self, ways: &mut Ways, node: usize, chance: &mut Chance) {
        if self.waiting.is_some() {
            return;
        }
        let number = self.next;
        self.next += 1;
        let producer = if self.has_sequence { 1_000 + self.name as u64 } else { 0 };
        let sequence = Sequence { producer, epoch: 0, from: number, to: number + 1 };
        let bytes = Bytes::from(Self::text(self.name, number));
        let mut batches = [Checked { sequence, record_count: 1, bytes }];
        let partition = PartitionId(u32::try_from(self.partition).unwrap());
        let lanes = ways.0.entry(node).or_default();
        let lane = lanes.take_as(partition, &mut batches, || chance.number().max(1));
        let [batch] = batches;
        let (partition, tries, in_doubt) = (self.partition, 0, false);
        self.waiting = Some(Request { partition, batch, lane, tries, in_doubt });
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
    fn end(self, ways: &mut Ways, node: usize, fate: Fate) {
        let Some(lane) = self.lane else { return };
        let partition = PartitionId(u32::try_from(self.partition).unwrap());
        ways.0.entry(node).or_default().give_back(partition, lane, fate);
    }
}

impl Ways {
    /// The node's process died: its lanes are gone.
    pub(super) fn forget(&mut self, node: usize) {
        self.0.remove(&node);
    }
}
