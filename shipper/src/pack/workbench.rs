//! The large buffers that making a batch takes: allocated once for each who packs, not per batch.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use model::batch::{Batch, BatchBuilder, Sequence};
use model::codec::{Encoder, ZSTD_LEVEL};

/// Bytes of a buffer that are kept; what one giant line took beyond is given back.
const BUFFER_BYTES_KEPT: usize = 2 << 20;

/// The buffers of one packer.
#[derive(Debug, Default)]
pub(crate) struct Workbench {
    /// What is read of a file.
    pub(crate) buffer: Vec<u8>,
    encoder: Option<Encoder>,
    /// The last batch, for its buffers.
    spare: Option<Batch>,
    /// The level of zstd, unless it is the usual one.
    level: Option<i32>,
}

impl Workbench {
    /// Batches are compressed at that level of zstd from now on.
    pub(crate) fn compress_at(&mut self, level: i32) {
        self.level = Some(level);
    }

    /// Gives an empty builder the last one's buffers.
    pub(super) fn furnish(&mut self, builder: &mut BatchBuilder) {
        if let Some(batch) = self.spare.take() {
            builder.reuse(batch);
        }
    }

    /// Encodes a batch and keeps its buffers.
    pub(crate) fn encode(&mut self, batch: Batch, sequence: Sequence) -> io::Result<Bytes> {
        let level = self.level.unwrap_or(ZSTD_LEVEL);
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new(level).map_err(io::Error::other)?,
        };
        encoder.set_level(level).map_err(io::Error::other)?;
        let encoded = encoder.encode(&batch, sequence).map_err(io::Error::other);
        self.encoder = Some(encoder);
        if batch.messages.bytes().len() <= BUFFER_BYTES_KEPT {
            self.spare = Some(batch);
        }
        encoded
    }
}

/// The workbenches nobody works at now. Never more than packers at once.
#[derive(Debug, Default)]
pub(crate) struct Workbenches(Mutex<Vec<Workbench>>);

impl Workbenches {
    /// One that is free, or a new one.
    pub(crate) fn take(&self) -> Workbench {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Frees one.
    pub(crate) fn put_back(&self, mut workbench: Workbench) {
        if workbench.buffer.len() > BUFFER_BYTES_KEPT {
            workbench.buffer = Vec::new();
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(workbench);
    }
}
