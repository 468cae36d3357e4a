//! `_bulk`: action and document in turn, read leniently; an answer for each, in order.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use cluster::aliases::Written;
use cluster::catalog::{Catalog, CatalogError};
use model::error::Kind;
use model::json::{self, Value};
use model::stream::{IndexName, Labels};
use platform::http::ApiError;
use serde::Deserialize;

use super::answer;
use super::ids::{Claim, Claims, Ids};
use crate::doors::body::Packing;
use crate::doors::parcel::{Delivered, Named, Packed, Parcel, Stream, text};
use crate::doors::{IngestState, ndjson};

/// Actions of one request; the answer has an item for each.
pub(super) const ITEMS_MAX: usize = 262_144;
/// Bytes of an `_id`, as in Elasticsearch.
const ID_BYTES_MAX: usize = 512;

/// An action of a bulk. What stands beside the action is of no concern.
#[derive(Debug, Deserialize)]
struct Action<'a> {
    #[serde(borrow)]
    create: Option<Target<'a>>,
    index: Option<Target<'a>>,
    update: Option<Target<'a>>,
    delete: Option<Target<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Target<'a> {
    #[serde(borrow)]
    _index: Option<Cow<'a, str>>,
    _id: Option<serde_json::Value>,
}

/// What is done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Index,
    Update,
    Delete,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Index => "index",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

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
    ids: Ids,
    catalog: Catalog,
    /// By the names that came: the index, and where its documents go.
    streams: HashMap<Box<str>, (Arc<str>, Destination)>,
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
        let (streams, items, own) = Default::default();
        let claims = Claims::new(ids.clone());
        Self { parcel, ids, catalog, streams, items, records: 0, claims, own }
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
            let index = target._index.as_deref().or(default).unwrap_or_default();
            let id = match &target._id {
                None | Some(serde_json::Value::Null) => None,
                Some(serde_json::Value::String(id)) => Some(id.clone()),
                Some(other) => Some(other.to_string()),
            };
            self.document(operation, index, id, document)?;
        }
        Ok(())
    }

    /// Reads one document.
    pub(super) fn document(
        &mut self,
        operation: Operation,
        index: &str,
        id: Option<String>,
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
            _ if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > ID_BYTES_MAX) => refused(
                400,
                "illegal_argument_exception",
                format!("an _id has 1 to {ID_BYTES_MAX} bytes"),
            ),
            (_, Destination::Stream(stream), Some(document)) => {
                self.store(operation, &index, stream, id.as_deref(), document)?
            }
        };
        let id = id.map(String::into_boxed_str);
        self.items.push(Item { operation, index, id, state });
        Ok(())
    }

    fn destination(&mut self, name: &str) -> Result<(Arc<str>, Destination), ApiError> {
        if let Some(known) = self.streams.get(name) {
            return Ok(known.clone());
        }
        let unknown = |error: CatalogError| ApiError::new(Kind::Unavailable, error.to_string());
        let found = match IndexName::new(name) {
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
        self.streams.insert(name.into(), found.clone());
        Ok(found)
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
        let pushed = match json::flat(document) {
            Ok(mut record) => {
                let id = id.map(|id| (Cow::Borrowed("_id"), Value::Text(Cow::Borrowed(id))));
                record.fields.extend(id);
                self.parcel.push_flat(stream, record, || document.to_vec())
            }
            Err(error) => {
                let mut record = json::poisoned(document, &error.to_string());
                record.fields.extend(id.map(|id| text("_id", id)));
                self.parcel.push(stream, record, || document.to_vec())
            }
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

/// What the line before a document says of it.
fn action(line: &[u8], number: usize) -> Result<(Operation, Target<'_>), ApiError> {
    let action: Action<'_> = serde_json::from_slice(line).map_err(|error| {
        malformed(format!("Malformed action/metadata line [{number}]: {error}"))
    })?;
    match action {
        Action { create: Some(target), .. } => Ok((Operation::Create, target)),
        Action { index: Some(target), .. } => Ok((Operation::Index, target)),
        Action { update: Some(target), .. } => Ok((Operation::Update, target)),
        Action { delete: Some(target), .. } => Ok((Operation::Delete, target)),
        Action { .. } => Err(malformed(format!(
            "Malformed action/metadata line [{number}], expected one of create, index, update or delete"
        ))),
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
        move || -> Result<Parsed, ApiError> {
            let body = packing.unpack(body)?;
            let mut reader = Reader::new(Parcel::new(arrival, None), ids, catalog);
            let read = match given {
                Given::Bulk { index } => reader.bulk(&body, index.as_deref()),
                Given::One { operation, index, id } => {
                    let document = Some(body.trim_ascii()).filter(|body| !body.is_empty());
                    reader.document(operation, &index, id, document)
                }
            };
            Ok((reader.items, reader.claims, read.and_then(|()| reader.parcel.finish())))
        }
    };
    let task = tokio::spawn(async move {
        let broken = |_| ApiError::new(Kind::Bug, "the documents could not be read");
        let (items, claims, packed) =
            tokio::task::spawn_blocking(parse).await.map_err(broken)??;
        let delivered = match packed {
            Ok(packed) => Ok(state.deliver("elasticsearch", packed.within(&state)).await),
            Err(error) => Err(error),
        };
        let is_stored = |number| delivered.as_ref().is_ok_and(|all| all.of(number).is_ok());
        let settled = claims.settle(is_stored);
        let saving = ids.clone();
        tokio::task::spawn_blocking(move || saving.save(&settled)).await.map_err(broken)?;
        state.0.metrics.ids.set(ids.count() as u64);
        Ok((items, delivered?))
    });
    task.await.map_err(|_| ApiError::new(Kind::Bug, "the documents could not be stored"))?
}

/// The answer of a bulk, spelled as clients look for it: `took` first, then `errors`, no spaces.
pub(super) fn answer(items: &[Item], delivered: &Delivered, took_ms: u128) -> String {
    let mut rendered = String::with_capacity(items.len() * 200);
    let mut has_errors = false;
    for (at, item) in items.iter().enumerate() {
        rendered.push_str(if at > 0 { ",{\"" } else { "{\"" });
        rendered.push_str(item.operation.name());
        rendered.push_str("\":");
        has_errors |= render(&mut rendered, item, delivered) >= 400;
        rendered.push('}');
    }
    format!("{{\"took\":{took_ms},\"errors\":{has_errors},\"items\":[{rendered}]}}")
}

/// Status and answer of one document.
pub(super) fn outcome(item: &Item, delivered: &Delivered) -> (u16, String) {
    let mut body = String::new();
    let status = render(&mut body, item, delivered);
    (status, body)
}

/// Writes the answer of one document; its status.
fn render(out: &mut String, item: &Item, delivered: &Delivered) -> u16 {
    let id = item.id.as_deref().unwrap_or_default();
    let refused = |out: &mut String, status: u16, kind: &str, reason: &str| {
        begin(out, &item.index, id);
        put(out, format_args!(",\"status\":{status},\"error\":{{\"type\":"));
        quote(out, kind);
        out.push_str(",\"reason\":");
        quote(out, reason);
        out.push_str("}}");
        status
    };
    match &item.state {
        State::Refused(status, kind, reason) => refused(out, *status, kind, reason),
        State::Same => stored(out, (&item.index, id), "noop", 0, 200),
        State::Pushed(number) | State::Twice(number) => match delivered.of(*number) {
            Ok(_) if matches!(item.state, State::Twice(_)) => {
                stored(out, (&item.index, id), "noop", 0, 200)
            }
            Err(error) => {
                let status = error.status();
                let kind = match status.as_u16() {
                    429 => "es_rejected_execution_exception",
                    _ => "unavailable_shards_exception",
                };
                let reason = answer::reason(Some(&error.detail), status);
                refused(out, status.as_u16(), kind, &reason)
            }
            Ok(place) => {
                let offset = place.map_or(0, |place| place.offset.0);
                let given = item.id.as_deref().map(Cow::Borrowed);
                let id = given.or_else(|| place.map(|place| Cow::Owned(place.to_string())));
                let name = (&*item.index, id.as_deref().unwrap_or_default());
                stored(out, name, "created", offset, 201)
            }
        },
    }
}

fn stored(out: &mut String, name: (&str, &str), result: &str, place: u64, status: u16) -> u16 {
    begin(out, name.0, name.1);
    put(
        out,
        format_args!(
            ",\"_version\":1,\"result\":\"{result}\",\"_shards\":{{\"total\":1,\"successful\":1,\"failed\":0}},\"_seq_no\":{place},\"_primary_term\":1,\"status\":{status}}}"
        ),
    );
    status
}

fn begin(out: &mut String, index: &str, id: &str) {
    out.push_str("{\"_index\":");
    quote(out, index);
    out.push_str(",\"_id\":");
    quote(out, id);
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
