//! Keys of buckets: what records are grouped by.

use serde_json::{Map, Value};

use super::read::{only, text};
use super::{Source, boolean};
use crate::elastic::names;
use crate::elastic::refusal::Refusal;
use crate::elastic::taken::{self, Fields};
use crate::language::calendar::{Bins, Width};
use crate::language::{Expr, Group, Operator, read_span};

const WEEK: i64 = 604_800_000_000_000;

/// What records are grouped by.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The field that it is made of.
    pub(super) field: String,
    /// The column of single values, where records have several: each has a row of its own then.
    pub(super) single: Option<String>,
    /// The value as it is computed for a record.
    pub(super) expr: Expr,
    /// The group, where it need not be computed before.
    pub(super) group: Option<Group>,
    /// Records without the value have a bucket.
    pub(super) keeps_missing: bool,
    /// Of levels, the unknown one is none.
    pub(super) is_level: bool,
    /// What stands in for the field in records without it.
    own: Option<&'static str>,
    recipe: Recipe,
}

/// How a key is made of a field's value.
#[derive(Debug, Clone)]
enum Recipe {
    /// It is the value, or something else where there is none.
    Value(Option<Expr>),
    /// It is the value as clients are told it: levels by name, times in milliseconds.
    Told,
    Bins(Bins, String),
    Steps {
        width: f64,
        offset: f64,
    },
}

impl Part {
    /// A field's values.
    pub(super) fn field(name: &str, missing: Option<&Value>) -> Result<Self, Refusal> {
        let missing = match missing.filter(|missing| !missing.is_null()) {
            None => None,
            Some(missing) => Some(
                literal(missing)
                    .ok_or_else(|| Refusal::parsing("[missing] wants a text or a number"))?,
            ),
        };
        Self::named(name, Recipe::Value(missing))
    }

    /// Bins of time of a field.
    pub(super) fn bins(name: &str, bins: &Bins, width: &str) -> Result<Self, Refusal> {
        Self::named(name, Recipe::Bins(bins.clone(), width.to_owned()))
    }

    /// Steps of a number.
    pub(super) fn steps(name: &str, width: f64, offset: f64) -> Result<Self, Refusal> {
        Self::named(name, Recipe::Steps { width, offset })
    }

    fn named(name: &str, recipe: Recipe) -> Result<Self, Refusal> {
        let field = names::field(name)?;
        let column = Expr::Column(field.clone());
        Ok(Self { own: names::taken(name), ..Self::made(field, column, recipe) })
    }

    /// The key of a value.
    fn made(field: String, value: Expr, recipe: Recipe) -> Self {
        let is_plain = value == Expr::Column(field.clone());
        let is_level = field == "level";
        let text = |text: &str| Expr::Text(text.to_owned());
        let bin = |value: Expr, width: &str, zone: &str, offset: i64| {
            let arguments = vec![value, text(width), text(zone), Expr::Duration(offset as f64)];
            Expr::Call("time_bin", arguments)
        };
        let mut group = None;
        let expr = match &recipe {
            Recipe::Value(Some(missing)) => {
                let value = if is_level { taken::level("text") } else { value };
                Expr::Call("coalesce", vec![value, missing.clone()])
            }
            Recipe::Value(None) => {
                group = is_plain.then(|| Group::Field(field.clone()));
                value
            }
            Recipe::Told if is_level => taken::level("text"),
            Recipe::Told if names::is_time(&field) => bin(value, "1ms", "", 0),
            Recipe::Told => {
                group = is_plain.then(|| Group::Field(field.clone()));
                value
            }
            Recipe::Bins(bins, width) => {
                let is_utc = bins.offset == 0 && matches!(bins.zone.as_str(), "" | "UTC");
                group = match bins.width {
                    Width::Fixed(width)
                        if is_plain && is_utc && field == "timestamp" && width % WEEK != 0 =>
                    {
                        Some(Group::Bin { width: Some(width) })
                    }
                    _ => None,
                };
                bin(value, width, &bins.zone, bins.offset)
            }
            Recipe::Steps { width, offset } => {
                let number = Expr::Call("number", vec![value]);
                let from = compared(Operator::Subtract, number, Expr::Float(*offset));
                let steps = compared(Operator::Divide, from, Expr::Float(*width));
                let steps = Expr::Call("floor", vec![steps]);
                let start = compared(Operator::Multiply, steps, Expr::Float(*width));
                compared(Operator::Add, start, Expr::Float(*offset))
            }
        };
        // A level by itself is known by its number; whatever else it is made to has none for unknown.
        let is_level = is_level && group.is_some();
        let (single, own, keeps_missing) = (None, None, false);
        Self { field, single, expr, group, keeps_missing, is_level, own, recipe }
    }

    /// With the fields that there are among those asked for.
    pub(super) fn settle(&mut self, fields: &Fields) {
        let Some(own) = self.own else { return };
        let (field, value) = match fields.get(&self.field) {
            None => (own.to_owned(), Expr::Column(own.to_owned())),
            Some(held) => (self.field.clone(), taken::value(&self.field, own, held.kind)),
        };
        let made = Self::made(field, value, self.recipe.clone());
        *self = Self { keeps_missing: self.keeps_missing, ..made };
    }

    /// The same of single values, which stand in a column of that name.
    pub(super) fn of_single(&self, name: String) -> Self {
        let expr = renamed(&self.expr, &self.field, &name);
        Self { expr, group: None, single: Some(name), ..self.clone() }
    }

    /// Whether several values of a record may come to the same key.
    pub(super) fn may_repeat(&self) -> bool {
        self.single.is_some() && !matches!(self.expr, Expr::Column(_))
    }

    /// Whether its keys are times.
    pub(super) fn is_time(&self) -> bool {
        matches!(&self.expr, Expr::Call("time_bin", _))
            || matches!(&self.expr, Expr::Column(name) if names::is_time(name))
    }

    /// The bins of time that it makes.
    pub(super) fn bins_of_time(&self) -> Option<&Bins> {
        match &self.recipe {
            Recipe::Bins(bins, _) => Some(bins),
            Recipe::Value(_) | Recipe::Told | Recipe::Steps { .. } => None,
        }
    }

    /// A source of a `composite`: its kind and body.
    pub(super) fn source(
        name: &str,
        kind: &str,
        body: &Map<String, Value>,
    ) -> Result<Source, Refusal> {
        let common = ["field", "order", "missing_bucket", "missing_order"];
        let (mut format, mut zone) = (None, String::new());
        let mut part = match kind {
            "terms" => {
                only(kind, body, &common)?;
                Self::named(text(kind, body, "field")?, Recipe::Told)?
            }
            "date_histogram" => {
                let own = [
                    "fixed_interval",
                    "calendar_interval",
                    "interval",
                    "time_zone",
                    "offset",
                    "format",
                ];
                only(kind, body, &[&common[..], &own[..]].concat())?;
                let (bins, width) = read_bins(kind, body)?;
                format = body.get("format").map(|_| text(kind, body, "format")).transpose()?;
                zone.clone_from(&bins.zone);
                Self::bins(text(kind, body, "field")?, &bins, &width)?
            }
            "histogram" => {
                only(kind, body, &[&common[..], &["interval"]].concat())?;
                Self::steps(text(kind, body, "field")?, interval(kind, body)?, 0.0)?
            }
            other => {
                return Err(Refusal::parsing(format!("[composite] does not support [{other}]")));
            }
        };
        part.keeps_missing = boolean(kind, body, "missing_bucket")?;
        let descending = match body.get("order").map(Value::as_str) {
            None | Some(Some("asc")) => false,
            Some(Some("desc")) => true,
            Some(_) => return Err(Refusal::parsing("[composite] [order] is asc or desc")),
        };
        let missing_first = match body.get("missing_order").map(Value::as_str) {
            None | Some(Some("default")) => !descending,
            Some(Some("first")) => true,
            Some(Some("last")) => false,
            Some(_) => {
                let reason = "[composite] [missing_order] is first, last or default";
                return Err(Refusal::parsing(reason));
            }
        };
        let (name, format) = (name.to_owned(), format.map(str::to_owned));
        Ok(Source { name, part, descending, missing_first, format, zone })
    }
}

/// Two values joined.
pub(super) fn compared(operator: Operator, left: Expr, right: Expr) -> Expr {
    Expr::Binary(operator, Box::new(left), Box::new(right))
}

/// A value of a request or of an answer; `None` when it is none.
pub(super) fn literal(value: &Value) -> Option<Expr> {
    Some(match value {
        Value::String(text) => Expr::Text(text.clone()),
        Value::Bool(truth) => Expr::Bool(*truth),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Expr::Int(whole),
            None => Expr::Float(number.as_f64().unwrap_or_default()),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    })
}

/// The same expression with a column of another name in it.
fn renamed(expr: &Expr, from: &str, to: &str) -> Expr {
    let inner = |expr: &Expr| renamed(expr, from, to);
    match expr {
        Expr::Column(name) if name == from => Expr::Column(to.to_owned()),
        Expr::Call(function, arguments) => {
            Expr::Call(function, arguments.iter().map(inner).collect())
        }
        Expr::Binary(operator, a, b) => {
            Expr::Binary(*operator, Box::new(inner(a)), Box::new(inner(b)))
        }
        other => other.clone(),
    }
}

/// A positive interval of numbers.
pub(super) fn interval(kind: &str, body: &Map<String, Value>) -> Result<f64, Refusal> {
    let value = body.get("interval");
    let read = value.and_then(|v| v.as_f64().or_else(|| v.as_str()?.parse().ok()));
    read.filter(|width: &f64| *width > 0.0 && width.is_finite())
        .ok_or_else(|| Refusal::argument(format!("[interval] must be >0 for [{kind}]")))
}

/// The bins of a `date_histogram`, and their width as our language writes it.
pub(super) fn read_bins(kind: &str, body: &Map<String, Value>) -> Result<(Bins, String), Refusal> {
    let given = |name: &str| body.get(name).and_then(Value::as_str);
    if let Some(zone) = body.get("time_zone").filter(|zone| !zone.is_string() && !zone.is_null()) {
        return Err(Refusal::argument(format!("[time_zone] {zone} is no time zone")));
    }
    let refused = |text: &str| {
        Refusal::argument(format!(
            "[{kind}] the interval [{text}] is not known: 30s, 1h, 1d, or of the calendar month, 1M"
        ))
    };
    let (text, calendar) =
        match (given("calendar_interval"), given("fixed_interval"), given("interval")) {
            (Some(text), None, None) => (text, true),
            (None, Some(text), None) => (text, false),
            (None, None, Some(text)) => {
                (text, crate::language::calendar::Unit::read(text).is_some())
            }
            _ => {
                let reason =
                    format!("[{kind}] wants one of [fixed_interval] and [calendar_interval]");
                return Err(Refusal::argument(reason));
            }
        };
    let width = match calendar {
        true => crate::language::calendar::Unit::read(text).map(|_| text.to_owned()),
        // A day is one of 24 hours here, not one of the calendar.
        false => read_span(text)
            .filter(|nanos| *nanos > 0)
            .map(|nanos| format!("{}ms", nanos / 1_000_000)),
    };
    let width = width.ok_or_else(|| refused(text))?;
    let no_span = |value: &Value| Refusal::argument(format!("[offset] {value} is no span"));
    let offset = match body.get("offset") {
        None | Some(Value::Null) => 0,
        Some(Value::String(text)) => {
            let (sign, span) = match text.strip_prefix('-') {
                Some(span) => (-1, span),
                None => (1, text.trim_start_matches('+')),
            };
            // Nothing needs no unit.
            let nanos = read_span(span).or_else(|| (span == "0").then_some(0));
            sign * nanos.ok_or_else(|| no_span(&text.as_str().into()))?
        }
        Some(millis) => millis
            .as_i64()
            .and_then(|millis| millis.checked_mul(1_000_000))
            .ok_or_else(|| no_span(millis))?,
    };
    let zone = given("time_zone").unwrap_or_default();
    let bins = Bins::read(&width, zone, offset)
        .ok_or_else(|| Refusal::argument(format!("[time_zone] {zone} is no time zone")))?;
    Ok((bins, width))
}
