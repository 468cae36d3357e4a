//! Load whose every record is known: senders that number what they send and send it again, to any
//! node, until it is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use model::batch::{BatchBuilder, Sequence};
use model::codec;
use model::level::Level;
use model::record::{FieldValue, Record};
use model::stream::{IndexName, Labels};
use model::time::Timestamp;
use platform::clock::Clock;
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::wait::{eventually, pace, within};

/// Records of a request.
const REQUEST_RECORDS: u64 = 10;
/// How long a request may take before it is sent to another node.
const REQUEST_WAIT: Duration = Duration::from_secs(5);
/// Between two requests of a sender, so that a test leaves the processors to the nodes.
const PAUSE: Duration = Duration::from_millis(15);
/// Before a refused request is sent again.
const AGAIN_PAUSE: Duration = Duration::from_millis(25);
/// After about so many requests an acknowledged one is sent once more.
const REPEAT_ONE_OF: u64 = 10;
/// When the records of the shippers happened, nanoseconds.
const BATCH_TIME_NS: i64 = 1_795_000_000_000_000_000;
/// How long the last requests may take, when all is well again.
const LAST_WAIT: Duration = Duration::from_secs(120);

/// Senders at work.
#[derive(Debug)]
pub struct Load {
    tag: String,
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<Sent>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    repeats: AtomicU64,
    again: AtomicU64,
    refused: AtomicU64,
    unanswered: AtomicU64,
    /// By the place of their addresses, nodes that nothing is sent to.
    avoided: Vec<AtomicBool>,
}

#[derive(Debug)]
struct Sent {
    sender: usize,
    records: u64,
    gaps: Vec<Gap>,
}

/// The time between two acknowledgements of a sender, by the process's clock.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// When it began.
    pub from: Duration,
    /// When it ended.
    pub to: Duration,
}

impl Gap {
    /// How long it was, seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.to.saturating_sub(self.from).as_secs_f64()
    }
}

/// What was acknowledged.
#[derive(Debug, Clone)]
pub struct Tally {
    /// The word in every record.
    pub tag: String,
    /// Records of each sender, numbered from 0.
    pub records: Vec<u64>,
    /// The times between acknowledgements, of all senders.
    pub gaps: Vec<Gap>,
    /// Acknowledgements that said that it was a repeat: the first answer had been lost.
    pub repeats: u64,
    /// Requests that were sent again after their acknowledgement; each was recognised.
    pub again: u64,
    /// Answers that were refusals.
    pub refused: u64,
    /// Requests without an answer, but for those at nodes that were avoided meanwhile.
    pub unanswered: u64,
}

impl Load {
    /// So many senders, each with a stream of its own, over these addresses.
    ///
    /// # Panics
    /// A thread does not start.
    #[must_use]
    pub fn start(addresses: &[String], tag: &str, senders: usize) -> Self {
        Self::begin(addresses, tag, senders, |address| Client::hurried(address, REQUEST_WAIT))
    }

    /// [`Self::start`] where every request without an answer is somebody's fault: it may take so long,
    /// and has a connection of its own.
    ///
    /// # Panics
    /// A thread does not start.
    #[must_use]
    pub fn patient(addresses: &[String], tag: &str, senders: usize, wait: Duration) -> Self {
        Self::begin(addresses, tag, senders, move |address| Client::fresh(address, wait))
    }

    fn begin(
        addresses: &[String],
        tag: &str,
        senders: usize,
        connect: impl Fn(&str) -> Client + Copy + Send + 'static,
    ) -> Self {
        let avoided = addresses.iter().map(|_| AtomicBool::new(false)).collect();
        let shared = Arc::new(Shared { avoided, ..Shared::default() });
        let begin = |sender| {
            let (tag, addresses, shared) = (tag.to_owned(), addresses.to_vec(), shared.clone());
            std::thread::spawn(move || {
                let clients: Vec<Client> =
                    addresses.iter().map(|address| connect(address)).collect();
                send_all(&tag, sender, &clients, &shared)
            })
        };
        let senders = (0..senders).map(begin).collect();
        Self { tag: tag.to_owned(), shared, senders }
    }

    /// Sends nothing more to the node whose address has this place; what is on its way goes on.
    pub fn avoid(&self, place: usize) {
        self.shared.avoided[place].store(true, Ordering::SeqCst);
    }

    /// Sends to that node again.
    pub fn use_again(&self, place: usize) {
        self.shared.avoided[place].store(false, Ordering::SeqCst);
    }

    /// Whether nothing is sent to that node.
    #[must_use]
    pub fn avoids(&self, place: usize) -> bool {
        self.shared.avoids(place)
    }

    /// Records acknowledged so far.
    #[must_use]
    pub fn so_far(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more records are acknowledged.
    ///
    /// # Panics
    /// They are not.
    #[track_caller]
    pub fn more(&self, records: u64) {
        let until = self.so_far() + records;
        eventually("more acknowledgements", || (self.so_far() >= until).then_some(()));
    }

    /// Lets every sender finish its last request, which must be acknowledged.
    ///
    /// # Panics
    /// A sender does not finish.
    #[track_caller]
    #[must_use]
    pub fn end(self) -> Tally {
        self.shared.stop.store(true, Ordering::SeqCst);
        within(LAST_WAIT, "the last acknowledgements", || {
            self.senders.iter().all(JoinHandle::is_finished).then_some(())
        });
        let mut records = vec![0; self.senders.len()];
        let mut gaps = Vec::new();
        for sent in self.senders {
            let sent = sent.join().unwrap();
            records[sent.sender] = sent.records;
            gaps.extend(sent.gaps);
        }
        let read = |number: &AtomicU64| number.load(Ordering::SeqCst);
        Tally {
            tag: self.tag,
            records,
            gaps,
            repeats: read(&self.shared.repeats),
            again: read(&self.shared.again),
            refused: read(&self.shared.refused),
            unanswered: read(&self.shared.unanswered),
        }
    }
}

impl Shared {
    fn avoids(&self, place: usize) -> bool {
        self.avoided[place].load(Ordering::SeqCst)
    }

    /// The place of a node to send to; any, when all are avoided.
    fn draw(&self, chance: &mut Chance) -> usize {
        let all = 0..self.avoided.len();
        let used: Vec<usize> = all.clone().filter(|place| !self.avoids(*place)).collect();
        let places = if used.is_empty() { all.collect() } else { used };
        *chance.one_of(&places)
    }
}

fn send_all(tag: &str, sender: usize, clients: &[Client], shared: &Shared) -> Sent {
    let (clock, mut chance) = (Clock::system(), Chance::new(sender as u64));
    let (mut records, mut gaps, mut last) = (0, Vec::new(), clock.elapsed());
    let mut older: Option<Request> = None;
    while !shared.stop.load(Ordering::SeqCst) {
        let request = Request::new(tag, sender, records);
        let taken = request.insist(clients, &mut chance, shared);
        shared.repeats.fetch_add(u64::from(taken["duplicate"] == true), Ordering::SeqCst);
        records += REQUEST_RECORDS;
        shared.acknowledged.fetch_add(REQUEST_RECORDS, Ordering::SeqCst);
        let now = clock.elapsed();
        gaps.push(Gap { from: last, to: now });
        last = now;
        if chance.below(REPEAT_ONE_OF) == 0 {
            // One of a while ago comes once more, mostly to another node and often to another leader.
            if let Some(older) = older.replace(request) {
                let again = older.insist(clients, &mut chance, shared);
                assert_eq!(again["duplicate"], true, "taken twice: {again}");
                shared.again.fetch_add(1, Ordering::SeqCst);
                last = clock.elapsed();
            }
        }
        pace(PAUSE);
    }
    Sent { sender, records, gaps }
}

/// What a sender sends until it is acknowledged.
struct Request {
    path: String,
    header: (&'static str, String),
    body: Vec<u8>,
}

impl Request {
    /// Every second sender is a shipper that numbers its records, the others are clients with keys.
    fn new(tag: &str, sender: usize, first: u64) -> Self {
        let numbers = first..first + REQUEST_RECORDS;
        if sender.is_multiple_of(2) {
            let header = ("content-type", "application/x-sawlog-batch".to_owned());
            let body = batch(tag, sender, numbers);
            return Self { path: "/api/v1/batches".to_owned(), header, body };
        }
        let line = |n: u64| {
            let message = message(tag, sender, n);
            json!({ "msg": message, "sender": sender, "number": n }).to_string()
        };
        let body = numbers.map(line).collect::<Vec<_>>().join("\n").into_bytes();
        let header = ("idempotency-key", format!("{tag}-{sender}-{first}"));
        Self { path: format!("/api/v1/ingest?service={tag}{sender}"), header, body }
    }

    fn insist(&self, clients: &[Client], chance: &mut Chance, shared: &Shared) -> Value {
        let headers = [(self.header.0, self.header.1.as_str())];
        loop {
            let place = shared.draw(chance);
            match clients[place].send("POST", &self.path, &headers, self.body.clone()) {
                Some(answer) if answer.status == 200 => return answer.json(),
                Some(answer) => {
                    // Refused for good it will never be taken: that is a fault of ours.
                    let passes = [408, 409, 429, 500, 502, 503, 504].contains(&answer.status);
                    assert!(passes, "{}: {}", answer.status, answer.body);
                    // Nobody else sends as this sender, and what it sends next is what is expected next.
                    let is_stale = answer.status == 409 && answer.body.contains("\"next\"");
                    assert!(!is_stale, "who leads no more answered: {}", answer.body);
                    shared.refused.fetch_add(1, Ordering::SeqCst);
                }
                None if shared.avoids(place) => {}
                None => {
                    shared.unanswered.fetch_add(1, Ordering::SeqCst);
                }
            }
            pace(AGAIN_PAUSE);
        }
    }
}

fn message(tag: &str, sender: usize, number: u64) -> String {
    format!("{tag} s{sender} n{number}")
}

/// A batch of our own format, as a shipper makes it: its producer is the sender, its sequence are
/// the numbers of its records.
fn batch(tag: &str, sender: usize, numbers: std::ops::Range<u64>) -> Vec<u8> {
    let labels = Labels::new(vec![("service".to_owned(), format!("{tag}{sender}"))]).unwrap();
    let mut builder = BatchBuilder::new(IndexName::default(), labels);
    let (from, to) = (numbers.start, numbers.end);
    let int = |n: u64| FieldValue::Int(i64::try_from(n).unwrap());
    for number in numbers {
        let fields =
            vec![("sender".to_owned(), int(sender as u64)), ("number".to_owned(), int(number))];
        let message = message(tag, sender, number);
        let record = Record { timestamp: None, level: Level::Info, message, fields };
        builder.push(record, Timestamp(BATCH_TIME_NS));
    }
    let tag = tag.bytes().fold(0_u64, |sum, byte| (sum << 5) ^ u64::from(byte));
    let producer = (tag << 8) + sender as u64;
    codec::encode(&builder.finish(), Sequence { producer, epoch: 0, from, to }).unwrap().to_vec()
}

impl Tally {
    /// The longest time without an acknowledgement that overlaps this one, seconds.
    #[must_use]
    pub fn longest_gap_s(&self, from: Duration, to: Duration) -> f64 {
        let within = self.gaps.iter().filter(|gap| gap.to > from && gap.from < to);
        within.map(Gap::seconds).fold(0.0, f64::max)
    }

    /// How many records were acknowledged.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.records.iter().sum()
    }

    /// What a node finds: records, those that are found again beside, and those of each sender
    /// that are missing. `None` when its answer is not complete.
    #[must_use]
    pub fn found(&self, cluster: &Cluster, number: usize) -> Option<Found> {
        let query = format!(
            "{} | stats count() as n, count_distinct(number) as d, max(number) as m by sender",
            self.tag
        );
        let rows = cluster.table(number, &query)?;
        let mut found = Found::default();
        for (sender, expected) in self.records.iter().enumerate() {
            let row = rows.iter().find(|row| row["sender"] == sender);
            let figure = |name: &str| row.and_then(|row: &Value| row[name].as_u64()).unwrap_or(0);
            let (count, distinct) = (figure("n"), figure("d"));
            // Numbers begin at 0: as many different ones below the end are all of them.
            assert!(*expected == 0 || figure("m") < *expected, "one nobody sent: {row:?}");
            found.records += count;
            found.twice += count - distinct;
            found.missing += expected.saturating_sub(distinct);
        }
        Some(found)
    }
}

/// What a node finds of what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Found {
    /// Records.
    pub records: u64,
    /// Those that are there once more than they should.
    pub twice: u64,
    /// Those that are not there.
    pub missing: u64,
}
