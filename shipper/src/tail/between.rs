//! What came and was rotated while nobody shipped: the files between the one that was read last and
//! the one that stands at its path now, found by the names that logrotate gives.
//!
//! A file is one of them when it was written to after the process before us was last there, no pattern
//! names it, and it is news (`news.rs`). Each gets a checkpoint at its beginning, which is on disk before
//! anything of it is sent; then it is read like any file that is known from before: plain ones as files,
//! compressed ones as a rest. So are copies of what stood in a followed file for a while and had no turn.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use model::time::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::family::{Entry, Family, TRIES_MAX, families_of};
use super::gap::Gap;
use super::news::{self, Stream};
use super::{Done, Shipper};
use crate::checkpoint::{Checkpoint, Recovered};
use crate::discover::{Patterns, Seen};
use crate::doubt::{asked, is_passing};
use crate::identity::{FileId, Fingerprint, HEAD_BYTES_MAX, looks_binary};
use crate::rotation::compressed;
use crate::source::{Source as _, Unwrapped, Wrapping};

/// Of more files of one stream only the newest are taken; the others are told.
const FILES_MAX: usize = 100;
/// File systems take times from a clock that is late by so much.
pub(super) const CLOCK_GRAIN_NS: i64 = 20_000_000;

/// What was noted so far ahead of now was noted by a clock that was ahead.
const AHEAD_NS_MAX: i64 = 60_000_000_000;

/// When who left this was last there for sure: it saw a file then, or says so. Never, when it does neither.
pub(super) fn alive_ns(left: &Recovered, now: Timestamp) -> i64 {
    let seen_ns = left.checkpoints.iter().map(|known| known.seen_ns).chain(left.alive_ns);
    // Else all that comes until then would be old.
    let last = seen_ns.filter(|seen_ns| *seen_ns <= now.0.saturating_add(AHEAD_NS_MAX)).max();
    last.map_or(i64::MAX, |last| last.saturating_sub(CLOCK_GRAIN_NS))
}

/// What is to be done about them.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// To be read from their beginnings, the oldest of a stream first.
    pub(super) files: Vec<Checkpoint>,
    /// What cannot be read.
    pub(super) gaps: Vec<Gap>,
    /// Where those stood that are to be read, and when they were written last.
    pub(super) taken: Vec<(FileId, i64)>,
    /// One of them went, or was compressed, after they were listed.
    moved: bool,
}

impl Between {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// More of the same, of another stream.
    pub(super) fn add(&mut self, other: Self) {
        self.files.extend(other.files);
        self.gaps.extend(other.gaps);
        self.taken.extend(other.taken);
    }
}

impl Entry {
    /// It is read from its beginning, behind those that are already; or it is told why not.
    ///
    /// # Errors
    /// Those that may be gone at the next look.
    pub(super) fn begin(
        &self,
        source: &Path,
        now: Timestamp,
        into: &mut Between,
    ) -> io::Result<()> {
        let order = i64::try_from(into.files.len()).unwrap_or(0);
        let Seen { path, size, .. } = &self.seen;
        let why = match self.begun(source, now.0.saturating_add(order)) {
            Ok(checkpoint) => {
                into.files.extend(checkpoint);
                into.taken.push((self.seen.id, self.seen.modified_ns));
                return Ok(());
            }
            Err(error) if is_passing(&error) => return Err(error),
            // The next start would take it for one that was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                into.moved = true;
                "came while nobody shipped and was removed or compressed while it was looked for: \
                 `sawlog import` takes what is left of it"
                    .to_owned()
            }
            Err(error) => format!("came while nobody shipped and cannot be read: {error}"),
        };
        into.gaps.push(gap(source, path, *size, now, why));
        Ok(())
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
    /// What is found in it, looked at as often as something of it moves.
    pub(super) fn settled(
        &self,
        patterns: &Patterns,
        since_ns: i64,
        look: impl Fn(&Self) -> io::Result<Between>,
    ) -> io::Result<Between> {
        let mut found = look(self)?;
        let mut seen: HashSet<FileId> = self.ids().collect();
        for _ in 1..TRIES_MAX {
            let Some(folder) = self.source.parent().filter(|_| found.moved) else { break };
            let wanted = |stem: &str| folder.join(stem) == self.source;
            let again = families_of(folder, patterns, since_ns, wanted)?.pop();
            let again = again.filter(|again| again.ids().any(|id| !seen.contains(&id)));
            let Some(again) = again else { break };
            found = look(&again)?;
            seen.extend(again.ids());
        }
        Ok(found)
    }

    /// They are read, of very many the newest. What is missing, and what may be where nothing that is known
    /// comes right before them, is said.
    ///
    /// # Errors
    /// Those that may be gone at the next look.
    pub(super) fn take(
        &self,
        mut news: Vec<&Entry>,
        follows: bool,
        now: Timestamp,
        into: &mut Between,
    ) -> io::Result<()> {
        // One that was renamed while it was listed may have had two names.
        let mut ids = HashSet::new();
        news.retain(|entry| ids.insert(entry.seen.id));
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
        if !news.is_empty() && !follows {
            into.gaps.push(self.may_miss(now));
        }
        news.into_iter().rev().try_for_each(|entry| entry.begin(&self.source, now, into))
    }

    /// Nobody knows what came before the oldest that is there.
    pub(super) fn may_miss(&self, now: Timestamp) -> Gap {
        let why = format!(
            "what was read last of {0} is not there any more, and newer files are: whole files \
             between them may have come and gone while nobody shipped",
            self.source.display()
        );
        gap(&self.source, &self.source, 0, now, why)
    }

    /// Nobody can tell what of them came while nobody shipped.
    pub(super) fn unsettled(&self, error: &io::Error, now: Timestamp) -> Gap {
        let why = format!(
            "what of {} came and was rotated while nobody shipped cannot be looked at, and is not read: \
             {error}",
            self.source.display()
        );
        gap(&self.source, &self.source, 0, now, why)
    }
}

/// What is missing of a stream, as far as a file had bytes.
pub(super) fn gap(source: &Path, path: &Path, to: u64, now: Timestamp, why: String) -> Gap {
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

pub(super) fn text(path: &Path) -> String {
    model::text::keep_text(path.as_os_str().as_encoded_bytes()).0.into_owned()
}

impl Shipper {
    /// Looks into the families that the first walk found, and goes on with what it saw then.
    pub(super) fn look_between(&mut self, seen: Vec<Seen>, families: Vec<Family>) {
        let stream = |family: &Family| {
            let source = text(&family.source);
            let stream = Stream::of(&source, self.alive_ns);
            (source, stream)
        };
        let mut streams: HashMap<String, Stream> = families.iter().map(stream).collect();
        // What is being looked at just now is one of what followed it: it is no rotated file.
        self.gather(&mut streams);
        self.gather_gone(&mut streams);
        let patterns = self.patterns.clone();
        let (context, now) = (self.context.clone(), self.context.clock.now());
        self.tasks.spawn(async move {
            let look = move || news::look_at(&families, &streams, &patterns, now);
            let (between, _) = asked(&context.clock, &context.shutdown, look).await;
            Done::Between { seen, between }
        });
    }

    /// Takes what was found: from now on all of it is known.
    pub(super) fn take_between(&mut self, between: Between) {
        let Between { mut files, gaps, .. } = between;
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
            if let Some(seen) = Seen::surely_at(path, false) {
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
        let seen = || Seen::surely_at(Path::new(&file.path), false);
        let age =
            recipe.ignore_older.filter(|age| seen().is_some_and(|it| self.is_older(&it, *age)));
        recipe.spooled || age.is_some() || self.table.by_id(file.id).is_some()
    }

    /// What came before is read as far as can be: streams that waited for it go on.
    pub(super) fn release_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.passed.released();
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
    use std::io::Write as _;
    use std::path::PathBuf;

    use flate2::write::GzEncoder;

    use super::super::copies::{Truncated, copies};
    use super::super::family::families;
    use super::*;

    #[test]
    fn what_was_noted_by_a_clock_that_was_ahead_is_not_when_anybody_was_there() {
        let now = Timestamp(100 * AHEAD_NS_MAX);
        let alive = |noted_ns: i64| {
            alive_ns(&Recovered { alive_ns: Some(noted_ns), ..Recovered::default() }, now)
        };
        assert_eq!(alive(now.0), now.0 - CLOCK_GRAIN_NS);
        assert_eq!(alive(now.0 + 5), now.0 + 5 - CLOCK_GRAIN_NS);
        assert_eq!(alive(now.0 * 2), i64::MAX);
    }

    /// A folder with two files that were rotated, and their family.
    fn rotated_files() -> (tempfile::TempDir, Family) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.log", "now\n"), ("a.log.1", "later\n"), ("a.log.2", "before\n")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let family = families(folder.path(), &patterns_of(&folder), 0).unwrap().remove(0);
        (folder, family)
    }

    fn patterns_of(folder: &tempfile::TempDir) -> Patterns {
        let includes = [folder.path().join("*.log").to_string_lossy().into_owned()];
        Patterns::new([(&includes[..], &[][..])].into_iter()).unwrap()
    }

    fn compress(text: &[u8], path: PathBuf) {
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        fs::write(path, gzip.finish().unwrap()).unwrap();
    }

    fn looked(folder: &tempfile::TempDir, family: &Family, known: &[Checkpoint]) -> Between {
        let source = text(&family.source);
        let mut stream = Stream::of(&source, 0);
        stream.absent = known.to_vec();
        let (streams, patterns) = (HashMap::from([(source, stream)]), patterns_of(folder));
        news::look_at(std::slice::from_ref(family), &streams, &patterns, Timestamp(1)).0
    }

    #[test]
    fn a_file_that_is_renamed_while_it_is_looked_for_is_found() {
        let (folder, family) = rotated_files();
        let path = |name: &str| folder.path().join(name);
        // The path of the one has the content of the other now.
        fs::rename(path("a.log.2"), path("a.log.3")).unwrap();
        fs::rename(path("a.log.1"), path("a.log.2")).unwrap();
        let Between { files, gaps, .. } = looked(&folder, &family, &[]);
        assert!(gaps.is_empty(), "{gaps:?}");
        let found = files.iter().map(|file| (PathBuf::from(&file.path), file.fingerprint.head));
        let expected = [(path("a.log.3"), "before\n"), (path("a.log.2"), "later\n")];
        let expected = expected.map(|(path, text)| (path, xxh3_64(text.as_bytes())));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_file_that_is_known_is_found_by_its_content_where_it_stands_now() {
        let (folder, family) = rotated_files();
        let [_before, later] = looked(&folder, &family, &[]).files.try_into().unwrap();
        let path = |name: &str| folder.path().join(name);
        // It was compressed, and renamed since it was listed.
        fs::remove_file(path("a.log.1")).unwrap();
        compress(b"later\n", path("a.log.1.gz"));
        let fingerprint = Fingerprint { tail: xxh3_64(b"later\n"), ..later.fingerprint };
        let known = Checkpoint { offset: 6, fingerprint, ..later };
        let family = families(folder.path(), &patterns_of(&folder), 0).unwrap().remove(0);
        fs::rename(path("a.log.1.gz"), path("a.log.3.gz")).unwrap();
        let found = looked(&folder, &family, &[known]);
        assert!(found.gaps.is_empty() && found.files.is_empty(), "{found:?}");
    }

    #[test]
    fn a_file_that_is_compressed_while_it_is_looked_for_is_read_all_the_same() {
        let (folder, family) = rotated_files();
        let path = |name: &str| folder.path().join(name);
        fs::remove_file(path("a.log.1")).unwrap();
        let look = || looked(&folder, &family, &[]);
        let gone = look();
        assert_eq!((gone.files.len(), gone.gaps.len()), (1, 1), "{gone:?}");
        compress(b"later\n", path("a.log.1.gz"));
        let packed = look();
        assert_eq!((packed.files.len(), packed.gaps.len()), (2, 0), "{packed:?}");
    }

    #[test]
    fn a_copy_that_is_compressed_while_it_is_looked_for_is_read_all_the_same() {
        let (folder, family) = rotated_files();
        let path = |name: &str| folder.path().join(name);
        let [before, _] = looked(&folder, &family, &[]).files.try_into().unwrap();
        let before = Checkpoint { fingerprint: Fingerprint::default(), ..before };
        let (path_of, bytes) = (path("a.log"), 13);
        let truncated = Truncated { path: path_of, bytes, times: 2, since_ns: 0, before };
        fs::remove_file(path("a.log.1")).unwrap();
        let patterns = patterns_of(&folder);
        let look = || {
            let found = family.settled(&patterns, 0, |it| truncated.look(it, &[], Timestamp(1)));
            found.unwrap()
        };
        assert_eq!((look().files.len(), look().gaps.len()), (1, 1));
        compress(b"later\n", path("a.log.1.gz"));
        assert_eq!((look().files.len(), look().gaps.len()), (2, 0));
        let (all, _) = copies(&truncated, &[], &patterns, Timestamp(1));
        assert_eq!((all.files.len(), all.gaps.len()), (2, 0), "{all:?}");
        fs::remove_file(path("a.log.1.gz")).unwrap();
        let (all, _) = copies(&truncated, &[], &patterns, Timestamp(1));
        let [gap] = all.gaps.as_slice() else { panic!("{all:?}") };
        assert!(gap.why.as_ref().is_some_and(|why| why.contains("copies there are 1")), "{gap:?}");
    }

    #[test]
    fn a_file_that_goes_while_it_is_looked_for_is_said() {
        let (folder, family) = rotated_files();
        fs::remove_file(folder.path().join("a.log.1")).unwrap();
        let Between { files, gaps, .. } = looked(&folder, &family, &[]);
        assert_eq!(files.len(), 1);
        let [gap] = gaps.as_slice() else { panic!("{gaps:?}") };
        assert_eq!((gap.from, gap.to), (0, 6));
        assert!(gap.why.as_ref().is_some_and(|why| why.contains("removed or compressed")));
    }
}
