//! A page of the token index: what its tokens are made of, each part in a stream of its own, since
//! parts that look alike compress best together.

use std::io;

use model::limits::TOKEN_BYTES_MAX;

use super::super::coding::{Reader, malformed, pack, put, put_bytes, shared, unpack};
use super::super::packing::Packing;
use super::cut::Kept;

/// Streams of a page, in their order: bytes shared with the token before, and own bytes times four
/// with how the token is kept ([`Kept::number`]); own bytes; blocks less one, and the number of the
/// first block without its last eight bits; those bits; the distances of the other blocks.
const STREAMS: usize = 5;

/// The page that is being written.
#[derive(Default)]
pub(super) struct PageWriter {
    last: Vec<u8>,
    streams: [Vec<u8>; STREAMS],
}

impl PageWriter {
    /// Adds the next token, kept by such a text; its blocks ascend, and there is one at least.
    pub(super) fn add(&mut self, text: &[u8], kept: Kept, blocks: &[u32]) {
        let [lengths, texts, counts, lows, distances] = &mut self.streams;
        let shared = shared(&self.last, text);
        let own = text.get(shared..).unwrap_or_default();
        put(lengths, shared as u64);
        put(lengths, own.len() as u64 * 4 + kept.number());
        texts.extend_from_slice(own);
        self.last.truncate(shared);
        self.last.extend_from_slice(own);
        let Some((first, others)) = blocks.split_first() else { return };
        put(counts, others.len() as u64);
        put(counts, u64::from(first >> 8));
        lows.push(first.to_le_bytes()[0]);
        let mut before = first;
        for block in others {
            put(distances, u64::from(block - before));
            before = block;
        }
    }

    /// Bytes before compression.
    pub(super) fn bytes(&self) -> usize {
        self.streams.iter().map(Vec::len).sum()
    }

    /// The page, compressed, with its length when it is not; the next one begins empty.
    pub(super) fn finish(&mut self, packing: Packing) -> io::Result<(Vec<u8>, usize)> {
        let mut packed = Vec::with_capacity(self.bytes() / 2);
        for stream in &self.streams {
            put(&mut packed, stream.len() as u64);
            put_bytes(&mut packed, &pack(stream, packing.level(stream.len()))?);
        }
        let bytes = self.unpacked_bytes();
        self.last.clear();
        self.streams.iter_mut().for_each(Vec::clear);
        Ok((packed, bytes))
    }

    /// Bytes of the page as [`unpack_page`] gives it.
    fn unpacked_bytes(&self) -> usize {
        let mut lengths = Vec::with_capacity(STREAMS * 4);
        self.streams.iter().for_each(|stream| put(&mut lengths, stream.len() as u64));
        lengths.len() + self.bytes()
    }

    /// The page as [`unpack_page`] gives it.
    fn unpacked(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(self.bytes() + STREAMS * 4);
        for stream in &self.streams {
            put_bytes(&mut page, stream);
        }
        page
    }
}

/// Undoes [`PageWriter::finish`]: the streams, each behind its length.
pub(super) fn unpack_page(packed: &[u8], bytes: usize) -> io::Result<Vec<u8>> {
    let (mut packed, mut page) = (Reader(packed), Vec::new());
    for _ in 0..STREAMS {
        let length = usize::try_from(packed.number()?).map_err(|_| malformed())?;
        if length > bytes {
            return Err(malformed());
        }
        put_bytes(&mut page, &unpack(packed.bytes()?, length)?);
    }
    if page.len() == bytes && packed.is_empty() { Ok(page) } else { Err(malformed()) }
}

/// A page of version 1 as [`unpack_page`] gives one: it was one stream, and no token was cut.
pub(super) fn unpack_page_v1(packed: &[u8], bytes: usize) -> io::Result<Vec<u8>> {
    let page = unpack(packed, bytes)?;
    let mut postings = Reader(&page);
    let count = postings.number()?;
    let mut texts = Reader(postings.bytes()?);
    let mut writer = PageWriter::default();
    let (mut token, mut blocks) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let shared = usize::try_from(texts.number()?).map_err(|_| malformed())?;
        token.truncate(shared);
        token.extend_from_slice(texts.bytes()?);
        blocks.clear();
        let mut block = 0_u32;
        for _ in 0..postings.number()? {
            block = block.checked_add(postings.small()?).ok_or_else(malformed)?;
            blocks.push(block);
        }
        writer.add(&token, Kept::Whole, &blocks);
    }
    Ok(writer.unpacked())
}

/// The blocks of one token, to be read or skipped.
pub(super) struct Postings<'a, 'b> {
    counts: &'b mut Reader<'a>,
    lows: &'b mut Reader<'a>,
    distances: &'b mut Reader<'a>,
}

impl Postings<'_, '_> {
    pub(super) fn read(self) -> io::Result<Vec<u32>> {
        let (others, high) = (self.counts.number()?, self.counts.small()?);
        let low = self.lows.take(1)?.first().copied().unwrap_or_default();
        let first = high.checked_mul(1 << 8).ok_or_else(malformed)? | u32::from(low);
        let (mut block, mut blocks) = (first, vec![first]);
        for _ in 0..others {
            block = block.checked_add(self.distances.small()?).ok_or_else(malformed)?;
            blocks.push(block);
        }
        Ok(blocks)
    }

    pub(super) fn skip(self) -> io::Result<()> {
        let (others, _) = (self.counts.number()?, self.counts.number()?);
        self.lows.take(1)?;
        if others > 0 { self.distances.skip(others) } else { Ok(()) }
    }

    /// Skips those of so many tokens.
    fn skip_all(self, tokens: usize) -> io::Result<()> {
        let mut others = 0_u64;
        for _ in 0..tokens {
            others = others.saturating_add(self.counts.number()?);
            self.counts.number()?;
        }
        self.lows.take(tokens)?;
        self.distances.skip(others)
    }
}

/// The blocks of the text of an unpacked page that may be of a token; none where there is no such text.
/// Texts ascend: how much one shares with the one before tells of most of them, which are passed over,
/// that they are before the token.
pub(super) fn blocks_of(page: &[u8], token: &[u8]) -> io::Result<Vec<u32>> {
    let mut page = Reader(page);
    let (mut lengths, mut texts) = (Reader(page.bytes()?), Reader(page.bytes()?));
    // How much the last text, which is before the token, has in common with it.
    let mut common = 0;
    let (mut number, mut found) = (0_usize, None);
    while !lengths.is_empty() {
        let shares = usize::try_from(lengths.number()?).map_err(|_| malformed())?;
        let length = lengths.number()?;
        let kept = Kept::from_number(length % 4).ok_or_else(malformed)?;
        let own = texts.take(usize::try_from(length / 4).map_err(|_| malformed())?)?;
        if shares < common {
            break;
        }
        if shares == common {
            let rest = token.get(common..).unwrap_or_default();
            let more = shared(own, rest);
            common += more;
            if more == own.len() {
                if kept.may_be(token.get(..common).unwrap_or_default(), token) {
                    found = Some(number);
                }
                if more == rest.len() {
                    break;
                }
            } else if own.get(more) > rest.get(more) {
                break;
            }
        }
        number += 1;
    }
    let Some(number) = found else { return Ok(Vec::new()) };
    let (mut counts, mut lows) = (Reader(page.bytes()?), Reader(page.bytes()?));
    let mut distances = Reader(page.bytes()?);
    Postings { counts: &mut counts, lows: &mut lows, distances: &mut distances }
        .skip_all(number)?;
    Postings { counts: &mut counts, lows: &mut lows, distances: &mut distances }.read()
}

/// Goes through an unpacked page until `each` says that it is enough.
pub(super) fn walk(
    page: &[u8],
    mut each: impl FnMut(&[u8], Kept, Postings<'_, '_>) -> io::Result<bool>,
) -> io::Result<()> {
    let mut page = Reader(page);
    let (mut lengths, mut texts) = (Reader(page.bytes()?), Reader(page.bytes()?));
    let (mut counts, mut lows) = (Reader(page.bytes()?), Reader(page.bytes()?));
    let mut distances = Reader(page.bytes()?);
    let mut text = Vec::with_capacity(TOKEN_BYTES_MAX);
    while !lengths.is_empty() {
        let shared = usize::try_from(lengths.number()?).map_err(|_| malformed())?;
        let own = lengths.number()?;
        let kept = Kept::from_number(own % 4).ok_or_else(malformed)?;
        text.truncate(shared);
        text.extend_from_slice(texts.take(usize::try_from(own / 4).map_err(|_| malformed())?)?);
        let postings = Postings { counts: &mut counts, lows: &mut lows, distances: &mut distances };
        if !each(&text, kept, postings)? {
            break;
        }
    }
    Ok(())
}
