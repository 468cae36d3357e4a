//! `_bulk`: action and document in turn, read leniently; an answer for each, in order.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use cluster::aliases::Written;
use cluster::catalog::{Catalog, CatalogError};
use memchr::memmem;
use model::error::Kind;
use model::json::{self, Desk, Value};
use model::partition::RecordId;
use model::stream::{IndexName, Labels};
use platform::http::ApiError;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::action::{Operation, Target, action};
use super::answer;
use super::ids::{Claim, Claims, Ids};
use crate::doors::body::Packing;
use crate::doors::parcel::{Delivered, Named, Packed, Parcel, Stream, text};
use crate::doors::{IngestState, ndjson};

/// Actions of one request; the answer has an item for each.
pub(super) const ITEMS_MAX: usize = 262_144;
/// Bytes of an `_id`, as in Elasticsearch.
const ID_BYTES_MAX: usize = 512;

/// One document and what became of it.
#[derive(Debug)]
pub(super) struct Item {
    operation: Operation,
    index: Arc<str>,
    id: Option<Box<str>>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The record of that number.
    Pushed(usize),
    /// This very document is stored.
    Same,
    /// It is the record of that number, sent twice in one request.
    Twice(usize),
    Refused(u16, &'static str, String),
}

/// Reads documents, one way for `_bulk` and for single ones.
pub(super) struct Reader {
    parcel: Parcel,
    desk: Desk,
    ids: Ids,
    catalog: Catalog,
    /// The names that came: the index of each, and where its documents go.
    streams: Vec<(Box<str>, Arc<str>, Destination)>,
    /// Where they stand there by name, and the last one: most clients name one over and over.
    places: HashMap<Box<str>, usize>,
    latest: usize,
    items: Vec<Item>,
    records: usize,
    /// The ids that this request claims.
    claims: Claims,
    /// What their documents are, the records' numbers, and whether the ids were not known before.
    own: HashMap<u128, (u64, usize, bool)>,
}

/// Where the documents of a name go.
#[derive(Debug, Clone, Copy)]
enum Destination {
    Stream(Stream),
    /// It is no name of an index.
    NoName,
    /// It is an alias of several indexes.
    Unsaid,
}

impl Reader {
    pub(super) fn new(parcel: Parcel, ids: Ids, catalog: Catalog) -> Self {
        let (streams, places, items, own) = Default::default();
        let claims = Claims::new(ids.clone());
        let (latest, records) = (0, 0);
        let desk = Desk::default();
        Self { parcel, desk, ids, catalog, streams, places, latest, items, records, claims, own }
    }

    /// Reads a whole bulk.
    fn bulk(&mut self, body: &[u8], default: Option<&str>) -> Result<(), ApiError> {
        let mut lines = ndjson::lines(body);
        let mut number = 0;
        // Most clients write one action over and over.
        let mut last: Option<(&[u8], Operation, Target<'_>)> = None;
        while let Some(line) = lines.next() {
            number += 1;
            let (operation, target) = match &last {
                Some((same, operation, target)) if *same == line => (*operation, target),
                _ => {
                    let (operation, target) = action(line, number)?;
                    let (_, operation, target) = last.insert((line, operation, target));
                    (*operation, &*target)
                }
            };
            let document = if operation == Operation::Delete {
                None
            } else {
                number += 1;
                lines.next()
            };
            let index = target.index.as_deref().or(default).unwrap_or_default();
            self.document(operation, index, target.id.as_deref(), document)?;
        }
        Ok(())
    }

    /// Reads one document.
    pub(super) fn document(
        &mut self,
        operation: Operation,
        index: &str,
        id: Option<&str>,
        document: Option<&[u8]>,
    ) -> Result<(), ApiError> {
        if self.items.len() >= ITEMS_MAX {
            return Err(ApiError::new(
                Kind::Invalid,
                format!("a bulk holds at most {ITEMS_MAX} actions"),
            )
            .code("too_large")
            .hint("send it in parts"));
        }
        let (index, destination) = self.destination(index)?;
        let refused = |status, kind, reason| State::Refused(status, kind, reason);
        let state = match (operation, destination, document) {
            (Operation::Update | Operation::Delete, ..) => refused(
                400,
                "illegal_argument_exception",
                "records are not changed: send create or index; delete by query is in Sawlog's own API".to_owned(),
            ),
            (_, Destination::Unsaid, _) => refused(
                400,
                "illegal_argument_exception",
                format!(
                    "no write index is defined for alias [{index}]: set is_write_index on one of its indexes"
                ),
            ),
            (_, Destination::NoName, _) => refused(
                400,
                "invalid_index_name_exception",
                format!("{index:?} is no name of an index here: 1 to 128 of a-z 0-9 . _ -, not led by . or -"),
            ),
            (.., None) => refused(
                400,
                "action_request_validation_exception",
                "the document is missing".to_owned(),
            ),
            _ if id.is_some_and(|id| id.is_empty() || id.len() > ID_BYTES_MAX) => refused(
                400,
                "illegal_argument_exception",
                format!("an _id has 1 to {ID_BYTES_MAX} bytes"),
            ),
            (_, Destination::Stream(stream), Some(document)) => {
                self.store(operation, &index, stream, id, document)?
            }
        };
        let id = id.map(Box::<str>::from);
        self.items.push(Item { operation, index, id, state });
        Ok(())
    }

    fn destination(&mut self, name: &str) -> Result<(Arc<str>, Destination), ApiError> {
        let latest = self.streams.get(self.latest);
        if latest.is_none_or(|(known, ..)| **known != *name) {
            self.latest = match self.places.get(name) {
                Some(place) => *place,
                None => self.place(name)?,
            };
        }
        let found = self.streams.get(self.latest);
        let found = found.map(|(_, index, destination)| (index.clone(), *destination));
        found.ok_or_else(|| ApiError::new(Kind::Bug, "a name of an index is not at its place"))
    }

    /// The place of a name that did not come before.
    fn place(&mut self, name: &str) -> Result<usize, ApiError> {
        let unknown = |error: CatalogError| ApiError::new(Kind::Unavailable, error.to_string());
        let (index, destination): (Arc<str>, Destination) = match IndexName::new(name) {
            Err(_) => (name.into(), Destination::NoName),
            Ok(index) => match self.catalog.written(name).map_err(unknown)? {
                Written::Unsaid => (name.into(), Destination::Unsaid),
                Written::AsNamed => {
                    let stream = self.parcel.stream(index, Labels::default())?;
                    (name.into(), Destination::Stream(stream))
                }
                Written::To(to) => {
                    let index =
                        IndexName::new(&to).map_err(|error| malformed(error.to_string()))?;
                    let stream = self.parcel.stream(index, Labels::default())?;
                    (to.into(), Destination::Stream(stream))
                }
            },
        };
        let place = self.streams.len();
        self.streams.push((name.into(), index, destination));
        self.places.insert(name.into(), place);
        Ok(place)
    }

    fn store(
        &mut self,
        operation: Operation,
        index: &str,
        stream: Stream,
        id: Option<&str>,
        document: &[u8],
    ) -> Result<State, ApiError> {
        let conflict = |id: &str| {
            let reason = format!("[{id}]: version conflict, document already exists");
            State::Refused(409, "version_conflict_engine_exception", reason)
        };
        // What the document is, also where its id stands for another one of this request. Where the id
        // stood for another one before, it may stand again for what came first: that is no repeat.
        let mut name = None;
        let claimed = match id.map(|id| (id, self.ids.claim(index, id, document))) {
            None => None,
            Some((_, Claim::Take(claimed))) => {
                name = Some((claimed.key, claimed.content));
                Some(claimed)
            }
            Some((id, Claim::Same)) if operation == Operation::Create => return Ok(conflict(id)),
            Some((_, Claim::Same)) => return Ok(State::Same),
            Some((id, Claim::Changed(claimed))) if operation == Operation::Create => {
                self.ids.settle(claimed, Err(()));
                return Ok(conflict(id));
            }
            Some((_, Claim::Changed(claimed))) => Some(claimed),
            Some((id, Claim::Busy { key, content })) => match self.own.get(&key) {
                Some(_) if operation == Operation::Create => return Ok(conflict(id)),
                Some((same, number, _)) if *same == content => return Ok(State::Twice(*number)),
                // Kept beside the first, which the id stands for.
                Some((.., is_new)) => {
                    name = is_new.then_some((key, content));
                    None
                }
                None => {
                    let reason = format!("[{id}] is being stored by another action: send it again");
                    return Ok(State::Refused(429, "es_rejected_execution_exception", reason));
                }
            },
        };
        let number = self.records;
        if let Some(claimed) = claimed {
            self.own.insert(claimed.key, (claimed.content, number, name.is_some()));
            self.claims.add(number, claimed);
        }
        self.records += 1;
        let raw = || document.to_vec();
        let pushed = match self.desk.read(document) {
            Ok(record) => {
                let record = id.map_or(record, |id| record.with("_id", id));
                self.parcel.push_quick(stream, &record, raw)
            }
            Err(_) => match json::flat_of_any(document) {
                Ok(mut record) => {
                    let id = id.map(|id| (Cow::Borrowed("_id"), Value::Text(Cow::Borrowed(id))));
                    record.fields.extend(id);
                    self.parcel.push_flat(stream, &mut record, raw)
                }
                Err(error) => {
                    let mut record = json::poisoned(document, &error.to_string());
                    record.fields.extend(id.map(|id| text("_id", id)));
                    self.parcel.push(stream, record, raw)
                }
            },
        };
        pushed?;
        if let Some(name) = name {
            let named = match operation {
                Operation::Create => Named::Once,
                _ => Named::Latest,
            };
            self.parcel.name(stream, name, named);
        }
        Ok(State::Pushed(number))
    }
}

fn malformed(words: String) -> ApiError {
    ApiError::new(Kind::Invalid, words)
}

/// What a request stores.
pub(super) enum Given {
    Bulk { index: Option<String> },
    One { operation: Operation, index: String, id: Option<String> },
}

impl Given {
    /// A fingerprint of documents with ids: who says the same meanwhile waits. Of a bulk the first one
    /// tells whether there are any.
    fn said(&self, body: &[u8]) -> Option<u64> {
        let of_id = match self {
            Self::Bulk { .. } => {
                let first = body.trim_ascii_start().split(|byte| *byte == b'\n').next()?;
                memmem::find(first, b"\"_id\"").map(|_| 0)?
            }
            Self::One { id, .. } => xxh3_64(id.as_ref()?.as_bytes()),
        };
        Some(xxh3_64_with_seed(body, of_id))
    }
}

/// What was read of a body: what is answered, the ids that wait, and what is to be stored.
type Parsed = (Vec<Item>, Claims, Result<Packed, ApiError>);

/// Stores a request and says what became of each document. Goes on when the client leaves, so
/// that its ids are settled.
pub(super) async fn store(
    state: IngestState,
    (ids, catalog): (Ids, Catalog),
    given: Given,
    packing: Packing,
    body: Bytes,
) -> Result<(Vec<Item>, Delivered), ApiError> {
    let arrival = state.0.clock.now();
    let parse = {
        let ids = ids.clone();
        move |given: Given, body: Bytes| -> Result<Parsed, ApiError> {
            let mut reader = Reader::new(Parcel::new(arrival, None), ids, catalog);
            let read = match given {
                Given::Bulk { index } => reader.bulk(&body, index.as_deref()),
                Given::One { operation, index, id } => {
                    let document = Some(body.trim_ascii()).filter(|body| !body.is_empty());
                    reader.document(operation, &index, id.as_deref(), document)
                }
            };
            Ok((reader.items, reader.claims, read.and_then(|()| reader.parcel.finish())))
        }
    };
    let task = tokio::spawn(async move {
        let broken = |_| ApiError::new(Kind::Bug, "the documents could not be read");
        let body = match packing {
            Packing::Plain => body,
            _ => tokio::task::spawn_blocking(move || packing.unpack(body))
                .await
                .map_err(broken)??,
        };
        let mut turn = None;
        if let Some(said) = given.said(&body) {
            turn = Some(ids.turns().take(said).await);
        }
        let parse = tokio::task::spawn_blocking(move || parse(given, body));
        let (items, claims, packed) = parse.await.map_err(broken)??;
        let delivered = match packed {
            Ok(packed) => Ok(state.deliver("elasticsearch", packed.within(&state)).await),
            Err(error) => Err(error),
        };
        let is_stored = |number| delivered.as_ref().is_ok_and(|all| all.of(number).is_ok());
        let settled = claims.settle(is_stored);
        let saving = ids.clone();
        tokio::task::spawn_blocking(move || saving.save(&settled)).await.map_err(broken)?;
        state.0.metrics.ids.set(ids.count() as u64);
        drop(turn);
        Ok((items, delivered?))
    });
    task.await.map_err(|_| ApiError::new(Kind::Bug, "the documents could not be stored"))?
}

impl Item {
    /// Whether its status is an error.
    fn is_refused(&self, delivered: &Delivered) -> bool {
        match &self.state {
            State::Refused(..) => true,
            State::Same => false,
            State::Pushed(number) | State::Twice(number) => delivered.of(*number).is_err(),
        }
    }
}

/// The answer of a bulk, spelled as clients look for it: `took` first, then `errors`, no spaces.
pub(super) fn answer(items: &[Item], delivered: &Delivered, took_ms: u128) -> String {
    let has_errors = items.iter().any(|item| item.is_refused(delivered));
    let mut text = String::with_capacity(64 + items.len() * 200);
    put(&mut text, format_args!("{{\"took\":{took_ms},\"errors\":{has_errors},\"items\":["));
    for (at, item) in items.iter().enumerate() {
        text.push_str(if at > 0 { ",{\"" } else { "{\"" });
        text.push_str(item.operation.name());
        text.push_str("\":");
        render(&mut text, item, delivered);
        text.push('}');
    }
    text.push_str("]}");
    text
}

/// Status and answer of one document.
pub(super) fn outcome(item: &Item, delivered: &Delivered) -> (u16, String) {
    let mut body = String::new();
    let status = render(&mut body, item, delivered);
    (status, body)
}

/// Writes the answer of one document; its status.
fn render(out: &mut String, item: &Item, delivered: &Delivered) -> u16 {
    match &item.state {
        State::Refused(status, kind, reason) => refused(out, item, *status, (kind, reason)),
        State::Same => stored(out, item, None, NOOP),
        State::Pushed(number) | State::Twice(number) => match delivered.of(*number) {
            Ok(_) if matches!(item.state, State::Twice(_)) => stored(out, item, None, NOOP),
            Ok(place) => stored(out, item, place, CREATED),
            Err(error) => {
                let status = error.status();
                let kind = match status.as_u16() {
                    429 => "es_rejected_execution_exception",
                    _ => "unavailable_shards_exception",
                };
                let reason = answer::reason(Some(&error.detail), status);
                refused(out, item, status.as_u16(), (kind, &reason))
            }
        },
    }
}

fn refused(out: &mut String, item: &Item, status: u16, (kind, reason): (&str, &str)) -> u16 {
    begin(out, &item.index);
    quote(out, item.id.as_deref().unwrap_or_default());
    put(out, format_args!(",\"status\":{status},\"error\":{{\"type\":"));
    quote(out, kind);
    out.push_str(",\"reason\":");
    quote(out, reason);
    out.push_str("}}");
    status
}

/// What stands behind the id of a document that is stored, before and behind its place, and its status.
type Told = (&'static str, &'static str, u16);
const CREATED: Told = (
    ",\"_version\":1,\"result\":\"created\",\"_shards\":{\"total\":1,\"successful\":1,\"failed\":0},\"_seq_no\":",
    ",\"_primary_term\":1,\"status\":201}",
    201,
);
const NOOP: Told = (
    ",\"_version\":1,\"result\":\"noop\",\"_shards\":{\"total\":1,\"successful\":1,\"failed\":0},\"_seq_no\":",
    ",\"_primary_term\":1,\"status\":200}",
    200,
);

fn stored(
    out: &mut String,
    item: &Item,
    place: Option<RecordId>,
    (before, behind, status): Told,
) -> u16 {
    begin(out, &item.index);
    match (&item.id, place) {
        (Some(id), _) => quote(out, id),
        (None, Some(place)) => {
            out.push('"');
            answer::record_id(out, place);
            out.push('"');
        }
        (None, None) => out.push_str("\"\""),
    }
    out.push_str(before);
    answer::number::<10>(out, place.map_or(0, |place| place.offset.0));
    out.push_str(behind);
    status
}

/// All before the id.
fn begin(out: &mut String, index: &str) {
    out.push_str("{\"_index\":");
    quote(out, index);
    out.push_str(",\"_id\":");
}

fn quote(out: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        put(out, format_args!("{}", serde_json::Value::from(text)));
    }
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let written = out.write_fmt(text);
    debug_assert!(written.is_ok(), "a string takes all text");
}
