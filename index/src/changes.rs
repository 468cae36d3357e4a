//! What the catalog tells: the one way by which splits, offsets and deletions reach the view, on a
//! node of its own and in a cluster.

use std::sync::Arc;

use cluster::catalog::{CatalogError, Change, Fence, Publication};
use model::node::RETENTION_LEASE;
use model::split::{SplitId, SplitMeta};

use crate::core::NotHere;
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
                    if state.splits.contains_key(&meta.id) {
                        state.know(Arc::new(meta.clone()));
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
            let before = before.into_values();
            let (stay, gone): (Vec<_>, Vec<_>) =
                before.partition(|split| state.splits.contains_key(&split.id));
            state.removed.extend(gone);
            state.older.extend(stay.into_iter().filter(|split| Arc::strong_count(split) > 1));
            let recent = std::mem::take(&mut state.deletions.recent);
            state.deletions = delete::Deletions { recent, ..deletions };
            delete::forget_done(state);
            state.published = published;
        });
        Ok(())
    }

    /// The lease under which this node expires records by age for all, in a cluster; `Err` when
    /// another node does it.
    pub(crate) fn time_lease(&self) -> Result<Option<Fence>, NotHere> {
        let topology = self.parties.catalog.topology();
        let topology = topology.borrow();
        let lease = RETENTION_LEASE.to_owned();
        match topology.leases.get(RETENTION_LEASE) {
            Some(held) if held.node == self.parties.node => {
                Ok(Some(Fence { lease, token: held.token }))
            }
            None if self.parties.remote.is_none() => Ok(None),
            _ => Err(NotHere),
        }
    }
}

fn published(state: &mut State, publication: &Publication) {
    for meta in &publication.add {
        state.know(Arc::new(meta.clone()));
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
        state.know(Arc::new(meta.clone()));
    }
}
