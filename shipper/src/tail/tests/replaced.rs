//! Files whose content is replaced while we know little of it, or while nobody looks.

use super::*;

/// Truncated, grown again, and killed before the checkpoint that tells what was sent: what the
/// queue has of the old content says nothing of the new one, however alike they begin.
#[tokio::test]
async fn after_a_crash_a_short_beginning_does_not_pass_for_the_whole() {
    let mut world = World::new().await;
    world.append("a.log", "log 1\n");
    world.start();
    world.expect(&["log 1"]).await;
    world.append("a.log", "log 2\n");
    world.expect(&["log 1", "log 2"]).await;
    // What a crash leaves on the disk now.
    let journal = world.state().join("journal/0000000000");
    let left = fs::read(&journal).unwrap();
    world.stop().await;
    fs::remove_file(world.state().join("checkpoints.json")).unwrap();
    fs::write(journal, left).unwrap();
    fs::write(world.path("a.log"), "log 1\nlog 3, longer than before\n").unwrap();
    world.once().await;
    let gap = unseen(&world, "what was read last of {} is not there any more");
    world.expect(&["log 1", "log 1", "log 2", "log 3, longer than before", &gap]).await;
}

/// As logrotate's `copytruncate` with `compress`: the rest stands in the packed copy alone.
#[tokio::test]
async fn the_rest_of_a_truncated_file_is_read_from_its_packed_copy() {
    let mut world = refused().await;
    fs::write(world.path("a.log.1.gz"), gzip(b"one\ntwo\nthree\n")).unwrap();
    fs::write(world.path("a.log"), "four\n").unwrap();
    world.receiver.down(None);
    world.expect(&["one", "two", "three", "four"]).await;
    world.stop().await;
}

/// A program that does not append goes on at its old place after `copytruncate`: zeros are before it.
#[tokio::test]
async fn a_file_that_begins_with_a_hole_is_read_also_after_a_start() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    fs::copy(world.path("a.log"), world.path("a.log.1")).unwrap();
    let hole = [0; 5000];
    fs::write(world.path("a.log"), [hole.as_slice(), b"two\n"].concat()).unwrap();
    world.append("new.log", &("\0".repeat(100) + "three\n"));
    world.once().await;
    world.expect(&["one", "two", "three"]).await;
}

/// Packed and removed before its turn, its inode given to another file at once.
#[tokio::test]
async fn a_packed_file_whose_inode_is_used_again_is_read_to_its_end() {
    use crate::checkpoint::{Checkpoint, Store};
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    world.append("a.log", "two\n");
    let packed = gzip(&fs::read(world.path("a.log")).unwrap());
    fs::write(world.path("a.log.1.gz"), packed).unwrap();
    fs::remove_file(world.path("a.log")).unwrap();
    world.append("b.log", "other one\nother two\n");
    let id = Seen::surely_at(&world.path("b.log"), true).unwrap().id;
    let (store, recovered) = Store::open(&world.state()).unwrap();
    let with_id = |known: Checkpoint| Checkpoint { id, ..known };
    let moved: Vec<Checkpoint> = recovered.checkpoints.into_iter().map(with_id).collect();
    store.save(&moved).unwrap();
    drop(store);
    world.once().await;
    world.expect(&["one", "two", "other one", "other two"]).await;
}

/// Nothing is known of a file of which nothing but a few letters of a line can be seen.
#[tokio::test]
async fn a_few_letters_are_no_content_to_be_known_by() {
    let mut world = World::new().await;
    world.append("a.log", "app");
    world.append("b.log", "whole\n");
    world.start();
    world.expect(&["whole"]).await;
    world.stop().await;
    let saved = fs::read_to_string(world.state().join("checkpoints.json")).unwrap();
    assert!(saved.contains("/b.log") && !saved.contains("/a.log"), "{saved}");
    world.append("a.log", " line\n");
    world.once().await;
    world.expect(&["whole", "app line"]).await;
}

/// A device has another number after a restart of the machine, or a share mounted again.
#[tokio::test]
async fn a_device_of_another_number_is_the_same_file() {
    use crate::checkpoint::Store;
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.once().await;
    let (store, recovered) = Store::open(&world.state()).unwrap();
    let mut known = recovered.checkpoints;
    for checkpoint in &mut known {
        checkpoint.id.device += 1;
    }
    store.save(&known).unwrap();
    drop(store);
    world.append("a.log", "two\n");
    world.once().await;
    world.expect(&["one", "two"]).await;
}
