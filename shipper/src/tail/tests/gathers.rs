//! Batches by size and age: less than a whole one waits for more, for as long as is set.

use super::*;

/// Lines of so many bytes together, at least.
fn much(name: &str, bytes: usize) -> (String, Vec<String>) {
    lines(name, 0..bytes / format!("{name} line 000000\n").len() + 1)
}

fn stored(world: &World, name: &str) -> usize {
    let stored = world.receiver.stored();
    stored.iter().filter(|stored| stored.record.message.starts_with(name)).count()
}

#[tokio::test]
async fn a_whole_batch_goes_at_once_and_less_waits_until_its_file_is_deleted() {
    let mut world = World::new().await;
    let (text, large) = much("large", 3 << 19);
    world.append("large.log", &text);
    world.append("small.log", "small one\nsmall two\n");
    let mut config = world.config();
    config.batch_age = Duration::from_secs(3600);
    world.start_with(config);
    world.receiver.messages(large.len() / 2).await;
    waiting::known(&world, 2).await;
    let sent = stored(&world, "large");
    assert!(sent < large.len(), "the rest of the large one waits too: {sent}");
    assert_eq!(stored(&world, "small"), 0);
    fs::remove_file(world.path("small.log")).unwrap();
    fs::remove_file(world.path("large.log")).unwrap();
    world.receiver.messages(large.len() + 2).await;
    assert_eq!((stored(&world, "large"), stored(&world, "small")), (large.len(), 2));
    world.stop().await;
}

#[tokio::test]
async fn lines_of_one_age_are_one_batch() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    let mut config = world.config();
    config.batch_age = Duration::from_secs(3);
    world.start_with(config);
    waiting::known(&world, 1).await;
    for line in ["two\n", "three\n", "four\n"] {
        world.append("a.log", line);
    }
    world.expect(&["one", "two", "three", "four"]).await;
    assert_eq!(world.receiver.counts().0, 1);
    world.stop().await;
}

/// However slowly lines come, and though they never stop: no write puts off what was written before.
#[tokio::test]
async fn a_trickle_goes_by_its_age_while_it_goes_on() {
    const BATCHES: usize = 4;
    let mut world = World::new().await;
    let age = Duration::from_secs(1);
    let mut config = world.config();
    config.batch_age = age;
    world.start_with(config);
    let clock = Clock::system();
    let (start, mut written) = (clock.elapsed(), 0);
    while world.receiver.counts().0 < BATCHES {
        assert!(clock.elapsed() - start < age * 30, "{:?} requests", world.receiver.counts());
        world.append("a.log", &format!("line {written}\n"));
        written += 1;
        clock.sleep(age / 10).await;
    }
    // Each has what came meanwhile.
    let took = clock.elapsed() - start;
    assert!(took >= age * 3 && written > BATCHES, "{written} lines in {took:?}");
    world.receiver.messages(written).await;
    world.stop().await;
}

#[tokio::test]
async fn who_ends_with_the_files_waits_for_nothing() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    let mut config = world.config();
    (config.batch_age, config.until) = (Duration::from_secs(3600), Until::Done);
    world.start_with(config);
    let (handle, _shutdown) = world.running.take().unwrap();
    handle.join().await.unwrap();
    world.expect(&["one"]).await;
}
