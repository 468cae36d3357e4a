//! Which columns a pipe can name, and what was meant when there is none of that name.

use std::cell::Cell;

use super::QueryError;
use super::ast::{Extraction, Group, Pipe};
use super::lex::Cursor;

/// The name of a record's pattern.
pub(crate) const PATTERN: &str = "_pattern";
/// Behind `context`: whether a record is one of those that were searched.
pub(crate) const MATCHED: &str = "_matched";

/// The names of what every record has.
pub(super) const RECORD_NAMES: [&str; 7] =
    ["timestamp", "level", "message", "id", "ingest_time", "index", PATTERN];

/// What the pipes so far have left to name.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// The columns of a table; `None` while there may be any.
    columns: Option<Vec<String>>,
    /// Whether columns were computed, renamed or taken away.
    is_reshaped: bool,
    /// Pipes so far.
    pub(super) count: usize,
    /// Operators of expressions so far.
    operators: Cell<usize>,
    /// Columns that were computed so far.
    computed: Cell<usize>,
}

/// Operators in the expressions of one query: as many levels may stand on each other.
pub(super) const OPERATORS_MAX: usize = 256;
/// Columns that `eval` computes in one query: each is a level of the plan, too.
pub(super) const COMPUTED_MAX: usize = 256;

impl Scope {
    /// Counts one more operator; false when there are too many.
    pub(super) fn count_operator(&self) -> bool {
        self.operators.set(self.operators.get() + 1);
        self.operators.get() <= OPERATORS_MAX
    }

    /// Counts one more column that is computed; false when there are too many.
    pub(super) fn count_computed(&self) -> bool {
        self.computed.set(self.computed.get() + 1);
        self.computed.get() <= COMPUTED_MAX
    }

    /// Whether there are records as they were searched.
    pub(super) fn has_plain_records(&self) -> bool {
        self.columns.is_none() && !self.is_reshaped
    }

    /// Refuses a column that is not there.
    pub(super) fn check(
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

    /// Refuses what would take the place of something that every record has, or take it away.
    pub(super) fn check_free(
        &self,
        name: &str,
        cursor: &Cursor<'_>,
        place: (usize, usize),
        (expected, hint): (&str, &str),
    ) -> Result<(), QueryError> {
        if self.columns.is_some() || !RECORD_NAMES.contains(&name) {
            return Ok(());
        }
        let message = format!("every record has {name:?}");
        let mut error = cursor.error_from(place.0, place.1, message, &[expected]);
        error.hint = Some(hint.to_owned());
        Err(error)
    }

    /// Refuses a pipe, whose name begins at a place, where there are no records any more.
    pub(super) fn check_records(
        &self,
        cursor: &Cursor<'_>,
        start: usize,
        pipe: &str,
    ) -> Result<(), QueryError> {
        if self.columns.is_none() {
            return Ok(());
        }
        let message = format!("{pipe} wants records, here is a table");
        let mut error = cursor.error_from(start, start + pipe.len(), message, &["where", "eval"]);
        error.hint = Some(format!("{pipe} stands before `stats` and `fields`"));
        Err(error)
    }

    /// The columns behind a query's pipes; `None` when there may be any.
    pub(crate) fn behind(pipes: &[Pipe]) -> Self {
        let mut scope = Self::default();
        for pipe in pipes {
            scope.enter(pipe);
        }
        scope
    }

    /// The columns; `None` when there may be any.
    pub(crate) fn columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    /// The columns behind a pipe.
    pub(super) fn enter(&mut self, pipe: &Pipe) {
        self.is_reshaped |= !matches!(
            pipe,
            Pipe::Where(_)
                | Pipe::Sort(_)
                | Pipe::Limit(_)
                | Pipe::Dedup { .. }
                | Pipe::Sample(_)
                | Pipe::Context { .. }
        );
        match pipe {
            Pipe::Stats { aggregates, by } => {
                let groups = by.iter().map(Group::name);
                let names = groups.chain(aggregates.iter().map(|a| a.name.as_str()));
                self.columns = Some(names.map(str::to_owned).collect());
            }
            Pipe::Fields(names) => self.columns = Some(names.clone()),
            Pipe::Drop(names) => {
                if let Some(columns) = &mut self.columns {
                    columns.retain(|column| !names.contains(column));
                }
            }
            Pipe::Rename(pairs) => {
                for (old, new) in pairs {
                    let Some(columns) = &mut self.columns else { return };
                    columns.retain(|column| column != new);
                    columns.iter_mut().filter(|c| *c == old).for_each(|c| c.clone_from(new));
                }
            }
            Pipe::Eval(computed) => self.add(computed.iter().map(|(name, _)| name.clone())),
            Pipe::Extract { pattern, .. } => self.add(pattern.names()),
            Pipe::Expand { into, .. } => self.add([into.clone()]),
            // What a structure or another query brings is known when it is read.
            Pipe::Parse { .. } => self.columns = None,
            Pipe::Union(query) => match Self::behind(&query.pipes).columns {
                Some(columns) => self.add(columns),
                None => self.columns = None,
            },
            Pipe::Join { query, .. } => match Self::behind(&query.pipes).columns {
                Some(columns) => self.add(columns),
                None => self.columns = None,
            },
            Pipe::Where(_)
            | Pipe::Sort(_)
            | Pipe::Limit(_)
            | Pipe::Dedup { .. }
            | Pipe::Sample(_)
            | Pipe::Context { .. } => {}
        }
    }

    fn add(&mut self, names: impl IntoIterator<Item = String>) {
        let Some(columns) = &mut self.columns else { return };
        for name in names {
            if !columns.contains(&name) {
                columns.push(name);
            }
        }
    }
}

impl Extraction {
    /// The columns it makes, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        match self {
            Self::Pattern(pattern) => pieces(pattern).filter_map(|(_, name)| name).collect(),
            Self::Regex(source) => {
                let names = regex::Regex::new(source);
                let names = names.iter().flat_map(regex::Regex::capture_names).flatten();
                names.map(str::to_owned).collect()
            }
        }
    }
}

/// The texts of a pattern, each with the name of the piece behind it: `None` behind the last one,
/// and for pieces that are passed over.
pub(crate) fn pieces(pattern: &str) -> impl Iterator<Item = (&str, Option<String>)> {
    let mut rest = Some(pattern);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some((before, after)) = text.split_once('<') else { return Some((text, None)) };
        let Some((name, after)) = after.split_once('>') else { return Some((text, None)) };
        rest = Some(after);
        Some((before, (name != "_").then(|| name.to_owned())))
    })
}

/// The known word that is nearest to what was typed, if it is near.
pub(crate) fn nearest<'a>(typed: &str, known: &[&'a str]) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let known = known.iter().filter(|word| !word.is_empty());
    let near = known.map(|word| (distance(&typed, &word.to_lowercase()), *word)).min()?;
    // Of a short word little may be wrong, or anything is near.
    let most = if typed.chars().count() < 4 { 1 } else { 2 };
    (near.0 <= most).then_some(near.1)
}

/// Letters to change, add or take away (Levenshtein); two neighbours in the wrong order are one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX / 2);
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = at(&row, j) + usize::from(x != y);
            let mut here = change.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                here = here.min(at(&before, j - 1) + 1);
            }
            next.push(here);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_name_without_letters_is_near_to_nothing() {
        assert_eq!(nearest("y", &["", "status"]), None);
        assert_eq!(nearest("y", &["", "x"]), Some("x"));
    }
}
