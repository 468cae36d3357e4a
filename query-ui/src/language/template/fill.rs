//! Fills templates with the values of a row.

use std::cmp::Ordering;

use super::value::Value;
use super::{Call, Expr, Name, Piece, Template, TooLong, layout, numbers, printf, texts};

/// Bytes of a value on its way.
pub(super) const VALUE_BYTES_MAX: usize = 4 << 20;

/// A text that is made, up to so many bytes.
pub(super) struct Made {
    text: String,
    bytes_max: usize,
}

impl Made {
    pub(super) fn up_to(bytes_max: usize) -> Self {
        Self { text: String::new(), bytes_max }
    }

    pub(super) fn push(&mut self, piece: &str) -> Result<(), TooLong> {
        if piece.len() > self.bytes_max - self.text.len() {
            return Err(TooLong);
        }
        self.text.push_str(piece);
        Ok(())
    }

    /// The same piece so many times.
    pub(super) fn fill(&mut self, piece: &str, count: usize) -> Result<(), TooLong> {
        let bytes = piece.len().checked_mul(count).ok_or(TooLong)?;
        if bytes > self.bytes_max - self.text.len() {
            return Err(TooLong);
        }
        self.text.extend(std::iter::repeat_n(piece, if piece.is_empty() { 0 } else { count }));
        Ok(())
    }

    pub(super) fn done(self) -> String {
        self.text
    }
}

/// What a template asked of a row, in its order.
struct Row<'a> {
    names: &'a [Name],
    values: &'a [Option<&'a str>],
}

impl Template {
    /// The text of a row, of the values of [`Template::names`].
    ///
    /// # Errors
    /// It has more bytes than it may.
    pub(crate) fn fill(
        &self,
        values: &[Option<&str>],
        bytes_max: usize,
    ) -> Result<String, TooLong> {
        let row = Row { names: &self.names, values };
        let mut made = Made::up_to(bytes_max);
        row.fill(&self.pieces, &mut made)?;
        Ok(made.done())
    }
}

impl<'a> Row<'a> {
    fn fill(&self, pieces: &'a [Piece], made: &mut Made) -> Result<(), TooLong> {
        for piece in pieces {
            match piece {
                Piece::Text(text) => made.push(text)?,
                Piece::Value(expr) => made.push(&self.value(expr)?.shown())?,
                Piece::If { cases, otherwise } => {
                    let mut chosen = otherwise;
                    for (condition, pieces) in cases {
                        if self.value(condition)?.is_true() {
                            chosen = pieces;
                            break;
                        }
                    }
                    self.fill(chosen, made)?;
                }
            }
        }
        Ok(())
    }

    fn value(&self, expr: &'a Expr) -> Result<Value<'a>, TooLong> {
        Ok(match expr {
            Expr::Name(at) => {
                let text = self.values.get(*at).copied().flatten().unwrap_or_default();
                match self.names.get(*at) {
                    Some(Name::Time) => layout::read(text).map_or(Value::text(text), Value::Time),
                    _ => Value::text(text),
                }
            }
            Expr::Text(text) => Value::text(text.as_str()),
            Expr::Int(number) => Value::Int(*number),
            Expr::Float(number) => Value::Float(*number),
            Expr::Bool(truth) => Value::Bool(*truth),
            Expr::Call(call) => self.called(call)?,
        })
    }

    fn called(&self, call: &'a Call) -> Result<Value<'a>, TooLong> {
        let given = call.arguments.iter().map(|one| self.value(one));
        let given = given.collect::<Result<Vec<Value<'a>>, TooLong>>()?;
        if let Some(truth) = tested(call.function, &given) {
            return Ok(truth);
        }
        if let Some(number) = numbers::computed(call.function, &given) {
            return Ok(number);
        }
        if let (Some(regex), [_, text, more @ ..]) = (&call.regex, given.as_slice()) {
            return texts::matched(call.function, regex, &text.shown(), more.first());
        }
        match (call.function, given.as_slice()) {
            ("printf", [format, given @ ..]) => {
                Ok(Value::text(printf::printed(&format.shown(), given)?))
            }
            ("date", [form, time]) => Ok(Value::text(layout::date(&form.shown(), time))),
            (function, given) => Ok(Value::text(texts::made(function, given)?)),
        }
    }
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
        "and" => given.iter().find(|value| !value.is_true()).or(given.last())?.clone(),
        "or" => given.iter().find(|value| value.is_true()).or(given.last())?.clone(),
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

/// How two values compare: as numbers where one of them is one, else as texts.
fn ordered(one: &Value<'_>, other: &Value<'_>) -> Option<Ordering> {
    if one.number().or(other.number()).is_none() {
        return Some(one.shown().cmp(&other.shown()));
    }
    let number = |value: &Value<'_>| match value {
        Value::Text(text) => model::number::read_number(text),
        value => Some(value.float()),
    };
    number(one)?.partial_cmp(&number(other)?)
}
