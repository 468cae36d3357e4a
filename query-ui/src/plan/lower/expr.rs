//! Expressions as DataFusion computes them. Every comparison says yes or no: with a value that is
//! missing it does not hold. Calls of functions are in `call`.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, Spans, plan_err};
use datafusion::functions::expr_fn as functions;
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{Expr, Subquery, cast, lit};
use model::level::Level;
use model::quantity::{duration_unit, size_unit};
use model::time::SECOND;

use super::frame::{Frame, Value, nanos};
use super::functions::Function;
use super::numbers::{alike, exactly, great, is_number};
use super::{ColumnKind, Lowering, moments};
use crate::language::{Expr as Given, Operator, Query, nearest};
use crate::plan::failure::NoCondition;

impl Lowering<'_> {
    /// A value of every row.
    pub(super) fn value(&mut self, frame: &Frame, given: &Given) -> Result<Value> {
        Ok(match given {
            Given::Column(name) => self.named(frame, name)?,
            Given::Int(number) => Value::new(lit(*number), ColumnKind::Int),
            Given::Whole(number) => great(*number),
            Given::Float(number) => Value::new(lit(*number), ColumnKind::Float),
            Given::Text(text) => Value::new(lit(text.as_str()), ColumnKind::Text),
            Given::Bool(truth) => Value::new(lit(*truth), ColumnKind::Bool),
            Given::Null => Value::new(lit(ScalarValue::Utf8(None)), ColumnKind::Text),
            Given::Duration(number) | Given::Size(number) => {
                Value::new(lit(*number), ColumnKind::Float)
            }
            Given::Negative(inner) => {
                Value::new(-self.value(frame, inner)?.number(), ColumnKind::Float)
            }
            Given::Binary(
                operator @ (Operator::Add
                | Operator::Subtract
                | Operator::Multiply
                | Operator::Divide
                | Operator::Remainder),
                left,
                right,
            ) => self.arithmetic(frame, *operator, left, right)?,
            Given::Call(name, arguments) => self.call(frame, name, arguments)?,
            _ => Value::new(self.truth(frame, given)?, ColumnKind::Bool),
        })
    }

    /// What a name means; in a table there must be such a column.
    pub(super) fn named(&self, frame: &Frame, name: &str) -> Result<Value> {
        if let Some(value) = frame.find(name, &self.scans) {
            return Ok(value);
        }
        let names: Vec<&str> = frame.columns.iter().map(|named| named.name.as_str()).collect();
        match nearest(name, &names) {
            Some(near) => plan_err!("there is no column {name:?} here: did you mean {near}?"),
            None => plan_err!("there is no column {name:?} here, but {}", names.join(", ")),
        }
    }

    /// Yes or no for every row.
    pub(super) fn truth(&mut self, frame: &Frame, given: &Given) -> Result<Expr> {
        Ok(match given {
            Given::Bool(truth) => lit(*truth),
            Given::Not(inner) => match &**inner {
                Given::InQuery(value, query) => self.in_query(frame, value, query, true)?,
                inner => !self.truth(frame, inner)?,
            },
            Given::Binary(Operator::And, left, right) => {
                self.truth(frame, left)?.and(self.truth(frame, right)?)
            }
            Given::Binary(Operator::Or, left, right) => {
                self.truth(frame, left)?.or(self.truth(frame, right)?)
            }
            Given::Binary(Operator::NotEqual, left, right) => {
                !self.compare(frame, Operator::Equal, left, right)?
            }
            Given::Binary(operator, left, right) if compares(*operator) => {
                self.compare(frame, *operator, left, right)?
            }
            Given::Exists(inner) => self.value(frame, inner)?.expr.is_not_null(),
            Given::Like(inner, source) => {
                let text = self.value(frame, inner)?.text();
                Function::Matches(source.clone()).call(vec![text]).is_true()
            }
            Given::In(inner, values) => {
                let tests = values.iter().map(|v| self.compare(frame, Operator::Equal, inner, v));
                any(tests.collect::<Result<Vec<_>>>()?)
            }
            Given::InQuery(inner, query) => self.in_query(frame, inner, query, false)?,
            other => {
                let value = self.value(frame, other)?;
                match value.kind {
                    ColumnKind::Bool => value.expr.is_true(),
                    _ => return Err(no_condition(other)),
                }
            }
        })
    }

    fn compare(
        &mut self,
        frame: &Frame,
        operator: Operator,
        left: &Given,
        right: &Given,
    ) -> Result<Expr> {
        if is_literal(left) && !is_literal(right) {
            return self.compare(frame, turned(operator), right, left);
        }
        let (a, b) = (self.value(frame, left)?, self.value(frame, right)?);
        if let Some(test) = moments::compared(operator, &a, (&b, right))? {
            return Ok(test.is_true());
        }
        if let Some(test) = exactly(operator, &a, &b) {
            return Ok(test.is_true());
        }
        let (a, b) = match (a.kind, right) {
            (_, Given::Duration(limit)) => (measured(&a, Measure::Duration), lit(*limit)),
            (_, Given::Size(limit)) => (measured(&a, Measure::Size), lit(*limit)),
            (ColumnKind::Level, Given::Text(text)) => (a.expr, level(text)?),
            _ => alike(&a, &b),
        };
        Ok(by(operator, a, b).is_true())
    }

    fn in_query(
        &mut self,
        frame: &Frame,
        value: &Given,
        query: &Query,
        negated: bool,
    ) -> Result<Expr> {
        let value = self.value(frame, value)?;
        let inner = self.query(query)?;
        let [found] = inner.columns.as_slice() else {
            return plan_err!("the query behind `in` gives one column: end it with `fields name`");
        };
        let (value, found) = match (value.kind, found.value.kind) {
            (ColumnKind::Int, ColumnKind::Int) => (value.expr, found.value.expr.clone()),
            (one, other) if is_number(one) && is_number(other) => {
                (value.number(), found.value.number())
            }
            // What is missing is in no list; an ordinary text is never this one.
            _ => (functions::coalesce(vec![value.text(), lit("\0")]), found.value.text()),
        };
        let name = self.name();
        let plan = inner.plan.project([found.alias(&name)])?;
        let plan = plan.filter(super::frame::column(&name).is_not_null())?.build()?;
        let subquery = Subquery {
            subquery: Arc::new(plan),
            outer_ref_columns: Vec::new(),
            spans: Spans::new(),
        };
        Ok(Expr::InSubquery(InSubquery::new(Box::new(value), subquery, negated)))
    }

    fn arithmetic(
        &mut self,
        frame: &Frame,
        operator: Operator,
        left: &Given,
        right: &Given,
    ) -> Result<Value> {
        let (a, b) = (self.value(frame, left)?, self.value(frame, right)?);
        let span = |given: &Given, value: &Value| match given {
            Given::Duration(_) => value.expr.clone(),
            Given::Negative(inner) if matches!(**inner, Given::Duration(_)) => value.expr.clone(),
            _ => value.number() * lit(1e9),
        };
        let moved = |moment: Expr, span: Expr| {
            let moment = Function::Moved.call(vec![nanos(moment), span]);
            Ok(Value::new(moment, ColumnKind::Time))
        };
        match (operator, a.kind, b.kind) {
            (Operator::Subtract, ColumnKind::Time, ColumnKind::Time) => {
                let apart = cast(nanos(a.expr) - nanos(b.expr), DataType::Float64);
                return Ok(Value::new(apart / lit(SECOND as f64), ColumnKind::Float));
            }
            (Operator::Subtract, ColumnKind::Time, _) => {
                return moved(a.expr, -span(right, &b));
            }
            (Operator::Add, ColumnKind::Time, _) => {
                return moved(a.expr, span(right, &b));
            }
            _ => {}
        }
        let (a, b) = (a.number(), b.number());
        let some = |b| functions::nullif(b, lit(0.0));
        let expr = match operator {
            Operator::Add => a + b,
            Operator::Subtract => a - b,
            Operator::Multiply => a * b,
            Operator::Divide => a / some(b),
            _ => a % some(b),
        };
        Ok(Value::new(expr, ColumnKind::Float))
    }
}

/// What a number with a unit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    Duration,
    Size,
}

/// Nanoseconds or bytes of a value: a text's own unit, or that in the field's name.
pub(super) fn measured(value: &Value, measure: Measure) -> Expr {
    let name = value.field.as_deref().unwrap_or_default();
    let (function, one) = match measure {
        Measure::Duration => (Function::Duration, duration_unit(name)),
        Measure::Size => (Function::Size, Some(size_unit(name))),
    };
    let plain = || one.map(|one| value.number() * lit(one));
    match value.kind {
        ColumnKind::Text => {
            let mut readings = vec![function.call(vec![value.expr.clone()])];
            readings.extend(plain());
            if readings.len() == 1 {
                readings.swap_remove(0)
            } else {
                functions::coalesce(readings)
            }
        }
        _ => plain().unwrap_or_else(|| lit(ScalarValue::Float64(None))),
    }
}

/// Why a value of another kind than yes and no is no condition.
fn no_condition(given: &Given) -> DataFusionError {
    let name = match given {
        Given::Column(name) => name.clone(),
        Given::Call(name, _) => (*name).to_owned(),
        _ => String::new(),
    };
    DataFusionError::External(Box::new(NoCondition { shown: given.to_string(), name }))
}

/// A value that was written down.
fn is_literal(given: &Given) -> bool {
    use Given::{Duration, Int, Size, Text, Whole};
    matches!(given, Text(_) | Int(_) | Whole(_) | Duration(_) | Size(_))
}

/// Two values as an operator compares them.
pub(super) fn by(operator: Operator, a: Expr, b: Expr) -> Expr {
    match operator {
        Operator::Less => a.lt(b),
        Operator::LessEqual => a.lt_eq(b),
        Operator::Greater => a.gt(b),
        Operator::GreaterEqual => a.gt_eq(b),
        _ => a.eq(b),
    }
}

fn compares(operator: Operator) -> bool {
    use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual};
    matches!(operator, Equal | Less | LessEqual | Greater | GreaterEqual)
}

/// The comparison with its sides exchanged.
fn turned(operator: Operator) -> Operator {
    match operator {
        Operator::Less => Operator::Greater,
        Operator::LessEqual => Operator::GreaterEqual,
        Operator::Greater => Operator::Less,
        Operator::GreaterEqual => Operator::LessEqual,
        other => other,
    }
}

fn level(text: &str) -> Result<Expr> {
    match Level::from_word(text) {
        Some(level) => Ok(lit(i64::from(level.number()))),
        None => plan_err!("{text:?} is no level: {}", Level::ALL.map(Level::name).join(", ")),
    }
}

/// Whether one holds, as a tree that is no deeper than it must be.
fn any(mut tests: Vec<Expr>) -> Expr {
    match tests.len() {
        0 => lit(false),
        1 => tests.swap_remove(0),
        count => {
            let rest = tests.split_off(count / 2);
            any(tests).or(any(rest))
        }
    }
}
