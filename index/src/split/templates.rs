//! The templates of a split: what its messages have in common, and the rows of each.
//!
//! Rows of one template stand together. Messages that share their template with too few others are
//! *loose*: they stand together per service, sorted by their text, and all their tokens vary.

use std::io;
use std::ops::Range;

use super::coding::{Reader, malformed, put, put_bytes, put_signed};
use super::rowset::RowSet;

/// What the rows of a template share; the order is that of rows in a split.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TemplateKey {
    /// The service; empty where records have none.
    pub(crate) service: String,
    /// Loose rows come behind the others of their service.
    pub(crate) is_loose: bool,
    /// The text with [`super::lex::SLOT`] for each token that varies; empty for loose rows.
    pub(crate) text: Vec<u8>,
}

impl TemplateKey {
    /// Of rows without anything in common.
    pub(crate) fn loose() -> Self {
        Self { service: String::new(), is_loose: true, text: Vec::new() }
    }

    /// The text, unless the rows are loose.
    pub(crate) fn fixed(&self) -> Option<&[u8]> {
        (!self.is_loose).then_some(self.text.as_slice())
    }
}

/// A template of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    /// What its rows share.
    pub(crate) key: TemplateKey,
    /// Its rows.
    pub(crate) rows: Range<u32>,
    /// Earliest timestamp.
    pub(crate) time_first: i64,
    /// Latest timestamp.
    pub(crate) time_last: i64,
}

/// The templates of a split in the order of their rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Templates(pub(crate) Vec<Template>);

impl Templates {
    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let base = self.0.iter().map(|template| template.time_first).min().unwrap_or(0);
        put(&mut out, self.0.len() as u64);
        put_signed(&mut out, base);
        let mut before: Option<&TemplateKey> = None;
        for template in &self.0 {
            let same = before.is_some_and(|before| before.service == template.key.service);
            put(&mut out, u64::from(template.key.is_loose) | u64::from(same) << 1);
            if !same {
                put_bytes(&mut out, template.key.service.as_bytes());
            }
            put_bytes(&mut out, &template.key.text);
            put(&mut out, u64::from(template.rows.end - template.rows.start));
            put(&mut out, template.time_first.abs_diff(base));
            put(&mut out, template.time_last.abs_diff(template.time_first));
            before = Some(&template.key);
        }
        out
    }

    /// Undoes [`Templates::encode`].
    pub(super) fn decode(bytes: &[u8], row_count: u32) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let count = reader.number()?;
        let base = reader.signed()?;
        let mut templates: Vec<Template> = Vec::new();
        let mut row = 0_u32;
        for _ in 0..count {
            let flags = reader.number()?;
            let service = match templates.last() {
                Some(last) if flags & 2 != 0 => last.key.service.clone(),
                _ => String::from_utf8(reader.bytes()?.to_vec()).map_err(|_| malformed())?,
            };
            let text = reader.bytes()?.to_vec();
            let end = row.checked_add(reader.small()?).ok_or_else(malformed)?;
            let time_first = base.checked_add_unsigned(reader.number()?).ok_or_else(malformed)?;
            let time_last =
                time_first.checked_add_unsigned(reader.number()?).ok_or_else(malformed)?;
            let key = TemplateKey { service, is_loose: flags & 1 != 0, text };
            templates.push(Template { key, rows: row..end, time_first, time_last });
            row = end;
        }
        if row == row_count && reader.is_empty() { Ok(Self(templates)) } else { Err(malformed()) }
    }

    /// The rows of templates, given by ascending numbers.
    pub(super) fn rows_of(&self, numbers: impl IntoIterator<Item = u32>) -> RowSet {
        let rows = |number: u32| self.0.get(number as usize).map(|template| template.rows.clone());
        RowSet::from_sorted(numbers.into_iter().filter_map(rows))
    }

    /// The rows that have their text to themselves.
    pub(super) fn loose_rows(&self) -> RowSet {
        let loose = self.0.iter().filter(|template| template.key.is_loose);
        RowSet::from_sorted(loose.map(|template| template.rows.clone()))
    }

    /// The template of a row.
    pub(crate) fn number_of(&self, row: u32) -> Option<usize> {
        let after = self.0.partition_point(|template| template.rows.start <= row);
        // An empty template has no row.
        let at = after.checked_sub(1)?;
        self.0.get(at).filter(|template| template.rows.contains(&row)).map(|_| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_come_back_and_know_their_rows() {
        let key = |service: &str, text: &str| TemplateKey {
            service: service.to_owned(),
            is_loose: text.is_empty(),
            text: text.as_bytes().to_vec(),
        };
        let template =
            |key, rows, time_first, time_last| Template { key, rows, time_first, time_last };
        let templates = Templates(vec![
            template(key("a", "x"), 0..3, i64::MIN, 7),
            template(key("a", ""), 3..4, -5, -5),
            template(key("b", "y z"), 4..9, 0, i64::MAX),
        ]);
        assert_eq!(Templates::decode(&templates.encode(), 9).unwrap(), templates);
        assert!(Templates::decode(&templates.encode(), 8).is_err());
        let of = |row| templates.number_of(row);
        assert_eq!([of(0), of(3), of(4), of(8), of(9)], [Some(0), Some(1), Some(2), Some(2), None]);
        assert_eq!(templates.rows_of([0, 2]).ranges(), [0..3, 4..9]);
    }
}
