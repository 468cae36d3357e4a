//! Records with several values of one name: telling which names have them, and all their values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder,
    RecordBatch, StringBuilder,
};
use arrow::datatypes::{DataType, Field};
use model::record::{FieldType, FieldValue};
use model::split::FieldStat;
use serde_json::Value;

use crate::columns::{Values, read_number};
use crate::rest;
use crate::scan::{own_columns, rest_is_empty};
use crate::schema::{FieldColumnId, REST, field_type};

/// What is known of a field in one type, among some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FieldTally {
    /// Rows that have it in this type.
    pub(crate) count: u64,
    /// Some row has a further value of the name.
    pub(crate) several: bool,
}

impl FieldTally {
    /// As a split says it.
    pub(crate) fn stat(self, id: FieldColumnId) -> FieldStat {
        FieldStat {
            name: id.name,
            kind: id.kind.unwrap_or(FieldType::Text),
            label: id.kind.is_none(),
            count: self.count,
            several: Some(self.several),
        }
    }
}

/// How many rows have each (field, type), labels included; values in `_rest` too.
pub(crate) fn tally_fields(rows: &RecordBatch, tallies: &mut HashMap<FieldColumnId, FieldTally>) {
    let schema = rows.schema();
    let mut own: HashMap<String, Vec<(FieldColumnId, &ArrayRef)>> = HashMap::new();
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        let present = column.len() - column.null_count();
        if let Some(id) = FieldColumnId::of(field).filter(|_| present > 0) {
            tallies.entry(id.clone()).or_default().count += present as u64;
            own.entry(id.name.clone()).or_default().push((id, column));
        }
    }
    for columns in own.values().filter(|columns| columns.len() > 1) {
        let has = |row: usize| columns.iter().filter(|(_, column)| column.is_valid(row)).count();
        if (0..rows.num_rows()).any(|row| has(row) > 1) {
            for (id, _) in columns {
                tallies.entry(id.clone()).or_default().several = true;
            }
        }
    }
    if rest_is_empty(rows) {
        return;
    }
    let rest = Values::named(rows, REST);
    for row in 0..rows.num_rows() {
        let Some(text) = rest.text(row) else { continue };
        let values = rest::values(&text);
        // The values of a name stand beside each other.
        for same in values.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((name, _)) = same.first() else { continue };
            let columns = own.get(name).map(Vec::as_slice).unwrap_or_default();
            let is_in_column = |kind: FieldType| {
                columns.iter().any(|(id, column)| id.kind == Some(kind) && column.is_valid(row))
            };
            let several = same.len() > 1 || columns.iter().any(|(_, column)| column.is_valid(row));
            for kind in FieldType::ALL {
                if same.iter().any(|(_, value)| value.kind() == kind) {
                    let id = FieldColumnId { name: name.clone(), kind: Some(kind) };
                    let tally = tallies.entry(id).or_default();
                    tally.count += u64::from(!is_in_column(kind));
                    tally.several |= several;
                }
            }
        }
    }
}

/// The type of a list of values.
pub(crate) fn list_type(kind: FieldType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(field_type(kind), true)))
}

/// All values of a name in each row, in one type; what has no form in it is left out.
pub(crate) fn lists(rows: &RecordBatch, name: &str, kind: FieldType, distinct: bool) -> ArrayRef {
    let columns = own_columns(rows, name);
    let rest = Values::named(rows, REST);
    let quoted = Value::from(name).to_string();
    let values = (0..rows.num_rows()).map(|row| {
        let mut values: Vec<FieldValue> =
            columns.iter().filter_map(|column| column.value(row)).collect();
        if let Some(text) = rest.text(row).filter(|text| text.contains(&quoted)) {
            let more = rest::values(&text).into_iter().filter(|(other, _)| other == name);
            values.extend(more.map(|(_, value)| value));
        }
        values
    });
    match kind {
        FieldType::Text => {
            built(StringBuilder::new(), values, distinct, |value| Some(value.to_text()))
        }
        FieldType::Int => built(Int64Builder::new(), values, distinct, |value| match value {
            FieldValue::Int(number) => Some(*number),
            other => other.to_text().parse().ok(),
        }),
        FieldType::Float => built(Float64Builder::new(), values, distinct, |value| match value {
            FieldValue::Float(number) => Some(*number),
            other => read_number(&other.to_text()),
        }),
        FieldType::Bool => {
            built(BooleanBuilder::new(), values, distinct, |value| value.to_text().parse().ok())
        }
    }
}

fn built<B: ArrayBuilder + Extend<Option<T>>, T: PartialEq>(
    builder: B,
    rows: impl Iterator<Item = Vec<FieldValue>>,
    distinct: bool,
    read: impl Fn(&FieldValue) -> Option<T>,
) -> ArrayRef {
    let mut builder = ListBuilder::new(builder);
    for row in rows {
        let mut values: Vec<Option<T>> = Vec::with_capacity(row.len());
        for value in row.iter().map(&read).filter(Option::is_some) {
            if !distinct || !values.contains(&value) {
                values.push(value);
            }
        }
        builder.append_option((!values.is_empty()).then_some(values));
    }
    Arc::new(builder.finish())
}

#[cfg(test)]
mod tests {
    use arrow::array::{ListArray, StringArray, new_null_array};

    use super::*;
    use crate::schema::schema;

    fn id(name: &str, kind: FieldType) -> FieldColumnId {
        FieldColumnId { name: name.to_owned(), kind: Some(kind) }
    }

    /// `a` as text, `a` as a number, `b`, and the rest.
    type Given<'a> = (Option<&'a str>, Option<i64>, Option<&'a str>, Option<&'a str>);

    /// Rows with `a` as text and as a whole number, `b` as text, and what stands in `_rest`.
    fn rows(given: &[Given<'_>]) -> RecordBatch {
        let ids = [id("a", FieldType::Text), id("a", FieldType::Int), id("b", FieldType::Text)];
        let schema = schema(&ids);
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                "a" => Arc::new(given.iter().map(|row| row.0).collect::<StringArray>()),
                "a:int" => Arc::new(arrow::array::Int64Array::from_iter(given.iter().map(|r| r.1))),
                "b" => Arc::new(given.iter().map(|row| row.2).collect::<StringArray>()),
                REST => Arc::new(given.iter().map(|row| row.3).collect::<StringArray>()),
                _ => new_null_array(field.data_type(), given.len()),
            }
        });
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let schema = arrow::datatypes::Schema::new(fields);
        RecordBatch::try_new(Arc::new(schema), columns.collect()).unwrap()
    }

    #[test]
    fn rows_are_counted_once_and_several_values_are_seen() {
        let rows = rows(&[
            (Some("x"), None, Some("1"), Some(r#"{"a":["y","x"],"c":5}"#)),
            (None, Some(7), None, Some(r#"{"c":6}"#)),
            (None, None, Some("2"), None),
        ]);
        let mut tallies = HashMap::new();
        tally_fields(&rows, &mut tallies);
        let tally = |name, kind| tallies.get(&id(name, kind)).map(|t| (t.count, t.several));
        assert_eq!(tally("a", FieldType::Text), Some((1, true)));
        assert_eq!(tally("a", FieldType::Int), Some((1, false)));
        assert_eq!(tally("b", FieldType::Text), Some((2, false)));
        assert_eq!(tally("c", FieldType::Int), Some((2, false)));
    }

    #[test]
    fn values_of_two_types_in_a_row_are_several() {
        let mut tallies = HashMap::new();
        tally_fields(&rows(&[(Some("x"), Some(1), None, None)]), &mut tallies);
        assert!(tallies[&id("a", FieldType::Int)].several);
    }

    #[test]
    fn all_values_come_in_the_type_that_is_asked() {
        let rows = rows(&[
            (Some("2"), Some(1), None, Some(r#"{"a":["2",3.5,"x"],"aa":9}"#)),
            (None, None, Some("1"), None),
        ]);
        let check = |kind, distinct, expected: &[&str]| {
            let lists = lists(&rows, "a", kind, distinct);
            assert_eq!(lists.data_type(), &list_type(kind));
            let lists = lists.as_any().downcast_ref::<ListArray>().unwrap();
            assert!(lists.is_valid(0) && lists.is_null(1));
            let values = lists.value(0);
            let values = Values::of(&values);
            let texts: Vec<_> = (0..expected.len()).map(|at| values.text(at).unwrap()).collect();
            assert_eq!(texts, expected, "{kind:?}");
            assert_eq!(lists.value(0).len(), expected.len());
        };
        check(FieldType::Text, false, &["2", "1", "2", "3.5", "x"]);
        check(FieldType::Text, true, &["2", "1", "3.5", "x"]);
        check(FieldType::Float, false, &["2", "1", "2", "3.5"]);
        check(FieldType::Int, true, &["2", "1"]);
    }
}
