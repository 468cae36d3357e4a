//! systemd's journal as a source: `journalctl` is read as it follows, its entries go through the
//! spool, and the cursor of the last one in the spool says where to go on, whatever ended.

mod entry;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use platform::clock::Clock;
use platform::shutdown::Shutdown;
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream,
};
use tokio::net::unix::pipe::Receiver;

use crate::config::{Config, StartAt, Until};
use crate::files::{ActionSettings, Files, RuleSettings};
use crate::pipe::{self, PipeError};

/// A journalctl that ended is started again after that.
const RESTART_PAUSE: Duration = Duration::from_secs(1);
/// Bytes between journalctl and the spool.
const DUPLEX_BYTES: usize = 64 << 10;
/// Bytes of an entry; of longer ones the rest is left out, and the entry with it.
const ENTRY_BYTES_MAX: u64 = 8 << 20;

/// What is read of the journal.
#[derive(Debug, Clone)]
pub struct Journal {
    /// The program that reads it.
    pub journalctl: PathBuf,
    /// More of its arguments, such as `--unit=nginx` or `--directory=/var/log/journal/remote`.
    pub arguments: Vec<String>,
}

/// Why the journal is not shipped any more. What was read is in the spool.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The program cannot be run.
    #[error("cannot run {}: install systemd's journalctl, or name it with --journalctl", .program.display())]
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
        "the last line of the spool in {} has no cursor: if its files are damaged, move that \
         folder away; the journal is then read as on a first run (--start-at end skips what is in it)",
        .0.display()
    )]
    Cursor(PathBuf),
    /// What it says cannot be read, or the spool cannot.
    #[error("cannot read the journal")]
    Read(#[source] io::Error),
    /// The shipping behind it stopped.
    #[error(transparent)]
    Pipe(#[from] PipeError),
}

/// Ships the journal until the wish to stop; with [`Until::Done`], what is in it now. `how` says
/// what is done to the records, as for a source of files.
///
/// # Errors
/// [`JournalError`].
pub async fn ship(
    config: Config,
    journal: Journal,
    mut how: Files,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), JournalError> {
    // The cursor is for us; nobody else has a use for it.
    let action = ActionSettings::Remove(vec![entry::CURSOR.to_owned()]);
    how.rules.insert(0, RuleSettings { when: Vec::new(), action });
    let folder = config.state_dir.join(pipe::FOLDER);
    let cursor = match pipe::last_line(&folder).map_err(JournalError::Read)? {
        Some(line) => Some(entry::cursor_of(&line).ok_or(JournalError::Cursor(folder))?),
        None => None,
    };
    let reader = Reader {
        cursor,
        follow: config.until == Until::Stopped,
        start_at: config.start_at,
        journal,
        clock: clock.clone(),
    };
    let (lines, input) = tokio::io::duplex(DUPLEX_BYTES);
    let ended = pipe::spooled("journal", config, how, input, clock, shutdown);
    tokio::pin!(ended);
    let reading = reader.run(lines);
    tokio::pin!(reading);
    tokio::select! {
        ended = &mut ended => Ok(ended?),
        read = &mut reading => {
            read?;
            Ok(ended.await?)
        }
    }
}

/// Reads journalctl, again and again.
struct Reader {
    journal: Journal,
    cursor: Option<String>,
    follow: bool,
    start_at: StartAt,
    clock: Clock,
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
    async fn run(mut self, mut lines: DuplexStream) -> Result<(), JournalError> {
        loop {
            let had = self.cursor.clone();
            let mut running = self.start()?;
            self.copy(&mut running, &mut lines).await?;
            let status = running.0.wait().map_err(JournalError::Read)?;
            if !status.success() && had == self.cursor {
                let says = says(&mut running).await;
                if self.follow && had.is_some() {
                    tracing::warn!(%status, says, "journalctl ended, will start it again");
                } else {
                    return Err(JournalError::Refused(status, says));
                }
            }
            if !self.follow {
                return Ok(());
            }
            self.clock.sleep(RESTART_PAUSE).await;
        }
    }

    fn start(&self) -> Result<Running, JournalError> {
        let mut command = Command::new(&self.journal.journalctl);
        command.args(["--output=json", "--all", "--quiet", "--no-pager"]);
        if let Some(cursor) = &self.cursor {
            command.arg(format!("--after-cursor={cursor}"));
        }
        let skips = self.cursor.is_none() && self.start_at == StartAt::End;
        match (self.follow, skips) {
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

    /// Entries → lines, until journalctl ends.
    async fn copy(
        &mut self,
        running: &mut Running,
        lines: &mut DuplexStream,
    ) -> Result<(), JournalError> {
        let Some(output) = running.0.stdout.take() else { return Ok(()) };
        let output = Receiver::from_owned_fd(OwnedFd::from(output)).map_err(JournalError::Read)?;
        let mut output = BufReader::new(output);
        let mut text = Vec::new();
        loop {
            text.clear();
            let mut bounded = (&mut output).take(ENTRY_BYTES_MAX);
            let read = bounded.read_until(b'\n', &mut text).await.map_err(JournalError::Read)?;
            if read == 0 {
                return Ok(());
            }
            let Some((line, cursor)) = entry::line(&text) else {
                tracing::warn!(bytes = text.len(), "journalctl said what is no entry: left out");
                continue;
            };
            // Nobody reads any more when the shipping behind it has stopped, and says why.
            if lines.write_all(&line).await.is_err() {
                return Ok(());
            }
            self.cursor = Some(cursor);
        }
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
