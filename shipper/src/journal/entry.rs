//! An entry as `journalctl --output=json` writes it → a line for the spool: JSON with our names.

use model::level::Level;
use model::limits::MESSAGE_BYTES_MAX;
use model::record::KEPT_FIELD;
use model::text::cut;
use serde_json::{Map, Value};

/// The field that says where the journal is.
pub(crate) const CURSOR: &str = "journal_cursor";

/// Fields that are kept, and what they are called. Others of the journal's own (`_` and `__`) are
/// left out; what a program adds keeps its name in lower case.
const NAMES: [(&str, &str); 10] = [
    ("MESSAGE", "message"),
    ("_SYSTEMD_UNIT", "unit"),
    ("_SYSTEMD_USER_UNIT", "user_unit"),
    ("SYSLOG_IDENTIFIER", "identifier"),
    ("_PID", "pid"),
    ("_UID", "uid"),
    ("_COMM", "command"),
    ("_TRANSPORT", "transport"),
    ("_BOOT_ID", "boot"),
    ("_HOSTNAME", "machine"),
];

/// The line, and the entry's cursor. `None` when it is no entry.
pub(super) fn line(text: &[u8]) -> Option<(Vec<u8>, String)> {
    let entry: Map<String, Value> = serde_json::from_slice(text).ok()?;
    let cursor = entry.get("__CURSOR")?.as_str()?.to_owned();
    let mut line = Map::new();
    let micros = entry.get("__REALTIME_TIMESTAMP").and_then(|time| time.as_str()?.parse().ok());
    if let Some(time) = micros.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok()) {
        line.insert("time".to_owned(), Value::String(time.to_string()));
    }
    if let Some(level) = entry.get("PRIORITY").and_then(|it| level(it.as_str()?)) {
        line.insert("level".to_owned(), Value::String(level.name().to_owned()));
    }
    for (name, value) in &entry {
        let known = NAMES.iter().find(|(theirs, _)| theirs == name).map(|(_, ours)| *ours);
        let ours = match known {
            Some(ours) => ours.to_owned(),
            None if name.starts_with('_') || name == "PRIORITY" => continue,
            None => name.to_ascii_lowercase(),
        };
        line.insert(ours, text_of(value));
    }
    line.entry("message").or_insert_with(|| Value::String(String::new()));
    line.insert(CURSOR.to_owned(), Value::String(cursor.clone()));
    Some((fitting(line, text.len())?, cursor))
}

/// The line of an entry of so many bytes, as a spool takes it whole: else it would lose its cursor. Of
/// texts that are too long for that the beginnings are kept.
fn fitting(mut line: Map<String, Value>, bytes: usize) -> Option<Vec<u8>> {
    let short = ["time", "level", CURSOR];
    let mut text = serde_json::to_vec(&line).ok()?;
    let mut text_bytes_max = MESSAGE_BYTES_MAX;
    while text.len() > MESSAGE_BYTES_MAX {
        if text_bytes_max == 0 {
            // It is its names that are too many.
            line.retain(|name, _| short.contains(&name.as_str()) || name == "message");
        }
        text_bytes_max /= 4;
        for (_, value) in line.iter_mut().filter(|(name, _)| !short.contains(&name.as_str())) {
            if let Value::String(value) = value {
                let kept = cut(value, text_bytes_max).len();
                value.truncate(kept);
            }
        }
        line.insert(KEPT_FIELD.to_owned(), Value::String("cut".to_owned()));
        line.insert("_bytes".to_owned(), Value::from(bytes));
        text = serde_json::to_vec(&line).ok()?;
    }
    Some(text)
}

/// The cursor in a line of ours.
pub(super) fn cursor_of(line: &[u8]) -> Option<String> {
    let line: Map<String, Value> = serde_json::from_slice(line).ok()?;
    Some(line.get(CURSOR)?.as_str()?.to_owned())
}

/// What is no text is written as numbers of its bytes; a field that is there twice as a list.
fn text_of(value: &Value) -> Value {
    let Value::Array(items) = value else { return value.clone() };
    let byte = |item: &Value| u8::try_from(item.as_u64()?).ok();
    match items.iter().map(byte).collect::<Option<Vec<u8>>>() {
        Some(bytes) => Value::String(model::text::keep_text(&bytes).0.into_owned()),
        None => {
            let texts: Vec<String> = items
                .iter()
                .map(|item| match text_of(item) {
                    Value::String(text) => text,
                    other => other.to_string(),
                })
                .collect();
            Value::String(texts.join("\n"))
        }
    }
}

/// Syslog's severities.
fn level(priority: &str) -> Option<Level> {
    Some(match priority {
        "0" | "1" | "2" => Level::Fatal,
        "3" => Level::Error,
        "4" => Level::Warn,
        "5" | "6" => Level::Info,
        "7" => Level::Debug,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of an entry with these fields beside its cursor.
    fn read(fields: &str) -> Map<String, Value> {
        let entry = format!(r#"{{"__CURSOR":"c","PRIORITY":"3",{fields}}}"#);
        let (text, cursor) = line(entry.as_bytes()).unwrap();
        assert!(text.len() <= MESSAGE_BYTES_MAX);
        assert_eq!((cursor.as_str(), cursor_of(&text).as_deref()), ("c", Some("c")));
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_long_entry_is_cut_and_keeps_its_cursor() {
        let short = read(r#""MESSAGE":"short""#);
        assert_eq!((short["message"].as_str(), short.get(KEPT_FIELD)), (Some("short"), None));
        let message = "€\\u0001".repeat(MESSAGE_BYTES_MAX / 6);
        let long = read(&format!(r#""MESSAGE":"{message}""#));
        assert_eq!(
            (long[KEPT_FIELD].as_str(), long["level"].as_str()),
            (Some("cut"), Some("error"))
        );
        assert!(long["message"].as_str().unwrap().starts_with("€\u{1}€"));
        assert!(long["_bytes"].as_u64().unwrap() > MESSAGE_BYTES_MAX as u64);
        let many: Vec<String> = (0..30_000).map(|n| format!(r#""FIELD_{n:0>150}":"x""#)).collect();
        let many = read(&many.join(","));
        assert_eq!((many["message"].as_str(), many[KEPT_FIELD].as_str()), (Some(""), Some("cut")));
    }
}
