//! What stands between shipper and node: passes everything, or fails in a chosen way.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// It reaches the node.
    None,
    /// It is ended at once.
    Reset,
    /// It is answered with this, whatever is asked.
    Answer(&'static str),
    /// Nothing is read and nothing said.
    Silence,
    /// The node takes the request, its answer goes nowhere.
    AnswerLost,
}

/// A front of one node.
pub(crate) struct Front {
    pub(crate) url: String,
    fault: Arc<Mutex<Fault>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Front {
    /// In front of the node at that URL.
    pub(crate) fn of(node: &str) -> Self {
        let node = node.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fault = Arc::new(Mutex::new(Fault::None));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (now, held) = (fault.clone(), open.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                held.lock().unwrap().push(client.try_clone().unwrap());
                let (fault, node) = (*now.lock().unwrap(), node.clone());
                // Who is on the other side goes away when it likes.
                thread::spawn(move || serve(client, fault, &node).ok());
            }
        });
        Self { url, fault, open }
    }

    /// From now on; connections that are open are ended.
    pub(crate) fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
        for stream in self.open.lock().unwrap().drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

fn serve(mut client: TcpStream, fault: Fault, node: &str) -> io::Result<()> {
    let mut buffer = [0; 1 << 16];
    match fault {
        Fault::Reset => return Ok(()),
        Fault::Silence => return hold(&client),
        Fault::Answer(head) => {
            if client.read(&mut buffer)? == 0 {
                return Ok(());
            }
            write!(client, "HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")?;
            client.shutdown(Shutdown::Write)?;
            while client.read(&mut buffer)? > 0 {}
            return Ok(());
        }
        Fault::None | Fault::AnswerLost => {}
    }
    let mut upstream = TcpStream::connect(node)?;
    let (mut from, mut to) = (client.try_clone()?, upstream.try_clone()?);
    thread::spawn(move || {
        io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Both).ok();
    });
    if fault == Fault::AnswerLost {
        // That it answers says that it has the request; what, nobody hears.
        let _heard = upstream.read(&mut buffer)?;
    } else {
        io::copy(&mut upstream, &mut client)?;
    }
    client.shutdown(Shutdown::Both)
}

/// Until the other side, or [`Front::fail`], ends it.
fn hold(client: &TcpStream) -> io::Result<()> {
    let mut byte = [0];
    while client.peek(&mut byte)? > 0 {
        thread::park_timeout(std::time::Duration::from_millis(20));
    }
    Ok(())
}
