//! How a split is packed: quickly while it may be written again, small when it is written for the last
//! time. Readers need not know: a page says how it is coded, and zstd reads all of its levels alike.

use std::sync::Arc;

use arrow::datatypes::Schema;
use model::limits::BLOCK_ROWS;
use model::split::SplitMeta;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::sketch::Sketches;
use crate::schema::REST;

/// Rows of one row group. One per split keeps dictionaries whole.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// Bytes of a page before compression.
const PAGE_BYTES: usize = 256 << 10;
/// Bytes of a page of messages, and of what has no column, where they are packed small: zstd finds more
/// alike in them. Who reads a few rows unpacks so much of them.
const SMALL_PAGE_BYTES: usize = 1 << 20;
/// Rows of a page.
const PAGE_ROWS: usize = 16_384;
/// Bytes of the dictionary of a column of which nothing is known, before it is given up.
const DICTIONARY_BYTES: usize = 256 << 10;
/// Bytes of the pages of all columns: while splits are written and merged they are in memory.
const PAGES_BYTES: usize = 16 << 20;

/// zstd's level where it is to be quick.
const QUICK_LEVEL: i32 = 1;
/// The same where it is to be small: of messages in row order a sixth less than level 1, at about a
/// tenth of its speed. Level 19 takes three times as long for 3 % more.
const SMALL_LEVEL: i32 = 17;
/// Bytes of a section up to which it is packed at that level; longer ones would take tens of MiB for it.
const SMALL_SECTION_BYTES: usize = 1 << 20;
/// The level of longer ones.
const LONG_SECTION_LEVEL: i32 = 9;
/// Columns that are packed small where more are written together, those with most bytes beside messages
/// and what has no column. Each of them has memory of its own for packing: at that level up to six MiB
/// where its pages are full.
const SMALL_COLUMNS: usize = 32;

/// How hard it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// It may be written again: little CPU.
    Quick,
    /// It is written for the last time: few bytes.
    Small,
}

impl Packing {
    /// Of what is written in the place of some splits: small where all of them were.
    pub(crate) fn of(splits: &[Arc<SplitMeta>]) -> Self {
        let is_cold = !splits.is_empty() && splits.iter().all(|split| split.cold);
        if is_cold { Self::Small } else { Self::Quick }
    }

    /// Whether it is for the last time.
    pub(super) fn is_cold(self) -> bool {
        self == Self::Small
    }

    /// zstd's level of a section, or of a part of one.
    pub(super) fn level(self, bytes: usize) -> i32 {
        match self {
            Self::Quick => QUICK_LEVEL,
            Self::Small if bytes <= SMALL_SECTION_BYTES => SMALL_LEVEL,
            Self::Small => LONG_SECTION_LEVEL,
        }
    }

    /// How the body is written, so many columns of it at a time.
    ///
    /// # Errors
    /// None: the levels are zstd's.
    pub(super) fn properties(
        self,
        schema: &Schema,
        sketches: &Sketches,
        together: usize,
    ) -> Result<WriterProperties, ParquetError> {
        let share = PAGES_BYTES / together.max(1);
        // Many columns at a high level would take more memory than a merge may, where they are written
        // together.
        let is_few = self.is_cold() && together <= SMALL_COLUMNS;
        let level = if is_few { SMALL_LEVEL } else { QUICK_LEVEL };
        let zstd = |level| ZstdLevel::try_new(level).map(Compression::ZSTD);
        let mut properties = WriterProperties::builder()
            .set_created_by("sawlog".to_owned())
            .set_compression(zstd(level)?)
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_data_page_size_limit(share.clamp(PAGE_BYTES / 16, PAGE_BYTES))
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_write_batch_size(BLOCK_ROWS)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_column_dictionary_enabled(ColumnPath::from("message"), false)
            .set_column_statistics_enabled(ColumnPath::from("message"), EnabledStatistics::None)
            .set_column_statistics_enabled(ColumnPath::from(REST), EnabledStatistics::None);
        let time = ColumnPath::from("timestamp");
        properties = properties
            .set_column_dictionary_enabled(time.clone(), false)
            .set_column_encoding(time, Encoding::DELTA_BINARY_PACKED)
            // Lengths between the texts keep zstd from going on with what it found.
            .set_column_encoding(ColumnPath::from("message"), Encoding::DELTA_LENGTH_BYTE_ARRAY);
        if self.is_cold() {
            for name in sketches.heaviest(schema, SMALL_COLUMNS) {
                let column = ColumnPath::from(name);
                properties = properties.set_column_compression(column, zstd(SMALL_LEVEL)?);
            }
            for name in ["message", REST] {
                let column = ColumnPath::from(name);
                properties = properties
                    .set_column_compression(column.clone(), zstd(SMALL_LEVEL)?)
                    .set_column_data_page_size_limit(column, SMALL_PAGE_BYTES);
            }
        }
        Ok(sketches.apply(schema, properties).build())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn properties(packing: Packing, columns: usize, together: usize) -> WriterProperties {
        let field = |n| Field::new(format!("f{n}"), DataType::Utf8, true);
        let message = Field::new("message", DataType::Utf8, false);
        let fields: Vec<Field> = std::iter::once(message).chain((1..columns).map(field)).collect();
        packing.properties(&Schema::new(fields), &Sketches::default(), together).unwrap()
    }

    #[test]
    fn what_is_packed_small_has_high_levels_and_wide_pages() {
        let level = |packing, columns, name: &str| {
            properties(packing, columns, columns).compression(&ColumnPath::from(name))
        };
        let zstd = |level| Compression::ZSTD(ZstdLevel::try_new(level).unwrap());
        for name in ["message", "f1"] {
            assert_eq!(level(Packing::Quick, 8, name), zstd(QUICK_LEVEL));
            assert_eq!(level(Packing::Small, 8, name), zstd(SMALL_LEVEL));
        }
        // Of many columns that are written together those of which nothing is known are not.
        assert_eq!(level(Packing::Small, 300, "f1"), zstd(QUICK_LEVEL));
        assert_eq!(level(Packing::Small, 300, "message"), zstd(SMALL_LEVEL));
        // Those that are written one after the other are.
        let apart = properties(Packing::Small, 300, 8);
        assert_eq!(apart.compression(&ColumnPath::from("f1")), zstd(SMALL_LEVEL));
        let page = |packing, name: &str| {
            properties(packing, 8, 8).column_data_page_size_limit(&ColumnPath::from(name))
        };
        assert_eq!(page(Packing::Quick, "message"), PAGE_BYTES);
        assert_eq!(page(Packing::Small, "message"), SMALL_PAGE_BYTES);
        assert_eq!(page(Packing::Small, "f1"), PAGE_BYTES);
        for packing in [Packing::Quick, Packing::Small] {
            let lengths = properties(packing, 8, 8).encoding(&ColumnPath::from("message"));
            assert_eq!(lengths, Some(Encoding::DELTA_LENGTH_BYTE_ARRAY));
        }
    }

    #[test]
    fn long_sections_do_not_take_the_memory_of_high_levels() {
        assert_eq!(Packing::Quick.level(10), QUICK_LEVEL);
        assert_eq!(Packing::Small.level(SMALL_SECTION_BYTES), SMALL_LEVEL);
        assert_eq!(Packing::Small.level(SMALL_SECTION_BYTES + 1), LONG_SECTION_LEVEL);
    }
}
