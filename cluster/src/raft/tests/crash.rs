//! Stopping after every write, full disks, and damage.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use platform::clock::Clock;
use platform::disk::{self, Faults};

use super::*;

/// One step of a life of the log. `Err` is a crash in its middle.
type Act = fn(&LogStore<Tally>) -> Result<(), LogError>;

/// Appends so many commands behind what is there.
fn push(store: &LogStore<Tally>, count: u64) -> Result<(), LogError> {
    store.0.append(&next(store, count))
}

/// So many commands that may stand behind what is there.
fn next(store: &LogStore<Tally>, count: u64) -> Vec<Entry> {
    let next = store.tail(|_, last| behind(last.as_ref()));
    let text = |index: u64| format!("{index} is the number of this command").repeat(3);
    (next..next + count).map(|index| command(1 + index / 4, index, &text(index))).collect()
}

fn ahead() -> SnapshotPoint {
    let Entry { log_id: id, payload } = members(9, 30, &[1, 2]);
    let EntryPayload::Membership(members) = payload else { unreachable!("it is one") };
    let fold = Tally { count: 20, last: 30, sum: 77 };
    SnapshotPoint {
        log_id: Some(log_id(9, 1, 40)),
        membership: StoredMembership::new(Some(id), members),
        fold: fold.snapshot().into(),
    }
}

const LIFE: [Act; 10] = [
    |store| push(store, 1),
    |store| push(store, 3),
    |store| push(store, 4),
    |store| store.0.truncate(5),
    |store| push(store, 2),
    |store| store.0.purge(log_id(2, 1, 4)).map(drop),
    |store| push(store, 4),
    |store| store.0.truncate(8),
    |store| wait(store.restart(ahead())),
    |store| push(store, 5),
];

/// All that can be seen of a log.
fn view(store: &LogStore<Tally>) -> (Vec<Entry>, Tally, Option<LogId>, SnapshotPoint) {
    let (fold, last) = store.tail(|fold, last| (fold.clone(), last));
    (read_all(store), fold, last, wait(store.base()).unwrap())
}

#[test]
fn a_stop_at_any_byte_leaves_the_log_before_or_after_the_step() {
    let whole = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let store = LogStore::open(whole.path(), Disk::faulty(faults.clone()), SMALL, Tally::default());
    let store = store.unwrap();
    let mut views = vec![view(&store)];
    for act in LIFE {
        act(&store).unwrap();
        views.push(view(&store));
    }
    let written = i64::MAX - faults.free_bytes.load(Ordering::SeqCst);
    drop(store);
    for free in (0..=written).step_by(29) {
        let folder = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        faults.free_bytes.store(free, Ordering::SeqCst);
        let disk = Disk::faulty(faults);
        let mut done = 0;
        if let Ok(store) = LogStore::open(folder.path(), disk, SMALL, Tally::default()) {
            done = LIFE.iter().take_while(|act| act(&store).is_ok()).count();
        }
        let store = open(folder.path()).unwrap_or_else(|error| panic!("{free}: {error}"));
        let seen = view(&store);
        let after = views.get(done + 1).is_some_and(|after| seen == *after);
        assert!(seen == views[done] || after, "{free} bytes, {done} steps: {seen:?}");
        push(&store, 2).unwrap();
        drop(store);
        drop(open(folder.path()).unwrap());
    }
}

/// A copy of a folder.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some()).collect();
    paths.sort();
    paths
}

/// A log of several segments.
fn filled() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    store.0.save_vote(Vote::new(5, 1)).unwrap();
    for _ in 0..9 {
        push(&store, 2).unwrap();
    }
    assert!(store.segments().len() > 3, "{:?}", store.segments());
    folder
}

#[test]
fn a_restart_that_is_cut_short_leaves_the_old_log_or_the_new() {
    let before = filled();
    let old = view(&open(before.path()).unwrap());
    let after = copy(before.path());
    let store = open(after.path()).unwrap();
    wait(store.restart(ahead())).unwrap();
    let new = view(&store);
    assert_eq!((new.0.len(), new.2, &new.3), (0, ahead().log_id, &ahead()));
    drop(store);
    let [made] = &files(after.path())[..] else { panic!("one segment is left") };
    let bytes = std::fs::read(made).unwrap();
    for length in (0..bytes.len()).step_by(7) {
        let folder = copy(before.path());
        let torn = folder.path().join(made.file_name().unwrap());
        disk::write_atomically(&torn, &bytes[..length]).unwrap();
        assert_eq!(view(&open(folder.path()).unwrap()), old, "{length}");
    }
    let segments = files(before.path()).len();
    for removed in 0..1 << segments {
        let folder = copy(before.path());
        disk::write_atomically(&folder.path().join(made.file_name().unwrap()), &bytes).unwrap();
        for (at, path) in files(before.path()).iter().enumerate() {
            if removed & (1 << at) != 0 {
                disk::remove_file(&folder.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        assert_eq!(view(&open(folder.path()).unwrap()), new, "{removed:b}");
        assert_eq!(files(folder.path()).len(), 1, "{removed:b}");
    }
}

#[test]
fn a_cut_that_is_cut_short_leaves_a_part_of_what_was_cut_off() {
    let before = filled();
    let old = view(&open(before.path()).unwrap()).0;
    let after = copy(before.path());
    let store = open(after.path()).unwrap();
    store.0.truncate(3).unwrap();
    drop(store);
    let kept = files(after.path()).len();
    let all = files(before.path());
    for left in (kept..=all.len()).rev() {
        let folder = copy(before.path());
        let mark = std::fs::read(after.path().join("mark")).unwrap();
        disk::write_atomically(&folder.path().join("mark"), &mark).unwrap();
        for path in &all[left..] {
            disk::remove_file(&folder.path().join(path.file_name().unwrap())).unwrap();
        }
        let seen = view(&open(folder.path()).unwrap()).0;
        assert!(seen.len() >= 3 && old.starts_with(&seen), "{left}: {}", seen.len());
    }
}

#[test]
fn a_flipped_bit_stops_the_member_and_changes_nothing() {
    let whole = filled();
    for path in files(whole.path()) {
        let bytes = std::fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(11) {
            let folder = copy(whole.path());
            let file = folder.path().join(path.file_name().unwrap());
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            disk::write_atomically(&file, &flipped).unwrap();
            let error = open(folder.path()).map(drop).unwrap_err();
            assert!(matches!(error, LogError::Damaged { .. }), "{}: {at}: {error}", path.display());
            assert_eq!(std::fs::read(&file).unwrap(), flipped);
            assert_eq!(files(folder.path()).len(), files(whole.path()).len());
        }
        let folder = copy(whole.path());
        let file = folder.path().join(path.file_name().unwrap());
        disk::write_atomically(&file, &bytes[..bytes.len() - 1]).unwrap();
        let error = open(folder.path()).map(drop).unwrap_err();
        assert!(matches!(error, LogError::Damaged { .. }), "{}: {error}", path.display());
    }
}

#[test]
fn a_torn_tail_is_cut_at_the_last_whole_entry() {
    let whole = filled();
    let old = view(&open(whole.path()).unwrap()).0;
    let last = files(whole.path()).pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    for length in (0..bytes.len()).step_by(5) {
        let folder = copy(whole.path());
        // As after a loss of power: what was noted as durable did not reach the disk.
        disk::remove_file(&folder.path().join("mark")).unwrap();
        let torn = folder.path().join(last.file_name().unwrap());
        disk::write_atomically(&torn, &bytes[..length]).unwrap();
        let store = open(folder.path()).unwrap();
        let seen = view(&store).0;
        assert!(seen.len() + 4 >= old.len() && old.starts_with(&seen), "{length}");
        push(&store, 1).unwrap();
        drop(store);
        assert_eq!(read_all(&open(folder.path()).unwrap()).len(), seen.len() + 1);
    }
}

#[test]
fn what_is_missing_stops_the_member() {
    let whole = filled();
    let segments = files(whole.path());
    for missing in &segments {
        let folder = copy(whole.path());
        let name = missing.file_name().unwrap();
        disk::remove_file(&folder.path().join(name)).unwrap();
        let error = open(folder.path()).map(drop).unwrap_err();
        assert!(matches!(error, LogError::Missing(_)), "{}: {error}", missing.display());
    }
    let folder = copy(whole.path());
    disk::remove_file(&folder.path().join("state")).unwrap();
    assert!(matches!(open(folder.path()).map(drop), Err(LogError::Missing(_))));
    let folder = copy(whole.path());
    for path in &segments {
        disk::remove_file(&folder.path().join(path.file_name().unwrap())).unwrap();
    }
    assert!(matches!(open(folder.path()).map(drop), Err(LogError::Missing(_))));
}

#[test]
fn a_full_disk_keeps_nothing_half_and_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let disk = Disk::faulty(faults.clone());
    let store = LogStore::open(folder.path(), disk, SMALL, Tally::default()).unwrap();
    push(&store, 5).unwrap();
    let before = view(&store);
    for free in [0, 1, 40, 200] {
        faults.free_bytes.store(free, Ordering::SeqCst);
        assert!(matches!(push(&store, 3), Err(LogError::Full(_))));
        assert!(matches!(wait(store.restart(ahead())), Err(LogError::Full(_))));
        assert_eq!(view(&store), before);
    }
    faults.free_bytes.store(i64::MAX, Ordering::SeqCst);
    push(&store, 3).unwrap();
    let after = view(&store);
    assert_eq!(after.0.len(), 8);
    drop(store);
    assert_eq!(view(&open(folder.path()).unwrap()), after);
}

/// Real time: the disk is looked at anew every quarter of a second.
#[tokio::test]
async fn who_waits_for_room_goes_on_when_there_is_some() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let disk = Disk::faulty(faults.clone());
    let patient = LogSettings { room_bytes_min: Some(1), ..SMALL };
    let store = LogStore::open(folder.path(), disk, patient, Tally::default()).unwrap();
    faults.free_bytes.store(0, Ordering::SeqCst);
    let (pushing, entries) = (store.clone(), next(&store, 3));
    let mut pushed =
        tokio::spawn(async move { pushing.written(move |log| log.append(&entries)).await });
    let early = Clock::system().timeout(Duration::from_millis(400), &mut pushed).await;
    assert!(early.is_none() && read_all(&store).is_empty(), "{early:?}");
    faults.free_bytes.store(i64::MAX, Ordering::SeqCst);
    pushed.await.unwrap().unwrap();
    assert_eq!(read_all(&store).len(), 3);
    // Whoever ends does not wait.
    faults.free_bytes.store(0, Ordering::SeqCst);
    store.give_up_waiting();
    let entries = next(&store, 1);
    let refused = store.written(move |log| log.append(&entries)).await;
    assert!(matches!(refused, Err(LogError::Full(_))), "{refused:?}");
}

#[test]
fn after_a_failed_sync_only_opening_again_writes() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let disk = Disk::faulty(faults.clone());
    let store = LogStore::open(folder.path(), disk, SMALL, Tally::default()).unwrap();
    faults.sync_fails.store(true, Ordering::SeqCst);
    assert!(matches!(push(&store, 1), Err(LogError::Poisoned { .. })));
    faults.sync_fails.store(false, Ordering::SeqCst);
    assert!(store.is_poisoned());
    assert!(matches!(push(&store, 1), Err(LogError::Poisoned { .. })));
    assert_eq!(read_all(&store), []);
    drop(store);
    push(&open(folder.path()).unwrap(), 1).unwrap();
}

#[test]
fn entries_that_do_not_follow_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).unwrap();
    push(&store, 3).unwrap();
    for entries in [vec![command(1, 4, "x")], vec![command(1, 3, "x"), command(1, 5, "x")]] {
        assert!(matches!(store.0.append(&entries), Err(LogError::Hole { .. })));
    }
    assert_eq!(read_all(&store).len(), 3);
}
