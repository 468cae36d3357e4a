//! `make chaos`: three to five nodes under load of clients and of a shipper, while they are killed,
//! paused, cut off, wiped, damaged, slowed down, stopped, added, drained and removed; at the end
//! every line is counted at every node. MINUTES (5), SEED (1), NODES (3), STORE (`copies`, or
//! `shared`).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "it stops at the first thing that is wrong, and its report is its purpose"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use tests::chance::setting;
use tests::chaos::{Course, Scene, Settings};

/// The longest time a fault lasts.
const FAULT_MAX: Duration = Duration::from_secs(9);
/// The longest time without a fault.
const CALM_MAX: Duration = Duration::from_secs(2);

fn main() {
    let (minutes, seed, nodes) = (setting("MINUTES", 5), setting("SEED", 1), setting("NODES", 3));
    assert!((3..=5).contains(&nodes), "NODES is 3, 4 or 5");
    let store = std::env::var("STORE").unwrap_or_else(|_| "copies".to_owned());
    assert!(["copies", "shared"].contains(&store.as_str()), "STORE is copies or shared");
    let again = format!("make chaos MINUTES={minutes} SEED={seed} NODES={nodes} STORE={store}");
    println!("chaos, again: {again}");
    let mut scene = Scene::new(Settings {
        nodes: usize::try_from(nodes).unwrap(),
        seed,
        shared: store == "shared",
        fault_max: FAULT_MAX,
        calm_max: CALM_MAX,
        say: |line| println!("{line}"),
    });
    let course = Course::Drawn(Duration::from_secs(minutes * 60));
    match catch_unwind(AssertUnwindSafe(|| scene.run(&course))) {
        Ok(report) => println!("{report}"),
        Err(_) => {
            println!("failed after {} faults: {again}", scene.fault_count());
            println!("states and words of the nodes are kept: {}", scene.keep().display());
            drop(scene);
            std::process::exit(1);
        }
    }
}
