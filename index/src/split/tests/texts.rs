//! Nothing is unsearchable: any part of text without spaces, tokens beyond the longest that is indexed,
//! values of several types under one name.

use std::collections::BTreeSet;

use super::*;

/// Fresh rows, a split and a merged split answer as the oracle does. What is found.
#[track_caller]
fn check(
    (rows, splits): (&RecordBatch, [&Split; 2]),
    records: &[Record],
    filter: &Filter,
) -> Vec<u64> {
    let passes = |at: &usize| oracle::passes(filter, &records[*at], "web1");
    let expected: Vec<u64> = (0..records.len()).filter(passes).map(|at| at as u64).collect();
    let all = request(filter.clone(), TimeRange::ALL, None);
    let [split, merged] = splits.map(|split| ask_split(split, &all));
    for mut found in [ask_rows(rows, &all), split, merged] {
        found.sort_unstable();
        assert_eq!(found, expected, "{filter:?}");
    }
    expected
}

fn phrase(text: &str) -> TextMatch {
    TextMatch::Phrase(text.to_owned())
}

fn saying(messages: impl IntoIterator<Item = String>) -> Vec<Record> {
    let record = |(at, message): (i64, String)| {
        let timestamp = Some(Timestamp(at));
        Record { timestamp, message, ..Record::default() }
    };
    (0_i64..).zip(messages).map(record).collect()
}

#[test]
fn any_part_of_text_without_spaces_is_found() {
    let texts = ["数据库连接失败请稍后重试", "データベース接続エラー", "연결이거부되었습니다"];
    let records = saying(texts.map(str::to_owned));
    let folder = tempfile::tempdir().unwrap();
    let (rows, split, _) = made(folder.path(), &records);
    let merged = merged(folder.path(), &rows);
    for (at, text) in (0_u64..).zip(texts) {
        let ends: Vec<usize> =
            text.char_indices().map(|(end, _)| end).chain([text.len()]).collect();
        for (place, start) in ends.iter().enumerate() {
            for end in &ends[place + 1..] {
                let part = &text[*start..*end];
                let filter = Filter::Text(phrase(part));
                let found = check((&rows, [&split, &merged]), &records, &filter);
                assert!(found.contains(&at), "{part}");
            }
        }
    }
}

#[test]
fn tokens_beyond_the_longest_are_found_by_what_is_behind_it() {
    let long = |letter: &str, behind: &str| format!("{}{behind} x", letter.repeat(200));
    let messages = [("z", "7"), ("z", "8"), ("é", "7"), ("é", "8"), ("Ж", "end")];
    let records = saying(messages.map(|(letter, behind)| long(letter, behind)));
    let folder = tempfile::tempdir().unwrap();
    let (rows, split, _) = made(folder.path(), &records);
    let merged = merged(folder.path(), &rows);
    let all = (&rows, [&split, &merged]);
    for (at, (letter, behind)) in (0_u64..).zip(messages) {
        let whole = Filter::Text(phrase(&long(letter, behind)));
        assert_eq!(check(all, &records, &whole), [at]);
        let part = format!("{letter}{letter}{behind}");
        let (parts, open_start) = (vec![part.to_uppercase()], true);
        let part = TextMatch::Pattern { parts, open_start, open_end: false };
        assert_eq!(check(all, &records, &Filter::Text(part)), [at]);
        let source = format!("{letter}{{150}}{behind}");
        assert_eq!(check(all, &records, &Filter::Text(TextMatch::Regex(source))), [at]);
    }
}

#[test]
fn a_field_of_several_types_has_a_column_for_each() {
    let value = |n: i64| match n % 4 {
        0 => FieldValue::Int(n),
        1 => FieldValue::Float(n as f64 + 0.5),
        2 => FieldValue::Text(format!("t{n}")),
        _ => FieldValue::Bool(n % 8 == 3),
    };
    let records = (0..40_i64).map(|n| Record {
        timestamp: Some(Timestamp(n)),
        fields: vec![("n".to_owned(), value(n))],
        ..Record::default()
    });
    let records: Vec<Record> = records.collect();
    let folder = tempfile::tempdir().unwrap();
    let (rows, split, _) = made(folder.path(), &records);
    let merged = merged(folder.path(), &rows);
    for split in [&split, &merged] {
        let body = split.body().unwrap();
        let names = body.parquet.schema().fields().iter().map(|field| field.name().clone());
        let names: BTreeSet<String> = names.collect();
        let typed = ["n", "n:int", "n:float", "n:bool"];
        assert!(typed.iter().all(|name| names.contains(*name)), "{names:?}");
        let fields = split.fields().unwrap();
        let stats = fields.iter().filter(|field| field.name == "n");
        let counts: Vec<(&str, u64)> =
            stats.map(|field| (field.kind.name(), field.count)).collect();
        let of_all = FieldType::ALL.map(|kind| (kind.name(), 10));
        assert!(counts.len() == 4 && of_all.iter().all(|one| counts.contains(one)), "{counts:?}");
    }
    let number = |number| Bound::Inclusive(Literal::Number(number));
    for (test, count) in [
        (FieldTest::Exists, 40),
        (FieldTest::Between { from: number(8.0), to: number(17.5) }, 6),
        (FieldTest::Matches(phrase("t6")), 1),
        (FieldTest::Matches(phrase("true")), 5),
        (FieldTest::Matches(phrase("8")), 1),
        (FieldTest::Matches(phrase("9.50")), 1),
    ] {
        let filter = Filter::Field { name: "n".to_owned(), test };
        let found = check((&rows, [&split, &merged]), &records, &filter);
        assert_eq!(found.len(), count, "{filter:?}");
    }
}
