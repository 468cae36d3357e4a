//! Rows of long texts are read and merged a few at a time, whatever the others are like.

use super::*;
use crate::schema::{BATCH_BYTES, TextBytes};

/// Bytes of a long text.
const LONG: usize = 8 << 10;
/// How many of them: some batches.
const COUNT: usize = 3_000;

/// Long texts among twice as many short ones, which bring the average down.
fn records() -> Vec<Record> {
    let record = |n: usize| {
        let message = match n % 3 {
            0 => format!("dump {n} {}", "y".repeat(LONG)),
            _ => format!("request {n} served"),
        };
        Record { timestamp: Some(Timestamp(n as i64)), message, ..Record::default() }
    };
    (0..COUNT * 3).map(record).collect()
}

fn bytes_of(rows: &RecordBatch) -> u64 {
    TextBytes::of(rows).between(&(0..rows.num_rows()))
}

#[test]
fn long_texts_are_read_and_merged_some_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, split, _) = made(folder.path(), &records());
    assert!(bytes_of(&rows) > 2 * BATCH_BYTES);
    let mut count = 0;
    for read in split.rows(&|_| false).unwrap() {
        let (rows, templates) = read.unwrap();
        assert!(bytes_of(&rows) <= 2 * BATCH_BYTES, "{}", bytes_of(&rows));
        assert_eq!(rows.num_rows(), templates.len());
        count += rows.num_rows();
    }
    assert_eq!(count, 3 * COUNT);
    let source = crate::merge::source_of(std::slice::from_ref(&split), &[]).unwrap();
    let mut count = 0;
    for piece in source.pieces {
        let piece = piece.unwrap();
        assert!(bytes_of(&piece.rows) <= BATCH_BYTES + 2 * LONG as u64);
        count += piece.rows.num_rows();
    }
    assert_eq!(count, 3 * COUNT);
}
