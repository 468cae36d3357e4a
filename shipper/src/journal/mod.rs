//! systemd's journal as a source: `journalctl` is read as it follows, its entries go into the
//! spool, and the cursor of the last one in it says where to go on, whatever ended.

mod absent;
mod entry;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use platform::clock::Clock;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe::Receiver;

use crate::config::{StartAt, Until};
use crate::feed::{Out, Post, gap, record};
use crate::metrics::Metrics;
use crate::status::Board;
pub use absent::Absent;
pub(crate) use entry::CURSOR;

/// A journalctl that ended is started again after that; one that is not there is looked for again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Bytes of entries that go into the spool together.
const PORTION_BYTES: usize = 64 << 10;
/// Bytes of an entry; longer ones are left out, which a record says.
const ENTRY_BYTES_MAX: u64 = 8 << 20;

/// What is read of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The program that reads it.
    pub journalctl: PathBuf,
    /// More of its arguments, such as `--unit=nginx` or `--directory=/var/log/journal/remote`.
    pub arguments: Vec<String>,
}

/// Why the journal is not shipped any more. What was read is in the spool.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is none.
    #[error(transparent)]
    Absent(#[from] Absent),
    /// The program cannot be run.
    #[error("cannot run {}: install systemd's journalctl, or name it with --journalctl (journalctl = in a settings file)", .program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It refuses before it says anything.
    #[error("journalctl ended ({0}) without an entry: {1}")]
    Refused(std::process::ExitStatus, String),
    /// The spool does not say where to go on; to begin again would store all of it twice.
    #[error(
        "the last record of the spool in {} has no cursor: if its files are damaged, move that \
         folder away; the journal is then read as on a first run (--start-at end skips what is in it)",
        .0.display()
    )]
    Cursor(PathBuf),
    /// What it says cannot be read, or the spool cannot.
    #[error("cannot read the journal")]
    Read(#[source] io::Error),
}

/// Reads the journal into the spool, from behind its `last` record; once, what is in it now.
///
/// # Errors
/// [`JournalError`].
pub(crate) async fn read(
    journal: Journal,
    last: Option<Vec<u8>>,
    post: &Post,
    out: &Out,
) -> Result<(), JournalError> {
    let cursor = match last {
        Some(line) => {
            let missing = || JournalError::Cursor(post.folder.clone());
            Some(entry::cursor_of(&line).ok_or_else(missing)?)
        }
        None => None,
    };
    let reader = Reader {
        cursor,
        follow: post.until == Until::Stopped,
        start_at: post.start_at,
        journal,
        clock: post.clock.clone(),
        metrics: post.metrics.clone(),
        board: post.board.clone(),
        name: post.name(),
    };
    reader.run(out).await
}

/// Reads journalctl, again and again.
struct Reader {
    journal: Journal,
    cursor: Option<String>,
    follow: bool,
    start_at: StartAt,
    clock: Clock,
    metrics: Metrics,
    board: Board,
    name: String,
}

/// A child that ends with us.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Reader {
    async fn run(mut self, out: &Out) -> Result<(), JournalError> {
        loop {
            self.wait_for_one().await?;
            // While it follows, journalctl shows this boot's entries only: what an earlier one left
            // is read before.
            let skips = self.skips() && self.follow;
            if (!skips && !self.read(out, false).await?) || !self.follow {
                return Ok(());
            }
            if !self.read(out, true).await? {
                return Ok(());
            }
            self.clock.sleep(RESTART_PAUSE).await;
        }
    }

    /// Waits until there is a journal, and says meanwhile what is missing: who ended over it would only be
    /// started again. Who ships what is there now does not wait.
    async fn wait_for_one(&self) -> Result<(), JournalError> {
        let mut waited = false;
        while let Some(absent) = self.journal.absent() {
            if !self.follow {
                return Err(absent.into());
            }
            if self.board.feed_waits(&self.name, Some(&absent.to_string())) {
                tracing::error!("{absent}; will look again");
            }
            waited = true;
            self.clock.sleep(RESTART_PAUSE).await;
        }
        if waited && self.board.feed_waits(&self.name, None) {
            tracing::info!("the journal is there now");
        }
        Ok(())
    }

    /// Whether what is there already is of no concern.
    fn skips(&self) -> bool {
        self.cursor.is_none() && self.start_at == StartAt::End
    }

    /// Reads what there is, or what there is and comes, until journalctl ends. Whether more is wanted.
    async fn read(&mut self, out: &Out, follow: bool) -> Result<bool, JournalError> {
        let had = self.cursor.clone();
        let mut running = self.start(follow)?;
        if !self.copy(&mut running, out).await? {
            return Ok(false);
        }
        let status = running.0.wait().map_err(JournalError::Read)?;
        if !status.success() && had == self.cursor {
            let says = says(&mut running).await;
            if self.follow && had.is_some() {
                tracing::warn!(%status, says, "journalctl ended, will start it again");
            } else {
                return Err(JournalError::Refused(status, says));
            }
        }
        Ok(true)
    }

    fn start(&self, follow: bool) -> Result<Running, JournalError> {
        let mut command = Command::new(&self.journal.journalctl);
        command.args(["--output=json", "--all", "--quiet", "--no-pager"]);
        if let Some(cursor) = &self.cursor {
            command.arg(format!("--after-cursor={cursor}"));
        }
        match (follow, self.skips()) {
            (true, true) => command.args(["--follow", "--lines=0"]),
            (true, false) => command.args(["--follow", "--no-tail"]),
            (false, true) => command.arg("--lines=0"),
            (false, false) => &mut command,
        };
        command.args(&self.journal.arguments).stdin(Stdio::null());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let program = self.journal.journalctl.clone();
        child.map(Running).map_err(|source| JournalError::Program { program, source })
    }

    /// Entries → records of the spool, until journalctl ends. Whether more are wanted: nobody takes
    /// any when we shall stop.
    async fn copy(&mut self, running: &mut Running, out: &Out) -> Result<bool, JournalError> {
        let Some(output) = running.0.stdout.take() else { return Ok(true) };
        let output = Receiver::from_owned_fd(OwnedFd::from(output)).map_err(JournalError::Read)?;
        let mut output = BufReader::new(output);
        let (mut text, mut records) = (Vec::new(), Vec::new());
        // Bytes of an entry that cannot be read, as far as they came.
        let mut unread = 0;
        loop {
            text.clear();
            let mut bounded = (&mut output).take(ENTRY_BYTES_MAX);
            let read = bounded.read_until(b'\n', &mut text).await.map_err(JournalError::Read)?;
            if read > 0 {
                match entry::line(&text).filter(|_| unread == 0) {
                    Some((line, cursor)) => {
                        record::put(&mut records, &line, out.note());
                        self.cursor = Some(cursor);
                    }
                    None => unread += read as u64,
                }
            }
            // One without an end is read again, from the cursor before it.
            if unread > 0 && text.ends_with(b"\n") {
                records.extend(self.left_out(std::mem::take(&mut unread), out));
            }
            let more = output.buffer().contains(&b'\n') && records.len() < PORTION_BYTES;
            if read > 0 && more {
                continue;
            }
            if !out.put(std::mem::take(&mut records)).await {
                return Ok(false);
            }
            if read == 0 {
                return Ok(true);
            }
        }
    }

    /// Says that an entry of so many bytes is not shipped.
    fn left_out(&self, bytes: u64, out: &Out) -> Vec<u8> {
        let why = "an entry of the journal is too long, or cannot be read";
        tracing::error!(bytes, "left out: {why}");
        self.metrics.dropped.inc();
        gap(out, 1, Some(bytes), why)
    }
}

/// The end of what it said before it ended.
async fn says(running: &mut Running) -> String {
    const BYTES_MAX: u64 = 4096;
    let mut text = Vec::new();
    if let Some(errors) = running.0.stderr.take()
        && let Ok(errors) = Receiver::from_owned_fd(OwnedFd::from(errors))
        && errors.take(BYTES_MAX).read_to_end(&mut text).await.is_err()
    {
        tracing::debug!("what journalctl said cannot be read");
    }
    String::from_utf8_lossy(&text).trim().to_owned()
}
