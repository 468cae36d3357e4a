//! The loop of one source: messages wait by partition, one store at a time for each, and a
//! partition whose messages are not taken is paused.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use model::time::Timestamp;
use platform::shutdown::Shutdown;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError as Fault;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{Offset, TopicPartitionList};
use tokio::task::{AbortHandle, JoinSet};

use super::listener::Listener;
use super::message::Message;
use super::run::{Lane, Name, Position, Waiting};
use super::store::{Outcome, Storing};
use super::{KafkaError, KafkaSource, Start};
use crate::doors::IngestState;
use crate::doors::stream::READ_BYTES;

/// Bytes of one partition that wait; then it is paused.
const PARTITION_BYTES_MAX: usize = 4 << 20;
/// Bytes of all partitions that wait or are being stored; then each that brings more is paused.
const SOURCE_BYTES_MAX: usize = 64 << 20;
/// KiB that the library reads ahead for each partition.
const AHEAD_KIB: &str = "1024";
/// Bytes of one partition in one answer of a broker.
const FETCH_BYTES: &str = "1048576";
/// How long the library may take to go back in a partition.
const SEEK_TIME_MAX: Duration = Duration::from_secs(10);
/// Nanoseconds of a millisecond.
const MILLISECOND: i64 = 1_000_000;
/// Wait after an error.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Reads topics, until the wish to stop.
pub struct Kafka {
    source: KafkaSource,
    state: IngestState,
    consumer: StreamConsumer<Listener>,
}

/// A partition that is read.
struct Run {
    /// Which reading of it.
    number: u64,
    lane: Arc<Lane>,
    position: Position,
    waiting: Waiting,
    /// The store under way, and how many bytes it holds.
    store: Option<(AbortHandle, usize)>,
    is_paused: bool,
}

impl Drop for Run {
    fn drop(&mut self) {
        // Whether it was stored is found out by the next who reads the partition.
        if let Some((store, _)) = &self.store {
            store.abort();
        }
    }
}

/// A store that ended, and how.
struct Done {
    name: Name,
    /// Of which reading.
    number: u64,
    position: Position,
    outcome: Outcome,
}

impl Kafka {
    /// Joins the group. Brokers need not be there yet.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub(in crate::doors) fn open(
        state: IngestState,
        source: KafkaSource,
    ) -> Result<Self, KafkaError> {
        source.check()?;
        let failed = |error| KafkaError::Client { name: source.name.clone(), source: error };
        let listener =
            Listener::new(source.name.clone(), state.0.clock.clone(), state.0.metrics.clone());
        let consumer: StreamConsumer<Listener> =
            settings(&source).create_with_context(listener).map_err(failed)?;
        let topics: Vec<&str> = source.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(failed)?;
        Ok(Self { source, state, consumer })
    }

    /// Reads until the wish to stop; then what is being stored is awaited and the group is left.
    pub async fn serve(self, shutdown: Shutdown) {
        let Self { source, state, consumer } = self;
        let storing = Storing { state, consumer: Arc::new(consumer), shutdown };
        let mut reading = Reading {
            source,
            storing,
            runs: HashMap::new(),
            count: 0,
            stores: JoinSet::new(),
            bytes: 0,
        };
        reading.read().await;
        // Leaving the group tells the broker what is stored; it waits for answers.
        let left = tokio::task::spawn_blocking(move || drop(reading)).await;
        if left.is_err() {
            tracing::error!("the consumer group was not left in order");
        }
    }
}

fn settings(source: &KafkaSource) -> ClientConfig {
    let mut settings = ClientConfig::new();
    let ours = [
        ("client.id", source.name.as_str()),
        ("queued.max.messages.kbytes", AHEAD_KIB),
        ("max.partition.fetch.bytes", FETCH_BYTES),
        // Topics that are made later are found within it.
        ("topic.metadata.refresh.interval.ms", "30000"),
        ("partition.assignment.strategy", "cooperative-sticky"),
    ];
    for (name, value) in ours {
        settings.set(name, value);
    }
    for (name, value) in &source.properties {
        settings.set(name, value);
    }
    let start = match source.start {
        Start::Earliest => "earliest",
        Start::Latest => "latest",
    };
    settings
        .set("bootstrap.servers", source.brokers.join(","))
        .set("group.id", &source.name)
        .set("auto.offset.reset", start)
        // What is durable is told to the broker, and nothing else.
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", "1000")
        .set("enable.auto.offset.store", "false")
        .set("statistics.interval.ms", "5000");
    if let Some(password) = &source.password {
        settings.set("sasl.password", password);
    }
    settings
}

/// The state of the loop.
struct Reading {
    source: KafkaSource,
    storing: Storing,
    runs: HashMap<Name, Run>,
    /// Readings begun so far.
    count: u64,
    stores: JoinSet<Done>,
    /// That wait or are being stored.
    bytes: usize,
}

impl Reading {
    async fn read(&mut self) {
        let shutdown = self.storing.shutdown.clone();
        loop {
            let consumer = self.storing.consumer.clone();
            tokio::select! {
                message = consumer.recv() => self.hear(message).await,
                Some(done) = self.stores.join_next(), if !self.stores.is_empty() => {
                    if let Ok(done) = done {
                        self.settle(done).await;
                    }
                }
                () = shutdown.wait() => break,
            }
        }
        while let Some(done) = self.stores.join_next().await {
            if let Ok(done) = done {
                self.note(&done);
            }
        }
    }

    /// Takes a message, and those that are there already.
    async fn hear(&mut self, first: Result<BorrowedMessage<'_>, Fault>) {
        let consumer = self.storing.consumer.clone();
        let mut message = Some(first);
        let mut read = 0;
        while let Some(one) = message.take() {
            self.forget();
            match one {
                Ok(one) => read += self.push(&one),
                Err(error) => {
                    consumer.context().failed(&error);
                    self.storing.state.0.clock.sleep(ERROR_PAUSE).await;
                }
            }
            if read < READ_BYTES {
                message = consumer.recv().now_or_never();
            }
        }
        self.forget();
        let names: Vec<Name> = self.runs.keys().cloned().collect();
        names.iter().for_each(|name| self.start(name));
    }

    /// Drops what is known of partitions that changed hands: reading them begins anew.
    fn forget(&mut self) {
        for name in self.storing.consumer.context().changed() {
            if let Some(run) = self.runs.remove(&name) {
                self.bytes -= run.waiting.bytes() + run.store.as_ref().map_or(0, |store| store.1);
            }
        }
    }

    /// Lets a message wait, and gives its bytes.
    fn push(&mut self, message: &BorrowedMessage<'_>) -> usize {
        let name = (message.topic().to_owned(), message.partition());
        if !self.runs.contains_key(&name) {
            let lane = match self.source.labels_of(&name.0, name.1) {
                Ok(labels) => {
                    Lane::new(&self.source.name, &name, self.source.index.clone(), labels)
                }
                Err(error) => {
                    self.storing.consumer.context().failed(&error);
                    return 0;
                }
            };
            self.count += 1;
            let run = Run {
                number: self.count,
                lane: Arc::new(lane),
                position: Position::default(),
                waiting: Waiting::default(),
                store: None,
                is_paused: false,
            };
            self.runs.insert(name.clone(), run);
        }
        let Some(run) = self.runs.get_mut(&name) else { return 0 };
        let before = run.waiting.bytes();
        run.waiting.push(taken(message));
        self.bytes = self.bytes - before + run.waiting.bytes();
        let is_full = run.waiting.bytes() >= PARTITION_BYTES_MAX || self.bytes >= SOURCE_BYTES_MAX;
        if is_full && !run.is_paused {
            run.is_paused = true;
            if let Err(error) = self.storing.consumer.pause(&one(&name, None)) {
                self.storing.consumer.context().failed(&error);
            }
        }
        run.waiting.bytes().saturating_sub(before)
    }

    /// Stores what waits of a partition, unless that is being done.
    fn start(&mut self, name: &Name) {
        let Some(run) = self.runs.get_mut(name) else { return };
        if run.store.is_some() || run.waiting.bytes() == 0 {
            return;
        }
        let (waiting, name, lane) = (run.waiting.take(), name.clone(), run.lane.clone());
        let (storing, position, bytes) = (self.storing.clone(), run.position, waiting.bytes());
        let number = run.number;
        let store = self.stores.spawn(async move {
            let (position, outcome) = storing.store(&lane, position, waiting).await;
            Done { name, number, position, outcome }
        });
        run.store = Some((store, bytes));
    }

    async fn settle(&mut self, done: Done) {
        if !self.note(&done) {
            return;
        }
        if let Outcome::Back { to } = done.outcome {
            self.go_back(&done.name, to).await;
        }
        self.start(&done.name);
        self.resume();
    }

    /// Takes down what became of a store; the broker is told of it within a second. False when
    /// the partition has changed hands meanwhile.
    fn note(&mut self, done: &Done) -> bool {
        let Some(run) = self.runs.get_mut(&done.name) else { return false };
        if run.number != done.number {
            return false;
        }
        self.bytes -= run.store.take().map_or(0, |(_, bytes)| bytes);
        run.position = done.position;
        let Outcome::Stored { next } = done.outcome else { return true };
        // It says no when the partition is another's now, who finds the place in the queue.
        if let Err(error) = self.storing.consumer.store_offsets(&one(&done.name, Some(next))) {
            tracing::debug!(%error, "the place was not told to the broker");
        }
        true
    }

    /// Reads a partition again from an earlier place. Nobody listens meanwhile, so that what
    /// comes after is what was asked for.
    async fn go_back(&mut self, name: &Name, to: u64) {
        let consumer = self.storing.consumer.clone();
        let (topic, partition) = name.clone();
        let seek = move || consumer.seek(&topic, partition, offset(to), SEEK_TIME_MAX);
        let sought = tokio::task::spawn_blocking(seek).await;
        let Some(run) = self.runs.get_mut(name) else { return };
        self.bytes -= run.waiting.take().bytes();
        if let Ok(Err(error)) = sought {
            // The next messages meet the same gap, and it is tried again.
            run.position = Position { next: None, ..run.position };
            self.storing.consumer.context().failed(&error);
        }
    }

    /// Reads on in paused partitions for which there is room.
    fn resume(&mut self) {
        if self.bytes >= SOURCE_BYTES_MAX {
            return;
        }
        for (name, run) in &mut self.runs {
            if run.is_paused && run.waiting.bytes() < PARTITION_BYTES_MAX {
                run.is_paused = false;
                if let Err(error) = self.storing.consumer.resume(&one(name, None)) {
                    self.storing.consumer.context().failed(&error);
                }
            }
        }
    }
}

/// A message of our own: what the library gave is free again.
fn taken(message: &BorrowedMessage<'_>) -> Message {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let millis = message.timestamp().to_millis().filter(|millis| *millis >= 0);
    Message {
        offset: u64::try_from(message.offset()).unwrap_or_default(),
        timestamp: millis.map(|millis| Timestamp(millis.saturating_mul(MILLISECOND))),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
            .collect(),
    }
}

fn offset(at: u64) -> Offset {
    Offset::Offset(i64::try_from(at).unwrap_or(i64::MAX))
}

/// One partition as the library wants it, perhaps with a place.
fn one(name: &Name, at: Option<u64>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    let mut partition = list.add_partition(&name.0, name.1);
    if let Some(at) = at
        && let Err(error) = partition.set_offset(offset(at))
    {
        tracing::error!(%error, "a place that the library does not take");
    }
    list
}
