//! What shipping costs: CPU seconds a gigabyte, peak memory and start-up of the real binary,
//! beside `zstd -1` and rsyslog on the same file. The budget: 4 CPU-s/GB on lines of text, 30 MB.
//!
//! `make bench-shipper`; `BENCH_MB=500` sets the size, `BENCH_FILE` takes a file instead.
#![expect(clippy::print_stdout, reason = "a bench tells its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench makes its own files and reads its clock")]

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::net::TcpListener as Listener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use model::codec;
use model::wire::{BATCHES_PATH, BatchAnswer};

/// Clock ticks a second, as Linux has always told them to programs.
const TICKS: f64 = 100.0;

fn main() {
    let folder = tempfile::tempdir().expect("a folder for the corpus");
    for kind in ["text", "json"] {
        let file = match std::env::var_os("BENCH_FILE") {
            Some(file) => PathBuf::from(file),
            None => corpus(folder.path(), kind).expect("a corpus"),
        };
        let bytes = std::fs::metadata(&file).expect("the corpus").len();
        println!("{kind}: {:.1} MB", mega(bytes));
        let mut zstd = Command::new("zstd");
        zstd.args(["-1", "-q", "-c"]).arg(&file).stdout(Stdio::null());
        report("zstd -1", bytes, reference(&mut zstd));
        report("sawlog-shipper", bytes, Some(ship(&file, bytes, &[])));
        report("rsyslog, TCP and zlib", bytes, rsyslog(&file, bytes));
    }
}

/// Who sends nothing that long has sent everything it wants to.
const STALLED: Duration = Duration::from_secs(3);

/// And who takes longer than that is measured no further.
const TIME_MAX: Duration = Duration::from_secs(60);

/// What a process took.
struct Taken {
    cpu_s: f64,
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
        "  {name:24} {:5.2} CPU-s/GB  {:6.1} MB peak  {:6.1} MB/s  first byte out after {:3.0} ms",
        taken.cpu_s / (mega(bytes) / 1000.0),
        taken.peak_mb,
        mega(bytes) / taken.wall_s,
        taken.first_s * 1000.0
    );
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The lines of the repository's small logs, over and over with their digits drawn anew.
fn corpus(folder: &Path, kind: &str) -> io::Result<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures");
    let names: &[&str] = match kind {
        "json" => &["json_shop.log"],
        _ => &["Linux_small.log", "Hadoop_small.log", "access_small.log", "Apache_small.log"],
    };
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for name in names {
        let text = std::fs::read(fixtures.join(name))?;
        lines.extend(text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec));
    }
    let megabytes: u64 = std::env::var("BENCH_MB").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    let path = folder.join(format!("{kind}.log"));
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
    let (mut written, mut chance) = (0, 0x9E37_79B9_7F4A_7C15_u64);
    while written < megabytes * 1_000_000 {
        for line in &mut lines {
            // Times stay as they are; numbers behind them change in every third digit.
            for (at, byte) in line.iter_mut().enumerate().skip(30) {
                if byte.is_ascii_digit() && at % 3 == 0 {
                    chance ^= chance << 13;
                    chance ^= chance >> 7;
                    chance ^= chance << 17;
                    *byte = b'0' + u8::try_from(chance % 10).unwrap_or_default();
                }
            }
            out.write_all(line)?;
            out.write_all(b"\n")?;
            written += line.len() as u64 + 1;
        }
    }
    out.flush()?;
    Ok(path)
}

/// User and system seconds, of a process or (with `children`) of those waited for.
fn cpu_s(pid: &str, children: bool) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<f64> = stat
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .map(|field| field.parse().unwrap_or(0.0))
        .collect();
    let at = if children { 13 } else { 11 };
    fields.get(at..at + 2).map_or(0.0, |ticks| ticks.iter().sum::<f64>() / TICKS)
}

fn peak_mb(pid: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) * 1024.0 / 1e6
}

fn reference(command: &mut Command) -> Option<Taken> {
    let (before, start) = (cpu_s("self", true), Instant::now());
    command.status().ok().filter(std::process::ExitStatus::success)?;
    let cpu_s = cpu_s("self", true) - before;
    Some(Taken { cpu_s, peak_mb: 0.0, wall_s: start.elapsed().as_secs_f64(), first_s: 0.0 })
}

/// Waits until so much has come, and tells what the process took for it.
fn watch(mut child: Child, wanted: u64, came: &AtomicU64) -> Taken {
    let (pid, start, mut first_s) = (child.id().to_string(), Instant::now(), 0.0);
    let (mut last, mut last_at) = (0, start);
    while came.load(Ordering::Acquire) < wanted {
        let now = came.load(Ordering::Acquire);
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
        assert!(child.try_wait().is_ok_and(|ended| ended.is_none()), "it ended early");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let wall_s = last_at.max(start).duration_since(start).as_secs_f64();
    let taken = Taken { cpu_s: cpu_s(&pid, false), peak_mb: peak_mb(&pid), wall_s, first_s };
    child.kill().and_then(|()| child.wait()).expect("it can be stopped");
    taken
}

fn ship(file: &Path, bytes: u64, more: &[&str]) -> Taken {
    let came = Arc::new(AtomicU64::new(0));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new()
        .route(BATCHES_PATH, post(take))
        .layer(DefaultBodyLimit::disable())
        .with_state(came.clone());
    runtime.spawn(async move { axum::serve(listener, router).await });
    let state = tempfile::tempdir().expect("a state directory");
    let child = Command::new(env!("CARGO_BIN_EXE_sawlog-shipper"))
        .args(["--to", &url, "--state-dir"])
        .arg(state.path())
        .arg("--path")
        .arg(file)
        .args(more)
        .stderr(Stdio::null())
        .spawn()
        .expect("the shipper starts");
    watch(child, bytes, &came)
}

async fn take(State(came): State<Arc<AtomicU64>>, body: Bytes) -> axum::Json<BatchAnswer> {
    let head = codec::head(&body).expect("a whole batch");
    let next = head.sequence.to;
    came.fetch_max(next, Ordering::AcqRel);
    let accepted = u64::from(head.record_count);
    axum::Json(BatchAnswer { accepted, duplicate: false, next })
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
    Some(watch(child, bytes - bytes / 100, &came))
}
