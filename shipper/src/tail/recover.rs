//! Files that were compressed, or copied and truncated, with a part of them unread: the rest is read
//! from the compressed file or the copy, as the same generation, so that nothing is sent twice.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::absent::AbsentKey;
use super::context::Context;
use super::family::names_of;
use super::gap::Gap;
use super::packed::{Packed, packed};
use super::unseen::Copies;
use super::{Done, Shipper, WALK_DELAY};
use crate::checkpoint::Checkpoint;
use crate::config;
use crate::discover::{Patterns, Seen, modified_ns};
use crate::doubt::is_doubt;
use crate::identity::{FileId, HEAD_BYTES_MAX};
use crate::import::{ImportError, Progress, Work};
use crate::pack::Origin;
use crate::recipe::Recipe;
use crate::rotation::{compressed, rotated};
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
    /// Another content has its inode: it will not be found under another name.
    pub(super) overwritten: bool,
    /// It could not be looked at whether that is all: asked again before it is told.
    pub(super) unsure: bool,
}

impl Vanished {
    /// One that may be found under another name.
    pub(super) fn of(key: AbsentKey, gap: Option<Gap>) -> Self {
        Self { key, gap, tries: 0, overwritten: false, unsure: false }
    }

    /// Whether a gap is told that one more look may spare.
    fn may_be_renamed(&self) -> bool {
        self.tries == 0 && !self.overwritten && self.gap.is_some()
    }

    fn again(self) -> Self {
        Self { tries: self.tries + 1, ..self }
    }
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Fate {
    /// Its rest was read from this compressed file, or copy.
    Recovered(PathBuf),
    /// No compressed file has its content.
    Lost,
    /// Looked for again: it is being compressed, we shall stop, or this is in the way.
    Unsure(Option<String>),
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
                let gap = self.unread_of(known, &mut copies, now);
                let unsure = gap.is_err();
                let gap = gap.unwrap_or_else(|_| Gap::of_absent(known, self.orderly, now));
                Vanished { unsure, ..Vanished::of(key, gap) }
            };
            vanished.extend(self.table.absent.all().map(unread));
            // What was not read of them comes before what stands in their places.
            let untold = self.table.absent.all().filter(|(_, known)| known.size > 0);
            self.held.extend(untold.map(|(_, known)| known.source.clone()));
        } else if vanished.iter().any(|vanished| vanished.unsure) {
            self.look_where_links_led();
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
        if !self.gaps.vanished.is_empty() || self.first_walk {
            return;
        }
        self.known_before = HashSet::new();
        if std::mem::take(&mut self.gaps.doubted) {
            self.context.board.file(self.table.error());
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
                Fate::Recovered(path) => self.recovered_from(vanished.key, &path),
                Fate::Unsure(why) if vanished.tries < TRIES_MAX => {
                    why.into_iter().for_each(|why| self.doubt(&why));
                    self.vanished(vanished.again());
                }
                Fate::Unsure(why) => self.not_found(vanished, why),
                // It may have been renamed while it was looked for: one more walk finds it then.
                Fate::Lost if vanished.may_be_renamed() => self.vanished(vanished.again()),
                Fate::Lost => self.not_found(vanished, None),
            }
        }
        self.release_looked_for();
        if !self.gaps.vanished.is_empty() {
            // They came while these were looked for.
            self.schedule.walk_at(self.context.clock.elapsed() + WALK_DELAY);
        }
    }

    /// It is in no compressed file and no copy, or nobody can tell for long.
    fn not_found(&mut self, mut vanished: Vanished, why: Option<String>) {
        let now = self.context.clock.now();
        let known = self.table.absent.get(vanished.key).filter(|_| vanished.unsure);
        match known.map(|known| self.unread_of(known, &mut Copies::default(), now)) {
            Some(Ok(gap)) => vanished.gap = gap,
            Some(Err(error)) if vanished.tries < TRIES_MAX => {
                self.doubt(&format!("cannot look for a file that is gone: {error}"));
                self.vanished(vanished.again());
                return;
            }
            _ => {}
        }
        if vanished.overwritten {
            self.table.absent.take(vanished.key);
            self.changed_checkpoints();
        }
        // Whatever is missing of it is told now, and not once more after a restart.
        if self.table.absent.told(vanished.key) {
            self.changed_checkpoints();
        }
        if let Some(mut gap) = vanished.gap {
            let told = gap.why.take();
            gap.why = told.or_else(|| why.map(|why| format!("are not found, but {why}")));
            self.lost(gap);
        }
    }

    /// What keeps us from telling what became of a file, said once.
    fn doubt(&mut self, why: &str) {
        if !std::mem::replace(&mut self.gaps.doubted, true) {
            tracing::warn!(why, "cannot tell what became of files, will look again");
            self.context.board.file(Some(why.to_owned()));
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
            context.metrics.fill.ahead_files.set(0);
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
        context.metrics.fill.ahead_files.set(held);
        for (search, found) in lot.into_iter().zip(found) {
            let held = matches!(found, Found::There(_));
            let fate = match found {
                Found::There(packed) => recover(context, &search, packed).await,
                Found::Nowhere => Fate::Lost,
                Found::Unsettled(why) => Fate::Unsure(why),
            };
            context.metrics.fill.ahead_files.now.dec_by(i64::from(held));
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
        // Nobody could go on with it later: a record that is refused shall not cost those behind it.
        cuts: true,
    };
    match work.run(&mut Progress::default(), &mut |_: &Progress| {}).await {
        Ok(()) => Fate::Recovered(packed.path),
        Err(ImportError::Stopped | ImportError::Read { .. }) => Fate::Unsure(None),
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

enum Found {
    There(Packed),
    Nowhere,
    /// Files were renamed while we looked, or this could not be looked into.
    Unsettled(Option<String>),
}

/// The compressed files of a folder and the copies that rotation made, and when its names last changed before they were listed.
struct Folder {
    files: Vec<(String, PathBuf)>,
    changed_ns: Option<i64>,
    /// What could not be looked at.
    doubt: Option<String>,
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
    match packed_still(path, checkpoint) {
        Ok(Some(packed)) => return Found::There(packed),
        Err(error) if is_doubt(&error) => return Found::Unsettled(Some(said(path, &error))),
        _ => {}
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
            unsettled @ Found::Unsettled(_) => fate = unsettled,
            there @ Found::There(_) => return there,
        }
    }
    fate
}

/// The file that was compressed already when it was seen, if it stands there still.
fn packed_still(path: &Path, checkpoint: &Checkpoint) -> io::Result<Option<Packed>> {
    let stands =
        compressed(path) && Seen::at(path, false)?.is_some_and(|seen| seen.id == checkpoint.id);
    if stands { packed(path, checkpoint) } else { Ok(None) }
}

/// What could not be looked at, and why.
fn said(path: &Path, error: &io::Error) -> String {
    format!("{} cannot be looked at: {error}", path.display())
}

impl Folder {
    /// Little of a content may stand in many files; then it is none of them.
    fn find(&self, path: &Path, stem: &str, checkpoint: &Checkpoint) -> Found {
        let (mut found, mut doubt) = (Vec::new(), self.doubt.clone());
        for (_, path) in self.files.iter().filter(|(name, _)| name.starts_with(stem)) {
            match packed(path, checkpoint) {
                Ok(packed) => found.extend(packed),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Found::Unsettled(None);
                }
                Err(error) if is_doubt(&error) => doubt = Some(said(path, &error)),
                Err(error) => {
                    tracing::debug!(file = %path.display(), %error, "not looked into");
                }
            }
        }
        let print = checkpoint.fingerprint;
        // Many may begin with the same hole.
        let is_hole = print.head == xxh3_64(&[0; HEAD_BYTES_MAX]);
        let only = found.len() == 1 && doubt.is_none();
        let certain = print.head_bytes >= HEAD_BYTES_MAX && !is_hole || only;
        match found.into_iter().next() {
            Some(packed) if certain => Found::There(packed),
            _ if doubt.is_some() || changed_ns(path) != self.changed_ns => Found::Unsettled(doubt),
            _ => Found::Nowhere,
        }
    }

    fn list(path: &Path, followed: &Followed) -> Self {
        let changed_ns = changed_ns(path);
        let mut folder = Self { files: Vec::new(), changed_ns, doubt: None };
        let names = names_of(path).unwrap_or_else(|error| {
            folder.doubt = Some(said(path, &error));
            Vec::new()
        });
        for name in names {
            let path = path.join(&name);
            let is_one = match compressed(&path) {
                true => Ok(true),
                false if rotated(&name).is_some() => followed.by_nobody(&path),
                false => Ok(false),
            };
            match is_one {
                Ok(true) => folder.files.push((name, path)),
                Ok(false) => {}
                Err(error) => folder.doubt = Some(said(&path, &error)),
            }
        }
        folder
    }
}

impl Followed {
    fn by_nobody(&self, path: &Path) -> io::Result<bool> {
        let seen = Seen::at(path, self.patterns.matches(path))?;
        Ok(seen.is_some_and(|seen| !seen.matches && !self.ids.contains(&seen.id)))
    }
}

fn changed_ns(folder: &Path) -> Option<i64> {
    std::fs::metadata(folder).ok().map(|metadata| modified_ns(&metadata))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests treat files as other programs do")]

    use super::*;
    use crate::identity::Fingerprint;

    /// Where a file of five bytes is looked for whose folder has these names, each leading to such a file.
    fn looked_for(names: &[(&str, &str)]) -> Found {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kept"), "line\n").unwrap();
        for (name, to) in names {
            std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        }
        let path = folder.path().join("a.log").to_string_lossy().into_owned();
        let fingerprint =
            Fingerprint { head_bytes: 5, head: xxh3_64(b"line\n"), tail: xxh3_64(&[]) };
        let id = FileId { device: 0, inode: 0 };
        let (source, producer, offset, size) = (path.clone(), 1, 0, 5);
        let (sent, real, seen_ns) = (None, None, 0);
        let known = Checkpoint {
            producer,
            id,
            fingerprint,
            offset,
            sent,
            source,
            path,
            real,
            seen_ns,
            size,
        };
        let patterns = Arc::new(Patterns::new(std::iter::empty()).unwrap());
        let followed = Followed { patterns, ids: HashSet::new() };
        find(&known, &followed, &mut HashMap::new())
    }

    #[test]
    fn what_cannot_be_read_leaves_open_where_a_file_is() {
        assert!(matches!(looked_for(&[]), Found::Nowhere));
        assert!(matches!(looked_for(&[("a.log.1", "kept")]), Found::There(_)));
        // Reading at its beginning fails.
        let unread = ("a.log.2", "/proc/self/mem");
        let Found::Unsettled(Some(why)) = looked_for(&[unread]) else { panic!("not left open") };
        assert!(why.contains("a.log.2 cannot be looked at"), "{why}");
        // So little is known of it that the other may be it as well.
        let both = looked_for(&[("a.log.1", "kept"), unread]);
        assert!(matches!(both, Found::Unsettled(Some(_))));
    }
}
