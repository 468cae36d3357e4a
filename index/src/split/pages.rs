//! Pages of splits as they are when unpacked: those that are asked for often are kept, within a
//! budget of bytes. A page that is found here is neither read, nor checked, nor decompressed again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowGroups};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::reader::SerializedPageReader;

use super::body::Body;
use super::found::Found;
use crate::metrics::IndexMetrics;

/// Bytes that the bookkeeping of a kept page takes, about.
const OVERHEAD_BYTES: usize = 256;

/// Kept pages. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct PageCache {
    /// `None` keeps nothing: for readers that come by once.
    pages: Option<Cache<Key, Kept>>,
    splits: Arc<AtomicU64>,
    metrics: Arc<IndexMetrics>,
}

/// A page of an opened split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    split: u64,
    part: Part,
    number: u32,
}

/// What of a split a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    /// A column of a row group.
    Column {
        group: u32,
        column: u32,
    },
    Tokens,
    /// The rows that pass a filter of this hash.
    Found(u64),
}

#[derive(Debug, Clone)]
enum Kept {
    Column(Arc<Page>),
    Bytes(Bytes),
    Found(Arc<Found>),
}

impl Kept {
    fn bytes(&self) -> usize {
        OVERHEAD_BYTES
            + match self {
                Self::Column(page) => page.buffer().len(),
                Self::Bytes(bytes) => bytes.len(),
                Self::Found(found) => found.bytes(),
            }
    }
}

impl PageCache {
    /// Keeps pages of at most so many bytes.
    pub(crate) fn new(bytes_max: u64, metrics: IndexMetrics) -> Self {
        let weigh = |_: &Key, page: &Kept| u32::try_from(page.bytes()).unwrap_or(u32::MAX);
        // What was asked last is asked next: pages that are read after a long scan come in at once.
        let cache = Cache::builder().max_capacity(bytes_max).weigher(weigh);
        let pages = cache.eviction_policy(EvictionPolicy::lru()).build();
        Self { pages: Some(pages), splits: Arc::default(), metrics: Arc::new(metrics) }
    }

    /// Keeps nothing.
    pub(crate) fn none() -> Self {
        Self { pages: None, splits: Arc::default(), metrics: Arc::default() }
    }

    /// The pages of a split that is opened.
    pub(super) fn of_split(&self) -> SplitPages {
        SplitPages { cache: self.clone(), split: self.splits.fetch_add(1, Ordering::Relaxed) }
    }

    fn find(&self, key: Key) -> Option<Kept> {
        let found = self.pages.as_ref()?.get(&key);
        let metrics = &self.metrics;
        match (key.part, &found) {
            (Part::Found(_), Some(_)) => metrics.found_hits.inc(),
            (Part::Found(_), None) => metrics.found_misses.inc(),
            (_, Some(_)) => metrics.page_hits.inc(),
            (_, None) => metrics.page_misses.inc(),
        };
        found
    }

    fn keep(&self, key: Key, page: Kept) {
        let Some(pages) = &self.pages else { return };
        pages.insert(key, page);
        let bytes = i64::try_from(pages.weighted_size()).unwrap_or(i64::MAX);
        self.metrics.page_bytes.set(bytes);
    }
}

/// The kept pages of one opened split.
#[derive(Debug, Clone)]
pub(super) struct SplitPages {
    cache: PageCache,
    split: u64,
}

impl SplitPages {
    /// The figures of the index that the split is part of.
    pub(super) fn metrics(&self) -> &IndexMetrics {
        &self.cache.metrics
    }

    /// A page of the token index, unpacked by `read` unless it is kept.
    pub(super) fn tokens(
        &self,
        number: usize,
        read: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> io::Result<Bytes> {
        let number = u32::try_from(number).map_err(io::Error::other)?;
        let key = Key { split: self.split, part: Part::Tokens, number };
        if let Some(Kept::Bytes(bytes)) = self.cache.find(key) {
            return Ok(bytes);
        }
        let bytes = Bytes::from(read()?);
        self.cache.keep(key, Kept::Bytes(bytes.clone()));
        Ok(bytes)
    }

    /// The rows that are known to pass a filter of such a hash, whichever it is.
    pub(super) fn found(&self, hash: u64) -> Option<Arc<Found>> {
        match self.cache.find(self.found_key(hash)) {
            Some(Kept::Found(found)) => Some(found),
            _ => None,
        }
    }

    /// Keeps the rows that pass a filter of such a hash.
    pub(super) fn keep_found(&self, hash: u64, found: Arc<Found>) {
        self.cache.keep(self.found_key(hash), Kept::Found(found));
    }

    fn found_key(&self, hash: u64) -> Key {
        Key { split: self.split, part: Part::Found(hash), number: 0 }
    }
}

/// The row groups of a body, read through the kept pages.
pub(super) struct KeptGroups<'a> {
    pub(super) body: &'a Body,
    pub(super) parquet: &'a ArrowReaderMetadata,
    pub(super) pages: &'a SplitPages,
    pub(super) row_count: usize,
}

impl RowGroups for KeptGroups<'_> {
    fn num_rows(&self) -> usize {
        self.row_count
    }

    fn column_chunks(&self, column: usize) -> Result<Box<dyn PageIterator>> {
        let groups = 0..self.parquet.metadata().num_row_groups();
        let (body, parquet) = (Arc::new(self.body.clone()), self.parquet.metadata().clone());
        Ok(Box::new(Chunks { body, parquet, pages: self.pages.clone(), column, groups }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.parquet.metadata().row_groups().iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.parquet.metadata()
    }
}

/// A column's chunks, one of each row group.
struct Chunks {
    body: Arc<Body>,
    parquet: Arc<ParquetMetaData>,
    pages: SplitPages,
    column: usize,
    groups: std::ops::Range<usize>,
}

impl Chunks {
    fn reader(&self, group: usize) -> Result<Box<dyn PageReader>> {
        let (body, parquet) = (self.body.clone(), self.parquet.clone());
        let chunk = Chunk { body, parquet, column: self.column, group };
        let number = |number: usize| u32::try_from(number).map_err(|_| chunk.missing());
        let part = Part::Column { group: number(group)?, column: number(self.column)? };
        let has_dictionary = chunk.has_dictionary()?;
        let pages = self.pages.clone();
        Ok(Box::new(KeptPages { chunk, has_dictionary, inner: None, pages, part, number: 0 }))
    }
}

impl Iterator for Chunks {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let group = self.groups.next()?;
        Some(self.reader(group))
    }
}

impl PageIterator for Chunks {}

/// A column's chunk in a row group, and where its pages are.
struct Chunk {
    body: Arc<Body>,
    parquet: Arc<ParquetMetaData>,
    column: usize,
    group: usize,
}

impl Chunk {
    fn missing(&self) -> ParquetError {
        ParquetError::General(format!("no column {} in its index", self.column))
    }

    fn locations(&self) -> Result<&[PageLocation]> {
        let locations = self.parquet.offset_index().and_then(|index| index.get(self.group));
        let locations = locations.and_then(|index| index.get(self.column));
        Ok(locations.ok_or_else(|| self.missing())?.page_locations())
    }

    fn row_count(&self) -> Result<usize> {
        let rows = self.parquet.row_group(self.group).num_rows();
        usize::try_from(rows).map_err(|_| self.missing())
    }

    fn metadata(&self) -> Result<&ColumnChunkMetaData> {
        let chunk = self.parquet.row_group(self.group).columns().get(self.column);
        chunk.ok_or_else(|| self.missing())
    }

    /// What stands before the first page is a dictionary.
    fn has_dictionary(&self) -> Result<bool> {
        let (start, _) = self.metadata()?.byte_range();
        let first = self.locations()?.first().map(|page| u64::try_from(page.offset));
        Ok(first.is_some_and(|first| first != Ok(start)))
    }

    /// Reads its pages, from the first one on.
    fn open(&self) -> Result<SerializedPageReader<Body>> {
        let (chunk, locations) = (self.metadata()?, self.locations()?.to_vec());
        SerializedPageReader::new(self.body.clone(), chunk, self.row_count()?, Some(locations))
    }
}

/// The pages of a chunk: kept ones, and others read and then kept.
struct KeptPages {
    chunk: Chunk,
    has_dictionary: bool,
    /// What reads pages, and the number of its next one. What it unpacks with takes memory and time
    /// to be made, so it is made when a page is not kept.
    inner: Option<(SerializedPageReader<Body>, u32)>,
    pages: SplitPages,
    part: Part,
    /// The number of the next page, a dictionary counted too.
    number: u32,
}

impl KeptPages {
    /// Reads a page.
    fn read(&mut self, number: u32) -> Result<Option<Page>> {
        let (reader, next) = match &mut self.inner {
            Some(inner) => inner,
            none => none.insert((self.chunk.open()?, 0)),
        };
        while *next < number {
            reader.skip_next_page()?;
            *next += 1;
        }
        *next = number + 1;
        reader.get_next_page()
    }

    /// Where the next page is among those of the locations; `None` for a dictionary.
    fn place(&self) -> Option<usize> {
        (self.number as usize).checked_sub(usize::from(self.has_dictionary))
    }
}

impl Iterator for KeptPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for KeptPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let number = self.number;
        let key = Key { split: self.pages.split, part: self.part, number };
        if self.place().is_some_and(|at| self.chunk.locations().is_ok_and(|all| at >= all.len())) {
            return Ok(None);
        }
        self.number += 1;
        if let Some(Kept::Column(page)) = self.pages.cache.find(key) {
            return Ok(Some(Page::clone(&page)));
        }
        let page = self.read(number)?;
        if let Some(page) = &page {
            self.pages.cache.keep(key, Kept::Column(Arc::new(page.clone())));
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        let Some(at) = self.place() else {
            return Ok(Some(PageMetadata { num_rows: None, num_levels: None, is_dict: true }));
        };
        let locations = self.chunk.locations()?;
        let Some(page) = locations.get(at) else { return Ok(None) };
        let behind = match locations.get(at + 1) {
            Some(next) => {
                usize::try_from(next.first_row_index).map_err(|_| self.chunk.missing())?
            }
            None => self.chunk.row_count()?,
        };
        let first = usize::try_from(page.first_row_index).map_err(|_| self.chunk.missing())?;
        let rows = behind.checked_sub(first).ok_or_else(|| self.chunk.missing())?;
        Ok(Some(PageMetadata { num_rows: Some(rows), num_levels: None, is_dict: false }))
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.number += 1;
        Ok(())
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        // With locations, pages begin with records.
        Ok(true)
    }
}
