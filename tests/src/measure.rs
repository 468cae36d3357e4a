//! Figures of processes and files: CPU by thread, peak memory, bytes on disk, quantiles.

use std::collections::BTreeMap;
use std::path::Path;

use crate::process::Process;

/// Clock ticks of /proc in a second: the same on every Linux we build for.
const TICKS: f64 = 100.0;

/// Megabytes.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a figure to be read")]
pub fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// User and system seconds of a process so far, its ended threads included.
///
/// # Panics
/// It is not running.
#[must_use]
pub fn cpu_s(process: &Process) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap();
    let numbers: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    (numbers[11].parse::<f64>().unwrap() + numbers[12].parse::<f64>().unwrap()) / TICKS
}

/// CPU seconds of a process's living threads, to the nanosecond, by their names without numbers.
///
/// # Panics
/// It is not running.
#[must_use]
pub fn cpu_s_by_thread(process: &Process) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{}/task", process.id())).unwrap() {
        let task = task.unwrap().path();
        let read = |name: &str| std::fs::read_to_string(task.join(name)).unwrap_or_default();
        let name = read("comm").trim().trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let spent = read("schedstat");
        let spent = spent.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0);
        *all.entry(name.trim_end_matches('-').to_owned()).or_default() += spent / 1e9;
    }
    all
}

/// CPU seconds of a process's living threads, to the nanosecond.
#[must_use]
pub fn cpu_s_now(process: &Process) -> f64 {
    cpu_s_by_thread(process).values().sum()
}

/// Peak resident memory, bytes.
///
/// # Panics
/// It is not running.
#[must_use]
pub fn peak_bytes(process: &Process) -> u64 {
    status_bytes(process, "VmHWM")
}

/// Resident memory now, bytes.
///
/// # Panics
/// It is not running.
#[must_use]
pub fn resident_bytes(process: &Process) -> u64 {
    status_bytes(process, "VmRSS")
}

fn status_bytes(process: &Process, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// Bytes of the files below a folder.
#[must_use]
pub fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |path: std::path::PathBuf| {
        if path.is_dir() { folder_bytes(&path) } else { path.metadata().map_or(0, |m| m.len()) }
    };
    entries.map(|entry| bytes(entry.path())).sum()
}

/// A share's place in a sorted list that is not empty.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place in a short list"
)]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
