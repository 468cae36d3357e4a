//! Rows as CSV (RFC 4180).

use arrow::array::RecordBatch;
use serde_json::Value;

use super::RECORD_COLUMNS;
use crate::plan::Shape;
use crate::plan::json::{Records, value};

/// The names of the columns.
pub(super) fn header(shape: &Shape, to: &mut Vec<u8>) {
    match shape {
        Shape::Records(_) => line(RECORD_COLUMNS.iter(), to),
        Shape::Table(columns) => line(columns.iter().map(|column| &column.name), to),
    }
}

/// One row.
pub(super) fn row(rows: &RecordBatch, row: usize, shape: &Shape, to: &mut Vec<u8>) {
    match shape {
        Shape::Records(extras) => {
            if let Some(records) = Records::of(rows, extras) {
                line(records.cells(row).iter(), to);
            }
        }
        Shape::Table(columns) => {
            let cells = columns.iter().zip(rows.columns()).map(|(column, values)| {
                match value(values, row, column.kind) {
                    Value::Null => String::new(),
                    Value::String(text) => text,
                    other => other.to_string(),
                }
            });
            line(cells, to);
        }
    }
}

fn line<T: AsRef<str>>(cells: impl Iterator<Item = T>, to: &mut Vec<u8>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            to.push(b',');
        }
        let cell = cell.as_ref();
        if cell.contains([',', '"', '\n', '\r']) {
            to.push(b'"');
            to.extend_from_slice(cell.replace('"', "\"\"").as_bytes());
            to.push(b'"');
        } else {
            to.extend_from_slice(cell.as_bytes());
        }
    }
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let mut to = Vec::new();
        line(["a", "b,c", "say \"hi\"", "two\nlines", ""].iter(), &mut to);
        assert_eq!(to, b"a,\"b,c\",\"say \"\"hi\"\"\",\"two\nlines\",\r\n");
    }
}
