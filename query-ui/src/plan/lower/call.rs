//! Calls of functions as DataFusion computes them.

use std::net::IpAddr;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::functions::expr_fn as functions;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, cast, lit, try_cast, when};

use super::expr::{Measure, measured};
use super::frame::{Frame, Texts, Value};
use super::functions::Function;
use super::numbers::is_number;
use super::texts::made;
use super::{ColumnKind, Lowering};
use crate::language::calendar::Bins;
use crate::language::{Expr as Given, Format};

impl Lowering<'_> {
    /// What a function gives of every row.
    pub(super) fn call(&mut self, frame: &Frame, name: &str, arguments: &[Given]) -> Result<Value> {
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
            // For doors: the whole number of a text, and the same where it has more than 63 bits.
            "whole" => Value::new(Function::Whole.call(vec![text(0)]), ColumnKind::Int),
            "great" => Value::new(Function::Great.call(vec![text(0)]), ColumnKind::Int),
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
