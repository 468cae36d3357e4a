//! Requests as Elasticsearch's clients send them: the body whatever its type, packed or not, and
//! parameters; answers with the header that clients look for.

use std::collections::BTreeMap;
use std::io::Read as _;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Query, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use serde_json::{Map, Value};

use super::names;
use super::refusal::Refusal;
use super::search::Params;

/// Bytes of a request, unpacked.
pub(super) const BYTES_MAX: usize = 4 << 20;

/// A request that was read.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) body: Vec<u8>,
    pub(super) params: Params,
}

/// Parameters that every route takes and that change nothing, or only how the answer looks.
const COMMON: [&str; 33] = [
    "pretty",
    "human",
    "error_trace",
    "filter_path",
    "format",
    "ignore_unavailable",
    "allow_no_indices",
    "expand_wildcards",
    "ignore_throttled",
    "preference",
    "request_cache",
    "routing",
    "search_type",
    "batched_reduce_size",
    "ccs_minimize_roundtrips",
    "max_concurrent_shard_requests",
    "max_concurrent_searches",
    "pre_filter_shard_size",
    "allow_partial_search_results",
    "allow_partial_results",
    "timeout",
    "master_timeout",
    "local",
    "include_type_name",
    "keep_alive",
    "scroll",
    "lenient",
    "analyze_wildcard",
    "analyzer",
    "default_operator",
    "df",
    "v",
    "typed_keys",
];

impl<S: Send + Sync> FromRequest<S> for Asked {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let params = Query::<BTreeMap<String, String>>::try_from_uri(request.uri())
            .map(|Query(params)| params)
            .map_err(|error| {
                Refusal::argument(format!("the address is not understood: {error}"))
            })?;
        let encoding = request.headers().get(header::CONTENT_ENCODING).cloned();
        let bytes = Bytes::from_request(request, state).await.map_err(|error| match error {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Refusal::too_large(BYTES_MAX)
            }
            error => Refusal::content(format!("the request broke off: {error}")),
        })?;
        let encoding = encoding.as_ref().and_then(|value| value.to_str().ok()).unwrap_or("");
        let body = match encoding {
            "" | "identity" => bytes.to_vec(),
            "gzip" => unpacked(MultiGzDecoder::new(&*bytes))?,
            "deflate" => unpacked(ZlibDecoder::new(&*bytes))?,
            other => {
                return Err(Refusal::argument(format!(
                    "Content-Encoding [{other}] is not known: gzip or deflate"
                )));
            }
        };
        Ok(Self { body, params })
    }
}

fn unpacked(packed: impl std::io::Read) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    let most = BYTES_MAX as u64 + 1;
    let read = packed.take(most).read_to_end(&mut body);
    match read {
        Err(error) => Err(Refusal::content(format!("the body cannot be unpacked: {error}"))),
        Ok(count) if count > BYTES_MAX => Err(Refusal::too_large(BYTES_MAX)),
        Ok(_) => Ok(body),
    }
}

impl Asked {
    /// Refuses parameters that are not known here.
    pub(super) fn only(&self, own: &[&str]) -> Result<(), Refusal> {
        let known = |name: &str| COMMON.contains(&name) || own.contains(&name);
        if let Some(name) = self.params.keys().find(|name| !known(name)) {
            return Err(Refusal::argument(format!(
                "request contains unrecognized parameter: [{name}]"
            )));
        }
        Ok(())
    }

    /// Whether a parameter that is a truth is set.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.params.get(name).is_some_and(|value| matches!(value.as_str(), "" | "true"))
    }

    /// A parameter.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name).map(String::as_str)
    }

    /// The body as JSON; nothing when there is none.
    pub(super) fn json(&self) -> Result<Value, Refusal> {
        json(&self.body)
    }

    /// An answer, cut to what `filter_path` names.
    pub(super) fn answer(&self, value: Value) -> Response {
        let value = match self.param("filter_path") {
            None | Some("") => value,
            Some(paths) => filtered(&value, paths),
        };
        match self.is_set("pretty") {
            true => {
                let text = serde_json::to_string_pretty(&value).unwrap_or_default() + "\n";
                ([(header::CONTENT_TYPE, "application/json")], text).into_response()
            }
            false => Json(value).into_response(),
        }
    }
}

/// JSON, or nothing.
pub(super) fn json(bytes: &[u8]) -> Result<Value, Refusal> {
    if bytes.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(bytes)
        .map_err(|error| Refusal::content(format!("the body is not understood: {error}")))
}

/// The parts of an answer that paths such as `hits.hits._id,took,-_shards` name.
fn filtered(value: &Value, paths: &str) -> Value {
    let (out, keep): (Vec<&str>, Vec<&str>) = paths
        .split(',')
        .map(str::trim)
        .filter(|path| !path.is_empty())
        .partition(|p| p.starts_with('-'));
    let split = |path: &&str| path.trim_start_matches('-').split('.').map(str::to_owned).collect();
    let keep: Vec<Vec<String>> = keep.iter().map(split).collect();
    let out: Vec<Vec<String>> = out.iter().map(split).collect();
    let kept = if keep.is_empty() { Some(value.clone()) } else { kept(value, &keep) };
    let kept = kept.unwrap_or_else(|| Value::Object(Map::new()));
    if out.is_empty() { kept } else { without(&kept, &out) }
}

/// What is left of paths behind a name; an empty path is reached.
fn behind(paths: &[Vec<String>], name: &str) -> Vec<Vec<String>> {
    let mut left = Vec::new();
    for path in paths {
        let Some((first, rest)) = path.split_first() else { continue };
        if first == "**" {
            left.push(path.clone());
            left.extend(behind(&[rest.to_vec()], name));
        } else if names::matches(first, name) {
            left.push(rest.to_vec());
        }
    }
    left
}

fn kept(value: &Value, paths: &[Vec<String>]) -> Option<Value> {
    if paths.iter().any(Vec::is_empty) {
        return Some(value.clone());
    }
    match value {
        Value::Object(object) => {
            let member = |(name, inner): (&String, &Value)| {
                let left = behind(paths, name);
                let inner = if left.is_empty() { None } else { kept(inner, &left) };
                inner.map(|inner| (name.clone(), inner))
            };
            let object: Map<String, Value> = object.iter().filter_map(member).collect();
            (!object.is_empty()).then_some(Value::Object(object))
        }
        Value::Array(list) => {
            let list: Vec<Value> = list.iter().filter_map(|inner| kept(inner, paths)).collect();
            (!list.is_empty()).then_some(Value::Array(list))
        }
        _ => None,
    }
}

fn without(value: &Value, paths: &[Vec<String>]) -> Value {
    match value {
        Value::Object(object) => {
            let member = |(name, inner): (&String, &Value)| {
                let left = behind(paths, name);
                match left.iter().any(Vec::is_empty) {
                    true => None,
                    false => Some((name.clone(), without(inner, &left))),
                }
            };
            Value::Object(object.iter().filter_map(member).collect())
        }
        Value::Array(list) => list.iter().map(|inner| without(inner, paths)).collect(),
        other => other.clone(),
    }
}

/// Puts the header on an answer that clients look for, refusals included.
pub(super) async fn product(mut response: Response) -> Response {
    let name = HeaderName::from_static("x-elastic-product");
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(name, HeaderValue::from_static("Elasticsearch"));
    response
}
