//! The members of a clause of the query DSL: known ones, wanted ones, one field.

use serde_json::{Map, Value};

use super::refusal::Refusal;
use super::values;

/// An object of a clause whose members are known; `boost` changes nothing here.
pub(super) fn only<'a>(
    clause: &str,
    body: &'a Value,
    known: &[&str],
) -> Result<&'a Map<String, Value>, Refusal> {
    let object = body.as_object().ok_or_else(|| {
        Refusal::parsing(format!("[{clause}] query malformed, no start_object after query name"))
    })?;
    let strange = object.keys().find(|name| !known.contains(&name.as_str()) && *name != "boost");
    match strange {
        Some(name) => Err(Refusal::parsing(format!("[{clause}] query does not support [{name}]"))),
        None => Ok(object),
    }
}

pub(super) fn wanted<'a>(
    clause: &str,
    body: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a Value, Refusal> {
    body.get(name).ok_or_else(|| Refusal::parsing(format!("[{clause}] requires [{name}]")))
}

pub(super) fn wanted_text<'a>(
    clause: &str,
    body: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a str, Refusal> {
    wanted(clause, body, name)?
        .as_str()
        .ok_or_else(|| Refusal::parsing(format!("[{clause}] [{name}] wants a text")))
}

pub(super) fn text_or<'a>(body: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Refusal::parsing(format!("[{name}] wants a text"))),
    }
}

/// The one field of a clause, with what is asked of it.
pub(super) fn one_field<'a>(
    clause: &str,
    body: &'a Value,
) -> Result<(&'a str, &'a Value), Refusal> {
    let object = body.as_object().ok_or_else(|| {
        Refusal::parsing(format!("[{clause}] query malformed, no start_object after query name"))
    })?;
    let mut fields = object.iter().filter(|(name, _)| *name != "boost");
    if object.contains_key("_name") {
        return Err(Refusal::parsing(format!("[{clause}] query does not support [_name]")));
    }
    match (fields.next(), fields.next()) {
        (Some((name, value)), None) => Ok((name, value)),
        (None, _) => Err(Refusal::parsing(format!("No text specified for [{clause}] query"))),
        _ => Err(Refusal::parsing(format!("[{clause}] query doesn't support multiple fields"))),
    }
}

/// What is asked, with the object of its options if it was written with any.
pub(super) type AskedOf<'a> = (&'a Value, Option<&'a Map<String, Value>>);

/// What is asked of a field, written short or with options.
pub(super) fn asked<'a>(
    clause: &str,
    value: &'a Value,
    names: &[&str],
    options: &[&str],
) -> Result<AskedOf<'a>, Refusal> {
    if !value.is_object() {
        return Ok((value, None));
    }
    let known: Vec<&str> = names.iter().chain(options).copied().collect();
    let body = only(clause, value, &known)?;
    let found = names.iter().find_map(|name| body.get(*name));
    let value = found.ok_or_else(|| {
        Refusal::parsing(format!("[{clause}] requires [{}]", names.first().unwrap_or(&"value")))
    })?;
    Ok((value, Some(body)))
}

/// `minimum_should_match`: how many of so many.
pub(super) fn minimum(clause: &str, value: &Value, count: usize) -> Result<usize, Refusal> {
    let refused = || {
        let reason =
            format!("[{clause}] minimum_should_match {value} is not supported: write 2, -1 or 75%");
        Refusal::parsing(reason)
    };
    let text = values::text_of(value).ok_or_else(refused)?;
    let text = text.trim();
    let signed = i64::try_from(count).unwrap_or(i64::MAX);
    let wanted = match text.strip_suffix('%') {
        Some(percent) => {
            let percent: i64 = percent.parse().map_err(|_| refused())?;
            let part =
                percent.checked_abs().and_then(|p| p.checked_mul(signed)).ok_or_else(refused)?
                    / 100;
            if percent < 0 { signed - part } else { part }
        }
        None => {
            let number: i64 = text.parse().map_err(|_| refused())?;
            if number < 0 { signed.saturating_add(number) } else { number }
        }
    };
    Ok(usize::try_from(wanted.max(0)).unwrap_or(usize::MAX))
}

/// Names of fields, weights taken off; patterns other than `*` are refused.
pub(super) fn field_list(clause: &str, fields: &Value) -> Result<Vec<String>, Refusal> {
    let list = match fields {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    let name = |value: &Value| {
        let text = value
            .as_str()
            .ok_or_else(|| Refusal::parsing(format!("[{clause}] [fields] wants names")))?;
        let name = text.split('^').next().unwrap_or(text);
        match name {
            "*" => Ok("*".to_owned()),
            name if name.contains('*') => Err(Refusal::parsing(format!(
                "[{clause}] field [{name}] is a pattern, which is not supported: name the fields, or *"
            ))),
            name => Ok(name.to_owned()),
        }
    };
    let names: Vec<String> = list.into_iter().map(name).collect::<Result<_, _>>()?;
    match names.is_empty() {
        true => Ok(vec!["*".to_owned()]),
        false => Ok(names),
    }
}
