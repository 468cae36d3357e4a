//! The spool of a feed: numbered files of whole records, the last of which is written. They are
//! followed like any others, and removed when all of them is acknowledged.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use platform::disk;

use super::record::{self, Next};
use crate::status::Acknowledged;

/// Ending of spool files.
pub(crate) const ENDING: &str = "spool";
/// Bytes of a spool file; it is removed when all of it is acknowledged.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Files a spool is spread over at least, so that a full one is not full until all is sent.
const FILES_MIN: u64 = 4;
/// Where the last record of the removed files is kept.
const LAST: &str = "last";
/// A file that is given up where the spool fills the disk: checkpoints need some room too, or nothing of
/// the spool would ever be sent.
const RESERVE: &str = "reserve";
/// The same while it is written.
const RESERVE_NEW: &str = "reserve.new";
/// Its bytes.
const RESERVE_BYTES: usize = 64 << 10;

/// Numbered files, the last of which is written.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    number: u64,
    file: File,
    file_bytes: u64,
    bytes: u64,
    bytes_max: u64,
    unsynced: bool,
    /// A write failed, and what it left cannot be taken back: no more goes into this file.
    broken: bool,
    /// The disk was full, and what was kept in reserve is left to others.
    full: bool,
}

impl Spool {
    /// Opens the spool of that folder; what a crash left of a record is cut off.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        disk::create_dir_all(folder)?;
        let files = files(folder);
        if let Some((_, path)) = files.last() {
            cut_torn_end(path)?;
        }
        let number = files.last().map_or(0, |(last, _)| last + 1);
        let file = create(folder, number)?;
        let full = !reserve(folder);
        let bytes = spool_bytes(folder);
        Ok(Self {
            folder: folder.to_owned(),
            number,
            file,
            file_bytes: 0,
            bytes,
            bytes_max,
            unsynced: false,
            broken: false,
            full,
        })
    }

    /// Bytes in it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that may be in it, but for the last portion.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }

    /// Appends whole records.
    ///
    /// # Errors
    /// As the system says; none of them is in the spool then.
    pub(super) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if self.full && !self.fits(records.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file_bytes_max = FILE_BYTES_MAX.min(self.bytes_max / FILES_MIN);
        if self.file_bytes >= file_bytes_max || self.broken {
            self.turn_over()?;
        }
        if let Err(error) = self.file.write_all(records) {
            self.broken = self.file.set_len(self.file_bytes).is_err();
            if error.kind() == io::ErrorKind::StorageFull {
                give_up_reserve(&self.folder);
                self.full = true;
            }
            return Err(error);
        }
        // Until room is taken for others again, each portion leaves them theirs.
        self.full = self.full && !reserve(&self.folder);
        self.file_bytes += records.len() as u64;
        self.bytes += records.len() as u64;
        self.unsynced = true;
        Ok(())
    }

    /// Whether the disk has room for so much, beside what is for others. If nobody knows, trying tells.
    fn fits(&self, bytes: usize) -> bool {
        let wanted = (bytes + RESERVE_BYTES) as u64;
        disk::space(&self.folder).map_or(true, |(free, _)| free >= wanted)
    }

    /// Goes on in a new file: the one before can be removed once it is acknowledged.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn turn_over(&mut self) -> io::Result<()> {
        if self.file_bytes == 0 && !self.broken {
            return Ok(());
        }
        self.file.sync_data()?;
        let file = create(&self.folder, self.number + 1)?;
        (self.number, self.file, self.file_bytes) = (self.number + 1, file, 0);
        self.broken = false;
        Ok(())
    }

    /// Puts on the disk what was appended.
    ///
    /// # Errors
    /// As the system says.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Removes the files all of which is acknowledged, but the one that is written.
    pub(super) fn prune(&mut self, acknowledged: &[Acknowledged]) {
        for (number, path) in files(&self.folder) {
            let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let done = acknowledged.iter().any(|file| file.path == path && file.offset == size);
            // An empty one was made by a process that had nothing to put in.
            if number < self.number && (done || size == 0) {
                remove(&self.folder, &path);
            }
        }
        let bytes = std::mem::replace(&mut self.bytes, spool_bytes(&self.folder));
        if self.bytes < bytes {
            self.full = !reserve(&self.folder);
        }
    }

    /// Whether there are files before the one that is written.
    pub(super) fn has_old_files(&self) -> bool {
        self.bytes > self.file_bytes
    }
}

/// Removes all files of a folder's spool: all of it is acknowledged.
pub(crate) fn clear(folder: &Path) {
    for (_, path) in files(folder) {
        remove(folder, &path);
    }
    give_up_reserve(folder);
}

/// Takes room for others, where there is some and none is taken. Whether some is taken.
fn reserve(folder: &Path) -> bool {
    let path = folder.join(RESERVE);
    if path.exists() {
        return true;
    }
    let taken = disk::write_atomically(&path, &vec![0; RESERVE_BYTES]);
    if let Err(error) = &taken {
        tracing::debug!(%error, "no room is left to be given up later");
        give_up_reserve(folder);
    }
    taken.is_ok()
}

fn give_up_reserve(folder: &Path) {
    // Also what is left of one that did not fit.
    for name in [RESERVE, RESERVE_NEW] {
        let path = folder.join(name);
        if path.exists()
            && let Err(error) = disk::remove_file(&path)
        {
            tracing::warn!(%error, "cannot give up room for the checkpoints");
        }
    }
}

fn remove(folder: &Path, path: &Path) {
    let removed = std::fs::read(path).and_then(|bytes| {
        // Oldest first: what stays is the last record of all.
        let keep = || match last_of(&bytes).0 {
            Some(text) => disk::write_atomically(&folder.join(LAST), text),
            None => Ok(()),
        };
        match keep() {
            // There is room for it only once the file is gone, which may be all that fills the disk.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                disk::remove_file(path)?;
                keep()
            }
            kept => kept.and_then(|()| disk::remove_file(path)),
        }
    });
    if let Err(error) = removed {
        tracing::warn!(file = %path.display(), %error, "cannot remove a spool file");
    }
}

/// The text of the last whole record that was ever put into the spool of that folder; an empty one
/// when there is none, and bytes that are damaged.
///
/// # Errors
/// As the system says.
pub(super) fn last_text(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut damaged = false;
    for (_, path) in files(folder).into_iter().rev() {
        let bytes = std::fs::read(&path)?;
        let (last, has_damage) = last_of(&bytes);
        if let Some(text) = last {
            return Ok(Some(text.to_vec()));
        }
        damaged |= has_damage;
    }
    match std::fs::read(folder.join(LAST)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(damaged.then(Vec::new)),
        Err(error) => Err(error),
    }
}

/// The text of the last record, and whether something is damaged. Our own words are none of the source's, and
/// what was begun at the end and not written whole was nobody's yet.
fn last_of(mut bytes: &[u8]) -> (Option<&[u8]>, bool) {
    let (mut last, mut has_damage) = (None, false);
    loop {
        let used = match record::next(bytes) {
            Next::Whole(spooled, used) => {
                if !spooled.note.own {
                    last = Some(spooled.text);
                }
                used
            }
            Next::Damaged(used) => {
                has_damage = true;
                used
            }
            Next::Open => return (last, has_damage),
        };
        bytes = bytes.get(used..).unwrap_or_default();
    }
}

/// A record that was not written whole was acknowledged to nobody. Damage before the end stays:
/// who reads it says so.
fn cut_torn_end(path: &Path) -> io::Result<()> {
    let bytes = std::fs::read(path)?;
    let mut end = 0;
    while let Some(rest) = bytes.get(end..) {
        end += match record::next(rest) {
            Next::Whole(_, used) | Next::Damaged(used) => used,
            Next::Open => break,
        };
    }
    if end < bytes.len() {
        tracing::warn!(file = %path.display(), bytes = bytes.len() - end,
            "the end of the spool was not written whole: cut off");
        File::options().write(true).open(path)?.set_len(end as u64)?;
    }
    Ok(())
}

fn spool_bytes(folder: &Path) -> u64 {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    files(folder).iter().map(|(_, path)| size(path)).sum()
}

fn create(folder: &Path, number: u64) -> io::Result<File> {
    let path = folder.join(format!("{number:010}.{ENDING}"));
    let file = File::options().create_new(true).append(true).open(path)?;
    disk::sync_dir(folder)?;
    Ok(file)
}

/// Oldest first.
fn files(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |path: &Path| {
        let ours = path.extension().is_some_and(|ending| ending == ENDING);
        path.file_stem().filter(|_| ours)?.to_str()?.parse().ok()
    };
    let mut files: Vec<(u64, PathBuf)> =
        entries.map(|entry| entry.path()).filter_map(|path| Some((number(&path)?, path))).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests treat files as other programs do")]

    use super::record::Note;
    use super::*;

    #[test]
    fn a_spool_with_nothing_of_its_source_yet_is_not_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("0000000000.{ENDING}"));
        let (mut own, mut one) = (Vec::new(), Vec::new());
        record::put(
            &mut own,
            b"gap: 1 records were dropped",
            Note { own: true, ..Note::default() },
        );
        record::put(&mut one, b"one", Note::default());
        let check = |bytes: &[u8], expected: Option<&[u8]>| {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(last_text(folder.path()).unwrap().as_deref(), expected, "{bytes:?}");
        };
        check(&[], None);
        check(&own, None);
        // A crash, before anything was written whole.
        for end in [10, 24, one.len() - 1] {
            check(&one[..end], None);
            check(&[&own[..], &one[..end]].concat(), None);
        }
        check(&[&one[..], &own, &one[..5]].concat(), Some(b"one"));
        let mut damaged = one.clone();
        damaged[24] ^= 1;
        check(&damaged, Some(b""));
        check(&[0; 100], Some(b""));
    }
}
