//! Files that are written, rotated, truncated and removed while nodes fail: every line is stored
//! exactly once. Each line carries its number; the receiver is the judge.
#![expect(clippy::disallowed_methods, reason = "tests treat files as other programs do")]

mod gathers;
mod held;
mod passed;
mod rated;
mod replaced;
mod rotated;
mod truncated;
mod waiting;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use super::*;
use crate::config::StartAt;
use crate::receiver::{Fault, Receiver};

struct World {
    folder: tempfile::TempDir,
    receiver: Receiver,
    running: Option<(Handle, Shutdown)>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("logs")).unwrap();
        Self { folder, receiver: Receiver::start().await, running: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("logs").join(name)
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn config(&self) -> Config {
        let pattern = format!("{}/**/*.log", self.folder.path().join("logs").display());
        let mut config = Config::new(&self.receiver.url, self.state(), vec![pattern]);
        config.partial_after = Duration::from_secs(3600);
        config
    }

    fn start(&mut self) {
        self.start_with(self.config());
    }

    fn start_with(&mut self, config: Config) {
        let shutdown = Shutdown::default();
        let handle = Shipper::start(config, Clock::system(), shutdown.clone()).unwrap();
        self.running = Some((handle, shutdown));
    }

    async fn stop(&mut self) {
        let (handle, shutdown) = self.running.take().unwrap();
        shutdown.trigger();
        handle.join().await.unwrap();
    }

    async fn once(&mut self) {
        let mut config = self.config();
        config.until = Until::Done;
        self.start_with(config);
        let (handle, _shutdown) = self.running.take().unwrap();
        handle.join().await.unwrap();
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    #[track_caller]
    fn expect(&self, expected: &[&str]) -> impl Future<Output = ()> {
        let messages = self.receiver.messages(expected.len());
        let mut expected: Vec<String> = expected.iter().map(|text| (*text).to_owned()).collect();
        expected.sort();
        async move { assert_eq!(messages.await, expected) }
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn lines(name: &str, range: std::ops::Range<usize>) -> (String, Vec<String>) {
    let lines: Vec<String> = range.map(|n| format!("{name} line {n:06}")).collect();
    (lines.join("\n") + "\n", lines)
}

/// What is said of a file in whose place another stands at the start.
fn unseen(world: &World, first: &str) -> String {
    let first = first.replace("{}", &world.path("a.log").to_string_lossy());
    format!(
        "gap: {first}, and another file is: more of it, and whole files, may have come and gone \
         while nobody shipped"
    )
}

#[tokio::test]
async fn what_is_there_and_what_comes_is_sent() {
    let mut world = World::new().await;
    world.append("a.log", "one\ntwo\n");
    world.start();
    world.expect(&["one", "two"]).await;
    world.append("a.log", "three\n");
    fs::create_dir_all(world.path("later/deep")).unwrap();
    world.append("later/deep/b.log", "four\n");
    world.append("ignored.txt", "no\n");
    world.expect(&["one", "two", "three", "four"]).await;
    let stored = world.receiver.stored();
    let four = stored.iter().find(|stored| stored.record.message == "four").unwrap();
    assert_eq!(four.source, world.path("later/deep/b.log").to_string_lossy());
    world.stop().await;
}

#[tokio::test]
async fn half_a_line_waits_for_the_other_half_also_over_a_restart() {
    let mut world = World::new().await;
    world.append("a.log", "one\nha");
    world.start();
    world.expect(&["one"]).await;
    world.append("a.log", "l");
    world.stop().await;
    world.start();
    world.append("a.log", "f\n");
    world.expect(&["one", "half"]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_last_line_counts_when_its_file_rests() {
    let mut world = World::new().await;
    world.append("a.log", "one\nno newline");
    let mut config = world.config();
    config.partial_after = Duration::from_millis(300);
    world.start_with(config);
    world.expect(&["one", "no newline"]).await;
    world.append("a.log", "\ntwo\n");
    world.expect(&["one", "no newline", "two"]).await;
    world.stop().await;
}

#[tokio::test]
async fn faults_of_the_node_lose_nothing_and_double_nothing() {
    let mut world = World::new().await;
    let (text, expected) = lines("a", 0..50_000);
    world.append("a.log", &text);
    world.receiver.fail([
        Fault::Status(503),
        Fault::AnswerLost,
        Fault::Later(1),
        Fault::Status(500),
        Fault::AnswerLost,
        Fault::Status(401),
    ]);
    world.once().await;
    assert!(world.receiver.messages(expected.len()).await == expected);
    assert_eq!(world.receiver.counts().2, 2);
}

#[tokio::test]
async fn an_old_checkpoint_is_put_right_by_the_queue() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    let saved = fs::read(world.state().join("checkpoints.json")).unwrap();
    world.append("a.log", "two\n");
    world.once().await;
    // As after a crash before the second save: the batch of "two" was acknowledged, its
    // checkpoint is lost, and the next cut ends elsewhere.
    fs::write(world.state().join("checkpoints.json"), saved).unwrap();
    world.append("a.log", "three\n");
    world.once().await;
    world.expect(&["one", "two", "three"]).await;
    assert_eq!(world.receiver.counts().1, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renamed_file_is_finished_before_the_new_one_begins() {
    let mut world = World::new().await;
    world.start();
    let mut expected = Vec::new();
    for round in 0..20 {
        let (text, numbered) = lines("a", round * 100..round * 100 + 90);
        world.append("a.log", &text);
        expected.extend(numbered);
        world.receiver.messages(round * 100 + 1).await;
        fs::rename(world.path("a.log"), world.path(&format!("a.log.{round}"))).unwrap();
        // The writer still has the old file open for a while.
        let (late, numbered) = lines("a", round * 100 + 90..round * 100 + 100);
        append(&world.path(&format!("a.log.{round}")), &late);
        expected.extend(numbered);
    }
    world.receiver.messages(expected.len()).await;
    let order: Vec<String> =
        world.receiver.stored().into_iter().map(|stored| stored.record.message).collect();
    assert!(order == expected, "out of order");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_faster_than_we_look_loses_nothing() {
    let mut world = World::new().await;
    world.append("a.log", "a line 000000\n");
    world.start();
    world.expect(&["a line 000000"]).await;
    let source = world.path("a.log").to_string_lossy().into_owned();
    for round in 1..=300 {
        world.append("a.log", &lines("a", round..round + 1).0);
        let names = ["a.log", "a.log.1", "a.log.2", "a.log.3"].map(|name| match name {
            "a.log" => world.path(name),
            name => world.path(&format!("{name}.{round}")),
        });
        for pair in names.windows(2) {
            fs::rename(&pair[0], &pair[1]).unwrap();
        }
    }
    let (_, expected) = lines("a", 0..301);
    assert_eq!(world.receiver.messages(301).await, expected);
    assert!(world.receiver.stored().iter().all(|stored| stored.source == source));
    world.stop().await;
}

#[tokio::test]
async fn rotation_while_stopped_is_found_by_inode() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    world.append("a.log", "two\n");
    fs::rename(world.path("a.log"), world.path("a.log.1")).unwrap();
    world.append("a.log", "three\n");
    world.once().await;
    world.expect(&["one", "two", "three"]).await;
    let source = world.path("a.log").to_string_lossy().into_owned();
    assert!(world.receiver.stored().iter().all(|stored| stored.source == source));
}

/// A file of which "one" is stored and "two" is under way, for as long as the node refuses everything.
async fn refused() -> World {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.start();
    world.expect(&["one"]).await;
    world.receiver.down(Some(Fault::Status(503)));
    world.append("a.log", "two\n");
    let seen = world.receiver.counts().0;
    world.receiver.requests(seen + 1).await;
    world
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn a_packed_file_with_the_inode_of_the_one_in_it_is_not_that_one() {
    use crate::checkpoint::{Checkpoint, Store};
    let mut world = World::new().await;
    for name in ["a.log", "b.log"] {
        world.append(name, &format!("{name} one\n"));
    }
    world.once().await;
    for name in ["a.log", "b.log"] {
        world.append(name, &format!("{name} two\n"));
        let packed = gzip(&fs::read(world.path(name)).unwrap());
        fs::write(world.path(&format!("{name}.1.gz")), packed).unwrap();
        fs::remove_file(world.path(name)).unwrap();
    }
    // As a file system does that uses inodes again: each has that of the other's original.
    let inode = |name: &str| Seen::surely_at(&world.path(name), true).unwrap().id;
    let (store, recovered) = Store::open(&world.state()).unwrap();
    let swapped = |known: Checkpoint| {
        let id = inode(if known.path.ends_with("a.log") { "b.log.1.gz" } else { "a.log.1.gz" });
        Checkpoint { id, ..known }
    };
    let swapped: Vec<Checkpoint> = recovered.checkpoints.into_iter().map(swapped).collect();
    assert_eq!(swapped.len(), 2);
    store.save(&swapped).unwrap();
    drop(store);
    world.once().await;
    world.expect(&["a.log one", "a.log two", "b.log one", "b.log two"]).await;
}

#[tokio::test]
async fn what_takes_the_place_of_a_renamed_file_is_not_read_as_text() {
    let mut world = refused().await;
    // The same inode under a name nobody follows, with another content.
    let packed = world.path("a.log.1.gz");
    fs::rename(world.path("a.log"), &packed).unwrap();
    fs::write(&packed, gzip(b"one\ntwo\nthree\n")).unwrap();
    world.append("a.log", "four\n");
    world.receiver.down(None);
    world.expect(&["one", "two", "three", "four"]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_truncated_file_is_read_anew() {
    let mut world = World::new().await;
    world.append("a.log", "one is long enough\n");
    world.start();
    world.expect(&["one is long enough"]).await;
    OpenOptions::new().write(true).open(world.path("a.log")).unwrap().set_len(0).unwrap();
    world.append("a.log", "two\n");
    world.expect(&["one is long enough", "two"]).await;
    world.stop().await;
    // Truncated and grown beyond the old place while nobody looked.
    fs::write(world.path("a.log"), "three\nfour\nfive\n").unwrap();
    world.once().await;
    let gap = unseen(&world, "what was read last of {} is not there any more");
    world.expect(&["one is long enough", "two", &gap, "three", "four", "five"]).await;
}

#[tokio::test]
async fn a_file_made_anew_in_the_same_size_is_another() {
    let mut world = World::new().await;
    world.append("a.log", "gen1 line 1\ngen1 line 2\n");
    world.once().await;
    fs::remove_file(world.path("a.log")).unwrap();
    world.append("a.log", "gen2 line 1\ngen2 line 2\n");
    world.once().await;
    let gap = unseen(&world, "what was read last of {} is not there any more");
    world.expect(&["gen1 line 1", "gen1 line 2", &gap, "gen2 line 1", "gen2 line 2"]).await;
    // And replaced in one step, while running.
    world.start();
    held::until(|| world.running.as_ref().unwrap().0.status().files == 1).await;
    fs::write(world.path("new"), "gen3 line 1\ngen3 line 2\n").unwrap();
    fs::rename(world.path("new"), world.path("a.log")).unwrap();
    let all = ["gen1", "gen2", "gen3"].map(|g| [format!("{g} line 1"), format!("{g} line 2")]);
    assert_eq!(world.receiver.messages(7).await, [vec![gap], all.concat()].concat());
    world.stop().await;
}

#[tokio::test]
async fn a_deleted_file_is_still_read_to_its_end() {
    let mut world = refused().await;
    world.append("a.log", "three\nfour");
    fs::remove_file(world.path("a.log")).unwrap();
    world.receiver.down(None);
    world.expect(&["one", "two", "three", "four"]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_poison_record_is_kept_as_text_and_holds_up_nobody() {
    let mut world = World::new().await;
    let (text, mut expected) = lines("a", 0..1_000);
    world.append("a.log", &text);
    world.append("a.log", "{\"a\":1,\"message\":\"evil\"}\n");
    let (text, more) = lines("a", 1_000..2_000);
    world.append("a.log", &text);
    world.receiver.poison("evil");
    world.once().await;
    expected.extend(more);
    expected.push("{\"a\":1,\"message\":\"evil\"}".to_owned());
    assert!(world.receiver.messages(expected.len()).await == expected);
}

#[tokio::test]
async fn start_at_the_end_skips_what_was_there_and_only_that() {
    let mut world = World::new().await;
    world.append("a.log", "old\nhalf");
    world.append("empty.log", "");
    let mut config = world.config();
    config.start_at = StartAt::End;
    world.start_with(config.clone());
    // What comes into a new file tells that the first walk is over.
    let seen = Clock::system();
    while world.running.as_ref().unwrap().0.status().files < 2 {
        seen.sleep(Duration::from_millis(5)).await;
    }
    world.append("a.log", " line\n");
    world.append("b.log", "new\n");
    world.append("empty.log", "first\n");
    world.expect(&["half line", "new", "first"]).await;
    world.stop().await;
    world.append("c.log", "made meanwhile\n");
    world.start_with(config);
    world.expect(&["half line", "new", "first", "made meanwhile"]).await;
    world.stop().await;
}

#[tokio::test]
async fn names_of_one_file_are_one_and_other_things_are_left_alone() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    fs::hard_link(world.path("a.log"), world.path("b.log")).unwrap();
    std::os::unix::fs::symlink(world.path("a.log"), world.path("c.log")).unwrap();
    std::os::unix::fs::symlink(world.path("nowhere"), world.path("d.log")).unwrap();
    fs::write(world.path("binary.log"), [1, 0, 2, 0, 3, 0, 255]).unwrap();
    fs::write(world.path("old.log.gz"), "no").unwrap();
    fs::create_dir(world.path("folder.log")).unwrap();
    world.start();
    world.expect(&["one"]).await;
    world.append("b.log", "two\n");
    world.expect(&["one", "two"]).await;
    world.stop().await;
}

#[tokio::test]
async fn without_inotify_files_are_looked_at() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    let (config, shutdown) = (world.config(), Shutdown::default());
    let started =
        Shipper::start_with(config, Clock::system(), shutdown.clone(), Watch::deaf()).unwrap();
    world.running = Some((started, shutdown));
    world.expect(&["one"]).await;
    world.append("a.log", "two\n");
    fs::rename(world.path("a.log"), world.path("a.log.1")).unwrap();
    world.append("a.log", "three\n");
    fs::create_dir(world.path("later")).unwrap();
    world.append("later/b.log", "four\n");
    world.expect(&["one", "two", "three", "four"]).await;
    append(&world.path("a.log.1"), "late\n");
    world.expect(&["one", "two", "three", "four", "late"]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_linked_file_is_heard_of_where_it_really_is() {
    let mut world = World::new().await;
    let real = world.folder.path().join("elsewhere");
    fs::create_dir(&real).unwrap();
    append(&real.join("0.txt"), "one\n");
    std::os::unix::fs::symlink(real.join("0.txt"), world.path("pod.log")).unwrap();
    world.start();
    world.expect(&["one"]).await;
    append(&real.join("0.txt"), "two\n");
    world.expect(&["one", "two"]).await;
    world.stop().await;
}

#[tokio::test]
async fn a_second_shipper_on_the_same_state_is_refused() {
    let mut world = World::new().await;
    world.start();
    let second = Shipper::start(world.config(), Clock::system(), Shutdown::default());
    assert!(second.unwrap_err().to_string().contains("in use by process"));
    world.stop().await;
}

#[tokio::test]
async fn a_dead_node_is_said_and_survived() {
    let mut world = World::new().await;
    world.receiver.down(Some(Fault::Status(503)));
    world.append("a.log", "one\n");
    world.start();
    world.receiver.requests(2).await;
    let status = world.running.as_ref().unwrap().0.status();
    assert!(status.last_error.unwrap().contains("503"));
    assert_eq!((status.files, status.lag_bytes), (1, 4));
    // Stopping does not wait for it, and starting again goes on.
    world.stop().await;
    world.start();
    world.receiver.down(None);
    world.expect(&["one"]).await;
    let clock = Clock::system();
    while world.running.as_ref().unwrap().0.status().last_error.is_some() {
        clock.sleep(Duration::from_millis(5)).await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_line_is_there_soon_after_it_was_written() {
    let mut world = World::new().await;
    world.append("a.log", "first\n");
    world.start();
    world.expect(&["first"]).await;
    let clock = Clock::system();
    let mut times = Vec::new();
    for n in 0..50 {
        let start = clock.elapsed();
        world.append("a.log", &format!("line {n}\n"));
        world.receiver.messages(n + 2).await;
        times.push(clock.elapsed() - start);
    }
    times.sort();
    println!("p50 {:?}, p99 {:?}", times[25], times[49]);
    assert!(times[25] < Duration::from_millis(50), "{times:?}");
    world.stop().await;
}
