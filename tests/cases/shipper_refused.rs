//! Records that somebody between shipper and node never lets through: cut or left out, said, and in the way
//! of nobody; and all of them whole where it does let them through in the end.

use std::fmt::Write as _;

use tests::wait::eventually;
use xxhash_rust::xxh3::xxh3_64;

use crate::shipper::{ALL, World, append, lines, text};
use crate::shipper_front::{Fault, Front};

/// A line of so many bytes, at least, of which compression makes about half.
fn giant(name: &str, bytes: usize) -> String {
    let mut line = format!("{name} ");
    for number in 0.. {
        if line.len() >= bytes {
            break;
        }
        write!(line, "{:016x}", xxh3_64(format!("{name} {number}").as_bytes())).unwrap();
    }
    line
}

/// S25: batches are cut down to what a proxy takes at once, and so is the one line that is larger.
#[test]
fn a_line_too_large_for_a_proxy_is_cut_and_its_neighbours_are_whole() {
    let world = World::new();
    let front = Front::of(world.node.url());
    world.settings_to(&front.url, "cut_after_s = 1", ALL);
    front.fail(Fault::Large(4_000));
    let giant = giant("giant", 100_000);
    let (before, after) = (lines("before", 2_000), lines("after", 2_000));
    append(&world.path("app"), text(&before));
    append(&world.path("app"), format!("{giant}\n"));
    append(&world.path("app"), text(&after));
    append(&world.path("other"), "of another file\n");
    let mut shipper = world.ship();
    let row = eventually("as much of it as gets through", || world.rows("giant").pop());
    let kept = row["message"].as_str().unwrap().to_owned();
    assert!(giant.starts_with(&kept) && (4_000..8_000).contains(&kept.len()), "{row}");
    let said = row.to_string();
    for word in ["\"cut\"", &giant.len().to_string(), "413", "client_max_body_size"] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    let mut expected = [before, after].concat();
    expected.extend([kept, "of another file".to_owned()]);
    world.expect(&expected);
    assert!(shipper.words().contains("as much of it is sent as gets through"));
    assert!(shipper.stop());
}

/// While it is tried as it is, somebody may mend the proxy.
#[test]
fn a_line_too_large_for_a_proxy_waits_for_the_proxy_first() {
    let world = World::new();
    let front = Front::of(world.node.url());
    world.settings_to(&front.url, "cut_after_s = 3600", ALL);
    front.fail(Fault::Large(4_000));
    let giant = giant("giant", 100_000);
    append(&world.path("app"), format!("first\n{giant}\nlast\n"));
    let mut shipper = world.ship();
    eventually("its being refused to be said", || {
        world.status()?["last_error"].as_str()?.contains("cut_after_s").then_some(())
    });
    world.expect(&["first"]);
    front.fail(Fault::None);
    world.expect(&["first", &giant, "last"]);
    assert!(shipper.stop());
}

/// A line that is refused without any word of its size, while others get through.
#[test]
fn a_line_that_nobody_lets_through_is_left_out_and_said() {
    let world = World::new();
    let front = Front::of(world.node.url());
    world.settings_to(&front.url, "cut_after_s = 1", ALL);
    front.fail(Fault::Odd("evil"));
    let mut expected = lines("before", 50);
    expected.push("evil".to_owned());
    expected.extend(lines("after", 50));
    append(&world.path("app"), text(&expected));
    expected.retain(|line| line != "evil");
    let mut shipper = world.ship();
    let gap = eventually("it to be left out", || {
        // Others get through meanwhile.
        append(&world.path("other"), "more\n");
        expected.push("more".to_owned());
        world.rows("refused").pop()
    });
    let said = gap.to_string();
    assert!(said.contains("a line of 4 bytes is refused") && said.contains("400"), "{said}");
    assert_eq!(world.expect_beside_gaps(&expected).len(), 1);
    assert!(shipper.stop());
}

/// What refuses everything is no reason to leave out anything.
#[test]
fn a_proxy_that_refuses_all_costs_no_line() {
    let world = World::new();
    let front = Front::of(world.node.url());
    world.settings_to(&front.url, "cut_after_s = 0", ALL);
    front.fail(Fault::Answer("400 Bad Request"));
    let expected = lines("all", 50);
    append(&world.path("app"), text(&expected));
    let mut shipper = world.ship();
    eventually("its being refused to be said", || {
        world.status()?["last_error"].as_str()?.contains("400").then_some(())
    });
    front.fail(Fault::Large(0));
    eventually("that all is refused to be said", || {
        shipper.words().contains("all is refused").then_some(())
    });
    front.fail(Fault::None);
    world.expect(&expected);
    assert!(shipper.stop());
}
