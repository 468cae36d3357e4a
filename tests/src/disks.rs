//! Disks that are not as they should be: slow, full, with bits that flipped.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Pid, Resource, Rlimit};

use crate::cluster::Cluster;
use crate::preload::{Library, Preload};
use crate::process::Process;

/// Disks whose syncs can be made slow, one of each node.
#[derive(Debug)]
pub struct SlowDisks(Library);

impl SlowDisks {
    /// Builds what makes them slow, below a folder.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let source = include_str!("slow_sync.c");
        Self(Library::build(folder, "slow_sync", source, "SLOW_SYNC_MS"))
    }

    /// What is loaded before a node that is to get such a disk.
    #[must_use]
    pub fn preload(&self, number: usize) -> Preload {
        self.0.before(number)
    }

    /// From now on each sync of a node takes so much longer.
    ///
    /// # Panics
    /// It cannot be said.
    pub fn slow(&self, number: usize, ms: u64) {
        std::fs::write(self.0.own(number), ms.to_string()).unwrap();
    }

    /// It is as quick as it was.
    pub fn quick(&self, number: usize) {
        std::fs::remove_file(self.0.own(number)).ok();
    }
}

/// The disk of one node, which can be filled and emptied again. Root gets a small file system of its
/// own; others a limit of the process beyond which no file grows.
#[derive(Debug)]
pub enum SmallDisk {
    /// A file system in memory in a mount namespace of the node.
    Mounted {
        /// Where the node finds it.
        at: PathBuf,
    },
    /// A bound of the size of files.
    Limited,
}

impl SmallDisk {
    /// Of so many bytes, at a folder. The command that becomes the node is given beside it.
    #[must_use]
    pub fn new(at: &Path, bytes: u64) -> (Self, Vec<String>) {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        if rustix::process::geteuid().is_root() {
            let mount = format!(
                "mkdir -p '{0}' && mount -t tmpfs -o size={bytes} none '{0}' && exec \"$0\" \"$@\"",
                at.display()
            );
            let command = words(&["unshare", "--mount", "sh", "-c", &mount]);
            return (Self::Mounted { at: at.to_owned() }, command);
        }
        eprintln!("not root: the full disk is a limit of the size of files");
        (Self::Limited, words(&["sh", "-c", "trap '' XFSZ && exec \"$0\" \"$@\""]))
    }

    /// No byte more can be written.
    ///
    /// # Panics
    /// It cannot be filled.
    pub fn fill(&self, node: &Process) {
        match self {
            Self::Mounted { at } => {
                let mut file = std::fs::File::create(Self::filler(at, node)).unwrap();
                let full = std::io::copy(&mut std::io::repeat(0), &mut file).unwrap_err();
                assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
            }
            Self::Limited => Self::limit(node, Some(4096)),
        }
    }

    /// So many bytes more can be written. Whether the system says how much that is: a limit of the size
    /// of files does not.
    ///
    /// # Panics
    /// It cannot be filled.
    #[must_use]
    pub fn fill_but(&self, node: &Process, bytes: u64) -> bool {
        let Self::Mounted { at } = self else { return false };
        let filler = Self::filler(at, node);
        let mut file = std::fs::File::create(&filler).unwrap();
        let stat = rustix::fs::statvfs(&filler).unwrap();
        let full = (stat.f_bavail * stat.f_frsize).saturating_sub(bytes);
        std::io::copy(&mut std::io::repeat(0).take(full), &mut file).unwrap();
        true
    }

    /// There is room again.
    ///
    /// # Panics
    /// It cannot be emptied.
    pub fn empty(&self, node: &Process) {
        match self {
            Self::Mounted { at } => std::fs::remove_file(Self::filler(at, node)).unwrap(),
            Self::Limited => Self::limit(node, None),
        }
    }

    /// A file of the node's own view of the machine.
    fn filler(at: &Path, node: &Process) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", node.id()));
        root.join(at.strip_prefix("/").unwrap()).join("filler")
    }

    fn limit(node: &Process, bytes: Option<u64>) {
        let id = Pid::from_raw(i32::try_from(node.id()).unwrap());
        let limit = Rlimit { current: bytes, maximum: None };
        rustix::process::prlimit(id, Resource::Fsize, limit).unwrap();
    }
}

/// Takes a folder away, and with the next call gives it back, each in one step. In its place there is
/// a file, below which nobody writes or reads anything, not even root.
///
/// # Panics
/// The file system does not exchange the two.
pub fn swap_away(folder: &Path) {
    let mut name = folder.file_name().expect("a folder has a name").to_owned();
    name.push(".away");
    let away = folder.with_file_name(name);
    if !away.exists() {
        std::fs::write(&away, "away").unwrap();
    }
    renameat_with(CWD, folder, CWD, &away, RenameFlags::EXCHANGE).unwrap();
}

/// The segments of a partition's replica at a node, oldest first.
#[must_use]
pub fn segments(cluster: &Cluster, number: usize, partition: usize) -> Vec<PathBuf> {
    let list = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let prefix = format!("{partition:04}-");
    let is_replica = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
    };
    let folders = list(&cluster.data(number).join("replicas")).into_iter().filter(is_replica);
    let mut segments: Vec<PathBuf> = folders.flat_map(|folder| list(&folder)).collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    segments.sort();
    segments
}

/// A file's bytes up to the last one that was written.
///
/// # Panics
/// It has none.
#[must_use]
pub fn written(path: &Path) -> Vec<u8> {
    let mut bytes = std::fs::read(path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("something was written");
    bytes.truncate(end + 1);
    bytes
}

/// Tears off the end of what was written. What was there before.
///
/// # Panics
/// The file cannot be changed.
pub fn tear(path: &Path) -> Vec<u8> {
    let (good, bytes) = (std::fs::read(path).unwrap(), written(path));
    std::fs::write(path, &bytes[..bytes.len() - 5]).unwrap();
    good
}

/// Changes one bit at a share of what was written. What was there before.
///
/// # Panics
/// The file cannot be changed.
pub fn flip(path: &Path, share: f64) -> Vec<u8> {
    let good = std::fs::read(path).unwrap();
    let mut bad = good.clone();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a small file"
    )]
    let place = (written(path).len() as f64 * share) as usize;
    bad[place] ^= 0x10;
    std::fs::write(path, bad).unwrap();
    good
}
