//! inotify on folders → what changed where. Where it cannot be had, the caller must look itself.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt as _, StreamExt as _};
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use platform::disk;

/// Bytes of events read at once.
const EVENT_BYTES: usize = 16 << 10;
/// Changes told at once.
const CHANGES_MAX: usize = 4096;

/// Something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// A file has new content.
    Written(PathBuf),
    /// It has other rights, times or names.
    Touched(PathBuf),
    /// A file or folder stands there now.
    Appeared(PathBuf),
    /// What stood there is gone from there.
    Gone(PathBuf),
    /// What stood in one place stands in another; its going is told before.
    Renamed { from: PathBuf, to: PathBuf },
    /// We may have missed something: look everywhere.
    Unknown,
}

/// Adds folders to a watch; usable on any thread.
#[derive(Clone)]
pub(crate) struct Folders {
    watches: Option<Watches>,
    shared: Arc<Mutex<Shared>>,
}

/// Folders closed to us that are remembered, so that each is told once.
const CLOSED_MAX: usize = 1_000;

#[derive(Debug, Default)]
struct Shared {
    /// One folder may be known under several names.
    names: HashMap<WatchDescriptor, Vec<PathBuf>>,
    /// The first half of a renaming: its number and the old path.
    moving: Option<(u32, PathBuf)>,
    refused: bool,
    /// Folders that were told to be closed to us.
    closed: HashSet<PathBuf>,
}

/// Hears of changes in folders.
pub(crate) struct Watch {
    events: Option<EventStream<Vec<u8>>>,
    /// The system's queue of them, to see how much waits in it.
    queue: Option<OwnedFd>,
    folders: Folders,
}

impl Watch {
    /// Hears of nothing yet. Without inotify it never will; [`Watch::is_complete`] then says no.
    pub(crate) fn new() -> Self {
        Self::on(Inotify::init())
    }

    /// One that cannot hear anything.
    #[cfg(test)]
    pub(crate) fn deaf() -> Self {
        Self::on(Err(io::ErrorKind::Unsupported.into()))
    }

    fn on(inotify: io::Result<Inotify>) -> Self {
        let queue = inotify.as_ref().ok().and_then(|it| it.as_fd().try_clone_to_owned().ok());
        let events = inotify.and_then(|inotify| inotify.into_event_stream(vec![0; EVENT_BYTES]));
        if let Err(error) = &events {
            tracing::warn!(%error, "no inotify here: files are looked at every second");
        }
        let watches = events.as_ref().ok().map(EventStream::watches);
        let shared = Shared { refused: events.is_err(), ..Shared::default() };
        let folders = Folders { watches, shared: Arc::new(Mutex::new(shared)) };
        Self { events: events.ok(), queue, folders }
    }

    /// The way to add folders.
    pub(crate) fn folders(&self) -> Folders {
        self.folders.clone()
    }

    /// Whether every folder added is really watched.
    pub(crate) fn is_complete(&self) -> bool {
        !self.folders.lock().refused
    }

    /// The next changes, in order. Waits for ever when there is no inotify.
    pub(crate) async fn next(&mut self) -> Vec<Change> {
        let Self { events: Some(events), folders, .. } = self else {
            return std::future::pending().await;
        };
        let mut next = events.next().await;
        let mut changes = Vec::new();
        while let Some(event) = next {
            match event {
                Ok(event) => changes.extend(folders.changes(&event)),
                Err(error) => {
                    tracing::warn!(%error, "cannot read inotify events");
                    changes.push(Change::Unknown);
                    break;
                }
            }
            if changes.len() >= CHANGES_MAX {
                break;
            }
            // What happened meanwhile comes with it; two halves of a renaming mostly do.
            next = events.next().now_or_never().flatten();
        }
        changes
    }

    /// The changes that can be told at once.
    pub(crate) fn waiting(&mut self) -> Vec<Change> {
        // What a runtime grants to a task is no answer: it would look like an empty queue.
        tokio::task::unconstrained(self.next()).now_or_never().unwrap_or_default()
    }

    /// Whether nothing waits behind those: the runtime may not have heard of it yet.
    pub(crate) fn is_drained(&self) -> bool {
        let is_empty = |queue: &OwnedFd| disk::waiting_bytes(queue).is_ok_and(|bytes| bytes == 0);
        self.queue.as_ref().is_none_or(is_empty)
    }
}

impl Folders {
    /// Watches a folder. A refusal is remembered.
    pub(crate) fn add(&self, folder: &Path) {
        let Some(mut watches) = self.watches.clone() else { return };
        let mask = WatchMask::MODIFY
            | WatchMask::ATTRIB
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        // Names are written down under the lock, so that no event comes before its folder's name.
        let mut shared = self.lock();
        match watches.add(folder, mask) {
            Ok(descriptor) => {
                let names = shared.names.entry(descriptor).or_default();
                if !names.iter().any(|name| name == folder) {
                    names.push(folder.to_owned());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if is_closed(folder) => {
                if shared.closed.len() < CLOSED_MAX && shared.closed.insert(folder.to_owned()) {
                    tracing::warn!(folder = %folder.display(), %error,
                        "cannot look into the folder: nothing below it is shipped; \
                         let this user read it, or exclude it");
                }
            }
            Err(error) => {
                if !shared.refused {
                    tracing::warn!(folder = %folder.display(), %error,
                        "cannot watch the folder: files are looked at every second; \
                         raise fs.inotify.max_user_watches to change that");
                }
                shared.refused = true;
            }
        }
    }

    fn changes(&self, event: &EventOwned) -> Vec<Change> {
        let mask = event.mask;
        if mask.contains(EventMask::Q_OVERFLOW) {
            return vec![Change::Unknown];
        }
        let mut shared = self.lock();
        if mask.contains(EventMask::IGNORED) {
            shared.names.remove(&event.wd);
            return Vec::new();
        }
        if mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF) {
            // The folder has another name now, or none: its watch would tell wrong names.
            shared.names.remove(&event.wd);
            return vec![Change::Unknown];
        }
        let Some(name) = &event.name else { return Vec::new() };
        let Shared { names, moving, .. } = &mut *shared;
        let change = |folder: &PathBuf| {
            let path = folder.join(name);
            if mask.contains(EventMask::MOVED_FROM) {
                *moving = Some((event.cookie, path.clone()));
                Change::Gone(path)
            } else if mask.contains(EventMask::MOVED_TO) {
                match moving {
                    Some((cookie, from)) if *cookie == event.cookie => {
                        Change::Renamed { from: from.clone(), to: path }
                    }
                    _ => Change::Appeared(path),
                }
            } else if mask.contains(EventMask::CREATE) {
                Change::Appeared(path)
            } else if mask.contains(EventMask::DELETE) {
                Change::Gone(path)
            } else if mask.contains(EventMask::MODIFY) {
                Change::Written(path)
            } else {
                Change::Touched(path)
            }
        };
        names.get(&event.wd).into_iter().flatten().map(change).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nothing in it can be reached: looking at it more often would not help.
fn is_closed(folder: &Path) -> bool {
    let inside = std::fs::metadata(folder.join("."));
    inside.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests change files as programs do")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[tokio::test]
    async fn changes_in_a_folder_are_heard_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Watch::new();
        watch.folders().add(folder.path());
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&a, "x").unwrap();
        std::fs::set_permissions(&a, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&a, &b).unwrap();
        std::fs::remove_file(&b).unwrap();
        let mut heard = Vec::new();
        while heard.last() != Some(&Change::Gone(b.clone())) {
            heard.extend(watch.next().await);
        }
        let expected = [
            Change::Appeared(a.clone()),
            Change::Written(a.clone()),
            Change::Touched(a.clone()),
            Change::Gone(a.clone()),
            Change::Renamed { from: a, to: b.clone() },
            Change::Gone(b),
        ];
        assert_eq!(heard, expected);
        assert!(watch.is_complete() && watch.waiting().is_empty() && watch.is_drained());
        std::fs::write(folder.path().join("c"), "").unwrap();
        assert!(!watch.is_drained());
        assert_eq!(watch.next().await, [Change::Appeared(folder.path().join("c"))]);
    }
}
