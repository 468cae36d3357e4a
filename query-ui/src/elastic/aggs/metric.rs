//! Figures of a bucket: aggregates of our plan, and what an answer makes of them.

use model::time::Timestamp;
use serde_json::{Map, Value, json};

use super::rate::{Of, Rate};
use crate::elastic::dates::in_format;
use crate::elastic::names;
use crate::elastic::refusal::{Refusal, set};
use crate::elastic::taken::{self, Fields};
use crate::language::{Aggregate, Expr, Function, Operator};

/// A figure.
#[derive(Debug)]
pub(super) struct Metric {
    kind: Figure,
    /// The field that it is of; empty where it is of records.
    pub(super) field: String,
    /// What stands in for it in records without it.
    own: Option<&'static str>,
    /// What stands in where there is neither.
    missing: Option<Expr>,
    number: Expr,
    value: Expr,
    /// Of times: how they are written.
    format: Option<String>,
}

#[derive(Debug, PartialEq)]
enum Figure {
    Avg,
    Min,
    Max,
    Sum,
    ValueCount,
    Cardinality,
    Stats,
    ExtendedStats { sigma: f64 },
    Percentiles { percents: Vec<f64>, keyed: bool },
    Rate(Rate),
}

/// Percentiles where the request does not say.
const PERCENTS: [f64; 7] = [1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0];
/// Percentiles of one figure.
const PERCENTS_MAX: usize = 64;

impl Metric {
    /// The figure of a name; `None` when it is none.
    pub(super) fn read(kind: &str, body: &Map<String, Value>) -> Result<Option<Self>, Refusal> {
        let figure = match kind {
            "avg" => Figure::Avg,
            "min" => Figure::Min,
            "max" => Figure::Max,
            "sum" => Figure::Sum,
            "value_count" => Figure::ValueCount,
            "cardinality" => Figure::Cardinality,
            "stats" => Figure::Stats,
            "extended_stats" => Figure::ExtendedStats { sigma: sigma(kind, body)? },
            "percentiles" => Figure::Percentiles {
                percents: percents(body.get("percents"))?,
                keyed: body.get("keyed") != Some(&Value::Bool(false)),
            },
            "rate" => Figure::Rate(Rate::read(body)?),
            _ => return Ok(None),
        };
        let known: &[&str] = match figure {
            Figure::Cardinality => &["field", "missing", "precision_threshold", "execution_hint"],
            Figure::ExtendedStats { .. } => &["field", "missing", "format", "sigma"],
            Figure::Rate(_) => &["field", "missing", "unit", "mode"],
            Figure::Percentiles { .. } => {
                &["field", "missing", "format", "percents", "keyed", "tdigest", "hdr"]
            }
            _ => &["field", "missing", "format"],
        };
        super::read::only(kind, body, known)?;
        let name = match &figure {
            Figure::Rate(Rate { of: Of::Records, .. }) => "",
            _ => super::read::text(kind, body, "field")?,
        };
        let (field, own) = (names::field(name)?, names::taken(name));
        let format = match body.get("format") {
            None | Some(Value::Null) => None,
            Some(Value::String(format))
                if names::is_time(&field) || own.is_some_and(names::is_time) =>
            {
                Some(format.clone())
            }
            Some(_) => {
                let reason = format!("[{kind}] [format] is supported of times alone");
                return Err(Refusal::parsing(reason));
            }
        };
        let missing = stand_in(kind, &figure, body)?;
        let (number, value) = (Expr::Null, Expr::Column(field.clone()));
        let mut metric = Self { kind: figure, field, own, missing, number, value, format };
        metric.make();
        Ok(Some(metric))
    }

    /// The field that it is of, if it is of one.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        Some(self.field.as_str()).filter(|field| !field.is_empty()).into_iter()
    }

    /// The rate that it is.
    pub(super) fn rate(&mut self) -> Option<&mut Rate> {
        match &mut self.kind {
            Figure::Rate(rate) => Some(rate),
            _ => None,
        }
    }

    /// With the fields that there are among those asked for.
    pub(super) fn settle(&mut self, fields: &Fields) {
        let Some(own) = self.own.take() else { return };
        self.value = match fields.get(&self.field) {
            Some(held) => taken::value(&self.field, own, held.kind),
            None => {
                own.clone_into(&mut self.field);
                Expr::Column(own.to_owned())
            }
        };
        self.make();
    }

    /// Makes the number of the value, and puts in what stands in for both.
    fn make(&mut self) {
        let value = self.value.clone();
        self.number = match names::is_time(&self.field) {
            true => taken::in_millis(value),
            false => Expr::Call("number", vec![value]),
        };
        if self.field == "level" {
            self.value = taken::level("text");
        }
        // What was taken is looked at once it is known which fields there are.
        if let Some(missing) = self.missing.as_ref().filter(|_| self.own.is_none()) {
            let or = |value: &Expr| Expr::Call("coalesce", vec![value.clone(), missing.clone()]);
            (self.number, self.value) = (or(&self.number), or(&self.value));
        }
    }

    /// How times of it are written.
    fn format(&self) -> Option<&str> {
        names::is_time(&self.field).then(|| self.format.as_deref().unwrap_or_default())
    }

    /// What is computed for it.
    pub(super) fn aggregates(&self) -> Vec<Aggregate> {
        let of = |function: Function, argument: &Expr| Aggregate {
            function,
            argument: Some(argument.clone()),
            condition: None,
            name: String::new(),
        };
        let number = |function| of(function, &self.number);
        let basic = || {
            [Function::Count, Function::Min, Function::Max, Function::Avg, Function::Sum]
                .map(number)
        };
        match &self.kind {
            Figure::Avg => vec![number(Function::Avg)],
            Figure::Min => vec![number(Function::Min)],
            Figure::Max => vec![number(Function::Max)],
            Figure::Sum => vec![number(Function::Sum)],
            Figure::ValueCount => vec![of(Function::Count, &self.value)],
            Figure::Cardinality => vec![of(Function::CountDistinct, &self.value)],
            Figure::Stats => basic().to_vec(),
            Figure::ExtendedStats { .. } => {
                let twice = || Box::new(self.number.clone());
                let square = Expr::Binary(Operator::Multiply, twice(), twice());
                let more = [of(Function::Sum, &square), number(Function::Stddev)];
                basic().into_iter().chain(more).collect()
            }
            Figure::Percentiles { percents, .. } => {
                percents.iter().map(|percent| number(Function::Quantile(percent / 100.0))).collect()
            }
            Figure::Rate(rate) => vec![match rate.of {
                Of::Records => Aggregate { argument: None, ..of(Function::Count, &Expr::Null) },
                Of::Sum => number(Function::Sum),
                Of::Values => of(Function::Count, &self.value),
            }],
        }
    }

    /// Whether it has a figure of that name; one that is a single figure needs none.
    pub(super) fn has(&self, part: &str) -> bool {
        const STATS: [&str; 5] = ["count", "min", "max", "avg", "sum"];
        const EXTENDED: [&str; 9] = [
            "sum_of_squares",
            "variance",
            "variance_population",
            "variance_sampling",
            "std_deviation",
            "std_deviation_population",
            "std_deviation_sampling",
            "std_upper",
            "std_lower",
        ];
        match &self.kind {
            Figure::Stats => STATS.contains(&part),
            Figure::ExtendedStats { .. } => STATS.contains(&part) || EXTENDED.contains(&part),
            Figure::Percentiles { percents, .. } => {
                part.parse::<f64>().is_ok_and(|percent| percents.contains(&percent))
            }
            _ => matches!(part, "" | "value"),
        }
    }

    /// The figure of its aggregates in the bucket of these keys; of none where there were no records.
    pub(super) fn shown(&self, keys: &[Value], cells: &[Value]) -> Value {
        let cell = |at: usize| cells.get(at).cloned().unwrap_or_default();
        let number = |at: usize| cells.get(at).and_then(Value::as_f64);
        let count = |at: usize| cells.get(at).and_then(Value::as_u64).unwrap_or(0);
        let single = |value: Value| {
            let mut shown = json!({ "value": value });
            if let (Some(millis), Some(format)) = (value.as_f64(), self.format()) {
                set(&mut shown, "value_as_string", time_of(millis, format).into());
            }
            shown
        };
        match &self.kind {
            Figure::Avg | Figure::Min | Figure::Max => single(number(0).into()),
            Figure::Sum => single(number(0).unwrap_or(0.0).into()),
            Figure::ValueCount | Figure::Cardinality => json!({ "value": count(0) }),
            Figure::Rate(rate) => rate.shown(keys, number(0).unwrap_or(0.0)),
            Figure::Stats => json!({
                "count": count(0), "min": cell(1), "max": cell(2), "avg": cell(3),
                "sum": number(4).unwrap_or(0.0),
            }),
            Figure::ExtendedStats { sigma } => {
                extended(count(0), [1, 2, 3, 4, 5, 6].map(number), *sigma)
            }
            Figure::Percentiles { percents, keyed: true } => {
                let value = |(at, percent): (usize, &f64)| (format!("{percent:?}"), cell(at));
                json!({ "values": percents.iter().enumerate().map(value).collect::<Map<_, _>>() })
            }
            Figure::Percentiles { percents, keyed: false } => {
                let value =
                    |(at, percent): (usize, &f64)| json!({ "key": percent, "value": cell(at) });
                json!({ "values": percents.iter().enumerate().map(value).collect::<Vec<_>>() })
            }
        }
    }
}

/// What stands in where there is no value: a number, or a text where it only counts that there is one.
fn stand_in(
    kind: &str,
    figure: &Figure,
    body: &Map<String, Value>,
) -> Result<Option<Expr>, Refusal> {
    let Some(given) = body.get("missing").filter(|missing| !missing.is_null()) else {
        return Ok(None);
    };
    let counts = match figure {
        Figure::Cardinality | Figure::ValueCount => true,
        Figure::Rate(rate) => rate.of != Of::Sum,
        _ => false,
    };
    let written = given.as_str().and_then(|text| text.parse::<f64>().ok());
    let number = given.as_f64().or(written).filter(|number| number.is_finite());
    match (given, number) {
        (Value::String(text), _) if *figure == Figure::Cardinality => {
            Ok(Some(Expr::Text(text.clone())))
        }
        (_, Some(number)) => Ok(Some(Expr::Float(number))),
        (Value::String(text), None) if counts => Ok(Some(Expr::Text(text.clone()))),
        _ => Err(Refusal::parsing(format!("[{kind}] [missing] {given} is no number"))),
    }
}

/// How many deviations the bounds of `extended_stats` are away.
fn sigma(kind: &str, body: &Map<String, Value>) -> Result<f64, Refusal> {
    if body.get("sigma").is_none_or(Value::is_null) {
        return Ok(2.0);
    }
    match super::read::number(kind, body, "sigma")? {
        sigma if sigma >= 0.0 => Ok(sigma),
        _ => Err(Refusal::argument("[sigma] must be greater than or equal to 0")),
    }
}

fn percents(given: Option<&Value>) -> Result<Vec<f64>, Refusal> {
    let Some(given) = given else { return Ok(PERCENTS.to_vec()) };
    let number = |value: &Value| {
        let text = value.as_str().and_then(|text| text.parse().ok());
        value.as_f64().or(text).filter(|percent| (0.0..=100.0).contains(percent))
    };
    let list: Option<Vec<f64>> =
        given.as_array().and_then(|list| list.iter().map(number).collect());
    list.filter(|list| (1..=PERCENTS_MAX).contains(&list.len())).ok_or_else(|| {
        Refusal::argument(format!("[percents] wants 1 to {PERCENTS_MAX} numbers from 0 to 100"))
    })
}

fn time_of(millis: f64, format: &str) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a time of ours fits")]
    let time = Timestamp((millis as i64).saturating_mul(1_000_000));
    in_format(time, format, "")
}

fn extended(count: u64, figures: [Option<f64>; 6], sigma: f64) -> Value {
    let [min, max, avg, sum, squares, sample] = figures;
    let records = count as f64;
    let sample = sample.map(|deviation| deviation * deviation);
    let population = match count {
        0 => None,
        1 => Some(0.0),
        _ => sample.map(|sample| sample * (records - 1.0) / records),
    };
    let root = |variance: Option<f64>| variance.map(f64::sqrt);
    let bound = |sign: f64, deviation: Option<f64>| Some(avg? + sign * sigma * deviation?);
    json!({
        "count": count, "min": min, "max": max, "avg": avg, "sum": sum.unwrap_or(0.0),
        "sum_of_squares": squares, "variance": population,
        "variance_population": population, "variance_sampling": sample,
        "std_deviation": root(population), "std_deviation_population": root(population),
        "std_deviation_sampling": root(sample),
        "std_deviation_bounds": {
            "upper": bound(1.0, root(population)), "lower": bound(-1.0, root(population)),
            "upper_population": bound(1.0, root(population)),
            "lower_population": bound(-1.0, root(population)),
            "upper_sampling": bound(1.0, root(sample)), "lower_sampling": bound(-1.0, root(sample)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_as_far_away_as_is_said() {
        for (given, expected) in
            [(Value::Null, 2.0), (json!(3), 3.0), (json!("1.5"), 1.5), (json!(0), 0.0)]
        {
            let body = Map::from_iter([("sigma".to_owned(), given.clone())]);
            let sigma = sigma("extended_stats", &body).unwrap();
            assert!((sigma - expected).abs() < 1e-9, "{given}: {sigma}");
        }
        assert!(sigma("extended_stats", &Map::new()).is_ok());
    }
}
