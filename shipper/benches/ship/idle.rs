//! What a shipper costs that has little to do: many files nobody writes to, a few that are written
//! to among them, a long backlog with a dead target, and starting.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::process::{Shipper, cpu_s, held_mb, open_files, peak_mb};
use crate::sink::{Sink, WRITTEN, now_ns};

/// How long an idle shipper is looked at: two walks of all folders are in it.
const LOOK: Duration = Duration::from_secs(60);
/// What is done at the start has settled after that.
const SETTLE: Duration = Duration::from_secs(10);
/// Bytes of the backlog, nearly all of them a hole.
const BACKLOG_BYTES: u64 = 20_000_000_000;

fn wait(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::thread::park_timeout(time.saturating_sub(start.elapsed()));
    }
}

fn say(name: &str, pid: &str, cpu_before: f64, looked: Duration) {
    println!(
        "  {name:34} {:5.2} % of a core  {:5.1} MB held  {:5.1} MB peak  {:4} open files",
        (cpu_s(pid, false) - cpu_before) / looked.as_secs_f64() * 100.0,
        held_mb(pid),
        peak_mb(pid),
        open_files(pid)
    );
}

fn make(folder: &Path, count: usize) {
    for number in 0..count {
        let path = folder.join(format!("app{number:05}.log"));
        std::fs::write(path, format!("2026-11-23T10:00:00Z INFO line of {number}\n"))
            .expect("a file");
    }
}

/// So many files nobody writes to, and a few that get a line a second.
pub(crate) fn idle(count: usize, hot: usize) {
    let (folder, state) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
    let (state, sink) = (state.expect("a folder"), Sink::start());
    make(folder.path(), count + hot);
    let start = Instant::now();
    let shipper = Shipper::start(&sink.url, state.path(), &folder.path().join("*.log"));
    let all = (count + hot) as u64;
    while sink.came.records.load(Ordering::Acquire) < all {
        assert!(start.elapsed() < Duration::from_secs(300), "not all came");
        wait(Duration::from_millis(50));
    }
    println!("  {count} files were shipped after {:.1} s", start.elapsed().as_secs_f64());
    wait(SETTLE);
    let (pid, before, start) = (shipper.pid(), cpu_s(&shipper.pid(), false), Instant::now());
    if hot == 0 {
        wait(LOOK);
        return say(&format!("{count} idle files"), &pid, before, start.elapsed());
    }
    let mut files: Vec<File> = (0..hot)
        .map(|number| {
            let path = folder.path().join(format!("app{number:05}.log"));
            File::options().append(true).open(path).expect("a file")
        })
        .collect();
    let pace = Duration::from_secs(1) / u32::try_from(hot).expect("a few");
    while start.elapsed() < LOOK {
        for file in &mut files {
            writeln!(file, "{WRITTEN}{}", now_ns()).expect("a line");
            wait(pace);
        }
    }
    say(&format!("{count} idle, {hot} hot files"), &pid, before, start.elapsed());
    let mut delays = sink.came.delays_ms.lock().expect("nobody panics").clone();
    delays.sort_by(f64::total_cmp);
    let at = |share: usize| delays.get(delays.len() * share / 100).copied().unwrap_or(f64::NAN);
    println!(
        "  line written → acknowledged: p50 {:.1} ms, p99 {:.1} ms, of {}",
        at(50),
        at(99),
        delays.len()
    );
}

/// A backlog that nobody takes.
pub(crate) fn backlog() {
    let (folder, state) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
    let state = state.expect("a folder");
    for number in 0..4 {
        let path = folder.path().join(format!("app{number}.log"));
        let mut file = File::create(&path).expect("a file");
        let line = "2026-11-23T10:00:00Z INFO a line that nobody takes\n";
        file.write_all(line.repeat(200_000).as_bytes()).expect("lines");
        file.set_len(BACKLOG_BYTES / 4).expect("a hole");
    }
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    let shipper = Shipper::start(&nobody, state.path(), &folder.path().join("*.log"));
    wait(SETTLE);
    let (pid, before, start) = (shipper.pid(), cpu_s(&shipper.pid(), false), Instant::now());
    let held = held_mb(&pid);
    wait(LOOK);
    say("20 GB behind, target dead", &pid, before, start.elapsed());
    println!("  {held:.1} MB were held at the beginning");
}

/// From its being started to its first batch.
pub(crate) fn start() {
    let binary = Path::new(env!("CARGO_BIN_EXE_sawlog-shipper"));
    let bytes = std::fs::metadata(binary).map_or(0, |metadata| metadata.len());
    let mut times: Vec<f64> = (0..11)
        .map(|_| {
            let (folder, state) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir());
            let (state, sink) = (state.expect("a folder"), Sink::start());
            make(folder.path(), 1);
            let start = Instant::now();
            let _shipper = Shipper::start(&sink.url, state.path(), &folder.path().join("*.log"));
            while sink.came.records.load(Ordering::Acquire) == 0 {
                assert!(start.elapsed() < Duration::from_secs(30), "nothing came");
                std::thread::park_timeout(Duration::from_micros(200));
            }
            start.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
    println!(
        "start: first line acknowledged after {median:.0} ms (median of {}); binary {:.2} MB",
        times.len(),
        crate::mega(bytes)
    );
}
