//! The remembered ids on disk, so that a restart does not forget them: two files that are written in
//! turn, each holding as many as are remembered.
//!
//! A file is `generation u64`, then entries of `key u128 · content u64 · crc32c u32`, little endian.
//! The process may be killed at any moment. A machine that loses power forgets what the system had not
//! written by itself yet, half a minute as a rule: the files' names are synced when they are made and a file
//! when it is full, but not its entries one by one, which would cost each request a sync of its own beside
//! the queue's. That costs a document stored twice only if its answer was lost as well, and it comes again
//! otherwise than in the very batch it was in, which the queue recognises.

use std::io;
use std::path::Path;

use crc32c::crc32c;
use platform::disk::{self, Disk, DiskFile};

use super::ids::IDS_MAX;

/// Bytes before the entries.
const HEAD_BYTES: u64 = 8;
/// Bytes of an entry.
const ENTRY_BYTES: usize = 28;

/// An id and what stands under it.
pub(super) type Entry = (u128, u64);

/// The files.
#[derive(Debug)]
pub(super) struct Kept {
    files: [DiskFile; 2],
    current: usize,
    generation: u64,
    end: u64,
}

impl Kept {
    /// Opens the files in this folder, and gives what is in them, the oldest first.
    pub(super) fn open(folder: &Path, disk: &Disk) -> io::Result<(Self, Vec<Entry>)> {
        disk::create_dir_all(folder)?;
        let files = [disk.open(&folder.join("a"))?, disk.open(&folder.join("b"))?];
        let [a, b] = [read(&files[0])?, read(&files[1])?];
        let current = usize::from(b.0 > a.0);
        let (newer, older) = if current == 1 { (b, a) } else { (a, b) };
        let end = HEAD_BYTES + (newer.1.len() * ENTRY_BYTES) as u64;
        let all = older.1.into_iter().chain(newer.1).collect();
        let mut kept = Self { files, current, generation: newer.0, end };
        if kept.generation == 0 {
            kept.turn()?;
        }
        disk::sync_dir(folder)?;
        Ok((kept, all))
    }

    /// Writes what is to be remembered.
    pub(super) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        for entries in entries.chunks(IDS_MAX) {
            if self.end >= HEAD_BYTES + (IDS_MAX * ENTRY_BYTES) as u64 {
                self.turn()?;
            }
            let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
            for (key, content) in entries {
                let start = bytes.len();
                bytes.extend_from_slice(&key.to_le_bytes());
                bytes.extend_from_slice(&content.to_le_bytes());
                let sum = crc32c(bytes.get(start..).unwrap_or_default());
                bytes.extend_from_slice(&sum.to_le_bytes());
            }
            self.file().write_at(&bytes, self.end)?;
            self.end += bytes.len() as u64;
        }
        Ok(())
    }

    /// Goes on in the other file, from its beginning.
    fn turn(&mut self) -> io::Result<()> {
        // From now on it is all that is left of what was before.
        self.file().sync()?;
        self.current = 1 - self.current;
        self.generation += 1;
        self.file().truncate(0)?;
        self.file().write_at(&self.generation.to_le_bytes(), 0)?;
        self.end = HEAD_BYTES;
        Ok(())
    }

    fn file(&self) -> &DiskFile {
        let [a, b] = &self.files;
        if self.current == 0 { a } else { b }
    }
}

/// Generation and entries up to the first that is not whole.
fn read(file: &DiskFile) -> io::Result<(u64, Vec<Entry>)> {
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    let length = length.min(8 + 2 * IDS_MAX * ENTRY_BYTES);
    let bytes = file.read_at(length, 0)?;
    let Some((generation, rest)) = bytes.split_first_chunk::<8>() else {
        return Ok((0, Vec::new()));
    };
    let entries = rest.chunks(ENTRY_BYTES).map_while(|entry| {
        let (body, sum) = entry.split_last_chunk::<4>()?;
        let (key, content) = body.split_first_chunk::<16>()?;
        let content = u64::from_le_bytes(content.try_into().ok()?);
        let is_whole = crc32c(body) == u32::from_le_bytes(*sum);
        is_whole.then_some((u128::from_le_bytes(*key), content))
    });
    Ok((u64::from_le_bytes(*generation), entries.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_after_any_end() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let entry = |n: usize| (n as u128, n as u64 * 2);
        let (mut kept, found) = Kept::open(folder.path(), &disk).unwrap();
        assert!(found.is_empty());
        kept.append(&[entry(1), entry(2)]).unwrap();
        let (mut kept, found) = Kept::open(folder.path(), &disk).unwrap();
        assert_eq!(found, [entry(1), entry(2)]);
        let many: Vec<Entry> = (3..2 * IDS_MAX + 50).map(entry).collect();
        many.chunks(1_000).for_each(|some| kept.append(some).unwrap());
        let (kept, found) = Kept::open(folder.path(), &disk).unwrap();
        assert!(found.len() >= IDS_MAX && found.len() <= 2 * IDS_MAX + 1_000);
        assert_eq!(found.last(), Some(&entry(2 * IDS_MAX + 49)));
        assert!(found.is_sorted());
        // Torn while it was written.
        kept.file().truncate(kept.end - 3).unwrap();
        let (_, torn) = Kept::open(folder.path(), &disk).unwrap();
        assert_eq!(torn, found[..found.len() - 1]);
    }
}
