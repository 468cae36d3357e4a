//! The whole catalog as bytes, for a node that comes late: one record an entry, in the order of the
//! tables. What is a node's alone is not in it.

use redb::{
    Durability, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    Value, WriteTransaction,
};

use super::apply::{DELETIONS, DOCUMENTS, LEASES, META, NODES, PARTITIONS, PLACEMENTS, SPLITS};
use super::{Catalog, CatalogError, Change, remember_local, storage};

/// First bytes of a dump.
const MAGIC: [u8; 8] = *b"SWLGCAT1";

/// Why a dump was not taken over; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// It ends too early, or is of another version.
    #[error("a snapshot of the catalog cannot be read at byte {0}")]
    Damaged(usize),
    /// The file failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// Does something with every replicated table.
macro_rules! each_table {
    ($body:ident, $with:expr) => {{
        $body(0, SPLITS, $with)?;
        $body(1, PARTITIONS, $with)?;
        $body(2, DELETIONS, $with)?;
        $body(3, DOCUMENTS, $with)?;
        $body(4, META, $with)?;
        $body(5, NODES, $with)?;
        $body(6, PLACEMENTS, $with)?;
        $body(7, LEASES, $with)?;
    }};
}

impl Catalog {
    /// Everything but what is this node's alone, and the local facts of those names as of the same
    /// moment.
    pub(crate) fn dump(&self, local: &str) -> Result<(Vec<u8>, Option<String>), CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let mut out = MAGIC.to_vec();
        each_table!(write_table, (&read, &mut out));
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        let table = read.open_table(super::LOCAL).map_err(storage)?;
        let local = table.get(local).map_err(storage)?.map(|fact| fact.value().to_owned());
        Ok((out, local))
    }

    /// Puts a dump in the place of everything, with local facts.
    pub(crate) fn restore(&self, dump: &[u8], local: &[(&str, &str)]) -> Result<(), RestoreError> {
        let _alone = self.seat.alone.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let write = self.write(Durability::Immediate)?;
        // What has its checksum was written by one of us: its tables hold what ours hold.
        let whole = dump
            .split_last_chunk()
            .filter(|(bytes, sum)| crc32c::crc32c(bytes).to_le_bytes() == **sum);
        let (dump, _) = whole.ok_or(RestoreError::Damaged(dump.len()))?;
        let mut reader = Reader { bytes: dump, at: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(RestoreError::Damaged(0));
        }
        each_table!(read_table, (&write, &mut reader));
        if reader.at != dump.len() {
            return Err(RestoreError::Damaged(reader.at));
        }
        remember_local(&write, local)?;
        write.commit().map_err(storage)?;
        self.tell(&[Change::All])?;
        Ok(())
    }
}

/// A table: its number, how many entries, and each as two lengths and its bytes.
fn write_table<K: Key + 'static, V: Value + 'static>(
    number: u8,
    table: TableDefinition<'_, K, V>,
    (read, out): (&ReadTransaction, &mut Vec<u8>),
) -> Result<(), CatalogError> {
    let table = read.open_table(table).map_err(storage)?;
    out.push(number);
    let at = out.len();
    out.extend_from_slice(&[0; 8]);
    let mut count = 0_u64;
    for entry in table.iter().map_err(storage)? {
        let (key, value) = entry.map_err(storage)?;
        let (key, value) = (key.value(), value.value());
        for bytes in [K::as_bytes(&key).as_ref(), V::as_bytes(&value).as_ref()] {
            out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            out.extend_from_slice(bytes);
        }
        count += 1;
    }
    if let Some(place) = out.get_mut(at..at + 8) {
        place.copy_from_slice(&count.to_le_bytes());
    }
    Ok(())
}

fn read_table<K: Key + 'static, V: Value + 'static>(
    number: u8,
    definition: TableDefinition<'_, K, V>,
    (write, reader): (&WriteTransaction, &mut Reader<'_>),
) -> Result<(), RestoreError> {
    write.delete_table(definition).map_err(storage)?;
    let mut table = write.open_table(definition).map_err(storage)?;
    let damaged = RestoreError::Damaged(reader.at);
    if reader.take(1)? != [number] {
        return Err(damaged);
    }
    for _ in 0..reader.number()? {
        let length = reader.number()?;
        let key = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        let length = reader.number()?;
        let value = reader.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        table.insert(K::from_bytes(key), V::from_bytes(value)).map_err(storage)?;
    }
    Ok(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], RestoreError> {
        let end = self.at.checked_add(count).ok_or(RestoreError::Damaged(self.at))?;
        let taken = self.bytes.get(self.at..end).ok_or(RestoreError::Damaged(self.at))?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, RestoreError> {
        let bytes = self.take(8)?;
        Ok(bytes.try_into().map_or(0, u64::from_le_bytes))
    }
}

#[cfg(test)]
mod tests {
    use model::node::{Health, NodeId};
    use model::partition::{Offset, PartitionId};
    use serde::Serialize;

    use super::super::Command;
    use super::*;

    /// What a node of version 3 of the nodes' protocol sent: a split, an offset, facts, a node, a placement,
    /// two leases.
    const OF_VERSION_3: &[u8] = include_bytes!("../../fixtures/protocol-3/catalog.dump");

    fn text(value: &impl Serialize) -> Vec<u8> {
        serde_json::to_vec(value).unwrap()
    }

    #[test]
    fn what_the_version_before_sent_is_taken_over_and_sent_again_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("a.redb")).unwrap();
        catalog.restore(OF_VERSION_3, &[]).unwrap();
        let topology = catalog.topology().borrow().clone();
        assert_eq!(topology.cluster, "00000000000000aa");
        let node = &topology.nodes[&NodeId(7)];
        assert_eq!((node.protocol, node.epoch, node.health), (3, 2, Health::Up));
        let partition = PartitionId(3);
        assert_eq!(catalog.indexed_offsets().unwrap()[&partition], Offset(10));
        let (split, placement) =
            (catalog.splits().unwrap().remove(0), &topology.partitions[&partition]);
        assert_eq!((split.row_count, placement.born), (10, true));
        let lease = &topology.leases["retention"];
        // Today's program writes each of them as it read it.
        for text in [text(&*split), text(node), text(placement), text(lease)] {
            let is_there = OF_VERSION_3.windows(text.len()).any(|part| part == text);
            assert!(is_there, "{}", String::from_utf8_lossy(&text));
        }
        assert_eq!(catalog.dump("node").unwrap().0, OF_VERSION_3);
    }

    #[test]
    fn a_dump_restores_everything_but_what_is_a_nodes_own() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| Catalog::open(&folder.path().join(name)).unwrap();
        let (from, to) = (open("a.redb"), open("b.redb"));
        let (own, other) = (from.node_id().unwrap(), to.node_id().unwrap());
        let fact = |name: &str, fact: &str| Command::Remember {
            name: name.to_owned(),
            fact: fact.to_owned(),
        };
        let (kind, name, value) = ("view".to_owned(), "v".to_owned(), "1".to_owned());
        from.execute(Command::PutDocument { kind, name, value }).unwrap();
        from.execute(fact("colour", "green")).unwrap();
        to.execute(fact("size", "9")).unwrap();
        let (dump, local) = from.dump("node").unwrap();
        assert_eq!(local, Some(own.to_string()));
        to.restore(&dump, &[("applied", "7")]).unwrap();
        assert_eq!(to.fact("colour").unwrap().as_deref(), Some("green"));
        assert_eq!(to.fact("size").unwrap(), None);
        assert_eq!(to.local("applied").unwrap().as_deref(), Some("7"));
        assert_eq!(to.node_id().unwrap(), other);
        assert_eq!(to.dump("node").unwrap().0, dump);
        for cut in 0..dump.len() {
            assert!(to.restore(&dump[..cut], &[]).is_err(), "{cut}");
        }
        assert_eq!(to.dump("node").unwrap().0, dump);
    }
}
