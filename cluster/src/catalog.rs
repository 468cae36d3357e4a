//! The truth about which splits exist and how far each partition is published. One redb file;
//! every change is one durable transaction.

use std::path::Path;
use std::sync::Arc;

use model::deletion::Deletion;
use model::partition::{Offset, PartitionId};
use model::split::{SplitId, SplitMeta};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

const SPLITS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("splits");
const PARTITIONS: TableDefinition<'_, u32, u64> = TableDefinition::new("partitions");
const DELETIONS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("deletions");
pub(crate) const DOCUMENTS: TableDefinition<'_, (&str, &str), &[u8]> =
    TableDefinition::new("documents");
const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
/// Bytes of memory for redb's page cache; its own default is a gigabyte.
const CACHE_BYTES: usize = 16 << 20;

/// The catalog. Clones share it.
#[derive(Debug, Clone)]
pub struct Catalog {
    pub(crate) database: Arc<Database>,
}

/// A partition's records `from..to` became these splits.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The partition.
    pub partition: PartitionId,
    /// Its indexed offset until now.
    pub from: Offset,
    /// Its indexed offset from now on.
    pub to: Offset,
    /// The splits that hold the records; none when there was nothing to keep.
    pub add: Vec<SplitMeta>,
}

/// Why the catalog did not do it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Somebody else published; what was built is to be thrown away.
    #[error("partition {partition} is published up to {current}, not {expected}")]
    Moved {
        /// The partition.
        partition: PartitionId,
        /// Where it is.
        current: Offset,
        /// Where it was thought to be.
        expected: Offset,
    },
    /// A split to be replaced is gone; what was built is to be thrown away.
    #[error("split {0} is not in the catalog any more")]
    Gone(SplitId),
    /// What is written there cannot be read.
    #[error("the catalog's entry {key:?} is damaged: restore catalog.redb from a backup")]
    Damaged {
        /// Which entry.
        key: String,
        /// How.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be opened, read or written.
    #[error(
        "the catalog failed: if its disk is full make room; if catalog.redb is damaged restore it"
    )]
    Storage(#[source] Box<redb::Error>),
}

pub(crate) fn storage(error: impl Into<redb::Error>) -> CatalogError {
    CatalogError::Storage(Box::new(error.into()))
}

impl Catalog {
    /// Opens the catalog, made when it is not there.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        let database =
            Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(storage)?;
        let write = database.begin_write().map_err(storage)?;
        write.open_table(SPLITS).map_err(storage)?;
        write.open_table(PARTITIONS).map_err(storage)?;
        write.open_table(DELETIONS).map_err(storage)?;
        write.open_table(DOCUMENTS).map_err(storage)?;
        write.open_table(META).map_err(storage)?;
        write.commit().map_err(storage)?;
        Ok(Self { database: Arc::new(database) })
    }

    /// All published splits, by id.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn splits(&self) -> Result<Vec<Arc<SplitMeta>>, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let table = read.open_table(SPLITS).map_err(storage)?;
        let mut splits = Vec::new();
        for entry in table.iter().map_err(storage)? {
            let (key, value) = entry.map_err(storage)?;
            let meta = serde_json::from_slice(value.value())
                .map_err(|source| CatalogError::Damaged { key: key.value().to_owned(), source })?;
            splits.push(Arc::new(meta));
        }
        Ok(splits)
    }

    /// The offset below which a partition's records are in splits.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn indexed_offset(&self, partition: PartitionId) -> Result<Offset, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let table = read.open_table(PARTITIONS).map_err(storage)?;
        let offset = table.get(partition.0).map_err(storage)?;
        Ok(Offset(offset.map_or(0, |offset| offset.value())))
    }

    /// Adds splits and moves the partition's indexed offset in one step.
    ///
    /// # Errors
    /// [`CatalogError::Moved`] when the partition is published to another place by now.
    pub fn publish(&self, publication: &Publication) -> Result<(), CatalogError> {
        let write = self.database.begin_write().map_err(storage)?;
        {
            let mut partitions = write.open_table(PARTITIONS).map_err(storage)?;
            let partition = publication.partition;
            let current = partitions.get(partition.0).map_err(storage)?.map_or(0, |o| o.value());
            if current != publication.from.0 {
                let (current, expected) = (Offset(current), publication.from);
                return Err(CatalogError::Moved { partition, current, expected });
            }
            partitions.insert(partition.0, publication.to.0).map_err(storage)?;
            insert(&write, &publication.add)?;
        }
        write.commit().map_err(storage)
    }

    /// Puts splits in the place of others (a merge) in one step. With nothing to add it removes
    /// (retention).
    ///
    /// # Errors
    /// [`CatalogError::Gone`] when one of the old ones is not there any more.
    pub fn replace(&self, remove: &[SplitId], add: &[SplitMeta]) -> Result<(), CatalogError> {
        let write = self.database.begin_write().map_err(storage)?;
        {
            let mut splits = write.open_table(SPLITS).map_err(storage)?;
            for id in remove {
                if splits.remove(id.0.as_str()).map_err(storage)?.is_none() {
                    return Err(CatalogError::Gone(id.clone()));
                }
            }
        }
        insert(&write, add)?;
        write.commit().map_err(storage)
    }

    /// All deletions that were asked, by number.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn deletions(&self) -> Result<Vec<Deletion>, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let table = read.open_table(DELETIONS).map_err(storage)?;
        let mut deletions = Vec::new();
        for entry in table.iter().map_err(storage)? {
            let (key, value) = entry.map_err(storage)?;
            let deletion = serde_json::from_slice(value.value()).map_err(|source| {
                CatalogError::Damaged { key: format!("deletion {}", key.value()), source }
            })?;
            deletions.push(deletion);
        }
        Ok(deletions)
    }

    /// Stores a deletion, or how far it is.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn put_deletion(&self, deletion: &Deletion) -> Result<(), CatalogError> {
        let value = serde_json::to_vec(deletion).map_err(|source| CatalogError::Damaged {
            key: format!("deletion {}", deletion.number),
            source,
        })?;
        let write = self.database.begin_write().map_err(storage)?;
        {
            let mut table = write.open_table(DELETIONS).map_err(storage)?;
            table.insert(deletion.number, value.as_slice()).map_err(storage)?;
        }
        write.commit().map_err(storage)
    }

    /// A remembered fact, such as the node's id.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn fact(&self, name: &str) -> Result<Option<String>, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let table = read.open_table(META).map_err(storage)?;
        let fact = table.get(name).map_err(storage)?;
        Ok(fact.map(|fact| fact.value().to_owned()))
    }

    /// Remembers a fact.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn remember(&self, name: &str, fact: &str) -> Result<(), CatalogError> {
        let write = self.database.begin_write().map_err(storage)?;
        write.open_table(META).map_err(storage)?.insert(name, fact).map_err(storage)?;
        write.commit().map_err(storage)
    }
}

fn insert(write: &redb::WriteTransaction, add: &[SplitMeta]) -> Result<(), CatalogError> {
    let mut splits = write.open_table(SPLITS).map_err(storage)?;
    for meta in add {
        let key = meta.id.0.as_str();
        let value = serde_json::to_vec(meta)
            .map_err(|source| CatalogError::Damaged { key: key.to_owned(), source })?;
        splits.insert(key, value.as_slice()).map_err(storage)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(id: &str) -> SplitMeta {
        SplitMeta {
            id: SplitId(id.to_owned()),
            index: "main".to_owned(),
            partition: PartitionId(0),
            offset_first: Offset(0),
            offset_last: Offset(9),
            row_count: 10,
            time_first: 0,
            time_last: 9,
            ingest_last: 9,
            level_counts: [0, 0, 0, 10, 0, 0, 0],
            stored_bytes: 100,
            raw_bytes: 1000,
            merges: 0,
            deletions: 0,
        }
    }

    fn ids(catalog: &Catalog) -> Vec<String> {
        catalog.splits().unwrap().iter().map(|split| split.id.0.clone()).collect()
    }

    #[test]
    fn publishing_moves_the_offset_and_adds_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.redb");
        let publish = |catalog: &Catalog, from, to, id| {
            let (partition, from, to) = (PartitionId(3), Offset(from), Offset(to));
            catalog.publish(&Publication { partition, from, to, add: vec![meta(id)] })
        };
        let catalog = Catalog::open(&path).unwrap();
        publish(&catalog, 0, 10, "a").unwrap();
        assert!(matches!(publish(&catalog, 0, 10, "b"), Err(CatalogError::Moved { .. })));
        drop(catalog);
        let catalog = Catalog::open(&path).unwrap();
        assert_eq!(catalog.indexed_offset(PartitionId(3)).unwrap(), Offset(10));
        assert_eq!(catalog.indexed_offset(PartitionId(4)).unwrap(), Offset(0));
        assert_eq!(ids(&catalog), ["a"]);
    }

    #[test]
    fn replacing_needs_all_the_old_ones() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        catalog.replace(&[], &[meta("a"), meta("b")]).unwrap();
        let old = [SplitId("a".to_owned()), SplitId("x".to_owned())];
        assert!(matches!(catalog.replace(&old, &[meta("c")]), Err(CatalogError::Gone(_))));
        assert_eq!(ids(&catalog), ["a", "b"]);
        let old = [SplitId("a".to_owned()), SplitId("b".to_owned())];
        catalog.replace(&old, &[meta("c")]).unwrap();
        assert_eq!(ids(&catalog), ["c"]);
    }
}
