//! The files of a stream by the names that logrotate gives: listed while rotation goes on, and found
//! again under the names they have by then.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::between::Truncated;
use super::recover::packed_in;
use crate::checkpoint::Checkpoint;
use crate::discover::{Patterns, Seen, compressed, rotated};
use crate::identity::{FileId, HEAD_BYTES_MAX, SENT_BYTES_MAX, print_before};

/// How often a file is opened that is renamed again and again, and a folder listed whose files are.
pub(super) const TRIES_MAX: usize = 5;
/// The rank of the file that is not rotated.
pub(super) const CURRENT: i64 = i64::MAX;

/// The files of one stream, by their names.
#[derive(Debug)]
pub(super) struct Family {
    /// Where the file stands that is not rotated.
    pub(super) source: PathBuf,
    /// Newest first.
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// The greater, the newer.
    pub(super) rank: i64,
    pub(super) seen: Seen,
}

/// The families of a folder in which something was written since then that no pattern names.
pub(super) fn families(folder: &Path, patterns: &Patterns, alive_ns: i64) -> Vec<Family> {
    families_of(folder, patterns, alive_ns, |_| true)
}

/// The same of the files of some names. Rotation may go on meanwhile, and a file have one name, two or
/// none of those looked at: what is listed twice alike is true.
pub(super) fn families_of(
    folder: &Path,
    patterns: &Patterns,
    alive_ns: i64,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Family> {
    let mut families = listed(folder, patterns, alive_ns, &wanted);
    for _ in 1..TRIES_MAX {
        let before = std::mem::replace(&mut families, listed(folder, patterns, alive_ns, &wanted));
        if before.iter().map(Family::places).eq(families.iter().map(Family::places)) {
            break;
        }
    }
    families
}

fn listed(
    folder: &Path,
    patterns: &Patterns,
    alive_ns: i64,
    wanted: &impl Fn(&str) -> bool,
) -> Vec<Family> {
    let mut names: BTreeMap<String, Vec<(i64, PathBuf)>> = BTreeMap::new();
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
    pub(super) fn is_news(&self, alive_ns: i64) -> bool {
        !self.seen.matches && self.seen.size > 0 && self.seen.modified_ns > alive_ns
    }

    /// Whether it is that file, by its inode.
    pub(super) fn is(&self, known: &Checkpoint) -> bool {
        let same = |(_, file): (_, File)| known.verify(&file).is_ok_and(|it| it.is_some());
        self.seen.id.inode == known.id.inode && self.open().is_ok_and(same)
    }

    /// Whether it has the content of that file, packed or as a copy.
    pub(super) fn has(&self, known: &Checkpoint) -> bool {
        let has = |(path, file): (PathBuf, File)| packed_in(Arc::new(file), &path, known);
        self.open().and_then(has).is_ok_and(|it| it.is_some())
    }

    /// Whether it begins with all that stands in another one, as far as the last bytes of that tell.
    fn begins_with(&self, other: &Self) -> io::Result<bool> {
        let ((_, own), (_, other)) = (self.open()?, other.open()?);
        let end = other.metadata()?.len();
        let print = |file: &File| print_before(file, end, SENT_BYTES_MAX);
        Ok(print(&own)?.is_some_and(|own| print(&other).is_ok_and(|other| other == Some(own))))
    }

    /// The file, opened where it stands now: rotation goes on while we look, and may have given its
    /// path to another.
    pub(super) fn open(&self) -> io::Result<(PathBuf, File)> {
        let at = |path: PathBuf| -> io::Result<(PathBuf, File)> {
            let file = File::open(&path)?;
            let same = FileId::of(&file.metadata()?) == self.seen.id;
            if same { Ok((path, file)) } else { Err(io::ErrorKind::NotFound.into()) }
        };
        let mut opened = at(self.seen.path.clone());
        for _ in 1..TRIES_MAX {
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
}

impl Family {
    pub(super) fn ids(&self) -> impl Iterator<Item = FileId> {
        self.entries.iter().map(|entry| entry.seen.id)
    }

    /// Those written since then that are none of the known files and no copy of what was known before,
    /// the oldest first. Nor is one of more than it was truncated times that is of what stands there yet:
    /// rotation is making it, and truncates then.
    pub(super) fn copies(&self, of: &Truncated, known: &[Checkpoint]) -> Vec<&Entry> {
        // Copies found since then that are gone: a compressed one of those is as old as it was, and so may
        // be found as well.
        let is_gone = |known: &&Checkpoint| {
            known.seen_ns >= of.since_ns && !self.entries.iter().any(|entry| entry.is(known))
        };
        let gone: Vec<&Checkpoint> = known.iter().filter(is_gone).collect();
        let was_found = |entry: &Entry| {
            compressed(&entry.seen.path) && gone.iter().any(|known| entry.has(known))
        };
        let is_copy = |entry: &&Entry| {
            entry.rank != CURRENT
                && entry.is_news(of.since_ns)
                && !known.iter().any(|known| entry.is(known))
                && !entry.has(&of.before)
                && !was_found(entry)
        };
        let mut copies: Vec<&Entry> = self.entries.iter().rev().filter(is_copy).collect();
        let current = self.entries.iter().find(|entry| entry.rank == CURRENT);
        let stands = |copy: &mut &Entry| {
            current.is_some_and(|current| current.begins_with(copy).unwrap_or(false))
        };
        if copies.len() > of.times {
            copies.pop_if(stands);
        }
        copies
    }

    /// What stands under which name.
    fn places(&self) -> Vec<(i64, FileId)> {
        self.entries.iter().map(|entry| (entry.rank, entry.seen.id)).collect()
    }

    /// The rank of the newest one that is known.
    pub(super) fn newest(&self, known: &[Checkpoint]) -> Option<i64> {
        known.iter().filter_map(|known| self.rank_of(known)).max()
    }

    /// Where that file is among them: by its inode, else by its content, if that is certain.
    fn rank_of(&self, known: &Checkpoint) -> Option<i64> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.is(known)) {
            return Some(entry.rank);
        }
        let rotated = self.entries.iter().filter(|entry| entry.rank != CURRENT);
        let mut having = rotated.filter(|entry| entry.has(known));
        let first = having.next()?;
        let certain = known.fingerprint.head_bytes >= HEAD_BYTES_MAX || having.next().is_none();
        certain.then_some(first.rank)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests treat files as other programs do")]

    use std::fs;
    use std::io::Write as _;

    use flate2::write::GzEncoder;
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;
    use crate::identity::Fingerprint;

    /// A file of which nothing is sent, and of which these first bytes are known.
    fn known(source: &str, head: &[u8], seen_ns: i64) -> Checkpoint {
        let (head_bytes, head, tail) = (head.len(), xxh3_64(head), xxh3_64(&[]));
        Checkpoint {
            producer: 1,
            id: FileId { device: 0, inode: 0 },
            fingerprint: Fingerprint { head_bytes, head, tail },
            offset: 0,
            sent: None,
            source: source.to_owned(),
            path: source.to_owned(),
            real: None,
            seen_ns,
            size: 0,
        }
    }

    /// The names of the copies of a file that was truncated so often after time 1; others were found
    /// that have these first bytes, and are gone.
    fn copies_beside(folder: &Path, times: usize, gone: &[&[u8]]) -> Vec<PathBuf> {
        let path = folder.join("a.log");
        let source = path.to_string_lossy().into_owned();
        let gone: Vec<Checkpoint> = gone.iter().map(|head| known(&source, head, 2)).collect();
        let before = known(&source, b"", 0);
        let patterns = Patterns::new([(&[source][..], &[][..])].into_iter()).unwrap();
        let truncated = Truncated { path, bytes: 1, times, since_ns: 1, before };
        let family = families(folder, &patterns, 1).remove(0);
        let copies = family.copies(&truncated, &gone).into_iter();
        copies.map(|copy| copy.seen.path.clone()).collect()
    }

    fn copies(folder: &Path, times: usize) -> Vec<PathBuf> {
        copies_beside(folder, times, &[])
    }

    #[test]
    fn a_copy_that_was_found_before_is_known_when_it_is_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"one\n").unwrap();
        fs::write(path("a.log.2.gz"), gzip.finish().unwrap()).unwrap();
        // A later one may begin as that does.
        for (name, text) in [("a.log.1", "one\ntwo\n"), ("a.log", "three\n")] {
            fs::write(path(name), text).unwrap();
        }
        let both = [path("a.log.2.gz"), path("a.log.1")];
        assert_eq!(copies_beside(folder.path(), 2, &[b"zero\n"]), both);
        assert_eq!(copies_beside(folder.path(), 1, &[b"one\n"]), both[1..]);
    }

    #[test]
    fn a_copy_that_is_being_made_of_what_stands_there_is_none_yet() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [("a.log.2", "one\n"), ("a.log.1", "two\n"), ("a.log", "two\nthree\n")]
        {
            fs::write(path(name), text).unwrap();
        }
        assert_eq!(copies(folder.path(), 1), [path("a.log.2")]);
        // It was truncated since then: what stands there now begins alike.
        assert_eq!(copies(folder.path(), 2), [path("a.log.2"), path("a.log.1")]);
        fs::write(path("a.log"), "four\n").unwrap();
        assert_eq!(copies(folder.path(), 1), [path("a.log.2"), path("a.log.1")]);
        fs::write(path("a.log"), "").unwrap();
        assert_eq!(copies(folder.path(), 1), [path("a.log.2"), path("a.log.1")]);
    }
}
