//! Messages as records, places, and what is packed; a broker is met in `tests/cases/kafka.rs`.

use model::batch::Sequence;
use model::codec;
use model::limits::BATCH_BYTES_MAX;
use model::record::{FieldValue, POISON_FIELD};
use model::time::Timestamp;
use proptest::prelude::*;

use super::message::Message;
use super::run::{Course, Extent, Lane, Position, Waiting};
use super::*;

fn source() -> KafkaSource {
    KafkaSource {
        name: "shop".to_owned(),
        brokers: vec!["127.0.0.1:1".to_owned()],
        topics: vec!["orders".to_owned()],
        start: Start::Earliest,
        index: IndexName::default(),
        labels: vec![("env".to_owned(), "test".to_owned())],
        properties: BTreeMap::new(),
        password: None,
    }
}

fn lane() -> Lane {
    let labels = source().labels_of("orders", 3).expect("the labels are good");
    Lane::new("shop", &("orders".to_owned(), 3), IndexName::default(), labels)
}

fn message(offset: u64, value: &[u8]) -> Message {
    Message { offset, value: Some(value.to_vec()), ..Message::default() }
}

fn waiting(offsets: &[u64]) -> Waiting {
    let mut waiting = Waiting::default();
    offsets.iter().for_each(|offset| waiting.push(message(*offset, b"x")));
    waiting
}

#[test]
fn a_message_becomes_a_record_with_its_place() {
    let full = Message {
        offset: 7,
        timestamp: Some(Timestamp(5)),
        key: Some(b"k\xff".to_vec()),
        value: Some(b"{\"msg\":\"paid\",\"sum\":3}".to_vec()),
        headers: vec![("trace".to_owned(), b"ab".to_vec())],
    };
    let (record, poisoned) = full.record();
    assert!(!poisoned);
    assert_eq!((record.message.as_str(), record.timestamp), ("paid", Some(Timestamp(5))));
    let text = |text: &str| FieldValue::Text(text.to_owned());
    let expected = [
        ("sum", FieldValue::Int(3)),
        ("kafka.key", text("k\\xff")),
        ("kafka.headers.trace", text("ab")),
        ("kafka.offset", FieldValue::Int(7)),
    ];
    assert_eq!(record.fields, expected.map(|(name, value)| (name.to_owned(), value)));
    let (record, poisoned) = message(8, b"[1] ERROR no object").record();
    assert_eq!((record.message.as_str(), record.level.name()), ("[1] ERROR no object", "error"));
    assert!(!poisoned);
}

#[test]
fn tombstones_and_giants_are_kept_with_the_reason() {
    let (record, poisoned) = Message { offset: 1, ..Message::default() }.record();
    assert!(poisoned && record.message.is_empty());
    let mut giant = b"{\"msg\":\"m\"".to_vec();
    for number in 0..17 {
        giant.extend_from_slice(format!(",\"f{number}\":\"").as_bytes());
        giant.resize(giant.len() + (1 << 20), b'x');
        giant.push(b'"');
    }
    giant.push(b'}');
    assert!(giant.len() > BATCH_BYTES_MAX);
    let mut waiting = Waiting::default();
    waiting.push(message(1, b"before"));
    waiting.push(message(2, &giant));
    waiting.push(message(3, b"after"));
    let (batches, poisoned) = waiting.pack(&lane(), Position::default(), Timestamp(9)).unwrap();
    assert_eq!(poisoned, 1);
    let records: u32 = batches.iter().map(|(head, _)| head.record_count).sum();
    assert_eq!(records, 3);
    let (record, _) = message(2, &giant).record();
    assert!(record.fields.iter().any(|(name, _)| name == POISON_FIELD));
    assert!(record.fields.iter().any(|(name, _)| name == "kafka.offset"));
}

#[test]
fn batches_follow_one_another_over_gaps() {
    let lane = lane();
    let position = Position { epoch: 2, next: Some(4) };
    let (batches, _) = waiting(&[6, 7, 9]).pack(&lane, position, Timestamp(9)).unwrap();
    let sequences: Vec<Sequence> = batches.iter().map(|(head, _)| head.sequence).collect();
    let expected = Sequence { producer: lane.producer, epoch: 2, from: 4, to: 10 };
    assert_eq!(sequences, [expected]);
    let (_, batch) = codec::decode(&batches[0].1).unwrap();
    assert_eq!(batch.timestamps, [9, 9, 9]);
    let named = |name: &str| batch.labels.get(name).map(str::to_owned);
    assert_eq!(
        [named("topic"), named("topic_partition"), named("env")],
        [Some("orders".to_owned()), Some("3".to_owned()), Some("test".to_owned())]
    );
}

#[test]
fn reading_that_begins_anew_forgets_what_waited() {
    let mut waiting = waiting(&[5, 6]);
    waiting.push(message(3, b"x"));
    assert_eq!(waiting.ends(), Some((3, 3)));
}

#[track_caller]
fn check(next: u64, first: u64, extent: (u64, u64), expected: (Position, Course)) {
    let mut position = Position { epoch: 1, next: None };
    let course = position.learn(next, first, Extent { low: extent.0, high: extent.1 });
    assert_eq!((position, course), expected);
}

#[test]
fn the_place_is_the_queue_s() {
    let at = |epoch, next| Position { epoch, next };
    // It is ahead: what it has is skipped.
    check(8, 5, (0, 20), (at(1, Some(8)), Course::Go));
    // It is behind: what lies between is read first, as far as it is still there.
    check(3, 5, (0, 20), (at(1, Some(3)), Course::Back { to: 3 }));
    check(3, 5, (4, 20), (at(1, Some(3)), Course::Back { to: 4 }));
    check(3, 5, (5, 20), (at(1, Some(3)), Course::Go));
    // It has what the broker never had: the topic is another one now.
    check(21, 5, (0, 20), (at(2, None), Course::Go));
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_of_their_own(
        key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..400)),
        headers in proptest::collection::vec((".*", proptest::collection::vec(any::<u8>(), 0..20)), 0..4),
    ) {
        let mut waiting = Waiting::default();
        waiting.push(Message { offset: 1, timestamp: None, key, value, headers });
        waiting.push(message(2, b"beside"));
        let (batches, _) = waiting.pack(&lane(), Position::default(), Timestamp(9)).unwrap();
        let (_, batch) = codec::decode(&batches[0].1).unwrap();
        prop_assert_eq!(batch.record_count(), 2);
        prop_assert_eq!(batch.messages.get(1), Some("beside"));
    }
}
