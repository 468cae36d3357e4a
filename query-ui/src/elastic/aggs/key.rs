//! Keys of buckets: what records are grouped by.

use serde_json::{Map, Value};

use super::read::{only, text};
use crate::elastic::names;
use crate::elastic::refusal::Refusal;
use crate::language::{Expr, Group, Operator, read_span};
use crate::plan::calendar::Bins;

const WEEK: i64 = 604_800_000_000_000;

/// What records are grouped by.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// The value as it is computed for a record.
    pub(super) expr: Expr,
    /// The group, where it need not be computed before.
    pub(super) group: Option<Group>,
    /// Records without the value have a bucket.
    pub(super) keeps_missing: bool,
    /// Of levels, the unknown one is none.
    pub(super) is_level: bool,
}

impl Part {
    /// A field's values.
    pub(super) fn field(name: &str, missing: Option<&Value>) -> Result<Self, Refusal> {
        let field = names::field(name)?;
        let column = Expr::Column(field.clone());
        let is_level = field == "level";
        let Some(missing) = missing.filter(|missing| !missing.is_null()) else {
            let group = Some(Group::Field(field));
            return Ok(Self { expr: column, group, keeps_missing: false, is_level });
        };
        let literal = match missing {
            Value::String(text) => Expr::Text(text.clone()),
            Value::Bool(truth) => Expr::Bool(*truth),
            Value::Number(number) => match number.as_i64() {
                Some(whole) => Expr::Int(whole),
                None => Expr::Float(number.as_f64().unwrap_or_default()),
            },
            _ => return Err(Refusal::parsing("[missing] wants a text or a number")),
        };
        let expr = Expr::Call("coalesce", vec![column, literal]);
        Ok(Self { expr, group: None, keeps_missing: false, is_level: false })
    }

    /// Bins of time of a field.
    pub(super) fn bins(name: &str, bins: &Bins, width: &str) -> Result<Self, Refusal> {
        let field = names::field(name)?;
        let is_plain =
            field == "timestamp" && bins.offset == 0 && matches!(bins.zone.as_str(), "" | "UTC");
        let group = match bins.width {
            crate::plan::calendar::Width::Fixed(width) if is_plain && width % WEEK != 0 => {
                Some(Group::Bin { width: Some(width) })
            }
            _ => None,
        };
        let text = |text: &str| Expr::Text(text.to_owned());
        let offset = Expr::Duration(bins.offset as f64);
        let arguments = vec![Expr::Column(field), text(width), text(&bins.zone), offset];
        let expr = Expr::Call("time_bin", arguments);
        Ok(Self { expr, group, keeps_missing: false, is_level: false })
    }

    /// Steps of a number.
    pub(super) fn steps(name: &str, width: f64, offset: f64) -> Result<Self, Refusal> {
        let number = Expr::Call("number", vec![Expr::Column(names::field(name)?)]);
        let binary = |operator, a, b| Expr::Binary(operator, Box::new(a), Box::new(b));
        let from = binary(Operator::Subtract, number, Expr::Float(offset));
        let steps = Expr::Call("floor", vec![binary(Operator::Divide, from, Expr::Float(width))]);
        let start = binary(Operator::Multiply, steps, Expr::Float(width));
        let expr = binary(Operator::Add, start, Expr::Float(offset));
        Ok(Self { expr, group: None, keeps_missing: false, is_level: false })
    }

    /// A source of a `composite`: its kind and body.
    pub(super) fn source(kind: &str, body: &Map<String, Value>) -> Result<Self, Refusal> {
        let common = ["field", "order", "missing_bucket", "missing_order"];
        let mut part = match kind {
            "terms" => {
                only(kind, body, &common)?;
                Self::field(text(kind, body, "field")?, None)?
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
        part.keeps_missing = body.get("missing_bucket") == Some(&Value::Bool(true));
        Ok(part)
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
    let refused = |text: &str| {
        Refusal::argument(format!(
            "[{kind}] the interval [{text}] is not known: 30s, 1h, 1d, or of the calendar month, 1M"
        ))
    };
    let (text, calendar) =
        match (given("calendar_interval"), given("fixed_interval"), given("interval")) {
            (Some(text), None, None) => (text, true),
            (None, Some(text), None) => (text, false),
            (None, None, Some(text)) => (text, crate::plan::calendar::Unit::read(text).is_some()),
            _ => {
                let reason =
                    format!("[{kind}] wants one of [fixed_interval] and [calendar_interval]");
                return Err(Refusal::argument(reason));
            }
        };
    let width = match calendar {
        true => crate::plan::calendar::Unit::read(text).map(|_| text.to_owned()),
        // A day is one of 24 hours here, not one of the calendar.
        false => read_span(text)
            .filter(|nanos| *nanos > 0)
            .map(|nanos| format!("{}ms", nanos / 1_000_000)),
    };
    let width = width.ok_or_else(|| refused(text))?;
    let offset = match given("offset") {
        None => 0,
        Some(text) => {
            let (sign, span) = match text.strip_prefix('-') {
                Some(span) => (-1, span),
                None => (1, text.trim_start_matches('+')),
            };
            sign * read_span(span)
                .ok_or_else(|| Refusal::argument(format!("[offset] {text} is no span")))?
        }
    };
    let zone = given("time_zone").unwrap_or_default();
    let bins = Bins::read(&width, zone, offset)
        .ok_or_else(|| Refusal::argument(format!("[time_zone] {zone} is no time zone")))?;
    Ok((bins, width))
}
