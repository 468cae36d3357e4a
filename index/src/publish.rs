//! From memory into splits: build, put the objects, publish with the partition's offset in one
//! step, show it, trim the queue. Whatever dies when, a record is in the queue or in a split, and
//! a view shows it once.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use cluster::catalog::{CatalogError, Command, Order, Publication, Refusal};
use cluster::queue::Queue;
use model::partition::{Offset, PartitionId};
use model::split::{SplitId, SplitMeta};

use crate::fresh::{FreshPart, Parts, shared_schema};
use crate::indexer::Tenure;
use crate::keep::KeepError;
use crate::pick::pick;
use crate::schema::{adapt, batch_rows};
use crate::searcher::Core;
use crate::split::{
    Arrivals, BuildError, Clustered, IngestTimes, Piece, Sketches, Source, Unit, build, cluster,
};

/// How long a failed build waits before it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Fresh rows that are to become splits.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) partition: PartitionId,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    pub(crate) parts: Arc<Parts>,
    /// The last deletion whose records are not among them.
    pub(crate) deletions: u64,
}

/// Builds and publishes the cuts of one partition, one after the other.
pub(crate) struct Publisher {
    pub(crate) core: Arc<Core>,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) tenure: Tenure,
}

/// Why a cut was not published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    #[error("the split cannot be built")]
    Build(#[from] BuildError),
    #[error("the catalog refuses")]
    Catalog(#[from] CatalogError),
    #[error("the split is not kept often enough")]
    Keep(#[from] KeepError),
}

impl Publisher {
    pub(crate) fn run(self, cuts: &flume::Receiver<Cut>, runtime: &tokio::runtime::Handle) {
        while let Ok(cut) = cuts.recv() {
            while !self.tenure.is_over() {
                match self.publish(&cut) {
                    Ok(()) => break,
                    Err(PublishError::Catalog(CatalogError::Refused(refusal)))
                        if matches!(refusal, Refusal::Fenced { .. } | Refusal::Moved { .. }) =>
                    {
                        tracing::warn!(%refusal, partition = %cut.partition, "another node indexes this partition");
                        self.tenure.end();
                    }
                    Err(error) => {
                        self.core.parties.metrics.failures.inc();
                        let why = chain_of(&error);
                        tracing::error!(why, partition = %cut.partition, "publishing failed; trying again");
                        let wait = self.core.parties.clock.sleep(RETRY);
                        runtime.block_on(async {
                            tokio::select! { () = wait => {}, () = self.tenure.over() => {} }
                        });
                    }
                }
            }
            if self.tenure.is_over() {
                return;
            }
        }
    }

    /// Builds the splits of a cut, has them kept, and publishes them. What is shown changes when
    /// the catalog tells of it.
    fn publish(&self, cut: &Cut) -> Result<(), PublishError> {
        let mut add = Vec::new();
        for (index, parts) in cut.parts.by_index() {
            if let Some(meta) = self.build(cut, &index, &parts)? {
                add.push(secured(&self.core, meta)?);
            }
        }
        let (partition, from, to) = (cut.partition, cut.from, cut.to);
        let publication = Publication { partition, from, to, add };
        for meta in &publication.add {
            tracing::info!(split = %meta.id, rows = meta.row_count, bytes = meta.stored_bytes,
                raw_bytes = meta.raw_bytes, "split built");
        }
        let (command, fence) = (Command::Publish(publication.clone()), self.tenure.fence.clone());
        match self.core.parties.catalog.execute(Order { command, fence }) {
            Ok(_) => {}
            // The answer to a first try was lost: it is published, and shown.
            Err(CatalogError::Refused(Refusal::Moved { current, .. }))
                if current == to && is_published(&self.core, &publication) => {}
            Err(error) => {
                not_published(&publication.add, &error);
                return Err(error.into());
            }
        }
        self.core.parties.metrics.splits_built.inc_by(publication.add.len() as u64);
        self.queue.trim(to);
        Ok(())
    }

    fn build(
        &self,
        cut: &Cut,
        index: &Arc<str>,
        parts: &[Arc<FreshPart>],
    ) -> Result<Option<SplitMeta>, BuildError> {
        let rows: Vec<&RecordBatch> = parts.iter().map(|part| &part.rows).collect();
        let id = new_id(&self.core, cut.partition);
        let origin = crate::split::Origin {
            id: id.clone(),
            index: index.to_string(),
            partition: cut.partition,
            merges: 0,
            deletions: cut.deletions,
        };
        let parties = &self.core.parties;
        build(origin, source_of(&rows)?, &parties.work.join(&id.0), &parties.objects)
    }
}

/// Says which splits were built in vain. Their objects stay until they are old: the answer to a first try
/// may be lost, and what is published must not be deleted.
pub(crate) fn not_published(add: &[SplitMeta], error: &CatalogError) {
    for meta in add {
        tracing::warn!(split = %meta.id, %error, "built and not published");
    }
}

/// Whether what was to be published is.
fn is_published(core: &Core, publication: &Publication) -> bool {
    core.read(|state| publication.add.iter().all(|meta| state.splits.contains_key(&meta.id)))
}

/// A split that is kept as often as it has to be: only then may the queue forget its records.
pub(crate) fn secured(core: &Core, meta: SplitMeta) -> Result<SplitMeta, PublishError> {
    match &core.parties.keeper {
        Some(keeper) => Ok(SplitMeta { copies: keeper.secure(&meta)?, ..meta }),
        None => Ok(meta),
    }
}

/// Rows in the order of their offsets, as a split is built from them. They stay where they are.
pub(crate) fn source_of(
    rows: &[&RecordBatch],
) -> Result<Source<impl Iterator<Item = Result<Piece, BuildError>>>, BuildError> {
    let schema = shared_schema(rows.iter().copied());
    let parts: Vec<RecordBatch> =
        rows.iter().map(|rows| adapt(rows, &schema)).collect::<Result<_, _>>()?;
    let (unit, ingest) = (Unit::of(&parts), IngestTimes::of(&parts));
    let (arrivals, sketches) = (Arrivals::of(&parts), Sketches::of(&schema, &parts));
    let Clustered { templates, order, numbers } = cluster(&parts);
    let batch_rows = batch_rows(schema.fields().len());
    let columns = schema.clone();
    let pieces = (0..order.len()).step_by(batch_rows).map(move |at| {
        let end = (at + batch_rows).min(order.len());
        let picks = order.get(at..end).unwrap_or_default();
        let templates = numbers.get(at..end).unwrap_or_default().to_vec();
        let parts: Vec<&RecordBatch> = parts.iter().collect();
        Ok(Piece { rows: pick(&columns, &parts, picks)?, templates })
    });
    Ok(Source { schema, unit, templates, ingest, arrivals, sketches, pieces })
}

/// A name that no other split has: its time, its partition, chance.
pub(crate) fn new_id(core: &Core, partition: PartitionId) -> SplitId {
    let now = core.parties.clock.now().0;
    SplitId(format!("{now:016x}-{:02x}-{:016x}", partition.0, platform::random::u64()))
}

/// An error and its causes in one line.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
