//! Cold compaction: splits that are done and whose records are old are written anew once, packed for
//! size, those of one day together where they fit. It takes long, so it goes on beside merges and
//! deletions, one at a time; what is old is begun where nothing else is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cluster::catalog::{Catalog, CatalogError, Command};
use model::partition::PartitionId;
use model::split::SplitMeta;
use model::time::Timestamp;

use crate::aside::written_anew;
use crate::merge::{DAY, INPUTS, open_all, put_in_place, size};
use crate::publish::PublishError;
use crate::rewrite::{Rewritten, own_splits, rewritten};
use crate::room::Room;
use crate::searcher::{Core, Searcher};
use crate::split::{Packing, Split};

/// How the fact begins that says up to which arrival the splits of an index are to be cold, with the
/// index behind it.
const ASKED: &str = "compact ";
/// Records a second made searchable here from which the node is busy with them.
const BUSY_RECORDS_S: u64 = 50_000;
/// How long nothing is compacted after the disk had no room for it.
const NO_ROOM_REST: Duration = Duration::from_secs(60);

/// How far the cold compaction of an index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compaction {
    /// When it was asked for last: splits of records that had arrived by then are to be cold whatever
    /// their age; `None` where it never was.
    pub asked: Option<Timestamp>,
    /// Splits that are still to be written anew for it.
    pub splits_left: u64,
    /// Their bytes.
    pub bytes_left: u64,
    /// Splits of the index that are cold, for their age too.
    pub cold_splits: u64,
    /// Their bytes.
    pub cold_bytes: u64,
}

impl Searcher {
    /// Asks that all splits of an index with records that have arrived by now be compacted, whatever
    /// their age: by the nodes that index their partitions, one after the other. Blocks on the disk.
    ///
    /// # Errors
    /// [`CatalogError`]; nothing is asked then.
    pub fn compact(&self, index: &str) -> Result<Compaction, CatalogError> {
        let catalog = self.catalog();
        let now = self.0.parties.clock.now();
        let moment = asked(catalog, index)?.map_or(now, |known| known.max(now));
        let (name, fact) = (fact_of(index), moment.0.to_string());
        catalog.execute(Command::Remember { name, fact })?;
        tracing::info!(index, "cold compaction was asked for");
        Ok(self.progress(index, Some(moment)))
    }

    /// How far that is. Blocks on the disk.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn compaction(&self, index: &str) -> Result<Compaction, CatalogError> {
        Ok(self.progress(index, asked(self.catalog(), index)?))
    }

    fn progress(&self, index: &str, asked: Option<Timestamp>) -> Compaction {
        let mut progress = Compaction { asked, ..Compaction::default() };
        let view = self.view();
        for split in view.splits.iter().filter(|split| split.index == index) {
            if split.cold {
                progress.cold_splits += 1;
                progress.cold_bytes += split.stored_bytes;
            } else if asked.is_some_and(|moment| has_arrived(split, moment)) {
                progress.splits_left += 1;
                progress.bytes_left += split.stored_bytes;
            }
        }
        progress
    }
}

fn fact_of(index: &str) -> String {
    format!("{ASKED}{index}")
}

/// When compaction of an index was asked for last.
fn asked(catalog: &Catalog, index: &str) -> Result<Option<Timestamp>, CatalogError> {
    let fact = catalog.fact(&fact_of(index))?;
    Ok(fact.and_then(|fact| fact.parse().ok()).map(Timestamp))
}

/// Whether all records of a split had arrived by a moment.
fn has_arrived(split: &SplitMeta, moment: Timestamp) -> bool {
    split.ingest_last <= moment.0
}

/// What is to be cold by now.
#[derive(Debug, Default)]
struct Wanted {
    /// Records of before are old.
    before: Option<Timestamp>,
    /// Up to which arrival it was asked for, by index.
    asked: BTreeMap<String, Timestamp>,
    /// Rows that no split exceeds.
    rows_max: u64,
}

impl Wanted {
    fn now(core: &Core, splits: &[Arc<SplitMeta>]) -> Result<Self, CatalogError> {
        let settings = &core.parties.settings;
        let before = settings.cold_after.map(|age| {
            let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
            Timestamp(core.parties.clock.now().0.saturating_sub(age))
        });
        let hot = splits.iter().filter(|split| !split.cold);
        let indexes: BTreeSet<&str> = hot.map(|split| split.index.as_str()).collect();
        let mut wanted = Self { before, asked: BTreeMap::new(), rows_max: settings.merge_rows_max };
        for index in indexes {
            let moment = asked(&core.parties.catalog, index)?;
            wanted.asked.extend(moment.map(|moment| (index.to_owned(), moment)));
        }
        Ok(wanted)
    }

    /// Whether a split is to be cold because somebody asked for it.
    fn is_asked(&self, split: &SplitMeta) -> bool {
        let moment = self.asked.get(&split.index);
        !split.cold && moment.is_some_and(|moment| has_arrived(split, *moment))
    }

    /// Whether it is to be cold because of its age: no merge takes it any more, since another would
    /// hardly fit beside it or since no more splits of its day are expected.
    fn is_old(&self, split: &SplitMeta) -> bool {
        let Some(before) = self.before.filter(|_| !split.cold) else { return false };
        let day_ends = split.time_last.div_euclid(DAY).saturating_add(1).saturating_mul(DAY);
        let is_done = size(split) > self.rows_max / 2 || day_ends <= before.0;
        is_done && split.older_than(before)
    }
}

/// Compacts one group after the other.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    /// When it was looked at last how many records came, by the clock's elapsed time, and how many
    /// had come by then.
    seen: Option<(Duration, u64)>,
    /// What is old waits until then.
    rests_until: Duration,
    /// Everything waits until then: the disk had no room.
    held_until: Duration,
}

impl Compactor {
    /// Compacts one group, if there is one and it may be done now. Whether it was.
    pub(crate) fn step(&mut self, core: &Core, data: &Path) -> Result<bool, PublishError> {
        let begun = core.parties.clock.elapsed();
        let is_idle = !self.is_busy(core, begun) && begun >= self.rests_until;
        let splits = own_splits(core);
        let wanted = Wanted::now(core, &splits)?;
        let is_wanted = |split: &&Arc<SplitMeta>| wanted.is_asked(split) || wanted.is_old(split);
        let waiting = splits.iter().filter(is_wanted).count();
        core.parties.metrics.cold_waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        // What is to be deleted goes first.
        let splits: Vec<_> = core.read(|state| {
            let is_clean =
                |split: &Arc<SplitMeta>| !state.deletions.is_open(split, split.deletions);
            splits.into_iter().filter(is_clean).collect()
        });
        let inputs_max = core.parties.settings.merge_fan_in.saturating_mul(INPUTS);
        let most = (inputs_max, wanted.rows_max);
        let group = choose(&splits, |split| wanted.is_asked(split), most);
        let group = group.or_else(|| {
            is_idle.then(|| choose(&splits, |split| wanted.is_old(split), most)).flatten()
        });
        // While a group is written no others are held: the objects of those may be swept.
        drop(splits);
        let Some(group) = group.filter(|_| begun >= self.held_until) else { return Ok(false) };
        if !has_room(core, data, &group) {
            self.held_until = begun + NO_ROOM_REST;
            return Ok(false);
        }
        let done = written_anew(core, &group, || compact(core, &group))?;
        // On a node with other work to do it takes half of a core at most.
        let ended = core.parties.clock.elapsed();
        self.rests_until = ended + ended.saturating_sub(begun);
        Ok(done)
    }

    /// Whether the node has its hands full with records that come.
    fn is_busy(&mut self, core: &Core, now: Duration) -> bool {
        let records = core.parties.metrics.records.get();
        let (at, before) = self.seen.replace((now, records)).unwrap_or((now, records));
        let seconds = now.saturating_sub(at).as_secs().max(1);
        let is_fast = records.saturating_sub(before) >= BUSY_RECORDS_S.saturating_mul(seconds);
        is_fast
            || core.read(|state| {
                // Splits are merged, or cleared of what is deleted.
                state.aside.is_at_work()
                    || state.partitions.values().any(|partition| {
                        // A split is being built, or records are stored that cannot be found yet.
                        let committed = *partition.queue.committed().borrow();
                        partition.frozen.is_some() || committed > partition.active.end
                    })
            })
    }
}

/// Whether the disk takes a group once more: the old objects stay until no question reads them.
fn has_room(core: &Core, data: &Path, group: &[Arc<SplitMeta>]) -> bool {
    let room = Room::new(data.to_owned(), &core.parties.settings);
    room.measure();
    let bytes: u64 = group.iter().map(|split| split.stored_bytes).sum();
    let has_room = room.takes_easily(bytes);
    if !has_room {
        tracing::warn!(bytes, "cold compaction waits: the disk is short of room");
    }
    has_room
}

/// Splits of one index, partition and day that fit into one: of the oldest day that has some, the
/// oldest first. One alone is a group too.
fn choose(
    splits: &[Arc<SplitMeta>],
    is_wanted: impl Fn(&SplitMeta) -> bool,
    (inputs_max, rows_max): (usize, u64),
) -> Option<Vec<Arc<SplitMeta>>> {
    let mut by_day: BTreeMap<(i64, &str, PartitionId), Vec<&Arc<SplitMeta>>> = BTreeMap::new();
    for split in splits.iter().filter(|split| is_wanted(split)) {
        let day = split.time_last.div_euclid(DAY);
        by_day.entry((day, &split.index, split.partition)).or_default().push(split);
    }
    let mut day = by_day.into_values().next()?;
    day.sort_by_key(|split| (split.time_last, split.offset_first));
    let (first, others) = day.split_first()?;
    let mut rows = size(first);
    let fits = |split: &&&Arc<SplitMeta>| {
        rows += size(split);
        rows <= rows_max
    };
    let others = others.iter().take(inputs_max.saturating_sub(1)).take_while(fits);
    Some(std::iter::once(first).chain(others).copied().cloned().collect())
}

/// Writes a group anew as one cold split. Whether it was done: not where it was to stop.
fn compact(core: &Core, group: &[Arc<SplitMeta>]) -> Result<bool, PublishError> {
    if let Some(known) = cold_already(core, group)? {
        put_in_place(core, group, Some(known))?;
        return Ok(true);
    }
    let Some(Rewritten { meta, took }) = rewritten(core, group, Packing::Small)? else {
        return Ok(false);
    };
    let metrics = &core.parties.metrics;
    metrics.cold.add(meta.as_ref(), took);
    let (from, bytes_before) =
        (group.len() as u64, group.iter().map(|split| split.stored_bytes).sum::<u64>());
    let (rows, bytes) = meta.as_ref().map_or((0, 0), |meta| (meta.row_count, meta.stored_bytes));
    let split = meta.as_ref().map(|meta| meta.id.to_string()).unwrap_or_default();
    put_in_place(core, group, meta)?;
    metrics.splits_cooled.inc_by(from);
    metrics.cold_replaced_bytes.inc_by(bytes_before);
    let seconds = took.as_secs_f64();
    tracing::info!(split, from, rows, bytes_before, bytes, seconds, "splits compacted");
    Ok(true)
}

/// The entry of a split that says itself that it is cold, where the catalog's does not: a node of an
/// earlier version put it anew. It is not written twice.
fn cold_already(core: &Core, group: &[Arc<SplitMeta>]) -> Result<Option<SplitMeta>, PublishError> {
    let [one] = group else { return Ok(None) };
    let is_whole = core.read(|state| state.deletions.of_split(one).is_none());
    let is_cold = is_whole && open_all(core, group)?.first().is_some_and(Split::is_cold);
    Ok(is_cold.then(|| SplitMeta { cold: true, ..SplitMeta::clone(one) }))
}

#[cfg(test)]
mod tests {
    use model::split::SplitId;

    use super::*;
    use crate::delete;
    use crate::fixture::{Fixture, deletion, entry};
    use crate::merge::merge_one;
    use crate::settings::Settings;

    /// Nanoseconds of a second.
    const SECOND: i64 = 1_000_000_000;
    const WEEK: Duration = Duration::from_secs(7 * 86_400);

    fn fixture() -> Fixture {
        Fixture::with(Settings { cold_after: Some(WEEK), ..Settings::TINY })
    }

    fn step(fixture: &Fixture) -> bool {
        let (mut compactor, folder) = (Compactor::default(), tempfile::tempdir().unwrap());
        compactor.step(&fixture.core, &folder.path().join("nowhere")).unwrap()
    }

    fn splits(fixture: &Fixture) -> Vec<Arc<SplitMeta>> {
        fixture.searcher.view().splits.clone()
    }

    /// A split of a day with so many rows, that came at a second of that day.
    fn of_day(day: i64, at: i64, row_count: u64) -> Arc<SplitMeta> {
        Arc::new(entry(SplitId(format!("{day}-{at}")), day * DAY + at * SECOND, row_count))
    }

    #[test]
    fn what_is_done_and_old_is_wanted() {
        let before = Some(Timestamp(9 * DAY + 10 * SECOND));
        let wanted = Wanted { before, rows_max: 1_000, ..Wanted::default() };
        let check = |split: &SplitMeta, expected: bool| {
            assert_eq!(wanted.is_old(split), expected, "{split:?}");
        };
        check(&of_day(8, 5, 10), true);
        // More of its day may come, unless it is big.
        check(&of_day(9, 5, 500), false);
        check(&of_day(9, 5, 501), true);
        check(&of_day(9, 10, 501), false);
        let of_old = |change: fn(&mut SplitMeta)| {
            let mut split = SplitMeta::clone(&of_day(8, 5, 501));
            change(&mut split);
            split
        };
        check(&of_old(|split| split.cold = true), false);
        // An old file was imported a moment ago.
        check(&of_old(|split| split.ingest_last = 9 * DAY + 20 * SECOND), false);
        let never = Wanted { rows_max: 1_000, ..Wanted::default() };
        assert!(!never.is_old(&of_day(0, 0, 501)));
    }

    #[test]
    fn splits_of_a_day_that_fit_are_written_together() {
        let check = |splits: &[Arc<SplitMeta>], most, expected: &[&str]| {
            let group = choose(splits, |split| !split.cold, most).unwrap_or_default();
            let ids: Vec<&str> = group.iter().map(|split| split.id.0.as_str()).collect();
            assert_eq!(ids, expected);
        };
        let splits = [of_day(4, 1, 600), of_day(3, 7, 500), of_day(3, 5, 600), of_day(3, 6, 400)];
        check(&splits, (32, 1_000), &["3-5", "3-6"]);
        check(&splits, (32, 2_000), &["3-5", "3-6", "3-7"]);
        check(&splits, (2, 2_000), &["3-5", "3-6"]);
        // One alone, also where it is bigger than what is allowed by now.
        check(&splits[..1], (32, 10), &["4-1"]);
        check(&[], (32, 1_000), &[]);
        let mut other = SplitMeta::clone(&of_day(3, 6, 1));
        other.index = "other".to_owned();
        check(&[of_day(3, 5, 1), Arc::new(other)], (32, 1_000), &["3-5"]);
    }

    #[test]
    fn what_is_old_is_written_anew_once() {
        let fixture = fixture();
        fixture.publish(&["a 1", "b 2"]);
        fixture.publish(&["a 3", "c 4"]);
        let before: BTreeSet<String> = fixture.stored().into_iter().collect();
        assert!(!step(&fixture), "it is young");
        fixture.clock.advance(WEEK + Duration::from_secs(86_400));
        assert!(step(&fixture));
        let all = splits(&fixture);
        assert_eq!(all.len(), 1);
        assert!(all[0].cold && all[0].row_count == 4 && all[0].merges == 1);
        assert_eq!(fixture.stored().into_iter().collect::<BTreeSet<_>>(), before);
        let opened = open_all(&fixture.core, &all).unwrap();
        assert!(opened[0].is_cold());
        opened[0].check().unwrap();
        assert!(!step(&fixture), "once");
        assert_eq!(splits(&fixture), all);
        let metrics = &fixture.core.parties.metrics;
        assert_eq!((metrics.splits_cooled.get(), metrics.cold.rows.get()), (2, 4));
        assert_eq!(metrics.cold.bytes.get(), all[0].stored_bytes);
        assert_eq!((metrics.cold_waiting.get(), metrics.merges.rows.get()), (0, 0));
    }

    #[test]
    fn cold_splits_that_are_merged_stay_cold() {
        let fixture = fixture();
        for message in ["a 1", "a 2", "a 3"] {
            fixture.publish(&[message]);
            assert_eq!(fixture.searcher.compact("main").unwrap().splits_left, 1);
            assert!(step(&fixture));
        }
        assert_eq!(splits(&fixture).iter().filter(|split| split.cold).count(), 3);
        assert!(merge_one(&fixture.core).unwrap());
        let all = splits(&fixture);
        assert!(all.len() == 1 && all[0].cold);
        assert_eq!(fixture.stored(), ["a 1", "a 2", "a 3"]);
    }

    #[test]
    fn what_was_deleted_goes_and_what_is_cold_stays_cold() {
        let fixture = fixture();
        fixture.publish(&["secret 0", "other 1", "private 2"]);
        let catalog = &fixture.core.parties.catalog;
        catalog.execute(Command::BeginDeletion(deletion("secret", 3))).unwrap();
        fixture.clock.advance(WEEK + Duration::from_secs(86_400));
        assert!(!step(&fixture), "the deletion goes first");
        while delete::advance(&fixture.core).unwrap() {}
        assert!(step(&fixture));
        let all = splits(&fixture);
        assert_eq!((all[0].row_count, all[0].deletions, all[0].cold), (2, 1, true));
        catalog.execute(Command::BeginDeletion(deletion("private", 3))).unwrap();
        while delete::advance(&fixture.core).unwrap() {}
        let all = splits(&fixture);
        assert_eq!((all[0].row_count, all[0].deletions, all[0].cold), (1, 2, true));
        assert_eq!(fixture.stored(), ["other 1"]);
        assert!(!step(&fixture));
    }

    #[test]
    fn a_stop_leaves_everything_as_it_was() {
        let fixture = fixture();
        fixture.publish(&["a 1"]);
        fixture.clock.advance(WEEK + Duration::from_secs(86_400));
        let before = splits(&fixture);
        fixture.core.shutdown.trigger();
        assert!(!step(&fixture));
        assert_eq!(splits(&fixture), before);
        assert_eq!(fixture.core.parties.objects.list().unwrap().len(), 2, "one split");
        assert_eq!(fixture.core.parties.metrics.splits_cooled.get(), 0);
    }

    #[test]
    fn a_mark_that_was_lost_is_made_again() {
        let fixture = fixture();
        fixture.publish(&["a 1"]);
        fixture.clock.advance(WEEK + Duration::from_secs(86_400));
        assert!(step(&fixture));
        let cold = splits(&fixture);
        let forgotten = SplitMeta { cold: false, ..SplitMeta::clone(&cold[0]) };
        let (remove, add) = (vec![forgotten.id.clone()], vec![forgotten]);
        fixture.core.parties.catalog.execute(Command::Replace { remove, add }).unwrap();
        assert!(step(&fixture));
        assert_eq!(splits(&fixture), cold, "under its name");
        assert_eq!(fixture.core.parties.metrics.splits_cooled.get(), 1);
        assert_eq!(fixture.stored(), ["a 1"]);
    }

    #[test]
    fn what_is_old_waits_while_records_come() {
        let fixture = fixture();
        fixture.publish(&["a 1"]);
        fixture.clock.advance(WEEK + Duration::from_secs(86_400));
        let records = &fixture.core.parties.metrics.records;
        let folder = tempfile::tempdir().unwrap();
        let mut compactor = Compactor::default();
        let busy = |compactor: &mut Compactor| {
            compactor.is_busy(&fixture.core, fixture.core.parties.clock.elapsed())
        };
        assert!(!busy(&mut compactor));
        records.inc_by(BUSY_RECORDS_S * 2);
        fixture.clock.advance(Duration::from_secs(2));
        assert!(busy(&mut compactor));
        records.inc_by(BUSY_RECORDS_S * 2 - 1);
        fixture.clock.advance(Duration::from_secs(2));
        assert!(!busy(&mut compactor));
        // One that is stored and not found yet.
        fixture.queue.append(&["a 2"]);
        assert!(!compactor.step(&fixture.core, &folder.path().join("nowhere")).unwrap());
        assert_eq!(fixture.core.parties.metrics.cold_waiting.get(), 1);
        // Who asks for it does not wait.
        fixture.searcher.compact("main").unwrap();
        assert!(compactor.step(&fixture.core, &folder.path().join("nowhere")).unwrap());
    }

    #[test]
    fn what_is_asked_for_is_done_whatever_its_age() {
        let fixture = Fixture::new();
        let bytes = fixture.publish(&["a 1"]).stored_bytes;
        assert_eq!(fixture.searcher.compaction("main").unwrap(), Compaction::default());
        assert!(!step(&fixture));
        let asked = fixture.searcher.compact("main").unwrap();
        let moment = Some(fixture.clock.now());
        assert_eq!((asked.asked, asked.splits_left, asked.bytes_left), (moment, 1, bytes));
        assert_eq!(fixture.searcher.compaction("main").unwrap(), asked);
        assert_eq!(fixture.searcher.compaction("other").unwrap(), Compaction::default());
        assert!(step(&fixture));
        let done = fixture.searcher.compaction("main").unwrap();
        assert_eq!((done.splits_left, done.cold_splits), (0, 1));
        assert_eq!(done.cold_bytes, splits(&fixture)[0].stored_bytes);
        assert!(!step(&fixture));
    }
}
