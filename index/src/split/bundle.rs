//! The index bundle: sections one behind the other, then a footer that says what and where they are,
//! with checksums over all of it and over the body. Drawn in docs/split.md. A reader takes the
//! footer first and sections when they are asked for.

use std::collections::HashSet;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use model::split::ObjectSum;
use platform::objects::Objects;
use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::coding::{pack, unpack};
use super::packing::Packing;

/// Last bytes of every bundle.
const MAGIC: [u8; 8] = *b"SWLSPLT1";
/// Bytes behind the footer: its length, its checksum, the magic.
const TAIL_BYTES: usize = 16;
/// Newest version of the format: with columns of fields that have types of their own in the body. All before
/// it are read.
pub(super) const VERSION: u32 = 3;
/// The version that is written where there are none: earlier programs read it.
pub(super) const UNTYPED_VERSION: u32 = 2;
/// Bytes read at first from the end: most footers fit.
const GUESS_BYTES: u64 = 8 << 10;

/// What a bundle says of its split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Footer {
    /// Version of the format.
    pub(super) version: u32,
    /// The body's length, bytes.
    pub(super) body_bytes: u64,
    /// Bytes of each piece of the body but the last.
    pub(super) piece_bytes: u64,
    /// Rows of each block but the last.
    pub(super) block_rows: u64,
    /// Rows.
    pub(super) row_count: u64,
    /// Whether it is packed small, for the last time; not written where it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) cold: bool,
    /// The sections, in their order from the bundle's first byte.
    pub(super) sections: Vec<SectionEntry>,
}

/// A section of the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SectionEntry {
    /// Its name.
    pub(super) name: String,
    /// Its length.
    pub(super) bytes: u64,
    /// Its length before it was compressed; `None` when it is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unpacked_bytes: Option<u64>,
    /// CRC32C of its bytes.
    pub(super) crc: u32,
}

/// Puts a bundle together, section after section.
pub(super) struct BundleWriter<W> {
    out: W,
    packing: Packing,
    version: u32,
    sum: ObjectSum,
    sections: Vec<SectionEntry>,
}

impl<W: Write> BundleWriter<W> {
    pub(super) fn new(out: W, packing: Packing, typed: bool) -> Self {
        let version = if typed { VERSION } else { UNTYPED_VERSION };
        Self { out, packing, version, sum: ObjectSum { bytes: 0, crc32c: 0 }, sections: Vec::new() }
    }

    /// Adds a section as it is.
    pub(super) fn add(&mut self, name: impl Into<String>, bytes: &[u8]) -> io::Result<()> {
        self.begin(name);
        self.append(bytes)
    }

    /// Adds a section, compressed.
    pub(super) fn add_packed(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.add(name, &pack(bytes, self.packing.level(bytes.len()))?)?;
        if let Some(section) = self.sections.last_mut() {
            section.unpacked_bytes = Some(bytes.len() as u64);
        }
        Ok(())
    }

    /// Begins a section, which is as what is appended.
    pub(super) fn begin(&mut self, name: impl Into<String>) {
        let name = name.into();
        self.sections.push(SectionEntry { name, bytes: 0, unpacked_bytes: None, crc: 0 });
    }

    /// Goes on with the section.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.sum.bytes += bytes.len() as u64;
        self.sum.crc32c = crc32c::crc32c_append(self.sum.crc32c, bytes);
        if let Some(section) = self.sections.last_mut() {
            section.bytes += bytes.len() as u64;
            section.crc = crc32c::crc32c_append(section.crc, bytes);
        }
        Ok(())
    }

    /// Writes the footer; gives back where it was written, and what it is all.
    pub(super) fn finish(
        mut self,
        body_bytes: u64,
        piece_bytes: u64,
        rows: (u64, u64),
    ) -> io::Result<(W, ObjectSum)> {
        let (block_rows, row_count) = rows;
        let sections = std::mem::take(&mut self.sections);
        let (version, cold) = (self.version, self.packing.is_cold());
        let footer =
            Footer { version, body_bytes, piece_bytes, block_rows, row_count, cold, sections };
        let footer = serde_json::to_vec(&footer).expect("a footer is plain JSON");
        let length = u32::try_from(footer.len()).expect("a footer is bounded far below 4 GiB");
        self.append(&footer)?;
        self.append(&length.to_le_bytes())?;
        self.append(&crc32c::crc32c(&footer).to_le_bytes())?;
        self.append(&MAGIC)?;
        Ok((self.out, self.sum))
    }
}

/// A bundle whose footer was read and checked.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) asked: Asked,
    pub(super) name: Arc<str>,
    pub(super) footer: Footer,
}

fn invalid(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Bundle {
    /// Reads the footer.
    pub(super) fn open(objects: &Objects, name: &str) -> io::Result<Self> {
        let cut = || invalid("it is cut short");
        let size = objects.size(name)?;
        let mut from = size.saturating_sub(GUESS_BYTES);
        let mut end = objects.get_range(name, from, size)?;
        let tail = end.len().checked_sub(TAIL_BYTES).map(|at| end.slice(at..)).ok_or_else(cut)?;
        let (length, rest) = tail.split_first_chunk::<4>().ok_or_else(cut)?;
        let (crc, magic) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        if magic != MAGIC {
            return Err(invalid("it does not end like a bundle"));
        }
        let length = u64::from(u32::from_le_bytes(*length));
        let footer_from = size.checked_sub(TAIL_BYTES as u64 + length).ok_or_else(cut)?;
        if footer_from < from {
            from = footer_from;
            end = objects.get_range(name, from, size)?;
        }
        let at = usize::try_from(footer_from - from).map_err(|_| cut())?;
        let footer = end.get(at..end.len() - TAIL_BYTES).ok_or_else(cut)?;
        if crc32c::crc32c(footer) != u32::from_le_bytes(*crc) {
            return Err(invalid("the footer's checksum differs"));
        }
        let footer: Footer =
            serde_json::from_slice(footer).map_err(|_| invalid("the footer is not ours"))?;
        if !(1..=VERSION).contains(&footer.version) {
            return Err(invalid("its format is another version's: upgrade this node"));
        }
        let names: HashSet<&str> = footer.sections.iter().map(|s| s.name.as_str()).collect();
        let bytes: u64 = footer.sections.iter().map(|section| section.bytes).sum();
        if bytes != footer_from || names.len() != footer.sections.len() {
            return Err(invalid("its sections do not fill it"));
        }
        Ok(Self { asked: Asked::new(objects), name: name.into(), footer })
    }

    /// A section by its name, not read yet.
    pub(super) fn section(&self, name: &str) -> io::Result<(Section, &SectionEntry)> {
        let mut from = 0;
        for entry in &self.footer.sections {
            if entry.name == name {
                let (asked, object) = (self.asked.clone(), self.name.clone());
                return Ok((
                    Section(Source::Object { asked, object, from, bytes: entry.bytes }),
                    entry,
                ));
            }
            from += entry.bytes;
        }
        Err(invalid(format!("it has no section {name}")))
    }

    /// A section, read, checked, and unpacked.
    pub(super) fn read(&self, name: &str) -> io::Result<Bytes> {
        let (section, entry) = self.section(name)?;
        let bytes = section.range(0, entry.bytes)?;
        if crc32c::crc32c(&bytes) != entry.crc {
            return Err(invalid(format!("the checksum of its section {name} differs")));
        }
        match entry.unpacked_bytes {
            None => Ok(bytes),
            Some(length) => {
                let length = usize::try_from(length).map_err(io::Error::other)?;
                Ok(unpack(&bytes, length)?.into())
            }
        }
    }

    /// The names of sections that begin so.
    pub(super) fn names(&self, start: &str) -> impl Iterator<Item = &str> {
        let names = self.footer.sections.iter().map(|section| section.name.as_str());
        names.filter(move |name| name.starts_with(start))
    }
}

/// The bytes of a section, read in ranges.
#[derive(Debug)]
pub(super) struct Section(Source);

#[derive(Debug)]
enum Source {
    Object {
        asked: Asked,
        object: Arc<str>,
        from: u64,
        bytes: u64,
    },
    #[cfg(test)]
    Memory(Bytes),
}

impl Section {
    #[cfg(test)]
    pub(super) fn memory(bytes: Vec<u8>) -> Self {
        Self(Source::Memory(bytes.into()))
    }

    /// Its length.
    pub(super) fn bytes(&self) -> u64 {
        match &self.0 {
            Source::Object { bytes, .. } => *bytes,
            #[cfg(test)]
            Source::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes `start..end` of it, not checked.
    pub(super) fn range(&self, start: u64, end: u64) -> io::Result<Bytes> {
        if start > end || end > self.bytes() {
            return Err(invalid(format!("bytes {start}..{end} are outside of a section")));
        }
        match &self.0 {
            Source::Object { asked, object, from, .. } => {
                asked.get_range(object, from + start, from + end)
            }
            #[cfg(test)]
            Source::Memory(bytes) => {
                let cut = |at| usize::try_from(at).map_err(io::Error::other);
                Ok(bytes.slice(cut(start)?..cut(end)?))
            }
        }
    }
}
