//! What a merge adds up of its splits is what it would gather of their rows.

use arrow::compute::concat_batches;

use super::*;
use crate::split::open_folder;

/// A split of what these become: with sums, and without.
fn both(folder: &Path, splits: &[Split]) -> [Split; 2] {
    let added = crate::merge::source_of(splits, &[]).unwrap();
    // Where something may go all is gathered of the rows; nothing goes.
    let nothing = Filter::Not(Box::new(Filter::All));
    let going = vec![Some(nothing); splits.len()];
    let gathered = crate::merge::source_of(splits, &going).unwrap();
    let of = |name: &str, source| made_of(&folder.join(name), source).0;
    [of("added", added), of("gathered", gathered)]
}

/// The forms of every template, whatever their order there.
fn forms(split: &Split) -> Vec<Vec<String>> {
    let patterns = split.patterns().unwrap();
    let of = |at: usize| {
        let forms = patterns.forms(at).iter().map(|form| format!("{form:?}"));
        let mut forms: Vec<String> = forms.collect();
        forms.sort_unstable();
        forms
    };
    (0..split.templates().unwrap().0.len()).map(of).collect()
}

/// All rows, with the numbers of their templates.
fn rows_of_split(split: &Split) -> (RecordBatch, Vec<u32>) {
    let read = split.rows(&|_| false).unwrap().map(Result::unwrap);
    let (rows, templates): (Vec<RecordBatch>, Vec<Vec<u32>>) = read.unzip();
    (concat_batches(&rows[0].schema(), &rows).unwrap(), templates.concat())
}

#[track_caller]
fn check(folder: &Path, splits: &[Split]) {
    let [added, gathered] = both(folder, splits);
    for split in [&added, &gathered] {
        split.check().unwrap();
    }
    // The one column by column, where there are many, the other row by row.
    assert_eq!(rows_of_split(&added), rows_of_split(&gathered));
    assert_eq!(added.templates().unwrap(), gathered.templates().unwrap());
    assert_eq!(added.minutes().unwrap(), gathered.minutes().unwrap());
    assert_eq!(added.fields().unwrap(), gathered.fields().unwrap());
    assert_eq!(added.values().unwrap(), gathered.values().unwrap());
    assert_eq!(added.spans().unwrap(), gathered.spans().unwrap());
    assert_eq!(added.present().unwrap(), gathered.present().unwrap());
    assert_eq!(added.newest().unwrap(), gathered.newest().unwrap());
    assert_eq!(forms(&added), forms(&gathered));
    let known = |split: &Split| {
        let meta = split.meta();
        (meta.level_counts, meta.row_count, meta.raw_bytes, meta.time_first, meta.time_last)
    };
    assert_eq!(known(&added), known(&gathered));
    let rows: u64 = splits.iter().map(|split| split.meta().row_count).sum();
    assert_eq!(added.meta().row_count, rows);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn sums_are_what_the_rows_give(records in prop::collection::vec(record(), 2..120)) {
        let folder = tempfile::tempdir().unwrap();
        let (rows, ..) = made(folder.path(), &records);
        check(folder.path(), &thirds(folder.path(), &rows));
    }
}

/// Records of some formats, of which words of one vary, over some minutes; fields with few values and
/// with many, of two types and twice in a record.
fn records() -> Vec<Record> {
    let text = FieldValue::Text;
    let record = |n: i64| {
        let message = match n % 4 {
            0 => {
                format!("user {} logged in", ["ann", "bob", "eve"][usize::try_from(n % 3).unwrap()])
            }
            1 => format!("something else {}", "no ".repeat(usize::try_from(n % 90).unwrap())),
            _ => format!("GET /item/{n} took {}ms", n % 90),
        };
        let mut fields = vec![
            ("method".to_owned(), text(["GET", "PUT"][usize::from(n % 3 > 0)].to_owned())),
            ("trace".to_owned(), text(format!("{:x}", n * 7_919))),
        ];
        if n % 5 == 0 {
            fields.push(("size".to_owned(), FieldValue::Int(n)));
            fields.push(("method".to_owned(), FieldValue::Bool(true)));
        }
        if n % 700 == 0 {
            fields.push(("size".to_owned(), text("much".to_owned())));
        }
        let level = if n % 9 == 0 { Level::Error } else { Level::Info };
        Record { timestamp: Some(Timestamp(n * 250_000_000)), level, message, fields }
    };
    (0..6_000).map(record).collect()
}

#[test]
fn sums_of_many_rows_are_what_the_rows_give() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, ..) = made(folder.path(), &records());
    let splits = thirds(folder.path(), &rows);
    check(folder.path(), &splits);
    // Something of everything was added up.
    let mut sums = crate::merge::source_of(&splits, &[]).unwrap().sums;
    assert!(sums.fields.as_ref().is_some_and(|fields| fields.len() > 4));
    assert_eq!(sums.minutes.unwrap().level_counts().iter().sum::<u64>(), 6_000);
    let known = (0..u32::try_from(splits[0].templates().unwrap().0.len()).unwrap())
        .filter_map(|number| sums.patterns.take(number));
    assert!(known.count() >= 2);
    // Nothing is known of what stays where something goes.
    let none = crate::merge::source_of(&splits, &[None, Some(Filter::All), None]).unwrap().sums;
    assert!(none.fields.is_none() && none.minutes.is_none());
}

#[test]
fn splits_of_old_versions_are_merged_as_their_rows() {
    for (name, _) in fixtures::SAMPLES {
        let folder = tempfile::tempdir().unwrap();
        let old = open_folder(&fixtures::folder(name)).unwrap();
        check(folder.path(), &[old]);
    }
}
