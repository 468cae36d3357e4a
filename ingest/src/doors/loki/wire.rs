//! What is pushed, as it is on the wire: JSON of three ages, and protobuf. Each stream and each
//! entry is read for itself, so that one that is broken costs no other.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A push in JSON, its streams not read yet.
#[derive(Debug, Deserialize)]
pub(super) struct JsonRequest<'a> {
    #[serde(borrow)]
    pub(super) streams: Vec<&'a RawValue>,
}

/// A stream in JSON, its entries not read yet.
#[derive(Debug, Deserialize)]
pub(super) struct JsonStream<'a> {
    #[serde(alias = "labels")]
    pub(super) stream: JsonLabels,
    #[serde(borrow, alias = "entries")]
    pub(super) values: Vec<&'a RawValue>,
}

/// Labels as they come now, and as the oldest clients write them: `{a="b"}`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum JsonLabels {
    Map(serde_json::Map<String, serde_json::Value>),
    Text(String),
}

/// A line in JSON.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum JsonEntry<'a> {
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
}

/// A push in protobuf, its streams not read yet. Texts are bytes: what is no UTF-8 is no reason to
/// turn away the rest.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PushRequest {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(super) streams: Vec<Bytes>,
}

/// A stream in protobuf, its entries not read yet.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PushStream {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) labels: Bytes,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(super) entries: Vec<Bytes>,
}

/// A line in protobuf.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PushEntry {
    #[prost(message, optional, tag = "1")]
    pub(super) timestamp: Option<PushTime>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) line: Bytes,
    #[prost(message, repeated, tag = "3")]
    pub(super) metadata: Vec<PushPair>,
}

/// When it happened.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PushTime {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// A pair of structured metadata.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PushPair {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) name: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: Bytes,
}
