//! Standard input as a source: written to spool files that are followed like any others, so that
//! what was read survives a crash and a dead node. A full spool stops reading: the writer waits.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::clock::Clock;
use platform::disk;
use platform::shutdown::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::config::{Config, ConfigError, Until};
use crate::files::Files;
use crate::status::{Control, ShipperError};
use crate::tail::Shipper;

/// The folder of spool files in the state directory.
const FOLDER: &str = "spool";
/// Bytes of a spool file; it is removed when all of it is acknowledged.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Bytes of all spool files; then no more is read.
const SPOOL_BYTES_MAX: u64 = 1 << 30;
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Acknowledged files are looked for that often.
const PRUNE_PERIOD: Duration = Duration::from_millis(500);

/// Why a pipe ends early. What was read is in the spool, and sent when it is started again.
#[derive(Debug, thiserror::Error)]
pub enum PipeError {
    /// The spool cannot be written: what comes in would not survive.
    #[error("cannot write to the spool in {}", .folder.display())]
    Spool {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Standard input cannot be read.
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The shipper stopped.
    #[error(transparent)]
    Ship(#[from] ShipperError),
}

/// Ships what comes in until it ends and all of it is acknowledged, or until the wish to stop.
/// `how` says how lines are read; its paths do not matter.
///
/// # Errors
/// [`PipeError`].
pub async fn pipe(
    config: Config,
    how: Files,
    mut input: impl AsyncRead + Unpin,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), PipeError> {
    let folder = config.state_dir.join(FOLDER);
    let mut spool = Spool::open(&folder)?;
    let paths = vec![format!("{}/*.spool", folder.display())];
    let mut labels = config.labels.clone();
    if !labels.iter().any(|(name, _)| name == "source") {
        labels.push(("source".to_owned(), "stdin".to_owned()));
    }
    let files = vec![Files { paths, ..how }];
    let config = Config { files, paths: Vec::new(), labels, until: Until::Stopped, ..config };
    let shipper = Shipper::start(config.clone(), clock.clone(), shutdown.clone())?;
    let control = shipper.control();
    let ended = shipper.join();
    tokio::pin!(ended);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        tokio::select! {
            ended = &mut ended => return Ok(ended?),
            read = input.read(&mut buffer), if spool.bytes < SPOOL_BYTES_MAX => {
                match read.map_err(PipeError::Input)? {
                    0 => break,
                    read => spool.append(buffer.get(..read).unwrap_or_default())?,
                }
            }
            () = clock.sleep(PRUNE_PERIOD) => spool.prune(&control).await,
        }
    }
    spool.sync()?;
    control.reload(Config { until: Until::Done, ..config }).await?;
    ended.await?;
    if !shutdown.is_triggered() {
        spool.clear();
    }
    Ok(())
}

/// Numbered files, the last of which is written.
struct Spool {
    folder: PathBuf,
    number: u64,
    file: File,
    file_bytes: u64,
    bytes: u64,
}

impl Spool {
    fn open(folder: &Path) -> Result<Self, PipeError> {
        let failed = |source| PipeError::Spool { folder: folder.to_owned(), source };
        disk::create_dir_all(folder).map_err(failed)?;
        let last = files(folder).into_iter().map(|(number, _)| number).max();
        let number = last.map_or(0, |last| last + 1);
        let file = create(folder, number).map_err(failed)?;
        let bytes = disk::folder_bytes(folder);
        Ok(Self { folder: folder.to_owned(), number, file, file_bytes: 0, bytes })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), PipeError> {
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

    fn sync(&self) -> Result<(), PipeError> {
        self.file.sync_data().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> PipeError {
        PipeError::Spool { folder: self.folder.clone(), source }
    }

    /// Removes the files all of which is acknowledged, but the one that is written.
    async fn prune(&mut self, control: &Control) {
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
    fn clear(&mut self) {
        for (_, path) in files(&self.folder) {
            self.remove(&path);
        }
    }

    fn remove(&self, path: &Path) {
        if let Err(error) = disk::remove_file(path) {
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

fn files(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let number = |path: &Path| path.file_stem()?.to_str()?.parse().ok();
    entries.map(|entry| entry.path()).filter_map(|path| Some((number(&path)?, path))).collect()
}
