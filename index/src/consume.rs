//! From the queue into memory: one thread per partition reads what is committed, opens it, makes
//! it searchable, and says when splits are to be cut.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use cluster::queue::{Queue, QueueError};
use model::batch::BatchBuilder;
use model::codec::{self, DecodeError};
use model::json::poisoned;
use model::partition::{Entry, Offset, PartitionId};
use model::stream::{IndexName, Labels};
use platform::disk;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::fresh::{FreshPart, Parts};
use crate::guard::guarded;
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
    pub(crate) fn run(mut self, runtime: &Handle) {
        let mut committed = self.queue.committed();
        while !self.tenure.is_over() {
            if let Err(broken) = guarded(|| self.step(&mut committed, runtime)) {
                self.core.parties.metrics.failures.inc();
                tracing::error!(%broken, partition = %self.queue.partition(),
                    "reading a partition broke off; trying again");
                self.go_back();
                runtime.block_on(self.core.parties.clock.sleep(RETRY));
            }
        }
    }

    /// Takes some entries, or waits for some.
    fn step(&mut self, committed: &mut watch::Receiver<Offset>, runtime: &Handle) {
        self.cut_if_due();
        if !self.has_room() {
            runtime.block_on(self.core.parties.clock.sleep(Duration::from_millis(20)));
            return;
        }
        match self.queue.read(self.at, READ_BYTES) {
            Ok(entries) if entries.is_empty() => runtime.block_on(self.wait(committed)),
            Ok(entries) => self.take_all(&entries),
            Err(QueueError::Trimmed { first, .. }) if first > self.at => {
                tracing::error!(partition = %self.queue.partition(), from = %self.at, to = %first,
                    "records are neither in the queue nor in a split: going on behind the gap");
                self.at = first;
            }
            Err(error @ QueueError::Away { .. }) => {
                tracing::warn!(%error, "trying again");
                runtime.block_on(self.core.parties.clock.sleep(RETRY));
            }
            Err(error) => {
                let why = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, why, "reading the queue failed; trying again");
                runtime.block_on(self.core.parties.clock.sleep(RETRY));
            }
        }
    }

    /// Takes entries as long as there is room: unpacked they may be a hundred times as large. Those
    /// that are left are read again.
    fn take_all(&mut self, entries: &[Entry]) {
        for entry in entries {
            if !self.has_room() {
                return;
            }
            self.take(entry);
        }
    }

    /// Goes back to what is not shown yet.
    fn go_back(&mut self) {
        let partition = self.queue.partition();
        let shown = self.core.read(|state| Some(state.partitions.get(&partition)?.active.end));
        self.at = shown.unwrap_or(self.at);
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
        let (index, rows) = match guarded(|| opened(entry)) {
            Ok(Ok(rows)) => rows,
            Ok(Err(error)) => self.poisoned(entry, &error.to_string()),
            Err(broken) => self.poisoned(entry, &broken.to_string()),
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

    /// What is shown of an entry that cannot be opened; its bytes are kept aside.
    fn poisoned(&self, entry: &Entry, why: &str) -> (String, Result<RecordBatch, ArrowError>) {
        self.core.parties.metrics.poisoned.inc();
        let reason = format!("batch kept aside, it could not be opened: {why}");
        self.keep_aside(entry);
        (IndexName::default().to_string(), poison_rows(entry, &reason))
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

/// The index of an entry and its rows.
fn opened(entry: &Entry) -> Result<(String, Result<RecordBatch, ArrowError>), DecodeError> {
    let (head, batch) = codec::decode(&entry.batch)?;
    Ok((head.index.to_string(), rows_of(entry, &batch)))
}

/// The record in the place of a batch that could not be opened. It says why.
fn poison_rows(entry: &Entry, reason: &str) -> Result<RecordBatch, ArrowError> {
    let mut builder = BatchBuilder::new(IndexName::default(), Labels::default());
    builder.push(poisoned(reason.as_bytes(), reason), entry.ingest_time);
    rows_of(entry, &builder.finish())
}

#[cfg(test)]
mod tests {
    use platform::shutdown::Shutdown;

    use super::*;
    use crate::fixture::{Fixture, PARTITION};

    /// A consumer of ten batches of thirty rows, where splits are cut at fifty.
    fn consumer(fixture: &Fixture) -> (Consumer, flume::Receiver<Cut>) {
        for _ in 0..10 {
            fixture.queue.append(&["a line"; 30]);
        }
        let (builder, cuts) = flume::bounded(1);
        let (core, queue) = (fixture.core.clone(), fixture.queue.clone());
        let tenure = Tenure::new(Shutdown::default(), None);
        (Consumer { core, queue, builder, tenure, at: Offset(0) }, cuts)
    }

    fn step(fixture: &Fixture, consumer: &mut Consumer) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        consumer.step(&mut fixture.queue.committed(), runtime.handle());
    }

    /// Rows that are being built, and others.
    fn held(fixture: &Fixture) -> (u64, u64) {
        fixture.core.read(|state| {
            let state = &state.partitions[&PARTITION];
            let frozen = state.frozen.as_ref().map_or(0, |frozen| frozen.row_count());
            (frozen, state.active.row_count())
        })
    }

    #[test]
    fn no_more_is_held_than_fits_though_more_was_read() {
        let fixture = Fixture::new();
        let (mut consumer, cuts) = consumer(&fixture);
        step(&fixture, &mut consumer);
        assert_eq!((held(&fixture), consumer.at), ((60, 60), Offset(120)));
        let cut = cuts.try_recv().unwrap();
        assert_eq!((cut.from, cut.to), (Offset(0), Offset(60)));
        // It is built.
        fixture.core.change(|state| {
            state.partitions.get_mut(&PARTITION).unwrap().frozen = None;
        });
        step(&fixture, &mut consumer);
        assert_eq!((held(&fixture), consumer.at), ((60, 60), Offset(180)));
    }

    #[test]
    fn what_was_cut_in_vain_is_cut_again() {
        let fixture = Fixture::new();
        let (mut consumer, cuts) = consumer(&fixture);
        step(&fixture, &mut consumer);
        drop(cuts.try_recv().unwrap());
        let now = fixture.core.parties.clock.elapsed();
        fixture.core.change(|state| state.partitions.get_mut(&PARTITION).unwrap().thaw(now));
        assert_eq!(held(&fixture), (0, 120));
        consumer.cut_if_due();
        let cut = cuts.try_recv().unwrap();
        assert_eq!((cut.from, cut.to, cut.parts.row_count()), (Offset(0), Offset(120), 120));
        let firsts = cut.parts.iter().map(|part| part.offsets().0);
        assert!(firsts.is_sorted());
    }

    #[test]
    fn what_is_not_shown_is_read_again() {
        let fixture = Fixture::new();
        let (mut consumer, _cuts) = consumer(&fixture);
        // It broke off before anything was shown.
        consumer.at = Offset(90);
        consumer.go_back();
        assert_eq!(consumer.at, Offset(0));
        step(&fixture, &mut consumer);
        assert_eq!(held(&fixture), (60, 60));
        consumer.at = Offset(300);
        consumer.go_back();
        assert_eq!(consumer.at, Offset(120));
    }
}
