//! Fills templates with the values of a row.

use super::value::Value;
use super::{Case, Expr, Name, Piece, Range, Template, TooLong, Unfilled, layout};

/// Bytes of a value on its way.
pub(super) const VALUE_BYTES_MAX: usize = 4 << 20;
/// Bytes of a text that are one step of a loop.
const STEP_BYTES: usize = 1 << 10;

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

/// How a block goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

/// What a template asked of a row, in its order, and what it knows on its way.
pub(super) struct Row<'a, 'b> {
    names: &'a [Name],
    values: &'a [Option<&'a str>],
    variables: Vec<Value<'a>>,
    /// What `with` and `range` around are about.
    dot: Value<'a>,
    /// How many loops are around.
    loops: usize,
    steps_left: &'b mut u64,
}

impl Template {
    /// The text of a row, of the values of [`Template::names`]. Loops take steps of those that are left: one for
    /// each value and each kibibyte.
    ///
    /// # Errors
    /// It has more bytes, or takes more steps, than it may; something cannot be done with a value.
    pub(crate) fn fill(
        &self,
        values: &[Option<&str>],
        bytes_max: usize,
        steps_left: &mut u64,
    ) -> Result<String, Unfilled> {
        let variables = vec![Value::Nothing; self.variables];
        let names = &self.names;
        let mut row = Row { names, values, variables, dot: Value::Nothing, loops: 0, steps_left };
        let mut made = Made::up_to(bytes_max);
        row.fill(&self.pieces, &mut made)?;
        Ok(made.done())
    }
}

impl<'a> Row<'a, '_> {
    fn fill(&mut self, pieces: &'a [Piece], made: &mut Made) -> Result<Flow, Unfilled> {
        for piece in pieces {
            self.steps(1)?;
            let flow = match piece {
                Piece::Text(text) => {
                    made.push(text)?;
                    Flow::On
                }
                Piece::Value(expr) => {
                    match self.value(expr)? {
                        Value::Nothing => made.push("<no value>")?,
                        value => made.push(&value.shown())?,
                    }
                    Flow::On
                }
                Piece::Set(variable, expr) => {
                    let value = self.value(expr)?;
                    self.set(Some(*variable), &value);
                    Flow::On
                }
                Piece::If { cases, otherwise } => self.chosen(cases, otherwise, made)?,
                Piece::Range(range) => self.range(range, made)?,
                Piece::Break => Flow::Break,
                Piece::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn chosen(
        &mut self,
        cases: &'a [Case],
        otherwise: &'a [Piece],
        made: &mut Made,
    ) -> Result<Flow, Unfilled> {
        for case in cases {
            let value = self.value(&case.value)?;
            self.set(case.variable, &value);
            if !value.is_true() {
                continue;
            }
            if !case.is_with {
                return self.fill(&case.inside, made);
            }
            let around = std::mem::replace(&mut self.dot, value);
            let flow = self.fill(&case.inside, made);
            self.dot = around;
            return flow;
        }
        self.fill(otherwise, made)
    }

    fn range(&mut self, range: &'a Range, made: &mut Made) -> Result<Flow, Unfilled> {
        let over = self.value(&range.over)?;
        let around = self.dot.clone();
        let inside: &'a [Piece] = &range.inside;
        self.loops += 1;
        let mut went = false;
        let mut one = |row: &mut Self, key: Value<'a>, element: Value<'a>| {
            went = true;
            row.steps(1 + cost(&element))?;
            row.set(range.key, &key);
            row.set(range.element, &element);
            row.dot = element;
            row.fill(inside, made)
        };
        let done = match &over {
            Value::Nothing => Ok(()),
            Value::List(list) => {
                let mut elements = list.iter().zip(0_i64..);
                until_break(|| {
                    let (element, at) = elements.next()?;
                    Some(one(&mut *self, Value::Int(at), element.clone()))
                })
            }
            Value::Map(map) => {
                let mut members = map.iter();
                until_break(|| {
                    let (name, element) = members.next()?;
                    Some(one(&mut *self, Value::text(name.clone()), element.clone()))
                })
            }
            Value::Int(count) if range.key.is_none() => {
                let mut numbers = 0..*count;
                until_break(|| {
                    let at = numbers.next()?;
                    Some(one(&mut *self, Value::Int(at), Value::Int(at)))
                })
            }
            _ => Err(Unfilled::Unfit),
        };
        self.loops -= 1;
        self.dot = around;
        done?;
        if went { Ok(Flow::On) } else { self.fill(&range.otherwise, made) }
    }

    fn set(&mut self, variable: Option<usize>, value: &Value<'a>) {
        if let Some(place) = variable.and_then(|variable| self.variables.get_mut(variable)) {
            place.clone_from(value);
        }
    }

    /// Takes steps, inside loops.
    pub(super) fn steps(&mut self, count: u64) -> Result<(), Unfilled> {
        if self.loops > 0 {
            *self.steps_left = self.steps_left.checked_sub(count).ok_or(Unfilled::TooManySteps)?;
        }
        Ok(())
    }

    pub(super) fn value(&mut self, expr: &'a Expr) -> Result<Value<'a>, Unfilled> {
        let value = match expr {
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
            Expr::Variable(at) => self.variables.get(*at).cloned().unwrap_or(Value::Nothing),
            Expr::Dot => self.dot.clone(),
            Expr::Member { of, path } => {
                let mut value = self.value(of)?;
                for name in path {
                    value = member(&value, name)?;
                }
                value
            }
            Expr::Call(call) => self.called(call)?,
        };
        self.steps(1 + cost(&value))?;
        Ok(value)
    }
}

/// Goes through what there is until one says that it is enough.
fn until_break(mut next: impl FnMut() -> Option<Result<Flow, Unfilled>>) -> Result<(), Unfilled> {
    while let Some(flow) = next() {
        if flow? == Flow::Break {
            break;
        }
    }
    Ok(())
}

/// What copying a value costs, in steps.
fn cost(value: &Value<'_>) -> u64 {
    match value {
        Value::Text(text) => u64::try_from(text.len() / STEP_BYTES).unwrap_or(u64::MAX),
        _ => 0,
    }
}

/// A member of a value; nothing where there is none.
pub(super) fn member<'a>(value: &Value<'a>, name: &str) -> Result<Value<'a>, Unfilled> {
    match value {
        Value::Map(map) => Ok(map.get(name).cloned().unwrap_or(Value::Nothing)),
        Value::Nothing => Ok(Value::Nothing),
        _ => Err(Unfilled::Unfit),
    }
}
