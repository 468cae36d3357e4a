//! What shipping costs: CPU seconds a gigabyte, peak memory and start-up of the real binary,
//! beside `zstd -1` and rsyslog on the same file; and what it costs to have little to do. The
//! budget: 4 CPU-s/GB on lines of text, 30 MB; 0.5 % of a core and 40 MB for 10,000 idle files.
//!
//! `make bench-shipper`; `BENCH_MB=500` sets the size, `BENCH_FILE` takes a file instead,
//! `BENCH_PARTS="ship start idle hot backlog"` says which parts, `BENCH_OTHER=program` has another build
//! of the shipper measured in turn with this one, `BENCH_ROUNDS=3` how often.
#![expect(clippy::print_stdout, reason = "a bench tells its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench makes its own files and reads its clock")]

mod corpus;
mod idle;
mod process;
mod sink;

use std::io::Read as _;
use std::net::TcpListener as Listener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use corpus::corpus;
use process::{Shipper, cpu_s, peak_mb, system_s};
use sink::Sink;

fn main() {
    let parts =
        std::env::var("BENCH_PARTS").unwrap_or_else(|_| "ship start idle hot backlog".to_owned());
    for part in parts.split([' ', ',']).filter(|part| !part.is_empty()) {
        match part {
            "ship" => ship_all(),
            "start" => idle::start(),
            "idle" => idle::idle(10_000, 0),
            "hot" => idle::idle(50_000, 10),
            "backlog" => idle::backlog(),
            other => println!("no part is called {other}"),
        }
    }
}

fn ship_all() {
    let folder = tempfile::tempdir().expect("a folder for the corpus");
    for kind in ["text", "json"] {
        let file = match std::env::var_os("BENCH_FILE") {
            Some(file) => PathBuf::from(file),
            None => corpus(folder.path(), kind).expect("a corpus"),
        };
        let bytes = std::fs::metadata(&file).expect("the corpus").len();
        println!("{kind}: {:.1} MB", mega(bytes));
        let rounds = std::env::var("BENCH_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
        for _ in 0..rounds {
            ship_once(&file, bytes);
        }
        report("rsyslog, TCP and zlib", bytes, rsyslog(&file, bytes));
    }
}

/// All that a figure is compared with is measured right before it or after.
fn ship_once(file: &Path, bytes: u64) {
    let mut zstd = Command::new("zstd");
    zstd.args(["-1", "-q", "-c"]).arg(file).stdout(Stdio::null());
    report("zstd -1", bytes, reference(&mut zstd));
    let ours = Path::new(env!("CARGO_BIN_EXE_sawlog-shipper"));
    report("sawlog-shipper", bytes, Some(ship(ours, file, bytes)));
    if let Some(other) = std::env::var_os("BENCH_OTHER") {
        report("the other shipper", bytes, Some(ship(Path::new(&other), file, bytes)));
    }
}

/// Who sends nothing that long has sent everything it wants to.
const STALLED: Duration = Duration::from_secs(3);

/// And who takes longer than that is measured no further.
const TIME_MAX: Duration = Duration::from_secs(60);

/// What a process took.
struct Taken {
    cpu_s: f64,
    /// The system's part of it.
    system_s: f64,
    peak_mb: f64,
    wall_s: f64,
    first_s: f64,
}

fn report(name: &str, bytes: u64, taken: Option<Taken>) {
    let Some(taken) = taken else {
        println!("  {name:24} not on this machine");
        return;
    };
    println!(
        "  {name:24} {:5.2} CPU-s/GB ({:4.2} of the system)  {:6.1} MB peak  {:6.1} MB/s  first byte out after {:3.0} ms",
        taken.cpu_s / (mega(bytes) / 1000.0),
        taken.system_s / (mega(bytes) / 1000.0),
        taken.peak_mb,
        mega(bytes) / taken.wall_s,
        taken.first_s * 1000.0
    );
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn reference(command: &mut Command) -> Option<Taken> {
    let before = (cpu_s("self", true), system_s("self", true));
    let start = Instant::now();
    command.status().ok().filter(std::process::ExitStatus::success)?;
    let cpu_s = cpu_s("self", true) - before.0;
    let system_s = system_s("self", true) - before.1;
    let wall_s = start.elapsed().as_secs_f64();
    Some(Taken { cpu_s, system_s, peak_mb: 0.0, wall_s, first_s: 0.0 })
}

/// Waits until so much has come, and tells what the process took for it.
fn watch(pid: &str, wanted: u64, came: impl Fn() -> u64) -> Taken {
    let (start, mut first_s) = (Instant::now(), 0.0);
    let (mut last, mut last_at) = (0, start);
    while came() < wanted {
        let now = came();
        if now > 0 && first_s == 0.0 {
            first_s = start.elapsed().as_secs_f64();
        }
        if now > last {
            (last, last_at) = (now, Instant::now());
        }
        if last_at.elapsed() > STALLED || start.elapsed() > TIME_MAX {
            // rsyslog keeps the end of a zlib stream back.
            println!("  (the next one stopped at {:.1} MB)", mega(last));
            break;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let wall_s = last_at.max(start).duration_since(start).as_secs_f64();
    let (cpu_s, system_s) = (cpu_s(pid, false), system_s(pid, false));
    Taken { cpu_s, system_s, peak_mb: peak_mb(pid), wall_s, first_s }
}

fn ship(program: &Path, file: &Path, bytes: u64) -> Taken {
    let (sink, state) = (Sink::start(), tempfile::tempdir().expect("a state directory"));
    let shipper = Shipper::of(program, &sink.url, state.path(), file);
    watch(&shipper.pid(), bytes, || sink.came.bytes.load(Ordering::Acquire))
}

/// Debian's rsyslog: imfile to a TCP sink with zlib streaming.
fn rsyslog(file: &Path, bytes: u64) -> Option<Taken> {
    let listener = Listener::bind("127.0.0.1:0").ok()?;
    let port = listener.local_addr().ok()?.port();
    let state = tempfile::tempdir().ok()?;
    let config = format!(
        "global(workDirectory=\"{state}\" maxMessageSize=\"64k\")\n\
         module(load=\"imfile\")\n\
         template(name=\"line\" type=\"string\" string=\"%msg%\\n\")\n\
         input(type=\"imfile\" file=\"{file}\" tag=\"t\")\n\
         action(type=\"omfwd\" target=\"127.0.0.1\" port=\"{port}\" protocol=\"tcp\" \
         template=\"line\" compression.mode=\"stream:always\" compression.stream.flushOnTXEnd=\"off\" \
         ziplevel=\"1\")\n",
        state = state.path().display(),
        file = file.display()
    );
    let path = state.path().join("rsyslog.conf");
    std::fs::write(&path, config).ok()?;
    let child = Command::new("rsyslogd")
        .args(["-n", "-i", "NONE", "-f"])
        .arg(&path)
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let came = Arc::new(AtomicU64::new(0));
    let counted = came.clone();
    std::thread::spawn(move || {
        let Ok((stream, _)) = listener.accept() else { return };
        let mut plain = flate2::read::ZlibDecoder::new(stream);
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read) = plain.read(&mut buffer)
            && read > 0
        {
            counted.fetch_add(read as u64, Ordering::AcqRel);
        }
    });
    // Its messages may begin with a space; what it holds back at the end is a little.
    let child = Shipper(child);
    Some(watch(&child.pid(), bytes - bytes / 100, || came.load(Ordering::Acquire)))
}
