//! The log keeps what was synced, cuts what was torn, and never cuts what was damaged.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use platform::disk::Faults;

use super::*;

fn open(folder: &Path) -> Result<(Log, Vec<Frame>), LogError> {
    let mut frames = Vec::new();
    let log = Log::open(folder, Disk::default(), b"start", |frame| frames.push(frame))?;
    Ok((log, frames))
}

fn payloads(frames: &[Frame]) -> Vec<&[u8]> {
    let entries = frames.iter().filter(|frame| frame.kind == FrameKind::Entry);
    entries.map(|frame| &*frame.payload).collect()
}

/// A log of three groups: one, two and one entry.
fn filled(folder: &Path) -> (PathBuf, Vec<u64>) {
    let (mut log, _) = open(folder).unwrap();
    let mut ends = vec![log.segment_bytes()];
    log.append(0, &[[b"a", b"1"]]).unwrap();
    ends.push(log.segment_bytes());
    log.append(0, &[[b"b", b"2"], [b"c", b"3"]]).unwrap();
    ends.push(log.segment_bytes());
    log.append(7, &[[b"d", b""]]).unwrap();
    ends.push(log.segment_bytes());
    (log.path(), ends)
}

#[test]
fn what_was_synced_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path());
    let (log, frames) = open(folder.path()).unwrap();
    assert_eq!(payloads(&frames), [&b"a1"[..], b"b2", b"c3", b"d"]);
    assert_eq!(frames.iter().map(|frame| frame.index).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(frames[4].term, 7);
    assert_eq!(log.next(), 5);
}

#[test]
fn a_cut_anywhere_leaves_the_whole_frames_before_it() {
    let made = tempfile::tempdir().unwrap();
    let (path, ends) = filled(made.path());
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        let folder = tempfile::tempdir().unwrap();
        disk::write_atomically(&folder.path().join(path.file_name().unwrap()), &whole[..length])
            .unwrap();
        let (mut log, frames) = open(folder.path()).unwrap();
        let groups = ends.iter().skip(1).filter(|end| **end <= length as u64).count();
        let entries = payloads(&frames).len();
        let expected = [0, 1, 3, 4][groups];
        assert!(entries == expected || (groups == 1 && entries == 2), "{length}: {entries}");
        log.append(0, &[[b"new", b""]]).unwrap();
        drop(log);
        let (_, frames) = open(folder.path()).unwrap();
        assert_eq!(payloads(&frames).last(), Some(&&b"new"[..]), "{length}");
        assert_eq!(payloads(&frames).len(), entries + 1, "{length}");
    }
}

#[test]
fn a_flipped_bit_is_never_believed_and_never_cut_away() {
    let made = tempfile::tempdir().unwrap();
    let (path, ends) = filled(made.path());
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(path.file_name().unwrap());
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        disk::write_atomically(&file, &flipped).unwrap();
        match open(folder.path()) {
            // Only in the last group: nothing after it witnesses that it had been synced.
            Ok((_, frames)) => {
                assert!(at as u64 >= ends[2], "{at}");
                assert!(payloads(&frames).len() >= 3, "{at}");
            }
            Err(LogError::Damaged { .. }) => {
                assert_eq!(std::fs::read(&file).unwrap(), flipped, "{at}");
            }
            Err(error) => panic!("{at}: {error}"),
        }
    }
}

#[test]
fn a_full_disk_keeps_nothing_half_and_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let mut log = Log::open(folder.path(), Disk::faulty(faults.clone()), b"", |_| {}).unwrap();
    log.append(0, &[[b"one", b""]]).unwrap();
    for free in [0, 1, 20, 40] {
        faults.free_bytes.store(free, Ordering::SeqCst);
        let error = log.append(0, &[[b"two", b""], [b"three", b""]]).unwrap_err();
        assert!(matches!(error, LogError::Full(_)), "{error}");
        assert!(matches!(log.roll(b"snapshot"), Err(LogError::Full(_))));
    }
    faults.free_bytes.store(i64::MAX, Ordering::SeqCst);
    log.append(0, &[[b"four", b""]]).unwrap();
    drop(log);
    assert_eq!(payloads(&open(folder.path()).unwrap().1), [&b"one"[..], b"four"]);
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let mut log = Log::open(folder.path(), Disk::faulty(faults.clone()), b"", |_| {}).unwrap();
    faults.sync_fails.store(true, Ordering::SeqCst);
    assert!(matches!(log.append(0, &[[b"x", b""]]), Err(LogError::Poisoned { .. })));
    faults.sync_fails.store(false, Ordering::SeqCst);
    assert!(matches!(log.append(0, &[[b"y", b""]]), Err(LogError::Poisoned { .. })));
}

#[test]
fn segments_roll_are_read_and_trimmed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path()).unwrap();
    log.append(0, &[[b"a", b""]]).unwrap();
    log.roll(b"second").unwrap();
    log.append(0, &[[b"b", b""]]).unwrap();
    log.roll(b"third").unwrap();
    let segments: Vec<Segment> = log.segments().cloned().collect();
    let firsts: Vec<u64> = segments.iter().map(|segment| segment.first).collect();
    assert_eq!(firsts, [0, 2, 4]);
    let mut reader = SegmentReader::open(&segments[1]).unwrap();
    assert_eq!(reader.next(segments[1].bytes).unwrap().unwrap().payload, "second");
    assert_eq!(reader.next(segments[1].bytes).unwrap().unwrap().payload, "b");
    assert_eq!(reader.next(segments[1].bytes).unwrap(), None);
    log.trim_before(3).unwrap();
    assert_eq!(log.segments().count(), 2);
    log.trim_before(100).unwrap();
    assert_eq!(log.segments().count(), 1);
    drop(log);
    assert_eq!(open(folder.path()).unwrap().1[0].payload, "third");
}

#[test]
fn a_segment_that_was_being_made_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path()).unwrap();
    log.append(0, &[[b"a", b""]]).unwrap();
    drop(log);
    for torn in [&b""[..], b"SWLG", &frame::segment_head(2)] {
        disk::write_atomically(&folder.path().join(format!("{:020}.seg", 2)), torn).unwrap();
        let (log, frames) = open(folder.path()).unwrap();
        assert_eq!(payloads(&frames), [b"a"]);
        assert_eq!(log.next(), 2);
    }
}

#[test]
fn damage_in_a_sealed_segment_names_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path()).unwrap();
    log.append(0, &[[b"hello", b""]]).unwrap();
    log.roll(b"").unwrap();
    let segment = log.segments().next().unwrap().clone();
    let mut bytes = std::fs::read(&segment.path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    disk::write_atomically(&segment.path, &bytes).unwrap();
    let mut reader = SegmentReader::open(&segment).unwrap();
    reader.next(segment.bytes).unwrap();
    let error = reader.next(segment.bytes).unwrap_err();
    assert!(matches!(error, LogError::Damaged { at: 65, .. }), "{error}");
}
