//! The spool: numbered files, the last of which is written. They end with whole lines, are followed
//! like any others, and are removed when all of them is acknowledged.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use platform::disk;

use super::PipeError;
use crate::status::Control;

/// Bytes of a spool file; it is removed when all of it is acknowledged.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Bytes of all spool files; then no more is read.
pub(super) const SPOOL_BYTES_MAX: u64 = 1 << 30;
/// Where the last line of the removed files is kept.
const LAST_LINE: &str = "last-line";

/// The last whole line that was ever put into the spool of that folder, and what is left of a
/// line behind it is cut off: who writes lines goes on from there. Not while a spool is open.
///
/// # Errors
/// As the system says.
pub(crate) fn last_line(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    for (_, path) in files(folder).into_iter().rev() {
        let bytes = std::fs::read(&path)?;
        let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
        if whole < bytes.len() {
            File::options().write(true).open(&path)?.set_len(whole as u64)?;
        }
        if let Some(line) = last_of(bytes.get(..whole).unwrap_or_default()) {
            return Ok(Some(line.to_vec()));
        }
    }
    match std::fs::read(folder.join(LAST_LINE)) {
        Ok(line) => Ok(Some(line)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn last_of(lines: &[u8]) -> Option<&[u8]> {
    let lines = lines.strip_suffix(b"\n")?;
    let start = memchr::memrchr(b'\n', lines).map_or(0, |at| at + 1);
    lines.get(start..)
}

/// Numbered files, the last of which is written.
pub(super) struct Spool {
    folder: PathBuf,
    number: u64,
    file: File,
    file_bytes: u64,
    pub(super) bytes: u64,
}

impl Spool {
    pub(super) fn open(folder: &Path) -> Result<Self, PipeError> {
        let failed = |source| PipeError::Spool { folder: folder.to_owned(), source };
        disk::create_dir_all(folder).map_err(failed)?;
        let last = files(folder).into_iter().map(|(number, _)| number).max();
        let number = last.map_or(0, |last| last + 1);
        let file = create(folder, number).map_err(failed)?;
        let bytes = disk::folder_bytes(folder);
        Ok(Self { folder: folder.to_owned(), number, file, file_bytes: 0, bytes })
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), PipeError> {
        self.write(bytes).map_err(|source| self.failed(source))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A file ends with a line, so that no line is in two of them.
        let end = memchr::memchr(b'\n', bytes).map(|at| at + 1);
        if self.file_bytes >= FILE_BYTES_MAX
            && let Some((before, after)) = end.and_then(|end| bytes.split_at_checked(end))
        {
            self.file.write_all(before)?;
            self.file.sync_data()?;
            let file = create(&self.folder, self.number + 1)?;
            (self.number, self.file, self.file_bytes) = (self.number + 1, file, 0);
            return self.put(after, before.len());
        }
        self.put(bytes, 0)
    }

    fn put(&mut self, bytes: &[u8], more: usize) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file_bytes += bytes.len() as u64;
        self.bytes += (bytes.len() + more) as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), PipeError> {
        self.file.sync_data().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> PipeError {
        PipeError::Spool { folder: self.folder.clone(), source }
    }

    /// Removes the files all of which is acknowledged, but the one that is written.
    pub(super) async fn prune(&mut self, control: &Control) {
        let Some(report) = control.report().await else { return };
        for (number, path) in files(&self.folder) {
            let name = path.display().to_string();
            let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let done =
                report.followed.iter().any(|file| file.path == name && file.acknowledged == size);
            if number < self.number && done {
                self.remove(&path);
            }
        }
        self.bytes = disk::folder_bytes(&self.folder);
    }

    /// Removes all files: all of it is acknowledged.
    pub(super) fn clear(&mut self) {
        for (_, path) in files(&self.folder) {
            self.remove(&path);
        }
    }

    fn remove(&self, path: &Path) {
        // Oldest first: what stays is the last line of all.
        let kept = std::fs::read(path).and_then(|bytes| match last_of(&bytes) {
            Some(line) => disk::write_atomically(&self.folder.join(LAST_LINE), line),
            None => Ok(()),
        });
        if let Err(error) = kept.and_then(|()| disk::remove_file(path)) {
            tracing::warn!(file = %path.display(), %error, "cannot remove a spool file");
        }
    }
}

fn create(folder: &Path, number: u64) -> io::Result<File> {
    let path = folder.join(format!("{number:010}.spool"));
    let file = File::options().create_new(true).append(true).open(path)?;
    disk::sync_dir(folder)?;
    Ok(file)
}

/// Oldest first.
fn files(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |path: &Path| path.file_stem()?.to_str()?.parse().ok();
    let mut files: Vec<(u64, PathBuf)> =
        entries.map(|entry| entry.path()).filter_map(|path| Some((number(&path)?, path))).collect();
    files.sort();
    files
}
