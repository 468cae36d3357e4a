//! What nobody saw: at the start another file stands where one was known, and that one is nowhere. It
//! may have been written to after the process before us was last there, and whole files may have come
//! and gone (`rotate 0`): that is said once, in a gap without bytes.
//!
//! Nothing is said where all is known: the file was renamed, or a compressed file or copy has its
//! content, or it still stands where a link led, or what stands at its path begins with all of it.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use model::time::Timestamp;

use super::Shipper;
use super::gap::Gap;
use crate::checkpoint::Checkpoint;
use crate::discover::{Seen, rotated};

const UNSEEN: &str = "another file is: more of it, and whole files, may have come and gone while nobody \
                      shipped";

/// The rotated files of folders that are followed themselves, by what they were called before.
#[derive(Debug, Default)]
pub(super) struct Copies(HashMap<PathBuf, HashMap<String, Vec<PathBuf>>>);

impl Copies {
    /// Whether one of those of a file has all that is known of it: then it was copied whole.
    fn have(&mut self, known: &Checkpoint, path: &Path, follows: impl Fn(&Path) -> bool) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((folder, name)) = path.parent().zip(name) else { return false };
        let listed = self.0.entry(folder.to_owned()).or_insert_with(|| listed(folder));
        let mut copies = listed.get(name).into_iter().flatten();
        copies.any(|copy| follows(copy) && has(copy, known))
    }
}

fn listed(folder: &Path) -> HashMap<String, Vec<PathBuf>> {
    let mut listed: HashMap<String, Vec<PathBuf>> = HashMap::new();
    for name in platform::disk::names(folder).unwrap_or_default() {
        if let Some((stem, _)) = rotated(&name) {
            listed.entry(stem.to_owned()).or_default().push(folder.join(&name));
        }
    }
    listed
}

fn has(path: &Path, known: &Checkpoint) -> bool {
    File::open(path).is_ok_and(|file| known.verify(&file).is_ok_and(|it| it.is_some()))
}

impl Shipper {
    /// What is missing of a file that was known before and is not found at the start, unless it is
    /// found yet: bytes that were seen, and what nobody saw.
    pub(super) fn missing_of(
        &self,
        known: &Checkpoint,
        copies: &mut Copies,
        now: Timestamp,
    ) -> Option<Gap> {
        let gap = Gap::of_absent(known, self.orderly, now);
        if !self.is_replaced(known) || self.is_said(known) || self.stands_elsewhere(known, copies) {
            return gap;
        }
        Some(match gap {
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
        })
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

    fn stands_elsewhere(&self, known: &Checkpoint, copies: &mut Copies) -> bool {
        let path = Path::new(&known.path);
        let led = known.real.as_deref().and_then(|real| Seen::at(Path::new(real), false));
        let follows = |copy: &Path| self.patterns.matches(copy);
        led.is_some_and(|led| led.id.inode == known.id.inode)
            || has(path, known)
            || copies.have(known, path, follows)
    }
}
