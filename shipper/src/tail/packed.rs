//! A compressed file, or a copy, that has the content of a file that is known.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::checkpoint::Checkpoint;
use crate::identity::{SENT_BYTES_MAX, TAIL_BYTES_MAX};
use crate::rotation::compressed;
use crate::source::{Source as _, Unwrapped, Wrapping};

/// A compressed file, or a copy of one. It is read as it was opened: rotation gives its path to another.
pub(super) struct Packed {
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    pub(super) wrapping: Wrapping,
}

/// The file, opened, if it has the content up to the checkpoint.
///
/// # Errors
/// As the system says; also when what is compressed is damaged.
pub(super) fn packed(path: &Path, checkpoint: &Checkpoint) -> io::Result<Option<Packed>> {
    packed_in(Arc::new(File::open(path)?), path, checkpoint)
}

/// The same of a file that is open.
///
/// # Errors
/// Like those of `packed`.
pub(super) fn packed_in(
    file: Arc<File>,
    path: &Path,
    checkpoint: &Checkpoint,
) -> io::Result<Option<Packed>> {
    let wrapping = Wrapping::of(&file)?;
    if wrapping == Wrapping::Plain && compressed(path) {
        return Ok(None);
    }
    let mut content = Unwrapped::open(&file, wrapping)?;
    let (print, offset) = (checkpoint.fingerprint, checkpoint.offset);
    let head = content.window(0, print.head_bytes)?;
    if print.head_bytes == 0 || head.len() < print.head_bytes || xxh3_64(head) != print.head {
        return Ok(None);
    }
    let mut ends_with = |end: u64, bytes_max: usize, print: u64| {
        let start = end.saturating_sub(bytes_max as u64);
        let length = usize::try_from(end - start).unwrap_or(bytes_max);
        let found = content.window(start, length)?;
        io::Result::Ok(found.len() == length && (length == 0 || xxh3_64(found) == print))
    };
    let mut same = ends_with(offset, TAIL_BYTES_MAX, print.tail)?;
    if let Some(sent) = checkpoint.sent.filter(|sent| same && sent.to > offset) {
        same = ends_with(sent.to, SENT_BYTES_MAX, sent.print)?;
    }
    Ok(same.then(|| Packed { path: path.to_owned(), file, wrapping }))
}

/// The same, if nothing stands behind the checkpoint.
///
/// # Errors
/// Like those of `packed`.
pub(super) fn all_in(
    file: &Arc<File>,
    path: &Path,
    checkpoint: &Checkpoint,
) -> io::Result<Option<Packed>> {
    let Some(packed) = packed_in(file.clone(), path, checkpoint)? else { return Ok(None) };
    let behind = Unwrapped::open(file, packed.wrapping)?.window(checkpoint.offset, 1)?.is_empty();
    Ok(behind.then_some(packed))
}
