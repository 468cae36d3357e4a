//! What the statistics of pages tell of fields, and which columns a few whole rows need.

use super::*;
use crate::split::resolve::Bounds;
use crate::split::search::Needs;

/// Records of two formats with fields of their own, so many that their columns have three pages.
fn records() -> Vec<Record> {
    let record = |n: i64| {
        let (message, fields) = match n % 2 {
            0 => (format!("request {n} done"), vec![("took", FieldValue::Int(n))]),
            _ => {
                let name = if n < 30_000 { "ann" } else { "Bob" };
                let name = FieldValue::Text(name.to_owned());
                let cost = FieldValue::Float(n as f64 / 4.0);
                (format!("job {n} ended"), vec![("cost", cost), ("name", name)])
            }
        };
        let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Record { timestamp: Some(Timestamp(n)), message, fields, ..Record::default() }
    };
    (0..40_000).map(record).collect()
}

fn number(number: i32) -> Bound {
    Bound::Inclusive(Literal::Number(f64::from(number)))
}

fn whole(number: i128) -> Bound {
    Bound::Inclusive(Literal::Whole(number))
}

fn text(text: &str) -> Bound {
    Bound::Inclusive(Literal::Text(text.to_owned()))
}

#[test]
fn pages_tell_which_rows_may_pass_and_which_surely_do() {
    let folder = tempfile::tempdir().unwrap();
    let (_, split, objects) = made(folder.path(), &records());
    let from = |from| FieldTest::Between { from, to: Bound::Open };
    let to = |to| FieldTest::Between { from: Bound::Open, to };
    // Jobs are the rows before 20,000; pages begin at 16,384 and 32,768.
    let (none, first, last) = (0..0, 0..16_384, 32_768..40_000);
    for (name, test, may, sure) in [
        ("took", FieldTest::Exists, 16_384..40_000, &last),
        ("took", to(number(100)), 16_384..32_768, &none),
        ("took", from(number(30_000)), last.clone(), &none),
        ("took", from(number(25_536)), last.clone(), &last),
        ("took", from(whole(1 << 53)), 0..0, &none),
        ("took", to(whole(1 << 64)), 16_384..40_000, &last),
        ("took", from(text("a")), 0..0, &none),
        ("cost", from(number(0)), 0..32_768, &first),
        ("cost", to(number(-1)), 0..0, &none),
        ("cost", to(whole(1 << 64)), 0..32_768, &first),
        ("name", FieldTest::Exists, 0..32_768, &first),
        ("name", from(text("bo")), 0..32_768, &none),
        ("name", from(text("c")), first.clone(), &none),
        ("name", to(number(7)), 0..0, &none),
        ("nowhere", FieldTest::Exists, 0..0, &none),
    ] {
        let Bounds { sure: surely, may: perhaps } = split.paged(name, &test).unwrap().unwrap();
        let rows = |range: std::ops::Range<u32>| RowSet::from_sorted(std::iter::once(range));
        assert_eq!(perhaps, rows(may), "{name} {test:?}");
        assert_eq!(surely, rows(sure.clone()), "{name} {test:?}");
    }
    // What is decided by pages is counted without the body, of which the footer is known by now.
    objects.delete(&body_name(&SplitId("s".to_owned()))).unwrap();
    let counted = |name: &str, test: FieldTest| {
        let filter = Filter::Field { name: name.to_owned(), test };
        let request = ScanRequest {
            filter,
            range: TimeRange::ALL,
            columns: Vec::new(),
            newest: None,
            counted: false,
        };
        let (mut count, evaluator) = (0, Evaluator::new(&request.filter, request.range));
        let scanned = split.scan(&evaluator, &request, &mut |rows: RecordBatch| {
            count += rows.num_rows();
            std::ops::ControlFlow::Continue(())
        });
        scanned.map(|()| count)
    };
    assert_eq!(counted("took", from(number(25_536))).unwrap(), 7_232);
    assert_eq!(counted("cost", to(number(-1))).unwrap(), 0);
    assert!(counted("took", from(number(30_000))).is_err());
}

/// Records of two services that have no field in common but their name.
fn of_two_services() -> Vec<Record> {
    let record = |n: i64| {
        let service = if n % 2 == 0 { "a" } else { "b" };
        let mut fields = vec![("service".to_owned(), FieldValue::Text(service.to_owned()))];
        fields.extend((0..20).map(|at| (format!("{service}{at}"), FieldValue::Int(n + at))));
        let message = format!("request {n} to {service}");
        Record { timestamp: Some(Timestamp(n)), message, fields, ..Record::default() }
    };
    (0..100).map(record).collect()
}

#[test]
fn a_few_whole_rows_need_the_columns_of_their_service() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, split, _) = made(folder.path(), &of_two_services());
    let body = split.body().unwrap();
    let schema = body.parquet.schema();
    let needs = Needs {
        filter: &Filter::All,
        columns: &[Column::Fields, Column::Message],
        with_times: false,
        by_keys: false,
        in_order: true,
    };
    let named = |asked: RowSet| -> Vec<String> {
        let columns = split.columns_of(schema, &asked, &needs, false).unwrap();
        columns.into_iter().map(|at| schema.field(at).name().clone()).collect()
    };
    let own = |service: &str| {
        let mut names = vec!["message".to_owned(), "service".to_owned()];
        names.extend((0..20).map(|at| format!("{service}{at}")));
        names.sort_unstable();
        names
    };
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names
    };
    assert_eq!(sorted(named(RowSet::from_sorted([3..4, 49..50]))), own("a"));
    assert_eq!(sorted(named(RowSet::from_sorted(std::iter::once(77..78)))), own("b"));
    let both: Vec<String> = [own("a"), own("b")].concat();
    assert_eq!(named(RowSet::all(100)).len(), both.len() - 2);
    // The records are whole.
    let shown = |batches: Vec<RecordBatch>| -> Vec<String> {
        let text = |rows: &RecordBatch, row| {
            let cells = rows.columns().iter().map(|column| array_value_to_string(column, row));
            cells.map(Result::unwrap).collect::<Vec<_>>().join(" ")
        };
        let of = |rows: &RecordBatch| -> Vec<String> {
            (0..rows.num_rows()).map(|row| text(rows, row)).collect()
        };
        batches.iter().flat_map(of).collect()
    };
    for newest in [1, 2, 7] {
        let request = request(Filter::All, TimeRange::ALL, Some(newest));
        let evaluator = Evaluator::new(&request.filter, request.range);
        let fresh = scan_rows(&rows, PLACE, &evaluator, &request).unwrap();
        let mut found = Vec::new();
        let mut emit = |rows: RecordBatch| {
            found.push(rows);
            std::ops::ControlFlow::Continue(())
        };
        split.scan(&evaluator, &request, &mut emit).unwrap();
        assert_eq!(shown(found), shown(vec![fresh]));
    }
}
