//! How wide the rows of a body are: what its pages say of the texts in them.

use arrow::datatypes::{Field, Schema};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;

use super::typed::Form;

/// Bytes of a row's text in each column, where there are most: the average of the widest page. Rows
/// beside each other are alike, and an average of the split says nothing of them.
pub(super) fn widths(schema: &Schema, parquet: &ParquetMetaData) -> Vec<u64> {
    // Texts that are stored as something else take their bytes once they are read.
    let stored = |field: &Field| Form::of_stored(field).ok().flatten().map_or(0, Form::text_bytes);
    let mut widths: Vec<u64> = schema.fields().iter().map(|field| stored(field)).collect();
    let groups = parquet.row_groups().iter().zip(parquet.offset_index().into_iter().flatten());
    for (group, columns) in groups {
        for (width, pages) in widths.iter_mut().zip(columns) {
            *width = widest(pages, group.num_rows()).max(*width);
        }
    }
    widths
}

fn widest(pages: &OffsetIndexMetaData, row_count: i64) -> u64 {
    let Some(bytes) = pages.unencoded_byte_array_data_bytes() else { return 0 };
    let firsts = pages.page_locations().iter().map(|page| page.first_row_index);
    let ends = firsts.clone().skip(1).chain([row_count]);
    let of_page = |((first, end), bytes): ((i64, i64), &i64)| {
        let rows = u64::try_from(end.saturating_sub(first)).unwrap_or(0).max(1);
        u64::try_from(*bytes).unwrap_or(0).div_ceil(rows)
    };
    firsts.zip(ends).zip(bytes).map(of_page).max().unwrap_or(0)
}
