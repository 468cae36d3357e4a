//! The token index: every token that varies, sorted, with the blocks of rows that have it. Drawn in
//! docs/split.md. A lookup reads and unpacks one page of it.

mod cut;
mod page;

use std::io;

use bytes::Bytes;
use memchr::memmem::Finder;
use model::limits::TOKEN_BYTES_MAX;

use self::cut::{Kept, kept_of};
use self::page::{PageWriter, blocks_of, unpack_page, unpack_page_v1, walk};
use super::bundle::Section;
use super::coding::{Reader, malformed, put, put_bytes, shared};
use super::gather::Gatherer;
use super::packing::Packing;
use super::pages::SplitPages;

/// Bytes of a page before compression, about.
const PAGE_BYTES: usize = 32 << 10;

/// Writes the tokens of a gatherer whose units are blocks, page after page. Gives back the section
/// that says where each page begins.
pub(super) fn write(
    gatherer: Gatherer,
    packing: Packing,
    append: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let mut writer = Writer {
        append,
        packing,
        index: Vec::new(),
        page: PageWriter::default(),
        first: Vec::new(),
        waiting: Vec::new(),
        blocks: Vec::new(),
        shared: 0,
    };
    gatherer.give(|token, blocks| writer.add(token, blocks))?;
    writer.finish()
}

struct Writer<F> {
    append: F,
    packing: Packing,
    index: Vec<u8>,
    page: PageWriter,
    /// The first text of the page.
    first: Vec<u8>,
    /// A token that waits for the next one, which says how much of it is kept, and its blocks.
    waiting: Vec<u8>,
    blocks: Vec<u32>,
    /// What it shares with the one before.
    shared: usize,
}

impl<F: FnMut(&[u8]) -> io::Result<()>> Writer<F> {
    fn add(&mut self, token: &[u8], blocks: &[u32]) -> io::Result<()> {
        let shared = shared(&self.waiting, token);
        self.put(shared)?;
        self.shared = shared;
        self.waiting.clear();
        self.waiting.extend_from_slice(token);
        self.blocks.clear();
        self.blocks.extend_from_slice(blocks);
        Ok(())
    }

    /// Puts the token that waits into the page; it shares so much with the next one.
    fn put(&mut self, shared: usize) -> io::Result<()> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let (bytes, kept) = kept_of(&self.waiting, self.shared.max(shared), self.blocks.len());
        let text = self.waiting.get(..bytes).unwrap_or_default();
        if self.page.bytes() == 0 {
            self.first = text.to_vec();
        }
        self.page.add(text, kept, &self.blocks);
        if self.page.bytes() >= PAGE_BYTES { self.end_page() } else { Ok(()) }
    }

    fn end_page(&mut self) -> io::Result<()> {
        let (packed, bytes) = self.page.finish(self.packing)?;
        put_bytes(&mut self.index, &self.first);
        put(&mut self.index, packed.len() as u64);
        put(&mut self.index, bytes as u64);
        put(&mut self.index, u64::from(crc32c::crc32c(&packed)));
        (self.append)(&packed)
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        self.put(0)?;
        if self.page.bytes() > 0 {
            self.end_page()?;
        }
        Ok(self.index)
    }
}

/// An open token index: where its pages are.
#[derive(Debug)]
pub(super) struct Tokens {
    entries: Vec<PageEntry>,
    pages: Section,
    kept: SplitPages,
    unpack: Unpack,
}

/// How a page of a version of the format is unpacked.
type Unpack = fn(&[u8], usize) -> io::Result<Vec<u8>>;

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
    /// Reads the unpacked section of the index, of a bundle of such a version.
    pub(super) fn open(
        index: &[u8],
        pages: Section,
        kept: SplitPages,
        version: u32,
    ) -> io::Result<Self> {
        let unpack: Unpack = if version == 1 { unpack_page_v1 } else { unpack_page };
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
        if at == pages.bytes() {
            Ok(Self { entries, pages, kept, unpack })
        } else {
            Err(malformed())
        }
    }

    /// The blocks that may have a token, ascending; none when nothing has. They do have it, unless
    /// it is one that is kept by its beginning.
    pub(super) fn blocks(&self, token: &[u8]) -> io::Result<Vec<u32>> {
        let after = self.entries.partition_point(|entry| *entry.first <= *token);
        let Some(number) = after.checked_sub(1) else { return Ok(Vec::new()) };
        // Nothing stands between a text that was cut and the token that it is of.
        blocks_of(&self.page(number)?, token)
    }

    /// The blocks that may have a token with such a part: those that have one, and those with tokens
    /// of which too little is kept to tell.
    pub(super) fn blocks_with_part(
        &self,
        part: &[u8],
        place: Part,
        block_count: usize,
    ) -> io::Result<Vec<u32>> {
        let mut marked = vec![false; block_count];
        let first = match place {
            Part::Start => self.entries.partition_point(|entry| *entry.first <= *part).max(1) - 1,
            Part::Anywhere => 0,
        };
        let finder = Finder::new(part);
        for (number, entry) in self.entries.iter().enumerate().skip(first) {
            if place == Part::Start && *entry.first > *part && !entry.first.starts_with(part) {
                break;
            }
            let page = self.page(number)?;
            walk(&page, |text, kept, postings| {
                let may_have = match place {
                    Part::Start => kept.may_begin(text, part),
                    // A token that is too long to be kept may have the part behind its end.
                    Part::Anywhere => {
                        text.len() + 4 > TOKEN_BYTES_MAX
                            || finder.find(text).is_some()
                            || kept != Kept::Whole && kept.may_hold_behind(text, part)
                    }
                };
                if may_have {
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
        (self.unpack)(&packed, entry.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::split::bundle::VERSION;
    use crate::split::pages::PageCache;
    use proptest::prelude::*;

    /// Tokens that share beginnings: words, ids, encoded bytes.
    const TOKEN: &str = "[ab]{1,4}[0-9]{0,3}|4bf92f35[0-9a-f]{0,2}0[a-c][0-9a-f]{4}|[a-c][0-9a-f]{15}|(a[0-9]b[0-9]){6,40}";

    type Blocks = BTreeMap<String, Vec<u32>>;

    fn index(blocks: &[BTreeSet<String>]) -> (Blocks, Tokens) {
        let (mut gatherer, mut expected) = (Gatherer::default(), Blocks::new());
        for (block, tokens) in (0..).zip(blocks) {
            for token in tokens {
                gatherer.add(token);
                let token = token[..token.len().min(TOKEN_BYTES_MAX)].to_owned();
                let of_token = expected.entry(token).or_default();
                if of_token.last() != Some(&block) {
                    of_token.push(block);
                }
            }
            gatherer.end_unit();
        }
        let mut pages = Vec::new();
        let append = |page: &[u8]| {
            pages.extend_from_slice(page);
            Ok(())
        };
        let index = write(gatherer, Packing::Quick, append).unwrap();
        let kept = PageCache::none().of_split();
        (expected, Tokens::open(&index, Section::memory(pages), kept, VERSION).unwrap())
    }

    proptest! {
        #[test]
        fn tokens_are_found_in_their_blocks(
            blocks in prop::collection::vec(prop::collection::btree_set(TOKEN, 0..30), 0..20),
            part in "[ab]{1,2}|[a-f0-9]{1,4}|4bf92f3[0-9a-f]{1,4}|[ab]0",
            absent in TOKEN,
        ) {
            let (expected, tokens) = index(&blocks);
            for (token, blocks) in &expected {
                prop_assert_eq!(&tokens.blocks(token.as_bytes()).unwrap(), blocks);
            }
            if !expected.contains_key(&absent) {
                // A token that is kept whole is not taken for another one.
                let found = tokens.blocks(absent.as_bytes()).unwrap();
                prop_assert!(found.is_empty() || kept_of(absent.as_bytes(), 0, 1).1 != Kept::Whole);
            }
            prop_assert_eq!(tokens.blocks(b"zz").unwrap(), Vec::<u32>::new());
            for (kind, has) in [
                (Part::Start, str::starts_with as fn(&str, &'static str) -> bool),
                (Part::Anywhere, str::contains),
            ] {
                let part: &'static str = part.clone().leak();
                let with = |pass: &dyn Fn(&str) -> bool| -> BTreeSet<u32> {
                    let passing = expected.iter().filter(|(token, _)| pass(token));
                    passing.flat_map(|(_, blocks)| blocks.clone()).collect()
                };
                let found = tokens.blocks_with_part(part.as_bytes(), kind, blocks.len()).unwrap();
                let found: BTreeSet<u32> = found.into_iter().collect();
                prop_assert!(found.is_superset(&with(&|token| has(token, part))));
                // Beside these at most those whose tokens may have been cut.
                let most = with(&|token| {
                    has(token, part)
                        || token.len() + 4 > TOKEN_BYTES_MAX
                        || kept_of(token.as_bytes(), 0, 1).1 != Kept::Whole
                });
                prop_assert!(found.is_subset(&most));
            }
        }
    }

    #[test]
    fn what_stands_behind_the_longest_token_is_not_missed() {
        let long = format!("{}xyz", "4bf92f3577b34da6".repeat(8));
        let (_, tokens) = index(&[BTreeSet::from([long])]);
        assert_eq!(tokens.blocks_with_part(b"xyz", Part::Anywhere, 1).unwrap(), [0]);
    }

    #[test]
    fn ids_take_few_bytes() {
        let id = |n: u64| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 0xa << 60);
        let blocks: Vec<BTreeSet<String>> =
            (0..100).map(|block| (0..1_000).map(|n| id(block * 1_000 + n)).collect()).collect();
        let (expected, tokens) = index(&blocks);
        let bytes = tokens.pages.bytes() / expected.len() as u64;
        assert!(bytes < 5, "{bytes} bytes for each of {}", expected.len());
    }
}
