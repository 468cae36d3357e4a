//! Names such as `severity`, `msg` or `ts`, from which a record's own level, message and time were
//! taken: they stand for the field so called and, in records without it, for what was taken.

use std::collections::{BTreeMap, BTreeSet};

use model::query::{FieldTest, Filter};
use model::record::FieldType;

use super::names::{self, WHOLE_MESSAGE};
use super::refusal::Refusal;
use super::search::Search;
use super::values::{all, any, none, test};
use crate::language::{Expr, Operator};
use crate::plan::{Engine, Held};

/// Of what a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// What is called so.
    Named,
    /// What was taken from a field of another name.
    Taken,
}

/// The filter of a name: that of the field, and that of what was taken from it where there is no such
/// field. A value that this cannot have (`ts: soon`) is none of its.
pub(super) fn either(
    name: &str,
    one: impl Fn(&str, Role) -> Result<Filter, Refusal>,
) -> Result<Filter, Refusal> {
    let of_field = one(name, Role::Named)?;
    let Some(own) = names::taken(name) else { return Ok(of_field) };
    let own = match own {
        "message" if name.ends_with(".keyword") => WHOLE_MESSAGE,
        own => own,
    };
    let of_own = one(own, Role::Taken).unwrap_or_else(|_| none());
    if of_own == none() {
        return Ok(of_field);
    }
    let absent = Filter::Not(Box::new(test(&names::field(name)?, FieldTest::Exists)));
    Ok(any(vec![of_field, all(vec![absent, of_own])]))
}

/// Fields that there are, by name.
pub(super) type Fields = BTreeMap<String, Held>;

/// Those of these fields that records of a search may have.
pub(super) async fn fields(
    engine: &Engine,
    search: &Search,
    names: BTreeSet<String>,
) -> Result<Fields, Refusal> {
    match names.is_empty() {
        true => Ok(Fields::new()),
        false => Ok(engine.held(&search.cost(), names).await?),
    }
}

/// The value of a field and, in records without it, what was taken from it: in the field's own kind
/// as far as that goes, so that numbers stay numbers.
pub(super) fn value(field: &str, own: &'static str, kind: FieldType) -> Expr {
    let column = || Expr::Column(own.to_owned());
    let is_number = matches!(kind, FieldType::Int | FieldType::Float);
    let own = match own {
        "timestamp" if is_number => in_millis(column()),
        "level" => level(if is_number { "number" } else { "text" }),
        _ if is_number => Expr::Call("number", vec![column()]),
        _ => column(),
    };
    Expr::Call("coalesce", vec![Expr::Column(field.to_owned()), own])
}

/// The level as a text or a number; none where it is unknown.
pub(super) fn level(shown: &'static str) -> Expr {
    let column = || Expr::Column("level".to_owned());
    let unknown = Box::new(Expr::Text("unknown".to_owned()));
    let is_known = Expr::Binary(Operator::NotEqual, Box::new(column()), unknown);
    Expr::Call("if", vec![is_known, Expr::Call(shown, vec![column()])])
}

/// A time as milliseconds.
pub(super) fn in_millis(time: Expr) -> Expr {
    let seconds = Expr::Call("number", vec![time]);
    let millis = Expr::Binary(Operator::Multiply, Box::new(seconds), Box::new(Expr::Int(1_000)));
    Expr::Call("round", vec![millis])
}
