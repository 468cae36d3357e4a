//! Journals upon a whole save: what comes later counts, what is torn is passed over.
#![expect(clippy::disallowed_methods, reason = "damage is done on purpose here")]

use std::fs;

use super::super::Store;
use super::*;
use crate::checkpoint::tests::checkpoint;
use crate::identity::FileId;

fn known(producer: u64, offset: u64) -> Checkpoint {
    let id = FileId { device: 1, inode: producer };
    Checkpoint { id, ..checkpoint(producer, offset) }
}

fn sent(to: u64) -> Sent {
    Sent { to, print: to * 3 }
}

/// Offset and sent end by producer, what is complained of, and whether nobody ran here before.
type Read = (Vec<(u64, u64, Option<u64>)>, Option<String>, bool);

fn read(folder: &Path) -> Read {
    let (_, found) = Store::open(folder).unwrap();
    let facts = |c: &Checkpoint| (c.producer, c.offset, c.sent.map(|sent| sent.to));
    let mut known: Vec<_> = found.checkpoints.iter().map(facts).collect();
    known.sort_unstable();
    (known, found.complaint, found.first_run)
}

fn journals(folder: &Path) -> Vec<PathBuf> {
    files(&folder.join(FOLDER)).into_iter().map(|(_, path)| path).collect()
}

#[test]
fn what_is_appended_counts_upon_what_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.save(&[known(1, 10), known(2, 20)]).unwrap();
    store.append(&[known(2, 25)]).unwrap();
    store.append_durably(&[known(3, 0)]).unwrap();
    store.note(3, sent(30));
    store.note(2, sent(24));
    drop(store);
    let expected = vec![(1, 10, None), (2, 25, Some(24)), (3, 0, Some(30))];
    assert_eq!(read(folder.path()), (expected, None, false));
}

#[test]
fn a_journal_alone_is_no_first_run() {
    let folder = tempfile::tempdir().unwrap();
    let (store, found) = Store::open(folder.path()).unwrap();
    assert!(found.first_run);
    store.append_durably(&[known(1, 1)]).unwrap();
    drop(store);
    assert_eq!(read(folder.path()), (vec![(1, 1, None)], None, false));
}

#[test]
fn what_was_sent_while_a_checkpoint_was_on_its_way_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.append(&[known(1, 0)]).unwrap();
    store.note(1, sent(50));
    store.append(&[known(1, 40)]).unwrap();
    drop(store);
    assert_eq!(read(folder.path()).0, [(1, 40, Some(50))]);
}

#[test]
fn what_is_sent_during_a_whole_save_is_in_the_journal_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.append(&[known(1, 0)]).unwrap();
    let number = store.turn_over();
    store.note(1, sent(50));
    store.replace(number, &[known(1, 0)]).unwrap();
    drop(store);
    assert_eq!(read(folder.path()).0, [(1, 0, Some(50))]);
}

#[test]
fn a_whole_save_that_fails_leaves_what_both_journals_say() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.append(&[known(1, 1), known(2, 2)]).unwrap();
    store.turn_over();
    store.append(&[known(2, 5)]).unwrap();
    drop(store);
    assert_eq!(read(folder.path()).0, [(1, 1, None), (2, 5, None)]);
}

#[test]
fn journals_are_removed_once_two_whole_saves_passed_them() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    for round in 0..5 {
        store.append(&[known(1, round)]).unwrap();
        store.save(&[known(1, round)]).unwrap();
    }
    store.append(&[known(1, 9)]).unwrap();
    assert_eq!(journals(folder.path()).len(), 2);
    drop(store);
    // Where the last save is damaged, the one before and its journal tell as much.
    fs::write(folder.path().join("checkpoints.json"), "").unwrap();
    let (known, complaint, _) = read(folder.path());
    assert_eq!(known, [(1, 9, None)]);
    assert!(complaint.unwrap().contains("damaged"));
}

#[test]
fn a_journal_that_is_missing_is_told() {
    for missing in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(folder.path()).unwrap();
        store.append(&[known(1, 1)]).unwrap();
        store.replace(store.turn_over(), &[known(1, 1)]).unwrap();
        store.note(1, sent(9));
        drop(store);
        assert_eq!(read(folder.path()).1, None);
        let (store, _) = Store::open(folder.path()).unwrap();
        store.append(&[known(1, 5)]).unwrap();
        drop(store);
        assert_eq!(read(folder.path()), (vec![(1, 5, Some(9))], None, false));
        // Of the two behind the whole save the first; then both.
        let behind = journals(folder.path()).split_off(1);
        assert_eq!(behind.len(), 2);
        behind.iter().take(missing + 1).for_each(|path| fs::remove_file(path).unwrap());
        let (known, complaint, first) = read(folder.path());
        assert_eq!(known.len(), 1);
        assert!(complaint.unwrap().contains("is missing") && !first);
    }
}

#[test]
fn a_whole_save_of_the_last_version_needs_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.replace(store.turn_over(), &[known(1, 1)]).unwrap();
    drop(store);
    let path = folder.path().join("checkpoints.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace(",\"begun\":true", "")).unwrap();
    fs::remove_dir_all(folder.path().join(FOLDER)).unwrap();
    assert_eq!(read(folder.path()), (vec![(1, 1, None)], None, false));
}

#[test]
fn wherever_a_journal_is_cut_or_damaged_the_rest_of_it_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    store.append(&[known(1, 10)]).unwrap();
    store.append(&[known(1, 20)]).unwrap();
    store.append(&[known(2, 30)]).unwrap();
    drop(store);
    let path = journals(folder.path()).remove(0);
    let whole = fs::read(&path).unwrap();
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', &whole).collect();
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let lines = ends.iter().skip(1).filter(|end| **end <= cut).count();
        let expected = [&[][..], &[(1, 10, None)], &[(1, 20, None)]];
        let expected =
            expected.get(lines).map_or(vec![(1, 20, None), (2, 30, None)], |e| e.to_vec());
        assert_eq!(read(folder.path()), (expected, None, false), "cut at {cut}");
    }
    for place in ends[0] + 1..ends[1] {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        fs::write(&path, damaged).unwrap();
        let (known, complaint, _) = read(folder.path());
        assert_eq!(known, [(1, 20, None), (2, 30, None)], "flipped at {place}");
        assert!(complaint.unwrap().contains("damaged"));
    }
}

#[test]
fn one_that_cannot_be_written_asks_for_a_whole_save_and_goes_on_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(folder.path()).unwrap();
    fs::write(folder.path().join(FOLDER), "in the way").unwrap();
    assert!(store.append_durably(&[known(1, 1)]).is_err());
    assert!(store.wants_whole());
    store.save(&[known(1, 1)]).unwrap();
    assert!(!store.wants_whole());
    fs::remove_file(folder.path().join(FOLDER)).unwrap();
    store.append(&[known(1, 2)]).unwrap();
    drop(store);
    assert_eq!(read(folder.path()).0, [(1, 2, None)]);
}

#[test]
fn a_newer_journal_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(FOLDER)).unwrap();
    fs::write(folder.path().join(FOLDER).join(name(0)), format!("{FORMAT} 2\n")).unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::Newer { version: 2, .. })));
}
