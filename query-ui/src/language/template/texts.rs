//! Functions of templates that make texts of texts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

use super::TooLong;
use super::fill::{Made, VALUE_BYTES_MAX};
use super::value::Value;

/// What a function makes.
pub(super) fn made(function: &str, given: &[Value<'_>]) -> Result<String, TooLong> {
    let text = |at: usize| given.get(at).map(Value::shown).unwrap_or_default();
    let count = |at: usize| given.get(at).map_or(0, Value::int);
    let (first, second) = (text(0), text(1));
    Ok(match function {
        "ToLower" | "lower" => first.to_lowercase(),
        "ToUpper" | "upper" => first.to_uppercase(),
        "Title" | "title" => title(&first),
        "Replace" => replaced(&first, (&*second, &*text(2)), usize::try_from(count(3)).ok())?,
        "replace" => replaced(&text(2), (&*first, &*second), None)?,
        "Trim" => first.trim_matches(|c: char| second.contains(c)).to_owned(),
        "TrimLeft" => first.trim_start_matches(|c: char| second.contains(c)).to_owned(),
        "TrimRight" => first.trim_end_matches(|c: char| second.contains(c)).to_owned(),
        "TrimPrefix" => first.strip_prefix(&*second).unwrap_or(&first).to_owned(),
        "TrimSuffix" => first.strip_suffix(&*second).unwrap_or(&first).to_owned(),
        "TrimSpace" | "trim" => first.trim().to_owned(),
        // These take the text last, so that it can be piped into them.
        "trimAll" => second.trim_matches(|c: char| first.contains(c)).to_owned(),
        "trimPrefix" => second.strip_prefix(&*first).unwrap_or(&second).to_owned(),
        "trimSuffix" => second.strip_suffix(&*first).unwrap_or(&second).to_owned(),
        "trunc" => truncated(&second, count(0)),
        "substr" => between(&text(2), count(0), count(1)),
        "alignLeft" | "alignRight" => aligned(function, &second, count(0))?,
        "indent" => indented("", &second, count(0))?,
        "nindent" => indented("\n", &second, count(0))?,
        "repeat" => {
            let mut made = Made::up_to(VALUE_BYTES_MAX);
            made.fill(&second, usize::try_from(count(0)).unwrap_or(0))?;
            made.done()
        }
        "urlencode" => encoded(&first),
        "urldecode" => decoded(&first).unwrap_or_else(|| first.to_string()),
        "b64enc" => STANDARD.encode(first.as_bytes()),
        "b64dec" => {
            let bytes = STANDARD.decode(first.as_bytes()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => printed(given)?,
    })
}

/// What a function makes of the matches of an expression.
pub(super) fn matched<'a>(
    function: &str,
    regex: &Regex,
    text: &str,
    by: Option<&Value<'a>>,
) -> Result<Value<'a>, TooLong> {
    if function == "count" {
        return Ok(Value::Int(i64::try_from(regex.find_iter(text).count()).unwrap_or(i64::MAX)));
    }
    let by = by.map(Value::shown).unwrap_or_default();
    let groups = if function == "regexReplaceAll" { by.matches('$').count() } else { 0 };
    let (mut made, mut end) = (Made::up_to(VALUE_BYTES_MAX.max(text.len())), 0);
    for found in regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        made.push(text.get(end..whole.start()).unwrap_or_default())?;
        if groups == 0 {
            made.push(&by)?;
        } else {
            // No group is longer than the match.
            if whole.len().saturating_mul(groups) > VALUE_BYTES_MAX {
                return Err(TooLong);
            }
            let mut piece = String::new();
            found.expand(&by, &mut piece);
            made.push(&piece)?;
        }
        end = whole.end();
    }
    made.push(text.get(end..).unwrap_or_default())?;
    Ok(Value::text(made.done()))
}

/// Values one behind the other, with a space between two of which none is a text.
fn printed(given: &[Value<'_>]) -> Result<String, TooLong> {
    let mut made = Made::up_to(VALUE_BYTES_MAX);
    let mut was_text = true;
    for value in given {
        let is_text = matches!(value, Value::Text(_));
        if !was_text && !is_text {
            made.push(" ")?;
        }
        made.push(&value.shown())?;
        was_text = is_text;
    }
    Ok(made.done())
}

fn title(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut begins = true;
    for c in text.chars() {
        if begins {
            made.extend(c.to_uppercase());
        } else {
            made.push(c);
        }
        begins = !(c.is_alphanumeric() || c == '_' || c == '\'');
    }
    made
}

/// With the first `most` of what is found replaced. Nothing stands before each character, and at the end.
fn replaced(text: &str, (what, by): (&str, &str), most: Option<usize>) -> Result<String, TooLong> {
    let mut made = Made::up_to(VALUE_BYTES_MAX.max(text.len()));
    let mut end = 0;
    for (at, found) in text.match_indices(what).take(most.unwrap_or(usize::MAX)) {
        made.push(text.get(end..at).unwrap_or_default())?;
        made.push(by)?;
        end = at + found.len();
    }
    made.push(text.get(end..).unwrap_or_default())?;
    Ok(made.done())
}

/// So many characters of the beginning, or of the end where there are less than none.
fn truncated(text: &str, count: i64) -> String {
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    match count < 0 {
        false => text.chars().take(wanted).collect(),
        true => {
            let all = text.chars().count();
            text.chars().skip(all.saturating_sub(wanted)).collect()
        }
    }
}

/// The characters from one place to another; what is less than 0 is the beginning, or the end.
fn between(text: &str, start: i64, end: i64) -> String {
    let start = usize::try_from(start).unwrap_or(0);
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    text.chars().take(end).skip(start).collect()
}

/// Exactly so many characters: the beginning or the end, with spaces where it has fewer.
fn aligned(function: &str, text: &str, count: i64) -> Result<String, TooLong> {
    let wanted = usize::try_from(count).unwrap_or(0);
    let has = text.chars().count();
    let mut made = Made::up_to(VALUE_BYTES_MAX.max(text.len()));
    let spaces = wanted.saturating_sub(has);
    if function == "alignLeft" {
        made.push(&text.chars().take(wanted).collect::<String>())?;
        made.fill(" ", spaces)?;
    } else {
        made.fill(" ", spaces)?;
        made.push(&text.chars().skip(has.saturating_sub(wanted)).collect::<String>())?;
    }
    Ok(made.done())
}

fn indented(before: &str, text: &str, count: i64) -> Result<String, TooLong> {
    let spaces = usize::try_from(count).unwrap_or(0);
    let mut made = Made::up_to(VALUE_BYTES_MAX.max(text.len()));
    made.push(before)?;
    for (at, line) in text.split('\n').enumerate() {
        made.push(if at > 0 { "\n" } else { "" })?;
        made.fill(" ", spaces)?;
        made.push(line)?;
    }
    Ok(made.done())
}

/// As in the query of an address.
fn encoded(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => made.push('+'),
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) => {
                made.push(char::from(byte));
            }
            byte => made.push_str(&format!("%{byte:02X}")),
        }
    }
    made
}

/// The text that was encoded so; `None` where none was.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let [byte, behind @ ..] = rest {
        rest = behind;
        bytes.push(match (byte, behind) {
            (b'%', [high, low, behind @ ..]) => {
                rest = behind;
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                u8::try_from(digit(high)? * 16 + digit(low)?).ok()?
            }
            (b'%', _) => return None,
            (b'+', _) => b' ',
            (byte, _) => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}
