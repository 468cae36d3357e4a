//! Objects in a folder, elsewhere, and in a store: the same bytes, whatever is kept or damaged.
#![expect(clippy::cast_possible_truncation, reason = "numbers of the tests are small")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;

/// Blocks of the tests: small, so that objects have several.
const SMALL_BLOCK: u64 = 64;

/// Another node: what it has, and what was asked of it.
#[derive(Default)]
struct Other {
    objects: Mutex<BTreeMap<String, Bytes>>,
    ranges: AtomicU64,
    sizes: AtomicU64,
    is_down: AtomicBool,
    /// Whoever fetches passes here.
    gate: Mutex<()>,
}

impl Other {
    fn with(name: &str, bytes: &[u8]) -> Arc<Self> {
        let other = Self::default();
        other.objects.lock().unwrap().insert(name.to_owned(), Bytes::copy_from_slice(bytes));
        Arc::new(other)
    }

    fn find(&self, name: &str) -> io::Result<Bytes> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(ErrorKind::ConnectionRefused.into());
        }
        self.objects.lock().unwrap().get(name).cloned().ok_or(ErrorKind::NotFound.into())
    }
}

impl Fetch for Other {
    fn get_range(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        self.ranges.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock().unwrap());
        Ok(self.find(name)?.slice(from as usize..to as usize))
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.sizes.fetch_add(1, Ordering::SeqCst);
        Ok(self.find(name)?.len() as u64)
    }
}

fn content(length: u64) -> Vec<u8> {
    (0..length).map(|at| (at * 31 % 251) as u8).collect()
}

fn file(folder: &TempDir, bytes: &[u8]) -> std::path::PathBuf {
    let file = folder.path().join("made");
    disk::write_atomically(&file, bytes).unwrap();
    file
}

fn node(folder: &TempDir, other: &Arc<Other>, cache_bytes_max: u64) -> Objects {
    let cache = folder.path().join("cache");
    let cache = BlockCache::with_blocks(&cache, cache_bytes_max, SMALL_BLOCK).unwrap();
    let own = Objects::local(&folder.path().join("objects")).unwrap();
    own.with_fallback(other.clone()).with_cache(cache)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn options() -> StoreOptions {
    StoreOptions { variables: Vec::new(), retry_for: Duration::from_secs(1) }
}

/// A store that is a folder, with small blocks in a cache.
fn store(folder: &TempDir, runtime: &Runtime, cache_bytes_max: u64) -> Objects {
    let url = format!("file://{}/store", folder.path().display());
    let (unused, cache) = (folder.path().join("unused"), folder.path().join("cache"));
    let handle = runtime.handle().clone();
    let objects = Objects::shared(&url, &options(), &unused, 0, handle).unwrap();
    let cache = BlockCache::with_blocks(&cache, cache_bytes_max, SMALL_BLOCK).unwrap();
    objects.with_cache(cache)
}

/// Every file of the cache.
fn cache_files(folder: &TempDir) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    folder::walk(&folder.path().join("cache"), &mut |_, path, _| {
        files.push(path.to_owned());
        Ok(())
    })
    .unwrap();
    files.sort();
    files
}

#[track_caller]
fn check_lifecycle(objects: &Objects, folder: &TempDir) {
    let name = "splits/a/body.parquet";
    objects.put_file(name, &file(folder, b"0123456789")).unwrap();
    assert!(!folder.path().join("made").exists(), "the file was taken over");
    assert_eq!(objects.get_range(name, 2, 5).unwrap(), "234");
    assert_eq!(objects.get_range(name, 5, 5).unwrap(), "");
    assert_eq!(objects.size(name).unwrap(), 10);
    assert_eq!(objects.list().unwrap(), [(name.to_owned(), 10)]);
    let listed = objects.list_with_age().unwrap();
    let now = crate::clock::Clock::system().now();
    let age_ns = now.0 - listed[0].changed.0;
    assert!((-1_000_000_000..60_000_000_000).contains(&age_ns), "{age_ns}");
    let error = objects.get_range(name, 8, 12).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    objects.delete(name).unwrap();
    objects.delete(name).unwrap();
    assert_eq!(objects.list().unwrap(), []);
    assert_eq!(objects.get_range(name, 2, 5).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(objects.size(name).unwrap_err().kind(), ErrorKind::NotFound);
    for wrong in ["../x", "", "a//b", ".a", "a/.b", "a b"] {
        assert_eq!(objects.size(wrong).unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong:?}");
    }
    objects.put_new("cluster", b"one").unwrap();
    assert_eq!(objects.put_new("cluster", b"two").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(objects.get_range("cluster", 0, 3).unwrap(), "one");
}

#[test]
fn a_length_that_is_known_is_not_asked_for() {
    let (folder, other) = (tempfile::tempdir().unwrap(), Other::with("splits/a", &content(200)));
    let objects = node(&folder, &other, 10_000);
    objects.expect_size("splits/a", 200);
    assert_eq!(objects.get_range("splits/a", 150, 200).unwrap(), content(200)[150..]);
    assert_eq!((other.sizes.load(Ordering::SeqCst), other.ranges.load(Ordering::SeqCst)), (0, 1));
}

#[test]
fn an_object_is_put_read_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::local(&folder.path().join("objects")).unwrap();
    check_lifecycle(&objects, &folder);
    assert_eq!(objects.read_bytes().get(), 6);
}

#[test]
fn an_object_of_a_store_is_put_read_and_deleted() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let objects = store(&folder, &runtime, 1 << 20);
    check_lifecycle(&objects, &folder);
    assert_eq!(objects.figures().uploads.get(), 1);
    assert_eq!(objects.figures().upload_failures.get(), 0);
}

#[test]
fn a_large_object_goes_in_parts_and_nothing_half_stays() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let url = format!("file://{}/store", folder.path().display());
    let (cache, handle) = (folder.path().join("cache"), runtime.handle().clone());
    let objects = Objects::shared(&url, &options(), &cache, 64 << 20, handle).unwrap();
    let bytes = content(20_000_003);
    objects.put_file("splits/b", &file(&folder, &bytes)).unwrap();
    assert_eq!(objects.get_range("splits/b", 0, 20_000_003).unwrap(), bytes);
    assert_eq!(objects.figures().fetched_bytes.get(), 0, "what was put is in the cache");
    assert_eq!(cache_files(&folder).len(), 20);
    let half = folder.path().join("store/splits/c#1");
    disk::write_atomically(&half, b"half").unwrap();
    assert_eq!(objects.list().unwrap(), [("splits/b".to_owned(), 20_000_003)]);
    assert_eq!(objects.sweep_half(Timestamp(0)).unwrap(), 0, "it is younger");
    assert_eq!(objects.sweep_half(Timestamp(i64::MAX)).unwrap(), 1);
    assert!(!half.exists());
}

#[test]
fn thousands_of_objects_are_listed() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let objects = store(&folder, &runtime, 0);
    for number in 0..3000 {
        let path = folder.path().join(format!("store/splits/{number}/x"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        File::create(path).unwrap();
    }
    let mut names: Vec<String> =
        objects.list().unwrap().into_iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3000);
}

#[test]
fn a_url_that_names_no_store_says_what_to_give() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    for url in ["nonsense", "ftp://a/b", "gs://bucket/x", "s3://"] {
        let handle = runtime.handle().clone();
        let error = Objects::shared(url, &options(), folder.path(), 0, handle).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
        assert!(error.to_string().contains("s3://bucket/prefix"), "{error}");
    }
    let debug = format!(
        "{:?}",
        StoreOptions { variables: vec![("A".into(), "secret".into())], ..options() }
    );
    assert!(!debug.contains("secret"), "{debug}");
}

#[test]
fn what_others_have_is_fetched_once() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(1000);
    let other = Other::with("splits/a", &bytes);
    let objects = node(&folder, &other, 1 << 20);
    assert_eq!(objects.get_range("splits/a", 100, 300).unwrap(), bytes[100..300]);
    assert_eq!(objects.get_range("splits/a", 64, 320).unwrap(), bytes[64..320]);
    assert_eq!(other.ranges.load(Ordering::SeqCst), 1, "neighbours come with one request");
    assert_eq!(objects.get_range("splits/a", 0, 1000).unwrap(), bytes);
    assert_eq!(objects.size("splits/a").unwrap(), 1000);
    assert_eq!(other.sizes.load(Ordering::SeqCst), 1);
    let figures = objects.figures();
    assert_eq!(figures.fetched_bytes.get(), 1000);
    assert_eq!((figures.cache_misses.get(), figures.cache_hits.get()), (16, 8));
    assert!(!objects.has_local("splits/a"));
    assert_eq!(objects.read_local("splits/a", 0, 1).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(objects.get_range("splits/z", 0, 1).unwrap_err().kind(), ErrorKind::NotFound);
    let without = Objects::local(&folder.path().join("o")).unwrap().with_fallback(other);
    assert_eq!(without.get_range("splits/a", 10, 20).unwrap(), bytes[10..20]);
    assert_eq!(without.size("splits/a").unwrap(), 1000);
}

#[test]
fn the_cache_outlives_the_process_and_the_other_node() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(500);
    let other = Other::with("splits/a", &bytes);
    assert_eq!(node(&folder, &other, 1 << 20).get_range("splits/a", 0, 500).unwrap(), bytes);
    other.is_down.store(true, Ordering::SeqCst);
    let again = node(&folder, &other, 1 << 20);
    assert_eq!(again.get_range("splits/a", 0, 500).unwrap(), bytes);
    let error = again.get_range("splits/b", 0, 500).unwrap_err();
    assert!(retryable(&error), "{error}");
    again.delete("splits/a").unwrap();
    assert_eq!(cache_files(&folder), Vec::<std::path::PathBuf>::new());
    assert_eq!(again.figures().cache_bytes.get(), 0);
}

#[test]
fn a_block_that_is_damaged_or_cut_is_fetched_again() {
    let bytes = content(300);
    let damages: [fn(&mut Vec<u8>); 4] = [
        |file| *file.last_mut().unwrap() ^= 1,
        |file| file[9] ^= 1,
        |file| file.truncate(60),
        |file| file.clear(),
    ];
    for (number, damage) in damages.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let other = Other::with("splits/a", &bytes);
        let objects = node(&folder, &other, 1 << 20);
        assert_eq!(objects.get_range("splits/a", 0, 300).unwrap(), bytes);
        let path = cache_files(&folder).swap_remove(2);
        let mut block = std::fs::read(&path).unwrap();
        damage(&mut block);
        disk::write_atomically(&path, &block).unwrap();
        assert_eq!(objects.get_range("splits/a", 0, 300).unwrap(), bytes, "damage {number}");
        assert_eq!(objects.figures().cache_damaged.get(), 1, "damage {number}");
        assert_eq!(other.ranges.load(Ordering::SeqCst), 2, "damage {number}");
        assert_eq!(objects.get_range("splits/a", 0, 300).unwrap(), bytes);
        assert_eq!(other.ranges.load(Ordering::SeqCst), 2, "damage {number}");
    }
}

#[test]
fn the_cache_keeps_to_its_bytes_and_lets_go_what_was_used_longest_ago() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(64 * 20);
    let other = Other::with("splits/a", &bytes);
    let block_file = 64 + 44;
    let objects = node(&folder, &other, 4 * block_file);
    let read = |block: u64| {
        let (from, to) = (block * 64, block * 64 + 64);
        let range = from as usize..to as usize;
        assert_eq!(objects.get_range("splits/a", from, to).unwrap(), bytes[range]);
    };
    for block in [0, 1, 2, 3, 0, 4] {
        read(block);
    }
    let asked = other.ranges.load(Ordering::SeqCst);
    read(0);
    assert_eq!(other.ranges.load(Ordering::SeqCst), asked, "it was used again before the fifth");
    read(1);
    assert_eq!(other.ranges.load(Ordering::SeqCst), asked + 1, "it went for the fifth");
    let on_disk = |path: &std::path::PathBuf| std::fs::metadata(path).unwrap().len();
    assert_eq!(cache_files(&folder).iter().map(on_disk).sum::<u64>(), 4 * block_file);
    assert_eq!(objects.figures().cache_bytes.get(), 4 * 108);
}

#[test]
fn who_asks_for_a_block_that_is_being_fetched_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(64);
    let other = Other::with("splits/a", &bytes);
    let objects = node(&folder, &other, 1 << 20);
    let closed = other.gate.lock().unwrap();
    std::thread::scope(|scope| {
        let readers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| objects.get_range("splits/a", 3, 60).unwrap())).collect();
        // The one that fetches stands at the gate until all others have asked.
        let asked = || objects.figures().cache_misses.get();
        while asked() < 8 && !readers.iter().any(|reader| reader.is_finished()) {
            std::thread::yield_now();
        }
        drop(closed);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), bytes[3..60]);
        }
    });
    assert_eq!(other.ranges.load(Ordering::SeqCst), 1);
}

#[test]
fn an_object_is_adopted_when_it_is_what_was_announced() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(3_000_000);
    let other = Other::with("splits/a/body", &bytes);
    let from = Objects::local(&folder.path().join("from")).unwrap();
    from.put_file("splits/a/body", &file(&folder, &bytes)).unwrap();
    let announced = from.announce("splits/a/body").unwrap();
    assert_eq!(announced, Announced { bytes: 3_000_000, crc32c: crc32c::crc32c(&bytes) });
    let objects = node(&folder, &other, 1 << 20);
    let adopt = |announced, mut bytes: &[u8]| objects.adopt("splits/a/body", announced, &mut bytes);
    let nothing = |kind, result: io::Result<()>| {
        assert_eq!(result.unwrap_err().kind(), kind);
        assert!(!objects.has_local("splits/a/body"));
        assert_eq!(std::fs::read_dir(folder.path().join("objects/splits/a")).unwrap().count(), 0);
    };
    nothing(ErrorKind::UnexpectedEof, adopt(announced, &bytes[1..]));
    let mut wrong = bytes.clone();
    wrong[1_500_000] ^= 4;
    nothing(ErrorKind::InvalidData, adopt(announced, &wrong));
    wrong.clone_from(&bytes);
    wrong.push(0);
    nothing(ErrorKind::InvalidData, adopt(announced, &wrong));
    assert_eq!(objects.get_range("splits/a/body", 7, 77).unwrap(), bytes[7..77]);
    adopt(announced, &bytes).unwrap();
    assert!(objects.has_local("splits/a/body"));
    assert_eq!(cache_files(&folder).len(), 0, "blocks of what is here now are not kept");
    assert_eq!(objects.read_local("splits/a/body", 5, 2_000_005).unwrap(), bytes[5..2_000_005]);
    assert_eq!(objects.figures().adopted.get(), 1);
}

#[test]
fn what_a_crash_left_of_an_adoption_is_no_object_and_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::local(&folder.path().join("objects")).unwrap();
    let mut adoption = objects.adoption("splits/a/body").unwrap();
    adoption.write(b"half").unwrap();
    std::mem::forget(adoption);
    assert_eq!(objects.list().unwrap(), []);
    assert_eq!(objects.sweep_half(Timestamp(0)).unwrap(), 0, "it is younger");
    assert_eq!(objects.sweep_half(Timestamp(i64::MAX)).unwrap(), 1);
    assert_eq!(std::fs::read_dir(folder.path().join("objects/splits/a")).unwrap().count(), 0);
}

#[test]
fn a_stopped_runtime_is_an_error_and_no_hang() {
    let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
    let objects = store(&folder, &runtime, 0);
    runtime.shutdown_background();
    let error = objects.put_file("a", &file(&folder, b"x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionAborted);
    assert!(folder.path().join("made").exists(), "what was not put is still there");
}

#[test]
fn the_figures_are_among_the_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::local(&folder.path().join("objects")).unwrap();
    let metrics = crate::telemetry::Metrics::default();
    objects.figures().register(&metrics);
    objects.put_file("a", &file(&folder, b"0123")).unwrap();
    objects.get_range("a", 0, 3).unwrap();
    let text = metrics.encode();
    assert!(text.contains("objects_read_bytes_total 3"), "{text}");
    assert!(text.contains("objects_cache_bytes 0"), "{text}");
}

/// Something done to objects.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, u64),
    Get(u8, u64, u64),
    Delete(u8),
    Damage(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..3_u8;
    prop_oneof![
        2 => (name.clone(), 0..1500_u64).prop_map(|(name, bytes)| Step::Put(name, bytes)),
        8 => (name.clone(), 0..1500_u64, 0..1500_u64).prop_map(|(n, a, b)| Step::Get(n, a.min(b), a.max(b))),
        1 => name.prop_map(Step::Delete),
        1 => (0..50_usize).prop_map(Step::Damage),
        1 => Just(Step::Restart),
    ]
}

#[track_caller]
fn check_steps(
    folder: &TempDir,
    steps: &[Step],
    open: impl Fn() -> Objects,
    put: impl Fn(&Objects, &str, Vec<u8>),
    delete: impl Fn(&Objects, &str),
) {
    let mut objects = open();
    let mut truth: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Put(name, length) => {
                // Objects are immutable: a name is given once.
                let name = format!("splits/{name}");
                if !truth.contains_key(&name) {
                    let bytes: Vec<u8> =
                        content(*length).iter().map(|byte| byte ^ number as u8).collect();
                    truth.insert(name.clone(), bytes.clone());
                    put(&objects, &name, bytes);
                }
            }
            Step::Get(name, from, to) => {
                let name = format!("splits/{name}");
                let expected = match truth.get(&name) {
                    None => Err(ErrorKind::NotFound),
                    Some(bytes) if *to <= bytes.len() as u64 => {
                        Ok(Bytes::copy_from_slice(&bytes[*from as usize..*to as usize]))
                    }
                    Some(_) => Err(ErrorKind::UnexpectedEof),
                };
                if from < to {
                    let got = objects.get_range(&name, *from, *to).map_err(|error| error.kind());
                    assert_eq!(got, expected, "step {number}: {step:?}");
                }
            }
            Step::Delete(name) => {
                let name = format!("splits/{name}");
                truth.remove(&name);
                delete(&objects, &name);
            }
            Step::Damage(which) => {
                let files = cache_files(folder);
                if let Some(path) = files.get(which % files.len().max(1)) {
                    let mut bytes = std::fs::read(path).unwrap();
                    let at = which % bytes.len();
                    bytes[at] ^= 0x10;
                    disk::write_atomically(path, &bytes).unwrap();
                }
            }
            Step::Restart => objects = open(),
        }
        let bytes: u64 = cache_files(folder).iter().map(|p| p.metadata().unwrap().len()).sum();
        assert!(bytes <= 1200, "step {number}: the cache takes {bytes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_store_behind_a_cache_gives_the_plain_bytes(steps in prop::collection::vec(step(), 1..60)) {
        let (folder, runtime) = (tempfile::tempdir().unwrap(), runtime());
        let open = || store(&folder, &runtime, 1200);
        let put = |objects: &Objects, name: &str, bytes: Vec<u8>| {
            objects.put_file(name, &file(&folder, &bytes)).unwrap();
        };
        check_steps(&folder, &steps, open, put, |objects, name| objects.delete(name).unwrap());
    }

    #[test]
    fn another_node_behind_a_cache_gives_the_plain_bytes(steps in prop::collection::vec(step(), 1..60)) {
        let (folder, other) = (tempfile::tempdir().unwrap(), Arc::new(Other::default()));
        let open = || node(&folder, &other, 1200);
        let put = |objects: &Objects, name: &str, bytes: Vec<u8>| {
            // Every second object is this node's own.
            if bytes.len().is_multiple_of(2) {
                objects.put_file(name, &file(&folder, &bytes)).unwrap();
            } else {
                other.objects.lock().unwrap().insert(name.to_owned(), bytes.into());
            }
        };
        let delete = |objects: &Objects, name: &str| {
            other.objects.lock().unwrap().remove(name);
            objects.delete(name).unwrap();
        };
        check_steps(&folder, &steps, open, put, delete);
    }
}
