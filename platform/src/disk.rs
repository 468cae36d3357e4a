//! Files: durable writes, renames and removals, the lock of a data directory, and staged faults.
#![expect(clippy::disallowed_methods, reason = "this file is the door to the disk")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use rustix::fs::FlockOperation;

/// Opens files whose writes may be made to fail.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    faults: Option<Arc<Faults>>,
}

/// Faults of a disk, switched by a test.
#[derive(Debug)]
pub struct Faults {
    /// Bytes that still fit; writing beyond them stores what fits and fails with ENOSPC.
    pub free_bytes: AtomicI64,
    /// Every sync fails with EIO.
    pub sync_fails: AtomicBool,
}

impl Default for Faults {
    fn default() -> Self {
        Self { free_bytes: AtomicI64::new(i64::MAX), sync_fails: AtomicBool::new(false) }
    }
}

/// A file that is appended to and read at places.
#[derive(Debug)]
pub struct DiskFile {
    file: File,
    faults: Option<Arc<Faults>>,
}

impl Disk {
    /// A disk that fails as told.
    #[must_use]
    pub fn faulty(faults: Arc<Faults>) -> Self {
        Self { faults: Some(faults) }
    }

    /// Opens a file for reading and writing, made when it is not there.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(&self, path: &Path) -> io::Result<DiskFile> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        Ok(DiskFile { file, faults: self.faults.clone() })
    }

    /// Opens a file that must be there, for reading.
    ///
    /// # Errors
    /// As the system says; `NotFound` when it is gone, and nothing is made.
    pub fn open_existing(&self, path: &Path) -> io::Result<DiskFile> {
        Ok(DiskFile { file: File::open(path)?, faults: self.faults.clone() })
    }
}

impl DiskFile {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the system says.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether it holds nothing.
    ///
    /// # Errors
    /// As the system says.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Writes all bytes at a place. After an error any part of them may be there.
    ///
    /// # Errors
    /// As the system says; ENOSPC when the disk is full.
    pub fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Some(faults) = &self.faults {
            let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
            let free = faults.free_bytes.fetch_sub(length, Ordering::SeqCst);
            if free < length {
                let fits = usize::try_from(free).unwrap_or(0);
                self.file.write_all_at(bytes.get(..fits).unwrap_or_default(), at)?;
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
        }
        self.file.write_all_at(bytes, at)
    }

    /// Reads exactly so many bytes at a place.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before.
    pub fn read_at(&self, length: usize, at: u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Cuts the file to a length.
    ///
    /// # Errors
    /// As the system says.
    pub fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    /// Makes everything written so far survive a loss of power.
    ///
    /// # Errors
    /// As the system says; afterwards nothing is known of what is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        if self.faults.as_ref().is_some_and(|faults| faults.sync_fails.load(Ordering::SeqCst)) {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
        }
        self.file.sync_data()
    }
}

/// Makes a folder and those above it; they survive a loss of power.
///
/// # Errors
/// As the system says.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    let is_made = |folder: &&Path| *folder == path || !folder.exists();
    let made: Vec<&Path> = path.ancestors().take_while(is_made).collect();
    fs::create_dir_all(path)?;
    // Each one's name stands in the folder above it; the outermost first.
    let above = made.into_iter().rev().filter_map(Path::parent);
    above.filter(|parent| !parent.as_os_str().is_empty()).try_for_each(sync_dir)
}

/// Makes what was created, renamed or removed in a folder survive a loss of power.
///
/// # Errors
/// As the system says.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Replaces a file's content in one step: after a crash it holds the old or the new bytes.
///
/// # Errors
/// As the system says; the old content is still there.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(&new, path)
}

/// The names of what is in a folder.
///
/// # Errors
/// As the system says.
pub fn names(path: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(path)?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// The whole of a file.
///
/// # Errors
/// As the system says.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// Writes a file that only its owner may read.
///
/// # Errors
/// As the system says.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    remove_file(path)?;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)
}

/// Renames a file; the new name survives a loss of power.
///
/// # Errors
/// As the system says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    to.parent().map_or(Ok(()), sync_dir)
}

/// Removes a file, if it is there.
///
/// # Errors
/// As the system says.
pub fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes a folder and all below it, if it is there.
///
/// # Errors
/// As the system says.
pub fn remove_dir_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Bytes of the file system below a path: free for us, and in all.
///
/// # Errors
/// As the system says.
pub fn space(path: &Path) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::statvfs(path)?;
    Ok((stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize))
}

/// Bytes that wait to be read from a queue of the system, such as that of changed files.
///
/// # Errors
/// As the system says.
pub fn waiting_bytes(queue: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(queue)?)
}

/// Bytes of all files below a folder. What vanishes meanwhile is not counted.
#[must_use]
pub fn folder_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// A process that was killed holds its lock until its memory is given back: it is waited for so long.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A lock on a folder: held until it is dropped, or the process ends however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    /// Why the holder could not be written down.
    unwritten: Option<io::Error>,
}

/// Why a folder could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process works there.
    #[error("{} is in use by process {pid}: stop it, or choose another folder", .folder.display())]
    Held {
        /// The folder.
        folder: PathBuf,
        /// Who holds it, as it wrote itself down.
        pid: String,
    },
    /// The folder cannot be written.
    #[error("cannot write in {}: give a folder this user may write", .folder.display())]
    Unwritable {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Makes the folder if need be and locks it. Who holds it may be about to end: it is waited for
    /// up to a second.
    ///
    /// # Errors
    /// [`LockError`] says who holds it, or why it cannot be written.
    pub fn take(folder: &Path) -> Result<Self, LockError> {
        let mut lock = Self::take_unwritten(folder)?;
        match lock.unwritten.take() {
            Some(source) => Err(LockError::Unwritable { folder: folder.to_owned(), source }),
            None => Ok(lock),
        }
    }

    /// [`Lock::take`], also where nothing can be written: on a full disk, or one that is read-only
    /// now. The lock must be there then, left by whoever held it last; see [`Lock::unwritten`].
    ///
    /// # Errors
    /// [`LockError`] says who holds it, or why there is nothing that can be locked.
    pub fn take_unwritten(folder: &Path) -> Result<Self, LockError> {
        Self::take_by(folder, |path| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
        })
    }

    /// Why the folder cannot be written, if so.
    #[must_use]
    pub fn unwritten(&self) -> Option<&io::Error> {
        self.unwritten.as_ref()
    }

    fn take_by(
        folder: &Path,
        open: impl FnOnce(&Path) -> io::Result<File>,
    ) -> Result<Self, LockError> {
        let unwritable = |source| LockError::Unwritable { folder: folder.to_owned(), source };
        match create_dir_all(folder) {
            Err(error) if !folder.is_dir() => return Err(unwritable(error)),
            _ => {}
        }
        let path = folder.join("LOCK");
        let (file, refused) = match open(&path) {
            Ok(file) => (file, None),
            // To lock a file it takes no right to write it.
            Err(error) if is_disk_trouble(&error) => match File::open(&path) {
                Ok(file) => (file, Some(error)),
                Err(_) => return Err(unwritable(error)),
            },
            Err(error) => return Err(unwritable(error)),
        };
        let mut waited = Duration::ZERO;
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if waited < LOCK_PATIENCE => {
                    std::thread::park_timeout(LOCK_PAUSE);
                    waited += LOCK_PAUSE;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let pid = fs::read_to_string(&path).unwrap_or_default().trim().to_owned();
                    return Err(LockError::Held { folder: folder.to_owned(), pid });
                }
                Err(error) => return Err(unwritable(error.into())),
            }
        }
        // Over what stands there: on a full disk there may be no room but that.
        let pid = format!("{}\n", std::process::id());
        let written =
            file.write_all_at(pid.as_bytes(), 0).and_then(|()| file.set_len(pid.len() as u64));
        Ok(Self { _file: file, unwritten: refused.or(written.err()) })
    }
}

/// Whether it is the disk that takes nothing, whoever asks.
fn is_disk_trouble(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), ReadOnlyFilesystem | StorageFull | QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let error = Lock::take(folder.path()).unwrap_err();
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(lock);
        Lock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_any_more_is_locked_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let read_only = |_: &Path| Err(io::ErrorKind::ReadOnlyFilesystem.into());
        let nothing = Lock::take_by(folder.path(), read_only).unwrap_err();
        assert!(matches!(nothing, LockError::Unwritable { .. }), "{nothing}");
        drop(Lock::take(folder.path()).unwrap());
        let lock = Lock::take_by(folder.path(), read_only).unwrap();
        let why = lock.unwritten().unwrap();
        assert_eq!(why.kind(), io::ErrorKind::ReadOnlyFilesystem);
        assert!(matches!(Lock::take(folder.path()), Err(LockError::Held { .. })));
        drop(lock);
        assert!(Lock::take_unwritten(folder.path()).unwrap().unwritten().is_none());
        // Who may not open it is told so, disk or no disk.
        let closed = |_: &Path| Err(io::ErrorKind::PermissionDenied.into());
        assert!(Lock::take_by(folder.path(), closed).is_err());
    }

    #[test]
    fn who_is_about_to_end_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let held = Lock::take(path).unwrap();
        std::thread::scope(|scope| {
            let (began, begins) = std::sync::mpsc::channel();
            let next = scope.spawn(move || {
                began.send(()).unwrap();
                Lock::take(path)
            });
            begins.recv().unwrap();
            drop(held);
            next.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_full_disk_stores_what_fits_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let file = Disk::faulty(faults.clone()).open(&folder.path().join("f")).unwrap();
        faults.free_bytes.store(3, Ordering::SeqCst);
        let error = file.write_at(b"hello", 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(file.len().unwrap(), 3);
    }

    #[test]
    fn a_file_is_replaced_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
}
