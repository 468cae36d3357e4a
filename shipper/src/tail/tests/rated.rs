//! Sources with a rate.

use super::*;
use crate::files::Files;

/// Who is written to all the time waits as long as who rests.
#[tokio::test]
async fn what_is_written_to_a_file_meanwhile_does_not_end_its_pause() {
    let mut world = World::new().await;
    let mut config = world.config();
    let slow = world.path("slow.log").to_string_lossy().into_owned();
    let slow = Files { paths: vec![slow], bytes_per_second: Some(1), ..Files::default() };
    config.files = vec![slow];
    let (text, expected) = lines("slow", 0..100);
    world.append("slow.log", &text);
    world.start_with(config);
    assert_eq!(world.receiver.messages(100).await, expected);
    // What comes is heard of in order: when the other file's line is there, this one was woken.
    for round in 0..3 {
        world.append("slow.log", "not yet\n");
        world.append("quick.log", &format!("quick {round}\n"));
        world.receiver.messages(101 + round).await;
    }
    let stored = world.receiver.stored();
    assert!(stored.iter().all(|stored| stored.record.message != "not yet"));
    world.stop().await;
}
