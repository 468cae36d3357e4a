//! Columns of fields that have types of their own in the body, and those that cannot.

use arrow::datatypes::{DataType, TimeUnit};
use model::time::Period;
use parquet::basic::{LogicalType, Type as PhysicalType};

use super::*;
use crate::split::bundle::{UNTYPED_VERSION, VERSION};
use crate::split::typed::Forms;

/// A field of a record.
type Named = (&'static str, FieldValue);

fn float(number: f64) -> FieldValue {
    FieldValue::Float(number)
}

fn time(text: &str) -> FieldValue {
    FieldValue::Text(text.to_owned())
}

/// Records of one moment each, with these fields.
fn records(fields: impl IntoIterator<Item = Vec<Named>>) -> Vec<Record> {
    let record = |(n, fields): (i64, Vec<Named>)| Record {
        timestamp: Some(Timestamp(n)),
        message: format!("job {n} done"),
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..Record::default()
    };
    (0..).zip(fields).map(record).collect()
}

/// The type that a column of the body has.
fn stored_type(split: &Split, name: &str) -> DataType {
    let body = split.body().unwrap();
    body.parquet.schema().field_with_name(name).unwrap().data_type().clone()
}

fn decimal(digits: u8, scale: i8) -> DataType {
    DataType::Decimal128(digits, scale)
}

fn moments(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("UTC".into()))
}

/// All rows of a split, by their offsets, as they read.
fn rows_of_split(split: &Split) -> BTreeMap<u64, Vec<(String, String)>> {
    let mut found = BTreeMap::new();
    for read in split.rows(&|_| false).unwrap() {
        let rows = read.unwrap().0;
        found.extend((0..rows.num_rows()).map(|row| (offsets(&rows)[row], shown(&rows, row))));
    }
    found
}

/// The values of a row, floats by their bits.
fn shown(rows: &RecordBatch, row: usize) -> Vec<(String, String)> {
    let names = rows.schema();
    let fields = names.fields().iter().zip(rows.columns());
    let fields = fields.filter(|(field, _)| crate::schema::FieldColumnId::of(field).is_some());
    let shown = |(field, column): (&Arc<arrow::datatypes::Field>, &ArrayRef)| {
        let value = crate::columns::Values::of(column).value(row)?;
        let text = match value {
            FieldValue::Float(number) => format!("{:016x}", number.to_bits()),
            value => value.to_text(),
        };
        let kind = field.data_type();
        Some((field.name().clone(), format!("{text} {kind} {:?}", field.metadata().len())))
    };
    fields.filter_map(shown).collect()
}

/// What comes back of a split is what went in, here and after a merge.
#[track_caller]
fn comes_back(records: &[Record]) -> (Split, Split) {
    let folder = tempfile::tempdir().unwrap();
    let (rows, split, _) = made(folder.path(), records);
    let all: BTreeMap<u64, Vec<(String, String)>> =
        (0..rows.num_rows()).map(|row| (offsets(&rows)[row], shown(&rows, row))).collect();
    assert_eq!(rows_of_split(&split), all);
    let merged = merged(folder.path(), &rows);
    assert_eq!(rows_of_split(&merged), all);
    for split in [&split, &merged] {
        split.check().unwrap();
    }
    (split, merged)
}

/// The stored type of a field of such values, which come back, and that of merged ones.
#[track_caller]
fn types_of(values: impl IntoIterator<Item = FieldValue>) -> (DataType, DataType) {
    let (split, merged) = comes_back(&records(values.into_iter().map(|value| vec![("a", value)])));
    (stored_type(&split, "a"), stored_type(&merged, "a"))
}

#[track_caller]
fn check(values: impl IntoIterator<Item = FieldValue>, expected: DataType) {
    assert_eq!(types_of(values), (expected.clone(), expected));
}

#[test]
fn fractions_of_one_scale_are_decimals() {
    check([1.5, -2.25, 0.0, 1e3, 7.0].map(float), decimal(6, 2));
    check([0.001, -0.999].map(float), decimal(3, 3));
    check([0.1, 0.2, 0.3, 999_999.999_999_999].map(float), decimal(15, 9));
    check([12.0, 100.0].map(float), decimal(3, 0));
    check([0.0, 0.0].map(float), decimal(1, 0));
    check([123_456_789_012_345.0, 0.0].map(float), decimal(15, 0));
    check([1e-9, 0.5].map(float), decimal(9, 9));
}

#[test]
fn fractions_that_would_not_come_back_are_floats() {
    for odd in [
        -0.0,
        f64::NAN,
        f64::INFINITY,
        1e300,
        5e-324,
        1e15,
        0.1 + 0.2,
        1.0 / 3.0,
        1e-10,
        1_234_567.123_456_789,
        0.123_456_789_012_345_67,
    ] {
        check([0.5, odd, 0.25, odd].map(float), DataType::Float64);
    }
    // Each is a decimal, and no scale holds both.
    check([1e14, 1e-9].map(float), DataType::Float64);
}

#[test]
fn times_of_one_shape_are_timestamps() {
    let of = |texts: &[&str]| texts.iter().map(|text| time(text)).collect::<Vec<_>>();
    let milli = moments(TimeUnit::Millisecond);
    check(of(&["2026-11-23T15:24:00Z", "1969-12-31T23:59:59Z"]), milli.clone());
    check(of(&["2026-11-23 15:24:00.123+02:00", "0001-01-01 00:00:00.000+02:00"]), milli);
    check(of(&["2026-11-23T15:24:00.123456Z"; 3]), moments(TimeUnit::Microsecond));
    check(of(&["2026-11-23T15:24:00.123456789-05:30"; 3]), moments(TimeUnit::Nanosecond));
}

#[test]
fn times_that_would_not_come_back_are_texts() {
    for odd in [
        "2026-11-23t15:24:00Z",
        "2026-11-23T15:24:00z",
        "2016-12-31T23:59:60Z",
        "2026-11-23T15:24:00.5Z",
        "2026-11-23T15:24:00.000Z",
        "2026-11-23 15:24:00Z",
        "2026-11-23T15:24:00+00:00",
        "2026-11-23T15:24:00+02:00",
        "2026-02-29T15:24:00Z",
        "yesterday",
        "",
    ] {
        let texts = ["2026-11-23T15:24:00Z", odd, "2026-11-23T15:24:01Z", odd];
        check(texts.map(time), DataType::Utf8);
    }
}

#[test]
fn what_is_merged_has_a_type_that_holds_all_or_none() {
    // Of three splits.
    let merged_type = |values: [FieldValue; 6]| types_of(values).1;
    let numbers = |values: [f64; 6]| merged_type(values.map(float));
    assert_eq!(numbers([0.5, 1.5, 100.0, 20.0, 0.125, 0.25]), decimal(6, 3));
    assert_eq!(numbers([0.5, 1.5, 100.0, 20.0, 1.0 / 3.0, 0.25]), DataType::Float64);
    assert_eq!(numbers([1e14, 1.5, 100.0, 20.0, 1e-9, 0.25]), DataType::Float64);
    let times = |last: &str| {
        let text = |second: usize| time(&format!("2026-11-23T15:24:0{second}Z"));
        merged_type([text(1), text(2), text(3), text(4), time(last), time(last)])
    };
    assert_eq!(times("2026-11-23T15:24:09Z"), moments(TimeUnit::Millisecond));
    assert_eq!(times("2026-11-23T15:24:09.1Z"), DataType::Utf8);
    assert_eq!(times("2026-11-23T15:24:09.100Z"), DataType::Utf8);
}

#[test]
fn types_are_those_of_parquet() {
    let fields = |n: u32| {
        vec![
            ("small", float(f64::from(n) / 100.0)),
            ("large", float(f64::from(n) / 100.0 + 1e9)),
            ("at", time("2026-11-23T15:24:00.123+02:00")),
        ]
    };
    let (split, _) = comes_back(&records((0..9).map(fields)));
    let body = split.body().unwrap();
    let schema = body.parquet.metadata().file_metadata().schema_descr();
    let of = |name: &str| {
        let columns = schema.columns().iter();
        let column = columns.clone().find(|column| column.name() == name).unwrap();
        (column.physical_type(), column.logical_type_ref().cloned())
    };
    assert_eq!(of("small").0, PhysicalType::INT32);
    assert_eq!(of("large").0, PhysicalType::INT64);
    assert!(matches!(of("large").1, Some(LogicalType::Decimal(_))));
    assert_eq!(of("at").0, PhysicalType::INT64);
    let Some(LogicalType::Timestamp(at)) = of("at").1 else { panic!("{:?}", of("at")) };
    assert!(at.is_adjusted_to_u_t_c);
}

/// A split as it is built while there are nodes of earlier versions.
fn untyped(
    folder: &Path,
    id: &str,
    source: Source<impl Iterator<Item = Result<Piece, BuildError>>>,
) -> Split {
    let objects = Objects::local(&folder.join("objects")).unwrap();
    let origin = Origin { may_type: false, ..origin(id) };
    let meta = build(origin, source, &folder.join("work"), &objects).unwrap().unwrap();
    Split::open(meta.into(), &objects, &pages()).unwrap()
}

#[test]
fn earlier_nodes_get_what_they_read() {
    let folder = tempfile::tempdir().unwrap();
    let given = records([0.5, 1.5].map(|number| vec![("a", float(number))]));
    let (_, typed, _) = made(folder.path(), &given);
    assert_eq!((typed.bundle.footer.version, typed.meta().typed), (VERSION, true));
    let fresh = untyped(folder.path(), "fresh", source_of(&parts(&given).each_ref()).unwrap());
    let splits = [typed];
    let source = crate::merge::source_of(&splits, &[]).unwrap();
    let merged = untyped(folder.path(), "merged", source);
    for split in [&fresh, &merged] {
        assert_eq!((split.bundle.footer.version, split.meta().typed), (UNTYPED_VERSION, false));
        assert_eq!(stored_type(split, "a"), DataType::Float64);
        assert_eq!(rows_of_split(split), rows_of_split(&splits[0]));
    }
    // What both have written becomes one.
    let [typed] = splits;
    let splits = [typed, fresh];
    let source = crate::merge::source_of(&splits, &[]).unwrap();
    let (joined, _) = made_of(&folder.path().join("joined"), source);
    assert_eq!(stored_type(&joined, "a"), DataType::Float64);
}

#[test]
fn pages_of_typed_columns_tell_what_may_pass() {
    let folder = tempfile::tempdir().unwrap();
    let record = |n: i64| {
        let at = format!("2026-11-{:02}T{:02}:{:02}:00Z", 1 + n / 1_440, n / 60 % 24, n % 60);
        vec![("cost", float(n as f64 / 4.0 - 10.0)), ("at", time(&at))]
    };
    let (_, split, _) = made(folder.path(), &records((0..40_000).map(record)));
    assert_eq!(stored_type(&split, "cost"), decimal(6, 2));
    assert_eq!(stored_type(&split, "at"), moments(TimeUnit::Millisecond));
    let number = |number: f64| Bound::Inclusive(Literal::Number(number));
    let text = |text: &str| Bound::Inclusive(Literal::Text(text.to_owned()));
    let moment = |text: &str| {
        let period = Period::read(text).unwrap();
        Bound::Inclusive(Literal::Time { period, text: text.to_ascii_lowercase() })
    };
    let from = |from| FieldTest::Between { from, to: Bound::Open };
    let to = |to| FieldTest::Between { from: Bound::Open, to };
    // Pages begin at 16,384 and 32,768.
    let (none, first, last) = (0..0, 0..16_384, 32_768..40_000);
    for (name, test, may, sure) in [
        ("cost", to(number(-10.0)), first.clone(), &none),
        ("cost", to(number(4_085.75)), first.clone(), &first),
        ("cost", to(number(4_085.5)), first.clone(), &none),
        ("cost", to(number(4_086.0)), 0..32_768, &first),
        ("cost", from(number(8_182.0)), last.clone(), &last),
        ("cost", from(number(8_182.1)), last.clone(), &none),
        ("cost", from(number(1e9)), none.clone(), &none),
        ("at", from(text("2026-11-24")), last.clone(), &none),
        ("at", to(text("2026-11-11")), first.clone(), &none),
        ("at", to(text("2026-10")), none.clone(), &none),
        ("at", from(moment("2026-11-23")), 16_384..40_000, &last),
        ("at", from(moment("2026-11-24T01:00:00+01:00")), last.clone(), &none),
        ("at", to(moment("2026-11-12")), 0..32_768, &first),
        ("at", to(number(5.0)), none.clone(), &none),
        ("at", FieldTest::Exists, 0..40_000, &(0..40_000)),
    ] {
        let bounds = split.paged(name, &test).unwrap().unwrap();
        let rows = |range: std::ops::Range<u32>| RowSet::from_sorted(std::iter::once(range));
        assert_eq!(bounds.may, rows(may), "{name} {test:?}");
        assert_eq!(bounds.sure, rows(sure.clone()), "{name} {test:?}");
    }
}

#[test]
fn a_form_that_is_not_known_is_an_error() {
    let id = |kind| crate::schema::FieldColumnId { name: "a".to_owned(), kind: Some(kind) };
    let field = |kind, data_type: DataType| {
        let schema = crate::schema::schema(&[id(kind)]);
        let field = schema.field_with_name("a").unwrap().clone().with_data_type(data_type);
        arrow::datatypes::Schema::new(vec![field])
    };
    let is_known = |schema| Forms::of_stored(&schema).is_ok();
    assert!(is_known(field(FieldType::Float, decimal(15, 9))));
    for (kind, data_type) in [
        (FieldType::Float, decimal(16, 2)),
        (FieldType::Float, decimal(12, 10)),
        (FieldType::Float, decimal(12, -1)),
        (FieldType::Text, decimal(9, 2)),
        (FieldType::Text, moments(TimeUnit::Millisecond)),
    ] {
        assert!(!is_known(field(kind, data_type.clone())), "{data_type}");
    }
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-999_999_i64..1_000_000, 0_i32..5).prop_map(|(n, scale)| n as f64 / 10_f64.powi(scale)),
        1 => any::<f64>(),
        1 => prop::sample::select(vec![-0.0, 1e300, 0.1 + 0.2, 99_999_999_999_999.5]),
    ]
}

fn any_time() -> impl Strategy<Value = String> {
    let of = |zone: &'static str| {
        (0_u32..28, 0_u32..61).prop_map(move |(day, second)| {
            format!("2024-02-{:02}T10:20:{second:02}{zone}", day + 1)
        })
    };
    prop_oneof![6 => of("Z"), 1 => of(".250Z"), 1 => of("+02:00"), 1 => of("z")]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_typed_comes_back(
        rows in prop::collection::vec(
            (prop::option::of(any_float()), prop::option::of(any_time()), any::<bool>()), 2..40),
        are_odd in any::<(bool, bool)>(),
    ) {
        let row = |(number, at, more): &(Option<f64>, Option<String>, bool)| {
            let number = number.filter(|number| are_odd.0 || (number.abs() < 1e7 && *number * 1e4 % 1.0 == 0.0));
            let at = at.as_deref().filter(|at| are_odd.1 || (at.len() == 20 && at.ends_with("Z") && !at.contains(":60")));
            let mut fields: Vec<Named> = Vec::new();
            fields.extend(number.map(|number| ("number", float(number))));
            fields.extend(at.map(|at| ("at", time(at))));
            if *more {
                fields.push(("number", FieldValue::Int(7)));
                fields.push(("more", float(0.5)));
            }
            fields
        };
        comes_back(&records(rows.iter().map(row)));
    }
}
