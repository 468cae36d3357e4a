//! Any order of appends, cuts, purges, restarts and reopenings, against a list.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append {
        count: u8,
        bytes: u16,
        members: bool,
        term: bool,
    },
    /// Cut off so many.
    Cut(u8),
    /// Purge up to a share of what is there.
    Purge(u8),
    /// A snapshot comes that is so far ahead (or, at 0, of an entry that is there).
    Restart(u8),
    Reopen,
    /// Begin another segment.
    Seal,
    Vote,
    /// Read on, or from a share of what is there.
    Read(Option<u8>, u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1..6u8, 0..200u16, any::<bool>(), any::<bool>())
            .prop_map(|(count, bytes, members, term)| Step::Append { count, bytes, members, term }),
        2 => (1..12u8).prop_map(Step::Cut),
        2 => any::<u8>().prop_map(Step::Purge),
        1 => (0..4u8).prop_map(Step::Restart),
        2 => Just(Step::Reopen),
        1 => Just(Step::Seal),
        1 => Just(Step::Vote),
        3 => (any::<Option<u8>>(), 0..800u16).prop_map(|(from, bytes)| Step::Read(from, bytes)),
    ];
    prop::collection::vec(step, 1..40)
}

/// What the log should be: a point it began from, and everything since.
#[derive(Default)]
struct Model {
    from: SnapshotPoint,
    entries: Vec<Entry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    term: u64,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries.last().map_or(self.from.log_id, |entry| Some(entry.log_id))
    }

    /// The point after an entry.
    fn point(&self, at: Option<LogId>) -> SnapshotPoint {
        let mut fold = Tally::restore(&self.from.fold).unwrap_or_default();
        let mut membership = self.from.membership.clone();
        for entry in self.entries.iter().filter(|entry| Some(entry.log_id) <= at) {
            match &entry.payload {
                EntryPayload::Normal(command) => fold.apply(entry.log_id.index, &command.0),
                EntryPayload::Membership(members) => {
                    membership = StoredMembership::new(Some(entry.log_id), members.clone());
                }
                EntryPayload::Blank => {}
            }
        }
        SnapshotPoint { log_id: at, membership, fold: fold.snapshot().into() }
    }

    fn there(&self) -> Vec<Entry> {
        let left = self.entries.iter().filter(|entry| Some(entry.log_id) > self.purged);
        left.cloned().collect()
    }

    fn at_share(&self, share: u8) -> u64 {
        let first = behind(self.purged.as_ref());
        let next = behind(self.last().as_ref());
        first + (next - first) * u64::from(share) / 256
    }
}

fn check(store: &LogStore<Tally>, model: &Model) {
    assert_eq!(read_all(store), model.there());
    assert_eq!(store.purged(), model.purged);
    assert_eq!(store.0.vote(), model.vote);
    let (fold, last) = store.tail(|fold, last| (fold.clone(), last));
    assert_eq!(last, model.last());
    assert_eq!(Bytes::from(fold.snapshot()), model.point(last).fold);
    assert_eq!(wait(store.base()).unwrap(), model.point(model.purged));
    // Every start of a segment that may be trimmed to.
    let looked = Arc::new(Mutex::new(Vec::new()));
    let note = looked.clone();
    let look = move |fold: &Tally| {
        note.lock().unwrap().push(fold.clone());
        false
    };
    assert_eq!(wait(store.trim(last, look)).unwrap(), None);
    let starts = store
        .segments()
        .into_iter()
        .rev()
        .filter(|segment| segment.start.is_some() && segment.start > model.purged);
    let starts: Vec<_> = starts.map(|segment| segment.start).collect();
    let folds: Vec<Bytes> = starts.iter().map(|start| model.point(*start).fold).collect();
    let looked: Vec<Bytes> =
        looked.lock().unwrap().iter().map(|fold| fold.snapshot().into()).collect();
    assert_eq!(looked, folds);
    let newest = wait(store.trim(last, |_| true)).unwrap();
    assert_eq!(newest, starts.first().map(|start| model.point(*start)));
    let segments = store.segments();
    assert_eq!(store.newest_start(), segments.last().and_then(|segment| segment.start));
    let on_disk = segments.iter().map(|segment| std::fs::metadata(&segment.path).unwrap().len());
    assert_eq!(store.bytes(), on_disk.sum::<u64>());
}

fn append(store: &LogStore<Tally>, model: &mut Model, step: &Step) {
    let Step::Append { count, bytes, members: with_members, term } = step else { return };
    model.term += u64::from(*term);
    let first = behind(model.last().as_ref());
    let mut entries = Vec::new();
    for index in first..first + u64::from(*count) {
        let text = format!("{index}:").repeat(usize::from(*bytes) / 4);
        let blank = Entry { payload: EntryPayload::Blank, ..command(model.term, index, "") };
        entries.push(match index % 5 {
            0 if *with_members => members(model.term, index, &[1, index]),
            1 => blank,
            _ => command(model.term, index, &text),
        });
    }
    store.0.append(&entries).unwrap();
    model.entries.extend(entries);
}

fn seal(store: &LogStore<Tally>, model: &Model) {
    wait(store.seal()).unwrap();
    let newest = store.segments().last().unwrap().start;
    assert_eq!(newest, model.last());
    // Once is enough.
    let count = store.segments().len();
    wait(store.seal()).unwrap();
    assert_eq!(store.segments().len(), count);
}

fn run(steps: &[Step]) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(folder.path()).unwrap();
    let mut reader = store.reader();
    let mut place = 0;
    let fold = Tally::default().snapshot().into();
    let mut model = Model {
        from: SnapshotPoint { fold, ..SnapshotPoint::default() },
        term: 1,
        ..Model::default()
    };
    for step in steps {
        match step {
            Step::Append { .. } => append(&store, &mut model, step),
            Step::Cut(count) => {
                let next = behind(model.last().as_ref());
                let first = behind(model.purged.as_ref());
                let since = next.saturating_sub(u64::from(*count)).max(first);
                store.0.truncate(since).unwrap();
                model.entries.retain(|entry| entry.log_id.index < since);
            }
            Step::Purge(share) => {
                let upto = model.at_share(*share);
                if let Some(entry) = model.there().iter().find(|entry| entry.log_id.index == upto) {
                    assert!(store.0.purge(entry.log_id).unwrap());
                    model.purged = Some(entry.log_id);
                }
            }
            Step::Restart(0) => {
                wait(store.restart(model.point(model.last()))).unwrap();
            }
            Step::Restart(ahead) => {
                model.term += 1;
                let index = behind(model.last().as_ref()) + u64::from(*ahead);
                let tally = Tally { count: index, last: index, sum: u32::from(*ahead) };
                model.from = SnapshotPoint {
                    log_id: Some(log_id(model.term, 1, index)),
                    membership: model.point(model.last()).membership,
                    fold: tally.snapshot().into(),
                };
                model.entries.clear();
                model.purged = model.from.log_id;
                wait(store.restart(model.from.clone())).unwrap();
            }
            Step::Reopen => {
                drop(reader);
                drop(store);
                store = open(folder.path()).unwrap();
                reader = store.reader();
            }
            Step::Seal => seal(&store, &model),
            Step::Vote => {
                model.vote = Some(Vote::new(model.term, 3));
                store.0.save_vote(Vote::new(model.term, 3)).unwrap();
            }
            Step::Read(from, bytes) => {
                place = from.map_or(place, |share| model.at_share(share));
                place = place.max(behind(model.purged.as_ref()));
                let read = reader.read(place, u64::MAX, usize::from(*bytes)).unwrap();
                let there = model.there();
                let skip = there.iter().filter(|entry| entry.log_id.index < place).count();
                assert_eq!(read, there[skip..][..read.len()]);
                assert!(*bytes == 0 || !read.is_empty() || skip == there.len());
                place += read.len() as u64;
            }
        }
        check(&store, &model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_a_list_that_survives(steps in steps()) {
        run(&steps);
    }
}
