//! Fields that a query asks for and that no record has. What is known of fields are the statistics of
//! units: no record is read.

use std::collections::BTreeSet;

use index::searcher::Unit;
use serde::Serialize;

use super::Answer;
use super::scan::Scanner;
use crate::language::nearest;

/// Units that are looked through: a field that none of them has may be in one of more.
const UNITS_MAX: usize = 1_000;

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
}

/// What is to be looked for, and where.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    pub(super) names: BTreeSet<String>,
    pub(super) units: Vec<Unit>,
}

impl Doubt {
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
            for stat in stats.into_iter().filter(|stat| stat.count > 0) {
                self.names.remove(&stat.name);
                known.insert(stat.name);
            }
            if self.names.is_empty() {
                return Vec::new();
            }
        }
        if !scanner.missing().is_empty() {
            return Vec::new();
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        self.names.iter().map(|name| Warning::unknown_field(name, &known)).collect()
    }
}

impl Answer {
    /// Fields of the query that no record has of the indexes and the time that were asked. Told once,
    /// when the rows have come to their end: whatever it costs, no row waits for it.
    pub async fn warnings(&mut self) -> Vec<Warning> {
        let doubt = std::mem::take(&mut self.doubt);
        if doubt.names.is_empty() {
            return Vec::new();
        }
        let scanner = self.scanner.clone();
        let settled = tokio::task::spawn_blocking(move || doubt.settle(&scanner));
        match self.budget.within(settled).await {
            Ok(Ok(warnings)) => warnings,
            // The answer stands without them.
            _ => Vec::new(),
        }
    }
}
