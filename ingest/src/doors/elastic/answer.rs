//! Answers in the words of Elasticsearch: errors, items of a bulk, `filter_path`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use model::partition::RecordId;
use model::wire::ErrorDetail;
use serde_json::{Map, Value, json};

/// The version that is told to clients: new enough for all of them, no newer than they know.
pub(super) const VERSION: &str = "8.19.3";

/// An error as clients read it.
pub(super) fn error(status: StatusCode, kind: &str, reason: &str) -> Response {
    (status, Json(error_body(status, kind, reason))).into_response()
}

fn error_body(status: StatusCode, kind: &str, reason: &str) -> Value {
    let cause = json!({ "type": kind, "reason": reason });
    json!({
        "error": { "root_cause": [cause], "type": kind, "reason": reason },
        "status": status.as_u16(),
    })
}

/// A refusal of ours in these words.
pub(in crate::doors) fn refusal(status: StatusCode, detail: Option<&ErrorDetail>) -> Value {
    let kind = match status.as_u16() {
        401 | 403 => "security_exception",
        404 => "resource_not_found_exception",
        405 => "method_not_allowed",
        409 => "version_conflict_engine_exception",
        413 => "content_too_long_exception",
        429 => "es_rejected_execution_exception",
        400..500 => "illegal_argument_exception",
        503 => "unavailable_shards_exception",
        _ => "internal_server_error",
    };
    error_body(status, kind, &reason(detail, status))
}

/// The words of a refusal with its advice.
pub(super) fn reason(detail: Option<&ErrorDetail>, status: StatusCode) -> String {
    match detail {
        None => status.canonical_reason().unwrap_or("refused").to_owned(),
        Some(ErrorDetail { message, hint: Some(hint), .. }) => format!("{message}; {hint}"),
        Some(detail) => detail.message.clone(),
    }
}

/// Writes a number in digits of that base, at most sixteen: a bulk has some for each record.
pub(super) fn number<const BASE: u64>(out: &mut String, mut number: u64) {
    // As many as there are bits, should the base be two.
    let (mut digits, mut start) = ([0; 64], 64);
    for place in digits.iter_mut().rev() {
        let digit = usize::try_from(number % BASE).ok();
        *place = digit.and_then(|digit| b"0123456789abcdef".get(digit)).copied().unwrap_or(b'?');
        start -= 1;
        number /= BASE;
        if number == 0 {
            break;
        }
    }
    let digits = digits.get(start..).and_then(|digits| std::str::from_utf8(digits).ok());
    out.push_str(digits.unwrap_or_default());
}

/// Writes the id of a record as it shows everywhere.
pub(super) fn record_id(out: &mut String, id: RecordId) {
    number::<16>(out, id.partition.0.into());
    out.push('-');
    number::<16>(out, id.offset.0);
}

/// Only what the paths of `filter_path` name: dotted, `*` for one name or part of it, `**` for
/// any number; and nothing of what those name that begin with `-`.
pub(super) fn filtered(value: Value, filter: &str) -> Value {
    let named = filter.split(',').map(str::trim).filter(|path| !path.is_empty());
    let (out, kept): (Vec<&str>, Vec<&str>) = named.partition(|path| path.starts_with('-'));
    let kept: Vec<Vec<&str>> = kept.into_iter().map(parts).collect();
    let kept: Vec<&[&str]> = kept.iter().map(Vec::as_slice).collect();
    let out: Vec<Vec<&str>> = out.into_iter().map(parts).collect();
    let out: Vec<&[&str]> = out.iter().map(Vec::as_slice).collect();
    let value = match kept.is_empty() {
        true => value,
        false => keep(value, &kept).unwrap_or_else(|| json!({})),
    };
    if out.is_empty() { value } else { without(value, &out) }
}

fn parts(path: &str) -> Vec<&str> {
    path.trim_start_matches('-').split('.').collect()
}

fn without(value: Value, paths: &[&[&str]]) -> Value {
    match value {
        Value::Object(members) => {
            let mut left = Map::new();
            for (name, member) in members {
                let below: Vec<&[&str]> =
                    paths.iter().flat_map(|path| below(path, &name)).collect();
                if !below.iter().any(|path| matches!(path, [] | ["**"])) {
                    left.insert(name, without(member, &below));
                }
            }
            Value::Object(left)
        }
        Value::Array(elements) => {
            elements.into_iter().map(|element| without(element, paths)).collect()
        }
        other => other,
    }
}

fn keep(value: Value, paths: &[&[&str]]) -> Option<Value> {
    if paths.iter().any(|path| matches!(path, [] | ["**"])) {
        return Some(value);
    }
    match value {
        Value::Object(members) => {
            let mut kept = Map::new();
            for (name, member) in members {
                let below: Vec<&[&str]> =
                    paths.iter().flat_map(|path| below(path, &name)).collect();
                if let Some(member) = (!below.is_empty()).then(|| keep(member, &below)).flatten() {
                    kept.insert(name, member);
                }
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(elements) => {
            let kept: Vec<Value> =
                elements.into_iter().filter_map(|element| keep(element, paths)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        _ => None,
    }
}

/// What is left of a path below a member, in the ways it can be read.
fn below<'a, 'p>(path: &'a [&'p str], name: &str) -> Vec<&'a [&'p str]> {
    match path {
        ["**", rest @ ..] => {
            let mut ways = vec![path];
            ways.extend(below(rest, name));
            ways
        }
        [first, rest @ ..] if matches(first, name) => vec![rest],
        _ => Vec::new(),
    }
}

/// Whether a pattern of `*` and text is a name.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use model::partition::{Offset, PartitionId};

    use super::*;

    #[track_caller]
    fn check(filter: &str, expected: &str) {
        let given = json!({ "took": 1, "errors": true, "items": [
            { "create": { "status": 201, "_id": "a" } },
            { "index": { "status": 400, "error": { "type": "t" } } },
        ]});
        assert_eq!(filtered(given, filter).to_string(), expected, "{filter}");
    }

    #[test]
    fn a_filter_keeps_what_it_names() {
        check("took", r#"{"took":1}"#);
        check(
            "errors,items.*.error,items.*.status",
            r#"{"errors":true,"items":[{"create":{"status":201}},{"index":{"status":400,"error":{"type":"t"}}}]}"#,
        );
        check("**.type", r#"{"items":[{"index":{"error":{"type":"t"}}}]}"#);
        check("nothing", "{}");
        check("-items", r#"{"took":1,"errors":true}"#);
        check("took,errors,-errors", r#"{"took":1}"#);
        check(
            "items,-items.*.error,-**._id",
            r#"{"items":[{"create":{"status":201}},{"index":{"status":400}}]}"#,
        );
    }

    #[test]
    fn numbers_and_ids_are_written_as_everywhere() {
        for figure in [0, 1, 9, 10, 15, 16, 255, 4_096, 1_234_567_890, u64::MAX] {
            let mut text = String::new();
            number::<10>(&mut text, figure);
            assert_eq!(text, figure.to_string());
            let partition = PartitionId(u32::try_from(figure).unwrap_or(u32::MAX));
            let id = RecordId { partition, offset: Offset(figure) };
            text.clear();
            record_id(&mut text, id);
            assert_eq!(text, id.to_string());
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("logs-*", "logs-app", true),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "abd", false),
            ("a*b*c", "axbyc", true),
            ("ab", "abc", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
