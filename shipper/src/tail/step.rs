//! One turn of one file: read, pack, send, move the checkpoint. Everything it needs moves in and
//! comes back, so a turn shares nothing with the others.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::batch::Sequence;
use platform::shutdown::Shutdown;

use super::context::Context;
use super::quiet::Quiet;
use super::refused::{self, Refusals};
use super::table::{Generation, Key, Outbox};
use crate::checkpoint::{Checkpoint, Sent};
use crate::config::{self, Until};
use crate::discover::modified_ns;
use crate::frame::Delimiter;
use crate::identity::{self, FileId, Fingerprint, HEAD_BYTES_KEPT, HEAD_BYTES_MIN, SENT_BYTES_MAX};
use crate::pack::{Damaged, Found, Framing, LastLine, Origin, Packed, Packer, Place};
use crate::parse::Parser;
use crate::recipe::Recipe;
use crate::send::Reply;
use crate::source::{PlainFile, read_at};

/// How long a deleted file must rest before its last line counts without a newline.
const UNLINKED_REST: Duration = Duration::from_secs(1);

/// What a file keeps between turns.
#[derive(Debug, Default)]
pub(super) struct Hand {
    pub(super) file: Option<File>,
    pub(super) place: Place,
    pub(super) refusals: Refusals,
    pub(super) quiet: Quiet,
    /// Whose lines they are; looked up again after a rest without the file.
    origin: Option<Arc<Origin>>,
}

impl Hand {
    /// Whose lines they are is looked up again.
    pub(super) fn forget_origin(&mut self) {
        self.origin = None;
    }

    /// Closes the file, and keeps only what it takes to go on.
    pub(super) fn close(&mut self) {
        (self.file, self.origin) = (None, None);
    }

    pub(super) fn at(offset: u64) -> Self {
        Self { place: Place::at(offset), ..Self::default() }
    }
}

/// A turn to be taken.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) key: Key,
    /// Nothing is sent in it: what the file is known by is established.
    pub(super) look: bool,
    pub(super) path: PathBuf,
    pub(super) recipe: Arc<Recipe>,
    /// Bytes the file had when its content was last found to be this generation's.
    pub(super) verified: u64,
    /// The batch that was sent last, whether it is acknowledged or not.
    pub(super) sent: Outbox,
    pub(super) checkpoint: Checkpoint,
    pub(super) generation: Generation,
    /// How many of its first bytes a restart knows it by.
    pub(super) head_kept: usize,
    pub(super) hand: Hand,
    /// Ends it while it waits for a node.
    pub(super) stop: Shutdown,
}

/// What a file looked like when there was nothing more to send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rest {
    pub(super) size: u64,
    pub(super) modified_ns: i64,
    /// Since then nobody has written to it.
    pub(super) quiet: Duration,
    /// Bytes of a line without its end.
    pub(super) partial_bytes: u64,
    /// All lines have an end, but more of them may join the last record.
    pub(super) joining: bool,
    /// No folder names the file any more.
    pub(super) unlinked: bool,
}

/// How a turn ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A new file, or one of which more must be known: its generation can be saved, then it is
    /// read.
    Looked,
    /// No text.
    Binary,
    /// A batch is acknowledged; more may follow, after a pause where a rate is set.
    Sent { pause: Duration },
    /// More to do at once: a long line to be passed, a batch to be cut again.
    Again,
    /// Nothing to send for now.
    Resting(Rest),
    /// Another content has taken its place; the size of it.
    Replaced { size: u64 },
    /// Its path names it no more, and it was not open.
    Missing,
    /// It cannot be read, or its records are not taken.
    Failed(String),
    /// We shall stop, or it was held for long enough.
    Stopped,
}

enum Prepared {
    Done(Outcome),
    Batch { packed: Packed, tail: u64 },
}

/// Takes a turn.
pub(super) async fn take(context: Arc<Context>, mut turn: Turn) -> (Turn, Outcome) {
    let Ok(permit) = context.packers.acquire().await else { return (turn, Outcome::Stopped) };
    let shared = context.clone();
    let key = turn.key;
    let prepared = tokio::task::spawn_blocking(move || {
        let start = shared.clock.elapsed();
        let prepared = prepare(&shared, &mut turn);
        if let Ok(Prepared::Batch { packed, .. }) = &prepared {
            let time = shared.clock.elapsed().saturating_sub(start);
            shared.target.pace.packed(packed.bytes.len(), time);
        }
        (turn, prepared)
    })
    .await;
    drop(permit);
    let (mut turn, prepared) = match prepared {
        Ok(prepared) => prepared,
        // The blocking thread died of a bug; the same panic goes on here, with its message.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => unreachable!("turn {key:?} was cancelled: {error}"),
        },
    };
    let outcome = match prepared {
        Ok(Prepared::Done(outcome)) => outcome,
        Ok(Prepared::Batch { packed, tail }) => send(&context, &mut turn, &packed, tail).await,
        Err(error) => Outcome::Failed(format!("{}: {error}", turn.path.display())),
    };
    (turn, outcome)
}

fn prepare(context: &Context, turn: &mut Turn) -> io::Result<Prepared> {
    let file = match turn.hand.file.take() {
        Some(file) => file,
        None => match File::open(&turn.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Prepared::Done(Outcome::Missing));
            }
            Err(error) => return Err(error),
        },
    };
    if FileId::of(&file.metadata()?) != turn.checkpoint.id {
        return Ok(Prepared::Done(Outcome::Missing));
    }
    let prepared = match turn.generation {
        Generation::Unseen { start, look } => first_look(context, turn, &file, (start, look)),
        _ if turn.look => look_again(turn, &file),
        _ => read(context, turn, &file),
    };
    // A stale handle stays one; the path leads to the file again when its server is back.
    let stale = matches!(&prepared, Err(e) if e.kind() == io::ErrorKind::StaleNetworkFileHandle);
    turn.hand.file = Some(file).filter(|_| !stale);
    prepared
}

/// What a file's generation is known by, before anything of it is sent.
fn first_look(
    context: &Context,
    turn: &mut Turn,
    file: &File,
    (start, look): (u64, bool),
) -> io::Result<Prepared> {
    let metadata = file.metadata()?;
    let quiet = turn.hand.quiet.time(&metadata, &context.clock);
    if metadata.len() == 0 {
        return Ok(Prepared::Done(Outcome::Resting(rest(&metadata, quiet, 0))));
    }
    let begun = head(file)?;
    let script = turn.recipe.script(&begun);
    let waits = last_line_after(context, &metadata, quiet, context.config.partial_after);
    let little = begun.len() < HEAD_BYTES_MIN && script.delimiter.find(&begun).is_none();
    if little && waits == LastLine::Waits {
        let partial_bytes = begun.len() as u64;
        return Ok(Prepared::Done(Outcome::Resting(rest(&metadata, quiet, partial_bytes))));
    }
    let text = script.encoding.is_none() && script.delimiter != Delimiter::Records;
    if look && text && identity::is_binary(file)? {
        return Ok(Prepared::Done(Outcome::Binary));
    }
    let offset = identity::line_start_before(file, start.min(metadata.len()), &script.delimiter)?;
    let tail = identity::tail(file, offset)?.unwrap_or_default();
    let Some(head) = Fingerprint::default().verify(file, 0)? else {
        return Ok(Prepared::Done(Outcome::Again));
    };
    turn.verified = metadata.len();
    turn.checkpoint.offset = offset;
    turn.checkpoint.fingerprint = Fingerprint { tail, ..head };
    turn.hand.place = Place::at(offset);
    Ok(Prepared::Done(Outcome::Looked))
}

/// More of a file that waits for its turn, when there is more.
fn look_again(turn: &mut Turn, file: &File) -> io::Result<Prepared> {
    let metadata = file.metadata()?;
    let known = turn.checkpoint.fingerprint.head_bytes;
    let Some(fingerprint) = turn.checkpoint.verify(file)? else {
        return Ok(Prepared::Done(Outcome::Replaced { size: metadata.len() }));
    };
    turn.checkpoint.fingerprint = fingerprint;
    turn.verified = metadata.len();
    Ok(Prepared::Done(match fingerprint.head_bytes > known {
        true => Outcome::Looked,
        // What its lines wait for its turn finds out.
        false => Outcome::Resting(rest(&metadata, Duration::ZERO, 0)),
    }))
}

fn read(context: &Context, turn: &mut Turn, file: &File) -> io::Result<Prepared> {
    let now = context.clock.now();
    let before = file.metadata()?;
    if before.len() < turn.checkpoint.offset {
        return Ok(Prepared::Done(Outcome::Replaced { size: before.len() }));
    }
    let quiet = turn.hand.quiet.time(&before, &context.clock);
    let last_line = last_line_after(context, &before, quiet, context.config.partial_after);
    let origin = origin(context, turn)?;
    let recipe = &turn.recipe;
    let last_record = last_line_after(context, &before, quiet, join_timeout(context, recipe));
    let script = recipe.script(&head(file)?);
    let framing = Framing {
        delimiter: script.delimiter,
        container: recipe.container(&turn.checkpoint.source),
        multiline: recipe.multiline.clone(),
    };
    let mut workbench = context.workbenches.take();
    workbench.compress_at(context.zstd_level());
    let mut buffer = std::mem::take(&mut workbench.buffer);
    let mut packer = Packer {
        origin: &origin,
        workbench: &mut workbench,
        parser: Parser::new(turn.recipe.clone(), now, script.encoding),
        now,
        framing: &framing,
        last_line,
        last_record,
        width: turn.hand.refusals.width.clone(),
        damaged: Damaged::default(),
    };
    let mut source = PlainFile::new(file, &mut buffer);
    let found = packer.pack(&mut source, turn.hand.place);
    context.metrics.filtered.inc_by(packer.damaged.filtered);
    let found = found.and_then(|found| confirmed(found, turn, &source));
    workbench.buffer = buffer;
    context.workbenches.put_back(workbench);
    let found = match found? {
        Ok(found) => found,
        Err(Changed::Replaced) => {
            return Ok(Prepared::Done(Outcome::Replaced { size: before.len() }));
        }
        Err(Changed::Meanwhile) => return Ok(Prepared::Done(Outcome::Again)),
    };
    turn.verified = before.len();
    let after = file.metadata()?;
    if last_line == LastLine::Counts && modified_ns(&after) != modified_ns(&before) {
        // Somebody writes after all: the last line may be half of one.
        return Ok(Prepared::Done(Outcome::Again));
    }
    let known = turn.head_kept as u64;
    Ok(match found {
        Found::Batch(packed) if known < packed.to.min(HEAD_BYTES_KEPT as u64) => {
            Prepared::Done(Outcome::Looked)
        }
        Found::Batch(packed) => noted(context, turn, file, packed)?,
        Found::More { place } => {
            turn.hand.place = place;
            Prepared::Done(Outcome::Again)
        }
        Found::End { place, rest: partial, joining } => {
            turn.hand.place = place;
            let rest = Rest { joining, ..rest(&before, quiet, partial) };
            Prepared::Done(Outcome::Resting(rest))
        }
    })
}

/// A batch that may be sent: whoever ends us from now on, it is known that the queue may have it.
fn noted(context: &Context, turn: &mut Turn, file: &File, packed: Packed) -> io::Result<Prepared> {
    let tail = identity::tail(file, packed.to)?;
    let print = identity::print_before(file, packed.to, SENT_BYTES_MAX)?;
    let (Some(tail), Some(print)) = (tail, print) else {
        return Ok(Prepared::Done(Outcome::Again));
    };
    let sent = Sent { to: packed.to, print };
    turn.sent.put(sent);
    turn.checkpoint.sent = turn.checkpoint.sent.max(Some(sent));
    context.store.note(turn.checkpoint.producer, sent);
    Ok(Prepared::Batch { packed, tail })
}

/// Why what was found in a file is not to be used.
enum Changed {
    /// The file is no longer that of this generation.
    Replaced,
    /// What was read stands there no more; the next look tells why.
    Meanwhile,
}

/// What was found, if it is this generation's: only what was read before the fingerprint was found
/// intact is, and only if it still stands there when the fingerprint grows.
fn confirmed(
    found: Found,
    turn: &mut Turn,
    source: &PlainFile<'_>,
) -> io::Result<Result<Found, Changed>> {
    let Some(fingerprint) = turn.checkpoint.verify(source.file())? else {
        return Ok(Err(Changed::Replaced));
    };
    if let Found::Batch(packed) = &found
        && !source.still_holds(packed.to)?
    {
        return Ok(Err(Changed::Meanwhile));
    }
    turn.checkpoint.fingerprint = fingerprint;
    Ok(Ok(found))
}

/// The first bytes, where a mark of the encoding may stand.
fn head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES_MIN];
    let read = read_at(file, 0, &mut head)?;
    head.truncate(read);
    Ok(head)
}

fn origin(context: &Context, turn: &mut Turn) -> io::Result<Arc<Origin>> {
    let (checkpoint, recipe) = (&turn.checkpoint, &turn.recipe);
    if let Some(origin) = &turn.hand.origin {
        return Ok(origin.clone());
    }
    let labels = config::labels_of(&recipe.labels, &context.host, &checkpoint.source)
        .map_err(io::Error::other)?;
    let index = recipe.index.clone();
    let origin = Arc::new(Origin { index, labels, producer: checkpoint.producer });
    turn.hand.origin = Some(origin.clone());
    Ok(origin)
}

/// How long a file must rest before a record whose lines all have ends is whole.
pub(super) fn join_timeout(context: &Context, recipe: &Recipe) -> Duration {
    recipe.multiline.as_ref().map_or(context.config.partial_after, |multiline| multiline.timeout)
}

fn rest(metadata: &std::fs::Metadata, quiet: Duration, partial_bytes: u64) -> Rest {
    Rest {
        quiet,
        size: metadata.len(),
        modified_ns: modified_ns(metadata),
        partial_bytes,
        joining: false,
        unlinked: metadata.nlink() == 0,
    }
}

fn last_line_after(
    context: &Context,
    metadata: &std::fs::Metadata,
    quiet: Duration,
    wanted: Duration,
) -> LastLine {
    let wanted = if metadata.nlink() == 0 { UNLINKED_REST.min(wanted) } else { wanted };
    if context.config.until == Until::Done || quiet >= wanted {
        LastLine::Counts
    } else {
        LastLine::Waits
    }
}

async fn send(context: &Context, turn: &mut Turn, packed: &Packed, tail: u64) -> Outcome {
    let Some(reply) = deliver(context, turn, packed).await else { return Outcome::Stopped };
    match reply {
        Reply::Taken(_) => taken(context, turn, packed, tail),
        Reply::Refused(why) => refused::by_node(context, turn, packed, &why),
        Reply::TurnedAway { why, large } => {
            refused::by_others(context, turn, packed, (&why, large))
        }
        Reply::Recut { next } => recut(turn, packed, next),
    }
}

fn taken(context: &Context, turn: &mut Turn, packed: &Packed, tail: u64) -> Outcome {
    let (hand, bytes) = (&mut turn.hand, packed.to - packed.from);
    let (metrics, width) = (&context.metrics, &hand.refusals.width);
    metrics.batches.inc();
    metrics.records.inc_by(packed.record_count as u64);
    metrics.bytes.inc_by(bytes);
    metrics.poisoned.inc_by(u64::from(width.poison.is_some()));
    metrics.cut.inc_by(packed.damaged.cut + u64::from(width.cuts()));
    metrics.gaps.inc_by(packed.damaged.gaps + u64::from(width.leaves_out()));
    metrics.lost_bytes.inc_by(packed.damaged.bytes + if width.leaves_out() { bytes } else { 0 });
    turn.checkpoint.offset = packed.to;
    turn.checkpoint.fingerprint.tail = tail;
    turn.checkpoint.sent = turn.checkpoint.sent.filter(|sent| sent.to > packed.to);
    hand.place = Place::at(packed.to);
    hand.refusals.over(packed);
    let rate = turn.recipe.rate.as_ref();
    let pause = rate.map_or(Duration::ZERO, |rate| rate.take(bytes, context.clock.elapsed()));
    Outcome::Sent { pause }
}

/// The answer of a node, unless the turn is to end before.
async fn deliver(context: &Context, turn: &Turn, packed: &Packed) -> Option<Reply> {
    let producer = turn.checkpoint.producer;
    let patience = refused::patience(context, &turn.hand);
    let (board, stop) = (&context.board, &turn.stop);
    let deliver = context.target.deliver(producer, &packed.bytes, patience, board, stop);
    tokio::pin!(deliver);
    tokio::select! {
        reply = &mut deliver => reply,
        () = context.stop.wait() => {
            turn.stop.trigger();
            deliver.await
        }
    }
}

/// Goes on where the queue says that this generation ended.
fn recut(turn: &mut Turn, packed: &Packed, next: u64) -> Outcome {
    let sequence =
        Sequence { producer: turn.checkpoint.producer, epoch: 0, from: packed.from, to: packed.to };
    let Some(file) = &turn.hand.file else { return Outcome::Missing };
    if next == packed.from {
        return Outcome::Failed(format!(
            "{}: {sequence:?} is refused for its own place",
            turn.path.display()
        ));
    }
    match identity::tail(file, next) {
        Ok(Some(tail)) => {
            if next < packed.from {
                tracing::warn!(file = %turn.path.display(), from = packed.from, next,
                    "the queue has less than it acknowledged: sending again what it lacks");
            }
            turn.checkpoint.offset = next;
            turn.checkpoint.fingerprint.tail = tail;
            turn.hand.place = Place::at(next);
            Outcome::Again
        }
        // The queue knows more of this generation than the file holds: it is another content.
        Ok(None) => Outcome::Replaced { size: packed.to },
        Err(error) => Outcome::Failed(format!("{}: {error}", turn.path.display())),
    }
}
