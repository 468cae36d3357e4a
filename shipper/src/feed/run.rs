//! A feed that runs: one task reads, one writes the spool and removes what is acknowledged.

use std::path::PathBuf;
use std::time::Duration;

use platform::clock::Clock;
use platform::shutdown::Shutdown;
use tokio::sync::{mpsc, oneshot};

use super::record::{self, Note};
use super::spool::{Spool, last_text};
use super::{Feed, FeedError, Input, stdin, syslog};
use crate::config::{StartAt, Until};
use crate::journal;
use crate::metrics::Metrics;
use crate::recipe::Delimiting;
use crate::status::{Acknowledged, Board};
use crate::tail::Wish;

/// Portions of records between who reads and who writes the spool.
const PORTIONS_MAX: usize = 32;
/// What was appended is on the disk after that, and acknowledged files are looked for.
const TIDY_PERIOD: Duration = Duration::from_millis(500);
/// The same for a spool that is full: somebody waits.
const FULL_PERIOD: Duration = Duration::from_millis(50);
/// A spool that cannot be written is tried again after that.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What a feed needs of the shipper.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub(crate) folder: PathBuf,
    pub(crate) board: Board,
    pub(crate) metrics: Metrics,
    pub(crate) wishes: mpsc::Sender<Wish>,
    pub(crate) clock: Clock,
    pub(crate) stop: Shutdown,
    pub(crate) until: Until,
    pub(crate) start_at: StartAt,
    /// How lines of standard input are told apart.
    pub(crate) delimiting: Delimiting,
}

impl Post {
    /// The name of the feed: that of its spool.
    pub(crate) fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// The way into the spool. Clones lead to the same.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    portions: mpsc::Sender<Vec<u8>>,
    clock: Clock,
}

impl Out {
    /// A note of what comes now.
    pub(crate) fn note(&self) -> Note<'static> {
        Note { arrival: Some(self.clock.now()), ..Note::default() }
    }

    /// Puts whole records in, when there is room. `false`: nobody takes any more.
    pub(crate) async fn put(&self, records: Vec<u8>) -> bool {
        records.is_empty() || self.portions.send(records).await.is_ok()
    }

    /// Puts them in if there is room.
    pub(super) fn offer(&self, records: Vec<u8>) -> bool {
        self.portions.try_send(records).is_ok()
    }
}

/// Reads until the end of the input, or the wish to stop; what was read is in the spool then.
///
/// # Errors
/// [`FeedError`].
pub(crate) async fn run(feed: Feed, post: Post) -> Result<(), FeedError> {
    // Before the spool is opened: opening begins a new file.
    let last = match &feed.input {
        Input::Journal(_) => last_text(&post.folder).map_err(journal::JournalError::Read)?,
        _ => None,
    };
    let spool = open(&feed, &post).await;
    post.board.feed_waits(&post.name(), None);
    let Some(spool) = spool else { return Ok(()) };
    let (portions, taken) = mpsc::channel(PORTIONS_MAX);
    let out = Out { portions, clock: post.clock.clone() };
    let reading = read(feed.input, last, &post, out);
    let (read, ()) = tokio::join!(reading, write(spool, taken, &post));
    // It may have been stopped while it waited.
    post.board.feed_waits(&post.name(), None);
    read
}

/// The way into the spool ends with it.
async fn read(input: Input, last: Option<Vec<u8>>, post: &Post, out: Out) -> Result<(), FeedError> {
    match input {
        Input::Stdin => {
            let input = tokio::io::stdin();
            stdin::read(input, &post.delimiting, &out, &post.stop).await.map_err(FeedError::Input)
        }
        Input::Journal(journal) => tokio::select! {
            read = journal::read(journal, last, post, &out) => Ok(read?),
            () = post.stop.wait() => Ok(()),
        },
        // Once there is nothing to be shipped of it but what is in the spool.
        Input::Syslog(_) if post.until != Until::Stopped => Ok(()),
        Input::Syslog(syslog) => {
            syslog::listen(&syslog, post, &out).await;
            Ok(())
        }
    }
}

/// Opens the spool, when the disk lets us.
async fn open(feed: &Feed, post: &Post) -> Option<Spool> {
    loop {
        match Spool::open(&post.folder, feed.spool_bytes_max) {
            Ok(spool) => return Some(spool),
            Err(error) => complain(post, &error),
        }
        tokio::select! {
            () = post.clock.sleep(RETRY_PAUSE) => {}
            () = post.stop.wait() => return None,
        }
    }
}

fn complain(post: &Post, error: &std::io::Error) {
    let why = format!("cannot write the spool in {}: {error}", post.folder.display());
    // It is tried every half a second, and may stay so for days.
    if post.board.feed_waits(&post.name(), Some(&why)) {
        tracing::warn!("{why}, will try again");
    }
}

/// Writes what comes, until nobody can send any more; the rest of it also when there is no room.
async fn write(mut spool: Spool, mut portions: mpsc::Receiver<Vec<u8>>, post: &Post) {
    let clock = &post.clock;
    let fill = post.metrics.fill.spool(&post.name(), spool.bytes_max());
    let mut tidy_at = clock.elapsed() + TIDY_PERIOD;
    // What the disk did not take.
    let mut held: Option<Vec<u8>> = None;
    loop {
        fill.set(spool.bytes());
        let soon = if spool.has_room() { TIDY_PERIOD } else { FULL_PERIOD };
        tidy_at = tidy_at.min(clock.elapsed() + soon);
        let pause = tidy_at.saturating_sub(clock.elapsed());
        // Who waits for us to end has closed the channel, or will.
        let takes = held.is_none() && (spool.has_room() || post.stop.is_triggered());
        tokio::select! {
            portion = portions.recv(), if takes => match portion {
                Some(records) => held = append(&mut spool, records, post),
                None => break,
            },
            () = post.stop.wait(), if !takes && held.is_none() => {}
            () = clock.sleep(pause) => {
                tidy_at = clock.elapsed() + TIDY_PERIOD;
                if let Some(records) = held.take() {
                    held = append(&mut spool, records, post);
                }
                let waits = held.is_some() || !spool.has_room();
                tidy(&mut spool, waits, post).await;
            }
        }
        if held.is_some() && post.stop.is_triggered() {
            tracing::error!("the last records do not fit on the disk: they are lost");
            break;
        }
    }
    if let Err(error) = spool.sync() {
        complain(post, &error);
    }
}

/// Gives back what was not taken.
fn append(spool: &mut Spool, records: Vec<u8>, post: &Post) -> Option<Vec<u8>> {
    match spool.append(&records) {
        Ok(()) => {
            post.board.feed(None);
            post.board.feed_waits(&post.name(), None);
            None
        }
        Err(error) => {
            complain(post, &error);
            Some(records)
        }
    }
}

async fn tidy(spool: &mut Spool, waits: bool, post: &Post) {
    // What is written to is not removed: where somebody waits for room, on a full disk too, nothing shall
    // be of that kind.
    let full = if waits { spool.turn_over() } else { Ok(()) };
    if let Err(error) = spool.sync().and(full) {
        complain(post, &error);
    }
    if spool.has_old_files()
        && let Some(acknowledged) = acknowledged(post).await
    {
        spool.prune(&acknowledged);
    }
}

/// How far the files of the spool are acknowledged. `None` once the shipper has stopped.
async fn acknowledged(post: &Post) -> Option<Vec<Acknowledged>> {
    let (answer, answered) = oneshot::channel();
    let wish = Wish::Acknowledged(post.folder.clone(), answer);
    tokio::select! {
        // It does not answer while it stops.
        () = post.stop.wait() => None,
        answered = async {
            post.wishes.send(wish).await.ok()?;
            answered.await.ok()
        } => answered,
    }
}

/// Our own words for the spool: what is missing in it, in so many bytes if somebody knows.
pub(crate) fn gap(out: &Out, dropped: u64, bytes: Option<u64>, why: &str) -> Vec<u8> {
    let words = serde_json::json!({
        "level": "error",
        "message": format!("gap: {dropped} records were dropped: {why}"),
        "gap_records": dropped,
        "gap_bytes": bytes,
    });
    let mut records = Vec::new();
    record::put(&mut records, words.to_string().as_bytes(), Note { own: true, ..out.note() });
    records
}
