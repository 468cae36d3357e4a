//! Splits and fresh rows answer as a plain scan does, and damage is never believed.
#![expect(
    clippy::cast_possible_truncation,
    reason = "numbers without a fraction are compared whole"
)]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use model::batch::{BatchBuilder, Sequence};
use model::codec;
use model::level::Level;
use model::partition::{Entry, Offset, PartitionId};
use model::query::{Bound, FieldTest, Filter, Literal, TextMatch};
use model::record::{FieldType, FieldValue, Record};
use model::stream::{IndexName, Labels};
use model::time::{TimeRange, Timestamp};
use platform::objects::{Fetch, Objects};
use proptest::prelude::*;

mod random;
mod oracle;
mod fixtures;
mod patterns;
mod narrowed;
mod found;
mod packed;
mod wide;
mod typed;
mod many;
mod texts;
mod deleted;
mod senders;
mod sums;
mod damage;

use self::random::{filter, record};
use super::*;
use crate::evaluate::{Evaluator, Place};
use crate::fresh::join;
use crate::metrics::IndexMetrics;
use crate::publish::source_of;
use crate::scan::{Column, ScanError, ScanRequest, scan_rows};
use crate::schema::rows_of;

fn entry(records: &[Record], first: u64, host: &str) -> Entry {
    let labels = Labels::new(vec![("host".to_owned(), host.to_owned())]).unwrap();
    let mut builder = BatchBuilder::new(IndexName::default(), labels);
    records.iter().for_each(|record| builder.push(record.clone(), Timestamp(0)));
    let batch = codec::encode(&builder.finish(), Sequence::NONE).unwrap();
    Entry {
        first: Offset(first),
        record_count: u32::try_from(records.len()).unwrap(),
        ingest_time: Timestamp(1_000),
        batch,
    }
}

const PLACE: Place<'_> = Place { partition: PartitionId(0), index: "main" };

/// Fresh rows of two streams, as they come in two batches.
fn parts(records: &[Record]) -> [RecordBatch; 2] {
    let (left, right) = records.split_at(records.len() / 2);
    let of = |records: &[Record], first, host: &str| {
        let entry = entry(records, first, host);
        rows_of(&entry, &codec::decode(&entry.batch).unwrap().1).unwrap()
    };
    [of(left, 0, "web1"), of(right, left.len() as u64, "web2")]
}

/// Fresh rows and a split of the same records: of two streams, in two batches.
fn made(folder: &Path, records: &[Record]) -> (RecordBatch, Split, Objects) {
    let parts = parts(records);
    let rows = join(&parts.each_ref()).unwrap();
    let (split, objects) = made_of(folder, source_of(&parts.each_ref()).unwrap());
    (rows, split, objects)
}

fn made_of(
    folder: &Path,
    source: Source<impl Iterator<Item = Result<Piece, BuildError>>>,
) -> (Split, Objects) {
    made_as(Packing::Quick, folder, source)
}

fn made_as(
    packing: Packing,
    folder: &Path,
    source: Source<impl Iterator<Item = Result<Piece, BuildError>>>,
) -> (Split, Objects) {
    let objects = Objects::local(&folder.join("objects")).unwrap();
    let origin = Origin { packing, ..origin("s") };
    let meta = build(origin, source, &folder.join("work"), &objects);
    // One that is packed small keeps nothing from one question to the next.
    let pages = if packing == Packing::Small { PageCache::none() } else { pages() };
    let split = Split::open(meta.unwrap().unwrap().into(), &objects, &pages).unwrap();
    (split, objects)
}

fn origin(id: &str) -> Origin {
    Origin {
        id: SplitId(id.to_owned()),
        index: "main".to_owned(),
        partition: PartitionId(0),
        merges: 0,
        deletions: 0,
        packing: Packing::Quick,
        may_type: true,
    }
}

/// Room for some pages, so that some are found and others are not.
fn pages() -> PageCache {
    PageCache::new(32 << 10, IndexMetrics::default())
}

fn request(filter: Filter, range: TimeRange, newest: Option<usize>) -> ScanRequest {
    let columns =
        vec![Column::Timestamp, Column::Offset, Column::Message, Column::Fields, Column::Labels];
    ScanRequest { filter, range, columns, newest, counted: false }
}

fn offsets(rows: &RecordBatch) -> Vec<u64> {
    crate::columns::numbers(rows, "offset").unwrap().values().to_vec()
}

fn ask_split(split: &Split, request: &ScanRequest) -> Vec<u64> {
    let mut found = Vec::new();
    let evaluator = Evaluator::new(&request.filter, request.range);
    let mut emit = |rows: RecordBatch| {
        found.extend(offsets(&rows));
        std::ops::ControlFlow::Continue(())
    };
    split.scan(&evaluator, request, &mut emit).unwrap();
    found
}

/// The columns by which rows are counted.
const COUNTED: [fn() -> Column; 4] = [
    || Column::Bin { width: 7, origin: 3 },
    || Column::Level,
    || Column::Field { name: "host".to_owned(), kind: FieldType::Text },
    || Column::Field { name: "a".to_owned(), kind: FieldType::Text },
];

fn counted_of(request: &ScanRequest) -> ScanRequest {
    ScanRequest {
        columns: COUNTED.map(|column| column()).to_vec(),
        counted: true,
        ..request.clone()
    }
}

/// What a split gives for some columns.
fn plain_split(split: &Split, request: &ScanRequest) -> Vec<RecordBatch> {
    let columns = COUNTED.map(|column| column()).to_vec();
    let columns = if request.counted { request.columns.clone() } else { columns };
    let request = ScanRequest { columns, ..request.clone() };
    let mut found = Vec::new();
    let evaluator = Evaluator::new(&request.filter, request.range);
    let mut emit = |rows: RecordBatch| {
        found.push(rows);
        std::ops::ControlFlow::Continue(())
    };
    split.scan(&evaluator, &request, &mut emit).unwrap();
    found
}

fn plain_rows(rows: &RecordBatch, request: &ScanRequest) -> Vec<RecordBatch> {
    let columns = COUNTED.map(|column| column()).to_vec();
    let columns = if request.counted { request.columns.clone() } else { columns };
    let request = ScanRequest { columns, ..request.clone() };
    let evaluator = Evaluator::new(&request.filter, request.range);
    vec![scan_rows(rows, PLACE, &evaluator, &request).unwrap()]
}

type Groups = BTreeMap<Vec<String>, u64>;

/// Rows by their values, each counted here.
fn grouped(batches: Vec<RecordBatch>) -> Groups {
    let mut groups = Groups::new();
    for rows in batches {
        for row in 0..rows.num_rows() {
            let value = |column: &ArrayRef| array_value_to_string(column, row).unwrap();
            *groups.entry(rows.columns().iter().map(value).collect()).or_default() += 1;
        }
    }
    groups
}

/// Groups as a scan counted them.
fn counted(batches: Vec<RecordBatch>) -> Groups {
    let mut groups = Groups::new();
    for rows in batches {
        let (counts, columns) = rows.columns().split_last().unwrap();
        let counts = counts.as_primitive::<Int64Type>();
        for row in 0..rows.num_rows() {
            let value = |column: &ArrayRef| array_value_to_string(column, row).unwrap();
            let key = columns.iter().map(value).collect();
            *groups.entry(key).or_default() += counts.value(row).unsigned_abs();
        }
    }
    groups
}

fn ask_rows(rows: &RecordBatch, request: &ScanRequest) -> Vec<u64> {
    let evaluator = Evaluator::new(&request.filter, request.range);
    offsets(&scan_rows(rows, PLACE, &evaluator, request).unwrap())
}

/// Three splits of these rows.
fn thirds(folder: &Path, rows: &RecordBatch) -> Vec<Split> {
    let third = rows.num_rows().div_ceil(3).max(1);
    let starts = (0..rows.num_rows()).step_by(third);
    let split = |at: usize| {
        let some = rows.slice(at, third.min(rows.num_rows() - at));
        made_of(&folder.join(at.to_string()), source_of(&[&some]).unwrap()).0
    };
    starts.map(split).collect()
}

/// A cold split merged from three of these rows.
fn merged(folder: &Path, rows: &RecordBatch) -> Split {
    let splits = thirds(folder, rows);
    let source = crate::merge::source_of(&splits, &[]).unwrap();
    made_as(Packing::Small, &folder.join("merged"), source).0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn split_fresh_and_scan_agree(
        records in prop::collection::vec(record(), 2..120),
        filters in prop::collection::vec(filter(), 12),
        (from, to) in (0_i64..40, 0_i64..60),
        newest in 1_usize..10,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (rows, split, _) = made(folder.path(), &records);
        let merged = merged(folder.path(), &rows);
        split.check().unwrap();
        merged.check().unwrap();
        let half = records.len() / 2;
        for filter in filters {
            for range in [TimeRange::ALL, TimeRange { from: Timestamp(from), to: Timestamp(to) }] {
                let host = |at: usize| if at < half { "web1" } else { "web2" };
                let passes = |at: &usize| {
                    range.contains(records[*at].timestamp.unwrap())
                        && oracle::passes(&filter, &records[*at], host(*at))
                };
                let mut expected: Vec<usize> = (0..records.len()).filter(passes).collect();
                let all = request(filter.clone(), range, None);
                let answers =
                    [ask_rows(&rows, &all), ask_split(&split, &all), ask_split(&merged, &all)];
                for mut found in answers {
                    found.sort_unstable();
                    let expected: Vec<u64> = expected.iter().map(|at| *at as u64).collect();
                    prop_assert_eq!(found, expected, "{:?}", filter);
                }
                let plain = grouped(plain_split(&split, &all));
                // Also of batches as they came.
                let apart = parts(&records).iter().flat_map(|rows| plain_rows(rows, &all)).collect();
                prop_assert_eq!(&grouped(apart), &plain, "{:?}", filter);
                prop_assert_eq!(&grouped(plain_rows(&rows, &all)), &plain, "{:?}", filter);
                for split in [&split, &merged] {
                    let found = counted(plain_split(split, &counted_of(&all)));
                    prop_assert_eq!(&found, &plain, "{:?}", filter);
                }
                let columns = vec![COUNTED[newest % COUNTED.len()]()];
                let one = ScanRequest { columns, counted: true, ..all.clone() };
                let found = counted(plain_split(&split, &one));
                prop_assert_eq!(&found, &counted(plain_rows(&rows, &one)), "{:?}", filter);
                prop_assert_eq!(found.values().sum::<u64>(), expected.len() as u64);
                expected.sort_by_key(|at| std::cmp::Reverse((records[*at].timestamp, *at)));
                expected.truncate(newest);
                let some = request(filter.clone(), range, Some(newest));
                let answers =
                    [ask_rows(&rows, &some), ask_split(&split, &some), ask_split(&merged, &some)];
                for found in answers {
                    let expected: Vec<u64> = expected.iter().map(|at| *at as u64).collect();
                    prop_assert_eq!(found, expected, "{:?}", filter);
                }
            }
        }
    }
}

#[test]
fn the_first_of_values_of_two_types_is_the_same_in_a_batch_and_in_a_split() {
    let text = |text: &str| ("a".to_owned(), FieldValue::Text(text.to_owned()));
    let number = |number| ("a".to_owned(), FieldValue::Int(number));
    let record = |fields| Record { timestamp: Some(Timestamp(1)), fields, ..Record::default() };
    let records = [record(vec![text("x"), number(5)]), record(vec![number(7)])];
    let entry = entry(&records, 0, "web1");
    let rows = rows_of(&entry, &codec::decode(&entry.batch).unwrap().1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (split, _) = made_of(folder.path(), source_of(&[&rows]).unwrap());
    let columns = vec![Column::Field { name: "a".to_owned(), kind: FieldType::Text }];
    let all = request(Filter::All, TimeRange::ALL, None);
    let counts = ScanRequest { columns, counted: true, ..all };
    let fresh = counted(plain_rows(&rows, &counts));
    assert_eq!(fresh, Groups::from([(vec!["7".to_owned()], 1), (vec!["x".to_owned()], 1)]));
    assert_eq!(counted(plain_split(&split, &counts)), fresh);
}

fn some_records(count: usize) -> Vec<Record> {
    let record = |n: usize| Record {
        timestamp: Some(Timestamp(n as i64)),
        level: Level::Info,
        message: format!("request {n} served by worker{}", n % 7),
        fields: vec![
            ("n".to_owned(), FieldValue::Int(n as i64)),
            ("kind".to_owned(), FieldValue::Text("k".to_owned())),
        ],
    };
    (0..count).map(record).collect()
}

#[test]
fn blocks_and_pages_are_crossed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, split, _) = made(folder.path(), &some_records(30_000));
    let word = |text: &str| Filter::Text(TextMatch::Phrase(text.to_owned()));
    assert_eq!(ask_split(&split, &request(word("29876"), TimeRange::ALL, None)), [29_876]);
    assert_eq!(ask_split(&split, &request(word("worker3"), TimeRange::ALL, None)).len(), 4286);
    let newest = ask_split(&split, &request(Filter::All, TimeRange::ALL, Some(3)));
    assert_eq!(newest, [29_999, 29_998, 29_997]);
    let fields = split.fields().unwrap();
    let stat = fields.iter().find(|field| field.name == "n").unwrap();
    assert_eq!((stat.kind, stat.count), (FieldType::Int, 30_000));
}

#[test]
fn a_split_knows_what_its_objects_are() {
    let folder = tempfile::tempdir().unwrap();
    let (_, split, objects) = made(folder.path(), &some_records(30_000));
    let meta = split.meta();
    let sums = meta.sums.unwrap();
    for (name, sum) in [(body_name(&meta.id), sums.body), (bundle_name(&meta.id), sums.bundle)] {
        let found = objects.announce(&name).unwrap();
        assert_eq!((found.bytes, found.crc32c), (sum.bytes, sum.crc32c), "{name}");
    }
    assert_eq!(meta.stored_bytes, sums.body.bytes + sums.bundle.bytes);
}

#[test]
fn damage_is_named_and_never_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (_, split, objects) = made(folder.path(), &some_records(50));
    let id = SplitId("s".to_owned());
    let meta = split.meta().clone();
    let all = request(Filter::All, TimeRange::ALL, None);
    let sections = damage::sections(&split.bundle);
    // What an error says of where the damage is.
    let part_of = |name: &str, at: usize| match sections.iter().find(|(_, end)| at < *end) {
        _ if name == body_name(&id) => "is damaged within 65536 bytes from 0".to_owned(),
        Some((section, _)) => format!("its section {section} "),
        None => String::new(),
    };
    for name in [body_name(&id), bundle_name(&id)] {
        let size = objects.size(&name).unwrap();
        let whole = objects.get_range(&name, 0, size).unwrap();
        let put = |bytes: &[u8]| {
            let file = folder.path().join("damaged");
            platform::disk::write_atomically(&file, bytes).unwrap();
            objects.put_file(&name, &file).unwrap();
        };
        let outcome = || -> Result<usize, ScanError> {
            let split = Split::open(meta.clone(), &objects, &pages())?;
            split.check()?;
            let mut count = 0;
            let mut emit = |rows: RecordBatch| {
                count += rows.num_rows();
                std::ops::ControlFlow::Continue(())
            };
            split.scan(&Evaluator::new(&Filter::All, TimeRange::ALL), &all, &mut emit)?;
            Ok(count)
        };
        for at in 0..whole.len() {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 1 << (at % 8);
            put(&flipped);
            let error = outcome().expect_err(&format!("{name} byte {at}"));
            let error = error.to_string();
            let part = part_of(&name, at);
            assert!(error.contains(&name) && error.contains(&part), "{at} in {part}: {error}");
        }
        for length in (0..whole.len()).step_by(37) {
            put(&whole[..length]);
            assert!(outcome().is_err(), "{name} cut to {length}");
        }
        put(&whole);
        assert_eq!(outcome().unwrap(), 50);
    }
}

/// Other nodes, of which none answers.
struct Silent;

impl Fetch for Silent {
    fn get_range(&self, _: &str, _: u64, _: u64) -> io::Result<Bytes> {
        Err(io::ErrorKind::TimedOut.into())
    }

    fn size(&self, _: &str) -> io::Result<u64> {
        Err(io::ErrorKind::TimedOut.into())
    }
}

#[test]
fn what_nobody_answers_for_is_not_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let (_, split, objects) = made(folder.path(), &some_records(50));
    let meta = split.meta().clone();
    objects.delete(&body_name(&meta.id)).unwrap();
    let gone = Split::open(meta.clone(), &objects, &pages()).unwrap().check().unwrap_err();
    assert!(matches!(gone, ScanError::Corrupt { .. }), "{gone}");
    let silent = objects.clone().with_fallback(Arc::new(Silent));
    let away = Split::open(meta.clone(), &silent, &pages()).unwrap().check().unwrap_err();
    assert!(matches!(away, ScanError::Away { .. }), "{away}");
    objects.delete(&bundle_name(&meta.id)).unwrap();
    let away = Split::open(meta, &silent, &pages()).unwrap_err();
    assert!(matches!(away, ScanError::Away { .. }), "{away}");
}

#[test]
fn a_build_that_fails_leaves_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let (objects, work) = (folder.path().join("objects"), folder.path().join("work"));
    let objects = Objects::local(&objects).unwrap();
    let rows = RecordBatch::new_empty(crate::schema::schema(&[]));
    let Source { schema, unit, forms, templates, ingest, arrivals, sketches, sums, late, .. } =
        source_of(&[&rows]).unwrap();
    let seen = work.clone();
    let pieces = std::iter::once_with(move || {
        assert!(seen.join("body.parquet").exists());
        Err(BuildError::Broken("a row is not there".to_owned()))
    });
    let source =
        Source { schema, unit, forms, templates, ingest, arrivals, sketches, sums, late, pieces };
    assert!(build(origin("e"), source, &work, &objects).is_err());
    assert!(!work.exists());
}

#[test]
fn a_long_token_is_found_by_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let long = "z".repeat(500);
    let records: Vec<Record> = [format!("{long}1 x"), format!("{long}2 x")]
        .map(|message| Record { timestamp: Some(Timestamp(1)), message, ..Record::default() })
        .into();
    let (_, split, _) = made(folder.path(), &records);
    let word = Filter::Text(TextMatch::Phrase(format!("{long}2")));
    assert_eq!(ask_split(&split, &request(word, TimeRange::ALL, None)), [1]);
    let pattern =
        TextMatch::Pattern { parts: vec!["zz2".to_owned()], open_start: true, open_end: false };
    assert_eq!(ask_split(&split, &request(Filter::Text(pattern), TimeRange::ALL, None)), [1]);
}

#[test]
fn an_empty_build_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::local(&folder.path().join("objects")).unwrap();
    let rows = RecordBatch::new_empty(crate::schema::schema(&[]));
    let built =
        build(origin("e"), source_of(&[&rows]).unwrap(), &folder.path().join("work"), &objects);
    assert!(built.unwrap().is_none());
    assert!(objects.list().unwrap().is_empty());
}
