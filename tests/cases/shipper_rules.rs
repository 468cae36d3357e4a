//! What the shipper makes of lines before they leave the server: rules, rates, containers' names, lines
//! over every bound.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use platform::clock::Clock;
use serde_json::json;
use tests::measure::peak_bytes;

use crate::shipper::{ALL, World, append, lines, text};

/// Requests for one path, of which one in ten is kept.
const REQUESTS: usize = 2_000;

#[test]
fn rules_drop_sample_redact_rename_add_and_remove() {
    let world = World::new();
    world.settings(
        "",
        r#"[[files]]
paths = ["LOGS/app"]
[[files.rules]]
when = [{ field = "level", below = "info" }]
drop = true
[[files.rules]]
when = [{ field = "path", is = "/health" }]
sample_one_in = 10
[[files.rules]]
redact = ["mail", "card"]
[[files.rules]]
remove = ["password"]
[[files.rules]]
rename = { usr = "user" }
[[files.rules]]
add = { team = "shop" }
"#,
    );
    let health: Vec<String> = (0..REQUESTS)
        .map(|n| format!(r#"{{"level":"info","path":"/health","n":{n},"message":"request"}}"#))
        .collect();
    append(&world.path("app"), text(&health));
    append(
        &world.path("app"),
        concat!(
            r#"{"level":"debug","message":"a detail"}"#,
            "\n",
            r#"{"level":"error","usr":"alice","password":"hunter2","message":"paid"#,
            r#" by alice@example.com with 4111 1111 1111 1111, order 4111 1111 1111 1112"}"#,
            "\n",
        ),
    );
    world.once();
    let paid = world.rows("paid").remove(0);
    assert_eq!(paid["fields"]["user"], "alice", "{paid}");
    assert_eq!((&paid["fields"]["team"], &paid["fields"]["usr"]), (&json!("shop"), &json!(null)));
    let message = paid["message"].as_str().unwrap();
    // The second number has no right check digit: it is no card.
    assert!(message.contains("order 4111 1111 1111 1112"), "{message}");
    let all: String = world.rows("").iter().map(ToString::to_string).collect();
    for secret in ["alice@example.com", "4111 1111 1111 1111", "hunter2", "a detail"] {
        assert!(!all.contains(secret), "{secret} left the server");
    }
    let kept = world.node.client.count_of("request");
    assert!((REQUESTS as u64 / 20..REQUESTS as u64 / 5).contains(&kept), "{kept} of {REQUESTS}");
    // Read again from the beginning, it is the same ones that are kept.
    let numbers = |world: &World| {
        let rows = world.rows("request");
        let mut numbers: Vec<i64> =
            rows.iter().map(|row| row["fields"]["n"].as_i64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    let (other, sources) = (World::new(), fs::read_to_string(world.settings_file()).unwrap());
    let sources = &sources[sources.find("[[files]]").unwrap()..];
    let sources = sources.replace(world.path("app").to_str().unwrap(), "LOGS/app");
    other.settings("", &sources);
    fs::copy(world.path("app"), other.path("app")).unwrap();
    other.once();
    assert_eq!(numbers(&world), numbers(&other));
}

/// Three batches at half a batch a second: nothing is dropped, and it takes its time.
#[test]
fn a_rate_makes_a_file_wait_and_drops_nothing() {
    let world = World::new();
    world.settings("", &format!("{ALL}bytes_per_second = 500000\n"));
    let pad = "x".repeat(180);
    let long: Vec<String> = lines("limited", 12_500).iter().map(|l| format!("{l} {pad}")).collect();
    append(&world.path("app"), text(&long));
    let clock = Clock::system();
    let start = clock.elapsed();
    world.once();
    let took = clock.elapsed() - start;
    world.node.client.expect_records(12_500);
    // Two pauses of two seconds each, less what the bucket held at first.
    assert!(took >= Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_container_has_the_name_that_docker_gave_it() {
    let world = World::new();
    world.settings("", "[[files]]\npaths = [\"LOGS/docker/containers/*/*-json.log\"]\n");
    let id = "0123456789abcdef".repeat(4);
    let folder = world.path("docker/containers").join(&id);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("config.v2.json"), r#"{"ID":"x","Name":"/shop-web-1"}"#).unwrap();
    let line =
        |log: &str| json!({ "log": log, "stream": "stderr", "time": "2026-11-23T10:00:00.5Z" });
    let log = folder.join(format!("{id}-json.log"));
    append(&log, format!("{}\n{}\n{}\n", line("in par"), line("ts\n"), line("whole\n")));
    let mut shipper = world.ship();
    world.expect(&["in parts", "whole"]);
    for row in world.rows("") {
        assert_eq!(row["labels"]["container"], "shop-web-1", "{row}");
        assert_eq!(row["labels"]["service"], "shop-web-1", "{row}");
        assert!(row["timestamp"].as_str().unwrap().starts_with("2026-11-23T10:00:00.5"), "{row}");
    }
    assert!(shipper.stop());
}

/// S08: a line of a hundred megabytes costs no memory, and its neighbours nothing.
#[test]
fn a_line_over_every_bound_leaves_its_neighbours_and_the_memory_alone() {
    const LINE_BYTES: usize = 100 << 20;
    const MORE_BYTES_MAX: u64 = 48 << 20;
    let world = World::new();
    world.settings("", ALL);
    append(&world.path("app"), "before\n");
    let mut shipper = world.ship();
    world.expect(&["before"]);
    let before = peak_bytes(&shipper);
    let mut file = fs::File::options().append(true).open(world.path("app")).unwrap();
    let piece = [b'x'; 1 << 20];
    for _ in 0..LINE_BYTES / piece.len() {
        file.write_all(&piece).unwrap();
    }
    file.write_all(b"\nafter\n").unwrap();
    world.node.client.expect_records(3);
    let more = peak_bytes(&shipper) - before;
    assert!(more < MORE_BYTES_MAX, "{more} bytes more");
    assert_eq!(world.node.client.count_of("after"), 1);
    assert_eq!(world.node.client.count_of(&format!("_kept:cut _bytes:{LINE_BYTES}")), 1);
    assert!(shipper.stop());
}
