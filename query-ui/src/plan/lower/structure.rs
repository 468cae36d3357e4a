//! Texts that are structures themselves, JSON and logfmt, as flat JSON objects.

use model::limits::RECORD_DEPTH_MAX;
use serde_json::{Map, Value};

/// A JSON object with nested names joined by dots; `None` when the text is none. Text around the
/// object is passed over.
pub(super) fn flat_json(text: &str) -> Option<String> {
    let start = text.find('{')?;
    let object = text.get(start..)?;
    let mut values = serde_json::Deserializer::from_str(object).into_iter::<Map<String, Value>>();
    let object = values.next()?.ok()?;
    let mut flat = Map::new();
    flatten(&mut flat, "", object, 0);
    Some(Value::Object(flat).to_string())
}

fn flatten(flat: &mut Map<String, Value>, prefix: &str, object: Map<String, Value>, depth: usize) {
    for (name, value) in object {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(inner) if depth < RECORD_DEPTH_MAX => {
                flatten(flat, &name, inner, depth + 1);
            }
            Value::Null => {}
            value => {
                flat.insert(name, value);
            }
        }
    }
}

/// `name=value name="a value"` as a JSON object of texts; words without `=` are passed over.
/// `None` when there is no pair.
pub(super) fn flat_logfmt(text: &str) -> Option<String> {
    let mut flat = Map::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (name, behind) = rest.split_at_checked(end)?;
        let Some(value) = behind.strip_prefix('=') else {
            rest = behind.trim_start();
            continue;
        };
        let (value, after) = if value.starts_with('"') { quoted(value) } else { word(value) };
        if !name.is_empty() {
            flat.insert(name.to_owned(), Value::String(value));
        }
        rest = after.trim_start();
    }
    (!flat.is_empty()).then(|| Value::Object(flat).to_string())
}

fn word(text: &str) -> (String, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (word.to_owned(), rest)
}

/// A value in quotes; a quote that is not closed reaches to the end.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, other)) => value.push(other),
                None => {}
            },
            other => value.push(other),
        }
    }
    (value, "")
}

/// A value of a flat JSON object as text.
pub(super) fn member(object: &str, name: &str) -> Option<String> {
    // Most names that are asked for are not there: of those that need no escapes it is seen at once.
    let is_plain = !name.contains(|c: char| c.is_control() || matches!(c, '"' | '\\'));
    if is_plain && !object.contains(name) {
        return None;
    }
    let mut object: Map<String, Value> = serde_json::from_str(object).ok()?;
    Some(match object.remove(name)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// What stands at a place of a JSON object as text: the object itself where no step leads on.
pub(super) fn at(text: &str, path: &[String]) -> Option<String> {
    let object = text.get(text.find('{')?..)?;
    let mut values = serde_json::Deserializer::from_str(object).into_iter::<Value>();
    let object = values.next()?.ok()?;
    let found = path.iter().try_fold(&object, |value, step| match value {
        Value::Object(members) => members.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })?;
    match found {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: &Option<String>, expected: Option<&str>) {
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn places_lead_into_objects_and_lists() {
        let text = r#"got {"a":{"b c":[1,{"d":"x"}],"n":null}}"#;
        let found = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|step| (*step).to_owned()).collect();
            at(text, &path)
        };
        check(&found(&["a", "b c", "1", "d"]), Some("x"));
        check(&found(&["a", "b c", "0"]), Some("1"));
        check(&found(&["a", "b c", "1"]), Some(r#"{"d":"x"}"#));
        for path in [&["a", "n"][..], &["a", "none"], &["a", "b c", "9"], &["a", "b c", "d"]] {
            check(&found(path), None);
        }
        check(&at("{}", &[]), Some("{}"));
        check(&at("no object", &[]), None);
        check(&at("{broken", &[]), None);
    }

    #[test]
    fn structures_become_flat() {
        check(&flat_json(r#"{"a":{"b":1,"c":null},"d":[1]}"#), Some(r#"{"a.b":1,"d":[1]}"#));
        check(&flat_json(r#"got {"a":"x"} from y"#), Some(r#"{"a":"x"}"#));
        check(&flat_json("[1]"), None);
        check(
            &flat_logfmt(r#"a=1 word b="x \"y\"" c= "#),
            Some(r#"{"a":"1","b":"x \"y\"","c":""}"#),
        );
        check(&flat_logfmt("no pairs"), None);
        check(&member(r#"{"a":1.5,"b":"x"}"#, "a"), Some("1.5"));
        check(&member(r#"{"a":1.5,"b":"x"}"#, "c"), None);
        check(&member(r#"{"a":"b"}"#, "b"), None);
        for name in ["é.ü", "a\"b", "a\\b", "a\nb"] {
            let flat = flat_json(&serde_json::json!({ name: 1 }).to_string());
            check(&member(&flat.unwrap(), name), Some("1"));
        }
    }
}
