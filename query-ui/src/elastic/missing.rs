//! Where hits come that have no value of what they are sorted by (`missing`), or what stands in for it.

use model::number::read_number;
use model::record::FieldType;
use serde_json::Value;

use super::refusal::Refusal;
use super::sort::verbatim;
use super::values::text_of;
use crate::language::Expr;
use crate::plan::Held;

/// What `missing` says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Missing {
    First,
    Last,
    /// Where this value would come.
    As(Value),
}

impl Missing {
    pub(super) fn read(name: &str, given: Option<&Value>) -> Result<Self, Refusal> {
        Ok(match given {
            None | Some(Value::Null) => Self::Last,
            Some(place) if place == "_first" => Self::First,
            Some(place) if place == "_last" => Self::Last,
            Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
                Self::As(value.clone())
            }
            Some(value) => return Err(unsupported(name, value, "a value, _first, _last")),
        })
    }
}

/// What stands in where a field has no value: in the type of the values that there are.
pub(super) fn in_stead(field: &str, value: &Value, held: Option<&Held>) -> Result<Expr, Refusal> {
    let text = text_of(value).unwrap_or_default();
    let kind = match (held, value) {
        (Some(held), _) if held.is_mixed => FieldType::Text,
        (Some(held), _) => held.kind,
        (None, Value::Number(_)) => FieldType::Float,
        (None, Value::Bool(_)) => FieldType::Bool,
        (None, _) => FieldType::Text,
    };
    match kind {
        FieldType::Text => Ok(verbatim(&text)),
        FieldType::Int | FieldType::Float => {
            let whole = text.trim().parse().ok().map(Expr::Int);
            let number = whole.or_else(|| read_number(&text).map(Expr::Float));
            number.ok_or_else(|| unsupported(field, value, "a number, as values of it are"))
        }
        FieldType::Bool => {
            let truth = text.parse().ok().map(Expr::Bool);
            truth.ok_or_else(|| unsupported(field, value, "true or false, as values of it are"))
        }
    }
}

/// Where records without a value come is not as it could be.
pub(super) fn unsupported(name: &str, missing: &Value, instead: &str) -> Refusal {
    Refusal::parsing(format!("[sort] of [{name}] does not support [missing] {missing}: {instead}"))
}
