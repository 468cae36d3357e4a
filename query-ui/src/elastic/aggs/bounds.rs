//! Ends of a histogram's row of buckets: `extended_bounds`, as far as which it reaches, and `hard_bounds`,
//! beyond which it has none. As in Elasticsearch a hard upper end is inside where it is a number, and the
//! first that is not where it is a time.

use serde_json::{Map, Value};

use super::read::only;
use crate::elastic::refusal::Refusal;

/// Two ends; either may be open.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds<T> {
    pub(super) min: Option<T>,
    pub(super) max: Option<T>,
}

impl<T: Copy + PartialOrd> Bounds<T> {
    /// What a histogram says under a name; `end` reads one of them.
    pub(super) fn read(
        body: &Map<String, Value>,
        name: &str,
        end: impl Fn(&Value) -> Option<T>,
    ) -> Result<Self, Refusal> {
        let refused = || {
            Refusal::argument(format!("[{name}] wants [min] and [max], values of the histogram"))
        };
        let object = match body.get(name) {
            None | Some(Value::Null) => return Ok(Self { min: None, max: None }),
            Some(given) => given.as_object().ok_or_else(refused)?,
        };
        only(name, object, &["min", "max"])?;
        let one = |side: &str| match object.get(side) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => end(value).map(Some).ok_or_else(refused),
        };
        let (min, max) = (one("min")?, one("max")?);
        match min.zip(max) {
            Some((min, max)) if min > max => {
                Err(Refusal::argument(format!("[{name}.min] cannot be greater than [{name}.max]")))
            }
            _ => Ok(Self { min, max }),
        }
    }

    /// The same of what the ends become.
    pub(super) fn map<U>(self, to: impl Fn(T) -> Option<U>) -> Bounds<U> {
        Bounds { min: self.min.and_then(&to), max: self.max.and_then(&to) }
    }

    /// Whether a value lies within.
    pub(super) fn holds(&self, value: T) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }

    /// Whether a value lies within and is not the upper end itself.
    pub(super) fn holds_below(&self, value: T) -> bool {
        self.holds(value) && self.max != Some(value)
    }

    /// Whether neither end is open.
    pub(super) fn is_closed(&self) -> bool {
        self.min.is_some() && self.max.is_some()
    }

    /// Refuses to reach beyond hard ones.
    pub(super) fn inside(&self, hard: &Self) -> Result<(), Refusal> {
        let is_before = self.min.zip(hard.min).is_some_and(|(own, hard)| own < hard);
        let is_behind = self.max.zip(hard.max).is_some_and(|(own, hard)| own > hard);
        match is_before || is_behind {
            true => Err(Refusal::argument(
                "[extended_bounds] have to be inside hard bounds [hard_bounds]",
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(given: Value) -> Result<Bounds<f64>, Refusal> {
        let body = Map::from_iter([("b".to_owned(), given)]);
        Bounds::read(&body, "b", Value::as_f64)
    }

    #[test]
    fn ends_are_inside_and_may_be_open() {
        let both = read(json!({"min": 1, "max": 2})).unwrap();
        assert_eq!([0.9, 1.0, 2.0, 2.1].map(|at| both.holds(at)), [false, true, true, false]);
        assert_eq!([1.0, 1.9, 2.0].map(|at| both.holds_below(at)), [true, true, false]);
        let low = read(json!({"min": 1, "max": null})).unwrap();
        assert_eq!((low.holds(9.0), low.holds(0.0), low.is_closed()), (true, false, false));
        assert!(read(Value::Null).unwrap().holds(-1.0));
        for bad in [json!({"min": 2, "max": 1}), json!({"min": "x"}), json!(1), json!({"mid": 1})] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_extended_stays_inside_of_what_is_hard() {
        let hard = read(json!({"min": 0, "max": 10})).unwrap();
        assert!(read(json!({"min": 0, "max": 10})).unwrap().inside(&hard).is_ok());
        assert!(read(json!({})).unwrap().inside(&hard).is_ok());
        assert!(read(json!({"min": -1})).unwrap().inside(&hard).is_err());
        assert!(read(json!({"max": 11})).unwrap().inside(&hard).is_err());
    }
}
