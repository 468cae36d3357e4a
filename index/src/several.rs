//! Records with several values of one name: telling which names have them, and all their values.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder,
    RecordBatch, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema};
use model::number::read_number;
use model::record::{FieldType, FieldValue};
use model::split::FieldStat;
use serde_json::Value;

use crate::columns::Values;
use crate::rest;
use crate::scan::{own_columns, rest_is_empty};
use crate::schema::{FieldColumnId, REST, field_type};

/// What is known of a field in one type, among some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FieldTally {
    /// Rows that have it in this type.
    pub(crate) count: u64,
    /// Some of these rows has a further value of the name.
    pub(crate) several: bool,
}

impl FieldTally {
    /// Of what a split says; `None` of one that says less.
    pub(crate) fn of(stat: &FieldStat) -> Option<(FieldColumnId, Self)> {
        let kind = (!stat.label).then_some(stat.kind);
        let id = FieldColumnId { name: stat.name.clone(), kind };
        Some((id, Self { count: stat.count, several: stat.several? }))
    }

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

/// The tallies of fields, labels included.
pub(crate) type Tallies = HashMap<FieldColumnId, FieldTally>;

/// Adds the tallies of other rows.
pub(crate) fn join(
    tallies: &mut Tallies,
    more: impl IntoIterator<Item = (FieldColumnId, FieldTally)>,
) {
    for (id, tally) in more {
        let own = tallies.entry(id).or_default();
        own.count += tally.count;
        own.several |= tally.several;
    }
}

/// How many rows have each (field, type), labels included; values in `_rest` too.
pub(crate) fn tally_fields(rows: &RecordBatch, tallies: &mut Tallies) {
    let mut counter = FieldCounter::new(rows.schema_ref());
    counter.add(rows);
    if !rest_is_empty(rows) {
        let rest = Values::named(rows, REST);
        for row in 0..rows.num_rows() {
            if let Some(text) = rest.text(row) {
                counter.add_rest(rows, row, &rest::values(&text));
            }
        }
    }
    join(tallies, counter.finish());
}

/// Tallies the fields of rows with the columns of one schema.
#[derive(Debug)]
pub(crate) struct FieldCounter {
    columns: Vec<Counted>,
    /// The places among them of the columns of each name.
    named: HashMap<String, Vec<usize>>,
    /// Of values in `_rest`: rows that have one in the type's own column are counted there.
    rest: Tallies,
}

/// A column with its place in the schema.
#[derive(Debug)]
struct Counted {
    at: usize,
    id: FieldColumnId,
    tally: FieldTally,
}

impl FieldCounter {
    pub(crate) fn new(schema: &Schema) -> Self {
        let fields = schema.fields().iter().enumerate();
        let columns: Vec<Counted> = fields
            .filter_map(|(at, field)| {
                let id = FieldColumnId::of(field)?;
                Some(Counted { at, id, tally: FieldTally::default() })
            })
            .collect();
        let mut named: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, column) in columns.iter().enumerate() {
            named.entry(column.id.name.clone()).or_default().push(place);
        }
        Self { columns, named, rest: HashMap::new() }
    }

    /// Counts the rows that have values in columns.
    pub(crate) fn add(&mut self, rows: &RecordBatch) {
        let Self { columns, named, .. } = self;
        for column in columns.iter_mut() {
            let array = rows.column(column.at);
            column.tally.count += (array.len() - array.null_count()) as u64;
        }
        for places in named.values().filter(|places| places.len() > 1) {
            for (at, one) in places.iter().enumerate() {
                for other in places.iter().skip(at + 1) {
                    compare(columns, (*one, *other), rows);
                }
            }
        }
    }

    /// Counts what a row has in `_rest`, as [`rest::values`] gives it.
    pub(crate) fn add_rest(
        &mut self,
        rows: &RecordBatch,
        row: usize,
        values: &[(String, FieldValue)],
    ) {
        // The values of a name stand beside each other.
        for same in values.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((name, _)) = same.first() else { continue };
            let places = self.named.get(name).map(Vec::as_slice).unwrap_or_default();
            let has = |place: &&usize| {
                self.columns.get(**place).is_some_and(|one| rows.column(one.at).is_valid(row))
            };
            let here: Vec<usize> = places.iter().filter(has).copied().collect();
            let several = same.len() + here.len() > 1;
            let mut kinds: Vec<FieldType> = Vec::with_capacity(here.len());
            for place in here {
                if let Some(column) = self.columns.get_mut(place) {
                    column.tally.several |= several;
                    kinds.extend(column.id.kind);
                }
            }
            for kind in FieldType::ALL {
                if same.iter().any(|(_, value)| value.kind() == kind) {
                    let id = FieldColumnId { name: name.clone(), kind: Some(kind) };
                    let tally = self.rest.entry(id).or_default();
                    tally.count += u64::from(!kinds.contains(&kind));
                    tally.several |= several;
                }
            }
        }
    }

    /// The tallies of what some row had.
    pub(crate) fn finish(self) -> Tallies {
        let Self { columns, mut rest, .. } = self;
        let columns = columns.into_iter().map(|column| (column.id, column.tally));
        join(&mut rest, columns.filter(|(_, tally)| tally.count > 0));
        rest
    }
}

/// Marks two columns of which some row has both.
fn compare(columns: &mut [Counted], places: (usize, usize), rows: &RecordBatch) {
    let (Some(one), Some(other)) = (columns.get(places.0), columns.get(places.1)) else { return };
    let are_marked = one.tally.several && other.tally.several;
    if !are_marked && share_a_row(rows.column(one.at), rows.column(other.at)) {
        for place in [places.0, places.1] {
            if let Some(column) = columns.get_mut(place) {
                column.tally.several = true;
            }
        }
    }
}

fn share_a_row(one: &ArrayRef, other: &ArrayRef) -> bool {
    if one.null_count() == one.len() || other.null_count() == other.len() {
        return false;
    }
    match (one.nulls(), other.nulls()) {
        (Some(one), Some(other)) => (one.inner() & other.inner()).has_true(),
        // One has a value in every row.
        _ => true,
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
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.collect()).unwrap()
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
    fn several_are_marked_where_they_are_whatever_the_batches() {
        let given: [Given<'_>; 3] = [
            (Some("x"), None, None, Some(r#"{"a":2.5,"d":[1,"y"]}"#)),
            (Some("x"), None, None, Some(r#"{"b":true}"#)),
            (None, Some(1), Some("z"), None),
        ];
        let (mut whole, mut parts) = (HashMap::new(), HashMap::new());
        tally_fields(&rows(&given), &mut whole);
        given.iter().for_each(|row| tally_fields(&rows(&[*row]), &mut parts));
        assert_eq!(whole, parts);
        let several = |name, kind| whole[&id(name, kind)].several;
        assert!(several("a", FieldType::Text) && several("a", FieldType::Float));
        assert!(several("d", FieldType::Text) && several("d", FieldType::Int));
        assert!(!several("a", FieldType::Int));
        assert!(!several("b", FieldType::Text) && !several("b", FieldType::Bool));
        let of = |(id, tally): (&FieldColumnId, &FieldTally)| {
            FieldTally::of(&tally.stat(id.clone())) == Some((id.clone(), *tally))
        };
        assert!(whole.iter().all(of));
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
