//! Any bytes in the place of a section of a split's bundle, or of some of its body, with the checksums
//! that belong to them: what damage cannot do, and a writer that is wrong can. Nothing panics.
#![no_main]

use std::ops::ControlFlow;
use std::path::PathBuf;

use index::evaluate::Evaluator;
use index::scan::{Column, ScanRequest};
use libfuzzer_sys::fuzz_target;
use model::query::{FieldTest, Filter, TextMatch};
use model::record::FieldType;
use model::time::TimeRange;
use serde_json::Value;

const BODY: &[u8] = include_bytes!("../../../index/fixtures/v3/splits/sample/body.parquet");
const BUNDLE: &[u8] = include_bytes!("../../../index/fixtures/v3/splits/sample/index.bundle");
/// Bytes behind the footer: its length, its checksum, the magic.
const TAIL_BYTES: usize = 16;

/// A section: its entry in the footer, and what it holds, unpacked.
type Section = (Value, Vec<u8>);

thread_local! {
    static FOLDER: (tempfile::TempDir, PathBuf) = {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("splits/s");
        std::fs::create_dir_all(&path).expect("a folder of a split");
        (folder, path)
    };
}

/// The footer and the sections of the sample.
fn taken_apart() -> (Value, Vec<Section>) {
    let (front, tail) = BUNDLE.split_at(BUNDLE.len() - TAIL_BYTES);
    let length = u32::from_le_bytes(tail[..4].try_into().expect("four bytes")) as usize;
    let (bytes, footer) = front.split_at(front.len() - length);
    let footer: Value = serde_json::from_slice(footer).expect("a footer");
    let mut at = 0;
    let entries = footer["sections"].as_array().expect("sections").clone();
    let sections = entries.into_iter().map(|entry| {
        let length = entry["bytes"].as_u64().expect("a length") as usize;
        let stored = &bytes[at..at + length];
        at += length;
        let content = match entry["unpacked_bytes"].as_u64() {
            Some(length) => zstd::bulk::decompress(stored, length as usize).expect("unpacked"),
            None => stored.to_vec(),
        };
        (entry, content)
    });
    let sections = sections.collect();
    (footer, sections)
}

/// The bundle of these sections.
fn put_together(mut footer: Value, sections: Vec<Section>) -> Vec<u8> {
    let (mut out, mut entries) = (Vec::new(), Vec::new());
    for (mut entry, content) in sections {
        let stored = match entry.get("unpacked_bytes") {
            Some(_) => {
                entry["unpacked_bytes"] = content.len().into();
                zstd::bulk::compress(&content, 1).expect("packed")
            }
            None => content,
        };
        entry["bytes"] = stored.len().into();
        entry["crc"] = crc32c::crc32c(&stored).into();
        out.extend_from_slice(&stored);
        entries.push(entry);
    }
    footer["sections"] = entries.into();
    let footer = serde_json::to_vec(&footer).expect("a footer");
    out.extend_from_slice(&footer);
    out.extend_from_slice(&(footer.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
    out.extend_from_slice(&BUNDLE[BUNDLE.len() - 8..]);
    out
}

/// Puts bytes over some others, or in the place of all.
fn changed(content: &mut Vec<u8>, how: u8, at: u16, bytes: &[u8]) {
    let at = usize::from(at) % (content.len() + 1);
    match how % 3 {
        0 => content.iter_mut().skip(at).zip(bytes).for_each(|(old, new)| *old = *new),
        1 => *content = bytes.to_vec(),
        _ => {
            content.truncate(at);
            content.extend_from_slice(bytes);
        }
    }
}

fn questions() -> Vec<ScanRequest> {
    let phrase = |text: &str| TextMatch::Phrase(text.to_owned());
    let named = |name: &str| Column::Field { name: name.to_owned(), kind: FieldType::Text };
    let field = |name: &str, test| Filter::Field { name: name.to_owned(), test };
    let ask = |filter, columns, newest, counted| ScanRequest {
        filter,
        range: TimeRange::ALL,
        columns,
        newest,
        counted,
    };
    let minutes = Column::Bin { width: 60_000_000_000, origin: 0 };
    let all = || vec![Column::Timestamp, Column::Offset, Column::Message, Column::Fields];
    vec![
        ask(Filter::All, all(), Some(5), false),
        ask(Filter::Text(phrase("connection refused")), all(), None, false),
        ask(Filter::Text(TextMatch::Regex("took [0-9]5ms$".to_owned())), all(), None, false),
        ask(field("user.name", FieldTest::Matches(phrase("ann-0"))), all(), None, false),
        ask(field("level", FieldTest::Exists), Vec::new(), None, false),
        ask(Filter::All, vec![named("host")], None, true),
        ask(Filter::All, vec![minutes, Column::Level, named("host")], None, true),
        ask(field("host", FieldTest::Exists), vec![Column::Level], None, true),
        ask(Filter::All, vec![Column::Pattern], None, true),
    ]
}

fuzz_target!(|bytes: &[u8]| {
    let [which, how, low, high, bytes @ ..] = bytes else { return };
    let (footer, mut sections) = taken_apart();
    let mut body = BODY.to_vec();
    let at = u16::from_le_bytes([*low, *high]);
    let which = usize::from(*which) % (sections.len() + 1);
    match sections.get_mut(which) {
        Some((_, content)) => changed(content, *how, at, bytes),
        None => changed(&mut body, 0, at, bytes),
    }
    let is_body = which == sections.len();
    let pieces = sections.iter_mut().find(|(entry, _)| is_body && entry["name"] == "pieces");
    if let Some((_, pieces)) = pieces {
        *pieces = body.chunks(64 << 10).flat_map(|one| crc32c::crc32c(one).to_le_bytes()).collect();
    }
    FOLDER.with(|(_, path)| {
        std::fs::write(path.join("body.parquet"), &body).expect("a body");
        std::fs::write(path.join("index.bundle"), put_together(footer, sections))
            .expect("a bundle");
        let Ok(split) = index::split::open_folder(path) else { return };
        for question in questions() {
            let evaluator = Evaluator::new(&question.filter, question.range);
            let _answered = split.scan(&evaluator, &question, &mut |_| ControlFlow::Continue(()));
        }
        let _checked = split.check();
    });
});
