//! A core without threads, for tests: what its threads do is done step by step.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{AsArray as _, RecordBatch};
use cluster::catalog::{Catalog, Command, Publication};
use cluster::queue::{Queue, QueueError};
use model::batch::{BatchBuilder, Sequence};
use model::codec;
use model::deletion::Deletion;
use model::node::NodeId;
use model::partition::{Entry, Offset, PartitionId};
use model::query::{Filter, TextMatch};
use model::record::Record;
use model::split::{SplitId, SplitMeta};
use model::stream::{IndexName, Labels};
use model::time::{TimeRange, Timestamp};
use platform::clock::Clock;
use platform::objects::Objects;
use platform::shutdown::Shutdown;
use tokio::sync::watch;

use crate::core::{Core, Parties, PartitionState};
use crate::fresh::Parts;
use crate::keep::Keeper;
use crate::metrics::IndexMetrics;
use crate::publish::{new_id, source_of};
use crate::scan::{Column, ScanError, ScanRequest};
use crate::schema::rows_of;
use crate::searcher::Searcher;
use crate::settings::Settings;
use crate::split::{Origin, Packing, body_name, build};
use crate::view::Unit;

/// The one partition.
pub(crate) const PARTITION: PartitionId = PartitionId(0);

/// A queue that is a list.
pub(crate) struct List {
    entries: Mutex<Vec<Entry>>,
    committed: watch::Sender<Offset>,
}

impl List {
    /// Appends a batch of these messages; their times are their offsets.
    pub(crate) fn append(&self, messages: &[&str]) -> Entry {
        let mut entries = self.entries.lock().unwrap();
        let first = entries.last().map_or(Offset(0), Entry::end);
        let mut builder = BatchBuilder::new(IndexName::default(), Labels::default());
        for (at, message) in messages.iter().enumerate() {
            let time = i64::try_from(first.0).unwrap() + i64::try_from(at).unwrap();
            let (timestamp, message) = (Some(Timestamp(time)), (*message).to_owned());
            let record = Record { timestamp, message, ..Record::default() };
            builder.push(record, Timestamp(0));
        }
        let batch = codec::encode(&builder.finish(), Sequence::NONE).unwrap();
        let record_count = u32::try_from(messages.len()).unwrap();
        let entry = Entry { first, record_count, ingest_time: Timestamp(0), batch };
        entries.push(entry.clone());
        self.committed.send_replace(entry.end());
        entry
    }
}

impl Queue for List {
    fn partition(&self) -> PartitionId {
        PARTITION
    }

    fn committed(&self) -> watch::Receiver<Offset> {
        self.committed.subscribe()
    }

    fn read(&self, from: Offset, _: usize) -> Result<Vec<Entry>, QueueError> {
        let entries = self.entries.lock().unwrap();
        Ok(entries.iter().filter(|entry| entry.end() > from).cloned().collect())
    }

    fn trim(&self, _: Offset) {}

    fn stored_bytes(&self) -> u64 {
        0
    }
}

/// A core that indexes one partition.
pub(crate) struct Fixture {
    pub(crate) core: Arc<Core>,
    pub(crate) searcher: Searcher,
    pub(crate) queue: Arc<List>,
    pub(crate) clock: Clock,
    folder: tempfile::TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(Settings::TINY)
    }

    /// With other bounds than the usual tiny ones.
    pub(crate) fn with(settings: Settings) -> Self {
        Self::kept(settings, None)
    }

    /// With somebody who keeps what is written anew.
    pub(crate) fn kept(settings: Settings, keeper: Option<Arc<dyn Keeper>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let clock = Clock::manual(Timestamp(0));
        let parties = Parties {
            node: NodeId(1),
            keeper,
            remote: None,
            catalog: Catalog::open(&path("catalog.redb")).unwrap(),
            objects: Objects::local(&path("objects")).unwrap(),
            work: path("work"),
            poison: path("poison"),
            clock: clock.clone(),
            settings,
            metrics: IndexMetrics::default(),
        };
        let core = Arc::new(Core::new(parties, Shutdown::default()));
        let hearing = Arc::downgrade(&core);
        core.parties.catalog.subscribe(move |change| {
            if let Some(core) = hearing.upgrade() {
                core.hear(change);
            }
        });
        core.read_all().unwrap();
        let committed = watch::Sender::new(Offset(0));
        let queue = Arc::new(List { entries: Mutex::default(), committed });
        let state = PartitionState {
            queue: queue.clone(),
            fence: None,
            active: Parts::from(Offset(0)),
            frozen: None,
            published: Offset(0),
            since: None,
        };
        core.change(|all| all.partitions.insert(PARTITION, state));
        let searcher = Searcher(core.clone());
        Self { core, searcher, queue, clock, folder }
    }

    /// Publishes a split of these messages. Later ones have higher ids.
    pub(crate) fn publish(&self, messages: &[&str]) -> Arc<SplitMeta> {
        self.clock.advance(Duration::from_secs(1));
        let entry = self.queue.append(messages);
        let rows = rows_of(&entry, &codec::decode(&entry.batch).unwrap().1).unwrap();
        let id = new_id(&self.core, PARTITION);
        let origin = Origin {
            id: id.clone(),
            index: "main".to_owned(),
            partition: PARTITION,
            merges: 0,
            deletions: self.core.read(|state| state.deletions.last),
            packing: Packing::Quick,
            may_type: true,
        };
        let parties = &self.core.parties;
        let (batches, work) = ([&rows], parties.work.join(&id.0));
        let source = source_of(&batches).unwrap();
        let meta = build(origin, source, &work, &parties.objects).unwrap().unwrap();
        let (from, to) = (entry.first, entry.end());
        let publication = Publication { partition: PARTITION, from, to, add: vec![meta] };
        parties.catalog.execute(Command::Publish(publication)).unwrap();
        self.core.read(|state| state.splits[&id].clone())
    }

    /// Flips a bit of a split's body. What it was is given back, for [`Fixture::mend`].
    pub(crate) fn damage(&self, meta: &SplitMeta) -> Vec<u8> {
        let (objects, name) = (&self.core.parties.objects, body_name(&meta.id));
        let whole = objects.get_range(&name, 0, objects.size(&name).unwrap()).unwrap().to_vec();
        let mut damaged = whole.clone();
        damaged[10] ^= 1;
        self.mend(meta, &damaged);
        whole
    }

    /// Puts a split's body anew.
    pub(crate) fn mend(&self, meta: &SplitMeta, body: &[u8]) {
        let file = self.folder.path().join("put");
        platform::disk::write_atomically(&file, body).unwrap();
        self.core.parties.objects.put_file(&body_name(&meta.id), &file).unwrap();
    }

    /// The messages of a unit, in the order of their times.
    pub(crate) fn messages(&self, unit: &Unit) -> Result<Vec<String>, ScanError> {
        let request = ScanRequest {
            filter: Filter::All,
            range: TimeRange::ALL,
            columns: vec![Column::Message],
            newest: Some(1_000),
            counted: false,
        };
        let mut found = Vec::new();
        self.searcher.scan(unit, &request, &mut |rows: RecordBatch| {
            if let Some(messages) = rows.columns().first() {
                found.extend(messages.as_string::<i32>().iter().flatten().map(str::to_owned));
            }
            ControlFlow::Continue(())
        })?;
        found.reverse();
        Ok(found)
    }

    /// The messages of all splits.
    pub(crate) fn stored(&self) -> Vec<String> {
        let splits = self.searcher.view().splits.clone();
        let of = |split: &Arc<SplitMeta>| self.messages(&Unit::Split(split.clone())).unwrap();
        splits.iter().flat_map(of).collect()
    }
}

/// The catalog's entry of a split of one moment. Nothing is stored of it.
pub(crate) fn entry(id: SplitId, time: i64, row_count: u64) -> SplitMeta {
    SplitMeta {
        index: "main".to_owned(),
        partition: PARTITION,
        offset_last: Offset(row_count.saturating_sub(1)),
        row_count,
        time_first: time,
        time_last: time,
        ingest_last: time,
        ..SplitMeta::named(id)
    }
}

/// A deletion of the records with a word, below an offset of the partition.
pub(crate) fn deletion(word: &str, below: u64) -> Deletion {
    Deletion {
        number: 0,
        query: word.to_owned(),
        filter: Filter::Text(TextMatch::Phrase(word.to_owned())),
        indexes: None,
        time_first: i64::MIN,
        time_last: i64::MAX,
        below: vec![(PARTITION, Offset(below))],
        asked: Timestamp(0),
        deleted: 0,
        done: None,
    }
}
