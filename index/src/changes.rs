//! What the catalog tells: the one way by which splits, offsets and deletions reach the view, on a
//! node of its own and in a cluster.

use std::sync::Arc;

use cluster::catalog::{CatalogError, Change, Publication};
use model::node::RETENTION_LEASE;
use model::split::{SplitId, SplitMeta};

use crate::delete;
use crate::searcher::{Core, State};

impl Core {
    /// Takes over a change. Called in the order in which they happened.
    pub(crate) fn hear(&self, change: &Change) {
        match change {
            Change::Published(publication) => self.change(|state| published(state, publication)),
            Change::Replaced { remove, add } => {
                self.change(|state| replaced(state, remove, add));
                add.iter().for_each(|meta| self.forget(&meta.id));
            }
            Change::Copies(metas) => self.change(|state| {
                for meta in metas {
                    if let Some(known) = state.splits.get_mut(&meta.id) {
                        *known = Arc::new(meta.clone());
                    }
                }
            }),
            Change::Deletion(deletion) => delete::heard(self, deletion),
            Change::Topology => {}
            Change::All => {
                if let Err(error) = self.read_all() {
                    tracing::error!(%error, "the catalog cannot be read anew");
                }
                self.reset.send_modify(|count| *count += 1);
            }
        }
    }

    /// Everything as the catalog has it.
    pub(crate) fn read_all(&self) -> Result<(), CatalogError> {
        let splits = self.parties.catalog.splits()?;
        let deletions = delete::Deletions::of(self.parties.catalog.deletions()?);
        let published = self.parties.catalog.indexed_offsets()?;
        self.change(|state| {
            let before = std::mem::take(&mut state.splits);
            state.splits = splits.into_iter().map(|split| (split.id.clone(), split)).collect();
            let gone = before.into_iter().filter(|(id, _)| !state.splits.contains_key(id));
            let gone: Vec<Arc<SplitMeta>> = gone.map(|(_, split)| split).collect();
            state.removed.extend(gone);
            state.deletions = deletions;
            state.published = published;
        });
        Ok(())
    }

    /// Whether this node expires records by age for all.
    pub(crate) fn keeps_time(&self) -> bool {
        let topology = self.parties.catalog.topology();
        let topology = topology.borrow();
        let holder = topology.leases.get(RETENTION_LEASE);
        holder.map_or(topology.nodes.is_empty(), |lease| lease.node == self.parties.node)
    }
}

fn published(state: &mut State, publication: &Publication) {
    for meta in &publication.add {
        state.splits.insert(meta.id.clone(), Arc::new(meta.clone()));
    }
    state.published.insert(publication.partition, publication.to);
    if let Some(partition) = state.partitions.get_mut(&publication.partition) {
        partition.published = publication.to;
        if partition.frozen.as_ref().is_some_and(|frozen| frozen.end <= publication.to) {
            partition.frozen = None;
        }
        // Of a former life of this node, told late: what was read again is in splits already.
        if partition.active.start < publication.to {
            partition.active.begin_at(publication.to);
        }
    }
}

fn replaced(state: &mut State, remove: &[SplitId], add: &[SplitMeta]) {
    for id in remove.iter().filter(|id| !add.iter().any(|meta| meta.id == **id)) {
        // Objects go when no view holds them.
        state.removed.extend(state.splits.remove(id));
    }
    for meta in add {
        state.splits.insert(meta.id.clone(), Arc::new(meta.clone()));
    }
}
