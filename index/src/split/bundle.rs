//! The index bundle: the word index's files, then a footer that says what and where everything
//! is, with checksums over all of it and over the body. Drawn in docs/split.md.

use bytes::Bytes;
use model::split::FieldStat;
use platform::objects::Objects;
use serde::{Deserialize, Serialize};

use crate::scan::ScanError;

/// Last bytes of every bundle.
const MAGIC: [u8; 8] = *b"SWLSPLT1";
/// Bytes behind the footer: its length, its checksum, the magic.
const TAIL_BYTES: usize = 16;
/// Version of the format.
const VERSION: u32 = 1;

/// What a bundle says of its split.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Footer {
    /// Version of the format.
    pub(super) version: u32,
    /// The body's length, bytes.
    pub(super) body_bytes: u64,
    /// Bytes of each piece of the body but the last.
    pub(super) piece_bytes: u64,
    /// CRC32C of each piece of the body.
    pub(super) piece_crcs: Vec<u32>,
    /// Rows of each block but the last.
    pub(super) block_rows: u64,
    /// Earliest and latest timestamp of each block.
    pub(super) block_times: Vec<(i64, i64)>,
    /// The fields, labels included.
    pub(super) fields: Vec<FieldStat>,
    /// The word index's files.
    pub(super) files: Vec<FileEntry>,
}

/// A file inside the bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileEntry {
    /// Its name.
    pub(super) name: String,
    /// Its length; files follow each other from the bundle's first byte.
    pub(super) bytes: u64,
    /// CRC32C of its bytes.
    pub(super) crc: u32,
}

/// The bytes of a bundle.
pub(super) fn encode(files: &[(String, Bytes)], mut footer: Footer) -> Vec<u8> {
    footer.version = VERSION;
    let mut out = Vec::new();
    for (name, bytes) in files {
        out.extend_from_slice(bytes);
        let (name, crc) = (name.clone(), crc32c::crc32c(bytes));
        footer.files.push(FileEntry { name, bytes: bytes.len() as u64, crc });
    }
    let footer = serde_json::to_vec(&footer).expect("a footer is plain JSON");
    out.extend_from_slice(&footer);
    let length = u32::try_from(footer.len()).expect("a footer is bounded far below 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
    out.extend_from_slice(&MAGIC);
    out
}

/// A bundle, read and checked.
pub(super) struct Bundle {
    pub(super) footer: Footer,
    pub(super) files: Vec<(String, Bytes)>,
}

/// Reads a bundle; every byte of it is under one of the checksums.
pub(super) fn read(objects: &Objects, name: &str) -> Result<Bundle, ScanError> {
    let corrupt =
        |what: &str| ScanError::Corrupt { object: name.to_owned(), what: what.to_owned() };
    let unreadable = |error: std::io::Error| corrupt(&error.to_string());
    let size = objects.size(name).map_err(unreadable)?;
    let whole = objects.get_range(name, 0, size).map_err(unreadable)?;
    decode(&whole).map_err(corrupt)
}

fn decode(whole: &Bytes) -> Result<Bundle, &'static str> {
    const CUT: &str = "it is cut short";
    let (rest, tail) =
        whole.len().checked_sub(TAIL_BYTES).map(|at| whole.split_at(at)).ok_or(CUT)?;
    let (length, tail) = tail.split_first_chunk::<4>().ok_or(CUT)?;
    let (crc, magic) = tail.split_first_chunk::<4>().ok_or(CUT)?;
    if magic != MAGIC {
        return Err("it does not end like a bundle");
    }
    let at = rest.len().checked_sub(u32::from_le_bytes(*length) as usize).ok_or(CUT)?;
    let (files, footer) = rest.split_at(at);
    if crc32c::crc32c(footer) != u32::from_le_bytes(*crc) {
        return Err("the footer's checksum differs");
    }
    let footer: Footer = serde_json::from_slice(footer).map_err(|_| "the footer is not ours")?;
    if footer.version != VERSION {
        return Err("its format is another version's: upgrade this node");
    }
    let mut found = Vec::with_capacity(footer.files.len());
    let mut left = files;
    for entry in &footer.files {
        let length = usize::try_from(entry.bytes).map_err(|_| CUT)?;
        let (bytes, after) = left.split_at_checked(length).ok_or(CUT)?;
        if crc32c::crc32c(bytes) != entry.crc {
            return Err("the checksum of the word index differs");
        }
        found.push((entry.name.clone(), whole.slice_ref(bytes)));
        left = after;
    }
    if left.is_empty() { Ok(Bundle { footer, files: found }) } else { Err("bytes are left over") }
}
