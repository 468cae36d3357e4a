//! The store of objects as a client of a real S3 server: `make test-s3` starts one and calls this
//! with a case, the store's URL, a folder and how many seconds a request is tried again.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "it is a test's program")]

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use model::time::Timestamp;
use platform::clock::Clock;
use platform::disk;
use platform::objects::{Objects, REQUEST_TIMEOUT, StoreOptions, retryable};
use tokio::runtime::{Handle, Runtime};

/// Bytes of the cache: a few blocks.
const CACHE_BYTES: u64 = 5 << 20;
/// A body that goes in three parts.
const BODY_BYTES: u64 = 20_000_003;
/// Tries of an upload until the store is back.
const TRIES_MAX: usize = 60;

fn main() {
    let mut words = std::env::args().skip(1);
    let case = words.next().unwrap();
    let (url, folder) = (words.next().unwrap(), PathBuf::from(words.next().unwrap()));
    let retry_for = Duration::from_secs(words.next().unwrap().parse().unwrap());
    let runtime = Runtime::new().unwrap();
    let test = Case { url, folder, retry_for, runtime: runtime.handle().clone() };
    match case.as_str() {
        "whole" => test.whole(),
        "many" => test.many(),
        "outlast" => test.outlast(),
        "breaks" => test.breaks(),
        "sweep" => assert_eq!(test.open().sweep_half(Timestamp(i64::MAX)).unwrap(), 1),
        "sweep-25" => assert_eq!(test.open().sweep_half(Timestamp(i64::MAX)).unwrap(), 25),
        "denied" => test.denied(),
        other => panic!("no case {other}"),
    }
}

struct Case {
    url: String,
    folder: PathBuf,
    retry_for: Duration,
    runtime: Handle,
}

impl Case {
    fn open(&self) -> Objects {
        let options = StoreOptions { retry_for: self.retry_for, ..StoreOptions::from_env() };
        let cache = self.folder.join("cache");
        Objects::shared(&self.url, &options, &cache, CACHE_BYTES, self.runtime.clone()).unwrap()
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.folder.join("made");
        disk::write_atomically(&path, bytes).unwrap();
        path
    }

    /// All that can be done with objects.
    fn whole(&self) {
        let objects = self.open();
        let body = content(BODY_BYTES);
        for (name, bytes) in [("splits/1/body", body.as_slice()), ("splits/1/index", b"0123456789")]
        {
            let file = self.file(bytes);
            objects.put_file(name, &file).unwrap();
            assert!(!file.exists(), "the file was taken over");
            assert_eq!(objects.size(name).unwrap(), bytes.len() as u64);
        }
        // With nothing kept: a node that has not seen them.
        disk::remove_dir_all(&self.folder.join("cache")).unwrap();
        let other = self.open();
        read(&other, &body);
        list(&other);
        other.put_new("cluster", b"one").unwrap();
        let taken = other.put_new("cluster", b"two").unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AlreadyExists, "{taken}");
        assert_eq!(other.get_range("cluster", 0, 3).unwrap(), "one");
        for name in ["splits/1/body", "splits/1/index", "splits/1/index"] {
            other.delete(name).unwrap();
            let gone = other.get_range(name, 0, 1).unwrap_err();
            assert_eq!(gone.kind(), ErrorKind::NotFound, "{gone}");
        }
        let (one, two) = (objects.figures(), other.figures());
        let requests = one.requests.get() + two.requests.get();
        let failed = one.requests_failed.get() + two.requests_failed.get();
        println!("requests={requests} requests_failed={failed}");
    }

    fn many(&self) {
        let mut names = self.open().list().unwrap();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 2500);
        assert!(names.iter().all(|(name, _)| name.starts_with("splits/")));
    }

    /// Puts one object again and again until the store takes it.
    fn outlast(&self) {
        let objects = self.open();
        let (body, name) = (content(BODY_BYTES), "splits/1/body");
        let file = self.file(&body);
        for _ in 0..TRIES_MAX {
            match self.put(&objects, name, &file) {
                Ok(()) => {
                    let end = objects.get_range(name, BODY_BYTES - 10, BODY_BYTES).unwrap();
                    assert!(body.ends_with(&end));
                    return;
                }
                Err(error) => {
                    println!("later: {error}");
                    std::io::stdout().flush().unwrap();
                }
            }
        }
        panic!("the store did not come back");
    }

    /// The connections are cut within an upload.
    fn breaks(&self) {
        let file = self.file(&content(BODY_BYTES * 2));
        let objects = self.open();
        self.put(&objects, "splits/1/body", &file).unwrap_err();
        assert_eq!(objects.figures().upload_failures.get(), 1);
        let error = objects.get_range("splits/1/body", 0, 1).unwrap_err();
        assert!(retryable(&error), "{:?}: {error}", error.kind());
    }

    fn denied(&self) {
        let objects = self.open();
        let error = objects.put_file("splits/1/body", &self.file(b"x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("AWS_ACCESS_KEY_ID"), "{error}");
        let error = objects.sweep_half(Timestamp(i64::MAX)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    }

    /// A failed put may be tried again, ends in time, and leaves the file.
    fn put(&self, objects: &Objects, name: &str, file: &Path) -> std::io::Result<()> {
        let clock = Clock::system();
        let begun = clock.elapsed();
        let put = objects.put_file(name, file);
        if let Err(error) = &put {
            let took = clock.elapsed().saturating_sub(begun);
            assert!(took < self.retry_for + REQUEST_TIMEOUT, "{took:?}");
            assert!(retryable(error), "{:?}: {error}", error.kind());
            assert!(file.exists(), "what was not put is still there");
        }
        put
    }
}

/// Everything comes back, once, and no more of it is kept than may be.
fn read(objects: &Objects, body: &[u8]) {
    let whole = objects.get_range("splits/1/body", 0, BODY_BYTES).unwrap();
    assert!(whole == body, "other bytes came back");
    assert_eq!(objects.figures().fetched_bytes.get(), BODY_BYTES);
    let last = objects.get_range("splits/1/body", BODY_BYTES - 100, BODY_BYTES).unwrap();
    assert!(body.ends_with(&last));
    assert_eq!(objects.figures().fetched_bytes.get(), BODY_BYTES, "the end was kept");
    assert!(u64::try_from(objects.figures().cache_bytes.get()).unwrap() <= CACHE_BYTES);
    assert_eq!(objects.get_range("splits/1/index", 2, 5).unwrap(), "234");
    let beyond = objects.get_range("splits/1/index", 8, 11).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::UnexpectedEof, "{beyond}");
}

fn list(objects: &Objects) {
    let mut listed = objects.list_with_age().unwrap();
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = listed.iter().map(|one| (one.name.as_str(), one.bytes)).collect();
    assert_eq!(names, [("splits/1/body", BODY_BYTES), ("splits/1/index", 10)]);
    let now = Clock::system().now().0;
    let hour_ns = 3_600_000_000_000;
    assert!(listed.iter().all(|one| (one.changed.0 - now).abs() < hour_ns), "{listed:?}");
}

fn content(length: u64) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(31) % 251).to_le_bytes()[0]).collect()
}
