//! The offsets of rows. Records come about in the order of their timestamps, so an offset is guessed
//! from the timestamp and the way it missed is stored: a few bits a row instead of many.
//! Drawn in docs/split.md.

use std::io;
use std::sync::Arc;

use arrow::array::UInt64Array;
use bytes::Bytes;

use super::arrivals::Arrivals;
use super::bundle::Section;
use super::coding::{Reader, malformed, put};

/// Rows whose misses take the same number of bits.
const GROUP_ROWS: usize = 128;
/// Rows of a page.
const PAGE_ROWS: usize = 1 << 14;

/// Offsets of a split's rows while it is built.
pub(super) struct Writer<'a> {
    arrivals: &'a Arrivals,
    near: usize,
    group: Vec<u64>,
    rows_in_page: usize,
    page_at: usize,
    /// The pages.
    pages: Vec<u8>,
    /// Length and checksum of each.
    index: Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(arrivals: &'a Arrivals) -> Self {
        let (group, pages, index) = (Vec::with_capacity(GROUP_ROWS), Vec::new(), Vec::new());
        Self { arrivals, near: 0, group, rows_in_page: 0, page_at: 0, pages, index }
    }

    /// Adds the next row.
    pub(super) fn add(&mut self, offset: u64, time: i64) {
        let missed = offset.wrapping_sub(self.arrivals.guess(time, &mut self.near)).cast_signed();
        self.group.push(((missed << 1) ^ (missed >> 63)).cast_unsigned());
        self.rows_in_page += 1;
        if self.group.len() == GROUP_ROWS {
            self.end_group();
            if self.rows_in_page == PAGE_ROWS {
                self.end_page();
            }
        }
    }

    fn end_group(&mut self) {
        let most = self.group.iter().copied().max().unwrap_or(0);
        let width = u64::BITS - most.leading_zeros();
        self.pages.push(u8::try_from(width).unwrap_or(64));
        let (mut bits, mut count) = (0_u128, 0);
        for missed in self.group.drain(..) {
            bits |= u128::from(missed) << count;
            count += width;
            if count >= u64::BITS {
                self.pages.extend(low(bits).to_le_bytes());
                bits >>= u64::BITS;
                count -= u64::BITS;
            }
        }
        let left = low(bits).to_le_bytes();
        self.pages.extend(left.iter().take(count.div_ceil(8) as usize));
    }

    fn end_page(&mut self) {
        let page = self.pages.get(self.page_at..).unwrap_or_default();
        put(&mut self.index, page.len() as u64);
        put(&mut self.index, u64::from(crc32c::crc32c(page)));
        self.page_at = self.pages.len();
        self.rows_in_page = 0;
    }

    /// The pages, and their index.
    pub(super) fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        if !self.group.is_empty() {
            self.end_group();
        }
        if self.rows_in_page > 0 {
            self.end_page();
        }
        (self.pages, self.index)
    }
}

/// The lower half.
fn low(bits: u128) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = bits.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// The offsets of an open split: where their pages are.
#[derive(Debug)]
pub(super) struct Offsets {
    pub(super) arrivals: Arrivals,
    /// Where each page begins and ends, and its checksum.
    entries: Vec<(u64, u64, u32)>,
    pages: Section,
    row_count: u32,
}

impl Offsets {
    /// Of the unpacked sections.
    pub(super) fn open(
        arrivals: &[u8],
        index: &[u8],
        pages: Section,
        row_count: u32,
    ) -> io::Result<Self> {
        let mut reader = Reader(index);
        let (mut entries, mut at) = (Vec::new(), 0_u64);
        while !reader.is_empty() {
            let end = at.checked_add(reader.number()?).ok_or_else(malformed)?;
            entries.push((at, end, reader.small()?));
            at = end;
        }
        if at != pages.bytes() || entries.len() != (row_count as usize).div_ceil(PAGE_ROWS) {
            return Err(malformed());
        }
        Ok(Self { arrivals: Arrivals::decode(arrivals)?, entries, pages, row_count })
    }

    fn page(&self, number: usize) -> io::Result<OpenPage> {
        let (from, to, crc) = self.entries.get(number).copied().ok_or_else(malformed)?;
        let page = self.pages.range(from, to)?;
        if crc32c::crc32c(&page) != crc {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the checksum of a page of offsets differs",
            ));
        }
        let rows = (self.row_count as usize - number * PAGE_ROWS).min(PAGE_ROWS);
        let (mut reader, mut groups) = (Reader(&page), Vec::with_capacity(rows / GROUP_ROWS + 1));
        while groups.len() * GROUP_ROWS < rows {
            groups.push(page.len() - reader.0.len());
            let count = GROUP_ROWS.min(rows - (groups.len() - 1) * GROUP_ROWS);
            packed(&mut reader, count)?;
        }
        Ok(OpenPage { number, bytes: page, rows, groups, group: None, missed: Vec::new() })
    }
}

/// A page of which one group at a time is unpacked.
struct OpenPage {
    number: usize,
    bytes: Bytes,
    rows: usize,
    /// Where each group begins.
    groups: Vec<usize>,
    /// The group that is unpacked.
    group: Option<usize>,
    missed: Vec<i64>,
}

impl OpenPage {
    /// By how much the offset of a row of the page misses its guess.
    fn missed(&mut self, row: usize) -> io::Result<i64> {
        let (group, at) = (row / GROUP_ROWS, row % GROUP_ROWS);
        if self.group != Some(group) {
            let start = self.groups.get(group).ok_or_else(malformed)?;
            let mut reader = Reader(self.bytes.get(*start..).ok_or_else(malformed)?);
            self.missed.clear();
            let count = GROUP_ROWS.min(self.rows - group * GROUP_ROWS);
            unpack(&mut reader, count, &mut self.missed)?;
            self.group = Some(group);
        }
        self.missed.get(at).copied().ok_or_else(malformed)
    }
}

/// The bits of a group, and how many each row takes.
fn packed<'a>(reader: &mut Reader<'a>, count: usize) -> io::Result<(u32, &'a [u8])> {
    let width = u32::from(*reader.take(1)?.first().ok_or_else(malformed)?);
    if width > u64::BITS {
        return Err(malformed());
    }
    Ok((width, reader.take((width as usize * count).div_ceil(8))?))
}

/// Reads a group.
fn unpack(reader: &mut Reader<'_>, count: usize, missed: &mut Vec<i64>) -> io::Result<()> {
    let (width, packed) = packed(reader, count)?;
    let mask = u64::MAX.checked_shr(u64::BITS - width).unwrap_or(0);
    let (mut bits, mut held) = (0_u128, 0);
    // Eight bytes at a time; the last may be fewer.
    let mut words = packed.chunks(8).map(|bytes| {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
        u64::from_le_bytes(word)
    });
    for _ in 0..count {
        if held < width {
            bits |= u128::from(words.next().ok_or_else(malformed)?) << held;
            held += u64::BITS;
        }
        let value = low(bits) & mask;
        bits >>= width;
        held -= width;
        missed.push((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
    }
    Ok(())
}

/// Reads offsets, rows in ascending order.
pub(super) struct OffsetReader {
    offsets: Arc<Offsets>,
    near: usize,
    page: Option<OpenPage>,
}

impl OffsetReader {
    pub(super) fn new(offsets: Arc<Offsets>) -> Self {
        Self { offsets, near: 0, page: None }
    }

    /// The offsets of rows, given their numbers and timestamps (nanoseconds).
    pub(super) fn read(
        &mut self,
        rows: impl Iterator<Item = u32>,
        times: &[i64],
    ) -> io::Result<UInt64Array> {
        let Self { offsets, near, page } = self;
        let mut found = Vec::with_capacity(times.len());
        for (row, time) in rows.zip(times) {
            let (number, at) = (row as usize / PAGE_ROWS, row as usize % PAGE_ROWS);
            if page.as_ref().is_none_or(|page| page.number != number) {
                *page = Some(offsets.page(number)?);
            }
            let missed = page.as_mut().ok_or_else(malformed)?.missed(at)?;
            let guess = offsets.arrivals.guess(*time, near);
            found.push(guess.wrapping_add(missed.cast_unsigned()));
        }
        Ok(found.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn groups_are_packed_bit_by_bit(
            values in prop::collection::vec(any::<u64>(), 1..=GROUP_ROWS),
            bits in 0_u32..64,
        ) {
            let values: Vec<u64> = values.into_iter().map(|value| value >> bits).collect();
            let arrivals = Arrivals::default();
            let mut writer = Writer::new(&arrivals);
            writer.group.clone_from(&values);
            writer.end_group();
            // Each value's bits from the lowest one on.
            let width = u64::BITS - values.iter().max().unwrap().leading_zeros();
            let of = |value: &u64| {
                let value = *value;
                (0..width).map(move |bit| value >> bit & 1 == 1)
            };
            let all: Vec<bool> = values.iter().flat_map(of).collect();
            let byte = |bits: &[bool]| {
                bits.iter().rev().fold(0_u8, |byte, bit| byte << 1 | u8::from(*bit))
            };
            let expected: Vec<u8> = all.chunks(8).map(byte).collect();
            prop_assert_eq!(writer.pages[0], u8::try_from(width).unwrap());
            prop_assert_eq!(&writer.pages[1..], expected.as_slice());
            let mut missed = Vec::new();
            unpack(&mut Reader(&writer.pages), values.len(), &mut missed).unwrap();
            let back = missed.iter().map(|missed| ((missed << 1) ^ (missed >> 63)).cast_unsigned());
            prop_assert_eq!(back.collect::<Vec<u64>>(), values);
        }

        #[test]
        fn offsets_come_back(
            steps in prop::collection::vec((1_u64..5, -3_i64..40, any::<bool>()), 0..400),
            start in prop_oneof![Just(0_u64), Just(u64::MAX - 3_000), any::<u64>().prop_map(|n| n / 2)],
            scale in prop_oneof![Just(1_i64), Just(1 << 12), Just(1 << 50)],
            shuffle in any::<u64>(),
        ) {
            let (mut offset, mut time) = (start, 0_i64);
            let mut rows: Vec<(u64, i64)> = steps.iter().map(|(by, later, stray)| {
                (offset, time) = (offset + by, time.wrapping_add(later * scale));
                (offset, if *stray { i64::MIN } else { time })
            }).collect();
            let arrivals = Arrivals::of_rows(rows.iter().copied());
            prop_assert_eq!(&Arrivals::decode(&arrivals.encode()).unwrap(), &arrivals);
            rows.sort_by_key(|(offset, _)| offset.wrapping_mul(shuffle | 1));
            let mut writer = Writer::new(&arrivals);
            rows.iter().for_each(|(offset, time)| writer.add(*offset, *time));
            let (pages, index) = writer.finish();
            let count = u32::try_from(rows.len()).unwrap();
            let (pages, known) = (Section::memory(pages), arrivals.encode());
            let offsets = Offsets::open(&known, &index, pages, count).unwrap().into();
            let times: Vec<i64> = rows.iter().map(|(_, time)| *time).collect();
            let read = OffsetReader::new(offsets).read(0..count, &times).unwrap();
            let expected: Vec<u64> = rows.iter().map(|(offset, _)| *offset).collect();
            prop_assert_eq!(read.values().to_vec(), expected);
        }
    }
}
