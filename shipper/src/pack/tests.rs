//! What goes into a batch, for lines of every kind.

use std::sync::Arc;

use model::codec;
use model::record::FieldValue;

use super::*;
use crate::frame::container::Container;
use crate::frame::multiline::{Multiline, Rule};
use crate::recipe::Recipe;
use crate::shape::{Action, Condition, EDGE_BYTES, Redaction, Rules, Test};

/// Bytes in memory.
struct Memory(Vec<u8>);

impl Source for Memory {
    fn window(&mut self, at: u64, bytes_max: usize) -> io::Result<&[u8]> {
        let at = usize::try_from(at).unwrap().min(self.0.len());
        let end = self.0.len().min(at + bytes_max);
        Ok(&self.0[at..end])
    }
}

fn pack(bytes: &[u8], place: Place, last_line: LastLine, width: Width) -> Found {
    let origin = Origin { index: IndexName::default(), labels: Labels::default(), producer: 7 };
    let now = Timestamp(0);
    let parser = Parser::new(Arc::default(), now, None);
    let mut workbench = Workbench::default();
    let mut packer = Packer {
        origin: &origin,
        workbench: &mut workbench,
        parser,
        now,
        framing: &Framing::default(),
        last_line,
        last_record: last_line,
        width,
        damaged: Damaged::default(),
    };
    packer.pack(&mut Memory(bytes.to_vec()), place).unwrap()
}

/// All messages up to the end, and the bytes of the line begun there.
fn all(bytes: &[u8], last_line: LastLine) -> (Vec<String>, u64) {
    let (mut messages, mut place) = (Vec::new(), Place::default());
    loop {
        match pack(bytes, place, last_line, Width::default()) {
            Found::Batch(packed) => {
                assert_eq!(packed.from, place.acknowledged);
                assert!(packed.to > packed.from);
                let (head, batch) = codec::decode(&packed.bytes).unwrap();
                assert_eq!((head.sequence.from, head.sequence.to), (packed.from, packed.to));
                assert_eq!(head.sequence.producer, 7);
                assert_eq!(batch.record_count(), packed.record_count);
                messages.extend(batch.messages.iter().map(str::to_owned));
                place = Place::at(packed.to);
            }
            Found::More { place: further } => place = further,
            Found::End { rest, .. } => return (messages, rest),
        }
    }
}

#[track_caller]
fn check(bytes: &[u8], last_line: LastLine, expected: &[&str], rest: u64) {
    let (messages, left) = all(bytes, last_line);
    assert_eq!(messages, expected);
    assert_eq!(left, rest);
}

#[test]
fn whole_lines_are_taken_and_the_last_one_waits() {
    check(b"one\n\r\n\ntwo\r\nthr", LastLine::Waits, &["one", "two"], 3);
    check(b"one\nthr", LastLine::Counts, &["one", "thr"], 0);
    check(b"\n\n\n", LastLine::Waits, &[], 0);
    check(b"", LastLine::Counts, &[], 0);
    check(b"\xef\xbb\xbfone\n", LastLine::Waits, &["one"], 0);
    check(b"\xef\xbb\xbf", LastLine::Counts, &[], 0);
}

#[test]
fn a_hole_left_by_truncation_is_passed() {
    let bytes = [&vec![0; 3 << 20], &b"after\n"[..]].concat();
    check(&bytes, LastLine::Waits, &["after"], 0);
}

#[test]
fn many_lines_are_many_batches_without_gaps() {
    let lines: Vec<String> = (0..150_000).map(|n| format!("line {n}")).collect();
    let bytes = lines.join("\n") + "\n";
    let (messages, rest) = all(bytes.as_bytes(), LastLine::Waits);
    assert_eq!(rest, 0);
    assert!(messages == lines);
}

#[test]
fn long_lines_are_whole_up_to_the_bound_and_cut_beyond() {
    for length in [BATCH_BYTES_TARGET + 1, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MAX + 1, 90 << 20] {
        let mut bytes = b"before\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', length));
        let (messages, rest) = all(&bytes, LastLine::Waits);
        assert_eq!(messages, ["before"], "{length}");
        assert_eq!(rest, length as u64);
        bytes.extend_from_slice(b"\nafter\n");
        let (messages, rest) = all(&bytes, LastLine::Waits);
        assert_eq!(messages.len(), 3, "{length}");
        assert_eq!(messages[1].len(), length.min(MESSAGE_BYTES_MAX));
        assert_eq!((messages[0].as_str(), messages[2].as_str(), rest), ("before", "after", 0));
    }
}

#[test]
fn a_cut_line_is_marked_with_its_length() {
    let bytes = [vec![b'x'; MESSAGE_BYTES_MAX + 100], b"\n".to_vec()].concat();
    let Found::Batch(packed) = pack(&bytes, Place::default(), LastLine::Waits, Width::default())
    else {
        panic!("no batch");
    };
    let record = codec::decode(&packed.bytes).unwrap().1.record(0).unwrap();
    let length = i64::try_from(MESSAGE_BYTES_MAX + 100).unwrap();
    assert!(record.fields.contains(&("_bytes".to_owned(), FieldValue::Int(length))));
    assert!(record.fields.contains(&("_kept".to_owned(), FieldValue::Text("cut".to_owned()))));
}

#[test]
fn a_refused_batch_is_narrowed_to_the_poison_record() {
    let mut width = Width::default();
    let mut count = 5;
    let mut counts = Vec::new();
    while let Some(narrower) = width.narrower(count, "why") {
        let bytes = b"{\"a\":1}\n2\n3\n4\n5\n";
        let Found::Batch(packed) = pack(bytes, Place::default(), LastLine::Waits, narrower.clone())
        else {
            panic!("no batch");
        };
        counts.push(packed.record_count);
        (width, count) = (narrower, packed.record_count);
        if width.poison.is_some() {
            let record = codec::decode(&packed.bytes).unwrap().1.record(0).unwrap();
            assert_eq!(record.message, "{\"a\":1}");
            let reason = ("_poison".to_owned(), FieldValue::Text("why".to_owned()));
            assert_eq!(record.fields, [reason]);
        }
    }
    assert_eq!(counts, [2, 1, 1]);
}

/// The messages of a recipe's files, when nothing more comes, whatever the window begins with; how many
/// records rules left out.
#[track_caller]
fn check_framed(framing: Framing, recipe: Recipe, bytes: &[u8], expected: &[&str]) -> u64 {
    let origin = Origin { index: IndexName::default(), labels: Labels::default(), producer: 7 };
    let (now, recipe, mut workbench) = (Timestamp(0), Arc::new(recipe), Workbench::default());
    let script = recipe.script(bytes);
    let framing = Framing { delimiter: script.delimiter, ..framing };
    let (mut messages, mut place, mut filtered) = (Vec::new(), Place::default(), 0);
    loop {
        let mut packer = Packer {
            origin: &origin,
            workbench: &mut workbench,
            parser: Parser::new(recipe.clone(), now, script.encoding),
            now,
            framing: &framing,
            last_line: LastLine::Counts,
            last_record: LastLine::Counts,
            width: Width { records_max: 2, poison: None },
            damaged: Damaged::default(),
        };
        let found = packer.pack(&mut Memory(bytes.to_vec()), place).unwrap();
        filtered += packer.damaged.filtered;
        match found {
            Found::Batch(packed) => {
                let batch = codec::decode(&packed.bytes).unwrap().1;
                messages.extend(batch.messages.iter().map(str::to_owned));
                place = Place::at(packed.to);
            }
            Found::More { place: further } => place = further,
            Found::End { .. } => break,
        }
    }
    assert_eq!(messages, expected);
    filtered
}

#[test]
fn traces_and_container_parts_are_one_record_in_batches_of_any_width() {
    let traces = || Framing {
        multiline: Some(Multiline { rule: Rule::Traces, timeout: std::time::Duration::ZERO }),
        ..Framing::default()
    };
    let text = b"a\nb\n\tat x\n\tat y\nc\nd\n\tat z";
    let expected = ["a", "b\n\tat x\n\tat y", "c", "d\n\tat z"];
    check_framed(traces(), Recipe::default(), text, &expected);
    let either = || Framing { container: Some(Container::Either), ..Framing::default() };
    let cri = b"2026-11-23T00:00:00Z stdout P one\n2026-11-23T00:00:00Z stdout F  two\n2026-11-23T00:00:00Z stderr F x\n";
    check_framed(either(), Recipe::default(), cri, &["one two", "x"]);
    let docker = b"{\"log\":\"one \",\"stream\":\"stdout\",\"time\":\"2026-11-23T00:00:00Z\"}\n{\"log\":\"two\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-23T00:00:00Z\"}\n";
    check_framed(either(), Recipe::default(), docker, &["one two"]);
}

#[test]
fn other_encodings_and_delimiters_are_read() {
    let wide = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    };
    let text = "\u{feff}grün\r\nਊ two\nlast";
    for bytes in [wide(text, u16::to_le_bytes), wide(text, u16::to_be_bytes)] {
        let plain = Framing::default();
        check_framed(plain, Recipe::default(), &bytes, &["grün", "ਊ two", "last"]);
    }
    let latin = Recipe { encoding: Some(encoding_rs::WINDOWS_1252), ..Recipe::default() };
    check_framed(Framing::default(), latin, b"gr\xfcn\n", &["grün"]);
    let own = Recipe { delimiter: Delimiter::Bytes(b"||".to_vec()), ..Recipe::default() };
    check_framed(Framing::default(), own, b"a|b||c\nd||e", &["a|b", "c\nd", "e"]);
}

#[test]
fn records_that_a_rule_drops_are_passed() {
    let when = vec![Condition { field: "message".to_owned(), test: Test::Is("no".to_owned()) }];
    let rules = Rules(vec![crate::shape::Rule { when, action: Action::Drop }]);
    let recipe = Recipe { rules, ..Recipe::default() };
    let filtered = check_framed(Framing::default(), recipe, b"no\nno\nyes\nno\n", &["yes"]);
    assert_eq!(filtered, 3);
}

#[test]
fn no_half_of_a_secret_is_left_where_a_line_over_the_bound_is_cut() {
    let redaction = Redaction::new(&["mail".to_owned()], None).unwrap();
    let rules =
        Rules(vec![crate::shape::Rule { when: Vec::new(), action: Action::Redact(redaction) }]);
    let recipe = Recipe { rules, ..Recipe::default() };
    let text = "- ".repeat(MESSAGE_BYTES_MAX / 2 - 5) + "john.doe@example.com\nafter\n";
    let kept = "- ".repeat((MESSAGE_BYTES_MAX - EDGE_BYTES) / 2);
    check_framed(Framing::default(), recipe, text.as_bytes(), &[&kept, "after"]);
}

#[test]
fn a_workbench_compresses_at_the_level_it_is_told() {
    let mut workbench = Workbench::default();
    let mut packed = |level: i32| {
        let mut builder = BatchBuilder::new(IndexName::default(), Labels::default());
        for n in 0..2_000_i64 {
            let text = format!("request {} of user {} took {} ms", n, n * 7919 % 1013, n % 97);
            builder.push_text(Timestamp(n), Level::Info, &text);
        }
        workbench.compress_at(level);
        let sequence = Sequence { producer: 7, epoch: 0, from: 0, to: 1 };
        workbench.encode(builder.finish(), sequence).unwrap()
    };
    let (quick, thorough, again) = (packed(1), packed(9), packed(1));
    assert_ne!(quick, thorough);
    assert_eq!(quick, again);
    let batch = |bytes: &[u8]| codec::decode(bytes).unwrap().1;
    assert_eq!(batch(&quick), batch(&thorough));
}
