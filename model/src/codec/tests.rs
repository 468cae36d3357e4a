//! The codec gives back what it was given, and refuses everything else without a panic.

use proptest::prelude::*;

use super::*;
use crate::batch::BatchBuilder;
use crate::level::Level;
use crate::record::{FieldValue, Record};
use crate::time::Timestamp;

fn value() -> impl Strategy<Value = FieldValue> {
    prop_oneof![
        any::<String>().prop_map(FieldValue::Text),
        any::<i64>().prop_map(FieldValue::Int),
        any::<f64>()
            .prop_filter("NaN is unequal to itself", |f| !f.is_nan())
            .prop_map(FieldValue::Float),
        any::<bool>().prop_map(FieldValue::Bool),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let fields = prop::collection::vec(("[a-c]{1,2}", value()), 0..6);
    (any::<Option<i64>>(), 0_u8..7, any::<String>(), fields).prop_map(
        |(timestamp, level, message, fields)| Record {
            timestamp: timestamp.map(Timestamp),
            level: Level::from_number(level),
            message,
            fields,
        },
    )
}

fn batch_of(records: &[Record]) -> Batch {
    let labels = Labels::new(vec![("host".to_owned(), "web1".to_owned())]).unwrap();
    let mut builder = BatchBuilder::new(IndexName::default(), labels);
    for record in records {
        builder.push(record.clone(), Timestamp(42));
    }
    builder.finish()
}

#[test]
fn steps_are_varints_whether_they_are_written_together_or_not() {
    let small: Vec<u32> = (0..1_000).map(|n| n * 127).collect();
    let mixed: Vec<u32> = (0..300).map(|n| n * n).collect();
    for values in [&[][..], &[0], &[127], &[128, 128], &[5, 132], &[5, 133], &small, &mixed] {
        let (mut together, mut one_by_one) = (vec![7], vec![7]);
        put_steps(&mut together, values);
        let mut previous = 0;
        for value in values {
            put_varint(&mut one_by_one, u64::from(value - previous));
            previous = *value;
        }
        assert_eq!(together, one_by_one);
    }
}

const SEQUENCE: Sequence = Sequence { producer: 7, epoch: 1, from: 100, to: 250 };

proptest! {
    #[test]
    fn what_goes_in_comes_out(records in prop::collection::vec(record(), 0..20)) {
        let batch = batch_of(&records);
        let bytes = encode(&batch, SEQUENCE).unwrap();
        let (head, back) = decode(&bytes).unwrap();
        prop_assert_eq!(head.sequence, SEQUENCE);
        prop_assert_eq!(&back, &batch);
        for (row, given) in records.iter().enumerate() {
            let mut given = given.clone();
            given.timestamp = given.timestamp.or(Some(Timestamp(42)));
            given.fields.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.kind().cmp(&b.1.kind())));
            let mut got = back.record(row).unwrap();
            got.fields.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.kind().cmp(&b.1.kind())));
            prop_assert_eq!(got, given);
        }
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(decode(&bytes).is_err());
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let record = Record { message: "hello".to_owned(), ..Record::default() };
    let bytes = encode(&batch_of(&[record]), SEQUENCE).unwrap();
    for at in 0..bytes.len() {
        assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << bit;
            // The four bytes behind the magic hold the version and three that are reserved;
            // all of them are under the head's checksum.
            assert!(decode(&flipped).is_err(), "bit {bit} of byte {at}");
        }
    }
}

/// Bodies that are intact on the outside and nonsense inside must be refused, not believed.
#[test]
fn a_lying_body_is_refused() {
    let record = Record { message: "x".to_owned(), ..Record::default() };
    let good = encode(&batch_of(&[record]), SEQUENCE).unwrap();
    let head_bytes = head(&good).unwrap().head_bytes;
    for raw in [
        &b""[..],
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\x05abc",
        b"\0\0\x01\xff\0",
    ] {
        let body = zstd::bulk::compress(raw, 1).unwrap();
        let mut bytes = good[..head_bytes - 4].to_vec();
        bytes[48..52].copy_from_slice(&small(raw.len()).to_le_bytes());
        bytes[52..56].copy_from_slice(&small(body.len()).to_le_bytes());
        bytes[56..60].copy_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        let crc = crc32c::crc32c(&bytes).to_le_bytes();
        bytes.extend_from_slice(&crc);
        bytes.extend_from_slice(&body);
        assert!(head(&bytes).is_ok());
        assert!(decode(&bytes).is_err(), "{raw:?}");
    }
}
