//! What the statistics of the body's pages tell of tests of fields: a page without values has no row
//! that passes a test, and the ends of its values tell whether some or all of them do.

use std::collections::HashMap;
use std::ops::Range;

use model::number::Number;
use model::query::{FieldTest, Filter};
use model::split::FieldStat;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

use super::open::Split;
use super::resolve::{Bounds, EVERY, Leaf, Resolved, combined, leaves_of};
use super::rowset::RowSet;
use super::typed::Form;
use crate::evaluate::{Extent, ExtentTest, Passing};
use crate::scan::ScanError;
use crate::schema::FieldColumnId;

/// A page of a column.
struct Page {
    rows: Range<u32>,
    /// Rows of it that have a value.
    values: u64,
    /// Which of its values pass a test.
    passing: Passing,
}

impl Split {
    /// Narrows what was left open of tests of fields. Whether anything became known.
    pub(super) fn narrow(
        &self,
        filter: &Filter,
        resolved: &mut Resolved,
    ) -> Result<bool, ScanError> {
        let mut narrowed = false;
        for (leaf, test) in resolved.leaves.iter_mut().zip(leaves_of(filter)) {
            let Filter::Field { name, test } = test else { continue };
            if leaf.is_decided || EVERY.contains(&name.as_str()) {
                continue;
            }
            if let Some(known) = self.paged(name, test)? {
                let sure = leaf.bounds.sure.or(&known.sure);
                *leaf = Leaf::bounded(Bounds { may: leaf.bounds.may.and(&known.may), sure });
                narrowed = true;
            }
        }
        if narrowed {
            resolved.bounds = combined(filter, &resolved.leaves, self.row_count);
        }
        Ok(narrowed)
    }

    /// Bounds of the rows that pass a test of a field; `None` where nothing is known of a column.
    pub(super) fn paged(&self, name: &str, test: &FieldTest) -> Result<Option<Bounds>, ScanError> {
        let (body, fields) = (self.body()?, self.fields()?);
        let asked = ExtentTest::new(name, test);
        let (mut sure, mut may) = (RowSet::default(), RowSet::default());
        let mut in_columns: HashMap<FieldColumnId, u64> = HashMap::new();
        for (at, field) in body.parquet.schema().fields().iter().enumerate() {
            let id = FieldColumnId::of(field).filter(|id| test.covers(name, &id.name));
            let Some(id) = id else { continue };
            let form = Form::of_stored(field).map_err(|error| self.corrupt_body(&error))?;
            let pages = pages_of(body.parquet.metadata(), at, |index, page| {
                passing(index, page, form, &asked)
            });
            let Some(pages) = pages else { return Ok(None) };
            in_columns.insert(id, pages.iter().map(|page| page.values).sum());
            let (some, all) = passing_rows(&pages);
            (sure, may) = (sure.or(&all), may.or(&some));
        }
        let mut named = fields.iter().filter(|field| test.covers(name, &field.name));
        if !named.all(|field| is_all(field, &in_columns)) {
            // More values may be among the rest, of which nothing is known.
            may = RowSet::all(self.row_count);
        }
        Ok(Some(Bounds { sure, may }))
    }
}

/// Whether all values of a field in one type are in its column. (Splits that do not say `several`
/// counted values, not rows.)
fn is_all(field: &FieldStat, in_columns: &HashMap<FieldColumnId, u64>) -> bool {
    let kind = (!field.label).then_some(field.kind);
    let id = FieldColumnId { name: field.name.clone(), kind };
    in_columns.get(&id) == Some(&field.count) && field.several != Some(true)
}

/// The rows of pages of which some may pass, and those that all do.
fn passing_rows(pages: &[Page]) -> (RowSet, RowSet) {
    let (mut some, mut all) = (Vec::new(), Vec::new());
    for page in pages.iter().filter(|page| page.values > 0) {
        if page.passing != Passing::None {
            some.push(page.rows.clone());
        }
        if page.passing == Passing::All && page.values == page.rows.len() as u64 {
            all.push(page.rows.clone());
        }
    }
    (RowSet::from_sorted(some), RowSet::from_sorted(all))
}

/// The pages of a column, in their order, with what `passing` says of each; `None` where nothing is known
/// of one.
fn pages_of(
    metadata: &ParquetMetaData,
    column: usize,
    passing: impl Fn(&ColumnIndexMetaData, usize) -> Passing,
) -> Option<Vec<Page>> {
    let (indexes, offsets) = (metadata.column_index()?, metadata.offset_index()?);
    let (mut pages, mut start) = (Vec::new(), 0_u32);
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let index = indexes.get(number)?.get(column)?;
        let locations = offsets.get(number)?.get(column)?.page_locations();
        let (nulls, behind) = (index.null_counts()?, start + u32::try_from(group.num_rows()).ok()?);
        if nulls.len() != locations.len() {
            return None;
        }
        let first = |at: usize| {
            let first = locations.get(at).map(|page| u32::try_from(page.first_row_index));
            first.map_or(Some(behind), |first| start.checked_add(first.ok()?))
        };
        for (at, nulls) in nulls.iter().enumerate() {
            let rows = first(at)?..first(at + 1)?;
            let values = (rows.len() as u64).checked_sub(u64::try_from(*nulls).ok()?)?;
            let passing = if values > 0 { passing(index, at) } else { Passing::None };
            pages.push(Page { rows, values, passing });
        }
        start = behind;
    }
    Some(pages)
}

/// Which values of a page pass, by their ends where these are known.
fn passing(
    index: &ColumnIndexMetaData,
    page: usize,
    form: Option<Form>,
    asked: &ExtentTest,
) -> Passing {
    let passing = match form {
        Some(form) => passing_stored(index, page, form, asked),
        None => extent(index, page).map(|extent| asked.of(extent)),
    };
    passing.unwrap_or_else(|| asked.of(Extent::Unknown))
}

/// The same of a column that is stored in another form: its values are in the same order there.
fn passing_stored(
    index: &ColumnIndexMetaData,
    page: usize,
    form: Form,
    asked: &ExtentTest,
) -> Option<Passing> {
    let (least, greatest) = match index {
        ColumnIndexMetaData::INT32(index) => {
            let (least, greatest) =
                index.min_values().get(page).zip(index.max_values().get(page))?;
            (i64::from(*least), i64::from(*greatest))
        }
        ColumnIndexMetaData::INT64(index) => {
            let (least, greatest) =
                index.min_values().get(page).zip(index.max_values().get(page))?;
            (*least, *greatest)
        }
        _ => return None,
    };
    if let Some((least, greatest)) = form.number(least).zip(form.number(greatest)) {
        let [least, greatest] = [least, greatest].map(Number::Float);
        return Some(asked.of(Extent::Numbers { least, greatest, is_ordered: true }));
    }
    let (least, greatest) = form.text(least).zip(form.text(greatest))?;
    Some(asked.of(Extent::Times { least: &least, greatest: &greatest }))
}

/// The ends of a page's values, where they are known.
fn extent(index: &ColumnIndexMetaData, at: usize) -> Option<Extent<'_>> {
    Some(match index {
        ColumnIndexMetaData::INT64(index) => {
            let (least, greatest) = index.min_values().get(at).zip(index.max_values().get(at))?;
            let [least, greatest] = [least, greatest].map(|end| Number::Whole(i128::from(*end)));
            Extent::Numbers { least, greatest, is_ordered: true }
        }
        ColumnIndexMetaData::DOUBLE(index) => {
            let (least, greatest) = index.min_values().get(at).zip(index.max_values().get(at))?;
            // What is no number is not among the ends.
            let [least, greatest] = [least, greatest].map(|end| Number::Float(*end));
            Extent::Numbers { least, greatest, is_ordered: false }
        }
        ColumnIndexMetaData::BYTE_ARRAY(index) => {
            let (least, greatest) = index.min_value(at).zip(index.max_value(at))?;
            let least = std::str::from_utf8(least).ok()?;
            Extent::Texts { least, greatest: std::str::from_utf8(greatest).ok()? }
        }
        _ => return None,
    })
}
