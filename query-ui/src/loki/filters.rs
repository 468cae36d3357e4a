//! Tests of labels: as a search of records, and as a condition behind stages.

use model::level::Level;
use model::query::{FieldTest, Filter, TextMatch};

use super::ast::{Compare, Test, Tests, Value};
use super::lower::{Lowered, binary, field, names};
use crate::language::{Expr, Operator};

impl Lowered {
    /// What tests ask of a row.
    pub(super) fn condition(&self, tests: &Tests) -> Expr {
        match tests {
            Tests::And(a, b) => binary(Operator::And, self.condition(a), self.condition(b)),
            Tests::Or(a, b) => binary(Operator::Or, self.condition(a), self.condition(b)),
            Tests::One(test) => self.tested(test),
        }
    }

    /// A label's value passes. One that is gone is an empty text, and no number.
    fn tested(&self, test: &Test) -> Expr {
        let mut columns: Vec<Expr> = self.names(&test.name).into_iter().map(Expr::Column).collect();
        let literal = match &test.value {
            Value::Text(source) => return self.matched(test, source),
            _ if columns.is_empty() => return Expr::Bool(false),
            Value::Number(number) => Expr::Float(*number),
            Value::Duration(nanos) => Expr::Float(nanos / 1e9),
            Value::Size(bytes) => Expr::Size(*bytes),
        };
        let column = match columns.len() {
            1 => columns.swap_remove(0),
            _ => self.value(&test.name),
        };
        let number = match &test.value {
            // Texts such as `1.5s` as seconds, numbers in the unit that the name ends in.
            Value::Duration(_) => Expr::Call("seconds", vec![column]),
            Value::Size(_) => column,
            _ => Expr::Call("number", vec![column]),
        };
        compared(test.compare, number, literal)
    }

    /// A label is a text, or matches as a whole.
    fn matched(&self, test: &Test, source: &str) -> Expr {
        let source = match test.compare {
            Compare::Like | Compare::NotLike => format!(r"\A(?:{source})\z"),
            _ => format!(r"\A{}\z", regex::escape(source)),
        };
        let like = match self.names(&test.name).is_empty() {
            true => Expr::Bool(holds_empty(&source)),
            false => {
                let text = vec![self.value(&test.name), Expr::Text(String::new())];
                Expr::Like(Box::new(Expr::Call("coalesce", text)), source)
            }
        };
        match test.compare {
            Compare::NotEqual | Compare::NotLike => Expr::Not(Box::new(like)),
            _ => like,
        }
    }
}

/// The text of one of the names is exactly this, or matches as a whole; no value is an empty text.
pub(super) fn selected(test: &Test) -> Filter {
    let Value::Text(text) = &test.value else { return Filter::All };
    let not = matches!(test.compare, Compare::NotEqual | Compare::NotLike);
    let like = matches!(test.compare, Compare::Like | Compare::NotLike);
    let source = match like {
        true => format!(r"\A(?:{text})\z"),
        false => format!(r"\A{}\z", regex::escape(text)),
    };
    let one = |name: &String| match (name.as_str(), like, Level::from_word(text)) {
        ("level", false, Some(level)) => {
            field("level", FieldTest::Matches(TextMatch::Phrase(level.name().to_owned())))
        }
        _ => field(name, FieldTest::Matches(TextMatch::Regex(source.clone()))),
    };
    let names = names(&test.name);
    let mut parts: Vec<Filter> = names.iter().map(one).collect();
    if holds_empty(&source) {
        let exists = names.iter().map(|name| field(name, FieldTest::Exists)).collect();
        parts.push(Filter::Not(Box::new(Filter::Or(exists))));
    }
    let any = if parts.len() == 1 { parts.swap_remove(0) } else { Filter::Or(parts) };
    if not { Filter::Not(Box::new(any)) } else { any }
}

/// An empty text matches.
fn holds_empty(source: &str) -> bool {
    regex::Regex::new(source).is_ok_and(|regex| regex.is_match(""))
}

fn compared(compare: Compare, left: Expr, right: Expr) -> Expr {
    let operator = match compare {
        Compare::Less => Operator::Less,
        Compare::LessEqual => Operator::LessEqual,
        Compare::Greater => Operator::Greater,
        Compare::GreaterEqual => Operator::GreaterEqual,
        Compare::NotEqual | Compare::NotLike => Operator::NotEqual,
        Compare::Equal | Compare::Like => Operator::Equal,
    };
    binary(operator, left, right)
}
