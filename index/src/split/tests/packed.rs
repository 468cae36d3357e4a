//! A split that is packed small is smaller than one that is packed quickly, and answers as it does.

use super::*;

#[test]
fn what_is_packed_small_is_smaller_and_answers_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (_, quick, _) = made(folder.path(), &some_records(30_000));
    let splits = [quick];
    let source = crate::merge::source_of(&splits, &[]).unwrap();
    let (small, _) = made_as(Packing::Small, &folder.path().join("small"), source);
    let [quick] = splits;
    small.check().unwrap();
    let bytes = |split: &Split| split.meta().stored_bytes;
    assert!(bytes(&small) < bytes(&quick), "{} of {}", bytes(&small), bytes(&quick));
    for (split, is_cold) in [(&quick, false), (&small, true)] {
        assert_eq!((split.meta().cold, split.inspect().unwrap().cold), (is_cold, is_cold));
    }
    let word = |text: &str| Filter::Text(TextMatch::Phrase(text.to_owned()));
    let numbers = Filter::Field {
        name: "n".to_owned(),
        test: FieldTest::Between {
            from: Bound::Inclusive(Literal::Number(16_380.0)),
            to: Bound::Exclusive(Literal::Number(16_390.0)),
        },
    };
    for filter in [word("29876"), word("worker3"), word("served by"), numbers, Filter::All] {
        for newest in [None, Some(7)] {
            let request = request(filter.clone(), TimeRange::ALL, newest);
            let found = ask_split(&small, &request);
            assert!(!found.is_empty());
            assert_eq!(found, ask_split(&quick, &request), "{filter:?} {newest:?}");
        }
    }
}
