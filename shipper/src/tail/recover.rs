//! Files that were compressed with a part of them unread: the rest is read from the compressed
//! file, as the same generation, so that nothing is sent twice.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::gap::Gap;
use super::step::Context;
use super::table::AbsentKey;
use super::{Done, Shipper, WALK_DELAY};
use crate::checkpoint::Checkpoint;
use crate::config;
use crate::discover::compressed;
use crate::identity::TAIL_BYTES_MAX;
use crate::import::{ImportError, Progress, Work};
use crate::pack::Origin;
use crate::recipe::Recipe;
use crate::source::{Source as _, Unwrapped, Wrapping};
use xxhash_rust::xxh3::xxh3_64;

/// How often a file is looked for that is just being compressed.
const TRIES_MAX: u32 = 100;

/// A file that is gone from where it was.
#[derive(Debug, Clone)]
pub(super) struct Vanished {
    pub(super) key: AbsentKey,
    /// What is lost with it, as far as it was seen.
    pub(super) gap: Option<Gap>,
    pub(super) tries: u32,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Fate {
    /// Its rest was read from this compressed file.
    Recovered(PathBuf),
    /// No compressed file has its content.
    Lost,
    /// Looked for again: it is being compressed, or we shall stop.
    Unsure,
}

/// One that is looked for.
struct Search {
    vanished: Vanished,
    checkpoint: Checkpoint,
    recipe: Arc<Recipe>,
}

impl Shipper {
    /// A walk is over: what it did not find is looked for in compressed files.
    pub(super) fn judge_vanished(&mut self) {
        if self.gaps.recovering {
            return;
        }
        let mut vanished = std::mem::take(&mut self.gaps.vanished);
        if self.first_walk {
            let unread = |key| Vanished { key, gap: None, tries: 0 };
            vanished.extend(self.table.absent_keys().map(unread));
        }
        let searches: Vec<Search> =
            vanished.into_iter().filter_map(|vanished| self.search(vanished)).collect();
        if searches.is_empty() {
            return;
        }
        self.gaps.recovering = true;
        let context = self.context.clone();
        self.tasks.spawn(async move { Done::Recovered(recover_all(&context, searches).await) });
    }

    fn search(&self, vanished: Vanished) -> Option<Search> {
        // What the walk found under another name is no longer absent.
        let checkpoint = self.table.absent(vanished.key)?.clone();
        let recipe = self.recipe(Path::new(&checkpoint.source), Path::new(&checkpoint.path));
        Some(Search { vanished, checkpoint, recipe })
    }

    /// What became of those looked for.
    pub(super) fn recovered(&mut self, fates: Vec<(Vanished, Fate)>) {
        self.gaps.recovering = false;
        for (vanished, fate) in fates {
            match fate {
                Fate::Recovered(path) => {
                    tracing::info!(file = %path.display(), "read the rest from the compressed file");
                    self.table.forget_absent(vanished.key);
                    self.changed_checkpoints();
                }
                Fate::Unsure if vanished.tries < TRIES_MAX => {
                    self.vanished(Vanished { tries: vanished.tries + 1, ..vanished });
                    self.schedule.walk_at(self.context.clock.elapsed() + WALK_DELAY);
                }
                Fate::Lost | Fate::Unsure => {
                    if let Some(gap) = vanished.gap {
                        self.lost(gap);
                    }
                }
            }
        }
    }
}

async fn recover_all(context: &Context, searches: Vec<Search>) -> Vec<(Vanished, Fate)> {
    let checkpoints: Vec<Checkpoint> =
        searches.iter().map(|search| search.checkpoint.clone()).collect();
    let found = tokio::task::spawn_blocking(move || {
        let mut folders = Folders::default();
        checkpoints.iter().map(|checkpoint| find(checkpoint, &mut folders)).collect::<Vec<_>>()
    })
    .await
    .unwrap_or_default();
    let mut fates = Vec::new();
    for (search, found) in searches.into_iter().zip(found) {
        let fate = match found {
            Some((path, wrapping)) => recover(context, &search, path, wrapping).await,
            None => Fate::Lost,
        };
        fates.push((search.vanished, fate));
    }
    fates
}

async fn recover(context: &Context, search: &Search, path: PathBuf, wrapping: Wrapping) -> Fate {
    let Search { checkpoint, recipe, .. } = search;
    let Ok(labels) = config::labels_of(&recipe.labels, &context.host, &checkpoint.source) else {
        return Fate::Lost;
    };
    let origin = Origin { index: recipe.index.clone(), labels, producer: checkpoint.producer };
    let work = Work {
        path: &path,
        wrapping,
        from: checkpoint.offset,
        origin,
        container: recipe.container(&checkpoint.source),
        recipe,
        clock: &context.clock,
        target: &context.target,
        board: &context.board,
        shutdown: &context.stop,
    };
    match work.run(&mut Progress::default(), &mut |_: &Progress| {}).await {
        Ok(()) => Fate::Recovered(path),
        Err(ImportError::Stopped | ImportError::Read { .. }) => Fate::Unsure,
        Err(error) => {
            tracing::error!(%error, "the rest of a compressed file is not taken");
            Fate::Lost
        }
    }
}

/// The compressed files of folders, each folder listed once.
type Folders = HashMap<PathBuf, Vec<(String, PathBuf)>>;

/// The compressed file that has the content up to the checkpoint, and more.
fn find(checkpoint: &Checkpoint, folders: &mut Folders) -> Option<(PathBuf, Wrapping)> {
    let folder = Path::new(&checkpoint.path).parent()?;
    let stem = Path::new(&checkpoint.source).file_name()?.to_str()?;
    let files = folders.entry(folder.to_owned()).or_insert_with(|| compressed_files(folder));
    let mut named = files.iter().filter(|(name, _)| name.starts_with(stem));
    named.find_map(|(_, path)| match wrapping_of(path, checkpoint) {
        Ok(wrapping) => Some((path.clone(), wrapping?)),
        Err(error) => {
            tracing::debug!(file = %path.display(), %error, "not looked into");
            None
        }
    })
}

fn compressed_files(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path()).filter(|path| compressed(path));
    paths.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path))).collect()
}

fn wrapping_of(path: &Path, checkpoint: &Checkpoint) -> io::Result<Option<Wrapping>> {
    let wrapping = Wrapping::of(&File::open(path)?)?;
    if wrapping == Wrapping::Plain {
        return Ok(None);
    }
    let mut content = Unwrapped::open(path, wrapping)?;
    let (print, offset) = (checkpoint.fingerprint, checkpoint.offset);
    let head = content.window(0, print.head_bytes)?;
    if print.head_bytes == 0 || head.len() < print.head_bytes || xxh3_64(head) != print.head {
        return Ok(None);
    }
    let start = offset.saturating_sub(TAIL_BYTES_MAX as u64);
    let length = usize::try_from(offset - start).unwrap_or(TAIL_BYTES_MAX);
    let tail = content.window(start, length)?;
    let same = tail.len() == length && (length == 0 || xxh3_64(tail) == print.tail);
    Ok(same.then_some(wrapping))
}
