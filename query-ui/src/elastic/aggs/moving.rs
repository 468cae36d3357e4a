//! What a window of values comes to: the models of `moving_avg`, the functions of `moving_fn`.

use serde_json::{Map, Value};

use super::read::{boolean, number, text, whole};
use crate::elastic::refusal::Refusal;

/// How much a value weighs in an average that forgets, where the request does not say.
const ALPHA: f64 = 0.3;

/// A function of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Moving {
    Max,
    Min,
    Sum,
    /// The standard deviation of just these values.
    Deviation,
    Average,
    /// The later a value, the more it weighs.
    Linear,
    /// The latest weighs so much, all before the rest.
    Forgetting(f64),
}

impl Moving {
    /// That of a `moving_avg`.
    pub(super) fn of_model(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let kind = "moving_avg";
        if boolean(kind, body, "minimize")? || whole(body, "predict", 0)? > 0 {
            let reason = "[moving_avg] does not support [minimize] and [predict]";
            return Err(Refusal::argument(reason));
        }
        let model = match body.get("model").filter(|model| !model.is_null()) {
            None => "simple",
            Some(_) => text(kind, body, "model")?,
        };
        match model {
            "simple" => Ok(Self::Average),
            "linear" => Ok(Self::Linear),
            "ewma" => {
                let settings = body.get("settings").and_then(Value::as_object);
                let settings = settings.filter(|given| given.contains_key("alpha"));
                let alpha = settings.map_or(Ok(ALPHA), |given| number(kind, given, "alpha"))?;
                Self::forgetting(alpha)
            }
            other => {
                let reason = format!(
                    "[moving_avg] [model] [{other}] is not supported: simple, linear, ewma"
                );
                Err(Refusal::argument(reason))
            }
        }
    }

    /// That of the script of a `moving_fn`.
    pub(super) fn of_script(source: &str) -> Result<Self, Refusal> {
        let plain: String = source.chars().filter(|c| !c.is_whitespace()).collect();
        let plain = plain.strip_prefix("return").unwrap_or(&plain);
        let plain = plain.strip_suffix(';').unwrap_or(plain);
        let call = plain.strip_prefix("MovingFunctions.").unwrap_or_default();
        match call {
            "max(values)" => return Ok(Self::Max),
            "min(values)" => return Ok(Self::Min),
            "sum(values)" => return Ok(Self::Sum),
            "unweightedAvg(values)" => return Ok(Self::Average),
            "linearWeightedAvg(values)" => return Ok(Self::Linear),
            "stdDev(values,MovingFunctions.unweightedAvg(values))" => return Ok(Self::Deviation),
            _ => {}
        }
        let alpha = call.strip_prefix("ewma(values,").and_then(|rest| rest.strip_suffix(')'));
        match alpha.and_then(|alpha| alpha.parse().ok()) {
            Some(alpha) => Self::forgetting(alpha),
            None => Err(Refusal::argument(format!(
                "[moving_fn] [script] [{source}] is not supported: MovingFunctions.max, min, sum, \
                 unweightedAvg, linearWeightedAvg, ewma or stdDev of (values)"
            ))),
        }
    }

    fn forgetting(alpha: f64) -> Result<Self, Refusal> {
        match (0.0..=1.0).contains(&alpha) {
            true => Ok(Self::Forgetting(alpha)),
            false => Err(Refusal::argument(format!("[alpha] is from 0 to 1, and not {alpha}"))),
        }
    }

    /// What it makes of some values; no number where there are none.
    pub(super) fn of(self, values: &[f64]) -> f64 {
        // None come to zero, which has no sign here.
        let sum = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() + 0.0;
        let all = || values.iter().copied();
        let average = || sum(&mut all()) / values.len() as f64;
        match self {
            Self::Max => all().reduce(f64::max).unwrap_or(f64::NAN),
            Self::Min => all().reduce(f64::min).unwrap_or(f64::NAN),
            Self::Sum => sum(&mut all()),
            Self::Average => average(),
            Self::Deviation => {
                let average = average();
                let apart = |value: f64| (value - average) * (value - average);
                (sum(&mut all().map(apart)) / values.len() as f64).sqrt()
            }
            Self::Linear => {
                // As Elasticsearch weighs them: 1, 2, 3 … of their sum and one.
                let weights = || (1..=values.len()).map(|weight| weight as f64);
                let weighed = sum(&mut all().zip(weights()).map(|(value, weight)| value * weight));
                if values.is_empty() { f64::NAN } else { weighed / (1.0 + sum(&mut weights())) }
            }
            Self::Forgetting(alpha) => {
                let next = |average: f64, value: f64| value * alpha + average * (1.0 - alpha);
                all().reduce(next).unwrap_or(f64::NAN)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, values: &[f64], expected: f64) {
        let moving = Moving::of_script(script).unwrap();
        let found = moving.of(values);
        let is_it = (found - expected).abs() < 1e-12 || found.is_nan() && expected.is_nan();
        assert!(is_it, "{script}: {found}");
    }

    #[test]
    fn functions_are_those_of_their_names() {
        let values = [4.0, 1.0, 7.0];
        for (script, of_values, of_none) in [
            ("MovingFunctions.max(values)", 7.0, f64::NAN),
            ("MovingFunctions.min( values );", 1.0, f64::NAN),
            ("return MovingFunctions.sum(values)", 12.0, 0.0),
            ("MovingFunctions.unweightedAvg(values)", 4.0, f64::NAN),
            ("MovingFunctions.linearWeightedAvg(values)", 27.0 / 7.0, f64::NAN),
            ("MovingFunctions.ewma(values, 0.5)", 4.75, f64::NAN),
            (
                "MovingFunctions.stdDev(values, MovingFunctions.unweightedAvg(values))",
                6.0_f64.sqrt(),
                f64::NAN,
            ),
        ] {
            check(script, &values, of_values);
            check(script, &[], of_none);
        }
        for bad in ["", "values.length", "MovingFunctions.holt(values, 0.1, 0.1)", "1 + 1"] {
            assert!(Moving::of_script(bad).is_err(), "{bad}");
        }
        assert!(Moving::of_script("MovingFunctions.ewma(values, 2)").is_err());
    }
}
