//! The order of texts among which there may be numbers: those come first, by their numbers, whole ones exactly.

use model::number::read_number;
use model::record::FieldType;
use serde_json::Value;

use super::sort::{all, binary, not, verbatim};
use super::values::text_of;
use crate::language::{Expr, Operator};
use crate::plan::Held;

/// Columns that go before that of the texts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbered {
    /// The number of a text, where values are of several types.
    number: Option<String>,
    /// Its whole number; where all values are texts, only one of more than 63 bits, which is kept so.
    whole: String,
}

impl Numbered {
    /// The columns of the key at a place; none where all values are of one type that is no text.
    pub(super) fn of(held: &Held, at: usize) -> Option<Self> {
        let number = held.is_mixed.then(|| format!("\u{1}n{at}"));
        let may_be = held.is_mixed || held.kind == FieldType::Text;
        may_be.then(|| Self { number, whole: format!("\u{1}w{at}") })
    }

    /// Their names, in order.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.number.as_deref().into_iter().chain([self.whole.as_str()])
    }

    /// What is in them.
    pub(super) fn computed(&self, text: &Expr) -> Vec<(String, Expr)> {
        let of = |function: &'static str| Expr::Call(function, vec![text.clone()]);
        let number = self.number.clone().map(|name| (name, of("number")));
        number.into_iter().chain([(self.whole.clone(), self.whole_of(text.clone()))]).collect()
    }

    fn whole_of(&self, text: Expr) -> Expr {
        Expr::Call(if self.number.is_some() { "whole" } else { "great" }, vec![text])
    }

    /// Whether a value of a page's end is one of these: of texts a text, or a number that is kept as one.
    pub(super) fn takes(&self, value: &Value) -> bool {
        self.number.is_some() || value.is_string() || (value.is_u64() && !value.is_i64())
    }

    /// What is behind a value, and what equals it. What is missing comes last, unless it comes first.
    pub(super) fn compared(
        &self,
        text: &Expr,
        beyond: Operator,
        value: &Value,
        is_missing_first: bool,
    ) -> Option<(Expr, Expr)> {
        if let (Some(number), Value::Number(value)) = (&self.number, value) {
            // The page before began when all of them were numbers.
            let (number, value) = (Expr::Column(number.clone()), Expr::Float(value.as_f64()?));
            let further = binary(beyond, number.clone(), value.clone());
            let after = binary(Operator::Or, further, is_none(&number));
            return Some((after, binary(Operator::Equal, number, value)));
        }
        let written = text_of(value)?;
        let mut after = self.behind(text, beyond, &written);
        if !is_missing_first {
            after = binary(Operator::Or, after, is_none(text));
        }
        Some((after, binary(Operator::Equal, text.clone(), verbatim(&written))))
    }

    /// The texts behind one: key by key, and a key's texts without a number behind those with one.
    fn behind(&self, text: &Expr, beyond: Operator, written: &str) -> Expr {
        let literal = verbatim(written);
        let mut keys = Vec::new();
        if let Some(number) = &self.number {
            let value = read_number(written).map(Expr::Float);
            keys.push((Expr::Column(number.clone()), value));
        }
        let is_whole = is_whole(written, self.number.is_none());
        let value = is_whole.then(|| self.whole_of(literal.clone()));
        keys.push((Expr::Column(self.whole.clone()), value));
        let mut equal: Vec<Expr> = Vec::new();
        let mut alternatives: Vec<Expr> = Vec::new();
        for (key, value) in keys {
            let Some(value) = value else {
                equal.push(is_none(&key));
                continue;
            };
            let further = binary(beyond, key.clone(), value.clone());
            let without = all([is_none(&key), not(is_none(text))]);
            let here = binary(Operator::Or, further, without);
            alternatives.push(all(equal.iter().cloned().chain([here])));
            equal.push(binary(Operator::Equal, key, value));
        }
        let further = binary(beyond, text.clone(), literal);
        let last = all(equal.into_iter().chain([further]));
        alternatives.into_iter().rev().fold(last, |rest, one| binary(Operator::Or, one, rest))
    }
}

/// Digits of whole numbers that the plan tells apart.
const DIGITS_MAX: u32 = 38;

/// Whether a text is a whole number that the plan tells from others; where `is_great`, one beyond 63 bits.
fn is_whole(text: &str, is_great: bool) -> bool {
    let Ok(number) = text.trim().parse::<i128>() else { return false };
    let fits = number.unsigned_abs() < 10_u128.pow(DIGITS_MAX);
    fits && (!is_great || i64::try_from(number).is_err())
}

fn is_none(value: &Expr) -> Expr {
    not(Expr::Exists(Box::new(value.clone())))
}
