//! Files that wait for their turn while nothing gets through, and what rotation does to them.

use std::collections::BTreeSet;

use super::*;

/// The generations that a restart would know.
fn generations(world: &World) -> usize {
    let mut texts = vec![world.state().join("checkpoints.json")];
    let journals = fs::read_dir(world.state().join("journal")).into_iter().flatten().flatten();
    texts.extend(journals.map(|journal| journal.path()));
    let texts = texts.into_iter().filter_map(|path| fs::read_to_string(path).ok());
    let texts: String = texts.collect();
    let producers = texts.split("\"producer\":").skip(1);
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    producers.map(digits).collect::<BTreeSet<String>>().len()
}

pub(super) async fn known(world: &World, count: usize) {
    let clock = Clock::system();
    let all = async {
        while generations(world) < count {
            clock.sleep(Duration::from_millis(20)).await;
        }
    };
    clock.timeout(Duration::from_secs(20), all).await.expect("the files to be known");
}

/// Three generations under one name, while the node refuses everything; the old ones go where
/// `rotate` puts them. All lines there are.
async fn outage(world: &mut World, rotate: impl Fn(&World, usize)) -> Vec<String> {
    let (text, mut all) = lines("first", 0..1);
    world.append("a.log", &text);
    world.start();
    world.expect(&["first line 000000"]).await;
    world.receiver.down(Some(Fault::Status(503)));
    for turn in 1..=3 {
        let (text, lines) = lines(&format!("turn {turn}"), 0..200);
        world.append("a.log", &text);
        all.extend(lines);
        known(world, turn).await;
        rotate(world, turn);
        world.append("a.log", "");
    }
    let (text, last) = lines("last", 0..3);
    world.append("a.log", &text);
    all.extend(last);
    known(world, 4).await;
    all
}

async fn expect_all(world: &World, all: &[String]) {
    world.expect(&all.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

fn moved(world: &World, turn: usize) {
    fs::rename(world.path("a.log"), world.path(&format!("a.log.{turn}"))).unwrap();
}

fn packed(world: &World, turn: usize) {
    moved(world, turn);
    let old = world.path(&format!("a.log.{turn}"));
    fs::write(world.path(&format!("a.log.{turn}.gz")), gzip(&fs::read(&old).unwrap())).unwrap();
    fs::remove_file(old).unwrap();
}

#[tokio::test]
async fn what_is_renamed_in_an_outage_is_found_after_a_restart() {
    let mut world = World::new().await;
    let all = outage(&mut world, moved).await;
    world.stop().await;
    world.receiver.down(None);
    world.start();
    expect_all(&world, &all).await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_packed_in_an_outage_is_read() {
    let mut world = World::new().await;
    let all = outage(&mut world, packed).await;
    world.receiver.down(None);
    expect_all(&world, &all).await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_packed_in_an_outage_is_read_after_a_restart() {
    let mut world = World::new().await;
    let all = outage(&mut world, packed).await;
    world.stop().await;
    world.receiver.down(None);
    world.start();
    expect_all(&world, &all).await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_gone_after_a_restart_is_told_once() {
    let mut world = World::new().await;
    world.append("a.log", "one\n");
    world.append("b.log", "one of another\n");
    world.start();
    world.expect(&["one", "one of another"]).await;
    world.receiver.down(Some(Fault::Status(503)));
    world.append("a.log", "two\n");
    world.append("b.log", "two of another\n");
    let seen = world.receiver.counts().0;
    world.receiver.requests(seen + 2).await;
    world.stop().await;
    fs::remove_file(world.path("a.log")).unwrap();
    OpenOptions::new().write(true).open(world.path("b.log")).unwrap().set_len(0).unwrap();
    world.receiver.down(None);
    let gap = |name: &str, from: u64, to: u64, unseen: &str| {
        let path = world.path(name);
        format!(
            "gap: bytes {from} to {to} of {} were gone before they were read{unseen}; up to {to} they \
             had been sent and may be stored",
            path.display()
        )
    };
    let unseen = ", and another file is: more of it, and whole files, may have come and gone while \
                  nobody shipped";
    let (a, b) = (gap("a.log", 4, 8, ""), gap("b.log", 15, 30, unseen));
    let expected = ["one", "one of another", a.as_str(), b.as_str()];
    world.once().await;
    world.expect(&expected).await;
    let told = world.receiver.counts().0;
    world.once().await;
    assert_eq!(world.receiver.counts().0, told);
}
