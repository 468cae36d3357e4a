//! Patterns are the same of the same records: fresh, in a split, in one that was merged, and in one that
//! was written before patterns were kept. What templates tell of them is not read.

use arrow::datatypes::TimestampNanosecondType;

use super::*;
use crate::split::open_folder;

/// Of a pattern and a level: how many, the earliest, the latest, the least message.
type Told = BTreeMap<(String, String), (i64, i64, i64, String)>;

fn asked(filter: Filter, range: TimeRange) -> ScanRequest {
    let columns =
        vec![Column::Latest, Column::Pattern, Column::Level, Column::Example, Column::Earliest];
    ScanRequest { filter, range, columns, newest: None, counted: true }
}

fn scanned(split: &Split, request: &ScanRequest) -> Result<Vec<RecordBatch>, ScanError> {
    let (mut found, evaluator) = (Vec::new(), Evaluator::new(&request.filter, request.range));
    split.scan(&evaluator, request, &mut |rows: RecordBatch| {
        found.push(rows);
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn of_rows(rows: &RecordBatch, request: &ScanRequest) -> Vec<RecordBatch> {
    let evaluator = Evaluator::new(&request.filter, request.range);
    vec![scan_rows(rows, PLACE, &evaluator, request).unwrap()]
}

/// Groups may come in parts.
fn told(batches: &[RecordBatch]) -> Told {
    let mut told = Told::new();
    for rows in batches {
        let text = |at: usize, row| array_value_to_string(rows.column(at), row).unwrap();
        let time =
            |at: usize, row| rows.column(at).as_primitive::<TimestampNanosecondType>().value(row);
        for row in 0..rows.num_rows() {
            let count = rows.column(5).as_primitive::<Int64Type>().value(row);
            let (key, example) = ((text(1, row), text(2, row)), text(3, row));
            let one = told.entry(key).or_insert((0, i64::MAX, i64::MIN, example.clone()));
            let (first, last) = (one.1.min(time(4, row)), one.2.max(time(0, row)));
            *one = (one.0 + count, first, last, example.min(one.3.clone()));
        }
    }
    told
}

/// The same, of records one by one.
fn expected<'a>(records: impl Iterator<Item = &'a Record>) -> Told {
    let mut told = Told::new();
    for record in records {
        let (time, message) = (record.timestamp.unwrap().0, record.message.clone());
        let key = (pattern_of(&message), record.level.name().to_owned());
        let one = told.entry(key).or_insert((0, i64::MAX, i64::MIN, message.clone()));
        *one = (one.0 + 1, one.1.min(time), one.2.max(time), message.min(one.3.clone()));
    }
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn patterns_are_those_of_the_records(
        records in prop::collection::vec(record(), 2..120),
        filters in prop::collection::vec(filter(), 6),
        (from, to) in (0_i64..40, 0_i64..60),
        newest in 1_usize..10,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (rows, split, _) = made(folder.path(), &records);
        let merged = merged(folder.path(), &rows);
        let half = records.len() / 2;
        for filter in filters.into_iter().chain([Filter::All]) {
            for range in [TimeRange::ALL, TimeRange { from: Timestamp(from), to: Timestamp(to) }] {
                let passes = |(at, record): &(usize, &Record)| {
                    let host = if *at < half { "web1" } else { "web2" };
                    range.contains(record.timestamp.unwrap())
                        && oracle::passes(&filter, record, host)
                };
                let passing = records.iter().enumerate().filter(passes).map(|(_, record)| record);
                let (request, expected) = (asked(filter.clone(), range), expected(passing));
                prop_assert_eq!(&told(&of_rows(&rows, &request)), &expected, "{:?}", filter);
                let found = told(&scanned(&split, &request).unwrap());
                prop_assert_eq!(&found, &expected, "{:?}", filter);
                let found = told(&scanned(&merged, &request).unwrap());
                prop_assert_eq!(&found, &expected, "{:?}", filter);
                // Row by row, all of them or the newest.
                for newest in [None, Some(newest)] {
                    let columns = vec![Column::Timestamp, Column::Pattern, Column::Message];
                    let filter = filter.clone();
                    let request = ScanRequest { filter, range, columns, newest, counted: false };
                    for rows in scanned(&split, &request).unwrap() {
                        let [_, patterns, messages] = rows.columns() else { continue };
                        let patterns = patterns.as_string::<i32>().iter().flatten();
                        let messages = messages.as_string::<i32>().iter().flatten();
                        for (pattern, message) in patterns.zip(messages) {
                            prop_assert_eq!(pattern, pattern_of(message));
                        }
                    }
                }
            }
        }
    }
}

/// Records of two formats, and some that are like no other.
fn formatted() -> Vec<Record> {
    let record = |n: usize| {
        let (level, message) = match n % 50 {
            0 => (Level::Warn, format!("something else: {}", "no ".repeat(n / 50))),
            at if at % 5 == 1 => (Level::Error, format!("disk {n} is full on web{}", n % 3)),
            _ => (Level::Info, format!("GET /item/{n} took {}ms", n % 90)),
        };
        Record { timestamp: Some(Timestamp(n as i64)), level, message, ..Record::default() }
    };
    (0..500).map(record).collect()
}

#[test]
fn what_templates_tell_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let records = formatted();
    let (_, split, objects) = made(folder.path(), &records);
    objects.delete(&body_name(&SplitId("s".to_owned()))).unwrap();
    let all = asked(Filter::All, TimeRange::ALL);
    let found = told(&scanned(&split, &all).unwrap());
    assert_eq!(found, expected(records.iter()));
    assert_eq!(found.len(), 2 + 10);
    // A word that stands in a template.
    let full = Filter::Text(TextMatch::Phrase("full".to_owned()));
    let found = told(&scanned(&split, &asked(full, TimeRange::ALL)).unwrap());
    let disks = records.iter().filter(|record| record.message.contains("full"));
    assert_eq!(found, expected(disks));
    // What only some rows of a template pass must be read.
    let some = TimeRange { from: Timestamp(7), to: Timestamp(400) };
    assert!(scanned(&split, &asked(Filter::All, some)).is_err());
    let number = Filter::Text(TextMatch::Phrase("17".to_owned()));
    assert!(scanned(&split, &asked(number, TimeRange::ALL)).is_err());
}

#[test]
fn counts_by_pattern_need_the_rows_of_no_template_that_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let records = formatted();
    let (_, split, objects) = made(folder.path(), &records);
    objects.delete(&body_name(&SplitId("s".to_owned()))).unwrap();
    let named = |name: &str, value: &str| {
        let test = FieldTest::Matches(TextMatch::Phrase(value.to_owned()));
        Filter::Field { name: name.to_owned(), test }
    };
    // Half of a template's rows.
    let filter = Filter::And(vec![named("level", "error"), named("host", "web1")]);
    let columns = vec![Column::Pattern];
    let request =
        ScanRequest { filter, range: TimeRange::ALL, columns, newest: None, counted: true };
    let found = counted(scanned(&split, &request).unwrap());
    let disks = Groups::from([(vec!["disk <*> is full on <*>".to_owned()], 50)]);
    assert_eq!(found, disks);
}

#[test]
fn splits_of_every_version_have_the_same_patterns() {
    for (name, _) in fixtures::SAMPLES {
        let split = open_folder(&fixtures::folder(name)).unwrap();
        let columns = vec![Column::Timestamp, Column::Level, Column::Message];
        let (filter, range) = (Filter::All, TimeRange::ALL);
        let rows = ScanRequest { filter, range, columns, newest: None, counted: false };
        let mut records = Vec::new();
        for rows in scanned(&split, &rows).unwrap() {
            let times = rows.column(0).as_primitive::<TimestampNanosecondType>();
            let text = |at: usize, row| rows.column(at).as_string::<i32>().value(row).to_owned();
            records.extend((0..rows.num_rows()).map(|row| Record {
                timestamp: Some(Timestamp(times.value(row))),
                level: Level::from_word(&text(1, row)).unwrap(),
                message: text(2, row),
                ..Record::default()
            }));
        }
        assert_eq!(records.len(), 60);
        let found = told(&scanned(&split, &asked(Filter::All, TimeRange::ALL)).unwrap());
        assert_eq!(found, expected(records.iter()), "{name}");
    }
}
