//! Messages survive the way, and no bytes make a member panic.

use proptest::prelude::*;

use super::super::codec::*;
use super::*;

fn request() -> AppendRequest {
    AppendRequest {
        vote: Vote::new_committed(7, 2),
        prev_log_id: Some(log_id(6, 1, 9)),
        entries: vec![
            Entry { log_id: log_id(7, 2, 10), payload: EntryPayload::Blank },
            command(7, 11, "hello"),
            members(7, 12, &[1, 2, 3]),
            command(7, 13, ""),
            command(7, 14, "world"),
        ],
        leader_commit: Some(log_id(6, 1, 8)),
    }
}

#[test]
fn entries_arrive_as_they_were_without_a_copy() {
    let request = request();
    let bytes = encode_append(5, &request);
    let (member, read) = decode_append(&bytes).unwrap();
    assert_eq!(member, 5);
    assert_eq!((read.vote, read.prev_log_id), (request.vote, request.prev_log_id));
    assert_eq!(read.leader_commit, request.leader_commit);
    assert_eq!(read.entries, request.entries);
    let EntryPayload::Normal(Command(last)) = &read.entries[4].payload else { panic!("a command") };
    assert_eq!(last.as_ptr(), bytes[bytes.len() - 5..].as_ptr());
}

#[test]
fn answers_votes_and_snapshots_arrive_as_they_were() {
    for answer in [
        AppendAnswer::Success,
        AppendAnswer::PartialSuccess(Some(log_id(1, 2, 3))),
        AppendAnswer::Conflict,
        AppendAnswer::HigherVote(Vote::new(9, 9)),
    ] {
        let bytes = encode_append_answer(3, &answer);
        assert_eq!(decode_append_answer(&bytes).unwrap(), (3, answer));
    }
    let vote = VoteRequest::new(Vote::new(4, 1), None);
    assert_eq!(decode_vote(&encode_vote(2, &vote)).unwrap(), (2, vote));
    let answer = VoteAnswer::new(Vote::new(4, 1), Some(log_id(3, 1, 70)), true);
    assert_eq!(decode_vote_answer(&encode_vote_answer(2, &answer)).unwrap(), (2, answer));
    let piece = SnapshotPiece {
        vote: Vote::new_committed(4, 1),
        meta: SnapshotMeta { last_log_id: Some(log_id(3, 1, 70)), ..SnapshotMeta::default() },
        total: 10,
        offset: 3,
        bytes: Bytes::from_static(b"7 bytes"),
    };
    assert_eq!(decode_snapshot(&encode_snapshot(2, &piece)).unwrap(), (2, piece.clone()));
    let beyond = SnapshotPiece { offset: 4, ..piece.clone() };
    assert!(decode_snapshot(&encode_snapshot(2, &beyond)).is_err());
    let bytes = encode_snapshot_answer(2, &piece.vote);
    assert_eq!(decode_snapshot_answer(&bytes).unwrap(), (2, piece.vote));
}

#[test]
fn another_version_and_another_kind_are_told_apart() {
    let mut bytes = encode_append(5, &request()).to_vec();
    assert!(matches!(decode_vote(&bytes.clone().into()), Err(CodecError::Malformed(_))));
    bytes[0] = 2;
    assert_eq!(decode_append(&bytes.into()).unwrap_err(), CodecError::Version(2));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<usize>()) {
        let mut whole = encode_append(5, &request()).to_vec();
        let at = at % whole.len();
        whole.truncate(at);
        whole.extend_from_slice(&bytes);
        for bytes in [Bytes::from(bytes), Bytes::from(whole)] {
            // A flipped byte inside a command is the line's to find; here it must only not panic.
            drop((decode_append(&bytes), decode_append_answer(&bytes), decode_vote(&bytes)));
            drop((decode_vote_answer(&bytes), decode_snapshot(&bytes)));
            drop(decode_snapshot_answer(&bytes));
        }
    }
}
