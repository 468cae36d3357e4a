//! Counts by sender, level and minute answer as the rows do, also of minutes that are cut, and without
//! rows where they can.

use super::*;
use crate::split::bundle::Bundle;
use crate::split::statistics::MINUTE;

fn record_at(time: i64, level: u8, service: Option<&str>, message: &str) -> Record {
    let fields = service.map(|name| ("service".to_owned(), FieldValue::Text(name.to_owned())));
    Record {
        timestamp: Some(Timestamp(time)),
        level: Level::from_number(level),
        message: message.to_owned(),
        fields: fields.into_iter().collect(),
    }
}

fn sent() -> impl Strategy<Value = Record> {
    let time = (0_i64..6, prop::sample::select(vec![0, 1, MINUTE / 2, MINUTE - 1]));
    let service = prop::option::of(prop::sample::select(vec!["api", "web", "db"]));
    let message = prop::sample::select(vec!["error x", "took 7 ms", "took 8 ms"]);
    (time, 0_u8..7, service, message).prop_map(|((minute, more), level, service, message)| {
        record_at(minute * MINUTE + more, level, service, message)
    })
}

fn field(name: &str, test: FieldTest) -> Filter {
    Filter::Field { name: name.to_owned(), test }
}

fn is(name: &str, value: &str) -> Filter {
    field(name, FieldTest::Matches(TextMatch::Phrase(value.to_owned())))
}

fn asked() -> impl Strategy<Value = Filter> {
    let from = Bound::Inclusive(Literal::Text("warn".to_owned()));
    let grave = field("level", FieldTest::Between { from, to: Bound::Open });
    let leaf = prop::sample::select(vec![
        Filter::All,
        is("level", "error"),
        grave,
        is("host", "web1"),
        is("service", "api"),
        field("service", FieldTest::Exists),
        field("service", FieldTest::ExistsBelow),
        field("nowhere", FieldTest::Exists),
        field("_stream", FieldTest::Exists),
        is("index", "main"),
        Filter::Text(TextMatch::Phrase("took".to_owned())),
    ]);
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::And),
            prop::collection::vec(inner.clone(), 1..3).prop_map(Filter::Or),
            inner.prop_map(|part| Filter::Not(Box::new(part))),
        ]
    })
}

fn text(name: &str) -> Column {
    Column::Field { name: name.to_owned(), kind: FieldType::Text }
}

fn bin(width: i64, origin: i64) -> Column {
    Column::Bin { width, origin }
}

fn columns() -> Vec<Vec<Column>> {
    vec![
        vec![Column::Level],
        vec![text("service")],
        vec![text("service"), Column::Level],
        vec![text("host"), text("service"), Column::Index],
        vec![bin(2 * MINUTE, 0), text("service")],
        vec![text("host"), bin(3 * MINUTE / 2, 0)],
        vec![bin(2 * MINUTE, MINUTE / 2), Column::Level],
        vec![text("nowhere"), Column::Level],
        vec![text("service"), Column::Pattern],
        vec![Column::Level, Column::Latest],
    ]
}

fn counting(filter: &Filter, range: TimeRange, columns: Vec<Column>) -> ScanRequest {
    ScanRequest { filter: filter.clone(), range, columns, newest: None, counted: true }
}

fn between(from: i64, to: i64) -> TimeRange {
    TimeRange { from: Timestamp(from), to: Timestamp(to) }
}

/// Groups with the times of the latest of their rows, where these are asked: parts are put together.
fn groups(batches: Vec<RecordBatch>, columns: &[Column]) -> Groups {
    let mut groups = Groups::new();
    let is_measured = columns.contains(&Column::Latest);
    for (key, count) in counted(batches) {
        // What is measured differs by part.
        let key = if is_measured { key[..1].to_vec() } else { key };
        *groups.entry(key).or_default() += count;
    }
    groups
}

fn row_count(split: &Split, request: &ScanRequest) -> usize {
    let mut count = 0;
    let evaluator = Evaluator::new(&request.filter, request.range);
    let mut emit = |rows: RecordBatch| {
        count += rows.num_rows();
        std::ops::ControlFlow::Continue(())
    };
    split.scan(&evaluator, request, &mut emit).unwrap();
    count
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn counts_answer_as_the_rows_do(
        records in prop::collection::vec(sent(), 2..120),
        filters in prop::collection::vec(asked(), 6),
        (from, length) in (0_i64..8, 1_i64..12),
        going in asked(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (rows, split, objects) = made(folder.path(), &records);
        let merged = merged(folder.path(), &rows);
        split.check().unwrap();
        merged.check().unwrap();
        let from = from * MINUTE / 2;
        let ranges = [TimeRange::ALL, between(from, from + length * MINUTE / 2)];
        for filter in &filters {
            for range in ranges {
                for columns in columns() {
                    let request = counting(filter, range, columns);
                    let expected = groups(plain_rows(&rows, &request), &request.columns);
                    for split in [&split, &merged] {
                        let found = groups(plain_split(split, &request), &request.columns);
                        prop_assert_eq!(&found, &expected, "{:?}", request);
                    }
                }
                let none = ScanRequest { counted: false, ..counting(filter, range, Vec::new()) };
                let evaluator = Evaluator::new(filter, range);
                let expected = scan_rows(&rows, PLACE, &evaluator, &none).unwrap().num_rows();
                prop_assert_eq!(row_count(&split, &none), expected, "{:?}", none);
            }
        }
        // Without what is deleted.
        let splits = thirds(&folder.path().join("again"), &rows);
        let gone = vec![Some(going.clone()); splits.len()];
        let source = crate::merge::source_of(&splits, &gone).unwrap();
        let built = build(origin("m"), source, &folder.path().join("work"), &objects).unwrap();
        let stays = counting(&Filter::Not(Box::new(going)), TimeRange::ALL, vec![text("service")]);
        let expected = counted(plain_rows(&rows, &stays));
        let Some(meta) = built else {
            prop_assert!(expected.is_empty());
            return Ok(());
        };
        let left = Split::open(meta.into(), &objects, &pages()).unwrap();
        left.check().unwrap();
        let all = counting(&Filter::All, TimeRange::ALL, vec![text("service")]);
        prop_assert_eq!(counted(plain_split(&left, &all)), expected);
    }
}

/// Six hours of one format: a hundred records a minute of two services.
fn hours() -> Vec<Record> {
    let record = |n: i64| {
        let service = if n % 3 == 0 { "api" } else { "web" };
        let level = if n % 10 == 0 { Level::Error } else { Level::Info };
        record_at(n * MINUTE / 100, level.number(), Some(service), &format!("took {n} ms"))
    };
    (0..36_000).map(record).collect()
}

fn without_body(folder: &Path, records: &[Record]) -> (RecordBatch, Split) {
    let (rows, split, objects) = made(folder, records);
    objects.delete(&body_name(&SplitId("s".to_owned()))).unwrap();
    (rows, split)
}

#[test]
fn whole_minutes_are_counted_without_rows() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, split) = without_body(folder.path(), &hours());
    let errors = is("level", "error");
    for (filter, range, columns) in [
        (&errors, TimeRange::ALL, vec![text("service"), bin(10 * MINUTE, 0)]),
        (&Filter::All, TimeRange::ALL, vec![text("service"), Column::Level]),
        (&errors, between(7 * MINUTE, 90 * MINUTE), vec![bin(MINUTE, 0), text("host")]),
        (&is("host", "web2"), between(0, 300 * MINUTE), vec![Column::Level]),
    ] {
        let request = counting(filter, range, columns);
        let found = counted(plain_split(&split, &request));
        assert_eq!(found, counted(plain_rows(&rows, &request)), "{request:?}");
        assert!(!found.is_empty());
    }
    let none = ScanRequest { counted: false, ..counting(&errors, TimeRange::ALL, Vec::new()) };
    assert_eq!(row_count(&split, &none), 3_600);
}

#[test]
fn of_minutes_that_are_cut_the_rows_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, split, objects) = made(folder.path(), &hours());
    let some = between(7 * MINUTE + MINUTE / 2, 200 * MINUTE + 1);
    let errors = is("level", "error");
    let request = counting(&errors, some, vec![text("service"), bin(10 * MINUTE, 0)]);
    let left = split.count_stored(&request, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    let cut =
        [between(7 * MINUTE + MINUTE / 2, 8 * MINUTE), between(200 * MINUTE, 200 * MINUTE + 1)];
    assert_eq!(left, Some(cut.to_vec()));
    assert_eq!(counted(plain_split(&split, &request)), counted(plain_rows(&rows, &request)));
    // Every third minute is cut: all rows are read.
    let bins = counting(&errors, some, vec![bin(3 * MINUTE / 2, 0)]);
    let left = split.count_stored(&bins, &mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!(left, None);
    // Who wants no more is not asked again.
    let left = split.count_stored(&request, &mut |_| std::ops::ControlFlow::Break(())).unwrap();
    assert_eq!(left, Some(Vec::new()));
    objects.delete(&body_name(&SplitId("s".to_owned()))).unwrap();
    let bare = Split::open(split.meta().clone(), &objects, &pages()).unwrap();
    let evaluator = Evaluator::new(&errors, some);
    let mut emit = |_: RecordBatch| std::ops::ControlFlow::Continue(());
    assert!(bare.scan(&evaluator, &request, &mut emit).is_err());
}

#[test]
fn a_field_that_is_somewhere_else_too_is_read_from_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut records: Vec<Record> =
        (0..10).map(|n| record_at(n, 3, Some("api"), "took 1 ms")).collect();
    let fields = &mut records[4].fields;
    fields.push(("service".to_owned(), FieldValue::Text("web".to_owned())));
    records[7].fields = vec![("service".to_owned(), FieldValue::Int(7))];
    let (rows, split, _) = made(folder.path(), &records);
    for filter in [Filter::All, is("service", "web"), is("service", "7")] {
        let request = counting(&filter, TimeRange::ALL, vec![text("service"), Column::Level]);
        assert_eq!(counted(plain_split(&split, &request)), counted(plain_rows(&rows, &request)));
    }
}

#[test]
fn the_section_is_small() {
    let folder = tempfile::tempdir().unwrap();
    let (_, split, objects) = made(folder.path(), &hours());
    let bundle = Bundle::open(&objects, &bundle_name(&split.meta().id)).unwrap();
    let (_, entry) = bundle.section("senders").unwrap();
    // 360 minutes, of each two services at two levels: less than two bytes a cell.
    assert!(entry.bytes < 360 * 4 * 2, "{}", entry.bytes);
}
