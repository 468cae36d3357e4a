//! Expressions as DataFusion computes them. Every comparison says yes or no: with a value that is
//! missing it does not hold.

use std::net::IpAddr;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, Spans, plan_err};
use datafusion::functions::expr_fn as functions;
use datafusion::logical_expr::expr::{Case, InSubquery};
use datafusion::logical_expr::{Expr, Subquery, cast, lit, try_cast, when};
use model::level::Level;
use model::quantity::{duration_unit, size_unit};
use model::time::SECOND;

use super::frame::{Frame, Texts, Value, nanos};
use super::functions::Function;
use super::numbers::{alike, exactly, great, is_number};
use super::texts::made;
use super::{ColumnKind, Lowering, moments};
use crate::language::calendar::Bins;
use crate::language::{Expr as Given, Format, Operator, Query, nearest};
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

    fn call(&mut self, frame: &Frame, name: &str, arguments: &[Given]) -> Result<Value> {
        match name {
            "if" | "case" => return self.choice(frame, arguments),
            "in_cidr" => return self.in_network(frame, arguments),
            "time_bin" => return self.time_bin(frame, arguments),
            "seconds" | "size" => return self.quantity(frame, name, arguments),
            "json_member" | "logfmt_member" => return self.member(frame, name, arguments),
            "template" => return self.filled(frame, arguments),
            _ => {}
        }
        let values =
            arguments.iter().map(|a| self.value(frame, a)).collect::<Result<Vec<Value>>>()?;
        let Some(first) = values.first() else { return plan_err!("{name}() wants a value") };
        if let Some(text) = made(name, arguments, &values)? {
            return Ok(Value::loose(cast(text, DataType::Utf8)));
        }
        let text = |at: usize| values.get(at).map_or_else(|| lit(""), Value::text);
        let number = |at: usize| values.get(at).map_or_else(|| lit(0.0), Value::number);
        let folded = |at: usize| functions::lower(text(at));
        let float = |expr| Value::new(expr, ColumnKind::Float);
        let truth = |expr: Expr| Value::new(expr.is_true(), ColumnKind::Bool);
        Ok(match name {
            "abs" => float(functions::abs(number(0))),
            "ceil" => float(functions::ceil(number(0))),
            "floor" => float(functions::floor(number(0))),
            "ln" => float(functions::ln(number(0))),
            "log10" => float(functions::log10(number(0))),
            // Of less than nothing there is none; the least nothing has a sign.
            "sqrt" => {
                let square = number(0);
                let square = when(square.clone().gt_eq(lit(-0.0)), square).end()?;
                float(functions::sqrt(square))
            }
            "power" => float(functions::power(number(0), number(1))),
            "round" if values.len() > 1 => {
                let digits = try_cast(number(1), DataType::Int32);
                float(functions::round(vec![number(0), digits]))
            }
            "round" => float(functions::round(vec![number(0)])),
            "number" => float(first.number()),
            "text" => Value::new(first.text(), ColumnKind::Text),
            "length" => {
                let length = functions::character_length(text(0));
                Value::new(cast(length, DataType::Int64), ColumnKind::Int)
            }
            "bytes" => {
                let length = functions::octet_length(text(0));
                Value::new(cast(length, DataType::Int64), ColumnKind::Int)
            }
            "contains" => truth(functions::contains(folded(0), folded(1))),
            "starts_with" => truth(functions::starts_with(folded(0), folded(1))),
            "ends_with" => truth(functions::ends_with(folded(0), folded(1))),
            "coalesce" => {
                let (exprs, like) = one_kind(&values);
                Value { expr: functions::coalesce(exprs), field: None, ..like }
            }
            other => return plan_err!("there is no function {other:?}"),
        })
    }

    /// `seconds(span)`, `size(bytes)`.
    fn quantity(&mut self, frame: &Frame, name: &str, arguments: &[Given]) -> Result<Value> {
        let [given] = arguments else { return plan_err!("{name}() wants one value") };
        let number = match (name, given) {
            ("size", given) => measured(&self.value(frame, given)?, Measure::Size),
            (_, Given::Duration(nanos)) => lit(*nanos) / lit(1e9),
            (_, given) => measured(&self.value(frame, given)?, Measure::Duration) / lit(1e9),
        };
        Ok(Value::new(number, ColumnKind::Float))
    }

    /// What stands at a place of a text that is a structure itself; the place is known.
    fn member(&mut self, frame: &Frame, name: &str, arguments: &[Given]) -> Result<Value> {
        let Some((text, places)) = arguments.split_first() else {
            return plan_err!("{name}() wants a text");
        };
        let mut path = Vec::new();
        for place in places {
            let Given::Text(step) = place else { return plan_err!("{name}() wants names") };
            path.push(step.clone());
        }
        let text = self.value(frame, text)?.text();
        let found = match name {
            "logfmt_member" => {
                let pairs = Function::Parse(Format::Logfmt).call(vec![text]);
                Function::Member(path.concat()).call(vec![pairs])
            }
            _ => Function::At(path).call(vec![text]),
        };
        Ok(Value::loose(found))
    }

    /// A template, which was read before, with what it asks of rows.
    fn filled(&mut self, frame: &Frame, arguments: &[Given]) -> Result<Value> {
        let Some((Given::Text(source), asked)) = arguments.split_first() else {
            return plan_err!("template() wants a text");
        };
        let asked = asked.iter().map(|one| self.value(frame, one).map(|value| value.text()));
        let asked = asked.collect::<Result<Vec<Expr>>>()?;
        Ok(Value::loose(Function::Template(source.clone()).call(asked)))
    }

    /// `if(condition, then, otherwise)`, `case(condition, value, …, otherwise)`.
    fn choice(&mut self, frame: &Frame, arguments: &[Given]) -> Result<Value> {
        let (pairs, otherwise) = arguments.as_chunks::<2>();
        let mut values = Vec::new();
        for [_, value] in pairs {
            values.push(self.value(frame, value)?);
        }
        for value in otherwise {
            values.push(self.value(frame, value)?);
        }
        let (exprs, like) = one_kind(&values);
        let mut exprs = exprs.into_iter();
        let mut cases = Vec::new();
        for ([condition, _], value) in pairs.iter().zip(exprs.by_ref()) {
            cases.push((Box::new(self.truth(frame, condition)?), Box::new(value)));
        }
        let expr = Expr::Case(Case::new(None, cases, exprs.next().map(Box::new)));
        Ok(Value { expr, field: None, ..like })
    }

    /// `time_bin(moment, width, zone, offset)`.
    fn time_bin(&mut self, frame: &Frame, arguments: &[Given]) -> Result<Value> {
        let (moment, width, zone, offset) = match arguments {
            [moment, width] => (moment, width, "", 0.0),
            [moment, width, Given::Text(zone)] => (moment, width, zone.as_str(), 0.0),
            [moment, width, Given::Text(zone), Given::Duration(offset)] => {
                (moment, width, zone.as_str(), *offset)
            }
            _ => return plan_err!("write time_bin(timestamp, \"month\", \"Europe/Berlin\", 6h)"),
        };
        let width = match width {
            Given::Text(name) => name.clone(),
            Given::Duration(nanos) => format!("{}ms", nanos / 1e6),
            _ => return plan_err!("time_bin() wants a width: \"month\", or a span such as 15m"),
        };
        #[expect(clippy::cast_possible_truncation, reason = "whole nanoseconds, by intention")]
        let Some(bins) = Bins::read(&width, zone, offset as i64) else {
            return plan_err!("{width:?} and {zone:?} are no width and zone: \"month\", \"UTC\"");
        };
        let moment = self.value(frame, moment)?;
        let moment = match moment.kind {
            ColumnKind::Time => moment.expr,
            _ => moment.text(),
        };
        Ok(Value::new(Function::Bin(bins).call(vec![moment]), ColumnKind::Time))
    }

    fn in_network(&mut self, frame: &Frame, arguments: &[Given]) -> Result<Value> {
        let [value, Given::Text(network)] = arguments else {
            return plan_err!("in_cidr() wants a value and a network: in_cidr(ip, \"10.0.0.0/8\")");
        };
        let (address, prefix) = network.split_once('/').unwrap_or((network, ""));
        let Ok(address) = address.parse::<IpAddr>() else {
            return plan_err!("{network:?} is no network of IP addresses");
        };
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = if prefix.is_empty() { Some(bits) } else { prefix.parse().ok() };
        let Some(prefix) = prefix.filter(|prefix| *prefix <= bits) else {
            return plan_err!("{network:?} is no network of IP addresses");
        };
        let text = self.value(frame, value)?.text();
        let test = Function::InNetwork(address, prefix).call(vec![text]).is_true();
        Ok(Value::new(test, ColumnKind::Bool))
    }
}

/// What a number with a unit measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    Duration,
    Size,
}

/// Nanoseconds or bytes of a value: a text's own unit, or that in the field's name.
fn measured(value: &Value, measure: Measure) -> Expr {
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

/// Values in one kind, and one that stands for it.
pub(super) fn one_kind(values: &[Value]) -> (Vec<Expr>, Value) {
    let kinds: Vec<ColumnKind> = values
        .iter()
        .filter(|value| !matches!(&value.expr, Expr::Literal(literal, _) if literal.is_null()))
        .map(|value| value.kind)
        .collect();
    let first = kinds.first().copied().unwrap_or(ColumnKind::Text);
    let kind = match first {
        first if kinds.iter().all(|kind| *kind == first) => first,
        _ if kinds.iter().all(|kind| is_number(*kind)) => ColumnKind::Float,
        _ => ColumnKind::Text,
    };
    let as_kind = |value: &Value| match kind {
        kind if value.kind == kind => value.expr.clone(),
        ColumnKind::Float => value.number(),
        ColumnKind::Text => value.text(),
        // Only a missing value has another kind here.
        _ => lit(ScalarValue::Null),
    };
    let texts = match kind {
        ColumnKind::Text => values.iter().map(|value| value.texts).max(),
        _ => None,
    };
    let texts = texts.unwrap_or(Texts::Plain);
    let like = Value { texts, ..Value::new(lit(ScalarValue::Null), kind) };
    (values.iter().map(as_kind).collect(), like)
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
