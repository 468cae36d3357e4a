//! The wires between the nodes of a cluster: each node is told to be reached through one of ours,
//! which knows by the sockets of the processes who calls, and lets bytes of one direction wait for
//! as long as that direction is cut. Needs no rights on the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Bytes that are carried at a time.
const PIECE_BYTES: usize = 64 << 10;

/// All wires of a cluster. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Links(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    processes: BTreeMap<usize, u32>,
    cuts: BTreeSet<(usize, usize)>,
}

impl Links {
    /// Carries what comes to `listen` to node `to`, which listens at `upstream`. Until the
    /// process ends.
    ///
    /// # Panics
    /// Somebody listens there.
    pub fn serve(&self, to: usize, listen: &str, upstream: &str) {
        let listener = TcpListener::bind(listen).unwrap();
        let (links, upstream) = (self.clone(), upstream.to_owned());
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let Ok(called) = TcpStream::connect(&upstream) else { continue };
                let from = links.who(&caller);
                links.carry(caller, called, from, to);
            }
        });
    }

    /// Says which process a node is now.
    pub fn runs(&self, at: usize, process: u32) {
        self.change(|state| {
            state.processes.insert(at, process);
        });
    }

    /// Nothing that `from` says reaches `to` from now on.
    pub fn cut(&self, from: usize, to: usize) {
        self.change(|state| {
            state.cuts.insert((from, to));
        });
    }

    /// Everything reaches everybody again, also what waited.
    pub fn mend(&self) {
        self.change(|state| state.cuts.clear());
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.changed.notify_all();
    }

    /// Which node called.
    fn who(&self, caller: &TcpStream) -> Option<usize> {
        let port = caller.peer_addr().ok()?.port();
        let socket = socket_of(port)?;
        let processes = {
            let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.processes.clone()
        };
        let has = |process: &u32| has_socket(*process, &socket);
        processes.into_iter().find(|(_, process)| has(process)).map(|(at, _)| at)
    }

    fn carry(&self, caller: TcpStream, called: TcpStream, from: Option<usize>, to: usize) {
        for socket in [&caller, &called] {
            socket.set_nodelay(true).ok();
        }
        let (Ok(caller_too), Ok(called_too)) = (caller.try_clone(), called.try_clone()) else {
            return;
        };
        let (there, back) = (self.clone(), self.clone());
        std::thread::spawn(move || there.pump(caller, called, from, Some(to)));
        std::thread::spawn(move || back.pump(called_too, caller_too, Some(to), from));
    }

    /// Carries bytes one way until either side ends.
    fn pump(
        &self,
        mut source: TcpStream,
        mut sink: TcpStream,
        from: Option<usize>,
        to: Option<usize>,
    ) {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(count) = source.read(&mut piece) {
            self.passable(from, to);
            if count == 0 || sink.write_all(&piece[..count]).is_err() {
                break;
            }
        }
        // Both ways end together, as they do when a process dies.
        source.shutdown(Shutdown::Both).ok();
        sink.shutdown(Shutdown::Both).ok();
    }

    /// Waits until nothing is cut between them.
    fn passable(&self, from: Option<usize>, to: Option<usize>) {
        let (Some(from), Some(to)) = (from, to) else { return };
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.cuts.contains(&(from, to)) {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The number of the socket at this local port that has a process.
fn socket_of(port: u16) -> Option<String> {
    let local = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let row = table.lines().map(fields).find(|row| row.get(1) == Some(&local))?;
    row.get(9).cloned()
}

fn has_socket(process: u32, socket: &str) -> bool {
    let wanted = format!("socket:[{socket}]");
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    files
        .filter_map(|file| std::fs::read_link(file.path()).ok())
        .any(|target| target.to_str() == Some(&wanted))
}
