//! A split that is packed small is smaller than one that is packed quickly, and answers as it does.

use super::*;

/// Lines as they are: of few kinds, with addresses, numbers and times that repeat here and there.
fn lines(count: u32) -> Vec<Record> {
    let record = |n: u32| {
        let x = n.wrapping_mul(2_654_435_761);
        let (user, item, host) = ((x >> 20) % 613, (x >> 7) % 9_973, (x >> 27) % 23);
        let message = match n % 3 {
            0 => {
                format!("GET /shop/item/{item} from 10.1.{host}.{} took {} ms", user % 251, x % 911)
            }
            1 => format!("user {user} logged in from 10.2.{host}.{} by token {x:08x}", item % 249),
            _ => format!(
                "connection to db-{host}.internal:5432 closed after {item} queries by {user}"
            ),
        };
        let fields = vec![("n".to_owned(), FieldValue::Int(n.into()))];
        Record { timestamp: Some(Timestamp(n.into())), level: Level::Info, message, fields }
    };
    (0..count).map(record).collect()
}

#[test]
fn what_is_packed_small_is_smaller_and_answers_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (_, quick, _) = made(folder.path(), &lines(30_000));
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
    for filter in [word("5432"), word("user 29"), word("closed after"), numbers, Filter::All] {
        for newest in [None, Some(7)] {
            let request = request(filter.clone(), TimeRange::ALL, newest);
            let found = ask_split(&small, &request);
            assert!(!found.is_empty());
            assert_eq!(found, ask_split(&quick, &request), "{filter:?} {newest:?}");
        }
    }
}
