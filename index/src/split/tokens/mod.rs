//! The token index: every token that varies, sorted, with the blocks of rows that have it. Drawn in
//! docs/split.md. A lookup reads and unpacks one page of it.

use std::io;

use bytes::Bytes;
use memchr::memmem::Finder;
use model::limits::TOKEN_BYTES_MAX;

use super::bundle::Section;
use super::coding::{Reader, malformed, pack, put, put_bytes, unpack};
use super::gather::Gatherer;
use super::pages::SplitPages;

/// Bytes of a page before compression, about.
const PAGE_BYTES: usize = 32 << 10;

/// The two sections of a token index.
pub(super) struct Written {
    /// Where each page begins.
    pub(super) index: Vec<u8>,
    /// The pages.
    pub(super) pages: Vec<u8>,
}

/// Writes the tokens of a gatherer whose units are blocks.
pub(super) fn write(gatherer: Gatherer) -> io::Result<Written> {
    let mut writer = Writer::default();
    gatherer.give(|token, blocks| writer.add(token, blocks))?;
    writer.end_page()?;
    Ok(Written { index: writer.index, pages: writer.pages })
}

#[derive(Default)]
struct Writer {
    index: Vec<u8>,
    pages: Vec<u8>,
    first: Vec<u8>,
    last: Vec<u8>,
    count: u64,
    texts: Vec<u8>,
    postings: Vec<u8>,
}

impl Writer {
    fn add(&mut self, token: &[u8], blocks: &[u32]) -> io::Result<()> {
        if self.count == 0 {
            self.first = token.to_vec();
            self.last.clear();
        }
        let shared = self.last.iter().zip(token).take_while(|(a, b)| a == b).count();
        put(&mut self.texts, shared as u64);
        put_bytes(&mut self.texts, token.get(shared..).unwrap_or_default());
        self.last.truncate(shared);
        self.last.extend_from_slice(token.get(shared..).unwrap_or_default());
        put(&mut self.postings, blocks.len() as u64);
        let mut before = 0;
        for block in blocks {
            put(&mut self.postings, u64::from(block - before));
            before = *block;
        }
        self.count += 1;
        if self.texts.len() + self.postings.len() >= PAGE_BYTES { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let mut page = Vec::with_capacity(self.texts.len() + self.postings.len() + 16);
        put(&mut page, self.count);
        put_bytes(&mut page, &self.texts);
        page.extend_from_slice(&self.postings);
        let packed = pack(&page)?;
        put_bytes(&mut self.index, &self.first);
        put(&mut self.index, packed.len() as u64);
        put(&mut self.index, page.len() as u64);
        put(&mut self.index, u64::from(crc32c::crc32c(&packed)));
        self.pages.extend_from_slice(&packed);
        self.count = 0;
        self.texts.clear();
        self.postings.clear();
        Ok(())
    }
}

/// An open token index: where its pages are.
#[derive(Debug)]
pub(super) struct Tokens {
    entries: Vec<PageEntry>,
    pages: Section,
    kept: SplitPages,
}

#[derive(Debug)]
struct PageEntry {
    first: Box<[u8]>,
    at: u64,
    packed_bytes: usize,
    bytes: usize,
    crc: u32,
}

/// What is asked of a token beside being the very one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// It begins with the text.
    Start,
    /// The text is anywhere in it.
    Anywhere,
}

impl Tokens {
    /// Reads the unpacked section of the index.
    pub(super) fn open(index: &[u8], pages: Section, kept: SplitPages) -> io::Result<Self> {
        let mut reader = Reader(index);
        let (mut entries, mut at) = (Vec::new(), 0);
        while !reader.is_empty() {
            let first = reader.bytes()?.into();
            let packed_bytes = usize::try_from(reader.number()?).map_err(|_| malformed())?;
            let bytes = usize::try_from(reader.number()?).map_err(|_| malformed())?;
            let crc = reader.small()?;
            entries.push(PageEntry { first, at, packed_bytes, bytes, crc });
            at += packed_bytes as u64;
        }
        if at == pages.bytes() { Ok(Self { entries, pages, kept }) } else { Err(malformed()) }
    }

    /// The blocks that have a token, ascending; none when nothing has.
    pub(super) fn blocks(&self, token: &[u8]) -> io::Result<Vec<u32>> {
        let after = self.entries.partition_point(|entry| *entry.first <= *token);
        let Some(number) = after.checked_sub(1) else { return Ok(Vec::new()) };
        let page = self.page(number)?;
        let mut found = Vec::new();
        walk(&page, |text, postings| {
            if text == token {
                found = postings.read()?;
            } else {
                postings.skip()?;
            }
            Ok(text < token)
        })?;
        Ok(found)
    }

    /// The blocks that have a token with such a part.
    pub(super) fn blocks_with_part(
        &self,
        text: &[u8],
        part: Part,
        block_count: usize,
    ) -> io::Result<Vec<u32>> {
        let mut marked = vec![false; block_count];
        let first = match part {
            Part::Start => self.entries.partition_point(|entry| *entry.first <= *text).max(1) - 1,
            Part::Anywhere => 0,
        };
        let finder = Finder::new(text);
        for (number, entry) in self.entries.iter().enumerate().skip(first) {
            if part == Part::Start && *entry.first > *text && !entry.first.starts_with(text) {
                break;
            }
            let page = self.page(number)?;
            walk(&page, |token, postings| {
                // A token that was cut may have the text behind the cut.
                let has = match part {
                    Part::Start => token.starts_with(text),
                    Part::Anywhere => {
                        token.len() + 4 > TOKEN_BYTES_MAX || finder.find(token).is_some()
                    }
                };
                if has {
                    for block in postings.read()? {
                        *marked.get_mut(block as usize).ok_or_else(malformed)? = true;
                    }
                } else {
                    postings.skip()?;
                }
                Ok(true)
            })?;
        }
        let number =
            |(at, marked): (usize, &bool)| marked.then(|| u32::try_from(at).ok()).flatten();
        Ok(marked.iter().enumerate().filter_map(number).collect())
    }

    /// Reads everything, as a check.
    pub(super) fn check(&self, block_count: usize) -> io::Result<()> {
        self.blocks_with_part(b"", Part::Anywhere, block_count).map(drop)
    }

    fn page(&self, number: usize) -> io::Result<Bytes> {
        let entry = self.entries.get(number).ok_or_else(malformed)?;
        self.kept.tokens(number, || self.read(entry))
    }

    fn read(&self, entry: &PageEntry) -> io::Result<Vec<u8>> {
        let packed = self.pages.range(entry.at, entry.at + entry.packed_bytes as u64)?;
        if crc32c::crc32c(&packed) != entry.crc {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the checksum of a page of the token index differs",
            ));
        }
        unpack(&packed, entry.bytes)
    }
}

/// The postings of one token, to be read or skipped.
struct Postings<'a, 'b>(&'b mut Reader<'a>);

impl Postings<'_, '_> {
    fn read(self) -> io::Result<Vec<u32>> {
        let count = self.0.small()?;
        let mut block = 0_u32;
        (0..count)
            .map(|_| {
                block = block.checked_add(self.0.small()?).ok_or_else(malformed)?;
                Ok(block)
            })
            .collect()
    }

    fn skip(self) -> io::Result<()> {
        for _ in 0..self.0.small()? {
            self.0.number()?;
        }
        Ok(())
    }
}

/// Goes through a page until `each` says that it is enough.
fn walk(
    page: &[u8],
    mut each: impl FnMut(&[u8], Postings<'_, '_>) -> io::Result<bool>,
) -> io::Result<()> {
    let mut page = Reader(page);
    let count = page.number()?;
    let mut texts = Reader(page.bytes()?);
    let mut token = Vec::with_capacity(TOKEN_BYTES_MAX);
    for _ in 0..count {
        let shared = usize::try_from(texts.number()?).map_err(|_| malformed())?;
        token.truncate(shared);
        token.extend_from_slice(texts.bytes()?);
        if !each(&token, Postings(&mut page))? {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::split::pages::PageCache;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tokens_are_found_in_their_blocks(
            blocks in prop::collection::vec(
                prop::collection::btree_set("[ab]{1,4}[0-9]{0,3}", 0..30), 0..20),
            part in "[ab]{1,2}",
        ) {
            let mut gatherer = Gatherer::default();
            let mut expected: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
            for (block, tokens) in (0..).zip(&blocks) {
                for token in tokens {
                    gatherer.add(token);
                    expected.entry(token).or_default().push(block);
                }
                gatherer.end_unit();
            }
            let written = write(gatherer).unwrap();
            let kept = PageCache::none().of_split();
            let tokens = Tokens::open(&written.index, Section::memory(written.pages), kept).unwrap();
            for (token, blocks) in &expected {
                prop_assert_eq!(&tokens.blocks(token.as_bytes()).unwrap(), blocks);
            }
            prop_assert_eq!(tokens.blocks(b"zz").unwrap(), Vec::<u32>::new());
            for (kind, has) in [
                (Part::Start, str::starts_with as fn(&str, &'static str) -> bool),
                (Part::Anywhere, str::contains),
            ] {
                let part: &'static str = part.clone().leak();
                let with: BTreeSet<u32> = expected.iter()
                    .filter(|(token, _)| has(token, part)).flat_map(|(_, b)| b.clone()).collect();
                let found = tokens.blocks_with_part(part.as_bytes(), kind, blocks.len()).unwrap();
                prop_assert_eq!(found, with.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
