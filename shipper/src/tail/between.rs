//! What came and was rotated while nobody shipped: the files between the one that was read last and
//! the one that stands at its path now, found by the names that logrotate gives.
//!
//! A file is one of them when it was written to after the process before us was last there, it is
//! newer by its name than every file of its stream that is known, and no pattern names it. Each gets a
//! checkpoint at its beginning, which is on disk before anything of it is sent; then it is read like
//! any file that is known from before: plain ones as files, compressed ones as a rest. So are copies of
//! what stood in a followed file for a while and had no turn.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::gap::Gap;
use super::recover::packed;
use super::{Done, Shipper};
use crate::checkpoint::{Checkpoint, Recovered};
use crate::discover::{Patterns, Seen, compressed, rotated};
use crate::identity::{FileId, Fingerprint, HEAD_BYTES_MAX, looks_binary};
use crate::source::{Source as _, Unwrapped, Wrapping};

/// Of more files of one stream only the newest are taken; the others are told.
const FILES_MAX: usize = 100;
/// How often a file is opened that is renamed again and again.
const OPEN_TRIES: usize = 5;
/// File systems take times from a clock that is late by so much.
pub(super) const CLOCK_GRAIN_NS: i64 = 20_000_000;
/// The rank of the file that is not rotated.
const CURRENT: i64 = i64::MAX;

/// When who left this was last there for sure: it saw a file then, or says so. Never, when it does neither.
pub(super) fn alive_ns(left: &Recovered) -> i64 {
    let seen_ns = left.checkpoints.iter().map(|known| known.seen_ns);
    let last = seen_ns.chain(left.alive_ns).max();
    last.map_or(i64::MAX, |last| last.saturating_sub(CLOCK_GRAIN_NS))
}

/// The files of one stream, by their names.
#[derive(Debug)]
pub(super) struct Family {
    /// Where the file stands that is not rotated.
    source: PathBuf,
    /// Newest first.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The greater, the newer.
    rank: i64,
    seen: Seen,
}

/// What is to be done about them.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// To be read from their beginnings, the oldest of a stream first.
    files: Vec<Checkpoint>,
    /// What cannot be read.
    gaps: Vec<Gap>,
}

impl Between {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// What is read from its beginning.
    pub(super) fn begun(&self) -> Vec<Checkpoint> {
        self.files.clone()
    }
}

/// What stood in a followed file until it was truncated, and nobody saw.
#[derive(Debug)]
pub(super) struct Truncated {
    pub(super) path: PathBuf,
    /// Bytes it had.
    pub(super) bytes: u64,
    /// It was not there before, nanoseconds since 1970.
    pub(super) since_ns: i64,
    /// The file, as it was known when it had its last turn: another content.
    pub(super) before: Checkpoint,
}

/// The copies of it, when some of the stream's files are known; if there are none, it is lost.
pub(super) fn copies(
    truncated: &Truncated,
    known: &[Checkpoint],
    patterns: &Patterns,
    now: Timestamp,
) -> Between {
    let Truncated { path, bytes, since_ns, before } = truncated;
    let source = Path::new(&before.source);
    let mut between = Between::default();
    let families = path.parent().map(|folder| {
        // Of this one only: a folder may have thousands, and all are truncated at once.
        families_of(folder, patterns, *since_ns, |stem| folder.join(stem) == *path)
    });
    let family = families.into_iter().flatten().next();
    let copies = family.iter().flat_map(|family| family.copies(truncated, known));
    copies.for_each(|copy| copy.begin(source, now, &mut between));
    if between.files.is_empty() && between.gaps.is_empty() && !is_followed(truncated, patterns) {
        let why = "were truncated before they were read, and no copy of them is there";
        between.gaps.push(gap(source, path, *bytes, now, why.to_owned()));
    }
    between
}

/// Whether a pattern names a copy of it: then that is read as a file of its own.
fn is_followed(truncated: &Truncated, patterns: &Patterns) -> bool {
    let Some(folder) = truncated.path.parent() else { return false };
    let names = platform::disk::names(folder).unwrap_or_default();
    let mut copies = names
        .iter()
        .filter(|name| rotated(name).is_some_and(|(stem, _)| folder.join(stem) == truncated.path));
    copies.any(|name| {
        let path = folder.join(name);
        let written = |seen: Seen| seen.modified_ns > truncated.since_ns;
        patterns.matches(&path) && Seen::at(&path, true).is_some_and(written)
    })
}

/// The families of a folder in which something was written since then that no pattern names.
pub(super) fn families(folder: &Path, patterns: &Patterns, alive_ns: i64) -> Vec<Family> {
    families_of(folder, patterns, alive_ns, |_| true)
}

/// The same of the files of some names.
fn families_of(
    folder: &Path,
    patterns: &Patterns,
    alive_ns: i64,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Family> {
    let mut names: HashMap<String, Vec<(i64, PathBuf)>> = HashMap::new();
    for name in platform::disk::names(folder).unwrap_or_default() {
        if let Some((stem, rank)) = rotated(&name).filter(|(stem, _)| wanted(stem)) {
            names.entry(stem.to_owned()).or_default().push((rank, folder.join(&name)));
        }
    }
    let family = |(stem, paths): (String, Vec<(i64, PathBuf)>)| {
        let source = folder.join(stem);
        let seen = |(rank, path): (i64, PathBuf)| {
            Some(Entry { rank, seen: Seen::at(&path, patterns.matches(&path))? })
        };
        let mut entries: Vec<Entry> = paths.into_iter().filter_map(seen).collect();
        if !entries.iter().any(|entry| entry.is_news(alive_ns)) {
            return None;
        }
        entries.extend(seen((CURRENT, source.clone())));
        // Of a file that is just being compressed there are two: the compressed one is not whole.
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.rank), compressed(&entry.seen.path)));
        entries.dedup_by_key(|entry| entry.rank);
        Some(Family { source, entries })
    };
    names.into_iter().filter_map(family).collect()
}

impl Entry {
    fn is_news(&self, alive_ns: i64) -> bool {
        !self.seen.matches && self.seen.size > 0 && self.seen.modified_ns > alive_ns
    }

    /// Whether it is that file, by its inode.
    fn is(&self, known: &Checkpoint) -> bool {
        let same = |file: File| known.verify(&file).is_ok_and(|it| it.is_some());
        self.seen.id.inode == known.id.inode && File::open(&self.seen.path).is_ok_and(same)
    }

    /// The file, opened where it stands now: rotation goes on while we look, and may have given its
    /// path to another.
    fn open(&self) -> io::Result<(PathBuf, File)> {
        let at = |path: PathBuf| -> io::Result<(PathBuf, File)> {
            let file = File::open(&path)?;
            let same = FileId::of(&file.metadata()?) == self.seen.id;
            if same { Ok((path, file)) } else { Err(io::ErrorKind::NotFound.into()) }
        };
        let mut opened = at(self.seen.path.clone());
        for _ in 1..OPEN_TRIES {
            if !opened.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                break;
            }
            let Some(path) = self.elsewhere() else { break };
            opened = at(path);
        }
        opened
    }

    /// The name that rotation has given it since it was seen.
    fn elsewhere(&self) -> Option<PathBuf> {
        let folder = self.seen.path.parent()?;
        let names = platform::disk::names(folder).unwrap_or_default();
        let is_it = |path: &PathBuf| Seen::at(path, false).is_some_and(|it| it.id == self.seen.id);
        let mut names = names.iter().filter(|name| rotated(name).is_some());
        names.find_map(|name| Some(folder.join(name)).filter(is_it))
    }

    /// It is read from its beginning, behind those that are already; or it is told why not.
    fn begin(&self, source: &Path, now: Timestamp, into: &mut Between) {
        let order = i64::try_from(into.files.len()).unwrap_or(0);
        let Seen { path, size, .. } = &self.seen;
        let why = match self.begun(source, now.0.saturating_add(order)) {
            Ok(checkpoint) => {
                into.files.extend(checkpoint);
                return;
            }
            // The next start would take it for one that was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                "came while nobody shipped and was removed or compressed while it was looked for: \
                 `sawlog import` takes what is left of it"
                    .to_owned()
            }
            Err(error) => format!("came while nobody shipped and cannot be read: {error}"),
        };
        into.gaps.push(gap(source, path, *size, now, why));
    }

    /// The checkpoint of a file of which nothing is read yet. None when it is no text.
    fn begun(&self, source: &Path, seen_ns: i64) -> io::Result<Option<Checkpoint>> {
        let (path, file) = self.open()?;
        let file = Arc::new(file);
        let wrapping = Wrapping::of(&file)?;
        if wrapping == Wrapping::Plain && compressed(&path) {
            return Err(io::Error::other("it is compressed in a way that is not known here"));
        }
        let mut content = Unwrapped::open(&file, wrapping)?;
        let head = content.window(0, HEAD_BYTES_MAX)?;
        if head.is_empty() || looks_binary(head) {
            return Ok(None);
        }
        let (head_bytes, head) = (head.len(), xxh3_64(head));
        Ok(Some(Checkpoint {
            producer: platform::random::u64(),
            id: self.seen.id,
            fingerprint: Fingerprint { head_bytes, head, tail: xxh3_64(&[]) },
            offset: 0,
            sent: None,
            source: text(source),
            path: text(&path),
            real: None,
            seen_ns,
            size: self.seen.size,
        }))
    }
}

impl Family {
    /// The rank of the newest one that is known.
    fn newest(&self, known: &[Checkpoint]) -> Option<i64> {
        known.iter().filter_map(|known| self.rank_of(known)).max()
    }

    /// Where that file is among them: by its inode, else by its content, if that is certain.
    fn rank_of(&self, known: &Checkpoint) -> Option<i64> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.is(known)) {
            return Some(entry.rank);
        }
        let rotated = self.entries.iter().filter(|entry| entry.rank != CURRENT);
        let has = |entry: &&Entry| packed(&entry.seen.path, known).is_ok_and(|it| it.is_some());
        let mut having = rotated.filter(has);
        let first = having.next()?;
        let certain = known.fingerprint.head_bytes >= HEAD_BYTES_MAX || having.next().is_none();
        certain.then_some(first.rank)
    }

    /// What of them is to be read, when those of the stream are known.
    fn look(&self, known: &[Checkpoint], alive_ns: i64, now: Timestamp, into: &mut Between) {
        let newest = self.newest(known);
        let inodes: HashSet<u64> = known.iter().map(|known| known.id.inode).collect();
        let news = |entry: &&Entry| {
            entry.rank != CURRENT
                && entry.is_news(alive_ns)
                && newest.is_none_or(|newest| entry.rank > newest)
                && !(inodes.contains(&entry.seen.id.inode) && known.iter().any(|it| entry.is(it)))
        };
        let mut news: Vec<&Entry> = self.entries.iter().filter(news).collect();
        let passed = news.split_off(FILES_MAX.min(news.len()));
        if let Some(newest) = passed.first() {
            let why = format!(
                "{} of {} files of {} that came and were rotated while nobody shipped are not read: \
                 {} and older ones",
                passed.len(),
                news.len() + passed.len(),
                self.source.display(),
                newest.seen.path.display()
            );
            into.gaps.push(gap(&self.source, &newest.seen.path, 0, now, why));
        }
        if !news.is_empty() && newest.is_none() && !known.is_empty() {
            let why = format!(
                "what was read last of {0} is not there any more, and newer files are: whole files \
                 between them may have come and gone while nobody shipped",
                self.source.display()
            );
            into.gaps.push(gap(&self.source, &self.source, 0, now, why));
        }
        news.into_iter().rev().for_each(|entry| entry.begin(&self.source, now, into));
    }

    /// Those written since then that are none of the known files and no copy of what was known before,
    /// the oldest first.
    fn copies(&self, of: &Truncated, known: &[Checkpoint]) -> Vec<&Entry> {
        let is_copy = |entry: &&Entry| {
            entry.rank != CURRENT
                && entry.is_news(of.since_ns)
                && !known.iter().any(|known| entry.is(known))
                && !packed(&entry.seen.path, &of.before).is_ok_and(|it| it.is_some())
        };
        self.entries.iter().rev().filter(is_copy).collect()
    }
}

fn gap(source: &Path, path: &Path, to: u64, now: Timestamp, why: String) -> Gap {
    Gap {
        producer: xxh3_64(format!("{} {to} {}", path.display(), now.0).as_bytes()),
        source: text(source),
        path: path.to_owned(),
        from: 0,
        to,
        sent_to: None,
        noticed_ns: now.0,
        why: Some(why),
    }
}

fn text(path: &Path) -> String {
    model::text::keep_text(path.as_os_str().as_encoded_bytes()).0.into_owned()
}

impl Shipper {
    /// Looks into the families that the first walk found, and goes on with what it saw then.
    pub(super) fn look_between(&mut self, seen: Vec<Seen>, families: Vec<Family>) {
        let mut known: HashMap<String, Vec<Checkpoint>> =
            families.iter().map(|family| (text(&family.source), Vec::new())).collect();
        let followed = self.table.keys().into_iter().filter_map(|key| self.table.get(key));
        let followed = followed.filter(|file| file.generation.is_kept());
        let absent = self.table.absent.all().map(|(_, known)| known);
        for checkpoint in followed.map(|file| &file.checkpoint).chain(absent) {
            if let Some(known) = known.get_mut(&checkpoint.source) {
                known.push(checkpoint.clone());
            }
        }
        let (patterns, alive_ns) = (self.patterns.clone(), self.alive_ns);
        let now = self.context.clock.now();
        self.tasks.spawn(async move {
            let look = move || {
                let mut between = Between::default();
                for family in &families {
                    let known = known.get(&text(&family.source)).map_or(&[][..], Vec::as_slice);
                    let there = family.entries.iter().any(|entry| entry.rank == CURRENT);
                    // Other files may have such names too: of a stream something must be there.
                    if !known.is_empty() || there && patterns.matches(&family.source) {
                        family.look(known, alive_ns, now, &mut between);
                    }
                }
                between
            };
            let between = tokio::task::spawn_blocking(look).await.unwrap_or_default();
            Done::Between { seen, between }
        });
    }

    /// Takes what was found: from now on all of it is known.
    pub(super) fn take_between(&mut self, between: Between) {
        let Between { mut files, gaps } = between;
        files.retain(|file| !self.is_passed(file));
        gaps.into_iter().for_each(|gap| self.lost(gap));
        if files.is_empty() {
            return;
        }
        tracing::info!(count = files.len(), "files came and were rotated before they were read");
        if let Err(error) = self.context.store.append_durably(&files) {
            tracing::warn!(%error, "cannot save what is known of them: after a crash they are missed");
        }
        self.changed_checkpoints();
        for file in &files {
            self.table.absent.put(file.clone());
        }
        for path in files.iter().map(|file| Path::new(&file.path)).filter(|path| !compressed(path))
        {
            if let Some(seen) = Seen::at(path, false) {
                self.consider(&seen);
            }
        }
        // What is still absent is read from compressed files and copies: it comes before the others.
        let sources: HashSet<String> = files.into_iter().map(|file| file.source).collect();
        let absent = self.table.absent.all().map(|(_, known)| &known.source);
        self.held.extend(absent.filter(|source| sources.contains(*source)).cloned());
    }

    /// Whether it is none of those that are followed, or too old.
    fn is_passed(&self, file: &Checkpoint) -> bool {
        let recipe = self.recipe(Path::new(&file.source), Path::new(&file.path));
        let seen = || Seen::at(Path::new(&file.path), false);
        let age =
            recipe.ignore_older.filter(|age| seen().is_some_and(|it| self.is_older(&it, *age)));
        recipe.spooled || age.is_some() || self.table.by_id(file.id).is_some()
    }

    /// What came before is read as far as can be: streams that waited for it go on.
    pub(super) fn release_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return;
        }
        for key in self.table.keys() {
            if self.table.get(key).is_some_and(|file| held.contains(&file.checkpoint.source)) {
                self.wake(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests treat files as other programs do")]

    use std::fs;

    use super::*;

    /// A folder with two files that were rotated, and their family.
    fn rotated_files() -> (tempfile::TempDir, Family) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.log", "now\n"), ("a.log.1", "later\n"), ("a.log.2", "before\n")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let includes = [folder.path().join("*.log").to_string_lossy().into_owned()];
        let patterns = Patterns::new([(&includes[..], &[][..])].into_iter()).unwrap();
        let family = families(folder.path(), &patterns, 0).remove(0);
        (folder, family)
    }

    fn looked(family: &Family) -> Between {
        let mut between = Between::default();
        family.look(&[], 0, Timestamp(1), &mut between);
        between
    }

    #[test]
    fn a_file_that_is_renamed_while_it_is_looked_for_is_found() {
        let (folder, family) = rotated_files();
        let path = |name: &str| folder.path().join(name);
        // The path of the one has the content of the other now.
        fs::rename(path("a.log.2"), path("a.log.3")).unwrap();
        fs::rename(path("a.log.1"), path("a.log.2")).unwrap();
        let Between { files, gaps } = looked(&family);
        assert!(gaps.is_empty(), "{gaps:?}");
        let found = files.iter().map(|file| (PathBuf::from(&file.path), file.fingerprint.head));
        let expected = [(path("a.log.3"), "before\n"), (path("a.log.2"), "later\n")];
        let expected = expected.map(|(path, text)| (path, xxh3_64(text.as_bytes())));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_file_that_goes_while_it_is_looked_for_is_said() {
        let (folder, family) = rotated_files();
        fs::remove_file(folder.path().join("a.log.1")).unwrap();
        let Between { files, gaps } = looked(&family);
        assert_eq!(files.len(), 1);
        let [gap] = gaps.as_slice() else { panic!("{gaps:?}") };
        assert_eq!((gap.from, gap.to), (0, 6));
        assert!(gap.why.as_ref().is_some_and(|why| why.contains("removed or compressed")));
    }
}
