//! Blocks of objects that are elsewhere, kept on this disk up to a bound: what is read twice is
//! fetched once. The cache outlives the process; it may be removed at any time.

mod disk_blocks;
mod flights;
mod ahead;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Fetch;
use super::figures::ObjectFigures;
use disk_blocks::{Block, DiskBlocks, Key};
use flights::{Claim, Flights};

/// Bytes of a block; every block of an object but the last has as many.
pub const BLOCK_BYTES: u64 = 1 << 20;
/// Blocks that are fetched with one request, and held in memory at once for one reader.
const RUN_BLOCKS: usize = 8;
/// Objects whose length is remembered.
const SIZES_MAX: usize = 1 << 16;

/// A bounded cache of blocks in a folder that is its own. Clones share it.
#[derive(Debug, Clone)]
pub struct BlockCache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: DiskBlocks,
    flights: Flights,
    sizes: Mutex<HashMap<u128, u64>>,
    block_bytes: u64,
}

impl BlockCache {
    /// Opens the cache in a folder, with what an earlier process kept there. It takes about so
    /// many bytes of the disk at most.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        Self::with_blocks(folder, bytes_max, BLOCK_BYTES)
    }

    /// One whose blocks are of another length.
    pub(super) fn with_blocks(folder: &Path, bytes_max: u64, block_bytes: u64) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            disk: DiskBlocks::open(folder, bytes_max)?,
            flights: Flights::default(),
            sizes: Mutex::default(),
            block_bytes,
        })))
    }

    /// Bytes that the blocks on this disk take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.disk.bytes()
    }

    /// Bytes that they may take now.
    #[must_use]
    pub fn bytes_max(&self) -> u64 {
        self.0.disk.bytes_max()
    }

    /// They may take so many bytes from now on, and never more than when it was opened.
    pub(super) fn bound(&self, bytes: u64) {
        self.0.disk.bound(bytes);
    }

    /// The bytes `from..to` of an object; what is not here is fetched.
    pub(super) fn read(
        &self,
        name: &str,
        (from, to): (u64, u64),
        fetch: &dyn Fetch,
        figures: &ObjectFigures,
    ) -> io::Result<Bytes> {
        if from >= to {
            return Ok(Bytes::new());
        }
        let bytes = self.size(name, fetch, figures)?;
        if to > bytes {
            let text = format!("{name} has {bytes} bytes, {from}..{to} were asked for");
            return Err(io::Error::new(ErrorKind::UnexpectedEof, text));
        }
        let source = Source { name, object: self.object(name), bytes, fetch, figures };
        let mut out = Vec::with_capacity(usize::try_from(to - from).map_err(io::Error::other)?);
        let block_bytes = self.0.block_bytes;
        let blocks: Vec<u64> = (from / block_bytes..=(to - 1) / block_bytes).collect();
        for run in blocks.chunks(RUN_BLOCKS) {
            for (block, content) in run.iter().zip(self.blocks(&source, run)?) {
                let start = block * block_bytes;
                let within = |at: u64| usize::try_from(at.saturating_sub(start)).ok();
                let end = start + block_bytes.min(bytes - start);
                let part = within(from).zip(within(to.min(end)));
                let part = part.and_then(|(from, to)| content.get(from..to));
                out.extend_from_slice(part.ok_or(ErrorKind::UnexpectedEof)?);
            }
        }
        self.show(figures);
        // A copy: a slice of a block would keep all of the block in memory.
        Ok(out.into())
    }

    /// The length of an object; asked for when it is not known here.
    pub(super) fn size(
        &self,
        name: &str,
        fetch: &dyn Fetch,
        figures: &ObjectFigures,
    ) -> io::Result<u64> {
        let object = self.object(name);
        let known = self.sizes().get(&object).copied();
        let known = known.or_else(|| self.0.disk.object_bytes(object, figures));
        let bytes = known.map_or_else(|| fetch.size(name), Ok)?;
        self.remember(object, bytes);
        Ok(bytes)
    }

    /// Takes over the length of an object.
    pub(super) fn expect_size(&self, name: &str, bytes: u64) {
        self.remember(self.object(name), bytes);
    }

    /// Keeps the blocks of an object that was just uploaded from a file. What fails is fetched
    /// when it is asked for.
    pub(super) fn keep(&self, name: &str, file: File, figures: &ObjectFigures) {
        if let Err(error) = self.keep_blocks(name, file) {
            tracing::warn!(%error, name, "an uploaded object could not be kept on this disk");
        }
        self.show(figures);
    }

    fn keep_blocks(&self, name: &str, mut file: File) -> io::Result<()> {
        let (object, bytes) = (self.object(name), file.metadata()?.len());
        let block_bytes = self.0.block_bytes;
        for block in 0..bytes.div_ceil(block_bytes) {
            let length = block_bytes.min(bytes - block * block_bytes);
            let mut content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            file.read_exact(&mut content)?;
            self.0.disk.write(Key { object, block }, bytes, &content);
        }
        self.remember(object, bytes);
        Ok(())
    }

    /// Forgets an object: it was deleted, or put again.
    pub(super) fn forget(&self, name: &str) {
        let object = self.object(name);
        self.sizes().remove(&object);
        self.0.disk.remove(object);
    }

    pub(super) fn show(&self, figures: &ObjectFigures) {
        let shown = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        figures.cache_bytes.set(shown(self.bytes()));
        figures.cache_bytes_max.set(shown(self.bytes_max()));
    }

    /// Blocks in the order asked for, whole.
    fn blocks(&self, source: &Source<'_>, blocks: &[u64]) -> io::Result<Vec<Bytes>> {
        let object = source.object;
        let read = |key: Key| self.0.disk.read(key, source.figures).map(Block::into_content);
        let mut found: HashMap<u64, Bytes> = HashMap::with_capacity(blocks.len());
        let missing: Vec<Key> = blocks
            .iter()
            .map(|block| Key { object, block: *block })
            .filter(|key| read(*key).is_none_or(|content| keep(&mut found, key.block, content)))
            .collect();
        source.figures.cache_hits.inc_by(found.len() as u64);
        let (claims, flights) = self.0.flights.claim(&missing);
        // Between the look and the claim another reader may have brought some.
        let (landed, mut claims): (Vec<_>, Vec<_>) = claims
            .into_iter()
            .map(|claim| (read(claim.key), claim))
            .partition(|(content, _)| content.is_some());
        for (content, claim) in landed {
            if let Some(content) = content {
                found.insert(claim.key.block, content.clone());
                claim.land(Ok(content));
            }
        }
        claims.sort_by_key(|(_, claim)| claim.key.block);
        let claims = claims.into_iter().map(|(_, claim)| claim).collect();
        source.figures.cache_misses.inc_by(missing.len() as u64);
        for run in runs(claims) {
            found.extend(self.fetch(source, run)?);
        }
        // Ours are done, so whoever waits for us goes on, and nobody waits in a circle.
        for (key, flight) in flights {
            found.insert(key.block, flight.wait()?);
        }
        let taken = blocks.iter().map(|block| found.remove(block));
        taken.map(|content| content.ok_or_else(|| ErrorKind::UnexpectedEof.into())).collect()
    }

    /// Fetches neighbouring blocks with one request, keeps them and gives them to who waits.
    fn fetch(&self, source: &Source<'_>, run: Vec<Claim<'_>>) -> io::Result<Vec<(u64, Bytes)>> {
        let block_bytes = self.0.block_bytes;
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(Vec::new()) };
        let from = first.key.block * block_bytes;
        let to = source.bytes.min((last.key.block + 1) * block_bytes);
        let fetched = source.fetch.get_range(source.name, from, to);
        let mut rest = match fetched {
            Ok(bytes) => bytes,
            Err(error) => {
                for claim in run {
                    claim.land(Err(&error));
                }
                return Err(error);
            }
        };
        let mut blocks = Vec::with_capacity(run.len());
        for claim in run {
            let length = usize::try_from(block_bytes).unwrap_or(usize::MAX).min(rest.len());
            let content = rest.split_to(length);
            self.0.disk.write(claim.key, source.bytes, &content);
            blocks.push((claim.key.block, content.clone()));
            claim.land(Ok(content));
        }
        Ok(blocks)
    }

    /// What stands for an object in the cache. Blocks of another length are other blocks.
    fn object(&self, name: &str) -> u128 {
        xxhash_rust::xxh3::xxh3_128_with_seed(name.as_bytes(), self.0.block_bytes)
    }

    fn remember(&self, object: u128, bytes: u64) {
        let mut sizes = self.sizes();
        if sizes.len() >= SIZES_MAX {
            sizes.clear();
        }
        sizes.insert(object, bytes);
    }

    fn sizes(&self) -> std::sync::MutexGuard<'_, HashMap<u128, u64>> {
        self.0.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where blocks come from that are not here.
struct Source<'a> {
    name: &'a str,
    object: u128,
    bytes: u64,
    fetch: &'a dyn Fetch,
    figures: &'a ObjectFigures,
}

/// Keeps what was found; nothing is missing then.
fn keep(found: &mut HashMap<u64, Bytes>, block: u64, content: Bytes) -> bool {
    found.insert(block, content);
    false
}

/// Claims in their order, cut where blocks between them are not claimed.
fn runs(claims: Vec<Claim<'_>>) -> Vec<Vec<Claim<'_>>> {
    let mut runs: Vec<Vec<Claim<'_>>> = Vec::new();
    for claim in claims {
        let follows = |last: &Claim<'_>| last.key.block + 1 == claim.key.block;
        match runs.last_mut().filter(|run| run.last().is_some_and(follows)) {
            Some(run) => run.push(claim),
            None => runs.push(vec![claim]),
        }
    }
    runs
}
