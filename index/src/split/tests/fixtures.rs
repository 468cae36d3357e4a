//! A split as version 1 wrote it, kept in the tree: every later version opens it and answers the
//! same. `SAWLOG_WRITE_FIXTURES=1` writes it anew, which only a new version of the format may do.

use super::*;
use crate::split::open_folder;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/v1/splits/sample");

/// Sixty records of three formats, with fields of every type, and some that have none.
fn records() -> Vec<Record> {
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

fn matches(text: &str) -> Filter {
    Filter::Text(TextMatch::Phrase(text.to_owned()))
}

#[test]
fn version_1_opens_and_answers() {
    let records = records();
    let folder = Path::new(FOLDER);
    if std::env::var_os("SAWLOG_WRITE_FIXTURES").is_some() {
        let work = tempfile::tempdir().unwrap();
        made(work.path(), &records);
        platform::disk::create_dir_all(folder).unwrap();
        for name in ["body.parquet", "index.bundle"] {
            let bytes = std::fs::read(work.path().join("objects/splits/s").join(name)).unwrap();
            platform::disk::write_atomically(&folder.join(name), &bytes).unwrap();
        }
    }
    let split = open_folder(folder).unwrap();
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
    ] {
        let request = request(filter, TimeRange::ALL, None);
        let mut found = ask_split(&split, &request);
        found.sort_unstable();
        assert_eq!(found, ask_rows(&rows, &request), "{:?}", request.filter);
        assert_eq!(found.len(), count, "{:?}", request.filter);
    }
}
