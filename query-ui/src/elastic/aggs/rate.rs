//! `rate`: how many records, or how much of them, by a unit of time. The buckets of time around it say how
//! much time there is.

use model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::read::text;
use super::{Aggregation, Kind};
use crate::elastic::refusal::Refusal;
use crate::language::calendar::{Bins, Unit, Width};

/// A rate.
#[derive(Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) of: Of,
    unit: Option<Unit>,
    divisor: Divisor,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Records,
    /// The sum of a field's values.
    Sum,
    /// How many values of a field.
    Values,
}

/// How many units a bucket is long.
#[derive(Debug, Clone, PartialEq)]
enum Divisor {
    Units(f64),
    /// The bin that begins with a bucket's key of that number, by a unit of so many milliseconds.
    Bin {
        key: usize,
        bins: Bins,
        millis: f64,
    },
}

impl Divisor {
    fn of(&self, keys: &[Value]) -> f64 {
        match self {
            Self::Units(units) => *units,
            Self::Bin { key, bins, millis } => {
                let start = keys.get(*key).and_then(Value::as_str).and_then(Timestamp::parse);
                let end = start.and_then(|start| bins.next(start));
                let nanos = start.zip(end).map(|(start, end)| end.0.saturating_sub(start.0));
                nanos.map_or(f64::NAN, |nanos| nanos as f64 / 1e6 / millis)
            }
        }
    }
}

/// Units by which buckets can be told that are no months.
const SHORT: &str = "week, day, hour, minute and second";

/// The length of a unit: one month is not like another.
#[derive(Debug, Clone, Copy)]
enum Length {
    Millis(f64),
    Months(f64),
}

fn length(unit: Unit) -> (&'static str, Length) {
    match unit {
        Unit::Year => ("year", Length::Months(12.0)),
        Unit::Quarter => ("quarter", Length::Months(3.0)),
        Unit::Month => ("month", Length::Months(1.0)),
        Unit::Week => ("week", Length::Millis(604_800_000.0)),
        Unit::Day => ("day", Length::Millis(86_400_000.0)),
        Unit::Hour => ("hour", Length::Millis(3_600_000.0)),
        Unit::Minute => ("minute", Length::Millis(60_000.0)),
        Unit::Second => ("second", Length::Millis(1_000.0)),
    }
}

impl Rate {
    /// What the body of a `rate` says.
    pub(super) fn read(body: &Map<String, Value>) -> Result<Self, Refusal> {
        // Grafana sends what was cleared as an empty text.
        let said = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(""),
            Some(_) => text("rate", body, name),
        };
        let has_field = body.get("field").is_some_and(|field| !field.is_null());
        let of = match said("mode")? {
            "" if !has_field => Of::Records,
            _ if !has_field => {
                let reason = "The mode parameter is only supported with field or script";
                return Err(Refusal::argument(reason));
            }
            "" => Of::Sum,
            mode if mode.eq_ignore_ascii_case("sum") => Of::Sum,
            mode if mode.eq_ignore_ascii_case("value_count") => Of::Values,
            mode => {
                let reason = format!("[rate] [mode] is sum or value_count, and not [{mode}]");
                return Err(Refusal::argument(reason));
            }
        };
        let unit = match said("unit")? {
            "" => None,
            name => Some(
                Unit::read(name)
                    .ok_or_else(|| Refusal::argument(format!("Unsupported unit {name}")))?,
            ),
        };
        Ok(Self { of, unit, divisor: Divisor::Units(1.0) })
    }

    /// The figure of a bucket of these keys that holds so much.
    pub(super) fn shown(&self, keys: &[Value], much: f64) -> Value {
        let rate = if much == 0.0 { 0.0 } else { much / self.divisor.of(keys) };
        json!({ "value": rate })
    }

    fn place(&mut self, around: &Around) -> Result<(), Refusal> {
        let buckets = match (&around.histogram, &around.composite) {
            (Some(histogram), _) => histogram,
            (None, Some(Composed::Once(buckets))) => buckets,
            (None, Some(Composed::Otherwise(name))) => {
                return Err(Refusal::argument(format!(
                    "the ancestor composite aggregation [{name}] must have exactly one date_histogram group by"
                )));
            }
            (None, None) => {
                return Err(Refusal::argument(
                    "The rate aggregation can only be used inside a date histogram aggregation or \
                     composite aggregation with exactly one date histogram value source",
                ));
            }
        };
        if let Some(unit) = self.unit {
            self.divisor = buckets.by(unit)?;
        }
        Ok(())
    }
}

/// Buckets of time that stand around.
#[derive(Debug, Clone)]
struct Buckets {
    bins: Bins,
    /// Which of a bucket's keys is the bin.
    key: usize,
    /// There are no others between.
    is_parent: bool,
}

impl Buckets {
    fn by(&self, unit: Unit) -> Result<Divisor, Refusal> {
        let (name, unit) = length(unit);
        let units = |units: f64| Ok(Divisor::Units(units));
        let refused = |first: &str, buckets: &str, units: &str| {
            Err(Refusal::argument(format!(
                "Cannot use {first}-based rate unit [{name}] with {buckets} only {units} are supported for this histogram"
            )))
        };
        match (self.bins.width, unit) {
            (Width::Fixed(nanos), Length::Millis(millis)) => units(nanos as f64 / 1e6 / millis),
            (Width::Fixed(_), Length::Months(_)) => {
                refused("month", "fixed interval based histogram,", SHORT)
            }
            (Width::Calendar(own), unit) => match (length(own), unit) {
                ((_, Length::Millis(own)), Length::Millis(unit))
                | ((_, Length::Months(own)), Length::Months(unit)) => units(own / unit),
                ((own, Length::Millis(_)), Length::Months(_)) => {
                    let buckets = format!("non-month based calendar interval histogram [{own}]");
                    refused("month", &buckets, SHORT)
                }
                (_, Length::Millis(millis)) if self.is_parent => {
                    Ok(Divisor::Bin { key: self.key, bins: self.bins.clone(), millis })
                }
                ((own, _), Length::Millis(_)) => {
                    let buckets = format!("calendar interval histogram [{own}]");
                    refused("non month", &buckets, "month, quarter and year")
                }
            },
        }
    }
}

/// What an aggregation stands in.
#[derive(Debug, Clone, Default)]
struct Around {
    /// How many keys its buckets have.
    keys: usize,
    /// The nearest `date_histogram`.
    histogram: Option<Buckets>,
    /// The nearest `composite`.
    composite: Option<Composed>,
}

/// A `composite` by its bins of time.
#[derive(Debug, Clone)]
enum Composed {
    Once(Buckets),
    /// It has none, or several.
    Otherwise(String),
}

impl Around {
    /// What stands in an aggregation that stands in this.
    fn within(&self, aggregation: &Aggregation) -> Self {
        let mut inner = self.clone();
        inner.keys += aggregation.parts().len();
        let buckets = |bins: &Bins, key| Buckets { bins: bins.clone(), key, is_parent: true };
        if let Some(histogram) = &mut inner.histogram {
            histogram.is_parent = false;
        }
        if let Some(Composed::Once(buckets)) = &mut inner.composite {
            buckets.is_parent = false;
        }
        match &aggregation.kind {
            Kind::Dates(dates) => inner.histogram = Some(buckets(&dates.bins, self.keys)),
            Kind::Composite(composite) => {
                let sources = composite.sources.iter().enumerate();
                let times: Vec<(usize, &Bins)> = sources
                    .filter_map(|(at, source)| Some((self.keys + at, source.part.bins_of_time()?)))
                    .collect();
                inner.composite = Some(match times.as_slice() {
                    &[(key, bins)] => Composed::Once(buckets(bins, key)),
                    _ => Composed::Otherwise(aggregation.name.clone()),
                });
            }
            _ => {}
        }
        inner
    }
}

/// Tells rates in which buckets they stand. Refuses those that stand in none of time.
pub(super) fn placed(list: &mut [Aggregation]) -> Result<(), Refusal> {
    place(list, &Around::default())
}

fn place(list: &mut [Aggregation], around: &Around) -> Result<(), Refusal> {
    for aggregation in list {
        if let Kind::Metric(metric) = &mut aggregation.kind
            && let Some(rate) = metric.rate()
        {
            rate.place(around)?;
        }
        let within = around.within(aggregation);
        place(&mut aggregation.inner, &within)?;
    }
    Ok(())
}
