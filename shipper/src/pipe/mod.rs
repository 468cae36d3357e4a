//! Standard input as a source: written to spool files that are followed like any others, so that
//! what was read survives a crash and a dead node. A full spool stops reading: the writer waits.

mod spool;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use platform::clock::Clock;
use platform::shutdown::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::config::{Config, ConfigError, Until};
use crate::files::Files;
use crate::status::ShipperError;
use crate::tail::Shipper;
pub(crate) use spool::last_line;
use spool::{SPOOL_BYTES_MAX, Spool};

/// The folder of spool files in the state directory.
pub(crate) const FOLDER: &str = "spool";
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
    input: impl AsyncRead + Unpin,
    clock: Clock,
    shutdown: Shutdown,
) -> Result<(), PipeError> {
    spooled("stdin", config, how, input, clock, shutdown).await
}

/// The same for what comes from elsewhere: that is the streams' `source`, unless a label says
/// otherwise.
pub(crate) async fn spooled(
    source: &str,
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
        labels.push(("source".to_owned(), source.to_owned()));
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
