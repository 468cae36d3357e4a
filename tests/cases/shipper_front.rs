//! What stands between shipper and node: passes everything, or fails in a chosen way.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use model::record::{POISON_FIELD, Record};

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
    /// Batches with a record of that message are refused, unless it is marked as poison.
    Poison(&'static str),
    /// Requests of more bytes are, in the words of a proxy.
    Large(usize),
    /// Batches with a record of that message are, in those words, however it is marked.
    Odd(&'static str),
}

/// A front of one node.
pub(crate) struct Front {
    pub(crate) url: String,
    fault: Arc<Mutex<Fault>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    begins: Arc<Mutex<Vec<String>>>,
}

impl Front {
    /// In front of the node at that URL.
    pub(crate) fn of(node: &str) -> Self {
        let node = node.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fault = Arc::new(Mutex::new(Fault::None));
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let begins: Arc<Mutex<Vec<String>>> = Arc::default();
        let (now, held, heard) = (fault.clone(), open.clone(), begins.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                held.lock().unwrap().push(client.try_clone().unwrap());
                let (fault, node, heard) = (*now.lock().unwrap(), node.clone(), heard.clone());
                // Who is on the other side goes away when it likes.
                thread::spawn(move || {
                    if fault == Fault::None {
                        let mut begin = [0; 3];
                        let read = client.peek(&mut begin).unwrap_or(0);
                        // Who says nothing asks for nothing: a client may have a connection to spare.
                        if read > 0 {
                            let begin = String::from_utf8_lossy(&begin[..read]).into_owned();
                            heard.lock().unwrap().push(begin);
                        }
                    }
                    serve(client, fault, &node).ok()
                });
            }
        });
        Self { url, fault, open, begins }
    }

    /// The first letters of each connection that reached the node.
    pub(crate) fn begins(&self) -> Vec<String> {
        self.begins.lock().unwrap().clone()
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
        Fault::Poison(_) | Fault::Large(_) | Fault::Odd(_) => {
            return choose(&mut client, fault, node);
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

/// Passes one request after the other, or refuses it for what it holds.
fn choose(client: &mut TcpStream, fault: Fault, node: &str) -> io::Result<()> {
    let mut upstream = TcpStream::connect(node)?;
    let mut requests = BufReader::new(client.try_clone()?);
    let mut answers = BufReader::new(upstream.try_clone()?);
    loop {
        let (head, body) = message(&mut requests)?;
        if let Some((status, says)) = refusal(&body, fault) {
            let length = says.len();
            write!(client, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{says}")?;
            continue;
        }
        upstream.write_all(&[head.as_bytes(), &body].concat())?;
        let (head, body) = message(&mut answers)?;
        client.write_all(&[head.as_bytes(), &body].concat())?;
    }
}

/// A request or an answer, of which the head states the length.
fn message(from: &mut impl BufRead) -> io::Result<(String, Vec<u8>)> {
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let start = head.len();
        if from.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(bytes) = head[start..].to_ascii_lowercase().strip_prefix("content-length:") {
            length = bytes.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok((head, body))
}

/// The status and the words with which a request is refused.
fn refusal(body: &[u8], fault: Fault) -> Option<(&'static str, &'static str)> {
    let page = "<html></html>";
    match fault {
        Fault::Poison(word) => {
            let says = r#"{"error":{"code":"invalid","message":"no such record here"}}"#;
            holds(body, word, false).then_some(("400 Bad Request", says))
        }
        Fault::Large(bytes_max) => {
            (body.len() > bytes_max).then_some(("413 Payload Too Large", page))
        }
        Fault::Odd(word) => holds(body, word, true).then_some(("400 Bad Request", page)),
        _ => None,
    }
}

/// Whether a batch has a record with that word, marked as poison or not.
fn holds(body: &[u8], word: &str, marked_too: bool) -> bool {
    let Ok((_, batch)) = model::codec::decode(body) else { return false };
    let marked = |record: &Record| record.fields.iter().any(|(name, _)| name == POISON_FIELD);
    (0..batch.record_count())
        .filter_map(|row| batch.record(row))
        .any(|record| record.message.contains(word) && (marked_too || !marked(&record)))
}

/// Until the other side, or [`Front::fail`], ends it.
fn hold(client: &TcpStream) -> io::Result<()> {
    let mut byte = [0];
    while client.peek(&mut byte)? > 0 {
        thread::park_timeout(std::time::Duration::from_millis(20));
    }
    Ok(())
}
