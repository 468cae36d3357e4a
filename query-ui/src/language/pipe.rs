//! The pipes behind a search: `stats`, `patterns`, `sort`, `limit`, `fields`.

use super::lex::{self, Cursor};
use super::{Aggregate, Function, Group, Pipe, QueryError, SortKey};

const PIPES: [&str; 5] = ["stats", "patterns", "sort", "limit", "fields"];
/// The name of a record's pattern.
pub(crate) const PATTERN: &str = "_pattern";
/// Columns that one pipe may name.
const COLUMNS_MAX: usize = 256;

/// What the pipes so far have left to name.
#[derive(Debug, Default)]
pub(super) struct Scope {
    /// The columns of a table; `None` while there are records, which may have any field.
    columns: Option<Vec<String>>,
    pipes: usize,
    has_stats: bool,
}

impl Scope {
    /// From here on there are the columns of a table.
    fn enter_table(&mut self, pipe: &Pipe) {
        self.has_stats = true;
        if let Pipe::Stats { aggregates, by } = pipe {
            let groups = by.iter().map(Group::name);
            let names = groups.chain(aggregates.iter().map(|a| a.name.as_str()));
            self.columns = Some(names.map(str::to_owned).collect());
        }
    }

    fn check(
        &self,
        name: &str,
        cursor: &Cursor<'_>,
        place: (usize, usize),
    ) -> Result<(), QueryError> {
        let Some(columns) = &self.columns else { return Ok(()) };
        if columns.iter().any(|column| column == name) {
            return Ok(());
        }
        let known: Vec<&str> = columns.iter().map(String::as_str).collect();
        let message = format!("there is no column {name:?} here");
        let mut error = cursor.error_from(place.0, place.1, message, &known);
        error.hint = nearest(name, &known).map(|near| format!("did you mean {near}?"));
        Err(error)
    }
}

/// Reads one pipe, behind its `|`; what it stands for may be several.
pub(super) fn parse(cursor: &mut Cursor<'_>, scope: &mut Scope) -> Result<Vec<Pipe>, QueryError> {
    cursor.skip_space();
    let start = cursor.at();
    let Some(word) = cursor.take(lex::word) else {
        let message = format!("expected a pipe, found {}", cursor.found());
        return Err(cursor.error(message, &PIPES));
    };
    scope.pipes += 1;
    match word {
        "stats" | "patterns" if scope.has_stats || scope.pipes > 1 => {
            // Counting what was cut or counted already would be misread.
            let message = match scope.has_stats {
                true => "a query has one stats".to_owned(),
                false => format!("{word} stands right behind the search"),
            };
            Err(cursor.error_from(start, start + word.len(), message, &["sort", "limit", "fields"]))
        }
        "stats" => {
            let pipe = stats(cursor)?;
            scope.enter_table(&pipe);
            Ok(vec![pipe])
        }
        "patterns" => {
            let [counted, sorted] = patterns();
            scope.enter_table(&counted);
            Ok(vec![counted, sorted])
        }
        "sort" => Ok(vec![Pipe::Sort(list(cursor, |cursor| sort_key(cursor, scope))?)]),
        "limit" | "head" => Ok(vec![limit(cursor)?]),
        "fields" => {
            let names = fields(cursor, scope)?;
            scope.columns = Some(names.clone());
            Ok(vec![Pipe::Fields(names)])
        }
        other => {
            let end = start + other.chars().count();
            let message = format!("there is no pipe {other:?}");
            let mut error = cursor.error_from(start, end, message, &PIPES);
            error.hint = nearest(other, &PIPES).map(|near| format!("did you mean {near}?"));
            Err(error)
        }
    }
}

/// What messages have in common, the most frequent first.
fn patterns() -> [Pipe; 2] {
    let aggregate = |function, field: Option<&str>, name: &str| Aggregate {
        function,
        field: field.map(str::to_owned),
        name: name.to_owned(),
    };
    let aggregates = vec![
        aggregate(Function::Count, None, "count"),
        aggregate(Function::Min, Some("timestamp"), "first_seen"),
        aggregate(Function::Max, Some("timestamp"), "last_seen"),
    ];
    let by = vec![Group::Field(PATTERN.to_owned())];
    let most = SortKey { name: "count".to_owned(), descending: true };
    [Pipe::Stats { aggregates, by }, Pipe::Sort(vec![most])]
}

/// The columns to keep, each once.
fn fields(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<Vec<String>, QueryError> {
    let mut names: Vec<String> = Vec::new();
    list(cursor, |cursor| {
        let start = cursor.at();
        let name = column(cursor)?;
        scope.check(&name, cursor, (start, cursor.at()))?;
        if !names.contains(&name) {
            names.push(name);
        }
        Ok(())
    })?;
    Ok(names)
}

fn stats(cursor: &mut Cursor<'_>) -> Result<Pipe, QueryError> {
    let aggregates = list(cursor, aggregate)?;
    cursor.skip_space();
    let mut ahead = *cursor;
    let by = if ahead.take(lex::word) == Some("by") {
        *cursor = ahead;
        list(cursor, group)?
    } else {
        Vec::new()
    };
    let mut names: Vec<&str> = by.iter().map(Group::name).collect();
    names.extend(aggregates.iter().map(|aggregate| aggregate.name.as_str()));
    for (at, name) in names.iter().enumerate() {
        if names.iter().take(at).any(|other| other == name) {
            let mut error = cursor.error(format!("two columns are named {name:?}"), &[]);
            error.hint = Some("name one of them with `as`".to_owned());
            return Err(error);
        }
    }
    Ok(Pipe::Stats { aggregates, by })
}

fn aggregate(cursor: &mut Cursor<'_>) -> Result<Aggregate, QueryError> {
    let names = Function::ALL.map(|(name, _)| name);
    let start = cursor.at();
    let word = cursor.take(lex::word).unwrap_or_default();
    let end = start + word.chars().count();
    let known = Function::ALL.iter().find(|(name, _)| *name == word);
    let Some((name, function)) = known else {
        let message = match word {
            "" => format!("expected an aggregate, found {}", cursor.found()),
            other => format!("there is no aggregate {other:?}"),
        };
        let mut error = cursor.error_from(start, end, message, &names);
        error.hint = nearest(word, &names).map(|near| format!("did you mean {near}()?"));
        return Err(error);
    };
    expect(cursor, "(")?;
    cursor.skip_space();
    let field = if cursor.peek() == Some(')') { None } else { Some(column(cursor)?) };
    if field.is_none() && *function != Function::Count {
        return Err(cursor.error(format!("{name}() wants a field"), &["a field"]));
    }
    expect(cursor, ")")?;
    cursor.skip_space();
    let mut ahead = *cursor;
    let alias = if ahead.take(lex::word) == Some("as") {
        *cursor = ahead;
        cursor.skip_space();
        Some(column(cursor)?)
    } else {
        None
    };
    let name = alias.unwrap_or_else(|| match &field {
        Some(field) => format!("{name}_{field}"),
        None => (*name).to_owned(),
    });
    Ok(Aggregate { function: *function, field, name })
}

fn group(cursor: &mut Cursor<'_>) -> Result<Group, QueryError> {
    let mut ahead = *cursor;
    if ahead.take(lex::word) == Some("bin") && ahead.eat("(") {
        *cursor = ahead;
        cursor.skip_space();
        let start = cursor.at();
        let source = column(cursor)?;
        if source != "timestamp" {
            let message = "only the timestamp can be put into bins";
            return Err(cursor.error_from(start, cursor.at(), message, &["timestamp"]));
        }
        expect(cursor, ",")?;
        cursor.skip_space();
        let width = cursor.take(lex::span).filter(|width| *width > 0).ok_or_else(|| {
            cursor.error(
                format!("expected a span, found {}", cursor.found()),
                &["1m", "15m", "1h", "1d"],
            )
        })?;
        expect(cursor, ")")?;
        return Ok(Group::Bin { width });
    }
    column(cursor).map(Group::Field)
}

fn sort_key(cursor: &mut Cursor<'_>, scope: &Scope) -> Result<SortKey, QueryError> {
    let start = cursor.at();
    let name = column(cursor)?;
    scope.check(&name, cursor, (start, cursor.at()))?;
    cursor.skip_space();
    let mut ahead = *cursor;
    let descending = match ahead.take(lex::word) {
        Some(word @ ("asc" | "desc")) => {
            *cursor = ahead;
            word == "desc"
        }
        _ => false,
    };
    Ok(SortKey { name, descending })
}

fn limit(cursor: &mut Cursor<'_>) -> Result<Pipe, QueryError> {
    cursor.skip_space();
    cursor.take(lex::whole).map(Pipe::Limit).ok_or_else(|| {
        cursor.error(format!("expected a whole number, found {}", cursor.found()), &["100"])
    })
}

/// A column's name, bare or quoted.
fn column(cursor: &mut Cursor<'_>) -> Result<String, QueryError> {
    if let Some(name) = cursor.take(lex::quoted) {
        return Ok(name);
    }
    let name = cursor.take(lex::name).map(str::to_owned);
    name.ok_or_else(|| {
        let mut error =
            cursor.error(format!("expected a field, found {}", cursor.found()), &["a field"]);
        error.hint = Some("an unusual name is written in \"quotes\"".to_owned());
        error
    })
}

fn expect(cursor: &mut Cursor<'_>, text: &'static str) -> Result<(), QueryError> {
    cursor.skip_space();
    if cursor.eat(text) {
        return Ok(());
    }
    Err(cursor.error(format!("expected {text:?}, found {}", cursor.found()), &[text]))
}

/// Things separated by commas, at least one.
fn list<T>(
    cursor: &mut Cursor<'_>,
    mut one: impl FnMut(&mut Cursor<'_>) -> Result<T, QueryError>,
) -> Result<Vec<T>, QueryError> {
    let mut all = Vec::new();
    loop {
        cursor.skip_space();
        all.push(one(cursor)?);
        if all.len() > COLUMNS_MAX {
            return Err(cursor.error(format!("more than {COLUMNS_MAX} columns"), &[]));
        }
        cursor.skip_space();
        if !cursor.eat(",") {
            return Ok(all);
        }
    }
}

/// The known word that is nearest to what was typed, if it is near.
fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let typed = typed.to_ascii_lowercase();
    let near = known.iter().map(|word| (distance(&typed, word), *word)).min()?;
    (near.0 <= 2).then_some(near.1)
}

/// Letters to change, add or take away (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, c) in a.chars().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        for (cell, other) in row.iter_mut().skip(1).zip(&b) {
            let here = (diagonal + usize::from(c != *other)).min(left + 1).min(*cell + 1);
            (diagonal, left) = (*cell, here);
            *cell = here;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
