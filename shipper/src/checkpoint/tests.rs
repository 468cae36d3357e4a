//! What is saved is found again, whatever happens to it.
#![expect(clippy::disallowed_methods, reason = "damage is done on purpose here")]

use super::*;

pub(super) fn checkpoint(producer: u64, offset: u64) -> Checkpoint {
    Checkpoint {
        producer,
        id: FileId { device: 1, inode: 2 },
        fingerprint: Fingerprint { head_bytes: 3, head: u64::MAX, tail: 5 },
        offset,
        sent: None,
        source: "/a\n\"b\"".to_owned(),
        path: "/a.1".to_owned(),
        real: None,
        seen_ns: 7,
        size: 0,
    }
}

fn open(folder: &Path) -> Recovered {
    Store::open(folder).unwrap().1
}

fn save(folder: &Path, checkpoints: &[Checkpoint]) -> io::Result<()> {
    Store::open(folder).unwrap().0.save(checkpoints)
}

/// By producer.
fn sorted(mut checkpoints: Vec<Checkpoint>) -> Vec<Checkpoint> {
    checkpoints.sort_by_key(|checkpoint| checkpoint.producer);
    checkpoints
}

#[test]
fn what_is_saved_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    assert!(open(folder.path()).first_run);
    let saved = vec![checkpoint(u64::MAX, 10), checkpoint(2, 20)];
    save(folder.path(), &saved).unwrap();
    let found = open(folder.path());
    assert_eq!(sorted(found.checkpoints), sorted(saved));
    assert!(!found.first_run && found.complaint.is_none());
}

#[test]
fn when_somebody_was_there_is_said_until_it_is_said_anew() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &[]).unwrap();
    assert_eq!(open(folder.path()).alive_ns, None);
    let (store, _) = Store::open(folder.path()).unwrap();
    store.alive(Timestamp(5));
    store.save(&[]).unwrap();
    drop(store);
    // Whoever was there for a moment only, and knows not what came before, does not change it.
    save(folder.path(), &[checkpoint(1, 10)]).unwrap();
    assert_eq!(open(folder.path()).alive_ns, Some(5));
}

#[test]
fn damage_falls_back_to_the_previous_and_says_so() {
    for at in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), &[checkpoint(1, 10)]).unwrap();
        save(folder.path(), &[checkpoint(1, 20)]).unwrap();
        let path = folder.path().join(CURRENT);
        let mut bytes = std::fs::read(&path).unwrap();
        match at {
            0 => bytes.clear(),
            1 => bytes.fill(0),
            2 => bytes.truncate(bytes.len() / 2),
            3 => bytes[150] ^= 1,
            _ => bytes[5] ^= 1,
        }
        std::fs::write(&path, bytes).unwrap();
        let found = open(folder.path());
        assert_eq!(found.checkpoints, [checkpoint(1, 10)], "{at}");
        assert!(found.complaint.unwrap().contains("damaged"));
        assert!(!found.first_run);
        // The next save keeps the good one as the previous, not the damaged one.
        save(folder.path(), &[checkpoint(1, 30)]).unwrap();
        assert_eq!(open(folder.path()).checkpoints, [checkpoint(1, 30)]);
    }
}

#[test]
fn a_crash_between_the_two_renames_leaves_the_previous() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &[checkpoint(1, 10)]).unwrap();
    disk::rename(&folder.path().join(CURRENT), &folder.path().join(PREVIOUS)).unwrap();
    let found = open(folder.path());
    assert_eq!(found.checkpoints, [checkpoint(1, 10)]);
    assert!(found.complaint.is_none());
}

#[test]
fn both_damaged_starts_over_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(CURRENT), b"x").unwrap();
    std::fs::write(folder.path().join(PREVIOUS), b"").unwrap();
    let found = open(folder.path());
    assert!(found.checkpoints.is_empty() && !found.first_run);
    assert!(found.complaint.unwrap().contains("from its beginning"));
}

#[test]
fn a_folder_in_the_place_of_the_checkpoints_is_damage_and_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &[checkpoint(1, 10)]).unwrap();
    save(folder.path(), &[checkpoint(1, 20)]).unwrap();
    std::fs::remove_file(folder.path().join(CURRENT)).unwrap();
    std::fs::create_dir(folder.path().join(CURRENT)).unwrap();
    let found = open(folder.path());
    assert_eq!(found.checkpoints, [checkpoint(1, 10)]);
    assert!(found.complaint.unwrap().contains("it is a folder"));
    save(folder.path(), &[checkpoint(1, 30)]).unwrap();
    assert_eq!(open(folder.path()).checkpoints, [checkpoint(1, 30)]);
}

/// As the first version wrote it: later ones go on from it.
#[test]
fn what_the_first_version_wrote_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let line = r#"{"producer":7,"device":1,"inode":2,"head_bytes":3,"head":4,"tail":5,"offset":10,"source":"/a","path":"/a.1","seen_ns":7}"#;
    let body = format!("\n{line}\n");
    let head = format!(
        r#"{{"format":"{FORMAT}","version":1,"files":1,"xxh3":{}}}"#,
        xxh3_64(body.as_bytes())
    );
    std::fs::write(folder.path().join(CURRENT), head + &body).unwrap();
    let found = open(folder.path());
    assert!(found.complaint.is_none());
    let fingerprint = Fingerprint { head_bytes: 3, head: 4, tail: 5 };
    let expected = Checkpoint { fingerprint, source: "/a".to_owned(), ..checkpoint(7, 10) };
    assert_eq!(found.checkpoints, [expected]);
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let head = format!(r#"{{"format":"{FORMAT}","version":9,"files":0,"xxh3":0}}"#);
    std::fs::write(folder.path().join(CURRENT), head + "\n").unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::Newer { version: 9, .. })));
}

#[test]
fn a_second_process_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let held = Store::open(folder.path()).unwrap();
    assert!(matches!(Store::open(folder.path()), Err(StoreError::Lock(_))));
    drop(held);
}
