//! How far a log's records go: what its readers keep of the fold, to take the very batches that it takes.

use bytes::Bytes;
use cluster::raft::Fold as _;
use model::partition::{Entry, Offset};

use super::fold::{PartitionFold, batches_of, judged_among, seed_of, spread_of};

/// Where a log's records go on, as of one of its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Course {
    /// The offset behind the last record.
    pub(crate) next: Offset,
    /// Over how many partitions batches are spread, as was told.
    count: u32,
}

impl Course {
    /// As of a fold's snapshot.
    pub(super) fn of(fold: &[u8]) -> Self {
        let fold = PartitionFold::restore(fold);
        fold.map_or_else(Self::default, |fold| Self { next: fold.0.next, count: fold.0.count })
    }

    /// Goes on by a command, and gives the batches in it that were taken. A leader judges on what is
    /// committed, so a batch that follows, among as many partitions, is what it was judged to be.
    pub(crate) fn follow(&mut self, command: &Bytes) -> Vec<Entry> {
        if let Some(state) = seed_of(command) {
            if self.next == Offset(0) {
                self.next = state.next;
                self.count = self.count.max(state.count);
            }
        } else if let Some(count) = spread_of(command) {
            self.count = self.count.max(count);
        }
        if judged_among(command) != Some(self.count) {
            return Vec::new();
        }
        let follows = |entry: &Entry| {
            let is_next = entry.first == self.next;
            if is_next {
                self.next = entry.end();
            }
            is_next
        };
        batches_of(command).map(|(entry, _)| entry).filter(follows).collect()
    }
}

#[cfg(test)]
mod tests {
    use model::batch::Sequence;
    use model::time::Timestamp;

    use super::super::fold::{command, forget, seed, spread};
    use super::*;

    #[test]
    fn readers_take_what_the_fold_takes() {
        let entry = |first: u64, from: u64| {
            let (ingest_time, batch) = (Timestamp(5), Bytes::from_static(b"ab"));
            let sequence = Sequence { producer: 1, epoch: 0, from, to: from + 1 };
            (Entry { first: Offset(first), record_count: 2, ingest_time, batch }, sequence)
        };
        let mut founder = PartitionFold::default();
        founder.apply(1, &command(0, &[entry(0, 0), entry(2, 1)]));
        let log = [
            seed(&founder.0),
            Bytes::new(),
            command(0, &[entry(4, 2), entry(6, 3)]),
            // Numbered by a leader that did not know those.
            command(0, &[entry(6, 3)]),
            spread(3),
            // Judged before it.
            command(0, &[entry(8, 4)]),
            forget(2, Timestamp(6)).unwrap(),
            forget(4, Timestamp(6)).unwrap(),
            command(3, &[entry(8, 4)]),
            spread(2),
            command(2, &[entry(10, 5)]),
            spread(5),
            command(3, &[entry(10, 5)]),
            command(5, &[entry(10, 5)]),
            seed(&founder.0),
        ];
        let (mut fold, mut course, mut firsts) =
            (PartitionFold::default(), Course::default(), Vec::new());
        for command in &log {
            fold.apply(1, command);
            firsts.extend(course.follow(command).iter().map(|entry| entry.first.0));
            assert_eq!(course, Course::of(&fold.snapshot()));
        }
        assert_eq!((firsts, course.next), (vec![4, 6, 8, 10], Offset(12)));
        assert_eq!(Course::of(b"?"), Course::default());
    }
}
