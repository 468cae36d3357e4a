//! Records in a real indexer, for tests: fed through a queue in memory, fresh or in splits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::catalog::Catalog;
use cluster::queue::{Queue, QueueError};
use index::indexer::Indexer;
use index::metrics::IndexMetrics;
use index::searcher::{Parties, Searcher};
use index::settings::Settings;
use model::batch::{BatchBuilder, Sequence};
use model::node::NodeId;
use model::partition::{Entry, Offset, PartitionId};
use model::stream::{IndexName, Labels};
use model::time::Timestamp;
use model::{codec, json};
use platform::clock::Clock;
use platform::objects::Objects;
use platform::shutdown::Shutdown;
use platform::telemetry::Metrics;
use tokio::sync::watch;

use crate::metrics::QueryMetrics;
use crate::plan::{Engine, QuerySettings};

/// A queue that is a list.
struct List {
    partition: PartitionId,
    entries: Mutex<Vec<Entry>>,
    committed: watch::Sender<Offset>,
}

impl List {
    fn new(partition: u32) -> Arc<Self> {
        let committed = watch::Sender::new(Offset(0));
        Arc::new(Self { partition: PartitionId(partition), entries: Mutex::default(), committed })
    }

    fn append(&self, index: &str, labels: &[(&str, &str)], lines: &[String]) {
        let pairs = labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let index = IndexName::new(index).unwrap();
        let mut builder = BatchBuilder::new(index, Labels::new(pairs).unwrap());
        for line in lines {
            let record = json::record(line.as_bytes()).unwrap();
            builder.push(record, Timestamp(1_000));
        }
        let batch = codec::encode(&builder.finish(), Sequence::NONE).unwrap();
        let mut entries = self.entries.lock().unwrap();
        let first = entries.last().map_or(Offset(0), Entry::end);
        let record_count = u32::try_from(lines.len()).unwrap();
        let entry = Entry { first, record_count, ingest_time: Timestamp(1_000), batch };
        let end = entry.end();
        entries.push(entry);
        drop(entries);
        self.committed.send_replace(end);
    }
}

impl Queue for List {
    fn partition(&self) -> PartitionId {
        self.partition
    }

    fn committed(&self) -> watch::Receiver<Offset> {
        self.committed.subscribe()
    }

    fn read(&self, from: Offset, _: usize) -> Result<Vec<Entry>, QueueError> {
        let entries = self.entries.lock().unwrap();
        Ok(entries.iter().filter(|entry| entry.end() > from).take(1).cloned().collect())
    }

    fn trim(&self, _: Offset) {}

    fn stored_bytes(&self) -> u64 {
        0
    }
}

/// An engine over two partitions of records.
pub(crate) struct Fixture {
    pub(crate) engine: Engine,
    pub(crate) shutdown: Shutdown,
    pub(crate) folder: tempfile::TempDir,
    queues: [Arc<List>; 2],
    searcher: Searcher,
    indexer: Option<Indexer>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(indexer) = self.indexer.take() {
            indexer.join();
        }
    }
}

/// Where records are when they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// In memory.
    Fresh,
    /// In splits, as far as they are due.
    Splits,
}

impl Fixture {
    pub(crate) fn new(rest: Rest) -> Self {
        Self::with(rest, |_| ())
    }

    pub(crate) fn with(rest: Rest, change: impl FnOnce(&mut QuerySettings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let queues = [List::new(0), List::new(1)];
        let fresh_age_max = match rest {
            Rest::Fresh => Duration::from_secs(3_600),
            Rest::Splits => Duration::ZERO,
        };
        let fresh_rows_max = match rest {
            Rest::Fresh => u64::MAX,
            Rest::Splits => 50,
        };
        let parties = Parties {
            node: NodeId(1),
            keeper: None,
            remote: None,
            catalog: Catalog::open(&path("catalog.redb")).unwrap(),
            objects: Objects::local(&path("objects")).unwrap(),
            work: path("work"),
            poison: path("poison"),
            clock: Clock::system(),
            settings: Settings { fresh_age_max, fresh_rows_max, ..Settings::TINY },
            metrics: IndexMetrics::default(),
        };
        let shutdown = Shutdown::default();
        let indexer = Indexer::start(parties, path(""), shutdown.clone()).unwrap();
        for queue in &queues {
            indexer.take(queue.clone(), None).unwrap();
        }
        let searcher = indexer.searcher();
        let mut settings = QuerySettings::new(path("spill"));
        change(&mut settings);
        let metrics = QueryMetrics::new(&Metrics::default());
        let engine = Engine::new(searcher.clone(), Clock::system(), settings, metrics).unwrap();
        Self { engine, shutdown, folder, queues, searcher, indexer: Some(indexer) }
    }

    /// Appends JSON records of one stream and waits until they are searchable.
    pub(crate) async fn append(
        &self,
        partition: usize,
        labels: &[(&str, &str)],
        lines: impl IntoIterator<Item = impl Into<String>>,
    ) {
        self.append_to(partition, "main", labels, lines).await;
    }

    pub(crate) async fn append_to(
        &self,
        partition: usize,
        index: &str,
        labels: &[(&str, &str)],
        lines: impl IntoIterator<Item = impl Into<String>>,
    ) {
        let lines: Vec<String> = lines.into_iter().map(Into::into).collect();
        self.queues[partition].append(index, labels, &lines);
        self.until(Searcher::is_caught_up).await;
    }

    /// Waits until all records are in splits.
    pub(crate) async fn settle(&self) {
        self.until(|searcher| searcher.view().fresh.is_empty()).await;
    }

    pub(crate) async fn until(&self, condition: impl Fn(&Searcher) -> bool) {
        let clock = Clock::system();
        for _ in 0..10_000 {
            if condition(&self.searcher) {
                return;
            }
            clock.sleep(Duration::from_millis(2)).await;
        }
        panic!("the indexer does not get on");
    }
}
