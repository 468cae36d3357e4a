//! Loki's push door: streams with labels, as JSON or as snappy-packed protobuf.

mod labels;
mod wire;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use model::error::Kind;
use model::json;
use model::level::Level;
use model::limits::{FIELD_NAME_BYTES_MAX, LABEL_BYTES_MAX, RECORD_FIELDS_MAX, REQUEST_BYTES_MAX};
use model::record::{KEPT_FIELD, POISON_FIELD, Record};
use model::text::{cut, keep_text};
use model::time::{SECOND, Timestamp};
use platform::http::ApiError;
use prost::Message as _;

use self::labels::{Named, Written};
use self::wire::{
    JsonEntry, JsonLabels, JsonRequest, JsonStream, PushEntry, PushRequest, PushStream, PushTime,
};
use super::parcel::{self, Packed, Parcel, text};
use super::{IngestState, body};

/// Bytes of a reason: it may name what was sent.
const REASON_BYTES_MAX: usize = 300;

pub(super) async fn take(
    State(state): State<IngestState>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    // Some clients say `snappy` of what every push of protobuf is by itself.
    let is_snappy = headers.get(header::CONTENT_ENCODING).is_some_and(|said| said == "snappy");
    let packing = if is_snappy { body::Packing::Plain } else { body::Packing::of(&headers)? };
    let arrival = state.0.clock.now();
    let tenant = tenant(&headers)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
    let body = body::read(body).await?;
    let parse = move || {
        let body = packing.unpack(body)?;
        let parcel = Parcel::new(arrival, parcel::key(&headers, &body));
        let mut push = Push { parcel, tenant, has_stream: false, refusal: None };
        if is_json {
            push.json(&body)?
        } else {
            push.protobuf(&body)?
        }
        push.finish()
    };
    state.take("loki", parse).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whose records a push brings. What names none, or several, cannot be asked for by its name.
fn tenant(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(header) = headers.get("x-scope-orgid") else { return Ok(None) };
    match header.to_str().map(str::trim) {
        Ok("") => Err(invalid("no org id: X-Scope-OrgID is empty")),
        Ok(name) if name.len() <= LABEL_BYTES_MAX && !name.contains('|') => {
            Ok(Some(name.to_owned()))
        }
        _ => Err(invalid("X-Scope-OrgID is not the name of one tenant")),
    }
}

fn invalid(words: impl std::fmt::Display) -> ApiError {
    ApiError::new(Kind::Invalid, words.to_string())
}

/// A push that is being read.
struct Push {
    parcel: Parcel,
    tenant: Option<String>,
    /// Whether anything in it was a stream.
    has_stream: bool,
    /// Why the first that was none is none.
    refusal: Option<ApiError>,
}

impl Push {
    /// What was read. Where nothing was a stream it was no push.
    fn finish(self) -> Result<Packed, ApiError> {
        match self.refusal.filter(|_| !self.has_stream) {
            Some(refusal) => Err(refusal),
            None => self.parcel.finish(),
        }
    }

    fn json(&mut self, body: &[u8]) -> Result<(), ApiError> {
        let request: JsonRequest<'_> = serde_json::from_slice(body).map_err(invalid)?;
        for raw in request.streams {
            match serde_json::from_str::<JsonStream<'_>>(raw.get()) {
                Ok(stream) => self.json_stream(stream)?,
                Err(error) => self.no_stream(raw.get().as_bytes(), &error)?,
            }
        }
        Ok(())
    }

    fn json_stream(&mut self, stream: JsonStream<'_>) -> Result<(), ApiError> {
        let written = match stream.stream {
            JsonLabels::Map(labels) => Written::Pairs(
                labels.into_iter().map(|(name, value)| (name, plain(value))).collect(),
            ),
            JsonLabels::Text(text) => Written::read(&text),
        };
        let named = self.named(&written)?;
        for raw in stream.values {
            let (time, line, metadata) = match serde_json::from_str(raw.get()) {
                Ok(JsonEntry::Whole(time, line, metadata)) => (time, line, metadata),
                Ok(JsonEntry::Short(time, line)) => (time, line, serde_json::Map::new()),
                Ok(JsonEntry::Old { ts, line }) => (ts, line, serde_json::Map::new()),
                Err(_) => {
                    let reason = "not an entry of a time and a line";
                    self.no_entry(&named, raw.get().as_bytes(), reason)?;
                    continue;
                }
            };
            let read = time.parse().map(Timestamp).ok().or_else(|| Timestamp::parse(&time));
            let time = read.map(Some).ok_or_else(|| format!("{time:?} is no time in nanoseconds"));
            let metadata = metadata.into_iter().map(|(name, value)| (name, plain(value)));
            self.line(&named, time, line.as_bytes(), metadata.collect())?;
        }
        Ok(())
    }

    fn protobuf(&mut self, body: &[u8]) -> Result<(), ApiError> {
        // The length comes first; memory is taken after it was looked at.
        let bytes = snap::raw::decompress_len(body).map_err(invalid)?;
        if bytes > REQUEST_BYTES_MAX {
            return Err(body::too_large());
        }
        let body = snap::raw::Decoder::new().decompress_vec(body).map_err(invalid)?;
        let request = PushRequest::decode(Bytes::from(body)).map_err(invalid)?;
        for raw in request.streams {
            match PushStream::decode(raw.clone()) {
                Ok(stream) => self.protobuf_stream(stream)?,
                Err(error) => self.no_stream(&raw, &error)?,
            }
        }
        Ok(())
    }

    fn protobuf_stream(&mut self, stream: PushStream) -> Result<(), ApiError> {
        let named = self.named(&Written::read(&keep_text(&stream.labels).0))?;
        for raw in stream.entries {
            let entry = match PushEntry::decode(raw.clone()) {
                Ok(entry) => entry,
                Err(error) => {
                    self.no_entry(&named, &raw, &error.to_string())?;
                    continue;
                }
            };
            let time = entry.timestamp.as_ref().map(moment).transpose();
            let own = |bytes: &Bytes| keep_text(bytes).0.into_owned();
            let pairs = entry.metadata.iter().map(|pair| (own(&pair.name), own(&pair.value)));
            self.line(&named, time, &entry.line, pairs.collect())?;
        }
        Ok(())
    }

    fn named(&mut self, written: &Written) -> Result<Named, ApiError> {
        self.has_stream = true;
        labels::named(&mut self.parcel, written, self.tenant.as_deref())
    }

    /// Keeps what is no stream as it came.
    fn no_stream(&mut self, raw: &[u8], error: &dyn std::error::Error) -> Result<(), ApiError> {
        let reason = format!("not a stream of labels and entries: {error}");
        let reason = cut(&reason, REASON_BYTES_MAX);
        self.refusal.get_or_insert_with(|| invalid(reason));
        let (none, tenant) = (Written::Pairs(Vec::new()), self.tenant.as_deref());
        let named = labels::named(&mut self.parcel, &none, tenant)?;
        self.no_entry(&named, raw, reason)
    }

    /// Keeps what is no entry as it came.
    fn no_entry(&mut self, named: &Named, raw: &[u8], reason: &str) -> Result<(), ApiError> {
        let reason = cut(reason, REASON_BYTES_MAX);
        self.parcel.push(named.stream, json::poisoned(raw, reason), || raw.to_vec())
    }

    /// Adds a line. Without a time it has that of its arrival; with one that cannot be read also the
    /// reason.
    fn line(
        &mut self,
        named: &Named,
        time: Result<Option<Timestamp>, String>,
        line: &[u8],
        metadata: Vec<(String, String)>,
    ) -> Result<(), ApiError> {
        let mut record = line_record(line);
        let stated = metadata
            .iter()
            .filter(|(name, _)| matches!(name.as_str(), "level" | "detected_level"))
            .find_map(|(_, value)| Level::from_word(value));
        record.level = named.level.or(stated).unwrap_or(record.level);
        let is_over = record.fields.len() + metadata.len() > RECORD_FIELDS_MAX
            || metadata.iter().any(|(name, _)| name.len() > FIELD_NAME_BYTES_MAX);
        if is_over {
            let words = "structured metadata over the bound of fields or of their names";
            record = Record { level: record.level, ..json::poisoned(line, words) };
        } else {
            record.fields.extend(metadata.into_iter().map(|(name, value)| text(name, value)));
        }
        let (time, unread) = match time {
            Ok(time) => (time, None),
            Err(reason) => (None, Some(reason)),
        };
        record.timestamp = time;
        for reason in named.poison.iter().chain(&unread) {
            record.fields.push(text(POISON_FIELD, cut(reason, REASON_BYTES_MAX)));
        }
        self.parcel.push(named.stream, record, || line.to_vec())
    }
}

/// The moment of an entry.
fn moment(time: &PushTime) -> Result<Timestamp, String> {
    let nanoseconds = time.seconds.checked_mul(SECOND);
    let nanoseconds = nanoseconds.and_then(|whole| whole.checked_add(i64::from(time.nanos)));
    nanoseconds.map(Timestamp).ok_or_else(|| {
        format!("a time of {} s and {} ns is out of range", time.seconds, time.nanos)
    })
}

/// What stands in a line of JSON can be asked for by its names; the line stays as it came, for queries
/// of this protocol take it apart themselves.
fn line_record(line: &[u8]) -> Record {
    let mut record = json::plain(line);
    if line.trim_ascii_start().starts_with(b"{") {
        let read = json::line(line);
        record.level = read.level;
        record.fields.extend(read.fields.into_iter().filter(|(name, _)| name != KEPT_FIELD));
    }
    record
}

fn plain(value: serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A refusal as Loki says it: plain text.
pub(super) fn refusal(detail: &model::wire::ErrorDetail) -> String {
    match &detail.hint {
        Some(hint) => format!("{}; {hint}\n", detail.message),
        None => format!("{}\n", detail.message),
    }
}

#[cfg(test)]
mod tests;
