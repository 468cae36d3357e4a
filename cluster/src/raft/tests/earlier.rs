//! What version 3 of the nodes' protocol wrote, byte for byte (`cluster/fixtures`): today's program reads
//! it, and writes the same, so that a node of that version reads it too.

use super::super::codec::*;
use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/protocol-3");
/// The files of a group's log.
const LOG_FILES: [&str; 3] = ["00000000000000000000.seg", "mark", "state"];

fn message(name: &str) -> Bytes {
    std::fs::read(Path::new(FOLDER).join(format!("{name}.msg"))).unwrap().into()
}

/// The message with something in its head that this version does not know.
fn with_more(message: &Bytes) -> Bytes {
    let (mut bytes, more) = (message.to_vec(), b"\"colour\":1,");
    let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize + more.len();
    bytes[12..16].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    drop(bytes.splice(17..17, more.iter().copied()));
    bytes.into()
}

fn entries() -> Vec<Entry> {
    let blank = Entry { log_id: log_id(7, 1, 10), payload: EntryPayload::Blank };
    vec![blank, command(7, 11, "hello"), members(7, 12, &[1, 2]), command(8, 13, "world")]
}

fn two_members() -> StoredMembership {
    let Entry { log_id: id, payload } = members(2, 60, &[1, 2]);
    let EntryPayload::Membership(members) = payload else { unreachable!("it is one") };
    StoredMembership::new(Some(id), members)
}

#[test]
fn the_log_of_a_group_is_read_and_written_as_it_was() {
    let earlier = Path::new(FOLDER).join("log");
    let folder = tempfile::tempdir().unwrap();
    for file in LOG_FILES {
        std::fs::copy(earlier.join(file), folder.path().join(file)).unwrap();
    }
    let store = open(folder.path()).unwrap();
    assert_eq!(read_all(&store), entries());
    assert_eq!(store.0.vote(), Some(Vote::new_committed(8, 1)));
    let count = store.tail(|tally, last| (tally.count, last));
    assert_eq!(count, (2, Some(log_id(8, 1, 13))));
    drop(store);
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    store.0.save_vote(Vote::new_committed(8, 1)).unwrap();
    let (first, second) = (&entries()[..3], &entries()[3..]);
    store.0.append(first).unwrap();
    store.0.append(second).unwrap();
    drop(store);
    for file in LOG_FILES {
        let written = std::fs::read(folder.path().join(file)).unwrap();
        assert_eq!(written, std::fs::read(earlier.join(file)).unwrap(), "{file}");
    }
}

#[test]
fn entries_of_the_leader_are_read_and_written_as_they_were() {
    let bytes = message("append");
    for bytes in [&bytes, &with_more(&bytes)] {
        let (member, read) = decode_append(bytes).unwrap();
        assert_eq!((member, read.vote), (5, Vote::new_committed(8, 1)));
        assert_eq!(read.prev_log_id, Some(log_id(6, 2, 9)));
        assert_eq!(read.leader_commit, Some(log_id(6, 2, 8)));
        assert_eq!(read.entries, entries());
    }
    let (member, read) = decode_append(&bytes).unwrap();
    assert_eq!(encode_append(member, &read), bytes);
}

#[test]
fn votes_snapshots_and_answers_are_read_and_written_as_they_were() {
    let answer = AppendAnswer::PartialSuccess(Some(log_id(1, 2, 3)));
    assert_eq!(encode_append_answer(3, &answer), message("append-answer"));
    assert_eq!(decode_append_answer(&message("append-answer")).unwrap(), (3, answer));
    let vote = VoteRequest::new(Vote::new(4, 1), None);
    assert_eq!(encode_vote(2, &vote), message("vote"));
    let answer = VoteAnswer::new(Vote::new(4, 1), Some(log_id(3, 1, 70)), true);
    assert_eq!(encode_vote_answer(2, &answer), message("vote-answer"));
    let piece = SnapshotPiece {
        vote: Vote::new_committed(4, 1),
        meta: SnapshotMeta {
            last_log_id: Some(log_id(3, 1, 70)),
            last_membership: two_members(),
            snapshot_id: "catalog-70".to_owned(),
        },
        total: 10,
        offset: 3,
        bytes: Bytes::from_static(b"7 bytes"),
    };
    assert_eq!(encode_snapshot(2, &piece), message("snapshot"));
    assert_eq!(encode_snapshot_answer(2, &piece.vote), message("snapshot-answer"));
    let reads: [fn(Bytes) -> Bytes; 2] = [std::convert::identity, |bytes| with_more(&bytes)];
    for read in reads {
        assert_eq!(decode_vote(&read(message("vote"))).unwrap(), (2, vote.clone()));
        assert_eq!(decode_vote_answer(&read(message("vote-answer"))).unwrap(), (2, answer.clone()));
        assert_eq!(decode_snapshot(&read(message("snapshot"))).unwrap(), (2, piece.clone()));
        let answer = decode_snapshot_answer(&read(message("snapshot-answer"))).unwrap();
        assert_eq!(answer, (2, piece.vote));
    }
}
