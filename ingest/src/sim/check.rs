//! What must hold, whatever happened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cluster::raft::Fold as _;
use model::partition::{Offset, PartitionId};

use super::world::World;

/// Checks a world that has healed.
pub(super) fn all(world: &World) -> Result<(), String> {
    let mut stored: Vec<Vec<String>> = Vec::new();
    for (number, group) in world.groups.iter().enumerate() {
        let most = group.members.iter().max_by_key(|member| member.committed);
        let (records, _) = most.ok_or("no member")?.records(Offset(0));
        let texts = records.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let texts: Vec<String> = texts.collect();
        same_logs(number, group)?;
        stored.push(texts);
    }
    once(&stored)?;
    acknowledged_is_readable(world, &stored)?;
    in_order(&stored)?;
    published_once(world, &stored)
}

/// Also in two partitions.
fn once(stored: &[Vec<String>]) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    match stored.iter().flatten().find(|text| !seen.insert(*text)) {
        Some(twice) => Err(format!("{twice} is stored twice")),
        None => Ok(()),
    }
}

/// What two members know to be committed is the same, and adds up to the same.
pub(super) fn same_logs(partition: usize, group: &super::group::Group) -> Result<(), String> {
    for one in &group.members {
        for other in &group.members {
            let shared = one.committed.min(other.committed);
            if one.log[..shared] != other.log[..shared] {
                return Err(format!("partition {partition}: committed logs differ"));
            }
            if one.log == other.log && sorted(&one.fold) != sorted(&other.fold) {
                return Err(format!(
                    "partition {partition}: equal logs add up to different states"
                ));
            }
        }
    }
    Ok(())
}

/// A fold's snapshot without the order of its producers.
fn sorted(fold: &crate::replica::fold::PartitionFold) -> Vec<Vec<u8>> {
    let snapshot = fold.snapshot();
    let (head, producers) = snapshot.split_at(16);
    let mut all: Vec<Vec<u8>> = producers.chunks(28).map(<[u8]>::to_vec).collect();
    all.sort();
    all.push(head.to_vec());
    all
}

fn acknowledged_is_readable(world: &World, stored: &[Vec<String>]) -> Result<(), String> {
    let readable: BTreeSet<&String> = stored.iter().flatten().collect();
    for client in &world.clients {
        if let Some(lost) = client.acknowledged.iter().find(|text| !readable.contains(text)) {
            return Err(format!("{lost} was acknowledged and is not stored"));
        }
    }
    Ok(())
}

/// Records of one client are stored in the order in which it sent them.
fn in_order(stored: &[Vec<String>]) -> Result<(), String> {
    for texts in stored {
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for text in texts {
            let (name, number) = text.split_once(':').ok_or("a text without name")?;
            let number: u64 = number.parse().map_err(|_| "a text without number")?;
            if last.insert(name, number).is_some_and(|before| before >= number) {
                return Err(format!("{text} is behind a later one of its stream"));
            }
        }
    }
    Ok(())
}

/// Publications of a partition join without gap or overlap, and hold what is stored there.
fn published_once(world: &World, stored: &[Vec<String>]) -> Result<(), String> {
    let mut next: BTreeMap<usize, Offset> = BTreeMap::new();
    for (partition, from, to, records) in &world.published {
        let at = next.entry(*partition).or_default();
        if at != from || to <= from {
            return Err(format!("partition {partition}: {from}..{to} published behind {at}"));
        }
        let range = usize::try_from(from.0).unwrap()..usize::try_from(to.0).unwrap();
        let texts = records.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        if stored[*partition].get(range) != Some(&texts.collect::<Vec<_>>()) {
            return Err(format!("partition {partition}: {from}..{to} holds other records"));
        }
        *at = *to;
    }
    for (partition, at) in next {
        let number = PartitionId(u32::try_from(partition).unwrap());
        let known = world.catalog.indexed_offset(number).map_err(|error| error.to_string())?;
        if known != at {
            return Err(format!("partition {partition}: the catalog says {known}, not {at}"));
        }
    }
    Ok(())
}

/// What happened in all plays.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) acknowledged: usize,
    pub(super) elections: u64,
    pub(super) truncated: u64,
    pub(super) fenced: u64,
    pub(super) repeats: u64,
    pub(super) resent: u64,
    /// Records in the partition that was added.
    pub(super) moved: usize,
    pub(super) stayed: u64,
    pub(super) elsewhere: u64,
    published: usize,
}

impl Told {
    pub(super) fn add(&mut self, world: &World) {
        let members = world.groups.iter().flat_map(|group| &group.members);
        self.truncated += members.map(|member| member.cuts).sum::<u64>();
        self.elections += world.groups.iter().map(|group| group.elections).sum::<u64>();
        self.acknowledged += world.clients.iter().map(|one| one.acknowledged.len()).sum::<usize>();
        self.fenced += world.fenced;
        self.repeats += world.repeats;
        self.resent += world.resent;
        self.stayed += world.stayed;
        self.elsewhere += world.elsewhere;
        let added = world.groups.last().and_then(|group| group.members.first());
        self.moved += added.map_or(0, |member| member.records(Offset(0)).0.len());
        self.published += world.published.len();
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} elections, {} tails cut, {} publications, {} refused to who had lost its lease, {} sent again, {} recognised; of an added partition {} records, {} batches of who stayed, {} sent on",
            self.acknowledged,
            self.elections,
            self.truncated,
            self.published,
            self.fenced,
            self.resent,
            self.repeats,
            self.moved,
            self.stayed,
            self.elsewhere
        )
    }
}
