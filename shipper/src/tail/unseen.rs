//! What nobody saw: at the start another file stands where one was known, and that one is nowhere. It
//! may have been written to after the process before us was last there, and whole files may have come
//! and gone (`rotate 0`): that is said once, in a gap without bytes.
//!
//! Nothing is said where all is known: the file was renamed, or a compressed file or copy has its
//! content, or it still stands where a link led, or what stands at its path begins with all of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use model::time::Timestamp;

use super::Shipper;
use super::family::names_of;
use super::gap::Gap;
use crate::checkpoint::Checkpoint;
use crate::discover::Seen;
use crate::doubt::{any, certain};
use crate::rotation::{compressed, rotated};

const UNSEEN: &str = "another file is: more of it, and whole files, may have come and gone while nobody \
                      shipped";

/// The rotated files of folders that are followed themselves, by what they were called before.
#[derive(Debug, Default)]
pub(super) struct Copies(HashMap<PathBuf, HashMap<String, Vec<PathBuf>>>);

impl Copies {
    /// Whether one of those of a file has all that is known of it: then it was copied whole.
    fn have(
        &mut self,
        known: &Checkpoint,
        path: &Path,
        follows: impl Fn(&Path) -> bool,
    ) -> io::Result<bool> {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((folder, name)) = path.parent().zip(name) else { return Ok(false) };
        let listed = match self.0.entry(folder.to_owned()) {
            Entry::Occupied(listed) => listed.into_mut(),
            Entry::Vacant(place) => place.insert(listed(folder)?),
        };
        let copies = listed.get(name).into_iter().flatten();
        any(copies.filter(|copy| follows(copy)), |copy| has(copy, known))
    }
}

fn listed(folder: &Path) -> io::Result<HashMap<String, Vec<PathBuf>>> {
    let mut listed: HashMap<String, Vec<PathBuf>> = HashMap::new();
    for name in names_of(folder)? {
        if let Some((stem, _)) = rotated(&name) {
            listed.entry(stem.to_owned()).or_default().push(folder.join(&name));
        }
    }
    Ok(listed)
}

fn has(path: &Path, known: &Checkpoint) -> io::Result<bool> {
    certain(File::open(path).and_then(|file| known.verify(&file)))
}

impl Shipper {
    /// What is missing of one that was known before and is not followed after the first walk.
    ///
    /// # Errors
    /// Those that leave open whether it is found; also below.
    pub(super) fn unread_of(
        &self,
        known: &Checkpoint,
        copies: &mut Copies,
        now: Timestamp,
    ) -> io::Result<Option<Gap>> {
        let path = Path::new(&known.path);
        let is_there = Seen::at(path, true)?.is_some_and(|seen| seen.id == known.id);
        // One that is there and not followed is none that the settings ask for any more.
        let left = is_there && !compressed(path) && self.table.by_id(known.id).is_none();
        if left { Ok(None) } else { self.missing_of(known, copies, now) }
    }

    /// What is missing of a file that was known before and is not found at the start, unless it is
    /// found yet: bytes that were seen, and what nobody saw.
    fn missing_of(
        &self,
        known: &Checkpoint,
        copies: &mut Copies,
        now: Timestamp,
    ) -> io::Result<Option<Gap>> {
        let gap = Gap::of_absent(known, self.orderly, now);
        if !self.is_replaced(known)
            || self.is_said(known)
            || self.stands_elsewhere(known, copies)?
        {
            return Ok(gap);
        }
        Ok(Some(match gap {
            Some(gap) => {
                Gap { why: Some(format!("were gone before they were read, and {UNSEEN}")), ..gap }
            }
            None => Gap {
                producer: known.producer,
                source: known.source.clone(),
                path: PathBuf::from(&known.path),
                from: known.size,
                to: known.size,
                sent_to: None,
                noticed_ns: now.0,
                why: Some(format!(
                    "what was read last of {} is not there any more, and {UNSEEN}",
                    known.path
                )),
            },
        }))
    }

    /// Whether a file that no process before us knew stands at its path. What is rotated, or of which
    /// all is told, has no such path.
    fn is_replaced(&self, known: &Checkpoint) -> bool {
        let path = Path::new(&known.path);
        let there = self.table.by_path(path).and_then(|key| self.table.get(key));
        let is_new =
            there.is_some_and(|file| !self.known_before.contains(&file.checkpoint.producer));
        is_new && known.size > 0 && known.path == known.source && self.patterns.matches(path)
    }

    /// Whether it is said already of rotated files of that stream.
    fn is_said(&self, known: &Checkpoint) -> bool {
        self.gaps.says_of_files(&known.source, self.alive_ns)
    }

    fn stands_elsewhere(&self, known: &Checkpoint, copies: &mut Copies) -> io::Result<bool> {
        let path = Path::new(&known.path);
        let led = known.real.as_deref().map(|real| Seen::at(Path::new(real), false));
        let led = led.transpose()?.flatten();
        let follows = |copy: &Path| self.patterns.matches(copy);
        Ok(led.is_some_and(|led| led.id.inode == known.id.inode)
            || has(path, known)?
            || copies.have(known, path, follows)?)
    }
}
