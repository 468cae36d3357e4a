//! Records that came in one request: grouped by stream, sealed into batches, delivered to the
//! partitions of their streams, answered in the order in which they came.

use std::collections::HashMap;

use axum::http::HeaderMap;
use bytes::Bytes;
use model::batch::{BatchBuilder, Sequence, weight};
use model::codec::{self, Head};
use model::error::Kind;
use model::json::{self, Flat, Quick, TIME_NAMES};
use model::limits::{BATCH_BYTES_MAX, BATCH_BYTES_TARGET, MESSAGE_BYTES_MAX};
use model::partition::{Offset, RecordId};
use model::record::{FieldValue, POISON_FIELD, Record};
use model::stream::{IndexName, Labels, StreamId};
use model::time::{SECOND, Timestamp};
use platform::http::ApiError;

use super::names::LARGE;
use super::{FENCED, IngestState};
use crate::partition::Appended;

/// Streams of one request: each costs a batch of its own.
pub(super) const STREAMS_MAX: usize = 8_192;

/// What makes a repeat of a request a no-op: its name, and what that stands for.
#[derive(Debug, Clone)]
pub(super) struct Key {
    name: Vec<u8>,
    /// A fingerprint of the body, plain.
    body: u32,
    /// Whether the request was given the name; else the name is what it holds.
    is_given: bool,
}

/// What the name of a record stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named {
    /// Nothing else from then on: who sends the same again can only repeat it.
    Once,
    /// The latest content: it may come back behind another one, unless it states its time.
    Latest,
}

impl Key {
    /// The key of that name for a request of that body, as it is when nothing packs it.
    pub(super) fn new(name: Vec<u8>, body: &[u8]) -> Self {
        let upper = xxhash_rust::xxh3::xxh3_64(body) >> 32;
        Self { name, body: u32::try_from(upper).unwrap_or_default(), is_given: true }
    }

    /// The key of a request without a name that holds just this, from a sender known by a name.
    pub(super) fn of_content(sender: &str, body: &[u8]) -> Self {
        let content = xxhash_rust::xxh3::xxh3_128(body).to_le_bytes();
        let name = [content.as_slice(), sender.as_bytes()].concat();
        Self { is_given: false, ..Self::new(name, body) }
    }

    /// The key of a part of the request.
    pub(super) fn part(&self, number: u64) -> Self {
        let name = [self.name.as_slice(), &number.to_le_bytes()].concat();
        Self { name, ..*self }
    }
}

/// The header that names a request.
pub(super) const KEY: &str = "idempotency-key";

/// The `Idempotency-Key` of a request with that body.
pub(super) fn key(headers: &HeaderMap, body: &[u8]) -> Option<Key> {
    headers.get(KEY).map(|key| Key::new(key.as_bytes().to_vec(), body))
}

/// Which of a parcel's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream(usize);

/// Gathers the records of one request.
#[derive(Debug)]
pub(super) struct Parcel {
    arrival: Timestamp,
    key: Option<Key>,
    streams: Vec<Open>,
    known: HashMap<(IndexName, Labels), Stream>,
    batches: Vec<Option<(Head, Bytes)>>,
    places: Vec<Place>,
    poisoned: u64,
    /// The time that the record states which was pushed last.
    stated: Option<Timestamp>,
}

/// Where a record is in its parcel.
#[derive(Debug, Clone, Copy)]
struct Place {
    batch: usize,
    row: u64,
}

/// A stream and its batch that is being filled.
#[derive(Debug)]
struct Open {
    index: IndexName,
    labels: Labels,
    /// For requests with a key: of its next batch.
    sequence: Option<Sequence>,
    filling: Option<Filling>,
}

/// A batch that is being filled.
#[derive(Debug)]
struct Filling {
    place: usize,
    builder: BatchBuilder,
    /// How many of its records have names, and the hash of all.
    named: usize,
    names: u128,
    /// How many of the names stand for nothing else.
    once: usize,
    /// Of how many others the record states a time, and whether one of these is no whole second.
    dated: usize,
    is_fine: bool,
}

impl Open {
    /// The sequence of a batch whose records all have names. Few that stand for the latest content may
    /// well come again as they were, behind others, and are then not taken for repeats; but who says the
    /// same of the same moment again only repeats it.
    fn sequence_of(&self, filling: &Filling) -> Option<Sequence> {
        let count = filling.builder.record_count();
        let are_of_one_moment = filling.once + filling.dated == count;
        let is_repeated = are_of_one_moment && (filling.once > 0 || filling.is_fine);
        if filling.named != count || !is_repeated && count < LARGE {
            return None;
        }
        let names = filling.names.to_le_bytes();
        let id = StreamId::of(&self.index, &self.labels);
        let producer = xxhash_rust::xxh3::xxh3_64_with_seed(&names, !id.0).max(1);
        let epoch = u32::try_from(filling.names >> 96).unwrap_or_default();
        let from = Sequence::OF_KEY | Sequence::OF_NAMES;
        Some(Sequence { producer, epoch, from, to: from + 1 })
    }
}

impl Parcel {
    /// An empty parcel. Records without a time get the time of arrival; with a key, what was
    /// taken under that key before is not taken again, and another body under it is refused.
    pub(super) fn new(arrival: Timestamp, key: Option<Key>) -> Self {
        Self {
            arrival,
            key,
            streams: Vec::new(),
            known: HashMap::new(),
            batches: Vec::new(),
            places: Vec::new(),
            poisoned: 0,
            stated: None,
        }
    }

    /// The stream of these labels.
    pub(super) fn stream(&mut self, index: IndexName, labels: Labels) -> Result<Stream, ApiError> {
        let name = (index, labels);
        if let Some(stream) = self.known.get(&name) {
            return Ok(*stream);
        }
        if self.streams.len() >= STREAMS_MAX {
            let words = format!("a request holds at most {STREAMS_MAX} streams");
            return Err(ApiError::new(Kind::Invalid, words)
                .code("too_large")
                .hint("send it in parts, and use fewer label values"));
        }
        let stream = Stream(self.streams.len());
        let id = StreamId::of(&name.0, &name.1);
        // Never 0, the same for the same key and stream.
        let producer = |key: &Key| xxhash_rust::xxh3::xxh3_64_with_seed(&key.name, id.0).max(1);
        let sequence = self.key.as_ref().map(|key| {
            let of_names = if key.is_given { 0 } else { Sequence::OF_NAMES };
            let from = Sequence::OF_KEY | of_names;
            Sequence { producer: producer(key), epoch: key.body, from, to: from + 1 }
        });
        let (index, labels) = name.clone();
        self.streams.push(Open { index, labels, sequence, filling: None });
        self.known.insert(name, stream);
        Ok(stream)
    }

    /// Takes the request's key away: what is in it is stored each time.
    pub(super) fn without_key(&mut self) {
        self.key = None;
        self.streams.iter_mut().for_each(|open| open.sequence = None);
        let sealed = self.batches.iter_mut().flatten();
        sealed.for_each(|(head, _)| head.sequence = Sequence::NONE);
    }

    /// How many streams there are.
    pub(super) fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Adds a record; a time that states no zone is UTC. `raw` is what came for it: kept as text should the record fit no batch.
    pub(super) fn push(
        &mut self,
        stream: Stream,
        mut record: Record,
        raw: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), ApiError> {
        if record.timestamp.is_none() {
            let text = |value: &FieldValue| match value {
                FieldValue::Text(text) => Timestamp::parse_zoneless(text),
                _ => None,
            };
            if let Some((at, moment)) = zoneless(&record.fields, text) {
                record.fields.remove(at);
                record.timestamp = Some(moment);
            }
        }
        let record = if weight(&record) > BATCH_BYTES_MAX {
            let reason = format!("a record is over {BATCH_BYTES_MAX} bytes");
            let kept = json::poisoned(&raw(), &reason);
            Record { timestamp: record.timestamp, level: record.level, ..kept }
        } else {
            record
        };
        let is_poisoned = record.fields.iter().any(|(name, _)| name == POISON_FIELD);
        self.poisoned += u64::from(is_poisoned);
        self.stated = record.timestamp;
        let arrival = self.arrival;
        self.put(stream, |builder| builder.take(&record, arrival))
    }

    /// The same of a record that was read quickly.
    pub(super) fn push_quick(
        &mut self,
        stream: Stream,
        record: &Quick<'_, '_>,
        raw: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), ApiError> {
        let is_timed = record.timestamp.is_some();
        let is_odd = |name: &str| name == POISON_FIELD || !is_timed && TIME_NAMES.contains(&name);
        let (_, weight) = record.weight();
        let is_large = record.message().len() > MESSAGE_BYTES_MAX || weight > BATCH_BYTES_MAX;
        if is_large || record.fields().any(|(name, _)| is_odd(name)) {
            return self.push_flat(stream, &mut record.into_flat(), raw);
        }
        self.stated = record.timestamp;
        let arrival = self.arrival;
        self.put(stream, |builder| builder.take_quick(record, arrival))
    }

    /// The same of a record that borrows its texts, of which only the buffers are left.
    pub(super) fn push_flat(
        &mut self,
        stream: Stream,
        record: &mut Flat<'_>,
        raw: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), ApiError> {
        if record.timestamp.is_none() {
            let text = |value: &json::Value<'_>| match value {
                json::Value::Text(text) => Timestamp::parse_zoneless(text),
                _ => None,
            };
            if let Some((at, moment)) = zoneless(&record.fields, text) {
                record.fields.remove(at);
                record.timestamp = Some(moment);
            }
        }
        let is_large =
            record.message.len() > MESSAGE_BYTES_MAX || record.weight() > BATCH_BYTES_MAX;
        if is_large || record.fields.iter().any(|(name, _)| name == POISON_FIELD) {
            return self.push(stream, std::mem::take(record).into_record(), raw);
        }
        self.stated = record.timestamp;
        let arrival = self.arrival;
        self.put(stream, |builder| builder.take_flat(record, arrival))
    }

    /// Names the record that was pushed last, to this stream, by its id and what it is. A batch of
    /// nothing but such records is recognised when the very same ones come again as one, at
    /// whichever node.
    pub(super) fn name(&mut self, stream: Stream, (id, content): (u128, u64), named: Named) {
        let open = self.streams.get_mut(stream.0);
        let Some(filling) = open.and_then(|open| open.filling.as_mut()) else { return };
        let parts = [filling.names.to_le_bytes(), id.to_le_bytes()].concat();
        filling.names = xxhash_rust::xxh3::xxh3_128_with_seed(&parts, content);
        filling.named += 1;
        match (named, self.stated) {
            (Named::Once, _) => filling.once += 1,
            (Named::Latest, Some(stated)) => {
                filling.dated += 1;
                filling.is_fine |= stated.0 % SECOND != 0;
            }
            (Named::Latest, None) => {}
        }
    }

    /// Adds the next record of a stream to its batch, or to a new one where it takes no more. An empty
    /// one takes any.
    fn put(
        &mut self,
        stream: Stream,
        take: impl Fn(&mut BatchBuilder) -> bool,
    ) -> Result<(), ApiError> {
        loop {
            let open = self.streams.get_mut(stream.0).ok_or_else(unknown)?;
            let filling = open.filling.get_or_insert_with(|| {
                self.batches.push(None);
                let builder = BatchBuilder::new(open.index.clone(), open.labels.clone());
                let place = self.batches.len() - 1;
                let (named, once, dated) = (0, 0, 0);
                Filling { place, builder, named, names: 0, once, dated, is_fine: false }
            });
            let row = filling.builder.record_count() as u64;
            if filling.builder.bytes() < BATCH_BYTES_TARGET && take(&mut filling.builder) {
                self.places.push(Place { batch: filling.place, row });
                return Ok(());
            }
            self.seal(stream)?;
        }
    }

    fn seal(&mut self, stream: Stream) -> Result<(), ApiError> {
        let open = self.streams.get_mut(stream.0).ok_or_else(unknown)?;
        let Some(filling) = open.filling.take() else { return Ok(()) };
        let sequence = open.sequence.or_else(|| open.sequence_of(&filling));
        let sequence = sequence.unwrap_or(Sequence::NONE);
        open.sequence = open.sequence.map(|one| Sequence { from: one.to, to: one.to + 1, ..one });
        let bytes = codec::encode(&filling.builder.finish(), sequence);
        let bytes = bytes.map_err(|error| refused(&error))?;
        let head = codec::head(&bytes).map_err(|error| refused(&error))?;
        if let Some(batch) = self.batches.get_mut(filling.place) {
            *batch = Some((head, bytes));
        }
        Ok(())
    }

    /// Seals what is open.
    pub(super) fn finish(mut self) -> Result<Packed, ApiError> {
        for stream in 0..self.streams.len() {
            self.seal(Stream(stream))?;
        }
        let batches = self.batches.into_iter().flatten().collect();
        let Self { places, poisoned, key, .. } = self;
        Ok(Packed { batches, places, poisoned, has_key: key.is_some_and(|key| key.is_given) })
    }
}

/// The field that states a time, and where it is.
fn zoneless<N: AsRef<str>, V>(
    fields: &[(N, V)],
    read: impl Fn(&V) -> Option<Timestamp>,
) -> Option<(usize, Timestamp)> {
    TIME_NAMES.iter().find_map(|known| {
        let at = fields.iter().position(|(name, _)| name.as_ref() == *known)?;
        Some((at, read(&fields.get(at)?.1)?))
    })
}

fn refused(error: &codec::DecodeError) -> ApiError {
    ApiError::new(Kind::Invalid, error.to_string())
}

fn unknown() -> ApiError {
    ApiError::new(Kind::Bug, "a record of a stream that was not named")
}

/// A whole request as batches.
#[derive(Debug, Clone)]
pub(super) struct Packed {
    batches: Vec<(Head, Bytes)>,
    /// Of each record.
    places: Vec<Place>,
    /// Records kept as text.
    poisoned: u64,
    has_key: bool,
}

impl Packed {
    /// Whether the request is recognised by its key when it comes again.
    pub(super) fn has_key(&self) -> bool {
        self.has_key
    }

    /// As it may be taken here: small batches that are known by what they hold are so as long as there
    /// is room for more of them, and are stored each time when there is none.
    pub(super) fn within(mut self, state: &IngestState) -> Self {
        let of_names = Sequence::OF_KEY | Sequence::OF_NAMES;
        let small = |(head, _): &&mut (Head, Bytes)| {
            head.sequence.from & of_names == of_names && (head.record_count as usize) < LARGE
        };
        let small: Vec<_> = self.batches.iter_mut().filter(small).collect();
        let parts = &state.0;
        if !small.is_empty() && !parts.names.take(small.len() as u64, parts.clock.elapsed()) {
            small.into_iter().for_each(|(head, _)| head.sequence = Sequence::NONE);
        }
        parts.metrics.names.set(parts.names.count());
        self
    }

    /// For who does not ask where each record is.
    pub(super) fn without_places(self) -> Self {
        Self { places: Vec::new(), ..self }
    }
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Delivered {
    batches: Vec<Result<Appended, ApiError>>,
    places: Vec<Place>,
    /// Records kept as text.
    pub(super) poisoned: u64,
}

impl Delivered {
    /// Where the record of that number is now, counted in the order of pushing; none for one
    /// that had been taken before.
    pub(super) fn of(&self, record: usize) -> Result<Option<RecordId>, &ApiError> {
        let Some(place) = self.places.get(record) else { return Ok(None) };
        let Some(batch) = self.batches.get(place.batch) else { return Ok(None) };
        let first = batch.as_ref().map(|taken| taken.first)?;
        Ok(first.map(|first| RecordId { offset: Offset(first.offset.0 + place.row), ..first }))
    }

    /// The first refusal, if nothing at all was taken.
    pub(super) fn refusal(&self) -> Option<&ApiError> {
        let taken = self.batches.iter().any(Result::is_ok);
        self.batches.iter().find_map(|batch| batch.as_ref().err()).filter(|_| !taken)
    }

    /// For those who offer again what was refused: how many records were taken, and the batches
    /// of `sent` that were not, with one of the reasons: one that will not pass, if there is one.
    pub(super) fn remaining(self, sent: Packed) -> (u64, Option<(Packed, ApiError)>) {
        let mut taken = 0;
        let mut batches = Vec::new();
        let mut refusal: Option<ApiError> = None;
        let Packed { batches: sent, poisoned, has_key, .. } = sent;
        for (answer, batch) in self.batches.into_iter().zip(sent) {
            match answer {
                Ok(appended) => taken += u64::from(appended.record_count),
                Err(error) => {
                    batches.push(batch);
                    let passes = matches!(error.kind, Kind::Overloaded | Kind::Unavailable);
                    if refusal.is_none() || !passes {
                        refusal = Some(error);
                    }
                }
            }
        }
        // What is kept as text is counted with the first batch that is taken.
        let poisoned = if taken > 0 { 0 } else { poisoned };
        let rest = |refusal| (Packed { batches, places: Vec::new(), poisoned, has_key }, refusal);
        (taken, refusal.map(rest))
    }

    /// Whether all of it had been taken before.
    pub(super) fn is_repeat(&self) -> bool {
        let is_repeat = |batch: &Result<Appended, ApiError>| {
            batch.as_ref().is_ok_and(|appended| appended.duplicate)
        };
        !self.batches.is_empty() && self.batches.iter().all(is_repeat)
    }
}

impl IngestState {
    /// Waits until the parcel is durable, or as much of it as can be.
    pub(super) async fn deliver(&self, door: &'static str, packed: Packed) -> Delivered {
        let Packed { batches, places, poisoned, has_key } = packed;
        let mut batches = self.append(batches).await;
        // Another body under a key that was used before: the key names what was sent, so this
        // one is not taken.
        for answer in batches.iter_mut().filter(|_| has_key) {
            if let Err(error) = answer
                && (error.detail.next.take().is_some() || error.detail.code == FENCED)
            {
                *error =
                    ApiError::new(Kind::Invalid, "this Idempotency-Key was used for another body")
                        .code("name_taken")
                        .hint("use a key of its own for each request");
            }
        }
        let taken = batches.iter().flatten().map(|taken| u64::from(taken.record_count)).sum();
        self.0.metrics.came_through(door, taken);
        // Repeats were counted when they came first.
        let fresh = batches.iter().flatten().any(|taken| !taken.duplicate);
        let poisoned = if fresh { poisoned } else { 0 };
        self.0.metrics.poisoned.inc_by(poisoned);
        Delivered { batches, places, poisoned }
    }
}

/// A text field.
pub(super) fn text(name: impl Into<String>, value: impl Into<String>) -> (String, FieldValue) {
    (name.into(), FieldValue::Text(value.into()))
}
