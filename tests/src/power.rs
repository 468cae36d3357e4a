//! Disks that keep, when the power fails, what was synced and nothing else.
//!
//! A killed process leaves all it wrote with the system, so that a kill proves nothing of syncs. Here
//! a library before the node (`power_loss.c`) writes down what was synced, and after the kill the
//! data directory is taken back to that: files are cut to the length that was synced, those whose
//! name was not synced with their folder are removed, and a catalog is as it was at its last sync.
//! Folders stay: a file system that syncs what is in one has it. What was removed stays removed.

use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::preload::{Library, Preload};

/// Such disks, one of each node.
#[derive(Debug)]
pub struct VolatileDisks(Library);

/// What a loss of power took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Bytes at the ends of files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
}

/// What was synced of a disk.
#[derive(Debug, Default)]
struct Synced {
    /// Bytes of files, by their numbers.
    lengths: HashMap<u64, u64>,
    /// Names in folders.
    names: HashMap<PathBuf, BTreeSet<String>>,
}

impl VolatileDisks {
    /// Builds what writes down, below a folder.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let source = include_str!("power_loss.c");
        Self(Library::build(folder, "power_loss", source, "POWER_LOSS"))
    }

    /// What is loaded before a node that is to get such a disk.
    ///
    /// # Panics
    /// A folder cannot be made.
    #[must_use]
    pub fn preload(&self, number: usize) -> Preload {
        std::fs::create_dir_all(self.0.own(number)).unwrap();
        self.0.before(number)
    }

    /// Takes from a data directory of a node that was killed what it had not synced.
    ///
    /// # Panics
    /// The files cannot be read or changed.
    pub fn lose(&self, number: usize, data: &Path) -> Lost {
        let (notes, mut lost) = (self.0.own(number), Lost::default());
        let synced = Synced::read(&notes.join("synced"));
        // As the system names it.
        let mut folders = vec![data.canonicalize().unwrap()];
        while let Some(folder) = folders.pop() {
            let names = synced.names.get(&folder);
            for entry in std::fs::read_dir(&folder).unwrap() {
                let entry = entry.unwrap();
                let (path, name) = (entry.path(), entry.file_name());
                if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                } else if names.is_some_and(|names| names.contains(&*name.to_string_lossy())) {
                    lost.bytes += synced.take_back(&path, &notes);
                } else {
                    std::fs::remove_file(&path).unwrap();
                    lost.files += 1;
                }
            }
        }
        lost
    }
}

impl Lost {
    /// Adds what another disk lost.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.files += other.files;
    }
}

impl Synced {
    fn read(journal: &Path) -> Self {
        let bytes = std::fs::read(journal).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let (mut synced, mut begun) = (Self::default(), None);
        // A kill may have cut the last entry short.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            match kind {
                "F" => {
                    let (file, bytes) = rest.split_once(' ').expect("a file and its length");
                    synced.lengths.insert(file.parse().unwrap(), bytes.parse().unwrap());
                }
                "D" => begun = Some((PathBuf::from(rest), BTreeSet::new())),
                "N" => {
                    if let Some((_, names)) = &mut begun {
                        names.insert(rest.to_owned());
                    }
                }
                "E" => synced.names.extend(begun.take()),
                _ => {}
            }
        }
        synced
    }

    /// Takes a file back to what was synced of it; how many bytes that took.
    fn take_back(&self, path: &Path, notes: &Path) -> u64 {
        let found = std::fs::metadata(path).unwrap();
        let copy = notes.join(found.ino().to_string());
        if path.extension().is_some_and(|end| end == "redb") && copy.exists() {
            std::fs::copy(copy, path).unwrap();
            return 0;
        }
        let kept = self.lengths.get(&found.ino()).copied().unwrap_or(0);
        if found.len() > kept {
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_len(kept).unwrap();
        }
        found.len().saturating_sub(kept)
    }
}
