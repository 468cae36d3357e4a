//! Rows that are known from a question before: the same answers, of whatever is asked next.

use super::*;
use crate::split::found::{Found, hash_of};

/// The same split with room for what is found out.
fn roomy(split: &Split, objects: &Objects) -> Split {
    let pages = PageCache::new(4 << 20, IndexMetrics::default());
    Split::open(split.meta().clone(), objects, &pages).unwrap()
}

/// How many rows a split counts that pass.
fn count(split: &Split, filter: &Filter) -> usize {
    let columns = Vec::new();
    let request = ScanRequest { columns, ..request(filter.clone(), TimeRange::ALL, None) };
    plain_counts(split, &request)
}

fn plain_counts(split: &Split, request: &ScanRequest) -> usize {
    let mut sum = 0;
    let evaluator = Evaluator::new(&request.filter, request.range);
    let mut emit = |rows: RecordBatch| {
        sum += rows.num_rows();
        std::ops::ControlFlow::Continue(())
    };
    split.scan(&evaluator, request, &mut emit).unwrap();
    sum
}

/// How many it knows without reading, if it does.
fn at_hand(split: &Split, filter: &Filter, range: TimeRange) -> Option<usize> {
    let columns = Vec::new();
    let request = ScanRequest { columns, ..request(filter.clone(), range, None) };
    let rows = split.at_hand(&request).unwrap()?;
    Some(rows.iter().map(RecordBatch::num_rows).sum())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn what_was_found_out_answers_what_is_asked_next(
        records in prop::collection::vec(record(), 2..80),
        filters in prop::collection::vec(filter(), 4),
        (from, to) in (0_i64..40, 0_i64..60),
        newest in 1_usize..10,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (rows, split, objects) = made(folder.path(), &records);
        let split = roomy(&split, &objects);
        let half = records.len() / 2;
        let passes = |filter: &Filter, at: usize| {
            let host = if at < half { "web1" } else { "web2" };
            oracle::passes(filter, &records[at], host)
        };
        let some = TimeRange { from: Timestamp(from), to: Timestamp(to) };
        for (number, filter) in filters.iter().enumerate() {
            let expected = (0..records.len()).filter(|at| passes(filter, *at)).count();
            let way = number % 3;
            match way {
                0 => prop_assert_eq!(count(&split, filter), expected, "{:?}", filter),
                1 => {
                    let all = ask_split(&split, &request(filter.clone(), TimeRange::ALL, None));
                    prop_assert_eq!(all.len(), expected, "{:?}", filter);
                }
                _ => {
                    // Groups are counted, by templates as well.
                    let all = request(filter.clone(), TimeRange::ALL, None);
                    let found = counted(plain_split(&split, &counted_of(&all)));
                    prop_assert_eq!(found.values().sum::<u64>(), expected as u64, "{:?}", filter);
                }
            }
            let known = at_hand(&split, filter, TimeRange::ALL);
            prop_assert!(known.is_none_or(|known| known == expected), "{:?}", filter);
            // Senders may have counted it: then nothing was found out.
            prop_assert!(known.is_some() || way != 1 || *filter == Filter::All, "{:?}", filter);
            for range in [TimeRange::ALL, some] {
                let all = request(filter.clone(), range, None);
                let mut found = ask_split(&split, &all);
                let mut wanted = ask_rows(&rows, &all);
                found.sort_unstable();
                wanted.sort_unstable();
                prop_assert_eq!(&found, &wanted, "{:?}", filter);
                let inside = at_hand(&split, filter, range);
                prop_assert!(inside.is_none_or(|known| known == wanted.len()), "{:?}", filter);
                let first = request(filter.clone(), range, Some(newest));
                prop_assert_eq!(ask_split(&split, &first), ask_rows(&rows, &first), "{:?}", filter);
                for column in COUNTED {
                    let columns = vec![column()];
                    let groups = ScanRequest { columns, counted: true, ..all.clone() };
                    let wanted = counted(plain_rows(&rows, &groups));
                    let known = split.at_hand(&groups).unwrap();
                    prop_assert!(known.is_none_or(|known| counted(known) == wanted), "{:?}", filter);
                    prop_assert_eq!(counted(plain_split(&split, &groups)), wanted, "{:?}", filter);
                }
            }
        }
        // Parts of what is asked are known.
        let [a, b, c, d] = <[Filter; 4]>::try_from(filters).unwrap();
        let not = |filter: Filter| Filter::Not(Box::new(filter));
        let both = Filter::And(vec![a.clone(), not(b.clone())]);
        for whole in [Filter::Or(vec![both.clone(), c]), Filter::And(vec![both, d]), not(a), not(b)] {
            let all = request(whole.clone(), some, None);
            let mut found = ask_split(&split, &all);
            found.sort_unstable();
            prop_assert_eq!(found, ask_rows(&rows, &all), "{:?}", whole);
        }
    }
}

/// Records whose texts are loose: what their rows are is not known without reading them.
fn loose() -> Vec<Record> {
    let record = |n: i64| Record {
        timestamp: Some(Timestamp(n)),
        message: format!("w{} {} of w{}", n * 7, if n % 3 == 0 { "Lost" } else { "kept" }, n * 11),
        ..Record::default()
    };
    (0..3_000).map(record).collect()
}

fn lost() -> Filter {
    Filter::Text(TextMatch::Cased(Box::new(TextMatch::Phrase("Lost".to_owned()))))
}

#[test]
fn what_was_found_out_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (_, split, objects) = made(folder.path(), &loose());
    let split = roomy(&split, &objects);
    assert_eq!(at_hand(&split, &lost(), TimeRange::ALL), None);
    // What is asked of a part tells nothing of the whole.
    let part = TimeRange { from: Timestamp(1_500), to: Timestamp::MAX };
    assert_eq!(ask_split(&split, &request(lost(), part, None)).len(), 500);
    assert_eq!(at_hand(&split, &lost(), TimeRange::ALL), None);
    assert_eq!(count(&split, &lost()), 1_000);
    assert_eq!(at_hand(&split, &lost(), TimeRange::ALL), Some(1_000));
    assert_eq!(at_hand(&split, &lost(), part), None);
    let known = |range| split.known_count(&request(lost(), range, Some(5)));
    assert_eq!((known(TimeRange::ALL), known(part)), (Some(1_000), None));
    let before = objects.read_bytes().get();
    assert_eq!(count(&split, &lost()), 1_000);
    assert_eq!(count(&split, &Filter::Not(Box::new(lost()))), 2_000);
    assert_eq!(objects.read_bytes().get(), before);
}

#[test]
fn filters_of_one_hash_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let (_, split, objects) = made(folder.path(), &loose());
    let split = roomy(&split, &objects);
    let (hash, bytes) = hash_of(&lost()).unwrap();
    let other = Found::new(Filter::Not(Box::new(lost())), bytes, &RowSet::default());
    split.pages.keep_found(hash, Arc::new(other));
    assert_eq!(at_hand(&split, &lost(), TimeRange::ALL), None);
    assert_eq!(count(&split, &lost()), 1_000);
}

#[test]
fn what_ends_early_tells_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_, split, objects) = made(folder.path(), &loose());
    let split = roomy(&split, &objects);
    let all = request(lost(), TimeRange::ALL, None);
    let evaluator = Evaluator::new(&all.filter, all.range);
    split.scan(&evaluator, &all, &mut |_| std::ops::ControlFlow::Break(())).unwrap();
    assert_eq!(at_hand(&split, &lost(), TimeRange::ALL), None);
    // A few of the newest come from their list, more are looked for among all.
    let newest = |most: usize| ask_split(&split, &request(lost(), TimeRange::ALL, Some(most)));
    let expected: Vec<u64> = (0..500_u64).map(|n| 2_997 - 3 * n).collect();
    assert_eq!(newest(2), expected[..2]);
    assert_eq!(at_hand(&split, &lost(), TimeRange::ALL), None);
    assert_eq!(newest(500), expected);
    assert_eq!(at_hand(&split, &lost(), TimeRange::ALL), Some(1_000));
    assert_eq!(newest(2), expected[..2]);
}
