//! What of a split is known before its rows are looked at. Where splits become one with all their rows,
//! much of what they know is added up; the rest is gathered of the rows, as in a new split.

use std::collections::BTreeMap;
use std::io;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::open::Split;
use super::patterns::{PatternSums, Patterns};
use super::senders::SenderCounter;
use super::statistics::Minutes;
use super::templates::TemplateKey;
use super::values::{ValueCounts, ValueSums};
use crate::scan::ScanError;
use crate::several::{FieldTally, Tallies, join, tally_fields};

/// What is known of all rows of a split; by default nothing is.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(super) minutes: Option<Minutes>,
    pub(super) fields: Option<Tallies>,
    pub(super) values: ValueSums,
    pub(super) patterns: PatternSums,
    pub(super) senders: SenderCounter,
}

impl Sums {
    /// How many rows have each field, of rows in parts that are not in the order of a split yet.
    pub(crate) fn of_fields(parts: &[RecordBatch]) -> Self {
        let mut tallies = Tallies::new();
        parts.iter().for_each(|rows| tally_fields(rows, &mut tallies));
        Self { fields: Some(tallies), ..Self::default() }
    }

    /// Of splits that become one with all their rows, whose templates have these numbers there.
    ///
    /// Memory: what one split keeps of each, twice; senders of all of them.
    ///
    /// # Errors
    /// [`ScanError`] when a split cannot be read.
    pub(crate) fn of_splits(
        splits: &[Split],
        templates: &BTreeMap<TemplateKey, u32>,
    ) -> Result<Self, ScanError> {
        let minutes = splits.iter().map(Split::minutes).collect::<Result<Vec<_>, ScanError>>()?;
        let senders = splits.iter().map(Split::senders).collect::<Result<Vec<_>, ScanError>>()?;
        let mut sums = Self {
            minutes: Some(Minutes::joined(minutes.iter().map(AsRef::as_ref))),
            fields: tallies_of(splits)?,
            values: ValueSums::default(),
            patterns: PatternSums::new(templates.len()),
            senders: SenderCounter::of_splits(&senders),
        };
        for split in splits {
            sums.add(split, templates)?;
        }
        Ok(sums)
    }

    /// Adds what is large: it is read here and not kept.
    fn add(
        &mut self,
        split: &Split,
        templates: &BTreeMap<TemplateKey, u32>,
    ) -> Result<(), ScanError> {
        let body = split.body()?;
        let columns: &Schema = body.parquet.schema();
        let values = read(split, "values", ValueCounts::decode)?;
        self.values.add(columns, &values.unwrap_or_default());
        let own = split.templates()?;
        let patterns = read(split, "patterns", |bytes| Patterns::decode(bytes, &own))?;
        let number = |key: &TemplateKey| templates.get(key).copied().unwrap_or(u32::MAX);
        let numbers: Vec<u32> = own.0.iter().map(|template| number(&template.key)).collect();
        let patterns = patterns.unwrap_or_else(|| Patterns::of_templates(&own));
        self.patterns.add(patterns, &numbers);
        Ok(())
    }
}

/// The tallies of the fields of splits together; `None` where one says less than is wanted.
fn tallies_of(splits: &[Split]) -> Result<Option<Tallies>, ScanError> {
    let mut tallies = Tallies::new();
    for split in splits {
        let fields = split.fields()?;
        let Some(own) = fields.iter().map(FieldTally::of).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        join(&mut tallies, own);
    }
    Ok(Some(tallies))
}

/// A section of a split, unless it was written before there was one.
fn read<T>(
    split: &Split,
    name: &str,
    decode: impl FnOnce(&[u8]) -> io::Result<T>,
) -> Result<Option<T>, ScanError> {
    if !split.bundle.names(name).any(|known| known == name) {
        return Ok(None);
    }
    let bytes = split.bundle.read(name).map_err(|error| split.wrong(error.to_string()))?;
    let read = decode(&bytes).map(Some);
    read.map_err(|error| split.wrong(format!("its section {name}: {error}")))
}
