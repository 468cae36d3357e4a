//! A finished file into the store: one request, or parts, a few in memory at a time; checked at the
//! end, and taken back when it fails.

use std::io::{self, ErrorKind};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt as _};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use super::errors::told;
use crate::clock::Clock;

/// Bytes of a part; a file that is no longer goes in one request. Stores take at least 5 MiB.
const PART_BYTES: u64 = 8 << 20;
/// Parts that a store takes of one object; beyond 80 GB the parts grow.
const PARTS_MAX: u64 = 10_000;
/// Parts on the way at once. So many and one more are in memory.
const PARTS_AT_ONCE: usize = 2;
/// How long taking an upload back may last; what stays then is swept.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Uploads a file. The length that was stored is the file's.
pub(super) async fn upload(
    store: &Arc<dyn ObjectStore>,
    at: &Path,
    file: &FilePath,
) -> io::Result<()> {
    let mut file = File::open(file).await?;
    let bytes = file.metadata().await?.len();
    let e_tag = if bytes <= PART_BYTES {
        let whole = read(&mut file, bytes).await?;
        store.put(at, whole.into()).await.map_err(|error| told(at.as_ref(), &error))?.e_tag
    } else {
        parts(store, at, &mut file, bytes).await?
    };
    let stored = store.head(at).await.map_err(|error| told(at.as_ref(), &error))?;
    let is_ours = e_tag.is_none() || stored.e_tag.is_none() || e_tag == stored.e_tag;
    if stored.size == bytes && is_ours {
        return Ok(());
    }
    if let Err(error) = store.delete(at).await {
        tracing::warn!(%error, object = %at, "an object that is not what was put stays");
    }
    let text = format!("{at}: the store held {} bytes of {bytes}: put it again", stored.size);
    Err(io::Error::new(ErrorKind::ConnectionReset, text))
}

async fn parts(
    store: &Arc<dyn ObjectStore>,
    at: &Path,
    file: &mut File,
    bytes: u64,
) -> io::Result<Option<String>> {
    let begun = store.put_multipart(at).await;
    let mut upload = begun.map_err(|error| told(at.as_ref(), &error))?;
    let error = match send(upload.as_mut(), at, file, bytes).await {
        Ok(()) => match upload.complete().await {
            Ok(put) => return Ok(put.e_tag),
            // Completed by a try whose answer was lost: whether it is there is looked at next.
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => told(at.as_ref(), &error),
        },
        Err(error) => error,
    };
    match Clock::system().timeout(ABORT_TIMEOUT, upload.abort()).await {
        Some(Ok(())) => {}
        Some(Err(abort)) => {
            tracing::warn!(%abort, object = %at, "a half upload stays for the sweep");
        }
        None => tracing::warn!(object = %at, "a half upload stays for the sweep"),
    }
    Err(error)
}

async fn send(
    upload: &mut dyn MultipartUpload,
    at: &Path,
    file: &mut File,
    bytes: u64,
) -> io::Result<()> {
    let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
    let mut on_the_way = JoinSet::new();
    let mut left = bytes;
    while left > 0 {
        let part = read(file, left.min(part_bytes)).await?;
        left -= part.len() as u64;
        if on_the_way.len() >= PARTS_AT_ONCE {
            arrived(at, &mut on_the_way).await?;
        }
        on_the_way.spawn(upload.put_part(part.into()));
    }
    while !on_the_way.is_empty() {
        arrived(at, &mut on_the_way).await?;
    }
    Ok(())
}

async fn arrived(at: &Path, on_the_way: &mut JoinSet<object_store::Result<()>>) -> io::Result<()> {
    match on_the_way.join_next().await {
        Some(Ok(sent)) => sent.map_err(|error| told(at.as_ref(), &error)),
        Some(Err(error)) => Err(io::Error::other(error)),
        None => Ok(()),
    }
}

async fn read(file: &mut File, length: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}
