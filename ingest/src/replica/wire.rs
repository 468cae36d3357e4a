//! Batches that one node hands to another: a short head, then the batches as they came.

use bytes::{BufMut as _, Bytes, BytesMut};
use model::batch::Sequence;
use model::node::NodeId;
use model::partition::{Offset, PartitionId, RecordId};
use model::stream::StreamId;
use serde::{Deserialize, Serialize};

use crate::partition::{AppendError, Appended, Checked};

/// The name of the call.
pub(crate) const APPEND_CALL: &str = "append";

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    partition: PartitionId,
    batches: Vec<BatchHead>,
}

#[derive(Debug, Serialize, Deserialize)]
struct BatchHead {
    producer: u64,
    epoch: u32,
    from: u64,
    to: u64,
    /// Programs before there could be more partitions do not say it, and nobody asks for it then.
    #[serde(default)]
    stream: u64,
    record_count: u32,
    bytes: usize,
}

/// A request to append.
pub(crate) fn encode_request(partition: PartitionId, batches: &[Checked]) -> Bytes {
    let head = |batch: &Checked| {
        let Sequence { producer, epoch, from, to } = batch.sequence;
        let (stream, record_count, bytes) = (batch.stream.0, batch.record_count, batch.bytes.len());
        BatchHead { producer, epoch, from, to, stream, record_count, bytes }
    };
    let head = Head { partition, batches: batches.iter().map(head).collect() };
    let head = serde_json::to_vec(&head).expect("numbers have a JSON form");
    let size: usize = batches.iter().map(|batch| batch.bytes.len()).sum();
    let mut bytes = BytesMut::with_capacity(4 + head.len() + size);
    bytes.put_u32_le(u32::try_from(head.len()).expect("a request holds few batches"));
    bytes.put_slice(&head);
    batches.iter().for_each(|batch| bytes.put_slice(&batch.bytes));
    bytes.freeze()
}

/// Reads a request; nothing of the batches is copied.
pub(crate) fn decode_request(mut bytes: Bytes) -> Option<(PartitionId, Vec<Checked>)> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let head: Head = serde_json::from_slice(bytes.get(4..4_usize.checked_add(length)?)?).ok()?;
    let _head = bytes.split_to(4 + length);
    let mut batches = Vec::with_capacity(head.batches.len());
    for batch in head.batches {
        if batch.bytes > bytes.len() {
            return None;
        }
        let BatchHead { producer, epoch, from, to, stream, record_count, bytes: size } = batch;
        let (sequence, stream) = (Sequence { producer, epoch, from, to }, StreamId(stream));
        batches.push(Checked { sequence, stream, record_count, bytes: bytes.split_to(size) });
    }
    bytes.is_empty().then_some((head.partition, batches))
}

/// What became of it, as it is sent back.
#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Taken(Vec<Taken>),
    Sequence(u64),
    Fenced(u32),
    Overloaded,
    DiskFull,
    NotLeader(Option<NodeId>),
    NoMajority,
    Elsewhere(u32),
    TooLarge { bytes: u64, max: u64 },
    Unsure,
    Stopping,
}

#[derive(Debug, Serialize, Deserialize)]
struct Taken {
    record_count: u32,
    duplicate: bool,
    next: u64,
    first: Option<Offset>,
}

/// The answer to a request.
pub(crate) fn encode_answer(answer: &Result<Vec<Appended>, AppendError>) -> Bytes {
    let reply = match answer {
        Ok(taken) => Reply::Taken(taken.iter().map(sent).collect()),
        Err(AppendError::Sequence { next }) => Reply::Sequence(*next),
        Err(AppendError::Fenced { current }) => Reply::Fenced(*current),
        Err(AppendError::Overloaded { .. }) => Reply::Overloaded,
        Err(AppendError::DiskFull | AppendError::DiskFullAt { .. }) => Reply::DiskFull,
        Err(AppendError::NotLeader { leader, .. }) => Reply::NotLeader(*leader),
        Err(AppendError::NoMajority(_)) => Reply::NoMajority,
        Err(AppendError::Elsewhere { count }) => Reply::Elsewhere(*count),
        Err(AppendError::TooLarge { bytes, max }) => Reply::TooLarge { bytes: *bytes, max: *max },
        Err(AppendError::Storage(_) | AppendError::Unsure) => Reply::Unsure,
        Err(AppendError::Stopping) => Reply::Stopping,
    };
    serde_json::to_vec(&reply).expect("numbers have a JSON form").into()
}

fn sent(appended: &Appended) -> Taken {
    let Appended { record_count, duplicate, next, first } = *appended;
    Taken { record_count, duplicate, next, first: first.map(|first| first.offset) }
}

/// Reads an answer; one that cannot be read leaves it open.
pub(crate) fn decode_answer(
    partition: PartitionId,
    bytes: &[u8],
) -> Result<Vec<Appended>, AppendError> {
    let taken = |taken: Taken| {
        let Taken { record_count, duplicate, next, first } = taken;
        let first = first.map(|offset| RecordId { partition, offset });
        Appended { record_count, duplicate, next, first }
    };
    match serde_json::from_slice(bytes).unwrap_or(Reply::Unsure) {
        Reply::Taken(all) => Ok(all.into_iter().map(taken).collect()),
        Reply::Sequence(next) => Err(AppendError::Sequence { next }),
        Reply::Fenced(current) => Err(AppendError::Fenced { current }),
        Reply::Overloaded => Err(AppendError::Overloaded { what: "queue" }),
        Reply::DiskFull => Err(AppendError::DiskFull),
        Reply::NotLeader(leader) => Err(AppendError::NotLeader { partition, leader }),
        Reply::NoMajority => Err(AppendError::NoMajority(partition)),
        Reply::Elsewhere(count) => Err(AppendError::Elsewhere { count }),
        Reply::TooLarge { bytes, max } => Err(AppendError::TooLarge { bytes, max }),
        Reply::Unsure => Err(AppendError::Unsure),
        Reply::Stopping => Err(AppendError::Stopping),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_reads_back_and_its_cuts_do_not() {
        let sequence = Sequence { producer: 7, epoch: 1, from: 2, to: 9 };
        let batch = |bytes: &'static [u8]| Checked {
            sequence,
            stream: StreamId(11),
            record_count: 3,
            bytes: Bytes::from_static(bytes),
        };
        let request = encode_request(PartitionId(4), &[batch(b"abc"), batch(b""), batch(b"defg")]);
        let (partition, batches) = decode_request(request.clone()).unwrap();
        assert_eq!(partition, PartitionId(4));
        let bytes: Vec<_> = batches.iter().map(|batch| batch.bytes.clone()).collect();
        assert_eq!(bytes, ["abc", "", "defg"]);
        assert_eq!((batches[2].sequence, batches[2].stream), (sequence, StreamId(11)));
        for cut in 0..request.len() {
            assert!(decode_request(request.slice(..cut)).is_none(), "{cut}");
        }
        let answer = encode_answer(&Err(AppendError::Sequence { next: 5 }));
        let back = decode_answer(PartitionId(4), &answer);
        assert!(matches!(back, Err(AppendError::Sequence { next: 5 })));
        assert!(matches!(decode_answer(PartitionId(4), b"?"), Err(AppendError::Unsure)));
        let answer = encode_answer(&Err(AppendError::Elsewhere { count: 6 }));
        let back = decode_answer(PartitionId(4), &answer);
        assert!(matches!(back, Err(AppendError::Elsewhere { count: 6 })));
        let answer = encode_answer(&Err(AppendError::TooLarge { bytes: 7, max: 6 }));
        let back = decode_answer(PartitionId(4), &answer);
        assert!(matches!(back, Err(AppendError::TooLarge { bytes: 7, max: 6 })));
    }

    #[test]
    fn a_neighbour_of_the_version_before_or_after_is_read() {
        let head = |more: &str| {
            let batch = format!(
                r#"{{"producer":7,"epoch":1,"from":2,"to":9,{more}"record_count":3,"bytes":2}}"#
            );
            let head = format!(r#"{{"partition":4,"batches":[{batch}]}}"#);
            let length = u32::try_from(head.len()).unwrap().to_le_bytes();
            Bytes::from([&length[..], head.as_bytes(), b"ab"].concat())
        };
        for (more, stream) in [("", 0), (r#""stream":5,"colour":"green","#, 5)] {
            let (partition, batches) = decode_request(head(more)).unwrap();
            assert_eq!((partition, batches.len()), (PartitionId(4), 1));
            assert_eq!((batches[0].stream, batches[0].record_count), (StreamId(stream), 3));
        }
    }

    /// What version 3 of the nodes' protocol answers.
    const ANSWERS: [&str; 13] = [
        r#"{"Taken":[{"record_count":3,"duplicate":false,"next":9,"first":4}]}"#,
        r#"{"Taken":[{"record_count":3,"duplicate":true,"next":9,"first":null}]}"#,
        r#"{"Sequence":5}"#,
        r#"{"Fenced":2}"#,
        r#""Overloaded""#,
        r#""DiskFull""#,
        r#"{"NotLeader":7}"#,
        r#"{"NotLeader":null}"#,
        r#""NoMajority""#,
        r#"{"Elsewhere":6}"#,
        r#"{"TooLarge":{"bytes":7,"max":6}}"#,
        r#""Unsure""#,
        r#""Stopping""#,
    ];

    #[test]
    fn answers_of_the_version_before_are_read_and_given_as_they_are() {
        for text in ANSWERS {
            let answer = decode_answer(PartitionId(4), text.as_bytes());
            assert_eq!(encode_answer(&answer), text);
        }
        // What only a later version answers leaves it open: it is sent again.
        let later = decode_answer(PartitionId(4), br#"{"Tired":5}"#);
        assert!(matches!(later, Err(AppendError::Unsure)), "{later:?}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            decode_request(Bytes::from(bytes));
        }
    }
}
