//! Immutable objects by name: a node's own folder, with other nodes behind it, or an object store
//! that all nodes share. What is elsewhere is kept on this disk in blocks, up to a bound.

mod folder;
mod adopt;
mod shared;
mod answers;
mod connect;
mod profile;
mod upload;
mod half;
mod cache;
mod errors;
mod figures;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::time::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;

use crate::disk;

pub use adopt::{Adoption, Announced};
pub use answers::ANSWER_WAIT;
pub use cache::{BLOCK_BYTES, BlockCache};
pub use connect::{REQUEST_TIMEOUT, RETRY_FOR, StoreOptions};
pub use errors::retryable;
pub use figures::ObjectFigures;

use folder::Folder;
use shared::SharedStore;

/// A store of immutable objects. Names are relative paths of plain parts, `/` between them.
/// Calls block; they are made from threads that do CPU work, not from I/O tasks. Clones share it.
///
/// Errors have a kind to act on: `NotFound`; [`retryable`] ones, where the store or node did not
/// answer; `PermissionDenied`, whose text says what to check; `UnexpectedEof` beyond the end.
#[derive(Debug, Clone)]
pub struct Objects(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    place: Place,
    fallback: Option<Arc<dyn Fetch>>,
    cache: Option<BlockCache>,
    figures: ObjectFigures,
}

#[derive(Debug, Clone)]
enum Place {
    Folder(Folder),
    Shared(SharedStore),
}

/// Where the objects of other nodes are asked for. Calls block.
pub trait Fetch: Send + Sync {
    /// The bytes `from..to` of an object, all of them.
    ///
    /// # Errors
    /// `NotFound` when nobody has it, `UnexpectedEof` beyond its end.
    fn get_range(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes>;

    /// The length of an object in bytes.
    ///
    /// # Errors
    /// `NotFound` when nobody has it.
    fn size(&self, name: &str) -> io::Result<u64>;
}

/// An object as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// When it was put, by the clock of who stores it.
    pub changed: Timestamp,
}

impl Objects {
    /// Objects as files below a folder, which is made when it is not there.
    ///
    /// # Errors
    /// As the system says.
    pub fn local(root: &Path) -> io::Result<Self> {
        Ok(Self::new(Place::Folder(Folder::open(root)?), ObjectFigures::default()))
    }

    /// Objects in a store that all nodes share: `s3://bucket/prefix`, `file:///folder`. The store
    /// is not asked yet. Requests run on the runtime given, which must have threads of its own.
    ///
    /// # Errors
    /// The URL or a variable is wrong, or the cache's folder cannot be made.
    pub fn shared(
        url: &str,
        options: &StoreOptions,
        cache_folder: &Path,
        cache_bytes_max: u64,
        runtime: Handle,
    ) -> io::Result<Self> {
        let figures = ObjectFigures::default();
        let store = SharedStore::open(url, options, runtime, &figures)?;
        let cache = BlockCache::open(cache_folder, cache_bytes_max)?;
        Ok(Self::new(Place::Shared(store), figures).with_cache(cache))
    }

    /// Whose a store says that it is, before it is used; empty when it is nobody's.
    ///
    /// # Errors
    /// The URL or a variable is wrong; else as the store says.
    pub fn owner(url: &str, options: &StoreOptions, runtime: Handle) -> io::Result<String> {
        SharedStore::owner_of(url, options, runtime)
    }

    /// Makes sure that the store is the owner's: takes one that nobody has, unless it
    /// `was_claimed` before. A folder is from then on written to only while it still is.
    ///
    /// # Errors
    /// `InvalidInput` when it is another's, or no longer what was claimed; else as the store says.
    pub fn claim(&self, owner: &str, was_claimed: bool) -> io::Result<()> {
        match &self.0.place {
            Place::Folder(_) => Ok(()),
            Place::Shared(store) => store.claim(owner, was_claimed),
        }
    }

    /// The same objects, and those it does not have are asked for there.
    #[must_use]
    pub fn with_fallback(self, fallback: Arc<dyn Fetch>) -> Self {
        let inner = Arc::unwrap_or_clone(self.0);
        Self(Arc::new(Inner { fallback: Some(fallback), ..inner }))
    }

    /// The same objects, and what comes from elsewhere is kept in this cache.
    #[must_use]
    pub fn with_cache(self, cache: BlockCache) -> Self {
        let inner = Arc::unwrap_or_clone(self.0);
        cache.show(&inner.figures);
        Self(Arc::new(Inner { cache: Some(cache), ..inner }))
    }

    fn new(place: Place, figures: ObjectFigures) -> Self {
        Self(Arc::new(Inner { place, fallback: None, cache: None, figures }))
    }

    /// Takes a finished file over as an object; the file is gone afterwards. In a folder it must
    /// be on the same file system. When this returns the object survives a loss of power.
    ///
    /// # Errors
    /// The object is then not there and the file still is: after a [`retryable`] error put it
    /// again. An error of the last check may leave the object there; putting it again is right.
    pub fn put_file(&self, name: &str, file: &Path) -> io::Result<()> {
        match &self.0.place {
            Place::Folder(folder) => folder.put_file(name, file)?,
            Place::Shared(store) => store.put_file(name, file)?,
        }
        let Some(cache) = &self.0.cache else { return Ok(()) };
        cache.forget(name);
        match &self.0.place {
            Place::Folder(_) => Ok(()),
            Place::Shared(_) => {
                cache.keep(name, File::open(file)?, &self.0.figures);
                disk::remove_file(file)
            }
        }
    }

    /// Puts a small object that must not be there yet: of two who try, one succeeds.
    ///
    /// # Errors
    /// `AlreadyExists`, which may also be an earlier try of ours whose answer was lost: read it.
    pub fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        match &self.0.place {
            Place::Folder(folder) => folder.put_new(name, bytes),
            Place::Shared(store) => store.put_new(name, bytes),
        }
    }

    /// The bytes `from..to` of an object.
    ///
    /// # Errors
    /// `NotFound`, or `UnexpectedEof` when the object is shorter.
    pub fn get_range(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        let bytes = match &self.0.place {
            Place::Folder(folder) => {
                let own = folder.get_range(name, from, to);
                self.or_elsewhere(own, |fetch| self.fetched(fetch, name, from, to))?
            }
            Place::Shared(store) => self.fetched(store, name, from, to)?,
        };
        self.0.figures.read_bytes.inc_by(bytes.len() as u64);
        Ok(bytes)
    }

    /// The bytes `from..to` of an object in this node's own folder; nobody else is asked.
    ///
    /// # Errors
    /// As [`Objects::get_range`]; `Unsupported` when the store is shared.
    pub fn read_local(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        self.folder()?.get_range(name, from, to)
    }

    /// The length of an object in this node's own folder.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` where the store is shared.
    pub fn read_size(&self, name: &str) -> io::Result<u64> {
        self.folder()?.size(name)
    }

    /// Whether an object is in this node's own folder.
    #[must_use]
    pub fn has_local(&self, name: &str) -> bool {
        self.folder().is_ok_and(|folder| folder.size(name).is_ok())
    }

    /// What to announce of an object in this node's own folder. Reads all of it.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` when the store is shared.
    pub fn announce(&self, name: &str) -> io::Result<Announced> {
        Announced::measure(&mut self.folder()?.open_file(name)?)
    }

    /// Begins to take an object over that comes in pieces.
    ///
    /// # Errors
    /// As the system says; `Unsupported` when the store is shared.
    pub fn adoption(&self, name: &str) -> io::Result<Adoption> {
        let counted = (self.0.figures.clone(), self.0.cache.clone(), name.to_owned());
        let adopted = move || {
            let (figures, cache, name) = counted;
            figures.adopted.inc();
            if let Some(cache) = cache {
                cache.forget(&name);
            }
        };
        Adoption::begin(self.folder()?, name, Box::new(adopted))
    }

    /// Begins to take over a whole object in the place of a damaged one, which is set aside when all
    /// of the whole one has come. Whoever reads it meanwhile may find none, as before a copy is made.
    ///
    /// # Errors
    /// As [`Objects::adoption`].
    pub fn replacement(&self, name: &str) -> io::Result<Adoption> {
        let (aside, figures) = (self.folder()?.aside(name)?, self.0.figures.clone());
        let told = move || {
            figures.damaged.inc();
        };
        Ok(self.adoption(name)?.setting_aside(aside, Box::new(told)))
    }

    /// Takes an object over that another node has, when it is what was announced. When this
    /// returns it survives a loss of power.
    ///
    /// # Errors
    /// `UnexpectedEof` or `InvalidData` when other bytes came; nothing is left of them then.
    pub fn adopt(&self, name: &str, announced: Announced, from: &mut impl Read) -> io::Result<()> {
        let mut adoption = self.adoption(name)?;
        // A byte too many is enough to know that it is another object.
        let from = &mut from.take(announced.bytes.saturating_add(1));
        adopt::chunks(from, |bytes| adoption.write(bytes))?;
        adoption.finish(announced)
    }

    /// Counts the bytes that were read of objects.
    #[must_use]
    pub fn read_bytes(&self) -> Counter {
        self.0.figures.read_bytes.clone()
    }

    /// All its figures.
    #[must_use]
    pub fn figures(&self) -> &ObjectFigures {
        &self.0.figures
    }

    /// The length of an object in bytes.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn size(&self, name: &str) -> io::Result<u64> {
        let elsewhere = |fetch: &dyn Fetch| match &self.0.cache {
            Some(cache) => cache.size(name, fetch, &self.0.figures),
            None => fetch.size(name),
        };
        match &self.0.place {
            Place::Folder(folder) => self.or_elsewhere(folder.size(name), elsewhere),
            Place::Shared(store) => elsewhere(store),
        }
    }

    /// Says how long an object is, as it was written: where it is elsewhere nobody is asked for that.
    pub fn expect_size(&self, name: &str, bytes: u64) {
        if let Some(cache) = &self.0.cache {
            cache.expect_size(name, bytes);
        }
    }

    /// Brings ranges of an object here that is in a shared store, some at a time, as far as they fit: who
    /// reads them then waits for few requests. A folder has them.
    ///
    /// # Errors
    /// As the store says; some may be here then.
    pub fn bring(&self, name: &str, ranges: &[Range<u64>]) -> io::Result<()> {
        let (Place::Shared(store), Some(cache)) = (&self.0.place, &self.0.cache) else {
            return Ok(());
        };
        let counted = Counted { fetch: store, figures: &self.0.figures };
        cache.bring(name, ranges, &counted, &self.0.figures)
    }

    /// Removes an object, if it is there.
    ///
    /// # Errors
    /// As the system or the store says.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        match &self.0.place {
            Place::Folder(folder) => folder.delete(name)?,
            Place::Shared(store) => store.delete(name)?,
        }
        if let Some(cache) = &self.0.cache {
            cache.forget(name);
            cache.show(&self.0.figures);
        }
        Ok(())
    }

    /// Names of all objects, with their lengths in bytes: those of the node's own folder, or of
    /// the whole store.
    ///
    /// # Errors
    /// As the system or the store says.
    pub fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.list_with_age()?.into_iter().map(|listed| (listed.name, listed.bytes)).collect())
    }

    /// The same list, with when each was put.
    ///
    /// # Errors
    /// As the system or the store says.
    pub fn list_with_age(&self) -> io::Result<Vec<Listed>> {
        match &self.0.place {
            Place::Folder(folder) => folder.list(),
            Place::Shared(store) => store.list(),
        }
    }

    /// Whether other nodes put and delete objects here too.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.0.place, Place::Shared(_))
    }

    /// For how long the store that all nodes share has not answered; `None` where it does, as far as
    /// is known, or where there is none.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        match &self.0.place {
            Place::Folder(_) => None,
            Place::Shared(store) => store.silence(),
        }
    }

    /// Removes what was begun before a moment and never finished: uploads to the store, objects
    /// that were being taken over. How many.
    ///
    /// # Errors
    /// As the system or the store says.
    pub fn sweep_half(&self, before: Timestamp) -> io::Result<u64> {
        match &self.0.place {
            Place::Folder(folder) => folder.sweep_half(before),
            Place::Shared(store) => store.sweep_half(before),
        }
    }

    /// Removes damaged objects that were set aside before a moment. How many.
    ///
    /// # Errors
    /// As the system says.
    pub fn sweep_aside(&self, before: Timestamp) -> io::Result<u64> {
        match &self.0.place {
            Place::Folder(folder) => folder.sweep_aside(before),
            Place::Shared(_) => Ok(0),
        }
    }

    /// What is kept of objects that are elsewhere takes so many bytes of this disk at most from now
    /// on, and never more than was said at the start.
    pub fn bound_cache(&self, bytes: u64) {
        if let Some(cache) = &self.0.cache {
            cache.bound(bytes);
            cache.show(&self.0.figures);
        }
    }

    /// Bytes of this disk that objects take which are elsewhere.
    #[must_use]
    pub fn cache_bytes(&self) -> u64 {
        self.0.cache.as_ref().map_or(0, BlockCache::bytes)
    }

    fn folder(&self) -> io::Result<&Folder> {
        match &self.0.place {
            Place::Folder(folder) => Ok(folder),
            Place::Shared(_) => {
                let text = "the objects are in a store that all nodes share: ask the store";
                Err(io::Error::new(ErrorKind::Unsupported, text))
            }
        }
    }

    /// What the own folder gave, or what others give of that which it does not have.
    fn or_elsewhere<T>(
        &self,
        own: io::Result<T>,
        ask: impl FnOnce(&dyn Fetch) -> io::Result<T>,
    ) -> io::Result<T> {
        match (own, &self.0.fallback) {
            (Err(error), Some(fallback)) if error.kind() == ErrorKind::NotFound => {
                ask(fallback.as_ref())
            }
            (own, _) => own,
        }
    }

    fn fetched(&self, fetch: &dyn Fetch, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        let counted = Counted { fetch, figures: &self.0.figures };
        match &self.0.cache {
            Some(cache) => cache.read(name, (from, to), &counted, &self.0.figures),
            None if from >= to => Ok(Bytes::new()),
            None => counted.get_range(name, from, to),
        }
    }
}

/// Counts what is fetched, and holds who gives it to what was asked for.
struct Counted<'a> {
    fetch: &'a dyn Fetch,
    figures: &'a ObjectFigures,
}

impl Fetch for Counted<'_> {
    fn get_range(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        let bytes = self.fetch.get_range(name, from, to)?;
        self.figures.fetched_bytes.inc_by(bytes.len() as u64);
        if bytes.len() as u64 == to.saturating_sub(from) {
            return Ok(bytes);
        }
        let text = format!("{name}: {} bytes came for {from}..{to}", bytes.len());
        Err(io::Error::new(ErrorKind::UnexpectedEof, text))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.fetch.size(name)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects")
            .field("place", &self.place)
            .field("has_fallback", &self.fallback.is_some())
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}

fn check_name(name: &str) -> io::Result<()> {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if name.split('/').all(plain) {
        Ok(())
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, format!("{name:?} names no object")))
    }
}
