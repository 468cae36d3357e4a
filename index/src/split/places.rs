//! Where in the body the pages of some rows are: those that are in a store are fetched side by side.

use std::ops::Range;

use parquet::file::metadata::ParquetMetaData;

use super::rowset::RowSet;

/// The bytes of the pages of columns that have some of the rows, in the order in which they are read.
pub(super) fn places(
    parquet: &ParquetMetaData,
    columns: &[usize],
    rows: &RowSet,
) -> Vec<Range<u64>> {
    let Some(index) = parquet.offset_index() else { return Vec::new() };
    let (mut places, mut start): (Vec<(u64, Range<u64>)>, u64) = (Vec::new(), 0);
    for (group, pages) in parquet.row_groups().iter().zip(index) {
        let end = start.saturating_add(unsigned(group.num_rows()));
        for column in columns {
            let chunk = group.columns().get(*column).zip(pages.get(*column));
            let Some((chunk, pages)) = chunk else { continue };
            let (pages, before) = (pages.page_locations(), places.len());
            for (at, page) in pages.iter().enumerate() {
                let row = |number: i64| start.saturating_add(unsigned(number));
                let first = row(page.first_row_index);
                let behind = pages.get(at + 1).map_or(end, |next| row(next.first_row_index));
                if has_some(rows, first..behind) {
                    places.push((first, bytes(page.offset, page.compressed_page_size.into())));
                }
            }
            let dictionary = chunk.dictionary_page_offset();
            if let Some(offset) = dictionary.filter(|_| places.len() > before) {
                let length = chunk.data_page_offset().saturating_sub(offset);
                places.push((start, bytes(offset, length)));
            }
        }
        start = end;
    }
    places.sort_by_key(|(first, _)| *first);
    places.into_iter().map(|(_, place)| place).collect()
}

/// Whether some of the rows are in a range of them.
fn has_some(rows: &RowSet, wanted: Range<u64>) -> bool {
    let ranges = rows.ranges();
    let at = ranges.partition_point(|range| u64::from(range.end) <= wanted.start);
    ranges.get(at).is_some_and(|range| u64::from(range.start) < wanted.end)
}

fn bytes(offset: i64, length: i64) -> Range<u64> {
    unsigned(offset)..unsigned(offset.saturating_add(length))
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, RecordBatch};
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
    use parquet::file::metadata::PageIndexPolicy;
    use parquet::file::properties::WriterProperties;

    use super::*;

    #[test]
    fn pages_come_in_the_order_of_their_rows_behind_their_dictionaries() {
        let values = |times: i32| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values((0..1_000).map(|row| row * times)))
        };
        let rows = RecordBatch::try_from_iter([("a", values(1)), ("b", values(3))]).unwrap();
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(Some(500))
            .set_data_page_row_count_limit(100)
            .set_write_batch_size(100)
            .set_column_dictionary_enabled("b".into(), false)
            .build();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, rows.schema(), Some(properties)).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let parquet = ArrowReaderMetadata::load(&Bytes::from(file), options).unwrap();
        let page = |group: usize, column: usize, number: usize| {
            let index = parquet.metadata().offset_index().unwrap();
            let page = &index[group][column].page_locations()[number];
            bytes(page.offset, page.compressed_page_size.into())
        };
        let dictionary = |group: usize| {
            let chunk = parquet.metadata().row_group(group).column(0);
            unsigned(chunk.dictionary_page_offset().unwrap())..page(group, 0, 0).start
        };
        let rows = RowSet::from_sorted([150..160, 720..730]);
        let first = [dictionary(0), page(0, 0, 1), page(0, 1, 1)];
        let second = [dictionary(1), page(1, 0, 2), page(1, 1, 2)];
        assert_eq!(places(parquet.metadata(), &[0, 1], &rows), [first, second].concat());
    }

    #[test]
    fn rows_are_in_a_range_that_they_reach_into() {
        let rows = RowSet::from_sorted([3..5, 9..10]);
        let found = [0..3, 0..4, 4..9, 5..9, 5..10, 10..20].map(|range| has_some(&rows, range));
        assert_eq!(found, [false, true, true, false, true, false]);
    }
}
