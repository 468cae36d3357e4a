//! A partition of a topic: its place in the queue, and the messages that wait to be stored.

use bytes::Bytes;
use model::batch::{BatchBuilder, Sequence};
use model::codec::{self, DecodeError, Head};
use model::limits::BATCH_BYTES_TARGET;
use model::stream::{IndexName, Labels, StreamId};
use model::time::Timestamp;

use super::message::Message;

/// A partition of a topic, by name.
pub(super) type Name = (String, i32);

/// Where a partition's records go, and by what they are told from others.
#[derive(Debug, Clone)]
pub(super) struct Lane {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) index: IndexName,
    pub(super) labels: Labels,
    pub(super) stream: StreamId,
    /// The same at every node and in every life: source, topic and partition.
    pub(super) producer: u64,
}

impl Lane {
    pub(super) fn new(source: &str, name: &Name, index: IndexName, labels: Labels) -> Self {
        let (topic, partition) = name.clone();
        let stream = StreamId::of(&index, &labels);
        let text = [source.as_bytes(), topic.as_bytes()].join(&0);
        let seed = u64::from(partition.cast_unsigned());
        let producer = xxhash_rust::xxh3::xxh3_64_with_seed(&text, seed).max(1);
        Self { topic, partition, index, labels, stream, producer }
    }
}

/// How far the queue has come, as far as it has told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// The topic's life: one more each time that it was made anew.
    pub(super) epoch: u32,
    /// The first offset that is not stored.
    pub(super) next: Option<u64>,
}

/// What the broker has of a partition: its first offset, and the first that is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) low: u64,
    pub(super) high: u64,
}

/// What to do when the queue is somewhere else than we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    /// Go on from its place.
    Go,
    /// Messages before ours are missing there: read them first.
    Back {
        /// Where they begin.
        to: u64,
    },
}

impl Position {
    /// The queue says that `next` is the first offset it does not have; `first` and `last` are
    /// those we hold, `extent` is what the broker has.
    pub(super) fn learn(&mut self, next: u64, first: u64, extent: Extent) -> Course {
        if next > extent.high {
            // The queue has what the broker never had: the topic was deleted and made anew, or
            // its log was cut. What it holds now is stored as a new life.
            *self = Self { epoch: self.epoch + 1, next: None };
            return Course::Go;
        }
        self.next = Some(next);
        match next.max(extent.low) {
            to if to < first => Course::Back { to },
            _ => Course::Go,
        }
    }
}

/// Messages that wait, in the order of their offsets.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    messages: Vec<Message>,
    bytes: usize,
}

impl Waiting {
    /// Adds one. One that is not behind the last says that reading began anew.
    pub(super) fn push(&mut self, message: Message) {
        if self.messages.last().is_some_and(|last| last.offset >= message.offset) {
            *self = Self::default();
        }
        self.bytes += message.bytes();
        self.messages.push(message);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// Forgets what is stored.
    pub(super) fn skip(&mut self, below: u64) {
        self.messages.retain(|message| message.offset >= below);
    }

    /// The first and the last offset.
    pub(super) fn ends(&self) -> Option<(u64, u64)> {
        Some((self.messages.first()?.offset, self.messages.last()?.offset))
    }

    /// The batches that store them, and how many records are kept as text.
    pub(super) fn pack(
        &self,
        lane: &Lane,
        position: Position,
        arrival: Timestamp,
    ) -> Result<(Vec<(Head, Bytes)>, u64), DecodeError> {
        let (mut batches, mut poisoned) = (Vec::new(), 0);
        let first = self.ends().map(|(first, _)| first);
        let mut from = position.next.or(first).unwrap_or_default();
        let mut to = from;
        let mut seal = |builder: BatchBuilder, from: u64, to: u64| {
            let sequence = Sequence { producer: lane.producer, epoch: position.epoch, from, to };
            let bytes = codec::encode(&builder.finish(), sequence)?;
            batches.push((codec::head(&bytes)?, bytes));
            Ok(())
        };
        let empty = || BatchBuilder::new(lane.index.clone(), lane.labels.clone());
        let mut builder = empty();
        for message in &self.messages {
            let (record, is_poisoned) = message.record();
            poisoned += u64::from(is_poisoned);
            let full = !builder.fits(&record) || builder.bytes() >= BATCH_BYTES_TARGET;
            if full && builder.record_count() > 0 {
                seal(std::mem::replace(&mut builder, empty()), from, to)?;
                from = to;
            }
            builder.push(record, arrival);
            to = message.offset + 1;
        }
        if builder.record_count() > 0 {
            seal(builder, from, to)?;
        }
        Ok((batches, poisoned))
    }
}
