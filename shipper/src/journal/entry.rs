//! An entry as `journalctl --output=json` writes it → a line for the spool: JSON with our names.

use model::level::Level;
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
    Some((serde_json::to_vec(&line).ok()?, cursor))
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
