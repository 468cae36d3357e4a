//! Blocks as files, each with a checksum in front; those used longest ago go when there is no space.
//! Nothing is synced: a block that a loss of power cut short is noticed and fetched again.
#![expect(clippy::disallowed_methods, reason = "a cache need not survive a loss of power")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::disk;
use crate::objects::figures::ObjectFigures;
use crate::objects::folder::{changed, walk};

/// First bytes of every block's file.
const MAGIC: [u8; 8] = *b"SWLBLCK1";
/// Bytes in front of a block: magic, object, block, the object's length, the checksum.
const HEADER_BYTES: usize = 8 + 16 + 8 + 8 + 4;
/// How names end of files that are being written.
const NEW: &str = ".new";

/// A block of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// What stands for the object: a hash of its name.
    pub(super) object: u128,
    /// The block's number in it.
    pub(super) block: u64,
}

/// A block as it was kept.
#[derive(Debug)]
pub(super) struct Block {
    object_bytes: u64,
    content: Bytes,
}

/// The blocks in a folder.
#[derive(Debug)]
pub(super) struct DiskBlocks {
    folder: PathBuf,
    /// What it may be at most, and what it is now.
    bytes_most: u64,
    bytes_max: AtomicU64,
    kept: Mutex<Kept>,
    new_count: AtomicU64,
}

/// What is in the folder, and in which order it was used.
#[derive(Debug, Default)]
struct Kept {
    blocks: BTreeMap<Key, Entry>,
    by_use: BTreeMap<u64, Key>,
    bytes: u64,
    use_next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    used: u64,
}

impl DiskBlocks {
    pub(super) fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        disk::create_dir_all(folder)?;
        let mut found = Vec::new();
        walk(folder, &mut |name, path, meta| {
            match Key::of_file(name) {
                Some(key) => found.push((changed(meta), key, meta.len())),
                // What was being written when the process ended.
                None if name.ends_with(NEW) => disk::remove_file(path)?,
                None => {}
            }
            Ok(())
        })?;
        found.sort_by_key(|(changed, key, _)| (*changed, *key));
        let mut kept = Kept::default();
        for (_, key, bytes) in found {
            kept.insert(key, bytes);
        }
        let (kept, new_count) = (Mutex::new(kept), AtomicU64::new(0));
        let folder = folder.to_owned();
        let (bytes_most, bytes_max) = (bytes_max, AtomicU64::new(bytes_max));
        let blocks = Self { folder, bytes_most, bytes_max, kept, new_count };
        blocks.make_space();
        Ok(blocks)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.kept().bytes
    }

    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// From now on it holds so many bytes at most.
    pub(super) fn bound(&self, bytes: u64) {
        self.bytes_max.store(bytes.min(self.bytes_most), Ordering::Relaxed);
        self.make_space();
    }

    /// Whether a block is there; it is now the one used last.
    pub(super) fn has(&self, key: Key) -> bool {
        self.kept().touch(key)
    }

    /// A block, when it is there and whole.
    pub(super) fn read(&self, key: Key, figures: &ObjectFigures) -> Option<Block> {
        if !self.kept().touch(key) {
            return None;
        }
        let read = fs::read(self.path(key)).map(Bytes::from);
        if let Some(block) = read.as_ref().ok().and_then(|bytes| decode(key, bytes.clone())) {
            return Some(block);
        }
        let is_gone = read.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !is_gone {
            figures.cache_damaged.inc();
            tracing::warn!(file = %self.path(key).display(), "a block of the cache is damaged: it is fetched again");
        }
        self.kept().remove(key);
        self.remove_file(key);
        None
    }

    /// The length of an object that has a block here.
    pub(super) fn object_bytes(&self, object: u128, figures: &ObjectFigures) -> Option<u64> {
        let first = self.kept().of(object).next()?;
        Some(self.read(first, figures)?.object_bytes)
    }

    /// Keeps a block. A disk that does not take it is no reason to fail.
    pub(super) fn write(&self, key: Key, object_bytes: u64, content: &[u8]) {
        let path = self.path(key);
        let new = self.new_count.fetch_add(1, Ordering::Relaxed);
        let new = path.with_extension(format!("{new:x}{NEW}"));
        let header = header(key, object_bytes, content);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
            let mut file = File::create(&new)?;
            file.write_all(&header)?;
            file.write_all(content)?;
            fs::rename(&new, &path)
        });
        match written {
            Ok(()) => self.kept().insert(key, (HEADER_BYTES + content.len()) as u64),
            Err(error) => {
                tracing::warn!(%error, file = %path.display(), "a block could not be kept");
                drop(fs::remove_file(&new));
            }
        }
        self.make_space();
    }

    /// Removes what is kept of an object.
    pub(super) fn remove(&self, object: u128) {
        let mut kept = self.kept();
        let keys: Vec<Key> = kept.of(object).collect();
        for key in &keys {
            kept.remove(*key);
        }
        drop(kept);
        for key in keys {
            self.remove_file(key);
        }
    }

    fn make_space(&self) {
        let mut gone = Vec::new();
        let mut kept = self.kept();
        while kept.bytes > self.bytes_max() {
            let Some(key) = kept.by_use.first_key_value().map(|(_, key)| *key) else { break };
            kept.remove(key);
            gone.push(key);
        }
        drop(kept);
        for key in gone {
            self.remove_file(key);
        }
    }

    fn remove_file(&self, key: Key) {
        if let Err(error) = disk::remove_file(&self.path(key)) {
            tracing::warn!(%error, "a block of the cache could not be removed");
        }
    }

    fn path(&self, key: Key) -> PathBuf {
        let name = format!("{:032x}-{:x}", key.object, key.block);
        let folder = name.get(..2).unwrap_or_default();
        self.folder.join(folder).join(name)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Whether a block is there; it is now the one used last.
    fn touch(&mut self, key: Key) -> bool {
        let Some(entry) = self.blocks.get_mut(&key) else { return false };
        self.by_use.remove(&entry.used);
        entry.used = self.use_next;
        self.by_use.insert(self.use_next, key);
        self.use_next += 1;
        true
    }

    fn insert(&mut self, key: Key, bytes: u64) {
        self.remove(key);
        self.blocks.insert(key, Entry { bytes, used: self.use_next });
        self.by_use.insert(self.use_next, key);
        self.use_next += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, key: Key) {
        if let Some(entry) = self.blocks.remove(&key) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }

    fn of(&self, object: u128) -> impl Iterator<Item = Key> + '_ {
        let all = Key { object, block: 0 }..=Key { object, block: u64::MAX };
        self.blocks.range(all).map(|(key, _)| *key)
    }
}

impl Key {
    /// From a file's name in the cache's folder.
    fn of_file(name: &str) -> Option<Self> {
        let (folder, name) = name.split_once('/')?;
        let (object, block) = name.split_once('-')?;
        let is_ours = object.len() == 32 && object.starts_with(folder);
        let object = u128::from_str_radix(object, 16).ok()?;
        let block = u64::from_str_radix(block, 16).ok()?;
        is_ours.then_some(Self { object, block })
    }
}

impl Block {
    pub(super) fn into_content(self) -> Bytes {
        self.content
    }
}

fn header(key: Key, object_bytes: u64, content: &[u8]) -> Vec<u8> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&key.object.to_le_bytes());
    header.extend_from_slice(&key.block.to_le_bytes());
    header.extend_from_slice(&object_bytes.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header), content);
    header.extend_from_slice(&crc.to_le_bytes());
    header
}

/// A block from its file's bytes, if they are what was written for it.
fn decode(key: Key, mut bytes: Bytes) -> Option<Block> {
    if bytes.len() < HEADER_BYTES {
        return None;
    }
    let front = bytes.split_to(HEADER_BYTES);
    let object_bytes = u64::from_le_bytes(*front.get(32..)?.first_chunk::<8>()?);
    let is_whole = front == header(key, object_bytes, &bytes);
    is_whole.then_some(Block { object_bytes, content: bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_given_back_and_no_more_are_taken_than_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = DiskBlocks::open(folder.path(), 1 << 20).unwrap();
        let figures = ObjectFigures::default();
        let key = |block| Key { object: 7, block };
        let write = || (0..10).for_each(|block| blocks.write(key(block), 1_000, &[7; 100]));
        write();
        let all = blocks.bytes();
        assert_eq!(all, 10 * (HEADER_BYTES as u64 + 100));
        blocks.bound(all / 2);
        assert_eq!(blocks.bytes(), all / 2);
        assert!(blocks.read(key(0), &figures).is_none(), "what was used longest ago went");
        assert!(blocks.read(key(9), &figures).is_some());
        write();
        assert_eq!(blocks.bytes(), all / 2);
        blocks.bound(0);
        assert_eq!(blocks.bytes(), 0);
        blocks.bound(u64::MAX);
        assert_eq!(blocks.bytes_max(), 1 << 20);
        write();
        assert_eq!(blocks.bytes(), all);
    }
}
