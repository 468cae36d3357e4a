//! Thousands of names of fields, many more than there are columns; messages of nothing and of a megabyte.
//! Columns that are written one after the other.

use super::*;

/// Names of fields: most have no column of their own, some have values of several types.
const NAMES: usize = 2_999;

fn name(at: usize) -> String {
    format!("f{:04}", at % NAMES)
}

/// Records with some of the names each, the first ones in more of them.
fn records() -> Vec<Record> {
    let record = |n: usize| {
        let message = match n % 100 {
            0 => String::new(),
            50 => format!("{}needle {n}", "hay ".repeat(1 << 18)),
            _ => format!("request {n}"),
        };
        let value = |at: usize| match at % 3 {
            0 => FieldValue::Int(n as i64),
            1 => FieldValue::Text(format!("value {n}")),
            _ => FieldValue::Float(n as f64 / 4.0),
        };
        let names = [n % 40, n * 7, n * 31 + 5, n * 131 + 9];
        let fields = names.into_iter().map(|at| (name(at), value(at))).collect();
        Record { timestamp: Some(Timestamp(n as i64)), message, fields, ..Record::default() }
    };
    (0..600).map(record).collect()
}

#[test]
fn names_without_a_column_are_found_as_others_are() {
    let folder = tempfile::tempdir().unwrap();
    let records = records();
    let (rows, split, _) = made(folder.path(), &records);
    assert!(rows.num_columns() > 256);
    let merged = merged(folder.path(), &rows);
    split.check().unwrap();
    merged.check().unwrap();
    let field = |at, test| Filter::Field { name: name(at), test };
    let phrase = |text: &str| TextMatch::Phrase(text.to_owned());
    let mut filters = vec![
        Filter::Text(phrase("needle")),
        Filter::Text(phrase("hay needle 250")),
        Filter::Field { name: "message".to_owned(), test: FieldTest::Exists },
        Filter::Text(phrase("value 77")),
    ];
    for at in (0..NAMES).step_by(113) {
        let to = Bound::Inclusive(Literal::Number(200.0));
        filters.push(field(at, FieldTest::Exists));
        filters.push(field(at, FieldTest::Between { from: Bound::Open, to }));
        filters.push(field(at, FieldTest::Matches(phrase("value"))));
    }
    for filter in filters {
        let passes = |at: &usize| oracle::passes(&filter, &records[*at], "web1");
        let expected: Vec<u64> = (0..records.len()).filter(passes).map(|at| at as u64).collect();
        let all = request(filter.clone(), TimeRange::ALL, None);
        for mut found in [ask_rows(&rows, &all), ask_split(&split, &all), ask_split(&merged, &all)]
        {
            found.sort_unstable();
            assert_eq!(found, expected, "{filter:?}");
        }
    }
}

#[test]
fn what_is_to_stop_does_so_within_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let rows = join(&parts(&some_records(40_000)).each_ref()).unwrap();
    let given = [&rows];
    let source = source_of(&given).unwrap();
    let columns = source.late.columns().len();
    assert!(columns > 1);
    // It is to stop behind the rows, later than it would be asked if that were once a column.
    let source = source.with(|mut pieces| {
        let mut asked = 0;
        std::iter::from_fn(move || {
            pieces.next().or_else(|| {
                asked += 1;
                (asked > 1 + columns).then_some(Err(BuildError::Stopped))
            })
        })
    });
    let objects = Objects::local(&folder.path().join("objects")).unwrap();
    let work = folder.path().join("work");
    let stopped = build(origin("s"), source, &work, &objects);
    assert!(matches!(stopped, Err(BuildError::Stopped)), "{stopped:?}");
    assert!(objects.list().unwrap().is_empty() && !work.exists());
}
