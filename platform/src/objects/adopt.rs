//! Objects of other nodes, taken over: nothing is there before all of it is, checked and synced.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::PathBuf;

use super::folder::{Folder, unfinished};
use crate::disk;

/// Where an object goes that is there already, and who is told.
struct Aside {
    path: PathBuf,
    told: Box<dyn FnOnce() + Send>,
}

/// Bytes that are read at once to measure or copy an object.
const CHUNK_BYTES: usize = 1 << 20;

/// What is known of an object before it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// Its length.
    pub bytes: u64,
    /// CRC32C of its bytes.
    pub crc32c: u32,
}

/// An object that is being taken over. Dropped before [`Adoption::finish`], nothing is left of it.
pub struct Adoption {
    new: PathBuf,
    path: PathBuf,
    file: File,
    sum: Announced,
    /// For what is there already: without it, it is overwritten.
    aside: Option<Aside>,
    /// Called once it is there; gone then.
    adopted: Option<Box<dyn FnOnce() + Send>>,
}

impl Adoption {
    pub(super) fn begin(
        folder: &Folder,
        name: &str,
        adopted: Box<dyn FnOnce() + Send>,
    ) -> io::Result<Self> {
        let path = folder.path_made(name)?;
        let new = unfinished(&path);
        let file = File::create(&new)?;
        let sum = Announced { bytes: 0, crc32c: 0 };
        Ok(Self { new, path, file, sum, aside: None, adopted: Some(adopted) })
    }

    /// What is in its place goes there when all of it has come; then somebody is told.
    pub(super) fn setting_aside(mut self, path: PathBuf, told: Box<dyn FnOnce() + Send>) -> Self {
        self.aside = Some(Aside { path, told });
        self
    }

    /// Adds the bytes that come next.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.sum.add(bytes);
        Ok(())
    }

    /// Makes it an object, when all that was announced has come. It then survives a loss of power.
    ///
    /// # Errors
    /// `UnexpectedEof` when bytes are missing, `InvalidData` when they are others: ask again.
    pub fn finish(mut self, announced: Announced) -> io::Result<()> {
        if self.sum.bytes < announced.bytes {
            let text =
                format!("{} of {} bytes came: fetch it again", self.sum.bytes, announced.bytes);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        if self.sum != announced {
            let text = "it is not what was announced (length or CRC32C differs): fetch it again";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.file.sync_all()?;
        if let Some(aside) = self.aside.take().filter(|_| self.path.exists()) {
            if let Some(folder) = aside.path.parent() {
                disk::create_dir_all(folder)?;
            }
            disk::rename(&self.path, &aside.path)?;
            (aside.told)();
        }
        disk::rename(&self.new, &self.path)?;
        if let Some(adopted) = self.adopted.take() {
            adopted();
        }
        Ok(())
    }
}

impl fmt::Debug for Adoption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adoption")
            .field("path", &self.path)
            .field("sum", &self.sum)
            .finish_non_exhaustive()
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        if self.adopted.is_some()
            && let Err(error) = disk::remove_file(&self.new)
        {
            tracing::warn!(%error, file = %self.new.display(), "a half object stays for the sweep");
        }
    }
}

impl Announced {
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
    }

    /// Reads all there is.
    pub(super) fn measure(from: &mut impl Read) -> io::Result<Self> {
        let mut sum = Self { bytes: 0, crc32c: 0 };
        chunks(from, |bytes| {
            sum.add(bytes);
            Ok(())
        })?;
        Ok(sum)
    }
}

/// Calls with what is read, piece by piece.
pub(super) fn chunks(
    from: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => each(chunk.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;

    use super::super::Objects;
    use super::*;

    #[test]
    fn a_damaged_object_is_set_aside_when_a_whole_one_has_come() {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::local(&folder.path().join("objects")).unwrap();
        let (name, bytes) = ("splits/a/body", b"0123456789");
        let whole = Announced { bytes: 10, crc32c: crc32c::crc32c(bytes) };
        let (damaged, made) = (b"0123456 89", folder.path().join("made"));
        disk::write_atomically(&made, damaged).unwrap();
        objects.put_file(name, &made).unwrap();
        let replace = |bytes: &[u8]| {
            let mut replacement = objects.replacement(name).unwrap();
            replacement.write(bytes).unwrap();
            replacement.finish(whole)
        };
        let aside = folder.path().join("objects/.damaged/splits-a-body");
        assert_eq!(replace(damaged).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(objects.get_range(name, 0, 10).unwrap(), damaged[..], "no whole one has come");
        assert!(!aside.exists());
        replace(bytes).unwrap();
        assert_eq!(objects.get_range(name, 0, 10).unwrap(), bytes[..]);
        assert_eq!(disk::read(&aside).unwrap(), damaged);
        assert_eq!(objects.figures().damaged.get(), 1);
        assert_eq!(objects.list().unwrap(), [(name.to_owned(), 10)], "what is aside is none");
        assert_eq!(objects.sweep_aside(Timestamp(0)).unwrap(), 0, "it is younger");
        assert_eq!(objects.sweep_aside(Timestamp::MAX).unwrap(), 1);
        // Where nothing is, nothing is set aside.
        objects.delete(name).unwrap();
        replace(bytes).unwrap();
        assert!(!aside.exists());
        assert_eq!(objects.figures().damaged.get(), 1);
    }
}
