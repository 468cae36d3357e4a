//! What operators reach a running shipper by: its status on a socket in the state directory, and a
//! settings file that is read again when it changes. Its figures are in `figures`.

use std::fs::File;
use std::future::ready;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use platform::clock::Clock;
use platform::shutdown::Shutdown;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::status::{Control, Report};

/// The socket's name in the state directory.
const SOCKET: &str = "status.sock";
/// How long an asker may take to read the answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long we wait for an answer.
const ASK_TIME_MAX: Duration = Duration::from_secs(10);
/// What could not be had is tried again after that.
const RETRY_PERIOD: Duration = Duration::from_secs(5);
/// A settings file is looked at that often.
const LOOK_PERIOD: Duration = Duration::from_secs(2);

/// Why a status cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there.
    #[error("no shipper runs with the state directory {}: start it, or name another", .folder.display())]
    Absent {
        /// The state directory.
        folder: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Whether one runs is not for this user to know.
    #[error("the state directory {} is closed to this user: ask as the user of the shipper, or as root", .folder.display())]
    Closed {
        /// The state directory.
        folder: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The answer broke off.
    #[error("the shipper's answer cannot be read")]
    Answer(#[source] io::Error),
}

impl AskError {
    /// Nobody can be reached there.
    fn unreached(folder: &Path, source: io::Error) -> Self {
        let folder = folder.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Closed { folder, source },
            _ => Self::Absent { folder, source },
        }
    }
}

/// Answers each connection with a [`Report`] in JSON, until the shipper stops. While the socket
/// cannot be made (a full disk) it is tried again, and everything else goes on.
pub fn serve_status(state_dir: &Path, control: Control, clock: Clock, shutdown: Shutdown) {
    let state_dir = state_dir.to_owned();
    tokio::spawn(async move {
        let made = until_had(
            &clock,
            &shutdown,
            || ready(status_socket(&state_dir)),
            |error| {
                tracing::warn!(%error, "no status can be asked for: the socket cannot be made");
            },
        );
        let Some(listener) = made.await else { return };
        answer_all(&listener, &control, &clock, &shutdown).await;
    });
}

fn status_socket(state_dir: &Path) -> io::Result<UnixListener> {
    // The state directory is locked by us, so a socket in it is nobody's.
    platform::disk::remove_file(&state_dir.join(SOCKET))?;
    let place = SocketPlace::of(state_dir)?;
    UnixListener::bind(&place.path)
}

/// Where the socket is, in so few bytes as the system takes.
struct SocketPlace {
    path: PathBuf,
    /// Open for as long as the path is used.
    _folder: Option<File>,
}

impl SocketPlace {
    /// An address of a socket has 107 bytes at most; below a long path it is reached through the open folder.
    fn of(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(SOCKET);
        if SocketAddr::from_pathname(&path).is_ok() {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(state_dir)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }
}

async fn answer_all(
    listener: &UnixListener,
    control: &Control,
    clock: &Clock,
    shutdown: &Shutdown,
) {
    loop {
        let stream = tokio::select! {
            () = shutdown.wait() => return,
            accepted = listener.accept() => accepted,
        };
        let (Ok((mut stream, _)), Some(report)) = (stream, control.report().await) else {
            // Nobody to ask any more, or no descriptor left: the next one may be answered.
            clock.sleep(Duration::from_millis(100)).await;
            continue;
        };
        let answer = serde_json::to_vec(&report).unwrap_or_default();
        if clock.timeout(ANSWER_TIME_MAX, stream.write_all(&answer)).await.is_none() {
            tracing::debug!("who asked for the status did not read it");
        }
    }
}

/// Tries until it is had; what fails is told once. `None` when the shipper stops before.
pub(crate) async fn until_had<T, E, F: Future<Output = Result<T, E>>>(
    clock: &Clock,
    shutdown: &Shutdown,
    mut get: impl FnMut() -> F,
    tell: impl FnOnce(&E),
) -> Option<T> {
    let mut tell = Some(tell);
    loop {
        match get().await {
            Ok(had) => return Some(had),
            Err(error) => {
                if let Some(tell) = tell.take() {
                    tell(&error);
                }
            }
        }
        tokio::select! {
            () = shutdown.wait() => return None,
            () = clock.sleep(RETRY_PERIOD) => {}
        }
    }
}

/// Asks the shipper that runs with that state directory.
///
/// # Errors
/// [`AskError`] says what to do.
pub fn ask(state_dir: &Path) -> Result<Report, AskError> {
    let unreached = |source| AskError::unreached(state_dir, source);
    let place = SocketPlace::of(state_dir).map_err(unreached)?;
    let mut stream = UnixStream::connect(&place.path).map_err(unreached)?;
    stream.set_read_timeout(Some(ASK_TIME_MAX)).map_err(AskError::Answer)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(AskError::Answer)?;
    serde_json::from_slice(&answer).map_err(|error| AskError::Answer(error.into()))
}

/// Tells when a settings file is to be read again: at SIGHUP, and when it has changed. Where there is
/// none, it keeps SIGHUP from ending the process.
#[derive(Debug)]
pub struct SettingsWatch {
    path: Option<PathBuf>,
    seen: Option<(u64, i64)>,
    hangup: Signal,
    clock: Clock,
}

impl SettingsWatch {
    /// Watches a file from now on, if there is one.
    ///
    /// # Errors
    /// The system refuses to tell us of signals.
    pub fn new(path: Option<PathBuf>, clock: Clock) -> io::Result<Self> {
        let seen = path.as_deref().and_then(stamp);
        Ok(Self { path, seen, hangup: signal(SignalKind::hangup())?, clock })
    }

    /// Returns when the file is to be read again.
    pub async fn changed(&mut self) {
        loop {
            let Some(path) = &self.path else {
                self.hangup.recv().await;
                tracing::info!("SIGHUP: there is no settings file to be read again");
                continue;
            };
            tokio::select! {
                _ = self.hangup.recv() => {
                    self.seen = stamp(path);
                    return;
                }
                () = self.clock.sleep(LOOK_PERIOD) => {}
            }
            let now = stamp(path);
            // While it is being replaced it may be away for a moment.
            if now.is_some() && now != self.seen {
                self.seen = now;
                return;
            }
        }
    }
}

fn stamp(path: &Path) -> Option<(u64, i64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), crate::discover::modified_ns(&metadata)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_state_directory_may_lie_as_deep_as_the_system_lets_it() {
        let folder = tempfile::tempdir().unwrap();
        for depth in [0, 1, 2, 10] {
            let state_dir =
                (0..depth).fold(folder.path().to_owned(), |at, _| at.join("d".repeat(60)));
            std::fs::create_dir_all(&state_dir).unwrap();
            let absent = ask(&state_dir).unwrap_err();
            assert!(matches!(absent, AskError::Absent { .. }), "{absent}");
            // What an earlier process left is in nobody's way.
            for _ in 0..2 {
                let listener = status_socket(&state_dir).unwrap();
                let place = SocketPlace::of(&state_dir).unwrap();
                let _asking = UnixStream::connect(&place.path).unwrap();
                listener.accept().await.unwrap();
            }
            assert!(state_dir.join(SOCKET).exists());
        }
    }

    #[test]
    fn who_may_not_ask_is_not_told_that_nobody_runs() {
        let said = |kind: io::ErrorKind| AskError::unreached(Path::new("/s"), kind.into());
        assert!(said(io::ErrorKind::PermissionDenied).to_string().contains("as root"));
        assert!(said(io::ErrorKind::ConnectionRefused).to_string().contains("no shipper runs"));
    }
}
