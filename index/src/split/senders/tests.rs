//! Counts are those of the rows, come back as they were written, add up, and stay within their bounds.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::datatypes::{Int32Type, Schema};
use proptest::prelude::*;

use super::*;
use crate::schema::schema;
use crate::split::indexed::Indexed;

/// Time, level, label `host`, field `service`.
type Row = (i64, Level, Option<String>, Option<String>);
/// Rows by the first moment of their step, level, host and service.
type Counts = BTreeMap<(i64, Level, Option<String>, Option<String>), u64>;

fn id(name: &str, kind: Option<FieldType>) -> FieldColumnId {
    FieldColumnId { name: name.to_owned(), kind }
}

fn batch(rows: &[Row]) -> RecordBatch {
    let whole = schema(&[id("host", None), id("service", Some(FieldType::Text))]);
    let names = ["timestamp", "level", "host", "service"];
    let fields = names.map(|name| Arc::new(whole.field_with_name(name).unwrap().clone()));
    let times: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let times = TimestampNanosecondArray::from(times).with_timezone("UTC");
    let levels = rows.iter().map(|row| i32::from(row.1.number()));
    let level_names = StringArray::from_iter_values(Level::ALL.iter().map(|level| level.name()));
    let levels = DictionaryArray::<Int32Type>::try_new(
        Int32Array::from_iter_values(levels),
        Arc::new(level_names),
    );
    let hosts: DictionaryArray<Int32Type> = rows.iter().map(|row| row.2.as_deref()).collect();
    let services: StringArray = rows.iter().map(|row| row.3.as_deref()).collect();
    let columns: Vec<ArrayRef> =
        vec![Arc::new(times), Arc::new(levels.unwrap()), Arc::new(hosts), Arc::new(services)];
    RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap()
}

/// The counts of rows that come in pieces.
fn counted(rows: &[Row], piece: usize) -> Option<Senders> {
    let mut counter = SenderCounter::default();
    for rows in rows.chunks(piece) {
        let rows = batch(rows);
        counter.add(&rows, &Indexed::of(&rows));
    }
    counter.finish(u32::try_from(rows.len()).unwrap())
}

/// What counts say, without their numbers.
fn told(senders: &Senders) -> Counts {
    let mut told = Counts::new();
    let place = |name: &str| senders.columns.iter().position(|column| column.id.name == name);
    for (at, step) in senders.steps.iter().enumerate() {
        for cell in senders.cells_of(at) {
            let kind = senders.kinds[cell.kind as usize];
            let text = |name: &str| {
                let at = place(name)?;
                senders.text(at, senders.value_of(kind.sender, at)).map(str::to_owned)
            };
            let key = (step.number * senders.width, kind.level, text("host"), text("service"));
            *told.entry(key).or_default() += u64::from(cell.rows);
        }
    }
    told
}

/// The same, of rows one by one.
fn expected(rows: &[Row], width: i64) -> Counts {
    let mut counts = Counts::new();
    for (time, level, host, service) in rows {
        let key = (time.div_euclid(width) * width, *level, host.clone(), service.clone());
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn row() -> impl Strategy<Value = Row> {
    let name = || prop::option::of(prop::sample::select(vec!["", "a", "b", "c"]));
    let time = (-3_i64..4, prop::sample::select(vec![0, 1, MINUTE - 1]));
    (time, 0_u8..7, name(), name()).prop_map(|((minute, more), level, host, service)| {
        let text = |name: Option<&str>| name.map(str::to_owned);
        (minute * MINUTE + more, Level::from_number(level), text(host), text(service))
    })
}

proptest! {
    #[test]
    fn counts_are_those_of_the_rows_and_add_up(
        rows in prop::collection::vec(row(), 1..80),
        piece in 1_usize..30,
        cut in 1_usize..60,
    ) {
        let Some(senders) = counted(&rows, piece) else {
            prop_assert!(rows.iter().all(|row| row.2.is_none() && row.3.is_none()));
            return Ok(());
        };
        prop_assert_eq!(told(&senders), expected(&rows, MINUTE));
        let (bytes, count) = (senders.encode(), u32::try_from(rows.len()).unwrap());
        prop_assert_eq!(&Senders::decode(&bytes, count).unwrap(), &senders);
        prop_assert!(Senders::decode(&bytes, count + 1).is_err());
        for end in 0..bytes.len() {
            prop_assert!(Senders::decode(&bytes[..end], count).is_err(), "{end}");
        }
        // The counts of parts, where each of them has some.
        let (one, other) = rows.split_at(cut.min(rows.len()));
        let parts = [one, other].map(|rows| counted(rows, piece).map(Arc::new));
        if let [Some(one), Some(other)] = parts {
            let sum = SenderCounter::of_splits(&[one, other]);
            prop_assert!(sum.is_told());
            prop_assert_eq!(told(&sum.finish(count).unwrap()), expected(&rows, MINUTE));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, count: u32) {
        drop(Senders::decode(&bytes, count));
    }
}

fn rows(count: usize, row: impl Fn(i64) -> (i64, String, &'static str)) -> Vec<Row> {
    let row = |n| {
        let (time, host, service) = row(n);
        (time, Level::Info, Some(host), Some(service.to_owned()))
    };
    (0..i64::try_from(count).unwrap()).map(row).collect()
}

#[test]
fn one_sender_takes_a_few_bytes_a_minute() {
    let rows = rows(60_000, |n| (n * MINUTE / 1_000, "web1".to_owned(), "api"));
    let senders = counted(&rows, 1_000).unwrap();
    assert_eq!((senders.steps.len(), senders.cells.len(), senders.senders.len()), (60, 60, 1));
    let bytes = senders.encode().len();
    assert!(bytes < 60 * 5 + 50, "{bytes}");
}

#[test]
fn nothing_is_kept_of_no_rows_and_of_rows_without_senders() {
    assert_eq!(counted(&[], 1), None);
    let row = (0, Level::Info, None, None);
    assert_eq!(counted(&[row.clone(), row], 1), None);
}

#[test]
fn steps_grow_where_few_rows_are_in_each() {
    // A row a minute.
    let given = rows(2_000, |n| (n * MINUTE, "web1".to_owned(), "api"));
    let senders = counted(&given, 500).unwrap();
    assert_eq!((senders.width, senders.is_full), (5 * MINUTE, true));
    assert_eq!(told(&senders), expected(&given, 5 * MINUTE));
    assert_eq!(Senders::decode(&senders.encode(), 2_000).unwrap(), senders);
    // Such counts are not added up: the rows tell more.
    assert!(!SenderCounter::of_splits(&[Arc::new(senders)]).is_told());
    // A row an hour is too few.
    assert_eq!(counted(&rows(2_000, |n| (n * 60 * MINUTE, "a".to_owned(), "api")), 500), None);
}

#[test]
fn columns_with_too_many_values_are_left_out() {
    let check = |given: &[Row]| {
        let senders = counted(given, 700).unwrap();
        assert!(!senders.is_full);
        let hosts_gone: Vec<Row> =
            given.iter().map(|row| (row.0, row.1, None, row.3.clone())).collect();
        assert_eq!(told(&senders), expected(&hosts_gone, MINUTE));
        let count = u32::try_from(given.len()).unwrap();
        assert_eq!(Senders::decode(&senders.encode(), count).unwrap(), senders);
    };
    let service = |n: i64| ["a", "b", "c", "d", "e"][usize::try_from(n % 5).unwrap()];
    // Values of one column, all senders, and the bytes of a value.
    check(&rows(6_000, |n| (n, format!("host-{n}"), service(n))));
    check(&rows(6_000, |n| (n, format!("host-{}", n / 5 % 1_000), service(n))));
    check(&rows(10, |n| (n, "h".repeat(300), service(n))));
}

#[test]
fn cells_are_bounded_while_they_are_gathered() {
    let given = rows(300_000, |n| (n * MINUTE, "web1".to_owned(), "api"));
    let senders = counted(&given, 8_192).unwrap();
    assert_eq!(senders.width, 15 * MINUTE);
    assert_eq!(told(&senders).values().sum::<u64>(), 300_000);
}

#[test]
fn minutes_tell_levels_only() {
    let mut minutes = Minutes::default();
    for (time, level) in [(-1, Level::Error), (MINUTE, Level::Info), (MINUTE + 1, Level::Info)] {
        minutes.add(&[time], &[level]);
    }
    let senders = Senders::of_minutes(&minutes);
    let row = |time, level| -> Row { (time, level, None, None) };
    let rows = [row(-1, Level::Error), row(MINUTE, Level::Info), row(MINUTE, Level::Info)];
    assert_eq!(told(&senders), expected(&rows, MINUTE));
    assert!(senders.agrees(&minutes));
    minutes.add(&[0], &[Level::Info]);
    assert!(!senders.agrees(&minutes));
}
