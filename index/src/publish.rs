//! From memory into splits: build, put the objects, publish with the partition's offset in one
//! step, show it, trim the queue. Whatever dies when, a record is in the queue or in a split, and
//! a view shows it once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use cluster::catalog::{CatalogError, Command, Order, Publication, Refusal};
use cluster::queue::Queue;
use model::error::chain;
use model::partition::{Offset, PartitionId};
use model::split::{SplitId, SplitMeta};
use model::time::Timestamp;

use crate::fresh::{FreshPart, Parts, alike};
use crate::indexer::Tenure;
use crate::keep::KeepError;
use crate::patience::Patience;
use crate::pick::pick;
use crate::schema::batch_rows;
use crate::searcher::Core;
use crate::split::{
    Arrivals, BuildError, Clustered, Forms, IngestTimes, Late, Packing, Piece, Sketches, Source,
    Sums, Unit, build, cluster,
};

/// How long what failed waits before it is tried again, at first.
const RETRY: Duration = Duration::from_secs(5);
/// The same when it fails again and again.
const RETRY_MAX: Duration = Duration::from_secs(60);

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

/// The splits of a cut that are built, by index; `None` where nothing was to be kept. They are kept
/// between tries, so that what fails again and again leaves nothing behind it.
type Built = BTreeMap<Arc<str>, Option<SplitMeta>>;

impl Publisher {
    pub(crate) fn run(self, cuts: &flume::Receiver<Cut>, runtime: &tokio::runtime::Handle) {
        while let Ok(cut) = cuts.recv() {
            let (mut built, mut patience) = (Built::new(), Patience::new(RETRY, RETRY_MAX));
            while !self.tenure.is_over() {
                match self.publish(&cut, &mut built) {
                    Ok(()) => break,
                    Err(PublishError::Catalog(CatalogError::Refused(refusal)))
                        if matches!(refusal, Refusal::Fenced { .. } | Refusal::Moved { .. }) =>
                    {
                        tracing::info!(%refusal, partition = %cut.partition, "another node indexes this partition");
                        self.tenure.end();
                    }
                    Err(error) => {
                        self.core.parties.metrics.failures.inc();
                        let why = chain(&error);
                        tracing::error!(why, partition = %cut.partition, "publishing failed; trying again");
                        if is_of_no_use(&error) {
                            built.clear();
                        }
                        let wait = patience.failed(self.core.parties.clock.elapsed());
                        let wait = self.core.parties.clock.sleep(wait);
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
    fn publish(&self, cut: &Cut, built: &mut Built) -> Result<(), PublishError> {
        for (index, parts) in cut.parts.by_index() {
            if let Entry::Vacant(place) = built.entry(index.clone()) {
                place.insert(self.build(cut, &index, &parts)?);
            }
        }
        for meta in built.values_mut().flatten() {
            *meta = secured(&self.core, meta.clone())?;
        }
        let add: Vec<SplitMeta> = built.values().flatten().cloned().collect();
        let (partition, from, to) = (cut.partition, cut.from, cut.to);
        let publication = Publication { partition, from, to, add };
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
            packing: Packing::Quick,
            may_type: self.core.may_type(),
        };
        let parties = &self.core.parties;
        let begun = parties.clock.elapsed();
        let built = build(origin, source_of(&rows)?, &parties.work.join(&id.0), &parties.objects)?;
        let took = parties.clock.elapsed().saturating_sub(begun);
        parties.metrics.builds.add(built.as_ref(), took);
        if let Some(meta) = &built {
            tracing::info!(split = %meta.id, rows = meta.row_count, bytes = meta.stored_bytes,
                raw_bytes = meta.raw_bytes, "split built");
        }
        Ok(built)
    }
}

/// Whether what was built cannot be published any more, so that it is to be built anew.
fn is_of_no_use(error: &PublishError) -> bool {
    matches!(
        error,
        PublishError::Keep(KeepError::Damaged { .. })
            | PublishError::Catalog(CatalogError::Refused(
                Refusal::Swept { .. } | Refusal::Early { .. }
            ))
    )
}

/// Says which splits are not published. Their objects stay: the answer to a first try may be lost, and
/// it may be decided yet. They are swept when the catalog refuses what was begun so long ago.
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
) -> Result<Source<'static, impl Iterator<Item = Result<Piece, BuildError>>>, BuildError> {
    let (schema, parts) = alike(rows)?;
    let (unit, forms) = (Unit::of(&parts), Forms::of(&schema, &parts));
    let ingest = IngestTimes::of(&parts);
    let (arrivals, sketches) = (Arrivals::of(&parts), Sketches::of(&schema, &parts));
    let Clustered { templates, order, numbers } = cluster(&parts);
    let late = Late::of(&schema, &parts, &order);
    let sums = match late.columns() {
        [] => Sums::default(),
        _ => Sums::of_fields(&parts),
    };
    let batch_rows = batch_rows(schema.fields().len() - late.columns().len());
    let (columns, left) = (schema.clone(), late.columns().to_vec());
    let pieces = (0..order.len()).step_by(batch_rows).map(move |at| {
        let end = (at + batch_rows).min(order.len());
        let picks = order.get(at..end).unwrap_or_default();
        let templates = numbers.get(at..end).unwrap_or_default().to_vec();
        let parts: Vec<&RecordBatch> = parts.iter().collect();
        Ok(Piece { rows: pick(&columns, &parts, picks, &left)?, templates })
    });
    Ok(Source { schema, unit, forms, templates, ingest, arrivals, sketches, sums, late, pieces })
}

/// A name that no other split has. It is no older than what is swept, whatever this node's clock says.
pub(crate) fn new_id(core: &Core, partition: PartitionId) -> SplitId {
    let swept = core.parties.catalog.swept_before().unwrap_or(Timestamp::MIN);
    let begun = core.parties.clock.now().max(swept);
    SplitId::new(begun, partition, platform::random::u64())
}

#[cfg(test)]
mod tests {
    use cluster::catalog::{Fence, Joining, PROTOCOL_TYPES};
    use model::codec;
    use model::node::{NodeId, Roles};
    use platform::shutdown::Shutdown;

    use super::*;
    use crate::fixture::{Fixture, PARTITION};
    use crate::schema::rows_of;

    #[test]
    fn columns_have_types_of_their_own_where_every_node_reads_them() {
        let fixture = Fixture::new();
        let (core, id) = (&fixture.core, NodeId(7));
        let register = |protocol| {
            let joining = Joining {
                id,
                address: "a:1".to_owned(),
                http: String::new(),
                roles: Roles::default(),
                version: String::new(),
                protocol,
                at: 0,
            };
            core.parties.catalog.execute(Command::Register(joining)).unwrap();
        };
        assert!(core.may_type(), "there is no other node");
        register(PROTOCOL_TYPES - 1);
        assert!(!core.may_type());
        register(PROTOCOL_TYPES);
        assert!(core.may_type());
        // One that came meanwhile and does not: it is built anew.
        let (has, needed) = (PROTOCOL_TYPES - 1, PROTOCOL_TYPES);
        let early = CatalogError::Refused(Refusal::Early { node: id, has, needed });
        assert!(is_of_no_use(&early.into()));
    }

    fn publisher(fixture: &Fixture, fence: Option<Fence>) -> Publisher {
        let tenure = Tenure::new(Shutdown::default(), fence);
        Publisher { core: fixture.core.clone(), queue: fixture.queue.clone(), tenure }
    }

    fn cut(fixture: &Fixture, messages: &[&str]) -> Cut {
        let entry = fixture.queue.append(messages);
        let rows = rows_of(&entry, &codec::decode(&entry.batch).unwrap().1).unwrap();
        let (from, to) = (entry.first, entry.end());
        let mut parts = Parts::from(from);
        parts.push(Arc::new(FreshPart::new(PARTITION, "main".into(), rows))).unwrap();
        parts.end = to;
        Cut { partition: PARTITION, from, to, parts: Arc::new(parts), deletions: 0 }
    }

    fn ids(built: &Built) -> Vec<SplitId> {
        built.values().flatten().map(|meta| meta.id.clone()).collect()
    }

    #[test]
    fn what_is_built_is_kept_while_publishing_fails() {
        let fixture = Fixture::new();
        let (cut, mut built) = (cut(&fixture, &["one", "two"]), Built::new());
        let (catalog, objects) = (&fixture.core.parties.catalog, &fixture.core.parties.objects);
        let fence = Some(Fence { lease: "indexer/0000".to_owned(), token: 7 });
        let stranger = publisher(&fixture, fence);
        for _ in 0..3 {
            let refused = stranger.publish(&cut, &mut built).unwrap_err();
            assert!(!is_of_no_use(&refused), "{refused}");
        }
        let first = ids(&built);
        assert_eq!(objects.list().unwrap().len(), 2, "one split has two objects");
        let owner = publisher(&fixture, None);
        owner.publish(&cut, &mut built).unwrap();
        assert_eq!(ids(&built), first);
        // Its answer was lost, say: it is known by its name.
        owner.publish(&cut, &mut built).unwrap();
        assert_eq!(fixture.stored(), ["one", "two"]);
        assert_eq!(catalog.indexed_offset(PARTITION).unwrap(), cut.to);
    }

    #[test]
    fn what_may_be_swept_is_built_anew() {
        let fixture = Fixture::new();
        let (cut, mut built) = (cut(&fixture, &["one"]), Built::new());
        let owner = publisher(&fixture, None);
        let meta = owner.build(&cut, &"main".into(), &cut.parts.by_index()["main"]).unwrap();
        built.insert("main".into(), meta);
        let (old, moment) = (ids(&built), Timestamp(5));
        fixture.core.parties.catalog.execute(Command::SweepBefore(moment)).unwrap();
        let refused = owner.publish(&cut, &mut built).unwrap_err();
        assert!(is_of_no_use(&refused), "{refused}");
        assert!(fixture.stored().is_empty());
        built.clear();
        // The clock of this node is behind: what it builds is not older than what is swept.
        owner.publish(&cut, &mut built).unwrap();
        let [new]: [SplitId; 1] = ids(&built).try_into().unwrap();
        assert_eq!((new.begun(), old.contains(&new)), (Some(moment), false));
        assert_eq!(fixture.stored(), ["one"]);
    }
}
