//! Whole files → records, once: what `sawlog import` does.
//!
//! A file's generation is made of its path, size, time and first bytes, its places are those of
//! the uncompressed content; so importing it again, or going on after a crash, stores it once.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use encoding_rs::Encoding;
use platform::clock::Clock;
use platform::shutdown::Shutdown;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::Xxh3;

use crate::config::{self, Config, ConfigError};
use crate::discover::modified_ns;
use crate::effort::Load;
use crate::frame::container::Container;
use crate::metrics::Metrics;
use crate::pack::{
    Damaged, Found, Framing, LastLine, Origin, Packed, Packer, Place, Width, Workbench,
};
use crate::parse::Parser;
use crate::recipe::{Recipe, Script};
use crate::send::{Patience, Reply, Target};
use crate::source::{PlainFile, Source, Unwrapped, Wrapping, read_at};
use crate::status::Board;

/// Bytes at a file's beginning that are part of its generation.
const HEAD_BYTES: usize = 4096;
/// Batches made ahead of the one being sent.
const AHEAD_MAX: usize = 2;

/// How far an import is. Bytes are those of the files as they are, compressed or not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Files done.
    pub files_done: usize,
    /// All files.
    pub files: usize,
    /// Uncompressed bytes acknowledged.
    pub bytes: u64,
    /// Bytes of files done, as they lie on the disk.
    pub file_bytes_done: u64,
    /// Bytes of all files, as they lie on the disk.
    pub file_bytes: u64,
    /// Records acknowledged, those known from before included.
    pub records: u64,
    /// Of those, records that had been stored before (as far as they were sent again).
    pub known: u64,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Imported {
    /// Where it ended.
    pub progress: Progress,
    /// How long it took.
    pub elapsed: Duration,
}

impl Imported {
    /// Uncompressed bytes acknowledged a second.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        // Rates are for people: a float holds enough of them.
        #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
        let bytes = self.progress.bytes as f64;
        bytes / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Why an import ended early. Doing it again goes on where it ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A setting cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file cannot be read, or is damaged; what came before the damage is stored.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A record is not taken in any form.
    #[error("{}: the line at byte {at} is refused even as plain text: {reason}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Where its line begins, uncompressed.
        at: u64,
        /// The node's words.
        reason: String,
    },
    /// Somebody wished to stop.
    #[error("stopped; do it again to go on where it ended")]
    Stopped,
}

/// One file's import.
pub(crate) struct Work<'a> {
    /// For words alone: what is read is the file.
    pub(crate) path: &'a Path,
    pub(crate) file: &'a Arc<File>,
    pub(crate) wrapping: Wrapping,
    /// Where to begin: everything before is known to be stored.
    pub(crate) from: u64,
    pub(crate) origin: Origin,
    pub(crate) container: Option<Container>,
    pub(crate) recipe: &'a Arc<Recipe>,
    pub(crate) zstd_level: i32,
    pub(crate) clock: &'a Clock,
    pub(crate) target: &'a Target,
    pub(crate) board: &'a Board,
    pub(crate) shutdown: &'a Shutdown,
    /// Whether of a record that is refused as text as much is sent as gets through; else it ends there.
    pub(crate) cuts: bool,
}

/// Sends whole files, also gzip and zstd ones, and says after every batch how far it is.
/// `config.paths` and `config.state_dir` do not matter here. A dead node is waited for.
///
/// # Errors
/// [`ImportError`]; files before the failing one are stored, and of it what was acknowledged.
pub async fn import(
    files: &[PathBuf],
    config: &Config,
    clock: &Clock,
    shutdown: &Shutdown,
    mut progress: impl FnMut(&Progress),
) -> Result<Imported, ImportError> {
    let recipe = config.recipe()?;
    let host = config::host();
    let metrics = Metrics::new(&config.metrics);
    let target = Target::new(config, clock.clone(), metrics).map_err(ConfigError::from)?;
    let board = Board::default();
    let start = clock.elapsed();
    let mut state = Progress { files: files.len(), ..Progress::default() };
    for path in files {
        state.file_bytes += std::fs::metadata(path).map(|m| m.len()).map_err(read_error(path))?;
    }
    progress(&state);
    for path in files {
        let path = path.canonicalize().map_err(read_error(path))?;
        let file = Arc::new(File::open(&path).map_err(read_error(&path))?);
        let wrapping = Wrapping::of(&file).map_err(read_error(&path))?;
        let (source, _) = model::text::keep_text(path.as_os_str().as_encoded_bytes());
        let labels =
            config::labels_of(&recipe.labels, &host, &source).map_err(ConfigError::from)?;
        let producer = generation(&path, &file).map_err(read_error(&path))?;
        let origin = Origin { index: config.index.clone(), labels, producer };
        let work = Work {
            path: &path,
            file: &file,
            wrapping,
            from: 0,
            origin,
            recipe: &recipe,
            zstd_level: config.compression.level(Load { lag_bytes: u64::MAX, ..Load::default() }),
            container: recipe.container(&source),
            clock,
            target: &target,
            board: &board,
            shutdown,
            cuts: false,
        };
        work.run(&mut state, &mut progress).await?;
        state.files_done += 1;
        state.file_bytes_done += file.metadata().map_or(0, |metadata| metadata.len());
        progress(&state);
    }
    Ok(Imported { progress: state, elapsed: clock.elapsed() - start })
}

fn read_error(path: &Path) -> impl FnOnce(io::Error) -> ImportError {
    let path = path.to_owned();
    move |source| ImportError::Read { path, source }
}

/// The same number for the same file, and never zero.
fn generation(path: &Path, file: &File) -> io::Result<u64> {
    let metadata = file.metadata()?;
    let mut head = vec![0; HEAD_BYTES];
    let read = read_at(file, 0, &mut head)?;
    let mut hash = Xxh3::new();
    hash.update(path.as_os_str().as_encoded_bytes());
    hash.update(&[0]);
    hash.update(&metadata.size().to_le_bytes());
    hash.update(&modified_ns(&metadata).to_le_bytes());
    hash.update(head.get(..read).unwrap_or_default());
    Ok(hash.digest().max(1))
}

/// What the sender learnt that the packer must follow.
enum Turn {
    /// Everything is sent.
    End,
    /// Cut again from there, that wide; up to `narrow_to` no wider.
    From { at: u64, width: Width, narrow_to: u64 },
}

impl Work<'_> {
    /// Sends it to its end.
    ///
    /// # Errors
    /// [`ImportError`]; what was acknowledged stays so.
    pub(crate) async fn run(
        &self,
        state: &mut Progress,
        progress: &mut impl FnMut(&Progress),
    ) -> Result<(), ImportError> {
        let (mut at, mut width, mut narrow_to) = (self.from, Width::default(), 0);
        let base = state.bytes;
        loop {
            match self.pass(at, width, narrow_to, (&mut *state, base), progress).await? {
                Turn::End => return Ok(()),
                Turn::From { at: next, width: wide, narrow_to: to } => {
                    (at, width, narrow_to) = (next, wide, to);
                }
            }
        }
    }

    /// Packs on one thread and sends on another until the end, or until it must be cut anew.
    async fn pass(
        &self,
        at: u64,
        width: Width,
        narrow_to: u64,
        (state, base): (&mut Progress, u64),
        progress: &mut impl FnMut(&Progress),
    ) -> Result<Turn, ImportError> {
        let (packing, mut batches) = self.packing(at, width.clone());
        let turn = loop {
            let Some(packed) = batches.recv().await else { break Turn::End };
            match self.deliver(&packed.bytes).await.ok_or(ImportError::Stopped)? {
                Reply::Taken(answer) => {
                    state.bytes = base + packed.to;
                    state.records += packed.record_count as u64;
                    if answer.duplicate {
                        state.known += packed.record_count as u64;
                    }
                    progress(state);
                    if answer.duplicate && answer.next > packed.to {
                        // Known up to there: no need to send it all again.
                        state.bytes = base + answer.next;
                        break Turn::From {
                            at: answer.next,
                            width: Width::default(),
                            narrow_to: 0,
                        };
                    }
                    if width != Width::default() {
                        let wide = Width {
                            records_max: width.records_max.saturating_mul(2),
                            poison: None,
                        };
                        let width = if packed.to < narrow_to { wide } else { Width::default() };
                        break Turn::From { at: packed.to, width, narrow_to };
                    }
                }
                Reply::Recut { next } if next != packed.from => {
                    break Turn::From { at: next, width: Width::default(), narrow_to: 0 };
                }
                Reply::Recut { .. } => {
                    return Err(self.refused(&packed, "its own place is refused".to_owned()));
                }
                Reply::Refused(reason) | Reply::TurnedAway { why: reason, .. } => {
                    let Some(width) = self.narrower(&width, &packed, &reason) else {
                        return Err(self.refused(&packed, reason));
                    };
                    let narrow_to = narrow_to.max(packed.to);
                    break Turn::From { at: packed.from, width, narrow_to };
                }
            }
        };
        // Closing the channel ends the packer.
        drop(batches);
        let packed = packing.await.map_err(io::Error::other).and_then(|packed| packed);
        match turn {
            Turn::End => packed.map_err(read_error(self.path)).map(|()| Turn::End),
            turn => Ok(turn),
        }
    }

    fn narrower(&self, width: &Width, packed: &Packed, reason: &str) -> Option<Width> {
        let shortened = || width.shortened(packed.to - packed.from, reason);
        let narrower = width.narrower(packed.record_count, reason);
        narrower.or_else(|| self.cuts.then(shortened).flatten())
    }

    async fn deliver(&self, batch: &Bytes) -> Option<Reply> {
        let (producer, patience) = (self.origin.producer, Patience::UnlessLarge);
        self.target.deliver(producer, batch, patience, self.board, self.shutdown).await
    }

    /// Packs on a thread of its own from there on; ends when nobody takes the batches any more.
    fn packing(
        &self,
        at: u64,
        width: Width,
    ) -> (JoinHandle<io::Result<()>>, mpsc::Receiver<Packed>) {
        let (sender, batches) = mpsc::channel(AHEAD_MAX);
        let (file, wrapping, origin) = (self.file.clone(), self.wrapping, self.origin.clone());
        let (recipe, container, now) = (self.recipe.clone(), self.container, self.clock.now());
        let zstd_level = self.zstd_level;
        let packing = tokio::task::spawn_blocking(move || {
            let mut workbench = Workbench::default();
            workbench.compress_at(zstd_level);
            let (framing, encoding) = framing(&recipe, container, &head(&file, wrapping)?);
            let packer = Packer {
                origin: &origin,
                workbench: &mut workbench,
                parser: Parser::new(recipe, now, encoding),
                now,
                framing: &framing,
                last_line: LastLine::Counts,
                last_record: LastLine::Counts,
                width,
                damaged: Damaged::default(),
            };
            pack_all(&file, wrapping, packer, at, &sender)
        });
        (packing, batches)
    }

    fn refused(&self, packed: &Packed, reason: String) -> ImportError {
        ImportError::Refused { path: self.path.to_owned(), at: packed.from, reason }
    }
}

/// The first bytes of the content, where a mark of the encoding may stand.
fn head(file: &Arc<File>, wrapping: Wrapping) -> io::Result<Vec<u8>> {
    Unwrapped::open(file, wrapping)?.window(0, 4).map(<[u8]>::to_vec)
}

/// How a file with that head is framed, and encoded.
fn framing(
    recipe: &Recipe,
    container: Option<Container>,
    head: &[u8],
) -> (Framing, Option<&'static Encoding>) {
    let Script { encoding, delimiter } = recipe.script(head);
    (Framing { delimiter, container, multiline: recipe.multiline.clone() }, encoding)
}

/// Packs a file from a place to its end. Ends early, without an error, when nobody takes batches.
fn pack_all(
    file: &Arc<File>,
    wrapping: Wrapping,
    mut packer: Packer<'_>,
    at: u64,
    batches: &mpsc::Sender<Packed>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut source: Box<dyn Source + '_> = match wrapping {
        Wrapping::Plain => Box::new(PlainFile::new(file, &mut buffer)),
        _ => Box::new(Unwrapped::open(file, wrapping)?),
    };
    let mut place = Place::at(at);
    loop {
        match packer.pack(source.as_mut(), place)? {
            Found::Batch(packed) => {
                place = Place::at(packed.to);
                if batches.blocking_send(packed).is_err() {
                    return Ok(());
                }
            }
            Found::More { place: further } => place = further,
            Found::End { .. } => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
