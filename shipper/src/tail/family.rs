//! The files of a stream by the names that logrotate gives: listed while rotation goes on, and found
//! again under the names they have by then.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::copies::Truncated;
use super::packed::{all_in, packed_in};
use crate::checkpoint::Checkpoint;
use crate::discover::{Patterns, Seen};
use crate::doubt::{any, certain, is_doubt};
use crate::identity::{FileId, HEAD_BYTES_MAX, SENT_BYTES_MAX, print_before};
use crate::rotation::{compressed, rotated};

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
///
/// # Errors
/// Those that leave open what is there.
pub(super) fn families(
    folder: &Path,
    patterns: &Patterns,
    alive_ns: i64,
) -> io::Result<Vec<Family>> {
    families_of(folder, patterns, alive_ns, |_| true)
}

/// The same of the files of some names. Rotation may go on meanwhile, and a file have one name, two or
/// none of those looked at: what is listed twice alike is true.
pub(super) fn families_of(
    folder: &Path,
    patterns: &Patterns,
    alive_ns: i64,
    wanted: impl Fn(&str) -> bool,
) -> io::Result<Vec<Family>> {
    let mut families = listed(folder, patterns, alive_ns, &wanted)?;
    for _ in 1..TRIES_MAX {
        let again = listed(folder, patterns, alive_ns, &wanted)?;
        let before = std::mem::replace(&mut families, again);
        if before.iter().map(Family::places).eq(families.iter().map(Family::places)) {
            break;
        }
    }
    Ok(families)
}

fn listed(
    folder: &Path,
    patterns: &Patterns,
    alive_ns: i64,
    wanted: &impl Fn(&str) -> bool,
) -> io::Result<Vec<Family>> {
    let mut names: BTreeMap<String, Vec<(i64, PathBuf)>> = BTreeMap::new();
    for name in names_of(folder)? {
        if let Some((stem, rank)) = rotated(&name).filter(|(stem, _)| wanted(stem)) {
            names.entry(stem.to_owned()).or_default().push((rank, folder.join(&name)));
        }
    }
    let mut families = Vec::new();
    for (stem, paths) in names {
        families.extend(Family::of(folder.join(stem), paths, patterns, alive_ns)?);
    }
    Ok(families)
}

/// The names in a folder that are text; none where no folder is.
///
/// # Errors
/// Those that leave open what is there.
pub(super) fn names_of(folder: &Path) -> io::Result<Vec<String>> {
    match platform::disk::names(folder) {
        Err(error) if is_doubt(&error) => Err(error),
        names => {
            let names = names.unwrap_or_default().into_iter();
            Ok(names.filter(|name| !name.contains(char::REPLACEMENT_CHARACTER)).collect())
        }
    }
}

impl Entry {
    fn at(rank: i64, path: &Path, patterns: &Patterns) -> io::Result<Option<Self>> {
        let seen = Seen::at(path, patterns.matches(path))?;
        Ok(seen.map(|seen| Self { rank, seen }))
    }

    pub(super) fn is_news(&self, alive_ns: i64) -> bool {
        !self.seen.matches && self.seen.size > 0 && self.seen.modified_ns > alive_ns
    }

    /// Whether it is that file, by its inode.
    ///
    /// # Errors
    /// Those that leave it open; also below.
    pub(super) fn is(&self, known: &Checkpoint) -> io::Result<bool> {
        if self.seen.id.inode != known.id.inode {
            return Ok(false);
        }
        certain(self.open().and_then(|(_, file)| known.verify(&file)))
    }

    /// Whether it has the content of that file, packed or as a copy.
    pub(super) fn has(&self, known: &Checkpoint) -> io::Result<bool> {
        certain(self.open().and_then(|(path, file)| packed_in(Arc::new(file), &path, known)))
    }

    /// Whether it has what was acknowledged of that file, and nothing behind it.
    ///
    /// # Errors
    /// Those that leave it open; also below.
    pub(super) fn is_all_of(&self, known: &Checkpoint) -> io::Result<bool> {
        certain(self.open().and_then(|(path, file)| all_in(&Arc::new(file), &path, known)))
    }

    /// Whether it begins with all that stands in another one, as far as the last bytes of that tell.
    ///
    /// # Errors
    /// Those that leave it open; also below.
    pub(super) fn begins_with(&self, other: &Self) -> io::Result<bool> {
        let same = || -> io::Result<Option<u64>> {
            let ((_, own), (_, other)) = (self.open()?, other.open()?);
            let end = other.metadata()?.len();
            let print = |file: &File| print_before(file, end, SENT_BYTES_MAX);
            let (own, other) = (print(&own)?, print(&other)?);
            Ok(own.filter(|_| own == other))
        };
        certain(same())
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
            let Some(path) = self.elsewhere()? else { break };
            opened = at(path);
        }
        opened
    }

    /// The name that rotation has given it since it was seen.
    fn elsewhere(&self) -> io::Result<Option<PathBuf>> {
        let Some(folder) = self.seen.path.parent() else { return Ok(None) };
        for name in names_of(folder)?.iter().filter(|name| rotated(name).is_some()) {
            let path = folder.join(name);
            if Seen::at(&path, false)?.is_some_and(|it| it.id == self.seen.id) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}

impl Family {
    /// One of these rotated files, if one of them is news.
    fn of(
        source: PathBuf,
        rotated: Vec<(i64, PathBuf)>,
        patterns: &Patterns,
        alive_ns: i64,
    ) -> io::Result<Option<Self>> {
        let mut entries = Vec::new();
        for (rank, path) in rotated {
            entries.extend(Entry::at(rank, &path, patterns)?);
        }
        if !entries.iter().any(|entry| entry.is_news(alive_ns)) {
            return Ok(None);
        }
        entries.extend(Entry::at(CURRENT, &source, patterns)?);
        // Of a file that is just being compressed there are two: the compressed one is not whole.
        entries.sort_by_key(|entry| (std::cmp::Reverse(entry.rank), compressed(&entry.seen.path)));
        entries.dedup_by_key(|entry| entry.rank);
        Ok(Some(Self { source, entries }))
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = FileId> {
        self.entries.iter().map(|entry| entry.seen.id)
    }

    /// Those written since then that are none of the known files and no copy of what was known before,
    /// the oldest first. Nor is one of more than it was truncated times that is of what stands there yet:
    /// rotation is making it, and truncates then.
    ///
    /// # Errors
    /// Those that leave open which they are; also below.
    pub(super) fn copies(&self, of: &Truncated, known: &[Checkpoint]) -> io::Result<Vec<&Entry>> {
        // Copies found since then that are gone: a compressed one of those is as old as it was, and so may
        // be found as well.
        let mut gone: Vec<&Checkpoint> = Vec::new();
        for known in known.iter().filter(|known| known.seen_ns >= of.since_ns) {
            if !any(&self.entries, |entry| entry.is(known))? {
                gone.push(known);
            }
        }
        let is_copy = |entry: &Entry| -> io::Result<bool> {
            let was_found =
                || any(&gone, |known| Ok(compressed(&entry.seen.path) && entry.has(known)?));
            let is_known = any(known, |known| entry.is(known))?;
            Ok(!is_known && !entry.has(&of.before)? && !was_found()?)
        };
        let mut copies: Vec<&Entry> = Vec::new();
        for entry in self.entries.iter().rev() {
            if entry.rank != CURRENT && entry.is_news(of.since_ns) && is_copy(entry)? {
                copies.push(entry);
            }
        }
        let current = self.entries.iter().find(|entry| entry.rank == CURRENT);
        if copies.len() > of.times
            && let Some((current, newest)) = current.zip(copies.last())
            && current.begins_with(newest)?
        {
            copies.pop();
        }
        Ok(copies)
    }

    /// What stands under which name.
    fn places(&self) -> Vec<(i64, FileId)> {
        self.entries.iter().map(|entry| (entry.rank, entry.seen.id)).collect()
    }

    /// Where that file is among them: by its inode, else by its content, if that is certain.
    ///
    /// # Errors
    /// Those that leave it open.
    pub(super) fn rank_of(&self, known: &Checkpoint) -> io::Result<Option<i64>> {
        for entry in &self.entries {
            if entry.is(known)? {
                return Ok(Some(entry.rank));
            }
        }
        let tells = known.fingerprint.head_bytes >= HEAD_BYTES_MAX;
        let mut having = None;
        for entry in self.entries.iter().filter(|entry| entry.rank != CURRENT) {
            match (entry.has(known)?, having) {
                (false, _) => {}
                (true, None) if tells => return Ok(Some(entry.rank)),
                (true, None) => having = Some(entry.rank),
                (true, Some(_)) => return Ok(None),
            }
        }
        Ok(having)
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
        let family = families(folder, &patterns, 1).unwrap().remove(0);
        let copies = family.copies(&truncated, &gone).unwrap().into_iter();
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

    /// Whether nobody can tell.
    fn is_open(answer: &io::Result<bool>) -> bool {
        answer.as_ref().is_err_and(is_doubt)
    }

    #[test]
    fn a_file_that_cannot_be_read_is_neither_known_nor_another() {
        // Its bytes are not to be had, whoever asks: there is no page at address zero.
        let path = Path::new("/proc/self/mem");
        let Some(seen) = Seen::at(path, false).unwrap() else { panic!("no file there") };
        let head = b"one\n";
        let known = Checkpoint { id: seen.id, ..known("/a", head, 0) };
        let entry = Entry { rank: -1, seen };
        let (is, has) = (entry.is(&known), entry.has(&known));
        assert!(is_open(&is) && is_open(&has), "{is:?} {has:?}");
        let family = Family { source: PathBuf::from("/a"), entries: vec![entry] };
        assert!(family.rank_of(&known).is_err());
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
