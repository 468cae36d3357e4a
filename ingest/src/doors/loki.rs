//! Loki's push door: streams with labels, as JSON or as snappy-packed protobuf.

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use model::error::Kind;
use model::json;
use model::level::Level;
use model::limits::{
    FIELD_NAME_BYTES_MAX, LABEL_BYTES_MAX, LABELS_MAX, RECORD_FIELDS_MAX, REQUEST_BYTES_MAX,
};
use model::record::{KEPT_FIELD, Record};
use model::stream::{IndexName, Labels, RESERVED};
use model::time::Timestamp;
use platform::http::ApiError;
use prost::Message as _;
use serde::Deserialize;

use super::parcel::{self, Parcel, text};
use super::{IngestState, body};

/// The label that keeps the tenant of `X-Scope-OrgID`.
const TENANT_LABEL: &str = "tenant";

pub(super) async fn take(
    State(state): State<IngestState>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let packing = body::Packing::of(&headers)?;
    let arrival = state.0.clock.now();
    let tenant = headers.get("x-scope-orgid").and_then(|tenant| tenant.to_str().ok());
    let tenant = tenant.filter(|tenant| !tenant.is_empty()).map(str::to_owned);
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
    let body = body::read(body).await?;
    let parse = move || {
        let body = packing.unpack(body)?;
        let parcel = Parcel::new(arrival, parcel::key(&headers, &body))?;
        let mut push = Push { parcel, tenant };
        if is_json {
            push.json(&body)?
        } else {
            push.protobuf(&body)?
        }
        push.parcel.finish()
    };
    state.take("loki", parse).await?.whole()?;
    Ok(StatusCode::NO_CONTENT)
}

fn invalid(words: impl std::fmt::Display) -> ApiError {
    ApiError::new(Kind::Invalid, words.to_string())
}

#[derive(Debug, Deserialize)]
struct JsonRequest<'a> {
    #[serde(borrow)]
    streams: Vec<JsonStream<'a>>,
}

#[derive(Debug, Deserialize)]
struct JsonStream<'a> {
    #[serde(alias = "labels")]
    stream: JsonLabels,
    #[serde(borrow, alias = "entries")]
    values: Vec<JsonEntry<'a>>,
}

/// Labels as they come now, and as the oldest clients write them: `{a="b"}`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum JsonLabels {
    Map(serde_json::Map<String, serde_json::Value>),
    Text(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum JsonEntry<'a> {
    // What is none of the others is kept with the reason.
    Whole(
        #[serde(borrow)] Cow<'a, str>,
        #[serde(borrow)] Cow<'a, str>,
        serde_json::Map<String, serde_json::Value>,
    ),
    Short(#[serde(borrow)] Cow<'a, str>, #[serde(borrow)] Cow<'a, str>),
    Old {
        ts: Cow<'a, str>,
        line: Cow<'a, str>,
    },
    Strange(serde_json::Value),
}

#[derive(Clone, PartialEq, prost::Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<PushStream>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PushStream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<PushEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PushEntry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<PushTime>,
    #[prost(bytes = "vec", tag = "2")]
    line: Vec<u8>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<PushPair>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PushTime {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PushPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// What a stream's labels say: those that name the stream here, and its level.
struct Named {
    stream: parcel::Stream,
    level: Option<Level>,
}

struct Push {
    parcel: Parcel,
    tenant: Option<String>,
}

impl Push {
    fn json(&mut self, body: &[u8]) -> Result<(), ApiError> {
        let request: JsonRequest<'_> = serde_json::from_slice(body).map_err(invalid)?;
        for stream in request.streams {
            let labels = match stream.stream {
                JsonLabels::Map(labels) => {
                    labels.into_iter().map(|(name, value)| (name, plain(value))).collect()
                }
                JsonLabels::Text(text) => labels(&text).unwrap_or_else(|| unread(&text)),
            };
            let named = self.named(labels)?;
            for entry in stream.values {
                let (time, line, metadata) = match entry {
                    JsonEntry::Whole(time, line, metadata) => (time, line, metadata),
                    JsonEntry::Short(time, line) => (time, line, serde_json::Map::new()),
                    JsonEntry::Old { ts, line } => (ts, line, serde_json::Map::new()),
                    JsonEntry::Strange(entry) => {
                        let raw = entry.to_string().into_bytes();
                        let record = json::poisoned(&raw, "not an entry of a time and a line");
                        self.parcel.push(named.stream, record, || raw.clone())?;
                        continue;
                    }
                };
                let time = match time.parse() {
                    Ok(nanoseconds) => Timestamp(nanoseconds),
                    Err(_) => Timestamp::parse(&time)
                        .ok_or_else(|| invalid(format!("{time:?} is no time in nanoseconds")))?,
                };
                let metadata = metadata.into_iter().map(|(name, value)| (name, plain(value)));
                self.line(&named, time, line.as_bytes(), metadata.collect())?;
            }
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
        let request = PushRequest::decode(body.as_slice()).map_err(invalid)?;
        for stream in request.streams {
            let pairs = labels(&stream.labels).unwrap_or_else(|| unread(&stream.labels));
            let named = self.named(pairs)?;
            for entry in stream.entries {
                let time = entry.timestamp.unwrap_or_default();
                let time = time
                    .seconds
                    .checked_mul(model::time::SECOND)
                    .and_then(|seconds| seconds.checked_add(i64::from(time.nanos)))
                    .ok_or_else(|| invalid("an entry's time is out of range"))?;
                let pairs = entry.metadata.into_iter().map(|pair| (pair.name, pair.value));
                self.line(&named, Timestamp(time), &entry.line, pairs.collect())?;
            }
        }
        Ok(())
    }

    /// The stream of these labels. The label `level` becomes the level of its records; names
    /// that every record has of itself are set apart.
    fn named(&mut self, pairs: Vec<(String, String)>) -> Result<Named, ApiError> {
        if pairs.len() >= LABELS_MAX {
            return Err(invalid(format!("a stream has at most {} labels", LABELS_MAX - 1)));
        }
        let mut level = None;
        let mut labels = Vec::with_capacity(pairs.len() + 1);
        for (name, value) in pairs {
            if value.len() > LABEL_BYTES_MAX {
                return Err(invalid(format!("a label is over {LABEL_BYTES_MAX} bytes")));
            }
            if let "level" | "detected_level" | "severity" = name.as_str() {
                level = level.or(Level::from_word(&value));
            }
            // A level that is known is in the level; the rest keeps its text.
            if name == "level" && level.is_some() || value.is_empty() {
                continue;
            }
            let is_taken = RESERVED.contains(&name.as_str());
            labels.push((if is_taken { format!("label_{name}") } else { name }, value));
        }
        if let Some(tenant) = &self.tenant
            && !labels.iter().any(|(name, _)| name == TENANT_LABEL)
        {
            labels.push((TENANT_LABEL.to_owned(), tenant.clone()));
        }
        let labels = Labels::new(labels).map_err(invalid)?;
        Ok(Named { stream: self.parcel.stream(IndexName::default(), labels)?, level })
    }

    fn line(
        &mut self,
        named: &Named,
        time: Timestamp,
        line: &[u8],
        metadata: Vec<(String, String)>,
    ) -> Result<(), ApiError> {
        // What stands in a line of JSON can be asked for by its names; the line stays as it came, for
        // queries of this protocol take it apart themselves.
        let mut record = json::plain(line);
        if line.trim_ascii_start().starts_with(b"{") {
            let read = json::line(line);
            record.level = read.level;
            record.fields.extend(read.fields.into_iter().filter(|(name, _)| name != KEPT_FIELD));
        }
        record.timestamp = Some(time);
        let stated = metadata
            .iter()
            .filter(|(name, _)| matches!(name.as_str(), "level" | "detected_level"))
            .find_map(|(_, value)| Level::from_word(value));
        record.level = named.level.or(stated).unwrap_or(record.level);
        let is_over = record.fields.len() + metadata.len() > RECORD_FIELDS_MAX
            || metadata.iter().any(|(name, _)| name.len() > FIELD_NAME_BYTES_MAX);
        if is_over {
            let words = "structured metadata over the bound of fields or of their names";
            record = Record {
                timestamp: record.timestamp,
                level: record.level,
                ..json::poisoned(line, words)
            };
        } else {
            record.fields.extend(metadata.into_iter().map(|(name, value)| text(name, value)));
        }
        self.parcel.push(named.stream, record, || line.to_vec())
    }
}

fn plain(value: serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The label that stands for labels which cannot be read.
const UNREAD: &str = "_unread_labels";

/// Of labels that cannot be read the text is one: their lines shall not cost their neighbours.
fn unread(text: &str) -> Vec<(String, String)> {
    vec![(UNREAD.to_owned(), model::text::cut(text, LABEL_BYTES_MAX).to_owned())]
}

/// Reads `{a="b", c="d\n"}`. `None` when it is something else.
fn labels(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let mut pairs = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return after.trim().is_empty().then_some(pairs);
        }
        let (name, after) = rest.split_once('=')?;
        let quoted = after.trim_start();
        // Go's quoting is JSON's but for a few escapes that labels do not have.
        let mut values = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
        let value = values.next()?.ok()?;
        rest = quoted.get(values.byte_offset()..)?.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        pairs.push((name.trim().to_owned(), value));
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
mod tests {
    use model::record::FieldValue;

    use super::*;
    use crate::doors::tests::fixture;

    #[tokio::test]
    async fn json_becomes_records_of_labelled_streams() {
        let fixture = fixture();
        let body = r#"{"streams":[
            {"stream":{"app":"a","level":"warn","host":"h"},"values":[["1700000000000000001","one",{"trace":"t1"}],["1700000000000000002","{\"msg\":\"two\",\"n\":2}"]]},
            {"stream":{"app":"b","index":"x"},"values":[["1700000000000000003","ERROR three"]]}
        ]}"#;
        let headers = [("content-type", "application/json"), ("x-scope-orgid", "team")];
        let path = "/loki/api/v1/push";
        let (status, text) = fixture.ask("POST", path, &headers, body.into()).await;
        assert_eq!((status, text.as_str()), (StatusCode::NO_CONTENT, ""));
        let records = fixture.records();
        let seen: Vec<(&str, &str, i64)> = records
            .iter()
            .map(|r| (r.message.as_str(), r.level.name(), r.timestamp.unwrap().0 % 10))
            .collect();
        let two = r#"{"msg":"two","n":2}"#;
        assert_eq!(seen, [("one", "warn", 1), (two, "warn", 2), ("ERROR three", "error", 3)]);
        assert_eq!(records[0].fields, [text_field("trace", "t1")]);
        assert_eq!(records[1].fields, [("n".to_owned(), FieldValue::Int(2))]);
        let streams = fixture.labels();
        let expected = [
            vec![("app", "a"), ("host", "h"), ("tenant", "team")],
            vec![("app", "b"), ("label_index", "x"), ("tenant", "team")],
        ];
        for (labels, expected) in streams.iter().zip(expected) {
            assert_eq!(labels.iter().collect::<Vec<_>>(), expected);
        }
    }

    fn text_field(name: &str, value: &str) -> (String, FieldValue) {
        text(name, value)
    }

    #[tokio::test]
    async fn protobuf_is_the_default_and_its_lines_may_be_any_bytes() {
        let fixture = fixture();
        let entry = PushEntry {
            timestamp: Some(PushTime { seconds: 1_700_000_000, nanos: 5 }),
            line: b"caf\xe9".to_vec(),
            metadata: vec![PushPair { name: "k".into(), value: "v".into() }],
        };
        let labels = r#"{app="a\"b", job="j"}"#.to_owned();
        let request = PushRequest { streams: vec![PushStream { labels, entries: vec![entry] }] };
        let body = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap();
        let (status, _) = fixture.ask("POST", "/api/prom/push", &[], body).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
        let records = fixture.records();
        assert_eq!(records[0].message, "caf\\xe9");
        assert_eq!(records[0].timestamp, Some(Timestamp(1_700_000_000_000_000_005)));
        assert_eq!(fixture.labels()[0].get("app"), Some("a\"b"));
    }

    #[tokio::test]
    async fn what_is_no_push_is_refused_in_plain_words() {
        let fixture = fixture();
        let json = [("content-type", "application/json")];
        for body in ["nonsense", r#"{"streams":[{"stream":{},"values":[["soon","x"]]}]}"#] {
            let (status, text) = fixture.ask("POST", "/loki/api/v1/push", &json, body.into()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
            assert!(!text.starts_with('{'), "{text}");
        }
        // It says that it holds 4 GiB.
        let bomb = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0];
        let (status, _) = fixture.ask("POST", "/loki/api/v1/push", &[], bomb).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(fixture.records().is_empty());
    }

    #[tokio::test]
    async fn what_cannot_be_read_costs_its_neighbours_nothing() {
        let fixture = fixture();
        let body = r#"{"streams":[
            {"stream":"{a=","values":[["1700000000000000001","one"]]},
            {"stream":{"app":"a"},"values":[["1700000000000000002",5],["1700000000000000003","two"],{"x":1}]}
        ]}"#;
        let headers = [("content-type", "application/json")];
        let (status, text) = fixture.ask("POST", "/loki/api/v1/push", &headers, body.into()).await;
        assert_eq!((status, text.as_str()), (StatusCode::NO_CONTENT, ""));
        let records = fixture.records();
        let messages: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
        assert_eq!(messages, ["one", r#"["1700000000000000002",5]"#, "two", r#"{"x":1}"#]);
        let is_poisoned = |at: usize| {
            records[at].fields.iter().any(|(name, _)| name == model::record::POISON_FIELD)
        };
        assert_eq!([0, 1, 2, 3].map(is_poisoned), [false, true, false, true]);
        assert_eq!(fixture.labels()[0].get(UNREAD), Some("{a="));
    }

    #[test]
    fn labels_are_read_as_they_are_quoted() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(labels("{}"), Some(vec![]));
        assert_eq!(
            labels(r#"{a="1",b = "x, y}"}"#),
            Some(vec![pair("a", "1"), pair("b", "x, y}")])
        );
        for bad in ["", "{", "{a}", "{a=1}", r#"{a="1"} x"#, r#"{a="1"#] {
            assert_eq!(labels(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { cases: 64, failure_persistence: None, ..Default::default() })]

        #[test]
        fn any_bytes_are_answered(body: Vec<u8>, json: bool) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let fixture = fixture();
                let headers: &[(&str, &str)] = if json { &[("content-type", "application/json")] } else { &[] };
                let (status, _) = fixture.ask("POST", "/loki/api/v1/push", headers, body).await;
                assert!(status == StatusCode::NO_CONTENT || status.is_client_error(), "{status}");
                assert!(fixture.records().is_empty());
            });
        }
    }
}
