//! Members in one process, over a network in memory, with real files.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use platform::clock::Clock;
use platform::disk;
use tempfile::TempDir;

use super::super::codec::{SnapshotPiece, encode_snapshot, encode_vote};
use super::super::group::*;
use super::super::is_half_done;
use super::*;

const GROUP: GroupId = GroupId::Partition(3);
/// No member of a test takes longer, unless it is broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a call that a slow network carries slowly: a heartbeat has fewer.
const SLOW_BYTES_MIN: usize = 600;

/// The network: which member answers on which node, and how long entries are on their way.
#[derive(Clone, Default)]
struct Mesh(Arc<Mutex<HashMap<u64, Group>>>, Duration);

impl Mesh {
    fn group(&self, node: u64) -> Option<Group> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }
}

impl Transport for Mesh {
    fn call(
        &self,
        to: &Peer,
        group: GroupId,
        kind: CallKind,
        body: Bytes,
    ) -> BoxFuture<Result<Bytes, TransportError>> {
        assert_eq!(group, GROUP);
        let found = self.group(to.node);
        let slow = kind == CallKind::Append && body.len() > SLOW_BYTES_MIN;
        let way = if slow { self.1 } else { Duration::ZERO };
        Box::pin(async move {
            Clock::system().sleep(way).await;
            let away = || TransportError::Unreachable("nobody is there".to_owned());
            let answer = found.ok_or_else(away)?.handle(kind, body).await;
            answer.map_err(|error| TransportError::Refused(error.to_string()))
        })
    }
}

struct Member {
    id: u64,
    node: u64,
    folder: TempDir,
    log: LogStore<Tally>,
    group: Group,
}

fn peer(node: u64) -> Peer {
    Peer { node, address: format!("node{node}") }
}

async fn start(mesh: &Mesh, id: u64, node: u64, folder: TempDir) -> Member {
    let settings =
        LogSettings { segment_bytes_max: 8 << 10, recent_bytes_max: 4 << 10, room_bytes_min: None };
    let log = LogStore::open(folder.path(), Disk::default(), settings, Tally::default()).unwrap();
    let machine = Machine::new(log.clone()).await;
    let slot = u32::try_from(node).unwrap() - 1;
    let group = GroupSettings::new(GROUP, id, slot);
    let group = Group::start(group, log.clone(), machine, Arc::new(mesh.clone())).await.unwrap();
    mesh.0.lock().unwrap().insert(node, group.clone());
    Member { id, node, folder, log, group }
}

async fn stop(mesh: &Mesh, member: Member) -> TempDir {
    mesh.0.lock().unwrap().remove(&member.node);
    member.group.stop().await;
    member.folder
}

async fn three(mesh: &Mesh) -> Vec<Member> {
    let mut members = Vec::new();
    for node in 1..=3 {
        members.push(start(mesh, node, node, tempfile::tempdir().unwrap()).await);
    }
    let peers: BTreeMap<u64, Peer> = (1..=3).map(|node| (node, peer(node))).collect();
    members[0].group.raft().initialize(peers).await.unwrap();
    let wait = members[0].group.raft().wait(Some(PATIENCE));
    let begun = |metrics: &openraft::RaftMetrics<u64, Peer>| metrics.last_log_index.is_some();
    wait.metrics(begun, "the first entry").await.unwrap();
    members
}

/// Who leads, as one of the members that are there knows it.
async fn leader(mesh: &Mesh) -> Group {
    loop {
        let groups = mesh.0.lock().unwrap().clone();
        let here = |id: u64| groups.values().find(|group| group.settings().member == id);
        // Who was not let in yet hears of no leader.
        let is_in = |group: &&Group| group.raft().metrics().borrow().last_log_index.is_some();
        let any = groups.values().find(is_in).expect("somebody is in the group");
        let known = |metrics: &openraft::RaftMetrics<u64, Peer>| {
            metrics.current_leader.is_some_and(|id| here(id).is_some())
        };
        let wait = any.raft().wait(Some(PATIENCE));
        let metrics = wait.metrics(known, "a leader is known").await.unwrap();
        if let Some(leader) = metrics.current_leader.and_then(here) {
            return leader.clone();
        }
    }
}

/// Writes a command until it is taken; it may be taken more than once.
async fn write(mesh: &Mesh, text: String) -> LogId {
    let command = Command(text.into_bytes().into());
    loop {
        if let Ok(written) = leader(mesh).await.raft().client_write(command.clone()).await {
            assert_eq!(written.data.0, command.0);
            return written.log_id;
        }
    }
}

async fn write_many(mesh: &Mesh, writers: usize, each: usize, name: &'static str) {
    let mut running = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let mesh = mesh.clone();
        running.spawn(async move {
            for number in 0..each {
                write(&mesh, format!("{name} {writer} {number} {}", "x".repeat(40))).await;
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
}

/// Waits until all have applied what the leader has, and compares all they have.
async fn check_equal(mesh: &Mesh, members: &[&Member]) {
    let last = write(mesh, "the last one".to_owned()).await;
    for member in members {
        let wait = member.group.raft().wait(Some(PATIENCE));
        wait.applied_index_at_least(Some(last.index), "all applied").await.unwrap();
    }
    let logs: Vec<Vec<Entry>> = members
        .iter()
        .map(|member| read_all(&member.log).into_iter().filter(|e| e.log_id <= last).collect())
        .collect();
    let first = logs.iter().filter_map(|log| Some(log.first()?.log_id)).max().unwrap();
    let shared = |log: &[Entry]| -> Vec<Entry> {
        log.iter().filter(|entry| entry.log_id >= first).cloned().collect()
    };
    for log in &logs {
        assert_eq!(shared(log), shared(&logs[0]));
    }
    let tallies: Vec<_> =
        members.iter().map(|member| member.log.tail(|fold, last| (fold.clone(), last))).collect();
    if tallies.iter().all(|(_, at)| *at == tallies[0].1) {
        assert!(tallies.iter().all(|tally| *tally == tallies[0]), "{tallies:?}");
    }
}

/// Every command that was written and acknowledged is in the log.
fn check_written(member: &Member, writers: usize, each: usize, name: &str) {
    let log = read_all(&member.log);
    let texts: std::collections::HashSet<String> = log
        .iter()
        .filter_map(|entry| match &entry.payload {
            EntryPayload::Normal(command) => String::from_utf8(command.0.to_vec()).ok(),
            _ => None,
        })
        .collect();
    for writer in 0..writers {
        for number in 0..each {
            let text = format!("{name} {writer} {number} {}", "x".repeat(40));
            assert!(texts.contains(&text), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_nobody_has_any_more_ends_with_its_log_and_its_network() {
    let folder = tempfile::tempdir().unwrap();
    let network: Arc<dyn Transport> = Arc::new(Mesh::default());
    let (left, log) = (Arc::downgrade(&network), open(folder.path()).unwrap());
    let kept = Arc::downgrade(&log.0);
    let machine = Machine::new(log.clone()).await;
    let settings = GroupSettings::new(GROUP, 1, 0);
    let group = Group::start(settings, log, machine, network).await.unwrap();
    let one = BTreeMap::from([(1, peer(1))]);
    group.raft().initialize(one).await.unwrap();
    drop(group);
    let ended = async {
        while left.upgrade().is_some() || kept.upgrade().is_some() {
            Clock::system().sleep(Duration::from_millis(5)).await;
        }
    };
    Clock::system().timeout(PATIENCE, ended).await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_steps_back_does_not_lead_again_at_once() {
    let mesh = Mesh::default();
    let members = three(&mesh).await;
    for round in 0..4 {
        write(&mesh, format!("round {round}")).await;
        let old = leader(&mesh).await;
        // The slowest of the others is asked: the one who steps back would be before it.
        let slowest = members.iter().rfind(|one| one.id != old.settings().member).unwrap();
        let asked = async { slowest.group.raft().trigger().elect().await.is_ok() };
        assert!(old.step_back(slowest.id, asked, PATIENCE).await, "nobody else leads");
    }
    check_equal(&mesh, &members.iter().collect::<Vec<_>>()).await;
}

/// The timers of the one that can win do not say that it stands: it has to find out by the other's try.
async fn check_who_lacks_entries(late: u64) {
    let mesh = Mesh::default();
    let mut members = three(&mesh).await;
    write(&mesh, "before".to_owned()).await;
    let first = members.remove(0);
    let other = members.iter().find(|member| member.id == late).unwrap();
    let best = members.iter().find(|member| member.id != late).unwrap();
    let led = leader(&mesh).await;
    if led.settings().member != first.id {
        let asked = async { first.group.raft().trigger().elect().await.is_ok() };
        assert!(led.step_back(first.id, asked, PATIENCE).await);
    }
    // The entry is with the first, who dies then, and with the best.
    let elect = |member: &Member, may| member.group.raft().runtime_config().elect(may);
    members.iter().for_each(|member| elect(member, false));
    mesh.0.lock().unwrap().remove(&other.node);
    first.group.raft().client_write(Command(b"with two".to_vec().into())).await.unwrap();
    stop(&mesh, first).await;
    mesh.0.lock().unwrap().insert(other.node, other.group.clone());
    elect(other, true);
    let wait = best.group.raft().wait(Some(PATIENCE));
    let leads =
        |metrics: &openraft::RaftMetrics<u64, Peer>| metrics.current_leader == Some(best.id);
    wait.metrics(leads, "who has all leads").await.unwrap();
    check_equal(&mesh, &[other, best]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_refuses_a_candidate_that_lacks_entries_stands_itself() {
    check_who_lacks_entries(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_for_the_number_of_its_vote_alone_stands_again() {
    check_who_lacks_entries(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_go_on_without_their_leader_and_have_equal_logs() {
    let mesh = Mesh::default();
    let mut members = three(&mesh).await;
    write_many(&mesh, 4, 250, "before").await;
    let led = leader(&mesh).await.settings().member;
    let at = members.iter().position(|member| member.id == led).unwrap();
    let dead = members.remove(at);
    let (id, node) = (dead.id, dead.node);
    let folder = stop(&mesh, dead).await;
    write_many(&mesh, 4, 20, "without").await;
    members.push(start(&mesh, id, node, folder).await);
    write_many(&mesh, 2, 10, "after").await;
    check_equal(&mesh, &members.iter().collect::<Vec<_>>()).await;
    for member in &members {
        check_written(member, 4, 250, "before");
        check_written(member, 4, 20, "without");
        check_written(member, 2, 10, "after");
    }
}

/// Lets every member take the newest start of a segment for its snapshot, and purge up to it.
async fn trim(members: &[&Member]) {
    for member in members {
        let raft = member.group.raft();
        raft.trigger().snapshot().await.unwrap();
        let wait = raft.wait(Some(PATIENCE));
        let purged = |metrics: &openraft::RaftMetrics<u64, Peer>| {
            metrics.purged.is_some() && metrics.purged == metrics.snapshot
        };
        wait.metrics(purged, "purged up to the snapshot").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_too_far_behind_gets_the_snapshot() {
    let mesh = Mesh::default();
    let mut members = three(&mesh).await;
    write_many(&mesh, 2, 20, "before").await;
    let led = leader(&mesh).await.settings().member;
    let at = members.iter().position(|member| member.id != led).unwrap();
    let late = members.remove(at);
    let (id, node) = (late.id, late.node);
    let folder = stop(&mesh, late).await;
    write_many(&mesh, 4, 100, "without").await;
    trim(&members.iter().collect::<Vec<_>>()).await;
    let gone = members[0].log.purged().unwrap();
    let late = start(&mesh, id, node, folder).await;
    assert!(late.log.tail(|_, last| last) < Some(gone));
    let all: Vec<&Member> = members.iter().chain([&late]).collect();
    check_equal(&mesh, &all).await;
    assert!(late.log.purged() >= Some(gone.min(members[1].log.purged().unwrap())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_copy_is_set_aside_and_its_node_joins_as_a_new_member() {
    let mesh = Mesh::default();
    let mut members = three(&mesh).await;
    write_many(&mesh, 4, 50, "before").await;
    let led = leader(&mesh).await.settings().member;
    let at = members.iter().position(|member| member.id != led).unwrap();
    let damaged = members.remove(at);
    let (id, node) = (damaged.id, damaged.node);
    let file = damaged.log.segments()[1].path.clone();
    let folder = stop(&mesh, damaged).await;
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    disk::write_atomically(&file, &bytes).unwrap();
    let error = open(folder.path()).map(drop).unwrap_err();
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");

    // The node's copy is aside: an empty folder, and an id that nobody had.
    let new = start(&mesh, 9, node, tempfile::tempdir().unwrap()).await;
    loop {
        let group = leader(&mesh).await;
        if group.raft().add_learner(9, peer(node), true).await.is_err() {
            continue;
        }
        let voters: std::collections::BTreeSet<u64> =
            members.iter().map(|member| member.id).chain([9]).collect();
        if group.raft().change_membership(voters, false).await.is_ok() {
            break;
        }
    }
    write_many(&mesh, 2, 10, "after").await;
    let all: Vec<&Member> = members.iter().chain([&new]).collect();
    check_equal(&mesh, &all).await;
    check_written(&new, 4, 50, "before");
    let members = new.group.raft().metrics().borrow().membership_config.clone();
    assert!(members.voter_ids().all(|voter| voter != id), "{members}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_left_half_done_is_ended_by_asking_again() {
    let clock = Clock::system();
    let mesh = Mesh::default();
    let mut members = vec![start(&mesh, 1, 1, tempfile::tempdir().unwrap()).await];
    let alone: BTreeMap<u64, Peer> = [(1, peer(1))].into();
    let group = members[0].group.clone();
    group.raft().initialize(alone).await.unwrap();
    let wait = group.raft().wait(Some(PATIENCE));
    wait.state(openraft::ServerState::Leader, "it leads").await.unwrap();
    for node in 2..=3 {
        members.push(start(&mesh, node, node, tempfile::tempdir().unwrap()).await);
        group.learn(&clock, node, peer(node)).await.unwrap();
    }
    // Nobody else is there, so that nothing is taken; and who asked goes away.
    for node in 2..=3 {
        mesh.0.lock().unwrap().remove(&node);
    }
    let all: std::collections::BTreeSet<u64> = [1, 2, 3].into();
    let is_joint = |metrics: &openraft::RaftMetrics<u64, Peer>| {
        is_half_done(metrics.membership_config.membership())
    };
    let wait = group.raft().wait(Some(PATIENCE));
    tokio::select! {
        outcome = group.change(&clock, all.clone(), false) => panic!("{outcome:?}"),
        seen = wait.metrics(is_joint, "half of it") => drop(seen.unwrap()),
    }
    for member in &members {
        mesh.0.lock().unwrap().insert(member.node, member.group.clone());
    }
    // It is taken now, and still needs the first member for everything.
    write(&mesh, "between".to_owned()).await;
    assert!(is_joint(&group.raft().metrics().borrow()));
    leader(&mesh).await.change(&clock, all, false).await.unwrap();
    assert!(!is_joint(&group.raft().metrics().borrow()));
    let first = members.remove(0);
    stop(&mesh, first).await;
    check_equal(&mesh, &members.iter().collect::<Vec<_>>()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_for_who_lived_here_before_is_refused() {
    let mesh = Mesh::default();
    let new = start(&mesh, 9, 1, tempfile::tempdir().unwrap()).await;
    let request = VoteRequest::new(Vote::new(5, 2), None);
    let body = encode_vote(1, &request);
    let error = new.group.handle(CallKind::Vote, body).await.unwrap_err();
    assert!(matches!(error, CallError::WrongMember { wanted: 1, here: 9 }), "{error}");
    assert_eq!(new.log.0.vote(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_travel_longer_than_a_heartbeat_arrive_and_depose_nobody() {
    let mesh = Mesh(Arc::default(), 12 * HEARTBEAT);
    let members = three(&mesh).await;
    write(&mesh, "short".to_owned()).await;
    let before = leader(&mesh).await.raft().metrics().borrow().vote;
    for number in 0..3 {
        write(&mesh, format!("long {number} {}", "x".repeat(2 * SLOW_BYTES_MIN))).await;
    }
    check_equal(&mesh, &members.iter().collect::<Vec<_>>()).await;
    let after = leader(&mesh).await.raft().metrics().borrow().vote;
    assert_eq!(before, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_comes_in_pieces_or_from_its_beginning() {
    let mesh = Mesh::default();
    let new = start(&mesh, 9, 1, tempfile::tempdir().unwrap()).await;
    let tally = Tally { count: 3, last: 7, sum: 99 };
    let whole = Bytes::from(tally.snapshot());
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(4, 2, 50)),
        snapshot_id: "one".to_owned(),
        ..SnapshotMeta::default()
    };
    let send = async |offset: usize, end: usize| {
        let piece = SnapshotPiece {
            vote: Vote::new_committed(4, 2),
            meta: meta.clone(),
            total: whole.len() as u64,
            offset: offset as u64,
            bytes: whole.slice(offset..end),
        };
        new.group.handle(CallKind::Snapshot, encode_snapshot(9, &piece)).await
    };
    assert!(matches!(send(8, whole.len()).await, Err(CallError::Gap)));
    send(0, 8).await.unwrap();
    assert!(matches!(send(9, whole.len()).await, Err(CallError::Gap)));
    assert_eq!(new.log.purged(), None);
    send(0, 12).await.unwrap();
    send(12, whole.len()).await.unwrap();
    assert_eq!(new.log.tail(|fold, last| (fold.clone(), last)), (tally, meta.last_log_id));
}
