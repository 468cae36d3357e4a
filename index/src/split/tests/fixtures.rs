//! A split as each version of the format wrote it, and as the newest did before and after sections were
//! added to it, kept in the tree: every later version opens it and answers the same.
//! `SAWLOG_WRITE_FIXTURES=1` writes the newest anew: give it another name when a section is added.

use std::path::PathBuf;

use super::*;
use crate::split::bundle::VERSION;
use crate::split::open_folder;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
/// The sample with all sections.
const NEWEST: &str = "v3";
/// The samples, each with its version.
pub(super) const SAMPLES: [(&str, u32); 4] =
    [("v1", 1), ("v2", 2), ("v2-senders", 2), (NEWEST, VERSION)];

/// Sixty records of three formats, with fields of every type, and some that have none; since version
/// 2 with ids, since version 3 with times.
pub(super) fn records(version: u32) -> Vec<Record> {
    let record = |n: i64| {
        let mut fields = vec![("n".to_owned(), FieldValue::Int(n))];
        if n % 2 == 0 {
            fields.push(("share".to_owned(), FieldValue::Float(n as f64 / 8.0)));
            fields.push(("n".to_owned(), FieldValue::Text(format!("text {n}"))));
        }
        if n % 5 == 0 {
            fields.push(("user.name".to_owned(), FieldValue::Text(format!("Ann-{}", n % 3))));
            fields.push(("ok".to_owned(), FieldValue::Bool(n % 2 == 0)));
        }
        if version > 1 {
            fields.push(("trace".to_owned(), FieldValue::Text(trace(n / 3))));
        }
        if version > 2 {
            fields.push(("at".to_owned(), FieldValue::Text(at(n))));
        }
        let message = match n % 4 {
            0 => format!("connection refused by 10.0.0.{n}: retry {}", n * 7),
            1 => format!("GET /item/{n} took {}ms", n * 3),
            2 => format!("错误{n}日志 naïve 😀"),
            _ => format!(
                "{} once upon a time",
                "abcdefghij".repeat(usize::try_from(n % 17).unwrap())
            ),
        };
        Record {
            timestamp: Some(Timestamp(1_767_225_600_000_000_000 + n * 1_500_000)),
            level: Level::from_number(u8::try_from(n % 7).unwrap()),
            message,
            fields,
        }
    };
    (0..60).map(record).collect()
}

fn trace(n: i64) -> String {
    format!("{:032x}", (n.cast_unsigned() + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn at(n: i64) -> String {
    format!("2026-01-01T02:00:{n:02}.250+02:00")
}

fn matches(text: &str) -> Filter {
    Filter::Text(TextMatch::Phrase(text.to_owned()))
}

/// The folder of a sample.
pub(super) fn folder(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name).join("splits/sample")
}

fn write() {
    let (work, folder) = (tempfile::tempdir().unwrap(), folder(NEWEST));
    made(work.path(), &records(VERSION));
    platform::disk::create_dir_all(&folder).unwrap();
    for name in ["body.parquet", "index.bundle"] {
        let bytes = std::fs::read(work.path().join("objects/splits/s").join(name)).unwrap();
        platform::disk::write_atomically(&folder.join(name), &bytes).unwrap();
    }
}

#[test]
fn every_version_opens_and_answers() {
    if std::env::var_os("SAWLOG_WRITE_FIXTURES").is_some() {
        write();
    }
    SAMPLES.into_iter().for_each(opens_and_answers);
}

/// The sections of a split. The files of its word index have names by chance.
fn sections(split: &Split) -> Vec<&str> {
    split.bundle.names("").filter(|name| !name.starts_with("words/")).collect()
}

#[test]
fn the_newest_sample_has_every_section_that_is_written() {
    let work = tempfile::tempdir().unwrap();
    let (_, split, _) = made(work.path(), &records(VERSION));
    assert!(sections(&split).contains(&"senders"));
    let sample = open_folder(&folder(NEWEST)).unwrap();
    assert_eq!(sections(&sample), sections(&split), "a sample with the new ones is to be written");
}

fn opens_and_answers((name, version): (&str, u32)) {
    let records = records(version);
    let split = open_folder(&folder(name)).unwrap();
    split.check().unwrap();
    let (rows, ..) = made(tempfile::tempdir().unwrap().path(), &records);
    let field = |name: &str, test| Filter::Field { name: name.to_owned(), test };
    let phrase = |text: &str| FieldTest::Matches(TextMatch::Phrase(text.to_owned()));
    for (filter, count) in [
        (Filter::All, 60),
        (matches("connection refused"), 15),
        (matches("10.0.0.8"), 1),
        (matches("naïve"), 15),
        (matches("误"), 15),
        (matches("upon a time"), 15),
        (matches("text 6"), 1),
        (field("user.name", phrase("ann-0")), 4),
        (field("share", FieldTest::Exists), 30),
        (field("level", phrase("error")), 8),
        (Filter::Text(TextMatch::Regex("took [0-9]5ms$".to_owned())), 2),
        (field("at", phrase(&at(7))), usize::from(version > 2)),
        (matches(&trace(7)), if version > 1 { 3 } else { 0 }),
    ] {
        let request = request(filter, TimeRange::ALL, None);
        let mut found = ask_split(&split, &request);
        found.sort_unstable();
        assert_eq!(found, ask_rows(&rows, &request), "{:?}", request.filter);
        assert_eq!(found.len(), count, "{:?}", request.filter);
    }
}
