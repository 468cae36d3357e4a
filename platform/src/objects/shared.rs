//! An object store that all nodes of a cluster share, called from threads that may block.

use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::TryStreamExt as _;
use model::time::Timestamp;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
};
use tokio::runtime::Handle;

use super::connect::{Connected, Kind, StoreOptions, connect, file_of, location};
use super::errors::told;
use super::figures::ObjectFigures;
use super::{Fetch, Listed, check_name, half, upload};
use crate::disk;

/// An object store. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct SharedStore {
    connected: Arc<Connected>,
    runtime: Handle,
    figures: ObjectFigures,
    /// Whether the store was found to have an owner.
    claimed: Arc<AtomicBool>,
}

/// The object that names the store's owner.
const OWNER: &str = "owner";
/// Bytes of its name, at most.
const OWNER_BYTES_MAX: u64 = 256;

impl SharedStore {
    pub(super) fn open(
        url: &str,
        options: &StoreOptions,
        runtime: Handle,
        figures: &ObjectFigures,
    ) -> io::Result<Self> {
        let connected = Arc::new(connect(url, options, figures)?);
        Ok(Self { connected, runtime, figures: figures.clone(), claimed: Arc::default() })
    }

    pub(super) fn claim(&self, owner: &str, was_claimed: bool) -> io::Result<()> {
        let mut found = self.owner();
        if found.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) && !was_claimed {
            match self.put_new(OWNER, owner.as_bytes()) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => found = self.owner(),
            }
        }
        let refused = |text: String| Err(io::Error::new(ErrorKind::InvalidInput, text));
        match found {
            Ok(found) if found == owner => {
                self.claimed.store(true, Ordering::Relaxed);
                Ok(())
            }
            Ok(other) => refused(format!(
                "the store belongs to another one, {other}: give this one a prefix or folder of its own"
            )),
            Err(error) if error.kind() == ErrorKind::NotFound => refused(format!(
                "the store is not the one that was used before, its object {OWNER:?} is missing: is the folder mounted, and is it the same bucket and prefix?"
            )),
            Err(error) => Err(error),
        }
    }

    /// Who owns the store, as it says itself.
    pub(super) fn owner(&self) -> io::Result<String> {
        let bytes = self.size(OWNER)?.min(OWNER_BYTES_MAX);
        let name = self.get_range(OWNER, 0, bytes)?;
        Ok(String::from_utf8_lossy(&name).into_owned())
    }

    /// A folder whose owner's name is gone is no longer the store: another file system was mounted
    /// over it, or it was unmounted. What is written there would be lost from sight.
    fn is_there(&self) -> io::Result<()> {
        let Kind::Folder(folder) = &self.connected.kind else { return Ok(()) };
        if !self.claimed.load(Ordering::Relaxed) || file_of(folder, OWNER).exists() {
            return Ok(());
        }
        let text = format!("{} is not the store any more: is it mounted?", folder.display());
        Err(io::Error::new(ErrorKind::ConnectionRefused, text))
    }

    pub(super) fn put_file(&self, name: &str, file: &FilePath) -> io::Result<()> {
        let at = self.location(name)?;
        let (connected, path) = (self.connected.clone(), file.to_owned());
        let upload = async move { upload::upload(&connected.store, &at, &path).await };
        let put = self.is_there().and_then(|()| self.run(upload)).and_then(|()| self.sync(name));
        match put {
            Ok(()) => self.figures.uploads.inc(),
            Err(_) => self.figures.upload_failures.inc(),
        };
        put
    }

    pub(super) fn put_new(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let at = self.location(name)?;
        self.is_there()?;
        let (connected, bytes) = (self.connected.clone(), Bytes::copy_from_slice(bytes));
        self.run(async move {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let put = connected.store.put_opts(&at, bytes.into(), options).await;
            put.map(|_| ()).map_err(|error| told(at.as_ref(), &error))
        })?;
        self.sync(name)
    }

    pub(super) fn delete(&self, name: &str) -> io::Result<()> {
        let at = self.location(name)?;
        let connected = self.connected.clone();
        self.run(async move {
            match connected.store.delete(&at).await {
                Err(error) if !matches!(error, object_store::Error::NotFound { .. }) => {
                    Err(told(at.as_ref(), &error))
                }
                _ => Ok(()),
            }
        })
    }

    pub(super) fn list(&self) -> io::Result<Vec<Listed>> {
        let connected = self.connected.clone();
        self.run(async move {
            let prefix = &connected.prefix;
            let below = Some(prefix).filter(|prefix| !prefix.as_ref().is_empty());
            let listed = |meta: ObjectMeta| {
                let parts = meta.location.prefix_match(prefix)?;
                let name = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>();
                let name = name.join("/");
                let changed = meta.last_modified.timestamp_nanos_opt().unwrap_or(i64::MAX);
                check_name(&name).ok().filter(|()| name != OWNER)?;
                Some(Listed { name, bytes: meta.size, changed: Timestamp(changed) })
            };
            let all = connected.store.list(below);
            let found = all.try_filter_map(|meta| std::future::ready(Ok(listed(meta))));
            found.try_collect().await.map_err(|error| told("the list of objects", &error))
        })
    }

    pub(super) fn sweep_half(&self, before: Timestamp) -> io::Result<u64> {
        let swept = match &self.connected.kind {
            Kind::S3 { .. } => {
                let connected = self.connected.clone();
                self.run(async move {
                    let Kind::S3 { s3, client } = &connected.kind else { return Ok(0) };
                    half::sweep_s3(s3, client, &connected.prefix, before).await
                })?
            }
            Kind::Folder(folder) => half::sweep_folder(folder, before)?,
            Kind::Other => 0,
        };
        self.figures.uploads_swept.inc_by(swept);
        Ok(swept)
    }

    fn location(&self, name: &str) -> io::Result<Path> {
        check_name(name)?;
        Ok(location(&self.connected.prefix, name))
    }

    /// A folder's objects must survive a loss of power like those of any store.
    fn sync(&self, name: &str) -> io::Result<()> {
        let Kind::Folder(folder) = &self.connected.kind else { return Ok(()) };
        let path = file_of(folder, name);
        File::open(&path)?.sync_all()?;
        let mut above = path.ancestors().skip(1).take_while(|above| above.starts_with(folder));
        above.try_for_each(disk::sync_dir)
    }

    /// Runs on the runtime and waits here. A process that is stopping answers at once.
    fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move { drop(done.send(work.await)) });
        let stopping = || io::Error::new(ErrorKind::ConnectionAborted, "this process is stopping");
        result.recv().map_err(|_| stopping())?
    }
}

impl Fetch for SharedStore {
    fn get_range(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        let at = self.location(name)?;
        let connected = self.connected.clone();
        self.run(async move {
            let range = Some(GetRange::Bounded(from..to));
            let options = GetOptions { range, ..GetOptions::default() };
            let got = connected.store.get_opts(&at, options).await;
            let bytes = match got {
                Ok(got) => got.bytes().await,
                Err(error) => Err(error),
            };
            bytes.map_err(|error| told(at.as_ref(), &error))
        })
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        let at = self.location(name)?;
        let connected = self.connected.clone();
        self.run(async move {
            let head = connected.store.head(&at).await;
            head.map(|meta| meta.size).map_err(|error| told(at.as_ref(), &error))
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests take folders away as people do")]

    use super::super::Objects;
    use super::*;

    #[test]
    fn a_store_has_one_owner_and_is_not_written_to_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        let runtime = runtime.unwrap();
        let (url, cache) =
            (format!("file://{}/store", folder.path().display()), folder.path().join("cache"));
        let open = || {
            let handle = runtime.handle().clone();
            Objects::shared(&url, &StoreOptions::from_env(), &cache, 0, handle).unwrap()
        };
        let owner =
            || Objects::owner(&url, &StoreOptions::from_env(), runtime.handle().clone()).unwrap();
        let file = folder.path().join("made");
        let objects = open();
        assert_eq!(owner(), "", "nobody's yet");
        objects.claim("cluster a", false).unwrap();
        assert_eq!(owner(), "cluster a");
        objects.claim("cluster a", true).unwrap();
        assert_eq!(objects.list().unwrap(), [], "the owner's name is no object of the owner");
        let other = open().claim("cluster b", false).unwrap_err().to_string();
        assert!(other.contains("belongs to another one, cluster a"), "{other}");
        let (there, away) = (folder.path().join("store"), folder.path().join("away"));
        std::fs::rename(&there, &away).unwrap();
        std::fs::write(&file, "split").unwrap();
        let gone = objects.put_file("splits/a", &file).unwrap_err();
        assert!(gone.to_string().contains("is it mounted?"), "{gone}");
        assert!(file.exists() && !there.exists(), "nothing was written in its place");
        assert_eq!(objects.figures().upload_failures.get(), 1);
        // The process that starts now would find an empty folder.
        let anew = open().claim("cluster a", true).unwrap_err().to_string();
        assert!(anew.contains("not the one that was used before"), "{anew}");
        std::fs::remove_dir(&there).unwrap();
        std::fs::rename(&away, &there).unwrap();
        objects.put_file("splits/a", &file).unwrap();
        assert_eq!(objects.list().unwrap(), [("splits/a".to_owned(), 5)]);
    }
}
