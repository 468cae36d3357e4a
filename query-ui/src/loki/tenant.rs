//! Whose records are asked for: the tenants of `X-Scope-OrgID`, as pushes keep them.

use axum::http::HeaderMap;

use super::ast::{Compare, Log, Query, Test, Value};
use super::routes::Refusal;

const HEADER: &str = "x-scope-orgid";
/// The label that keeps a push's tenant.
pub(super) const LABEL: &str = "tenant";
/// Between several tenants.
const BETWEEN: char = '|';
/// Tenants of one request.
const TENANTS_MAX: usize = 256;

/// The tenants that a request is limited to; everything where it names none.
#[derive(Debug, Clone, Default)]
pub(super) struct Tenants(Option<Test>);

impl Tenants {
    /// Those that the header names.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let Some(header) = headers.get(HEADER) else { return Ok(Self::default()) };
        let names = header.to_str();
        let names = names.map_err(|_| Refusal::bad("X-Scope-OrgID is no name of a tenant"))?;
        let names: Vec<&str> =
            names.split(BETWEEN).map(str::trim).filter(|name| !name.is_empty()).collect();
        let (compare, value) = match names.as_slice() {
            // Who asks for nobody's records is not shown everybody's.
            [] => return Err(Refusal::bad("no org id: X-Scope-OrgID is empty")),
            [one] => (Compare::Equal, (*one).to_owned()),
            many if many.len() > TENANTS_MAX => {
                let words = format!("X-Scope-OrgID names more than {TENANTS_MAX} tenants");
                return Err(Refusal::bad(words));
            }
            many => {
                let many: Vec<String> = many.iter().map(|name| regex::escape(name)).collect();
                (Compare::Like, many.join("|"))
            }
        };
        Ok(Self(Some(Test { name: LABEL.to_owned(), compare, value: Value::Text(value) })))
    }

    /// A query of their records alone.
    pub(super) fn narrowed(&self, mut query: Query) -> Query {
        if let Some(test) = &self.0 {
            narrow(&mut query, test);
        }
        query
    }

    /// All their lines.
    pub(super) fn everything(&self) -> Log {
        Log { selector: self.0.iter().cloned().collect(), stages: Vec::new() }
    }
}

/// Adds a test to every selection of a query.
fn narrow(query: &mut Query, test: &Test) {
    match query {
        Query::Log(log) => log.selector.push(test.clone()),
        Query::Range(range) => range.log.selector.push(test.clone()),
        Query::Join { inner, .. } => narrow(inner, test),
        Query::Relabel(relabel) => narrow(&mut relabel.inner, test),
        Query::Binary { left, right, .. } => {
            narrow(left, test);
            narrow(right, test);
        }
        Query::Number(_) | Query::Vector(_) => {}
    }
}
