//! Copies that a disk damaged: found when they are read, or looked through one after the other, and
//! fetched again from a node that has a whole one.

use std::sync::Arc;

use cluster::catalog::CatalogError;
use model::split::{SplitId, SplitMeta};

use super::copies::{Copies, TakenObject, as_built};
use super::repair::{Looker, Sight};

impl Copies {
    /// What of a split's objects is not here as it was built: damaged, unreadable or gone. Nothing of
    /// one of which that is not known. Reads all of them.
    pub(super) fn not_whole(&self, meta: &SplitMeta) -> Vec<TakenObject> {
        let objects = as_built(meta).into_iter().flatten();
        let is_whole = |object: &TakenObject| {
            self.announced(object.name.clone()).is_ok_and(|found| found == *object)
        };
        objects.filter(|object| !is_whole(object)).collect()
    }
}

impl Looker {
    /// Looks at the copies that could not be read, and puts whole ones in the place of damaged ones.
    /// Which are whole again.
    pub(super) async fn mend(&mut self, sight: &Sight) -> Result<Vec<SplitId>, CatalogError> {
        self.suspects.extend(self.copies.take_suspects());
        let (me, mut mended) = (self.copies.0.metadata.me(), Vec::new());
        let mut left = std::mem::take(&mut self.suspects);
        while let Some(id) = left.pop_first() {
            if self.rests(&id) {
                self.suspects.insert(id);
                continue;
            }
            let catalog = self.copies.0.metadata.catalog();
            let meta = match tokio::task::block_in_place(|| catalog.split(&id)) {
                Ok(meta) => meta,
                Err(error) => {
                    self.suspects.insert(id);
                    self.suspects.append(&mut left);
                    return Err(error);
                }
            };
            // One that this node does not keep is read elsewhere.
            let Some(meta) = meta.filter(|meta| meta.copies.contains(&me)) else { continue };
            if self.mend_one(meta, sight).await {
                mended.push(id);
            }
        }
        Ok(mended)
    }

    /// Whether a copy was damaged and is whole again.
    async fn mend_one(&mut self, meta: SplitMeta, sight: &Sight) -> bool {
        let meta = Arc::new(meta);
        let keepers = self.keepers(&meta, &sight.topology);
        let me = self.copies.0.metadata.me();
        if keepers.is_empty() && meta.copies.iter().any(|node| *node != me) {
            // It is read when somebody answers who may have a whole one.
            self.rest(meta.id.clone());
            self.suspects.insert(meta.id.clone());
            return false;
        }
        let looked_at = meta.clone();
        let damaged = self.copies.reading(move |copies| Ok(copies.not_whole(&looked_at))).await;
        let damaged = damaged.unwrap_or_default();
        if damaged.is_empty() {
            return false;
        }
        tracing::error!(split = %meta.id, objects = damaged.len(), "a copy is damaged: fetching it again");
        for keeper in keepers {
            let mut came = Ok(());
            for object in &damaged {
                came = match came {
                    Ok(()) => self.copies.take_one(&keeper.address, object).await,
                    failed => failed,
                };
            }
            if self.has_come(&meta.id, &keeper, came) {
                tracing::info!(split = %meta.id, from = %keeper.id, "a damaged copy is whole again");
                return true;
            }
        }
        self.rest(meta.id.clone());
        self.suspects.insert(meta.id.clone());
        false
    }

    /// Has one split more looked through, all in turn.
    pub(super) fn look_through(&mut self, splits: &[Arc<SplitMeta>]) {
        let me = self.copies.0.metadata.me();
        let own = splits.iter().filter(|split| split.copies.contains(&me) && split.sums.is_some());
        let next = next_of(own.map(|split| &split.id), self.looked_through.as_ref());
        self.looked_through = next.cloned();
        self.suspects.extend(self.looked_through.clone());
    }
}

/// The first id behind the last one, or the first of all.
fn next_of<'a>(
    ids: impl Iterator<Item = &'a SplitId> + Clone,
    last: Option<&SplitId>,
) -> Option<&'a SplitId> {
    let behind = ids.clone().filter(|id| last.is_none_or(|last| *id > last)).min();
    behind.or_else(|| ids.min())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_looked_through_in_turn() {
        let ids = ["b", "a", "c"].map(|id| SplitId(id.to_owned()));
        let (mut last, mut seen) = (None, Vec::new());
        for _ in 0..5 {
            last = next_of(ids.iter(), last);
            seen.extend(last.map(|id| id.0.as_str()));
        }
        assert_eq!(seen, ["a", "b", "c", "a", "b"]);
        let gone = SplitId("bb".to_owned());
        assert_eq!(next_of(ids.iter(), Some(&gone)), Some(&ids[2]));
        assert_eq!(next_of([].iter(), Some(&gone)), None);
    }
}
