//! Copies of what stood in a followed file for a while and had no turn: `copytruncate` while no node answers.

use std::io;
use std::path::{Path, PathBuf};

use model::time::Timestamp;

use super::between::{Between, gap};
use super::family::{Family, families_of, names_of};
use super::gap::Gap;
use crate::checkpoint::Checkpoint;
use crate::discover::{Patterns, Seen};
use crate::doubt::{Doubtful, any};
use crate::rotation::rotated;

/// What stood in a followed file until it was truncated, and nobody saw.
#[derive(Debug)]
pub(super) struct Truncated {
    pub(super) path: PathBuf,
    /// Bytes it had, each time that it was truncated.
    pub(super) bytes: u64,
    /// How often it was.
    pub(super) times: usize,
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
) -> Doubtful<Between> {
    match truncated.look_for_copies(known, patterns, now) {
        Ok(between) => (between, None),
        Err(error) => {
            let why = format!(
                "were truncated before they were read, and copies of them cannot be looked for: {error}"
            );
            let gap = Gap { why: Some(why), ..truncated.uncopied(0, now) };
            let mut between = Between::default();
            between.gaps.push(gap);
            (between, Some(error))
        }
    }
}

impl Truncated {
    fn look_for_copies(
        &self,
        known: &[Checkpoint],
        patterns: &Patterns,
        now: Timestamp,
    ) -> io::Result<Between> {
        let Self { path, since_ns, .. } = self;
        let Some(folder) = path.parent() else { return Ok(Between::default()) };
        // Of this one only: a folder may have thousands, and all are truncated at once.
        let family =
            families_of(folder, patterns, *since_ns, |stem| folder.join(stem) == *path)?.pop();
        let look = |family: &Family| self.look(family, known, now);
        let found = family.map(|family| family.settled(patterns, *since_ns, look));
        let mut between = found.transpose()?.unwrap_or_default();
        let count = between.files.len() + between.gaps.len();
        if count < self.times && !is_followed(self, patterns)? {
            between.gaps.push(self.uncopied(count, now));
        }
        Ok(between)
    }

    /// The copies that are in a family.
    pub(super) fn look(
        &self,
        family: &Family,
        known: &[Checkpoint],
        now: Timestamp,
    ) -> io::Result<Between> {
        let (source, mut found) = (Path::new(&self.before.source), Between::default());
        for copy in family.copies(self, known)? {
            copy.begin(source, now, &mut found)?;
        }
        Ok(found)
    }

    /// It was truncated more often than there are copies of it.
    pub(super) fn uncopied(&self, copies: usize, now: Timestamp) -> Gap {
        let Self { path, before, .. } = self;
        let (bytes, times) = (self.bytes, self.times);
        let none = "were truncated before they were read, and no copy of them is there";
        let (bytes, why) = match (copies, times) {
            (0, 1) => (bytes, none.to_owned()),
            (0, _) => (bytes, format!("came {times} times, {none}")),
            _ => {
                let path = path.display();
                let why = format!(
                    "{path} was truncated {times} times before it was read, and copies there are \
                     {copies}: what else stood there is lost"
                );
                (0, why)
            }
        };
        gap(Path::new(&before.source), path, bytes, now, why)
    }
}

/// Whether a pattern names a copy of it: then that is read as a file of its own.
fn is_followed(truncated: &Truncated, patterns: &Patterns) -> io::Result<bool> {
    let Some(folder) = truncated.path.parent() else { return Ok(false) };
    let names = names_of(folder)?;
    let copies = names
        .iter()
        .filter(|name| rotated(name).is_some_and(|(stem, _)| folder.join(stem) == truncated.path));
    any(copies, |name| {
        let path = folder.join(name);
        let written = |seen: Seen| seen.modified_ns > truncated.since_ns;
        Ok(patterns.matches(&path) && Seen::at(&path, true)?.is_some_and(written))
    })
}
