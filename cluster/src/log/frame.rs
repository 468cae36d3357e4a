//! One checksummed entry of the log, and the head of a segment file. Drawn in docs/queue.md.

use bytes::Bytes;

/// First bytes of a segment file.
const SEGMENT_MAGIC: [u8; 8] = *b"SWLGSEG1";
/// First bytes of a frame.
pub(super) const FRAME_MAGIC: [u8; 4] = *b"SWF1";
/// Bytes of a segment's head: magic, first index, checksum of both, four zero bytes.
pub(super) const SEGMENT_HEAD_BYTES: usize = 24;
/// Bytes of a frame's head: magic, payload length, index, term, synced, kind and three zero
/// bytes, checksum.
pub(super) const FRAME_HEAD_BYTES: usize = 36;
/// Bytes of a payload; more is not believed when a frame is read.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 << 20;

/// What a frame's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// State of who writes the log, as of the frames before it. The first frame of each segment.
    Snapshot = 0,
    /// An entry.
    Entry = 1,
}

/// A frame, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its dense number in the log.
    pub index: u64,
    /// The term in which it was written (0 without consensus).
    pub term: u64,
    /// What the payload is.
    pub kind: FrameKind,
    /// The payload.
    pub payload: Bytes,
    /// How much of the segment was known to be durable when the frame was written, bytes.
    pub(super) synced: u32,
}

impl Frame {
    /// Bytes of the whole frame.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (FRAME_HEAD_BYTES + self.payload.len()) as u64
    }

    /// Bytes of a frame whose payload has so many.
    #[must_use]
    pub(crate) fn bytes_of(payload: usize) -> u64 {
        (FRAME_HEAD_BYTES + payload) as u64
    }
}

pub(super) fn segment_head(first: u64) -> [u8; SEGMENT_HEAD_BYTES] {
    let mut head = [0; SEGMENT_HEAD_BYTES];
    let (magic, rest) = head.split_at_mut(8);
    magic.copy_from_slice(&SEGMENT_MAGIC);
    let (index, rest) = rest.split_at_mut(8);
    index.copy_from_slice(&first.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(magic), index);
    rest.split_at_mut(4).0.copy_from_slice(&crc.to_le_bytes());
    head
}

/// The first index of a segment, if its head is whole.
pub(super) fn read_segment_head(bytes: &[u8]) -> Option<u64> {
    let index = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
    (bytes.get(..SEGMENT_HEAD_BYTES)? == segment_head(index)).then_some(index)
}

/// Appends a frame to a buffer.
pub(super) fn put(
    out: &mut Vec<u8>,
    (index, term, kind): (u64, u64, FrameKind),
    synced: u32,
    payload: &[&[u8]],
) {
    let start = out.len();
    let length: usize = payload.iter().map(|part| part.len()).sum();
    let length = u32::try_from(length).expect("a payload is bounded below 64 MiB");
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&term.to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
    out.extend_from_slice(&[kind as u8, 0, 0, 0]);
    let mut crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
    for part in payload {
        crc = crc32c::crc32c_append(crc, part);
    }
    out.extend_from_slice(&crc.to_le_bytes());
    for part in payload {
        out.extend_from_slice(part);
    }
}

/// The length of the payload that a frame's head announces, if it looks like a head.
pub(super) fn payload_bytes(head: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(head.get(4..8)?.try_into().ok()?) as usize;
    (head.get(..4)? == FRAME_MAGIC && length <= PAYLOAD_BYTES_MAX).then_some(length)
}

/// Reads the frame at the beginning of the bytes; `None` unless it is whole and its checksum holds.
pub(super) fn read(bytes: &Bytes) -> Option<Frame> {
    let length = payload_bytes(bytes)?;
    let payload = bytes.get(FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length)?;
    let (checked, crc) = bytes.get(..FRAME_HEAD_BYTES)?.split_at(FRAME_HEAD_BYTES - 4);
    let number = |at: usize| Some(u64::from_le_bytes(checked.get(at..at + 8)?.try_into().ok()?));
    if crc32c::crc32c_append(crc32c::crc32c(checked), payload).to_le_bytes() != crc {
        return None;
    }
    let kind = match checked.get(28)? {
        0 => FrameKind::Snapshot,
        1 => FrameKind::Entry,
        _ => return None,
    };
    let synced = u32::from_le_bytes(checked.get(24..28)?.try_into().ok()?);
    Some(Frame {
        index: number(8)?,
        term: number(16)?,
        kind,
        payload: bytes.slice_ref(payload),
        synced,
    })
}
