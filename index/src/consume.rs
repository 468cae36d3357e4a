//! From the queue into memory: one thread per partition reads what is committed, opens it, makes
//! it searchable, and says when splits are to be cut.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use cluster::queue::{Queue, QueueError};
use model::batch::BatchBuilder;
use model::codec;
use model::json::poisoned;
use model::partition::{Entry, Offset, PartitionId};
use model::stream::{IndexName, Labels};
use platform::disk;
use tokio::sync::watch;

use crate::fresh::{FreshPart, Parts};
use crate::indexer::Tenure;
use crate::publish::Cut;
use crate::schema::rows_of;
use crate::searcher::Core;

/// Bytes of entries read at a time.
const READ_BYTES: usize = 4 << 20;
/// How long a failed read waits.
const RETRY: Duration = Duration::from_secs(1);

/// Reads one partition until the shutdown.
pub(crate) struct Consumer {
    pub(crate) core: Arc<Core>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) builder: flume::Sender<Cut>,
    pub(crate) tenure: Tenure,
    pub(crate) at: Offset,
}

impl Consumer {
    pub(crate) fn run(mut self, runtime: &tokio::runtime::Handle) {
        let mut committed = self.queue.committed();
        while !self.tenure.is_over() {
            self.cut_if_due();
            if !self.has_room() {
                runtime.block_on(self.core.parties.clock.sleep(Duration::from_millis(20)));
                continue;
            }
            match self.queue.read(self.at, READ_BYTES) {
                Ok(entries) if entries.is_empty() => runtime.block_on(self.wait(&mut committed)),
                Ok(entries) => entries.iter().for_each(|entry| self.take(entry)),
                Err(QueueError::Trimmed { first, .. }) if first > self.at => {
                    tracing::error!(partition = %self.queue.partition(), from = %self.at, to = %first,
                        "records are neither in the queue nor in a split: going on behind the gap");
                    self.at = first;
                }
                Err(error) => {
                    let why = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(%error, why, "reading the queue failed; trying again");
                    runtime.block_on(self.core.parties.clock.sleep(RETRY));
                }
            }
        }
    }

    /// Until more is committed, a split is due, or the shutdown.
    async fn wait(&self, committed: &mut watch::Receiver<Offset>) {
        let at = self.at;
        let left = self.age_left().unwrap_or(Duration::from_secs(3600));
        tokio::select! {
            _ = committed.wait_for(|committed| *committed > at) => {}
            () = self.core.parties.clock.sleep(left) => {}
            () = self.tenure.over() => {}
        }
    }

    /// Opens an entry and makes its records searchable.
    fn take(&mut self, entry: &Entry) {
        let partition = self.queue.partition();
        let (index, rows) = match codec::decode(&entry.batch) {
            Ok((head, batch)) => (head.index.to_string(), rows_of(entry, &batch)),
            Err(error) => {
                self.core.parties.metrics.poisoned.inc();
                let reason = format!("batch kept aside, it could not be opened: {error}");
                self.keep_aside(entry);
                (IndexName::default().to_string(), poison_rows(entry, &reason))
            }
        };
        self.at = entry.end();
        match rows {
            Ok(rows) => self.show(partition, index.as_str().into(), rows),
            Err(error) => {
                tracing::error!(%error, offset = %entry.first, "rows refused; kept aside");
                self.keep_aside(entry);
                let end = self.at;
                self.core.change(|state| {
                    if let Some(state) = state.partitions.get_mut(&partition) {
                        state.active.end = end;
                    }
                });
            }
        }
    }

    fn show(&mut self, partition: PartitionId, index: Arc<str>, rows: RecordBatch) {
        let end = self.at;
        let now = self.core.parties.clock.elapsed();
        self.core.parties.metrics.records.inc_by(rows.num_rows() as u64);
        let part = Arc::new(FreshPart::new(partition, index, rows));
        let shown = self.core.change(|state| {
            let part = state.deletions.kept(part);
            let state = state.partitions.get_mut(&partition)?;
            state.active.end = end.max(state.active.start);
            // What is below is in splits by now.
            let part = part.behind(state.active.start)?;
            state.since.get_or_insert(now);
            let pushed = state.active.push(part.clone());
            Some((part, pushed))
        });
        // Another node has the partition by now, or splits have the records.
        let Some((part, pushed)) = shown else {
            // Who waits for these records finds them there.
            self.core.shown.send_replace(());
            return;
        };
        if let Err(error) = pushed {
            tracing::error!(%error, "fresh parts could not be joined");
        }
        self.core.tell(part);
        self.cut_if_due();
    }

    /// The bytes of a batch that could not be opened, for whoever mends its producer.
    fn keep_aside(&self, entry: &Entry) {
        let folder = &self.core.parties.poison;
        let name = format!("{}-{}.batch", self.queue.partition(), entry.first);
        let kept = disk::create_dir_all(folder)
            .and_then(|()| disk::write_atomically(&folder.join(&name), &entry.batch));
        match kept {
            Ok(()) => tracing::error!(name, "a batch could not be opened and is kept aside"),
            Err(error) => tracing::error!(%error, name, "a batch could not even be kept aside"),
        }
    }

    fn age_left(&self) -> Option<Duration> {
        let now = self.core.parties.clock.elapsed();
        let partition = self.queue.partition();
        let since = self.core.read(|state| state.partitions.get(&partition)?.since)?;
        Some(self.core.parties.settings.fresh_age_max.saturating_sub(now.saturating_sub(since)))
    }

    /// Whether more may be held: what is being built and as much again.
    fn has_room(&self) -> bool {
        let (partition, settings) = (self.queue.partition(), &self.core.parties.settings);
        self.core.read(|state| {
            let state = state.partitions.get(&partition);
            state.is_none_or(|state| {
                state.frozen.is_none()
                    || (state.active.bytes() < settings.fresh_bytes_max
                        && state.active.row_count() < settings.fresh_rows_max)
            })
        })
    }

    /// Freezes what is active and hands it to the builder, when it is time and nothing else is
    /// being built.
    fn cut_if_due(&self) {
        let (partition, settings) = (self.queue.partition(), &self.core.parties.settings);
        let aged = self.age_left() == Some(Duration::ZERO);
        let cut = self.core.change_if(|state| {
            let deletions = state.deletions.last;
            let state = state.partitions.get_mut(&partition)?;
            let full = state.active.bytes() >= settings.fresh_bytes_max
                || state.active.row_count() >= settings.fresh_rows_max;
            if state.frozen.is_some() || !(full || aged) {
                return None;
            }
            let end = state.active.end;
            let parts = std::mem::replace(&mut state.active, Parts::from(end));
            let parts = Arc::new(parts);
            state.frozen = Some(parts.clone());
            state.since = None;
            // Where they begin, not where the partition is published: the catalog compares.
            let from = parts.start;
            Some(Cut { partition, from, to: end, parts, deletions })
        });
        if let Some(cut) = cut {
            // The builder lives as long as we do, and has nothing else to do.
            drop(self.builder.send(cut));
        }
    }
}

/// The record in the place of a batch that could not be opened. It says why.
fn poison_rows(entry: &Entry, reason: &str) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut builder = BatchBuilder::new(IndexName::default(), Labels::default());
    builder.push(poisoned(reason.as_bytes(), reason), entry.ingest_time);
    rows_of(entry, &builder.finish())
}
