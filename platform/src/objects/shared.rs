//! An object store that all nodes of a cluster share, called from threads that may block.

use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use model::time::Timestamp;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, GetResultPayload, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode,
    PutOptions,
};
use tokio::runtime::Handle;

use super::answers::{ANSWER_TRIES, Answers, is_silence};
use super::connect::{Connected, Kind, StoreOptions, connect, file_of, is_absent_folder, location};
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
    answers: Answers,
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
        let answers = Answers::new(figures);
        Ok(Self::over(connect(url, options, figures)?, answers, runtime, figures))
    }

    fn over(
        connected: Connected,
        answers: Answers,
        runtime: Handle,
        figures: &ObjectFigures,
    ) -> Self {
        let (connected, claimed) = (Arc::new(connected), Arc::default());
        Self { connected, runtime, figures: figures.clone(), claimed, answers }
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
                "the store is not the one that was used before, its object {OWNER:?} is missing: is the folder mounted, is it the same bucket and prefix, and is the bucket still there?"
            )),
            Err(error) => Err(error),
        }
    }

    /// Whose a store is that is not used yet: it is left as it is, and a folder that is not there is not
    /// made.
    pub(super) fn owner_of(
        url: &str,
        options: &StoreOptions,
        runtime: Handle,
    ) -> io::Result<String> {
        if is_absent_folder(url) {
            return Ok(String::new());
        }
        match Self::open(url, options, runtime, &ObjectFigures::default())?.owner() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            owner => owner,
        }
    }

    /// Who owns the store, as it says itself.
    fn owner(&self) -> io::Result<String> {
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
        match &put {
            Ok(()) => self.figures.uploads.inc(),
            Err(error) => {
                // A large upload may fail where small reads do not.
                if is_silence(error) {
                    self.ask_back();
                }
                self.figures.upload_failures.inc()
            }
        };
        put
    }

    /// For how long the store has not answered.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.answers.silence()
    }

    /// Asks the store until it answers, beside everything else.
    fn ask_back(&self) {
        if !self.answers.begin_asking() {
            return;
        }
        let (connected, answers) = (Arc::downgrade(&self.connected), self.answers.clone());
        self.runtime.spawn(async move {
            // Who asks lives no longer than the store.
            while let Some(connected) = connected.upgrade() {
                let (at, count) = (location(&connected.prefix, OWNER), answers.count());
                let looked = answers.within(OWNER, connected.store.head(&at)).await;
                drop(connected);
                answers.learn(count, &looked);
                if answers.end_asking() {
                    return;
                }
                answers.pause().await;
            }
        });
    }

    /// Reads, where the store answers, and waits no longer than it takes to be sure that it does not.
    fn read<T: Send + 'static, F: Future<Output = io::Result<T>> + Send + 'static>(
        &self,
        name: &str,
        ask: impl Fn(Arc<Connected>, Answers, Path) -> F + Send + Sync + 'static,
    ) -> io::Result<T> {
        let at = self.location(name)?;
        self.answers.begin(name)?;
        let (connected, answers) = (self.connected.clone(), self.answers.clone());
        let read = self.run(async move {
            let mut tries = 1;
            loop {
                let count = answers.count();
                let done = ask(connected.clone(), answers.clone(), at.clone()).await;
                let is_late = done.as_ref().is_err_and(|error| error.kind() == ErrorKind::TimedOut);
                if !is_late || tries == ANSWER_TRIES {
                    answers.learn(count, &done);
                    return done;
                }
                tries += 1;
            }
        });
        if self.answers.silence().is_some() {
            self.ask_back();
        }
        read
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
        let done = result.recv().map_err(|_| stopping())?;
        if done.is_ok() {
            self.answers.heard();
        }
        done
    }
}

impl Fetch for SharedStore {
    fn get_range(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        self.read(name, move |connected, answers, at| async move {
            let range = Some(GetRange::Bounded(from..to));
            let options = GetOptions { range, ..GetOptions::default() };
            let name: &str = at.as_ref();
            let got = answers.within(name, connected.store.get_opts(&at, options)).await?;
            if !matches!(got.payload, GetResultPayload::Stream(_)) {
                return answers.within(name, got.bytes()).await;
            }
            // Each piece is a sign of the store; all of them may take longer on a slow line.
            let length = usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
            let (mut pieces, mut bytes) = (got.into_stream(), BytesMut::with_capacity(length));
            while let Some(piece) = answers.within(name, pieces.try_next()).await? {
                bytes.extend_from_slice(&piece);
            }
            Ok(bytes.freeze())
        })
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.read(name, |connected, answers, at| async move {
            let head = answers.within(at.as_ref(), connected.store.head(&at)).await;
            head.map(|meta| meta.size)
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests take folders away as people do")]

    use object_store::memory::InMemory;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};
    use tokio::runtime::{Builder, Runtime};

    use super::super::{Objects, retryable};
    use super::*;

    /// How long a read of the tests waits for an answer: longer than one from memory takes.
    const WAIT: Duration = Duration::from_millis(250);
    /// And how long until it is asked again whether it is back.
    const PAUSE: Duration = Duration::from_millis(5);
    /// Longer than any test.
    const NEVER: Duration = Duration::from_secs(86_400);

    fn runtime() -> Runtime {
        Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    #[test]
    fn a_store_that_hangs_is_waited_for_once_and_found_again_when_it_is_back() {
        let (runtime, figures) = (runtime(), ObjectFigures::default());
        let hanging = Arc::new(ThrottledStore::new(InMemory::new(), ThrottleConfig::default()));
        let connected =
            Connected { store: hanging.clone(), prefix: Path::from("shop"), kind: Kind::Other };
        let answers = Answers::waiting(WAIT, PAUSE, &figures);
        let store = SharedStore::over(connected, answers, runtime.handle().clone(), &figures);
        store.put_new("splits/a", b"0123").unwrap();
        assert_eq!(store.get_range("splits/a", 1, 3).unwrap(), "12");
        assert_eq!((store.size("splits/a").unwrap(), store.silence()), (4, None));
        let waits = |wait| hanging.config_mut(|config| config.wait_get_per_call = wait);
        waits(NEVER);
        let silent = store.get_range("splits/a", 1, 3).unwrap_err();
        assert!(retryable(&silent) && silent.to_string().contains("AWS_ENDPOINT_URL"), "{silent}");
        assert!(store.silence().is_some());
        assert_eq!((figures.store_silent.get(), figures.reads_refused.get()), (1, 0));
        // Nobody waits for it any more, whatever is read.
        for name in ["splits/a", "splits/b"] {
            assert_eq!(store.size(name).unwrap_err().kind(), ErrorKind::TimedOut);
        }
        assert_eq!(figures.reads_refused.get(), 2);
        waits(Duration::ZERO);
        while store.silence().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(store.get_range("splits/a", 1, 3).unwrap(), "12");
        assert_eq!(store.size("splits/b").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!((figures.store_silent.get(), store.silence()), (0, None));
    }

    #[test]
    fn an_answer_that_stops_halfway_is_no_answer() {
        let (runtime, figures) = (runtime(), ObjectFigures::default());
        let slow = ThrottleConfig { wait_get_per_byte: NEVER, ..ThrottleConfig::default() };
        let store = Arc::new(ThrottledStore::new(InMemory::new(), slow));
        let connected = Connected { store, prefix: Path::default(), kind: Kind::Other };
        let answers = Answers::waiting(WAIT, PAUSE, &figures);
        let store = SharedStore::over(connected, answers, runtime.handle().clone(), &figures);
        store.put_new("splits/a", b"0123").unwrap();
        assert_eq!(store.size("splits/a").unwrap(), 4);
        assert_eq!(store.get_range("splits/a", 1, 3).unwrap_err().kind(), ErrorKind::TimedOut);
    }

    #[test]
    fn a_store_has_one_owner_and_is_not_written_to_when_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime();
        let (url, cache) =
            (format!("file://{}/store", folder.path().display()), folder.path().join("cache"));
        let open = || {
            let handle = runtime.handle().clone();
            Objects::shared(&url, &StoreOptions::from_env(), &cache, 0, handle).unwrap()
        };
        let owner =
            || Objects::owner(&url, &StoreOptions::from_env(), runtime.handle().clone()).unwrap();
        let file = folder.path().join("made");
        assert_eq!(owner(), "", "nobody's: it is not there");
        assert!(!folder.path().join("store").exists(), "who only asks makes nothing");
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
