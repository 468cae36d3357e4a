//! What a query asks for and nothing can be: fields that no record has, levels and indexes that there are
//! not. What is known of fields are the statistics of units: no record is read.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampNanosecondArray};
use index::evaluate::{Evaluator, Place, levels_passing};
use index::searcher::{Unit, View};
use model::level::Level;
use model::limits::INDEX_NAME_BYTES_MAX;
use model::partition::PartitionId;
use model::query::{FieldTest, Filter, TextMatch};
use model::time::TimeRange;
use serde::Serialize;

use super::Answer;
use super::scan::Scanner;
use crate::language::{Search, nearest};

/// Units that are looked through: a field that none of them has may be in one of more.
const UNITS_MAX: usize = 1_000;
/// Names of one question that are told as those of no index.
const INDEXES_TOLD_MAX: usize = 16;
/// Different terms about the index that are looked for: of more, nothing is told.
const INDEX_TERMS_MAX: usize = 1_024;

/// Something about a query that may not be meant so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The field that it is about.
    pub field: String,
    /// One sentence.
    pub message: String,
    /// What may have been meant.
    pub hint: Option<String>,
}

impl Warning {
    /// That no record has a field, with the nearest of those that records have.
    pub(crate) fn unknown_field(name: &str, known: &[&str]) -> Self {
        Self {
            field: name.to_owned(),
            message: format!("no record has a field {name:?}"),
            hint: nearest(name, known).map(|near| format!("did you mean {near}?")),
        }
    }

    /// That a term of a search names no level, with the nearest one or all of them.
    fn unknown_level(term: &Filter, text: &TextMatch) -> Self {
        let names = Level::ALL.map(Level::name);
        let unknown = Self::naming_none("level", (term, text), &names);
        let hint = unknown.hint.unwrap_or_else(|| format!("levels are {}", names.join(", ")));
        Self { hint: Some(hint), ..unknown }
    }

    /// That a term names none of these, with the nearest one.
    fn naming_none(field: &str, (term, text): (&Filter, &TextMatch), names: &[&str]) -> Self {
        let word = word_of(text);
        let said = word.map_or_else(|| Search(term).to_string(), |word| format!("{field}:{word}"));
        let near = word.and_then(|word| near(word, names));
        Self {
            field: field.to_owned(),
            message: format!("{said} names no {field}"),
            hint: near.map(|near| format!("did you mean {near}?")),
        }
    }

    /// That there is no index of a name, with the nearest one.
    fn unknown_index(name: &str, known: &[&str]) -> Self {
        Self {
            field: "index".to_owned(),
            message: format!("there is no index {name:?} yet"),
            hint: near(name, known).map(|near| format!("did you mean {near}?")),
        }
    }
}

/// The nearest of some short names; what is longer than all of them can be is near to none.
fn near<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    if word.len() > INDEX_NAME_BYTES_MAX { None } else { nearest(word, names) }
}

/// The word or phrase that a text is asked for, if it is one.
fn word_of(text: &TextMatch) -> Option<&str> {
    match text {
        TextMatch::Phrase(word) => Some(word),
        TextMatch::Cased(inner) => word_of(inner),
        TextMatch::Pattern { .. } | TextMatch::Regex(_) | TextMatch::Network { .. } => None,
    }
}

/// The terms of searches that ask for a level and name none, each once.
pub(crate) fn unknown_levels<'a>(filters: impl IntoIterator<Item = &'a Filter>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (term, text) in filters.into_iter().flat_map(|filter| terms_of(filter, "level")) {
        let warning = Warning::unknown_level(term, text);
        if levels_passing(term) == Some([false; Level::ALL.len()]) && !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    warnings
}

/// Indexes that a question asks for by their names, and all that there are.
#[derive(Debug)]
struct Sought {
    view: Arc<View>,
    named: BTreeSet<String>,
    /// Terms of searches, each once.
    terms: Vec<Filter>,
}

impl Sought {
    /// What a request and the terms of its searches name; `None` where nothing is to be told. Where
    /// something is missing it may be of these indexes.
    fn of<'a>(
        view: &Arc<View>,
        named: Option<&[String]>,
        filters: impl Iterator<Item = &'a Filter>,
    ) -> Option<Self> {
        let named: BTreeSet<String> = named.unwrap_or_default().iter().cloned().collect();
        let (mut terms, mut said) = (Vec::new(), HashSet::new());
        for (term, _) in filters.flat_map(|filter| terms_of(filter, "index")) {
            if terms.len() < INDEX_TERMS_MAX && said.insert(Search(term).to_string()) {
                terms.push(term.clone());
            }
        }
        let is_sought = !named.is_empty() || !terms.is_empty();
        let view = Arc::clone(view);
        (is_sought && view.missing.is_empty()).then_some(Self { view, named, terms })
    }

    /// Those of the names that are of no index. Ends with the index by which the last one is found, as a
    /// rule the first.
    fn settle(&self, scanner: &Scanner) -> Vec<Warning> {
        let splits = self.view.splits.iter().map(|split| split.index.as_str());
        let fresh = self.view.fresh.iter().map(|part| &*part.index);
        let remote = self.view.remote.iter().map(|part| part.index());
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let mut named: BTreeSet<&str> = self.named.iter().map(String::as_str).collect();
        let mut terms: Vec<Term> = self.terms.iter().filter_map(Term::of).collect();
        for index in splits.chain(fresh).chain(remote) {
            if !known.insert(index) {
                continue;
            }
            named.remove(index);
            terms.retain(|term| !term.finds(index));
            if named.is_empty() && terms.is_empty() || scanner.is_stopped() {
                return Vec::new();
            }
        }
        let known: Vec<&str> = known.into_iter().collect();
        let named = named.into_iter().map(|name| Warning::unknown_index(name, &known));
        let terms = terms.iter().map(|term| Warning::naming_none("index", term.said, &known));
        let mut warnings = Vec::new();
        for warning in named.chain(terms) {
            if warnings.len() < INDEXES_TOLD_MAX && !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        warnings
    }
}

/// A term about the index.
struct Term<'a> {
    said: (&'a Filter, &'a TextMatch),
    evaluator: Evaluator,
    /// A row of some index.
    row: RecordBatch,
}

impl<'a> Term<'a> {
    fn of(term: &'a Filter) -> Option<Self> {
        let said = terms_of(term, "index").pop()?;
        let times = TimestampNanosecondArray::from(vec![0]).with_timezone("UTC");
        let times: ArrayRef = Arc::new(times);
        let row = RecordBatch::try_from_iter([("timestamp", times)]).ok()?;
        Some(Self { said, evaluator: Evaluator::new(term, TimeRange::ALL), row })
    }

    /// Whether it finds the records of an index.
    fn finds(&self, index: &str) -> bool {
        let place = Place { partition: PartitionId(0), index };
        self.evaluator.rows(&self.row, place).count_set_bits() > 0
    }
}

/// The terms of a search that ask a field for a text.
fn terms_of<'a>(filter: &'a Filter, field: &str) -> Vec<(&'a Filter, &'a TextMatch)> {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().flat_map(|part| terms_of(part, field)).collect()
        }
        Filter::Not(part) => terms_of(part, field),
        Filter::Field { name, test: FieldTest::Matches(text) } if name == field => {
            vec![(filter, text)]
        }
        Filter::All | Filter::Text(_) | Filter::Field { .. } => Vec::new(),
    }
}

/// What is to be looked for, and where.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// What is known without looking.
    known: Vec<Warning>,
    indexes: Option<Sought>,
    /// Fields.
    pub(super) names: BTreeSet<String>,
    pub(super) units: Vec<Unit>,
}

impl Doubt {
    /// About a question that is asked of a view, in these indexes and with these searches.
    pub(super) fn of<'a>(
        view: &Arc<View>,
        indexes: Option<&[String]>,
        filters: impl Iterator<Item = &'a Filter> + Clone,
        names: BTreeSet<String>,
    ) -> Self {
        let known = unknown_levels(filters.clone());
        let indexes = Sought::of(view, indexes, filters);
        Self { known, indexes, names, units: Vec::new() }
    }

    /// Blocks. The search ends with the unit in which the last name is found, as a rule the first.
    fn settle(mut self, scanner: &Scanner) -> Vec<Warning> {
        // What is lacking may have the field, and where there are no records nothing is told.
        if self.names.is_empty() || self.units.is_empty() || self.units.len() > UNITS_MAX {
            return Vec::new();
        }
        let mut known: BTreeSet<String> = super::lower::fixed_names().map(str::to_owned).into();
        let _core = scanner.cores.take();
        for unit in &self.units {
            let stats = if scanner.is_stopped() { None } else { scanner.fields(unit) };
            let Some(stats) = stats else { return Vec::new() };
            let held = || stats.iter().filter(|stat| stat.count > 0).map(|stat| &stat.name);
            self.names.retain(|name| !held().any(|known| known == name));
            if self.names.is_empty() {
                return Vec::new();
            }
            known.extend(held().cloned());
        }
        if !scanner.missing().is_empty() {
            return Vec::new();
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        self.names.iter().map(|name| Warning::unknown_field(name, &known)).collect()
    }
}

impl Answer {
    /// Levels and indexes of the query that there are not, and fields that no record has of the indexes and the
    /// time that were asked. Told once, when the rows have come to their end: whatever it costs, no row waits
    /// for it.
    pub async fn warnings(&mut self) -> Vec<Warning> {
        let mut doubt = std::mem::take(&mut self.doubt);
        let mut known = std::mem::take(&mut doubt.known);
        if doubt.names.is_empty() && doubt.indexes.is_none() {
            return known;
        }
        let scanner = self.scanner.clone();
        let settled = tokio::task::spawn_blocking(move || {
            let indexes = doubt.indexes.take();
            let mut found = indexes.map(|sought| sought.settle(&scanner)).unwrap_or_default();
            found.extend(doubt.settle(&scanner));
            found
        });
        // Where it fails the answer stands without them.
        if let Ok(Ok(warnings)) = self.budget.within(settled).await {
            known.extend(warnings);
        }
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::parse;

    #[track_caller]
    fn check(query: &str, expected: &[(&str, &str)]) {
        let found = unknown_levels([&parse(query).unwrap().filter]);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|one| (one.message.as_str(), one.hint.as_deref().unwrap_or_default()))
            .collect();
        let expected: Vec<(String, &str)> =
            expected.iter().map(|(term, hint)| (format!("{term} names no level"), *hint)).collect();
        let expected: Vec<(&str, &str)> =
            expected.iter().map(|(message, hint)| (message.as_str(), *hint)).collect();
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn what_names_no_level_is_told_with_the_nearest() {
        let all = "levels are unknown, trace, debug, info, warn, error, fatal";
        check("level:errror", &[("level:errror", "did you mean error?")]);
        check(
            "x (level:inof OR NOT level:(fatl error))",
            &[("level:inof", "did you mean info?"), ("level:fatl", "did you mean fatal?")],
        );
        check("level:nothing level:nothing", &[("level:nothing", all)]);
        check("level:xyz*", &[("level:xyz*", all)]);
        // Levels, other spellings of them, beginnings, and what is no level but a field.
        check("level:error level:ERR level:eror level:warning level:unknown level:*", &[]);
        check("level:err* level:/^(warn|info)$/ level>=warn NOT level:debug", &[]);
        check("levels:errror user:errror errror", &[]);
    }
}
