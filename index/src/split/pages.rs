//! Pages of splits as they are when unpacked: those that are asked for often are kept, within a
//! budget of bytes. A page that is found here is neither read, nor checked, nor decompressed again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use moka::sync::Cache;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowGroups};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::SerializedPageReader;

use super::body::Body;
use crate::metrics::IndexMetrics;

/// Bytes that the bookkeeping of a kept page takes, about.
const OVERHEAD_BYTES: usize = 256;

/// Kept pages. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct PageCache {
    /// `None` keeps nothing: for readers that come by once.
    pages: Option<Cache<Key, Kept>>,
    splits: Arc<AtomicU64>,
    metrics: IndexMetrics,
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
}

#[derive(Debug, Clone)]
enum Kept {
    Column(Arc<Page>),
    Bytes(Bytes),
}

impl Kept {
    fn bytes(&self) -> usize {
        OVERHEAD_BYTES
            + match self {
                Self::Column(page) => page.buffer().len(),
                Self::Bytes(bytes) => bytes.len(),
            }
    }
}

impl PageCache {
    /// Keeps pages of at most so many bytes.
    pub(crate) fn new(bytes_max: u64, metrics: IndexMetrics) -> Self {
        let weigh = |_: &Key, page: &Kept| u32::try_from(page.bytes()).unwrap_or(u32::MAX);
        let pages = Cache::builder().max_capacity(bytes_max).weigher(weigh).build();
        Self { pages: Some(pages), splits: Arc::default(), metrics }
    }

    /// Keeps nothing.
    pub(crate) fn none() -> Self {
        Self { pages: None, splits: Arc::default(), metrics: IndexMetrics::default() }
    }

    /// The pages of a split that is opened.
    pub(super) fn of_split(&self) -> SplitPages {
        SplitPages { cache: self.clone(), split: self.splits.fetch_add(1, Ordering::Relaxed) }
    }

    fn find(&self, key: Key) -> Option<Kept> {
        let found = self.pages.as_ref()?.get(&key);
        match found {
            Some(_) => self.metrics.page_hits.inc(),
            None => self.metrics.page_misses.inc(),
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
        let missing = || ParquetError::General(format!("no column {} in its index", self.column));
        let locations = self.parquet.offset_index().and_then(|index| index.get(group));
        let locations = locations.and_then(|index| index.get(self.column)).ok_or_else(missing)?;
        let locations = locations.page_locations().clone();
        let rows = self.parquet.row_group(group);
        let row_count = usize::try_from(rows.num_rows()).map_err(|_| missing())?;
        let chunk = rows.columns().get(self.column).ok_or_else(missing)?;
        let inner =
            SerializedPageReader::new(self.body.clone(), chunk, row_count, Some(locations))?;
        let number = |number: usize| u32::try_from(number).map_err(|_| missing());
        let part = Part::Column { group: number(group)?, column: number(self.column)? };
        Ok(Box::new(KeptPages { inner, pages: self.pages.clone(), part, number: 0 }))
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

/// The pages of a chunk: kept ones, and others read and then kept.
struct KeptPages {
    inner: SerializedPageReader<Body>,
    pages: SplitPages,
    part: Part,
    /// The number of the next page, a dictionary counted too.
    number: u32,
}

impl Iterator for KeptPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for KeptPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let key = Key { split: self.pages.split, part: self.part, number: self.number };
        self.number += 1;
        if let Some(Kept::Column(page)) = self.pages.cache.find(key) {
            self.inner.skip_next_page()?;
            return Ok(Some(Page::clone(&page)));
        }
        let page = self.inner.get_next_page()?;
        if let Some(page) = &page {
            self.pages.cache.keep(key, Kept::Column(Arc::new(page.clone())));
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.number += 1;
        self.inner.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}
