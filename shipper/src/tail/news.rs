//! Which rotated files of a stream are news: they came while no process was there, or while we were held up.
//!
//! Each file that is known has its place among them, by its inode, or else by its content: that one is no
//! news. Nor are those that are older than one of which something was sent, for what comes before a file is
//! looked for before anything of it is sent. Of the others those are that were written since all was known.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use model::time::Timestamp;

use super::between::{Between, text};
use super::family::{CURRENT, Entry, Family, families_of};
use crate::checkpoint::Checkpoint;
use crate::discover::Patterns;
use crate::doubt::{Doubtful, any, passing};
use crate::identity::FileId;
use crate::rotation::compressed;

/// A file of a stream of which something was read.
#[derive(Debug, Clone)]
pub(super) struct Known {
    checkpoint: Checkpoint,
    /// When it was written last, if that was seen.
    modified_ns: Option<i64>,
}

impl Known {
    pub(super) fn of(checkpoint: &Checkpoint, modified_ns: i64) -> Self {
        let modified_ns = Some(modified_ns).filter(|it| *it > 0);
        Self { checkpoint: checkpoint.clone(), modified_ns }
    }
}

/// A stream of which files may have come and gone.
#[derive(Debug)]
pub(super) struct Stream {
    source: PathBuf,
    /// Nobody knows what came of it since then, nanoseconds since 1970.
    pub(super) since_ns: i64,
    /// What is followed, and what was read to its end of late.
    pub(super) known: Vec<Known>,
    /// What is known and not found.
    pub(super) absent: Vec<Checkpoint>,
    /// What is followed, and of which nothing is known but that.
    pub(super) unread: HashSet<FileId>,
    /// Such a file is gone: newer ones may be known.
    pub(super) misses: bool,
}

/// Files that were found by such looks before, and when they were written last.
type Taken = HashMap<FileId, i64>;

/// What is to be read of the streams that have these families, when some of them are known.
pub(super) fn look_at(
    families: &[Family],
    known: &HashMap<String, Stream>,
    patterns: &Patterns,
    now: Timestamp,
) -> Doubtful<Between> {
    let (mut between, mut doubt) = (Between::default(), None);
    for family in families {
        let Some(stream) = known.get(&text(&family.source)) else { continue };
        let there = family.entries.iter().any(|entry| entry.rank == CURRENT);
        // Other files may have such names too: of a stream something must be there.
        if stream.is_known() || there && patterns.matches(&family.source) {
            stream.look_settled(family, &Taken::new(), patterns, now, &mut between, &mut doubt);
        }
    }
    (between, doubt)
}

/// What is to be read of streams.
pub(super) fn look_into(
    streams: &[Stream],
    taken: &Taken,
    patterns: &Patterns,
    now: Timestamp,
) -> Doubtful<Between> {
    let (mut between, mut doubt) = (Between::default(), None);
    let mut folders: BTreeMap<&Path, HashMap<&str, &Stream>> = BTreeMap::new();
    for stream in streams {
        let name = stream.source.file_name().and_then(|name| name.to_str());
        if let Some((folder, name)) = stream.source.parent().zip(name) {
            folders.entry(folder).or_default().insert(name, stream);
        }
    }
    for (folder, streams) in folders {
        // A folder is listed once for all of them: it may have thousands.
        let since_ns = streams.values().map(|stream| stream.since_ns).min().unwrap_or(i64::MAX);
        let wanted = |stem: &str| streams.contains_key(stem);
        let families = families_of(folder, patterns, since_ns, wanted);
        let families = families.unwrap_or_else(|error| {
            let gap = |stream: &&Stream| stream.unlisted().unsettled(&error, now);
            between.gaps.extend(streams.values().map(gap));
            doubt = passing(error, doubt.take());
            Vec::new()
        });
        for family in families {
            let name = family.source.file_name().and_then(|name| name.to_str());
            let Some(stream) = name.and_then(|name| streams.get(name)) else { continue };
            stream.look_settled(&family, taken, patterns, now, &mut between, &mut doubt);
        }
    }
    (between, doubt)
}

impl Stream {
    pub(super) fn of(source: &str, since_ns: i64) -> Self {
        Self {
            source: PathBuf::from(source),
            since_ns,
            known: Vec::new(),
            absent: Vec::new(),
            unread: HashSet::new(),
            misses: false,
        }
    }

    /// Whether anything of it was read.
    fn is_known(&self) -> bool {
        !self.known.is_empty() || !self.absent.is_empty()
    }

    fn unlisted(&self) -> Family {
        Family { source: self.source.clone(), entries: Vec::new() }
    }

    /// What of a family is to be read. When one of them went meanwhile and others came, as compressed files
    /// do, they are listed again.
    fn look_settled(
        &self,
        family: &Family,
        taken: &Taken,
        patterns: &Patterns,
        now: Timestamp,
        into: &mut Between,
        doubt: &mut Option<io::Error>,
    ) {
        let look = |family: &Family| self.look(family, taken, now);
        match family.settled(patterns, self.since_ns, look) {
            Ok(found) => into.add(found),
            Err(error) => {
                into.gaps.push(family.unsettled(&error, now));
                *doubt = passing(error, doubt.take());
            }
        }
    }

    fn look(&self, family: &Family, taken: &Taken, now: Timestamp) -> io::Result<Between> {
        let mut found = Between::default();
        let was_taken = |entry: &Entry| taken.get(&entry.seen.id) == Some(&entry.seen.modified_ns);
        let fresh = |entry: &&Entry| entry.rank != CURRENT && entry.is_news(self.since_ns);
        let (mut news, mut unread) = (Vec::<&Entry>::new(), false);
        for entry in family.entries.iter().filter(fresh) {
            if self.unread.contains(&entry.seen.id) {
                unread = true;
            } else if !was_taken(entry) && !self.is_known_file(entry)? {
                news.push(entry);
            }
        }
        if news.is_empty() && !unread {
            return Ok(found);
        }
        let places = self.places(family, &news)?;
        let taken_rank = family.entries.iter().filter(|entry| was_taken(entry));
        let begun = places.begun.max(taken_rank.map(|entry| entry.rank).max());
        news.retain(|entry| !places.ranks.contains(&entry.rank));
        let mut news = self.unknown(news, begun)?;
        // Rotation is copying what stands there, and truncates it then.
        let there = family.entries.iter().find(|entry| entry.rank == CURRENT);
        if let Some((there, first)) = there.zip(news.first().copied())
            && !compressed(&first.seen.path)
            && there.begins_with(first)?
        {
            news.remove(0);
        }
        let follows = begun.is_some() || !places.ranks.is_empty() || !self.is_known();
        if !follows && unread && news.is_empty() {
            found.gaps.push(family.may_miss(now));
        }
        family.take(news, follows, now, &mut found)?;
        Ok(found)
    }

    /// Whether it is a file that is known, by its inode.
    fn is_known_file(&self, entry: &Entry) -> io::Result<bool> {
        let known = self.known.iter().map(|known| &known.checkpoint).chain(&self.absent);
        any(known.filter(|known| known.id.inode == entry.seen.id.inode), |known| entry.is(known))
    }

    /// Those that are newer than what was begun; where a file is gone of which nothing is known, also others.
    fn unknown<'a>(&self, news: Vec<&'a Entry>, begun: Option<i64>) -> io::Result<Vec<&'a Entry>> {
        let mut unknown = Vec::new();
        for entry in news {
            let newer = begun.is_none_or(|begun| entry.rank > begun);
            let wanted = newer || (self.misses && !self.is_known_content(entry)?);
            if wanted && !self.was_read_out(entry)? {
                unknown.push(entry);
            }
        }
        Ok(unknown)
    }

    /// Whether it is one of which nothing is missing: it has what was read of that, and no more.
    fn was_read_out(&self, entry: &Entry) -> io::Result<bool> {
        let read_out = self.absent.iter().filter(|known| known.size == 0 && known.offset > 0);
        any(read_out, |known| entry.is_all_of(known))
    }

    /// Whether it has what is known of some file.
    fn is_known_content(&self, entry: &Entry) -> io::Result<bool> {
        let known = self.known.iter().map(|known| &known.checkpoint).chain(&self.absent);
        any(known, |known| entry.has(known))
    }

    /// Where what is known is.
    fn places(&self, family: &Family, news: &[&Entry]) -> io::Result<Places> {
        let mut places = Places::default();
        for known in &self.known {
            places.add(family, news, known)?;
        }
        let as_known = |checkpoint: &Checkpoint| Known::of(checkpoint, 0);
        // What is not told yet may be looked for under another name just now.
        for known in self.absent.iter().filter(|known| known.size > 0) {
            places.add(family, news, &as_known(known))?;
        }
        if places.ranks.is_empty() {
            for known in self.absent.iter().filter(|known| known.size == 0) {
                places.add(family, news, &as_known(known))?;
            }
        }
        Ok(places)
    }
}

/// Where the files that are known are among those of a family.
#[derive(Debug, Default)]
struct Places {
    ranks: BTreeSet<i64>,
    /// The newest of which something was sent.
    begun: Option<i64>,
}

impl Places {
    fn add(&mut self, family: &Family, news: &[&Entry], known: &Known) -> io::Result<()> {
        let Known { checkpoint, modified_ns } = known;
        let begun = checkpoint.offset > 0 || checkpoint.sent.is_some();
        let mut rank = family.rank_of(checkpoint)?;
        match (rank, modified_ns) {
            // Rotation may have copied it by now.
            (Some(CURRENT), _) if !begun => {
                self.ranks.insert(CURRENT);
                rank = oldest_having(news, checkpoint, i64::MIN)?;
            }
            // Several begin alike. What came before it was written before it was.
            (None, Some(modified_ns)) => {
                let rotated: Vec<&Entry> =
                    family.entries.iter().filter(|entry| entry.rank != CURRENT).collect();
                rank = oldest_having(&rotated, checkpoint, *modified_ns)?;
            }
            _ => {}
        }
        self.ranks.extend(rank);
        self.begun = self.begun.max(rank.filter(|_| begun));
        Ok(())
    }
}

/// The rank of the oldest that has that content and was not written before.
fn oldest_having(
    entries: &[&Entry],
    known: &Checkpoint,
    modified_ns: i64,
) -> io::Result<Option<i64>> {
    for entry in entries.iter().rev().filter(|entry| entry.seen.modified_ns >= modified_ns) {
        if entry.has(known)? {
            return Ok(Some(entry.rank));
        }
    }
    Ok(None)
}
