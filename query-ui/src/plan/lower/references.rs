//! Which fields a query's pipes name, and the queries inside of it.

use std::collections::BTreeSet;

use index::schema::STREAM;
use model::query::Filter;

use super::fixed;
use crate::language::{Expr, Group, MATCHED, Pipe, Query, Scope};

/// A query and those inside of it, each with its own records.
pub(crate) fn queries(query: &Query) -> Vec<&Query> {
    let mut all = vec![query];
    for pipe in &query.pipes {
        each_inner(pipe, &mut |inner| all.extend(queries(inner)));
    }
    all
}

/// The names by which the pipes of a query may ask for its records' fields.
pub(crate) fn fields_of(query: &Query) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for pipe in &query.pipes {
        names.extend(names_in(pipe));
        // A name behind a union is asked of both.
        if let Pipe::Union(_) = pipe {
            continue;
        }
        if let Pipe::Join { on, .. } = pipe {
            names.extend(on.iter().cloned());
        }
    }
    names
}

/// The fields that a query and those inside of it ask of records: not what every record has, nor what
/// a pipe computed before.
pub(crate) fn asked(query: &Query) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for query in queries(query) {
        searched(&query.filter, &mut names);
        piped(query, &mut names);
    }
    names.retain(|name| fixed(name).is_none() && name != STREAM && name != MATCHED);
    names
}

fn searched(filter: &Filter, names: &mut BTreeSet<String>) {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().for_each(|part| searched(part, names));
        }
        Filter::Not(part) => searched(part, names),
        Filter::Field { name, .. } => {
            names.insert(name.clone());
        }
        Filter::All | Filter::Text(_) => {}
    }
}

/// What the pipes ask of records, as long as it is known what a name means. Gives what they
/// computed; `None` where any name may have been.
fn piped(query: &Query, names: &mut BTreeSet<String>) -> Option<BTreeSet<String>> {
    let mut computed = BTreeSet::new();
    for pipe in &query.pipes {
        let mut ask = |name: String, computed: &BTreeSet<String>| {
            if !computed.contains(&name) {
                names.insert(name);
            }
        };
        match pipe {
            Pipe::Eval(pairs) => {
                for (name, expr) in pairs {
                    columns(expr).into_iter().for_each(|name| ask(name, &computed));
                    computed.insert(name.clone());
                }
                continue;
            }
            Pipe::Drop(dropped) => dropped.iter().for_each(|name| ask(name.clone(), &computed)),
            pipe => names_in(pipe).into_iter().for_each(|name| ask(name, &computed)),
        }
        match pipe {
            // Behind them names are those of columns, or of anything that a text holds.
            Pipe::Stats { .. } | Pipe::Fields(_) | Pipe::Parse { .. } => return None,
            Pipe::Union(other) => computed.extend(piped(other, &mut BTreeSet::new())?),
            Pipe::Join { query, .. } => {
                computed.extend(Scope::behind(&query.pipes).columns()?.iter().cloned());
            }
            Pipe::Rename(pairs) => computed.extend(pairs.iter().map(|(_, new)| new.clone())),
            Pipe::Extract { pattern, .. } => computed.extend(pattern.names()),
            Pipe::Expand { into, .. } => {
                computed.insert(into.clone());
            }
            _ => {}
        }
    }
    Some(computed)
}

/// The fields of which all values are wanted, and whether each of them once.
pub(crate) fn lists_of(query: &Query) -> BTreeSet<(String, bool)> {
    let list = |pipe: &Pipe| match pipe {
        Pipe::Expand { from, distinct, .. } => Some((from.clone(), *distinct)),
        _ => None,
    };
    query.pipes.iter().filter_map(list).collect()
}

/// Names that another query, whose records take part, must have as well: all that come behind it.
pub(crate) fn asked_behind_others(query: &Query) -> BTreeSet<String> {
    let brings = |pipe: &Pipe| matches!(pipe, Pipe::Union(_) | Pipe::Context { .. });
    match query.pipes.iter().any(brings) {
        true => fields_of(query),
        false => BTreeSet::new(),
    }
}

fn names_in(pipe: &Pipe) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut of = |expr: &Expr| names.extend(columns(expr));
    match pipe {
        Pipe::Where(expr) => of(expr),
        Pipe::Eval(computed) => computed.iter().for_each(|(_, expr)| of(expr)),
        Pipe::Stats { aggregates, by } => {
            for aggregate in aggregates {
                aggregate.argument.iter().for_each(&mut of);
                aggregate.condition.iter().for_each(&mut of);
            }
            names.extend(by.iter().map(|group| Group::name(group).to_owned()));
        }
        Pipe::Sort(keys) => names.extend(keys.iter().map(|key| key.name.clone())),
        Pipe::Fields(columns)
        | Pipe::Dedup { by: columns, .. }
        | Pipe::Join { on: columns, .. } => {
            names.extend(columns.iter().cloned());
        }
        Pipe::Rename(pairs) => names.extend(pairs.iter().map(|(old, _)| old.clone())),
        Pipe::Extract { from, .. } | Pipe::Parse { from, .. } | Pipe::Expand { from, .. } => {
            names.insert(from.clone());
        }
        Pipe::Limit(_)
        | Pipe::Drop(_)
        | Pipe::Union(_)
        | Pipe::Sample(_)
        | Pipe::Context { .. } => {}
    }
    names
}

/// The columns that an expression names.
pub(crate) fn columns(expr: &Expr) -> Vec<String> {
    let mut found = Vec::new();
    each_part(expr, &mut |part| {
        if let Expr::Column(name) = part {
            found.push(name.clone());
        }
    });
    found
}

/// Whether an expression asks another query.
pub(crate) fn asks_queries(expr: &Expr) -> bool {
    let mut asks = false;
    each_part(expr, &mut |part| asks |= matches!(part, Expr::InQuery(..)));
    asks
}

fn each_part<'a>(expr: &'a Expr, each: &mut dyn FnMut(&'a Expr)) {
    each(expr);
    match expr {
        Expr::Not(inner)
        | Expr::Negative(inner)
        | Expr::Exists(inner)
        | Expr::Like(inner, _)
        | Expr::InQuery(inner, _) => each_part(inner, each),
        Expr::Binary(_, left, right) => {
            each_part(left, each);
            each_part(right, each);
        }
        Expr::In(inner, values) => {
            each_part(inner, each);
            values.iter().for_each(|value| each_part(value, each));
        }
        Expr::Call(_, arguments) => arguments.iter().for_each(|part| each_part(part, each)),
        Expr::Column(_)
        | Expr::Int(_)
        | Expr::Whole(_)
        | Expr::Float(_)
        | Expr::Text(_)
        | Expr::Bool(_)
        | Expr::Null
        | Expr::Duration(_)
        | Expr::Size(_) => {}
    }
}

fn each_inner<'a>(pipe: &'a Pipe, each: &mut dyn FnMut(&'a Query)) {
    match pipe {
        Pipe::Join { query, .. } | Pipe::Union(query) => each(query),
        Pipe::Context { around, .. } => each(around),
        pipe => each_part_of(pipe, &mut |part| {
            if let Expr::InQuery(_, query) = part {
                each(query);
            }
        }),
    }
}

/// The parts of the expressions of a pipe.
fn each_part_of<'a>(pipe: &'a Pipe, each: &mut dyn FnMut(&'a Expr)) {
    match pipe {
        Pipe::Where(expr) => each_part(expr, each),
        Pipe::Eval(computed) => computed.iter().for_each(|(_, expr)| each_part(expr, each)),
        Pipe::Stats { aggregates, .. } => {
            for aggregate in aggregates {
                let exprs = aggregate.argument.iter().chain(&aggregate.condition);
                exprs.for_each(|expr| each_part(expr, each));
            }
        }
        _ => {}
    }
}

/// How much there is to plan: the pipes of a query and of those inside of it, their columns and the parts
/// of their expressions.
pub(crate) fn parts(query: &Query) -> usize {
    let mut count = 0;
    for pipe in queries(query).into_iter().flat_map(|query| &query.pipes) {
        each_part_of(pipe, &mut |_| count += 1);
        count += 1 + match pipe {
            Pipe::Stats { aggregates, by } => aggregates.len() + by.len(),
            Pipe::Fields(names) | Pipe::Drop(names) => names.len(),
            Pipe::Dedup { by, .. } => by.len(),
            Pipe::Join { on, .. } => on.len(),
            Pipe::Rename(pairs) => pairs.len(),
            Pipe::Sort(keys) => keys.len(),
            _ => 0,
        };
    }
    count
}
