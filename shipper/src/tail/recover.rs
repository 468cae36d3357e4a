//! Files that were compressed, or copied and truncated, with a part of them unread: the rest is read
//! from the compressed file or the copy, as the same generation, so that nothing is sent twice.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::absent::AbsentKey;
use super::context::Context;
use super::gap::Gap;
use super::unseen::Copies;
use super::{Done, Shipper, WALK_DELAY};
use crate::checkpoint::Checkpoint;
use crate::config;
use crate::discover::{Patterns, Seen, compressed, modified_ns, rotated};
use crate::identity::{FileId, HEAD_BYTES_MAX, SENT_BYTES_MAX, TAIL_BYTES_MAX};
use crate::import::{ImportError, Progress, Work};
use crate::pack::Origin;
use crate::recipe::Recipe;
use crate::source::{Source as _, Unwrapped, Wrapping};
use xxhash_rust::xxh3::xxh3_64;

/// What the system says when a process has too many files open.
const EMFILE: i32 = 24;
/// And when all processes together have.
const ENFILE: i32 = 23;
/// How often a file is looked for that is just being compressed.
const TRIES_MAX: u32 = 100;

/// A file that is gone from where it was.
#[derive(Debug, Clone)]
pub(super) struct Vanished {
    pub(super) key: AbsentKey,
    /// What is lost with it, as far as it was seen.
    pub(super) gap: Option<Gap>,
    pub(super) tries: u32,
    /// Another content has its inode: it will not be found under another name.
    pub(super) overwritten: bool,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Fate {
    /// Its rest was read from this compressed file, or copy.
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
        let mut vanished = std::mem::take(&mut self.gaps.vanished);
        if self.first_walk {
            let now = self.context.clock.now();
            let mut copies = Copies::default();
            let unread = |(key, known): (AbsentKey, &Checkpoint)| {
                let path = Path::new(&known.path);
                let is_there = Seen::at(path, true).is_some_and(|seen| seen.id == known.id);
                // One that is there and not followed is none that the settings ask for any more.
                let left = is_there && !compressed(path) && self.table.by_id(known.id).is_none();
                let gap = if left { None } else { self.missing_of(known, &mut copies, now) };
                Vanished { key, gap, tries: 0, overwritten: false }
            };
            vanished.extend(self.table.absent.all().map(unread));
        }
        self.judge(vanished);
    }

    /// Looks for them in compressed files, one lot at a time.
    pub(super) fn judge(&mut self, vanished: Vec<Vanished>) {
        if self.gaps.recovering {
            self.gaps.vanished.extend(vanished);
            return;
        }
        let mut searches: Vec<Search> =
            vanished.into_iter().filter_map(|vanished| self.search(vanished)).collect();
        if searches.is_empty() {
            self.release_looked_for();
            return;
        }
        // Those of one stream after each other, the oldest first.
        searches.sort_by(|one, other| {
            let order = |it: &Search| (it.checkpoint.source.clone(), it.checkpoint.seen_ns);
            order(one).cmp(&order(other))
        });
        let followed = Followed { patterns: self.patterns.clone(), ids: self.table.ids() };
        self.gaps.recovering = true;
        let (context, ahead) = (self.context.clone(), self.open_max.ahead);
        self.tasks.spawn(async move {
            Done::Recovered(recover_all(&context, searches, followed, ahead).await)
        });
    }

    /// Streams that wait go on when everything that vanished was looked for once.
    fn release_looked_for(&mut self) {
        if self.gaps.vanished.iter().all(|vanished| vanished.tries > 0) {
            self.release_held();
        }
    }

    fn search(&self, vanished: Vanished) -> Option<Search> {
        // What the walk found under another name is no longer absent.
        let checkpoint = self.table.absent.get(vanished.key)?.clone();
        let recipe = self.recipe(Path::new(&checkpoint.source), Path::new(&checkpoint.path));
        Some(Search { vanished, checkpoint, recipe })
    }

    /// What became of those looked for.
    pub(super) fn recovered(&mut self, fates: Vec<(Vanished, Fate)>) {
        self.gaps.recovering = false;
        for (vanished, fate) in fates {
            match fate {
                Fate::Recovered(path) => {
                    tracing::info!(file = %path.display(), "read the rest from the compressed file or copy");
                    self.table.absent.take(vanished.key);
                    let written_ns = Seen::at(&path, true).map_or(0, |seen| seen.modified_ns);
                    if written_ns <= self.context.clock.now().0 {
                        self.recovered_ns = self.recovered_ns.max(written_ns);
                    }
                    self.changed_checkpoints();
                }
                Fate::Unsure if vanished.tries < TRIES_MAX => {
                    self.vanished(Vanished { tries: vanished.tries + 1, ..vanished });
                }
                Fate::Lost | Fate::Unsure => {
                    if vanished.overwritten {
                        self.table.absent.take(vanished.key);
                        self.changed_checkpoints();
                    }
                    // Whatever is missing of it is told now, and not once more after a restart.
                    if self.table.absent.told(vanished.key) {
                        self.changed_checkpoints();
                    }
                    if let Some(gap) = vanished.gap {
                        self.lost(gap);
                    }
                }
            }
        }
        self.release_looked_for();
        if !self.gaps.vanished.is_empty() {
            // They came while these were looked for.
            self.schedule.walk_at(self.context.clock.elapsed() + WALK_DELAY);
        }
    }
}

/// As many as may be open are found at once, and so kept from being rotated away; then they are read one
/// by one, however long a dead node keeps each.
async fn recover_all(
    context: &Context,
    searches: Vec<Search>,
    followed: Followed,
    ahead: usize,
) -> Vec<(Vanished, Fate)> {
    let (mut searches, followed) = (searches.into_iter(), Arc::new(followed));
    let mut fates = Vec::new();
    loop {
        let lot: Vec<Search> = searches.by_ref().take(ahead).collect();
        if lot.is_empty() || context.stop.is_triggered() {
            context.metrics.ahead_files.set(0);
            return fates;
        }
        let known: Vec<Checkpoint> = lot.iter().map(|search| search.checkpoint.clone()).collect();
        let followed = followed.clone();
        let find_all = move || {
            // Listed anew for each lot: rotation goes on while others are read.
            let mut folders = HashMap::new();
            known.iter().map(|known| find(known, &followed, &mut folders)).collect::<Vec<_>>()
        };
        let found = tokio::task::spawn_blocking(find_all).await.unwrap_or_default();
        let held = found.iter().filter(|found| matches!(found, Found::There(_))).count();
        context.metrics.ahead_files.set(i64::try_from(held).unwrap_or(i64::MAX));
        for (search, found) in lot.into_iter().zip(found) {
            let held = matches!(found, Found::There(_));
            let fate = match found {
                Found::There(packed) => recover(context, &search, packed).await,
                Found::Nowhere => Fate::Lost,
                Found::Unsettled => Fate::Unsure,
            };
            context.metrics.ahead_files.inc_by(-i64::from(held));
            fates.push((search.vanished, fate));
        }
    }
}

async fn recover(context: &Context, search: &Search, packed: Packed) -> Fate {
    let Search { checkpoint, recipe, .. } = search;
    let Ok(labels) = config::labels_of(&recipe.labels, &context.host, &checkpoint.source) else {
        return Fate::Lost;
    };
    let origin = Origin { index: recipe.index.clone(), labels, producer: checkpoint.producer };
    let work = Work {
        path: &packed.path,
        file: &packed.file,
        wrapping: packed.wrapping,
        from: checkpoint.offset,
        origin,
        container: recipe.container(&checkpoint.source),
        recipe,
        zstd_level: context.zstd_level(),
        clock: &context.clock,
        target: &context.target,
        board: &context.board,
        shutdown: &context.stop,
    };
    match work.run(&mut Progress::default(), &mut |_: &Progress| {}).await {
        Ok(()) => Fate::Recovered(packed.path),
        Err(ImportError::Stopped | ImportError::Read { .. }) => Fate::Unsure,
        Err(error) => {
            tracing::error!(%error, "the rest of a compressed file is not taken");
            Fate::Lost
        }
    }
}

/// What is read anyway, and so is no copy of something else.
struct Followed {
    patterns: Arc<Patterns>,
    ids: HashSet<FileId>,
}

/// A compressed file, or a copy of one. It is read as it was opened: rotation gives its path to another.
pub(super) struct Packed {
    path: PathBuf,
    file: Arc<File>,
    wrapping: Wrapping,
}

enum Found {
    There(Packed),
    Nowhere,
    /// Files were renamed while we looked, or no more could be opened then.
    Unsettled,
}

/// The compressed files of a folder and the copies that rotation made, and when its names last changed before they were listed.
struct Folder {
    files: Vec<(String, PathBuf)>,
    changed_ns: Option<i64>,
}

/// The compressed file that has the content up to the checkpoint, and more: where the file stood
/// last, or where its stream is.
fn find(
    checkpoint: &Checkpoint,
    followed: &Followed,
    folders: &mut HashMap<PathBuf, Folder>,
) -> Found {
    let (path, source) = (Path::new(&checkpoint.path), Path::new(&checkpoint.source));
    // It was compressed when it was seen first.
    if Seen::at(path, false).is_some_and(|seen| seen.id == checkpoint.id)
        && compressed(path)
        && let Ok(Some(packed)) = packed(path, checkpoint)
    {
        return Found::There(packed);
    }
    let Some(stem) = source.file_name().and_then(|name| name.to_str()) else {
        return Found::Nowhere;
    };
    let mut places: Vec<&Path> = [path, source].into_iter().filter_map(Path::parent).collect();
    places.dedup();
    let mut fate = Found::Nowhere;
    for place in places {
        let folder =
            folders.entry(place.to_owned()).or_insert_with(|| Folder::list(place, followed));
        match folder.find(place, stem, checkpoint) {
            Found::Nowhere => {}
            Found::Unsettled => fate = Found::Unsettled,
            there @ Found::There(_) => return there,
        }
    }
    fate
}

impl Folder {
    /// Little of a content may stand in many files; then it is none of them.
    fn find(&self, path: &Path, stem: &str, checkpoint: &Checkpoint) -> Found {
        let mut found = Vec::new();
        for (_, path) in self.files.iter().filter(|(name, _)| name.starts_with(stem)) {
            match packed(path, checkpoint) {
                Ok(packed) => found.extend(packed),
                Err(error) if error.kind() == io::ErrorKind::NotFound || is_crowded(&error) => {
                    return Found::Unsettled;
                }
                Err(error) => {
                    tracing::debug!(file = %path.display(), %error, "not looked into");
                }
            }
        }
        let print = checkpoint.fingerprint;
        // Many may begin with the same hole.
        let is_hole = print.head == xxh3_64(&[0; HEAD_BYTES_MAX]);
        let certain = print.head_bytes >= HEAD_BYTES_MAX && !is_hole || found.len() == 1;
        match found.into_iter().next() {
            Some(packed) if certain => Found::There(packed),
            _ if changed_ns(path) != self.changed_ns => Found::Unsettled,
            _ => Found::Nowhere,
        }
    }

    fn list(path: &Path, followed: &Followed) -> Self {
        let changed_ns = changed_ns(path);
        let entries = std::fs::read_dir(path);
        // What could not be listed just now is not settled.
        let changed_ns = changed_ns.filter(|_| !entries.as_ref().is_err_and(is_crowded));
        let entries = entries.into_iter().flatten().flatten();
        let named = |path: PathBuf| Some((path.file_name()?.to_str()?.to_owned(), path));
        let named = entries.filter_map(|entry| named(entry.path()));
        let packed = |(name, path): &(String, PathBuf)| {
            compressed(path) || rotated(name).is_some() && followed.by_nobody(path)
        };
        Self { files: named.filter(packed).collect(), changed_ns }
    }
}

impl Followed {
    fn by_nobody(&self, path: &Path) -> bool {
        let seen = Seen::at(path, self.patterns.matches(path));
        seen.is_some_and(|seen| !seen.matches && !self.ids.contains(&seen.id))
    }
}

fn changed_ns(folder: &Path) -> Option<i64> {
    std::fs::metadata(folder).ok().map(|metadata| modified_ns(&metadata))
}

/// Whether the process, or the system, has no descriptor left just now.
fn is_crowded(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| [EMFILE, ENFILE].contains(&code))
}

/// The file, opened, if it has the content up to the checkpoint.
///
/// # Errors
/// As the system says; also when what is compressed is damaged.
fn packed(path: &Path, checkpoint: &Checkpoint) -> io::Result<Option<Packed>> {
    packed_in(Arc::new(File::open(path)?), path, checkpoint)
}

/// The same of a file that is open.
///
/// # Errors
/// Like those of `packed`.
pub(super) fn packed_in(
    file: Arc<File>,
    path: &Path,
    checkpoint: &Checkpoint,
) -> io::Result<Option<Packed>> {
    let wrapping = Wrapping::of(&file)?;
    if wrapping == Wrapping::Plain && compressed(path) {
        return Ok(None);
    }
    let mut content = Unwrapped::open(&file, wrapping)?;
    let (print, offset) = (checkpoint.fingerprint, checkpoint.offset);
    let head = content.window(0, print.head_bytes)?;
    if print.head_bytes == 0 || head.len() < print.head_bytes || xxh3_64(head) != print.head {
        return Ok(None);
    }
    let mut ends_with = |end: u64, bytes_max: usize, print: u64| {
        let start = end.saturating_sub(bytes_max as u64);
        let length = usize::try_from(end - start).unwrap_or(bytes_max);
        let found = content.window(start, length)?;
        io::Result::Ok(found.len() == length && (length == 0 || xxh3_64(found) == print))
    };
    let mut same = ends_with(offset, TAIL_BYTES_MAX, print.tail)?;
    if let Some(sent) = checkpoint.sent.filter(|sent| same && sent.to > offset) {
        same = ends_with(sent.to, SENT_BYTES_MAX, sent.print)?;
    }
    Ok(same.then(|| Packed { path: path.to_owned(), file, wrapping }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_can_be_opened_just_now_nothing_is_lost() {
        let system = io::Error::from_raw_os_error;
        assert!(is_crowded(&system(EMFILE)) && is_crowded(&system(ENFILE)));
        // No such file, no right to it.
        assert!(!is_crowded(&system(2)) && !is_crowded(&system(13)));
        assert!(!is_crowded(&io::ErrorKind::UnexpectedEof.into()));
    }
}
