//! Objects as files below a folder: a node's own, or a single node's all.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::time::{SECOND, Timestamp};

use super::{Listed, check_name};
use crate::disk;

/// A folder of objects.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        disk::create_dir_all(root)?;
        Ok(Self { root: root.to_owned() })
    }

    pub(super) fn put_file(&self, name: &str, file: &Path) -> io::Result<()> {
        let path = self.path_made(name)?;
        File::open(file)?.sync_all()?;
        disk::rename(file, &path)
    }

    pub(super) fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path_made(name)?;
        let new = unfinished(&path);
        disk::write_atomically(&new, bytes)?;
        let linked = fs::hard_link(&new, &path);
        disk::remove_file(&new)?;
        linked?;
        path.parent().map_or(Ok(()), disk::sync_dir)
    }

    pub(super) fn get_range(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        let file = File::open(self.path(name)?)?;
        let length = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, from)?;
        Ok(bytes.into())
    }

    pub(super) fn open_file(&self, name: &str) -> io::Result<File> {
        File::open(self.path(name)?)
    }

    pub(super) fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name)?)?.len())
    }

    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.path(name)?;
        disk::remove_file(&path)?;
        // The folder goes with its last object; while others are in it, it stays.
        if let Some(folder) = path.parent().filter(|folder| *folder != self.root.as_path()) {
            drop(fs::remove_dir(folder));
        }
        Ok(())
    }

    pub(super) fn list(&self) -> io::Result<Vec<Listed>> {
        let mut found = Vec::new();
        self.walk(|name, _, meta| {
            // Files that are still being written have names which no object can have.
            if check_name(name).is_ok() {
                let changed = changed(meta);
                found.push(Listed { name: name.to_owned(), bytes: meta.len(), changed });
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Removes files that were begun before a moment and never finished.
    pub(super) fn sweep_half(&self, before: Timestamp) -> io::Result<u64> {
        let mut swept = 0;
        self.walk(|name, path, meta| {
            let is_unfinished =
                name.rsplit('/').next().is_some_and(|file| file.starts_with(UNFINISHED));
            if is_unfinished && changed(meta) < before {
                tracing::info!(name, bytes = meta.len(), "sweeping a file that was never finished");
                disk::remove_file(path)?;
                swept += 1;
            }
            Ok(())
        })?;
        Ok(swept)
    }

    /// Removes objects that were set aside before a moment.
    pub(super) fn sweep_aside(&self, before: Timestamp) -> io::Result<u64> {
        let mut swept = 0;
        walk(&self.root.join(ASIDE), &mut |name, path, meta| {
            // A file's status is changed when it is renamed, its content is not.
            if meta.ctime().saturating_mul(SECOND) < before.0 {
                tracing::info!(name, bytes = meta.len(), "sweeping an object that was set aside");
                disk::remove_file(path)?;
                swept += 1;
            }
            Ok(())
        })?;
        Ok(swept)
    }

    /// Where a damaged object is set aside; an earlier one of its name goes.
    pub(super) fn aside(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.root.join(ASIDE).join(name.replace('/', "-")))
    }

    /// Where an object is or will be; its folder is there.
    pub(super) fn path_made(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path(name)?;
        if let Some(folder) = path.parent() {
            disk::create_dir_all(folder)?;
        }
        Ok(path)
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.root.join(name))
    }

    fn walk(
        &self,
        mut each: impl FnMut(&str, &Path, &fs::Metadata) -> io::Result<()>,
    ) -> io::Result<()> {
        walk(&self.root, &mut each)
    }
}

/// The folder of objects that were set aside; no object has such a name.
const ASIDE: &str = ".damaged";

/// How names of files begin that are not objects yet.
const UNFINISHED: &str = ".unfinished-";

/// The name of a file that becomes the object at a path, in its folder; nobody else has it.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    path.with_file_name(format!("{UNFINISHED}{:016x}", crate::random::u64()))
}

/// Calls with each file below a folder: its name from there, its path, what is known of it.
/// What vanishes meanwhile is left out.
pub(super) fn walk(
    root: &Path,
    each: &mut impl FnMut(&str, &Path, &fs::Metadata) -> io::Result<()>,
) -> io::Result<()> {
    let mut folders = vec![(String::new(), root.to_owned())];
    while let Some((prefix, folder)) = folders.pop() {
        let Some(entries) = there(fs::read_dir(&folder))? else { continue };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let Some(meta) = there(entry.metadata())? else { continue };
            if meta.is_dir() {
                folders.push((name, entry.path()));
            } else {
                each(&name, &entry.path(), &meta)?;
            }
        }
    }
    Ok(())
}

fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// When a file was changed last.
pub(super) fn changed(meta: &fs::Metadata) -> Timestamp {
    let since = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    Timestamp(since.and_then(|since| i64::try_from(since.as_nanos()).ok()).unwrap_or(0))
}
