//! Damage where questions meet it, without a check before: an answer is right, or an error with a name.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::*;
use crate::split::bundle::{Bundle, VERSION};

/// An object of which bits are flipped in place.
struct Object {
    name: String,
    file: File,
    bytes: Vec<u8>,
}

impl Object {
    fn open(folder: &Path, name: String) -> Self {
        let path = folder.join("objects").join(&name);
        let bytes = std::fs::read(&path).unwrap();
        Self { name, file: File::options().write(true).open(path).unwrap(), bytes }
    }

    fn both(folder: &Path) -> [Self; 2] {
        let id = SplitId("s".to_owned());
        [body_name(&id), bundle_name(&id)].map(|name| Self::open(folder, name))
    }

    /// Looks while a bit is another.
    fn flipped(&self, at: usize, bit: usize, look: impl FnOnce()) {
        let put = |byte: u8| self.file.write_all_at(&[byte], at as u64).unwrap();
        put(self.bytes[at] ^ (1 << bit));
        look();
        put(self.bytes[at]);
    }
}

fn answer(split: &Split, question: &ScanRequest) -> Result<Groups, ScanError> {
    let mut found = Vec::new();
    let evaluator = Evaluator::new(&question.filter, question.range);
    split.scan(&evaluator, question, &mut |rows: RecordBatch| {
        found.push(rows);
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(if question.counted { counted(found) } else { grouped(found) })
}

/// Flips bits `step` bytes apart and asks everything each time.
fn check(folder: &Path, (split, objects): (&Split, &Objects), ask: &[ScanRequest], step: usize) {
    let expected: Vec<Groups> = ask.iter().map(|one| answer(split, one).unwrap()).collect();
    assert!(expected.iter().all(|groups| !groups.is_empty()), "{expected:?}");
    let mut errors = 0;
    for object in Object::both(folder) {
        for at in (0..object.bytes.len()).step_by(step) {
            let what = format!("{} byte {at}", object.name);
            let mut is_named = |error: &ScanError| {
                errors += 1;
                assert!(error.to_string().contains("splits/s/"), "{what}: {error}");
            };
            object.flipped(at, at / step % 8, || {
                let opened = match Split::open(split.meta().clone(), objects, &pages()) {
                    Ok(opened) => opened,
                    Err(error) => return is_named(&error),
                };
                for (one, expected) in ask.iter().zip(&expected) {
                    match answer(&opened, one) {
                        Ok(found) => assert_eq!(&found, expected, "{what}: {one:?}"),
                        Err(error) => is_named(&error),
                    }
                }
            });
        }
    }
    assert!(errors > 0);
}

fn field(name: &str, test: FieldTest) -> Filter {
    Filter::Field { name: name.to_owned(), test }
}

fn phrase(text: &str) -> TextMatch {
    TextMatch::Phrase(text.to_owned())
}

fn by(name: &str, filter: Filter) -> ScanRequest {
    let columns = vec![Column::Field { name: name.to_owned(), kind: FieldType::Text }];
    ScanRequest { columns, counted: true, ..request(filter, TimeRange::ALL, None) }
}

#[test]
fn every_kind_of_filter_meets_damage() {
    let folder = tempfile::tempdir().unwrap();
    let records = fixtures::records(VERSION);
    let (_, split, objects) = made(folder.path(), &records);
    let conn =
        TextMatch::Pattern { parts: vec!["conn".to_owned()], open_start: false, open_end: true };
    let network = TextMatch::Network { address: [10, 0, 0, 0].into(), prefix: 24 };
    let between = FieldTest::Between {
        from: Bound::Inclusive(Literal::Number(10.0)),
        to: Bound::Exclusive(Literal::Number(50.0)),
    };
    let from_one =
        FieldTest::Between { from: Bound::Inclusive(Literal::Number(1.0)), to: Bound::Open };
    let filters = [
        Filter::All,
        Filter::Text(phrase("upon a time")),
        Filter::Text(conn),
        Filter::Text(TextMatch::Regex("took [0-9]5ms$".to_owned())),
        Filter::Text(network),
        field("message", FieldTest::Matches(phrase("误"))),
        field("n", between),
        field("share", from_one),
        field("at", FieldTest::Matches(phrase("2026-01-01T02:00:07"))),
        field("user.name", FieldTest::Matches(phrase("ann-0"))),
        field("user", FieldTest::ExistsBelow),
        field("ok", FieldTest::Exists),
        field("level", FieldTest::Matches(phrase("error"))),
        field("host", FieldTest::Matches(phrase("web2"))),
        Filter::Not(Box::new(field("share", FieldTest::Exists))),
    ];
    let some =
        TimeRange { from: records[20].timestamp.unwrap(), to: records[40].timestamp.unwrap() };
    let mut ask: Vec<ScanRequest> =
        filters.into_iter().map(|filter| request(filter, TimeRange::ALL, None)).collect();
    ask.extend([
        request(Filter::All, some, None),
        request(Filter::All, TimeRange::ALL, Some(5)),
        request(Filter::Text(phrase("retry")), TimeRange::ALL, Some(3)),
        by("host", Filter::All),
        by("user.name", Filter::Text(phrase("get"))),
        ScanRequest { columns: Vec::new(), ..request(Filter::All, some, None) },
    ]);
    check(folder.path(), (&split, &objects), &ask, 17);
}

#[test]
fn damage_is_met_in_a_split_of_many_pages() {
    let folder = tempfile::tempdir().unwrap();
    let (_, split, objects) = made(folder.path(), &some_records(30_000));
    let rare = || Filter::Text(phrase("29876"));
    let ask = [
        request(rare(), TimeRange::ALL, None),
        request(Filter::All, TimeRange::ALL, Some(3)),
        by("kind", field("n", FieldTest::Matches(phrase("17")))),
        ScanRequest { columns: Vec::new(), ..request(rare(), TimeRange::ALL, None) },
    ];
    let bytes: usize = Object::both(folder.path()).iter().map(|object| object.bytes.len()).sum();
    check(folder.path(), (&split, &objects), &ask, bytes / 300);
}

/// The sections of a bundle, each with the byte behind it.
pub(super) fn sections(bundle: &Bundle) -> Vec<(&str, usize)> {
    let mut end = 0;
    let sections = bundle.footer.sections.iter().map(|section| {
        end += usize::try_from(section.bytes).unwrap();
        (section.name.as_str(), end)
    });
    sections.collect()
}

#[test]
fn every_bit_of_a_bundle_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (_, _, objects) = made(folder.path(), &some_records(5));
    let [_, object] = Object::both(folder.path());
    let whole = Bundle::open(&objects, &object.name).unwrap();
    let sections = sections(&whole);
    for at in 0..object.bytes.len() {
        let section = sections.iter().find(|(_, end)| at < *end);
        for bit in 0..8 {
            object.flipped(at, bit, || match section {
                Some((name, _)) => assert!(whole.read(name).is_err(), "{name} byte {at} bit {bit}"),
                None => assert!(
                    Bundle::open(&objects, &object.name).is_err(),
                    "footer byte {at} bit {bit}"
                ),
            });
        }
    }
}
