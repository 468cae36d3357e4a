//! What a process takes, as the system counts it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Clock ticks a second, as Linux has always told them to programs.
const TICKS: f64 = 100.0;

/// User and system seconds, of a process or (with `children`) of those waited for.
pub(crate) fn cpu_s(pid: &str, children: bool) -> f64 {
    let [user, system] = times_s(pid, children);
    user + system
}

/// The system's part of them.
pub(crate) fn system_s(pid: &str, children: bool) -> f64 {
    let [_, system] = times_s(pid, children);
    system
}

fn times_s(pid: &str, children: bool) -> [f64; 2] {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    let at = if children { 13 } else { 11 };
    [at, at + 1].map(|at| fields.get(at).map_or(0.0, |ticks| ticks / TICKS))
}

pub(crate) fn peak_mb(pid: &str) -> f64 {
    memory_mb(pid, "VmHWM:")
}

/// Megabytes in memory just now.
pub(crate) fn held_mb(pid: &str) -> f64 {
    memory_mb(pid, "VmRSS:")
}

fn memory_mb(pid: &str, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0 / 1e6
}

/// Files it holds open.
pub(crate) fn open_files(pid: &str) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// The real shipper; ends with this.
pub(crate) struct Shipper(pub(crate) Child);

impl Shipper {
    pub(crate) fn start(to: &str, state: &Path, pattern: &Path) -> Self {
        Self::of(Path::new(env!("CARGO_BIN_EXE_sawlog-shipper")), to, state, pattern)
    }

    /// Another build of it.
    pub(crate) fn of(program: &Path, to: &str, state: &Path, pattern: &Path) -> Self {
        let child = Command::new(program)
            .args(["--to", to, "--state-dir"])
            .arg(state)
            .arg("--path")
            .arg(pattern)
            .stderr(Stdio::null())
            .spawn()
            .expect("the shipper starts");
        Self(child)
    }

    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Shipper {
    fn drop(&mut self) {
        self.0.kill().and_then(|()| self.0.wait()).expect("it can be stopped");
    }
}
