//! Deleted files that nobody takes: held for a while, and not longer.

use super::*;

/// Whether this process has that file of the world open.
pub(super) fn is_open(world: &World, name: &str) -> bool {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let mut links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    links.any(|link| link.starts_with(world.folder.path()) && link.to_string_lossy().contains(name))
}

pub(super) async fn until(what: impl Fn() -> bool) {
    let clock = Clock::system();
    let wait = async {
        while !what() {
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    clock.timeout(Duration::from_secs(30), wait).await.expect("it to be so");
}

#[tokio::test]
async fn a_deleted_file_that_nobody_takes_is_let_go_and_said() {
    let mut world = World::new().await;
    let mut config = world.config();
    config.deleted_hold = Duration::from_secs(1);
    world.append("a.log", "one\n");
    world.append("kept.log", "kept\n");
    world.start_with(config);
    world.expect(&["one", "kept"]).await;
    world.receiver.down(Some(Fault::Status(503)));
    world.append("a.log", "two\n");
    world.append("kept.log", "kept too\n");
    let seen = world.receiver.counts().0;
    world.receiver.requests(seen + 2).await;
    world.append("a.log", "three\n");
    assert!(is_open(&world, "a.log") && is_open(&world, "kept"));
    // One is moved out of sight: its bytes are on the disk all the same, and it is not let go.
    fs::rename(world.path("kept.log"), world.folder.path().join("kept.old")).unwrap();
    fs::remove_file(world.path("a.log")).unwrap();
    until(|| !is_open(&world, "a.log")).await;
    assert!(is_open(&world, "kept"));
    world.receiver.down(None);
    let messages = world.receiver.messages(4).await;
    assert_eq!(messages.len(), 4, "{messages:?}");
    let gap = messages.iter().find(|text| text.starts_with("gap: bytes 4 to 14 of ")).unwrap();
    assert!(gap.contains("had been deleted for 1 seconds"), "{gap}");
    assert!(gap.contains("up to 8 they had been sent and may be stored"), "{gap}");
    assert!(messages.contains(&"kept too".to_owned()), "{messages:?}");
    world.stop().await;
    // Nothing more is said of it.
    world.once().await;
    world.receiver.messages(4).await;
    assert_eq!(world.receiver.stored().len(), 4);
}

#[tokio::test]
async fn a_file_that_was_compressed_before_it_was_deleted_is_lost_by_nobody() {
    let mut world = World::new().await;
    let mut config = world.config();
    config.deleted_hold = Duration::from_millis(200);
    world.append("a.log", "one\n");
    world.start_with(config);
    world.expect(&["one"]).await;
    world.receiver.down(Some(Fault::Status(503)));
    world.append("a.log", "two\n");
    let seen = world.receiver.counts().0;
    world.receiver.requests(seen + 1).await;
    fs::write(world.path("a.log.1.gz"), gzip(b"one\ntwo\n")).unwrap();
    fs::remove_file(world.path("a.log")).unwrap();
    until(|| world.running.as_ref().unwrap().0.status().files == 0).await;
    world.receiver.down(None);
    world.expect(&["one", "two"]).await;
    world.stop().await;
}

#[tokio::test]
async fn files_that_wait_for_a_turn_are_open_before_it_and_may_be_deleted() {
    let mut world = World::new().await;
    let names: Vec<String> = (0..2 * TURNS_MAX).map(|n| format!("{n:02}.log")).collect();
    let write = |world: &World, word: &str| {
        names.iter().for_each(|name| world.append(name, &format!("{name} {word}\n")));
    };
    write(&world, "one");
    world.once().await;
    write(&world, "two");
    world.receiver.down(Some(Fault::Status(503)));
    world.start();
    until(|| names.iter().all(|name| is_open(&world, name))).await;
    for name in &names {
        fs::remove_file(world.path(name)).unwrap();
    }
    world.receiver.down(None);
    let both = |name: &String| [format!("{name} one"), format!("{name} two")];
    let expected: Vec<String> = names.iter().flat_map(both).collect();
    assert_eq!(world.receiver.messages(expected.len()).await, expected);
    world.stop().await;
}
