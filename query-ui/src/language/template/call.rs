//! Calls the functions of templates.

use std::cmp::Ordering;

use super::fill::{Row, VALUE_BYTES_MAX, member};
use super::value::Value;
use super::{Call, TooLong, Unfilled, layout, moments, numbers, printf, texts};

/// Values that one text of JSON may be made of.
const JSON_VALUES_MAX: usize = 1 << 16;

impl<'a> Row<'a, '_> {
    pub(super) fn called(&mut self, call: &'a Call) -> Result<Value<'a>, Unfilled> {
        if matches!(call.function, "and" | "or") {
            return self.decided(call);
        }
        let mut given = Vec::with_capacity(call.arguments.len());
        for argument in &call.arguments {
            given.push(self.value(argument)?);
        }
        match (call.function, given.as_slice()) {
            ("index", [of, places @ ..]) => {
                return places.iter().try_fold(of.clone(), |value, place| at(&value, place));
            }
            ("fromJson", [text]) => return from_json(&text.shown()),
            _ => {}
        }
        // Any other function may go through all that is inside.
        self.steps(given.iter().map(Value::size).sum())?;
        computed(call, &given).map_err(Unfilled::from)
    }

    /// `and` and `or`: the first value that decides, or the last one; none behind it is computed.
    fn decided(&mut self, call: &'a Call) -> Result<Value<'a>, Unfilled> {
        let mut last = Value::Nothing;
        for argument in &call.arguments {
            last = self.value(argument)?;
            if last.is_true() == (call.function == "or") {
                break;
            }
        }
        Ok(last)
    }
}

fn computed<'a>(call: &Call, given: &[Value<'a>]) -> Result<Value<'a>, TooLong> {
    if let Some(truth) = tested(call.function, given) {
        return Ok(truth);
    }
    if let Some(number) = numbers::computed(call.function, given) {
        return Ok(number);
    }
    if let (Some(regex), [_, text, more @ ..]) = (&call.regex, given) {
        return texts::matched(call.function, regex, &text.shown(), more.first());
    }
    match (call.function, given) {
        ("printf", [format, given @ ..]) => {
            Ok(Value::text(printf::printed(&format.shown(), given)?))
        }
        ("date", [form, time]) => Ok(Value::text(layout::date(&form.shown(), time))),
        ("toDate", [form, text]) => {
            Ok(Value::Time(moments::read(&form.shown(), "UTC", &text.shown())))
        }
        ("toDateInZone", [form, zone, text]) => {
            Ok(Value::Time(moments::read(&form.shown(), &zone.shown(), &text.shown())))
        }
        (function, given) => Ok(Value::text(texts::made(function, given)?)),
    }
}

/// What stands in a value at a place: an element by its number, a member by its name.
fn at<'a>(value: &Value<'a>, place: &Value<'_>) -> Result<Value<'a>, Unfilled> {
    match (value, place) {
        (Value::List(list), Value::Int(_) | Value::Float(_)) => {
            let at = usize::try_from(place.int()).map_err(|_| Unfilled::Unfit)?;
            list.get(at).cloned().ok_or(Unfilled::Unfit)
        }
        (Value::Map(_), Value::Text(name)) => member(value, name),
        _ => Err(Unfilled::Unfit),
    }
}

/// What a text of JSON holds; nothing where it is none.
fn from_json<'a>(text: &str) -> Result<Value<'a>, Unfilled> {
    // No more values than signs before them.
    let signs = text.bytes().filter(|byte| b",[{".contains(byte)).count();
    if signs > JSON_VALUES_MAX || text.len() > VALUE_BYTES_MAX {
        return Err(Unfilled::TooLong);
    }
    Ok(serde_json::from_str(text).map_or(Value::Nothing, Value::of_json))
}

/// What a function says that tests values or chooses one of them.
fn tested<'a>(function: &str, given: &[Value<'a>]) -> Option<Value<'a>> {
    use Ordering::{Equal, Greater, Less};
    let text = |at: usize| given.get(at).map(Value::shown).unwrap_or_default();
    let order = || Some(ordered(given.first()?, given.get(1)?));
    let is = |wanted: &[Ordering]| order().flatten().is_some_and(|order| wanted.contains(&order));
    Some(match function {
        "default" => match given {
            [_, value] if value.is_true() => value.clone(),
            _ => given.first()?.clone(),
        },
        "not" => Value::Bool(!given.first()?.is_true()),
        "eq" => {
            let first = given.first()?;
            let mut others = given.iter().skip(1);
            Value::Bool(others.any(|other| ordered(first, other) == Some(Equal)))
        }
        "ne" => Value::Bool(!is(&[Equal])),
        "lt" => Value::Bool(is(&[Less])),
        "le" => Value::Bool(is(&[Less, Equal])),
        "gt" => Value::Bool(is(&[Greater])),
        "ge" => Value::Bool(is(&[Greater, Equal])),
        "contains" => Value::Bool(text(1).contains(&*text(0))),
        "hasPrefix" => Value::Bool(text(1).starts_with(&*text(0))),
        "hasSuffix" => Value::Bool(text(1).ends_with(&*text(0))),
        _ => return None,
    })
}

/// How two values compare: as numbers where one of them is one, else as texts; what is nothing is like nothing else.
fn ordered(one: &Value<'_>, other: &Value<'_>) -> Option<Ordering> {
    match (one, other) {
        (Value::Nothing, Value::Nothing) => return Some(Ordering::Equal),
        (Value::Nothing, _) | (_, Value::Nothing) => return None,
        _ => {}
    }
    if one.number().or(other.number()).is_none() {
        return Some(one.shown().cmp(&other.shown()));
    }
    let number = |value: &Value<'_>| match value {
        Value::Text(text) => model::number::read_number(text),
        value => Some(value.float()),
    };
    number(one)?.partial_cmp(&number(other)?)
}
