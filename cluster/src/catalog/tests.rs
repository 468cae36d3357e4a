//! Commands and what they refuse.

use super::file::FILE;
use super::*;

fn meta(id: &str) -> SplitMeta {
    SplitMeta {
        index: "main".to_owned(),
        offset_last: Offset(9),
        row_count: 10,
        time_first: 0,
        time_last: 9,
        ingest_last: 9,
        level_counts: [0, 0, 0, 10, 0, 0, 0],
        stored_bytes: 100,
        raw_bytes: 1000,
        ..SplitMeta::named(SplitId(id.to_owned()))
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
        catalog.execute(Command::Publish(Publication { partition, from, to, add: vec![meta(id)] }))
    };
    let catalog = Catalog::open(&path).unwrap();
    publish(&catalog, 0, 10, "a").unwrap();
    assert!(matches!(
        publish(&catalog, 0, 10, "b"),
        Err(CatalogError::Refused(Refusal::Moved { .. }))
    ));
    drop(catalog);
    let catalog = Catalog::open(&path).unwrap();
    assert_eq!(catalog.indexed_offset(PartitionId(3)).unwrap(), Offset(10));
    assert_eq!(catalog.indexed_offset(PartitionId(4)).unwrap(), Offset(0));
    assert_eq!(ids(&catalog), ["a"]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "files are damaged here as disks do it")]
fn a_damaged_catalog_is_an_error_and_never_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Catalog::open_in(folder.path());
    let catalog = open().unwrap();
    let add: Vec<SplitMeta> = (0..300).map(|number| meta(&format!("{number}"))).collect();
    catalog.execute(Command::Replace { remove: Vec::new(), add }).unwrap();
    drop(catalog);
    // What is made behind it: from now on it was there.
    std::fs::create_dir(folder.path().join("queue")).unwrap();
    let path = folder.path().join(FILE);
    let good = std::fs::read(&path).unwrap();
    let flipped = |from: usize, step: usize| {
        let mut bytes = good.clone();
        bytes.iter_mut().skip(from).step_by(step).for_each(|byte| *byte ^= 1);
        bytes
    };
    let damaged = [
        ("emptied", Vec::new()),
        ("a beginning", good[..100].to_vec()),
        ("half", good[..good.len() / 2].to_vec()),
        ("all but a byte", good[..good.len() - 1].to_vec()),
        ("another file", b"{}\n".repeat(40_000)),
        ("a bit of its first byte", flipped(0, good.len())),
        // Of each page one.
        ("bits", flipped(4_196, 4_096)),
    ];
    for (what, bytes) in damaged {
        std::fs::write(&path, bytes).unwrap();
        let error = open().expect_err(what);
        assert!(matches!(error, CatalogError::Broken { .. }), "{what}: {error}");
        assert!(error.to_string().contains("join with an empty one"), "{what}: {error}");
    }
    std::fs::remove_file(&path).unwrap();
    let error = open().expect_err("gone");
    assert!(matches!(error, CatalogError::Broken { .. }) && !path.exists(), "{error}");
    std::fs::write(&path, good).unwrap();
    assert_eq!(open().unwrap().splits().unwrap().len(), 300);
}

#[test]
fn replacing_needs_all_the_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
    let replace = |remove: &[SplitId], add: &[SplitMeta]| {
        let (remove, add) = (remove.to_vec(), add.to_vec());
        catalog.execute(Command::Replace { remove, add })
    };
    replace(&[], &[meta("a"), meta("b")]).unwrap();
    let old = [SplitId("a".to_owned()), SplitId("x".to_owned())];
    let refused = replace(&old, &[meta("c")]);
    assert!(matches!(refused, Err(CatalogError::Refused(Refusal::Gone(_)))));
    assert_eq!(ids(&catalog), ["a", "b"]);
    let old = [SplitId("a".to_owned()), SplitId("b".to_owned())];
    replace(&old, &[meta("c")]).unwrap();
    assert_eq!(ids(&catalog), ["c"]);
}

/// A split that was begun at a second of a clock.
fn begun(second: i64) -> SplitMeta {
    let id = SplitId::new(Timestamp(second * 1_000_000_000), PartitionId(0), 7);
    SplitMeta { id, ..meta("") }
}

#[test]
fn what_was_begun_before_the_sweep_is_published_by_then_or_never() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
    let replace = |remove: &[&SplitMeta], add: &[&SplitMeta]| {
        let remove = remove.iter().map(|meta| meta.id.clone()).collect();
        let add = add.iter().copied().cloned().collect();
        catalog.execute(Command::Replace { remove, add })
    };
    let publish = |meta: &SplitMeta| {
        let (partition, from, to) = (PartitionId(0), Offset(0), Offset(10));
        let add = vec![meta.clone()];
        catalog.execute(Command::Publish(Publication { partition, from, to, add }))
    };
    let is_swept = |refused: Result<Answer, CatalogError>| {
        matches!(refused, Err(CatalogError::Refused(Refusal::Swept { .. })))
    };
    let [known, late, new] = [1, 2, 5].map(begun);
    assert_eq!(catalog.swept_before().unwrap(), Timestamp::MIN);
    replace(&[], &[&known]).unwrap();
    let moment = Timestamp(5_000_000_000);
    for sweep in [moment, Timestamp(3_000_000_000), Timestamp::MIN] {
        catalog.execute(Command::SweepBefore(sweep)).unwrap();
        assert_eq!(catalog.swept_before().unwrap(), moment, "it never goes back");
    }
    assert!(is_swept(replace(&[], &[&late])));
    assert!(is_swept(publish(&late)));
    assert_eq!(catalog.indexed_offset(PartitionId(0)).unwrap(), Offset(0), "nothing has changed");
    // One that is known may be put again; what was begun later is taken.
    let clean = SplitMeta { deletions: 3, ..known.clone() };
    replace(&[&known], &[&clean]).unwrap();
    assert_eq!(catalog.split(&known.id).unwrap(), Some(clean));
    publish(&new).unwrap();
    assert_eq!(catalog.split(&new.id).unwrap(), Some(new));
}

#[test]
fn a_copy_is_given_up_only_where_enough_others_keep_it() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
    for id in 1..=4 {
        let joining = Joining {
            id: NodeId(id),
            address: format!("host{id}:7411"),
            http: format!("host{id}:7410"),
            roles: model::node::Roles::default(),
            version: String::new(),
            protocol: 1,
            at: 0,
        };
        catalog.execute(Command::Register(joining)).unwrap();
    }
    let copies = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
    let split = SplitMeta { copies: copies(&[1, 2, 3, 4]), ..meta("a") };
    let add = vec![split.clone()];
    catalog.execute(Command::Replace { remove: Vec::new(), add }).unwrap();
    let drops = |node, least, left: &[u64]| {
        let splits = vec![split.id.clone(), SplitId("gone".to_owned())];
        catalog.execute(Command::Dropped { splits, node: NodeId(node), least }).unwrap();
        assert_eq!(catalog.split(&split.id).unwrap().unwrap().copies, copies(left));
    };
    let (node, epoch, health, since) = (NodeId(4), 1, model::node::Health::Down, 0);
    catalog.execute(Command::SetHealth { node, epoch, health, since }).unwrap();
    drops(1, 2, &[2, 3, 4]);
    // Of the three that are left one is down: each other one counts on both.
    drops(2, 2, &[2, 3, 4]);
    drops(3, 2, &[2, 3, 4]);
    drops(4, 2, &[2, 3]);
    drops(2, 2, &[2, 3]);
    drops(2, 0, &[3]);
    // Who writes a split anew under its name does not know better who keeps it.
    catalog.execute(Command::SweepBefore(Timestamp::MIN)).unwrap();
    let (remove, add) = (vec![split.id.clone()], vec![split.clone()]);
    catalog.execute(Command::Replace { remove, add }).unwrap();
    assert_eq!(catalog.split(&split.id).unwrap().unwrap().copies, copies(&[3]));
}

#[test]
fn who_has_an_old_token_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
    let lease = "indexer/0000".to_owned();
    let grant = |before: u64, node: u64| {
        let (lease, node) = (lease.clone(), NodeId(node));
        catalog.execute(Command::Grant { lease, before, node })
    };
    let publish = |token: u64, from: u64, to: u64| {
        let (partition, from, to) = (PartitionId(0), Offset(from), Offset(to));
        let command = Command::Publish(Publication { partition, from, to, add: Vec::new() });
        catalog.execute(Order { command, fence: Some(Fence { lease: lease.clone(), token }) })
    };
    let first = grant(0, 1).unwrap().number();
    publish(first, 0, 10).unwrap();
    let second = grant(first, 2).unwrap().number();
    assert!(second > first);
    // Who was paused wakes up and goes on.
    let refused = publish(first, 10, 20).unwrap_err();
    assert!(
        matches!(&refused, CatalogError::Refused(Refusal::Fenced { current, .. }) if *current == second),
        "{refused}"
    );
    assert_eq!(catalog.indexed_offset(PartitionId(0)).unwrap(), Offset(10));
    publish(second, 10, 20).unwrap();
    // Nor does it get the lease back by what it knew.
    assert!(grant(first, 1).is_err());
}

#[test]
fn more_partitions_count_when_all_have_begun() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
    let counts = || catalog.topology().borrow().counts.clone();
    let (name, fact) = ("partitions".to_owned(), "2".to_owned());
    catalog.execute(Command::Remember { name, fact }).unwrap();
    let begin = |number: u32, born: bool| {
        let partition = PartitionId(number);
        let before = catalog.topology().borrow().partitions.get(&partition).cloned();
        let placement = Placement { replicas: Vec::new(), born };
        catalog.execute(Command::Place { partition, before, placement }).unwrap();
    };
    begin(0, true);
    assert!(counts().is_empty());
    let raise = |partitions| catalog.execute(Command::Raise { partitions }).unwrap();
    assert_eq!(raise(2), Answer::Was(false));
    assert_eq!(raise(4), Answer::Was(true));
    assert_eq!(raise(3), Answer::Was(false));
    assert_eq!(catalog.fact("partitions").unwrap().as_deref(), Some("4"));
    // What was counts whether or not all of it has begun.
    assert_eq!(counts(), [2]);
    begin(1, true);
    begin(2, true);
    begin(3, false);
    assert_eq!(counts(), [2]);
    begin(3, true);
    assert_eq!(counts(), [2, 4]);
    raise(5);
    assert_eq!(counts(), [2, 4]);
    begin(4, true);
    assert_eq!(counts(), [2, 4, 5]);
}

#[test]
fn who_cannot_read_the_log_is_refused_in_the_order_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
    let register = |id: u64, protocol: u32| {
        let joining = Joining {
            id: NodeId(id),
            address: format!("host{id}:7411"),
            http: String::new(),
            roles: model::node::Roles::default(),
            version: String::new(),
            protocol,
            at: 0,
        };
        catalog.execute(Command::Register(joining))
    };
    let takes = |version: u32| {
        let (name, fact) = (LOG_PROTOCOL.to_owned(), version.to_string());
        catalog.execute(Command::Remember { name, fact }).unwrap();
    };
    register(1, 1).unwrap();
    takes(2);
    // As nodes of the second version carry it out.
    register(2, 1).unwrap();
    takes(3);
    let refused = register(3, 2).unwrap_err();
    let words = refused.to_string();
    assert!(words.contains("the program that the other nodes have"), "{words}");
    // Also one that was there before.
    assert!(register(1, 2).is_err());
    register(1, 3).unwrap();
    let nodes = catalog.topology().borrow().nodes.clone();
    assert_eq!(nodes.keys().copied().collect::<Vec<_>>(), [NodeId(1), NodeId(2)]);
    assert_eq!((nodes[&NodeId(1)].protocol, nodes[&NodeId(1)].epoch), (3, 2));
    // From the fourth version on also who was let in just before the log is opened.
    let open = |protocol| catalog.execute(Command::Open { protocol });
    let log = || catalog.fact(LOG_PROTOCOL).unwrap();
    register(1, 4).unwrap();
    let refused = open(4).unwrap_err();
    assert!(refused.to_string().contains("speaks version 1"), "{refused}");
    catalog.execute(Command::Forget(NodeId(2))).unwrap();
    register(4, 3).unwrap();
    assert!(open(4).is_err());
    assert_eq!(log().as_deref(), Some("3"));
    register(4, 4).unwrap();
    assert_eq!(open(4).unwrap(), Answer::Was(true));
    assert!(register(5, 3).is_err());
    assert_eq!(open(4).unwrap(), Answer::Was(false));
    assert_eq!(log().as_deref(), Some("4"));
}
