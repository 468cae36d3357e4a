//! Immutable objects by name: a local folder now; object stores come behind the same calls.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;

use crate::disk;

/// A store of immutable objects. Names are relative paths of plain parts, `/` between them.
/// Calls block; they are made from threads that do CPU work, not from I/O tasks.
#[derive(Debug, Clone)]
pub struct Objects {
    root: Arc<PathBuf>,
    read_bytes: Counter,
}

impl Objects {
    /// Objects as files below a folder, which is made when it is not there.
    ///
    /// # Errors
    /// As the system says.
    pub fn local(root: &Path) -> io::Result<Self> {
        disk::create_dir_all(root)?;
        Ok(Self { root: Arc::new(root.to_owned()), read_bytes: Counter::default() })
    }

    /// Takes a finished file over as an object. It must be on the same file system. When this
    /// returns the object survives a loss of power.
    ///
    /// # Errors
    /// As the system says; the object is then not there.
    pub fn put_file(&self, name: &str, file: &Path) -> io::Result<()> {
        let path = self.path(name)?;
        if let Some(folder) = path.parent() {
            disk::create_dir_all(folder)?;
        }
        File::open(file)?.sync_all()?;
        disk::rename(file, &path)
    }

    /// The bytes `from..to` of an object.
    ///
    /// # Errors
    /// `NotFound`, or `UnexpectedEof` when the object is shorter.
    pub fn get_range(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        let file = File::open(self.path(name)?)?;
        let length = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, from)?;
        self.read_bytes.inc_by(length as u64);
        Ok(bytes.into())
    }

    /// Counts the bytes that were read of objects.
    #[must_use]
    pub fn read_bytes(&self) -> Counter {
        self.read_bytes.clone()
    }

    /// The length of an object in bytes.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name)?)?.len())
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// As the system says.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.path(name)?;
        disk::remove_file(&path)?;
        // The folder goes with its last object; while others are in it, it stays.
        if let Some(folder) = path.parent().filter(|folder| *folder != self.root.as_path()) {
            drop(fs::remove_dir(folder));
        }
        Ok(())
    }

    /// Names of all objects, with their lengths in bytes.
    ///
    /// # Errors
    /// As the system says.
    pub fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let mut folders = vec![(String::new(), self.root.as_path().to_owned())];
        while let Some((prefix, folder)) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                let meta = entry.metadata()?;
                if meta.is_dir() {
                    folders.push((name, entry.path()));
                } else {
                    found.push((name, meta.len()));
                }
            }
        }
        Ok(found)
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        if name.split('/').all(plain) {
            Ok(self.root.join(name))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} names no object")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_put_read_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::local(&folder.path().join("objects")).unwrap();
        let file = folder.path().join("made");
        disk::write_atomically(&file, b"0123456789").unwrap();
        objects.put_file("splits/a/body.parquet", &file).unwrap();
        assert_eq!(objects.get_range("splits/a/body.parquet", 2, 5).unwrap(), "234");
        assert_eq!(objects.list().unwrap(), [("splits/a/body.parquet".to_owned(), 10)]);
        assert!(objects.get_range("splits/a/body.parquet", 8, 12).is_err());
        objects.delete("splits/a/body.parquet").unwrap();
        objects.delete("splits/a/body.parquet").unwrap();
        assert_eq!(objects.list().unwrap(), []);
        assert!(objects.size("../x").is_err());
    }
}
