//! Real processes: started on free loopback ports, killed when dropped, their words shown on failure.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::client::Client;
use crate::wait::eventually;

/// A program that was built beside the tests.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.ancestors().find(|folder| folder.join(name).is_file());
    folder.unwrap_or_else(|| panic!("{name} is not built: run `make build` first")).join(name)
}

/// An address nobody listens on. Ports from below the range the system draws from, so that no
/// outgoing connection takes one meanwhile; a process's tests take them in turn.
///
/// # Panics
/// None is left.
#[must_use]
pub fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = u16::try_from(std::process::id() % 110).unwrap() * 100 + 20_000;
    (0..1_000)
        .map(|_| format!("127.0.0.1:{}", base + NEXT.fetch_add(1, Ordering::SeqCst) % 1_000))
        .find(|address| std::net::TcpListener::bind(address).is_ok())
        .expect("a port is free")
}

/// A process of ours.
#[derive(Debug)]
pub struct Process {
    child: Child,
    words: PathBuf,
    name: String,
}

impl Process {
    /// Starts it; what it says on stderr goes to the file `words`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(name: &str, args: &[&str], words: &Path) -> Self {
        Self::start_through(&[], name, args, words)
    }

    /// [`Self::start`] by a command that becomes it, such as `env` or `unshare`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start_through(through: &[String], name: &str, args: &[&str], words: &Path) -> Self {
        let file = File::options().create(true).append(true).open(words).unwrap();
        let mut command = match through.split_first() {
            None => command(name, args),
            Some((first, rest)) => {
                let mut command = prepared(Command::new(first));
                command.args(rest).arg(program(name)).args(args);
                command
            }
        };
        let child = command.stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Self { child, words: words.to_owned(), name: name.to_owned() }
    }

    /// Starts a command that was put together elsewhere, as [`Process::start`] does.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn of(mut command: Command, words: &Path) -> Self {
        let file = File::options().create(true).append(true).open(words).unwrap();
        let name = command.get_program().to_string_lossy().into_owned();
        command.env("TZ", "UTC").stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Self { child: command.spawn().unwrap(), words: words.to_owned(), name }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power failure would: SIGKILL.
    ///
    /// # Panics
    /// It cannot be waited for.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it as a service manager would: SIGTERM, and waits. True when it said it went well.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop(&mut self) -> bool {
        self.signal(rustix::process::Signal::TERM);
        eventually("the process to end", || self.child.try_wait().unwrap()).success()
    }

    /// Holds it up: SIGSTOP.
    ///
    /// # Panics
    /// The system refuses.
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// The system refuses.
    pub fn resume(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    /// Tells it to read its settings again: SIGHUP.
    ///
    /// # Panics
    /// The system refuses.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Whether it has ended by itself, and how.
    ///
    /// # Panics
    /// The system does not tell.
    pub fn ended(&mut self) -> Option<bool> {
        self.child.try_wait().unwrap().map(|status| status.success())
    }

    /// What it said so far.
    #[must_use]
    pub fn words(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.words).unwrap_or_default()).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() && self.child.kill().is_ok() {
            self.child.wait().ok();
        }
        if std::thread::panicking() {
            let words = self.words();
            let tail: Vec<&str> = words.lines().rev().take(40).collect();
            eprintln!("--- last words of {} ({ended:?}):", self.name);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

fn command(name: &str, args: &[&str]) -> Command {
    let mut command = prepared(Command::new(program(name)));
    command.args(args);
    command
}

fn prepared(mut command: Command) -> Command {
    command.env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// Runs a program to its end.
///
/// # Panics
/// It does not start.
#[must_use]
pub fn run(name: &str, args: &[&str]) -> Output {
    command(name, args).output().unwrap()
}

/// Runs a program that must refuse: fails, exit code not that of a crash, and says these things.
///
/// # Panics
/// It succeeds, is killed by a signal, panics, or says something else.
#[track_caller]
pub fn refuses(name: &str, args: &[&str], says: &[&str]) {
    let output = run(name, args);
    let words = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(matches!(code, Some(1 | 2)), "exit code {code:?} of {args:?}: {words}");
    assert!(!words.contains("panicked"), "{words}");
    for expected in says {
        assert!(words.contains(expected), "{expected:?} is missing in: {words}");
    }
}

/// A node with a data folder that outlives it.
#[derive(Debug)]
pub struct Node {
    /// The process.
    pub process: Process,
    /// To ask it.
    pub client: Client,
}

/// Settings that cut splits early and merge them soon, so that every test meets both.
pub const TINY: &str = "[index]\nfresh_rows_max = 1500\nfresh_age_max_s = 1\nmerge_fan_in = 3\n";
/// Settings under which no split is cut.
pub const FRESH: &str = "[index]\nfresh_age_max_s = 86400\n";

impl Node {
    /// Starts `sawlog COMMAND` on `address` over `folder` with settings and more arguments; does
    /// not wait until it is ready.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn begin(
        command: &str,
        folder: &Path,
        address: &str,
        settings: &str,
        more: &[&str],
    ) -> Self {
        Self::begin_through(&[], command, folder, address, settings, more)
    }

    /// [`Self::begin`] by a command that becomes the node.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn begin_through(
        through: &[String],
        command: &str,
        folder: &Path,
        address: &str,
        settings: &str,
        more: &[&str],
    ) -> Self {
        let config = folder.join("node.toml");
        std::fs::write(&config, settings).unwrap();
        let data = folder.join("data");
        let paths = [config.to_str().unwrap(), data.to_str().unwrap()];
        let mut args =
            vec![command, "--config", paths[0], "--data-dir", paths[1], "--listen", address];
        args.extend(more);
        let process = Process::start_through(through, "sawlog", &args, &folder.join("node.words"));
        Self { process, client: Client::new(address) }
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// It ends instead.
    #[must_use]
    pub fn start(command: &str, folder: &Path, settings: &str, more: &[&str]) -> Self {
        let mut node = Self::begin(command, folder, &free_address(), settings, more);
        node.ready();
        node
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    /// It ends instead.
    pub fn ready(&mut self) {
        eventually("the node to be ready", || {
            assert!(self.process.ended().is_none(), "the node ended: {}", self.process.words());
            self.client.status_of("/readyz").filter(|status| *status == 200)
        });
    }

    /// Its address as a URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.client.url
    }
}
