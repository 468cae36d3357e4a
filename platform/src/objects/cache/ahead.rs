//! Blocks that are fetched before they are read, some at a time: who reads them one after the other
//! waits about as long as for one.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::disk_blocks::Key;
use super::{BlockCache, Source};
use crate::objects::Fetch;
use crate::objects::figures::ObjectFigures;

/// Requests of one reader that are on their way at a time.
const REQUESTS_MAX: usize = 4;
/// Blocks of one of them.
const REQUEST_BLOCKS_MAX: usize = 2;
/// Blocks that are fetched ahead for one reader, at most.
const BLOCKS_MAX: usize = 32;
/// And never more than one in so many that the cache may hold: they stay until they are read.
const SHARE: u64 = 4;

impl BlockCache {
    /// Fetches what is not here of some ranges of an object, the first of them first.
    ///
    /// # Errors
    /// As whoever gives them says. No more is fetched then.
    pub(in crate::objects) fn bring(
        &self,
        name: &str,
        ranges: &[Range<u64>],
        fetch: &dyn Fetch,
        figures: &ObjectFigures,
    ) -> io::Result<()> {
        let bytes = self.size(name, fetch, figures)?;
        let source = Source { name, object: self.object(name), bytes, fetch, figures };
        let requests = self.requests(&source, ranges);
        // A single one is who reads it as fast.
        if requests.len() < 2 {
            return Ok(());
        }
        let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
        let work = || {
            while let Some(blocks) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = self.blocks(&source, blocks) {
                    next.store(requests.len(), Ordering::Relaxed);
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..requests.len().min(REQUESTS_MAX) {
                // Without threads nothing is fetched ahead.
                drop(thread::Builder::new().spawn_scoped(scope, work));
            }
        });
        self.show(figures);
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// The blocks to fetch, neighbours together.
    fn requests(&self, source: &Source<'_>, ranges: &[Range<u64>]) -> Vec<Vec<u64>> {
        let block_bytes = self.0.block_bytes;
        let room = usize::try_from(self.bytes_max() / block_bytes / SHARE).unwrap_or(usize::MAX);
        let blocks = ranges.iter().filter(|range| range.start < range.end);
        let blocks = blocks.flat_map(|range| {
            range.start / block_bytes..range.end.min(source.bytes).div_ceil(block_bytes)
        });
        let (mut seen, mut missing) = (BTreeSet::new(), BTreeSet::new());
        for block in blocks {
            if missing.len() >= room.min(BLOCKS_MAX) {
                break;
            }
            if seen.insert(block) && !self.0.disk.has(Key { object: source.object, block }) {
                missing.insert(block);
            }
        }
        let mut requests: Vec<Vec<u64>> = Vec::new();
        for block in missing {
            let follows = |last: &[u64]| {
                last.len() < REQUEST_BLOCKS_MAX && last.last().is_some_and(|one| one + 1 == block)
            };
            match requests.last_mut().filter(|last| follows(last)) {
                Some(last) => last.push(block),
                None => requests.push(vec![block]),
            }
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Condvar;
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    /// A store that answers when two ask.
    #[derive(Default)]
    struct Pair {
        asked: Mutex<u64>,
        both: Condvar,
    }

    impl Fetch for Pair {
        fn get_range(&self, _: &str, from: u64, to: u64) -> io::Result<Bytes> {
            let mut asked = self.asked.lock().unwrap();
            *asked += 1;
            self.both.notify_all();
            let patience = Duration::from_secs(60);
            let waited = self.both.wait_timeout_while(asked, patience, |asked| *asked < 2).unwrap();
            assert!(!waited.1.timed_out(), "they come one after the other");
            Ok(vec![7; usize::try_from(to - from).unwrap()].into())
        }

        fn size(&self, _: &str) -> io::Result<u64> {
            Ok(630)
        }
    }

    #[test]
    fn blocks_are_fetched_side_by_side_and_then_are_here() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlockCache::with_blocks(folder.path(), 10_000, 64).unwrap();
        let (store, figures) = (Pair::default(), ObjectFigures::default());
        let bring = |ranges: &[Range<u64>]| cache.bring("a", ranges, &store, &figures).unwrap();
        bring(&[5..10, 40..41, 500..630, 10..10]);
        let asked = || *store.asked.lock().unwrap();
        // One for the first block, two for the three from 448 on.
        assert_eq!(asked(), 3);
        for range in [(0, 64), (448, 630)] {
            let bytes = cache.read("a", range, &store, &figures).unwrap();
            assert!(bytes.len() as u64 == range.1 - range.0 && bytes.iter().all(|byte| *byte == 7));
        }
        bring(&[5..10, 500..630]);
        // A single block is left to who reads it.
        bring(std::slice::from_ref(&(64..70)));
        assert_eq!(asked(), 3);
    }

    /// A store that is away.
    #[derive(Default)]
    struct Away(AtomicUsize);

    impl Fetch for Away {
        fn get_range(&self, _: &str, _: u64, _: u64) -> io::Result<Bytes> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err(io::ErrorKind::ConnectionRefused.into())
        }

        fn size(&self, _: &str) -> io::Result<u64> {
            Ok(64 * 1_000)
        }
    }

    #[test]
    fn who_is_away_is_asked_once_by_each_and_then_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let cache = BlockCache::with_blocks(folder.path(), 1 << 20, 64).unwrap();
        let (store, figures) = (Away::default(), ObjectFigures::default());
        let all = 0..64 * 1_000;
        let brought = cache.bring("a", std::slice::from_ref(&all), &store, &figures);
        let away = brought.unwrap_err();
        assert_eq!(away.kind(), io::ErrorKind::ConnectionRefused);
        assert!((1..=REQUESTS_MAX).contains(&store.0.load(Ordering::SeqCst)));
    }

    #[test]
    fn no_more_is_fetched_than_fits() {
        let folder = tempfile::tempdir().unwrap();
        let requests = |bytes_max| {
            let cache = BlockCache::with_blocks(folder.path(), bytes_max, 64).unwrap();
            let (fetch, figures) = (&Pair::default(), &ObjectFigures::default());
            let source = Source { name: "a", object: 1, bytes: 64 * 1_000, fetch, figures };
            cache.requests(&source, &[640..700, 0..64 * 1_000])
        };
        assert_eq!(requests(64 * 4 * 5), [vec![0, 1], vec![2, 3], vec![10]]);
        assert_eq!(requests(1 << 20).iter().map(Vec::len).sum::<usize>(), BLOCKS_MAX);
        assert!(requests(0).is_empty());
    }
}
