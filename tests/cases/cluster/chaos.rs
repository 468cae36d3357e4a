//! Chaos for a short while: nodes come and go among the faults, with copies and with a store that all
//! share. `make chaos` does it for longer.

use std::time::Duration;

use tests::chaos::{Course, Fault, Scene, Settings};

/// The longest time a fault lasts.
const FAULT_MAX: Duration = Duration::from_millis(1_500);
/// The longest time without one.
const CALM_MAX: Duration = Duration::from_millis(300);

fn check(shared: bool, seed: u64, faults: &[Fault]) {
    let say = |line: &str| eprintln!("{line}");
    let settings =
        Settings { nodes: 3, seed, shared, fault_max: FAULT_MAX, calm_max: CALM_MAX, say };
    let mut scene = Scene::new(settings);
    let report = scene.run(&Course::Listed(faults.to_vec()));
    eprintln!("{report}");
    assert!(scene.fault_count() >= faults.len());
}

#[test]
fn with_copies_whatever_happens_every_line_is_found_once() {
    check(false, 1, &[Fault::Join, Fault::Pause, Fault::Leave, Fault::CutOff]);
}

#[test]
fn with_a_store_whatever_happens_every_line_is_found_once() {
    check(true, 2, &[Fault::StoreAway, Fault::Join, Fault::Remove, Fault::PowerLoss]);
}
