//! What a node had on its own before it founded a cluster. None of it is in an entry of the metadata
//! log, so the founder puts it there, in pieces, before anybody comes.

use std::sync::Arc;

use model::deletion::Deletion;
use model::node::NodeId;
use model::partition::{Offset, PartitionId};
use model::split::SplitMeta;
use redb::{ReadableDatabase as _, ReadableTable as _};
use serde::{Deserialize, Serialize};

use super::apply::{DELETIONS, DOCUMENTS, Outcome, PARTITIONS, SPLITS, Tables};
use super::command::{Answer, Change};
use super::{Catalog, CatalogError, storage};

/// Entries of one piece: about a kilobyte each.
const PIECE_ENTRIES: usize = 256;

/// A piece of what a node had.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Estate {
    /// Splits.
    pub splits: Vec<SplitMeta>,
    /// The offsets below which partitions are in splits.
    pub offsets: Vec<(PartitionId, Offset)>,
    /// Deletions that were asked.
    pub deletions: Vec<Deletion>,
    /// Documents: family, name, JSON.
    pub documents: Vec<(String, String, String)>,
}

impl Catalog {
    /// All of what is here, in pieces; none for a node that had nothing. Its splits are on the disk
    /// of this node, `me`.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub(crate) fn estate(&self, me: NodeId) -> Result<Vec<Estate>, CatalogError> {
        let mut pieces = Vec::new();
        let kept = |split: &Arc<SplitMeta>| match split.copies.is_empty() {
            true => SplitMeta { copies: vec![me], ..SplitMeta::clone(split) },
            false => SplitMeta::clone(split),
        };
        for splits in self.splits()?.chunks(PIECE_ENTRIES) {
            let splits = splits.iter().map(kept).collect();
            pieces.push(Estate { splits, ..Estate::default() });
        }
        let mut documents = Vec::new();
        {
            let read = self.database.begin_read().map_err(storage)?;
            let table = read.open_table(DOCUMENTS).map_err(storage)?;
            for entry in table.iter().map_err(storage)? {
                let (key, value) = entry.map_err(storage)?;
                let ((kind, name), value) = (key.value(), value.value());
                let value = String::from_utf8_lossy(value).into_owned();
                documents.push((kind.to_owned(), name.to_owned(), value));
            }
        }
        for documents in documents.chunks(PIECE_ENTRIES) {
            pieces.push(Estate { documents: documents.to_vec(), ..Estate::default() });
        }
        // The offsets come last: what is below them must be known by then.
        let (offsets, deletions) = (self.indexed_offsets()?, self.deletions()?);
        if !offsets.is_empty() || !deletions.is_empty() {
            let offsets = offsets.into_iter().collect();
            pieces.push(Estate { offsets, deletions, ..Estate::default() });
        }
        Ok(pieces)
    }
}

impl Tables<'_> {
    /// Takes over what is not here; at the founder all of it is, but for who keeps its splits.
    pub(super) fn adopt(&self, estate: &Estate) -> Result<Outcome, CatalogError> {
        let mut is_new = false;
        for split in &estate.splits {
            let known = self.get::<_, SplitMeta>(SPLITS, split.id.0.as_str())?;
            // The founder did not know of copies when it was on its own.
            if known.is_none_or(|known| known.copies.is_empty()) {
                self.put(SPLITS, split.id.0.as_str(), split)?;
                is_new = true;
            }
        }
        for deletion in &estate.deletions {
            if self.get::<_, Deletion>(DELETIONS, deletion.number)?.is_none() {
                self.put(DELETIONS, deletion.number, deletion)?;
                is_new = true;
            }
        }
        let mut offsets = self.0.open_table(PARTITIONS).map_err(storage)?;
        for (partition, offset) in &estate.offsets {
            let known = offsets.get(partition.0).map_err(storage)?.map(|offset| offset.value());
            if known.is_none() {
                offsets.insert(partition.0, offset.0).map_err(storage)?;
                is_new = true;
            }
        }
        let mut documents = self.0.open_table(DOCUMENTS).map_err(storage)?;
        for (kind, name, value) in &estate.documents {
            let key = (kind.as_str(), name.as_str());
            if documents.get(key).map_err(storage)?.is_none() {
                documents.insert(key, value.as_bytes()).map_err(storage)?;
                is_new = true;
            }
        }
        Ok(Ok((Answer::Done, is_new.then_some(Change::All))))
    }
}
