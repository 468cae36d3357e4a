//! Coming into the cluster.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use openraft::ChangeMembers;
use serde::{Deserialize, Serialize};

use super::beat::Beat;
use super::lead::PARTITIONS;
use super::propose::PROPOSE_CALL;
use super::words::{Words, hint};
use super::{GOES_TOO, MetaError, Metadata, Start};
use crate::catalog::{Answer, CatalogError, Command, Joining, Refusal, too_early};
use crate::peer::{PeerError, PeerServer};
use crate::raft::Peer;

/// The name of the call by which a node comes in.
const JOIN_CALL: &str = "join";
/// The name of the call that asks a voter to lead.
pub(super) const ELECT_CALL: &str = "elect";
/// How long one of these calls may take.
pub(super) const CALL_WAIT: Duration = Duration::from_secs(3);
/// How long a node knocks before it gives up.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long it waits before it knocks again.
const JOIN_PAUSE: Duration = Duration::from_millis(300);
/// How long a node may take to hear that it is in.
const FOLLOW_WAIT: Duration = Duration::from_secs(30);

/// What is said while the founder puts into the catalog what it had.
const BEING_FOUNDED: &str = "the cluster is being founded";
/// What a node says to itself that stopped meanwhile.
const BROKE_OFF: &str = "founding the cluster broke off: start this node with --bootstrap again";

/// The fact that says where the splits of all nodes are.
pub(super) const STORE: &str = "store";
/// The fact that the store was found to be the cluster's.
const STORE_CLAIMED: &str = "store claimed";

/// A node that asks to come in, and what is asked of its settings.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Knock {
    #[serde(flatten)]
    joining: Joining,
    /// Whether it has a store that nodes share; earlier versions did not say.
    #[serde(default)]
    store: Option<bool>,
    /// Whose that store says it is, empty when it is nobody's; `None` when it was not asked or does not
    /// answer.
    #[serde(default)]
    owner: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Welcome {
    /// Come in: the cluster, and this life.
    In { cluster: String, epoch: u64 },
    /// Not by this node.
    NotNow(String),
    /// Never.
    No(String),
}

impl Metadata {
    /// Answers other nodes.
    pub(super) fn answer(&self, server: &PeerServer) {
        self.answer_beats(server);
        self.answer_going(server);
        let metadata = self.clone();
        server.on_call(PROPOSE_CALL, move |body| {
            let metadata = metadata.clone();
            async move { text(&metadata.write(body).await) }
        });
        let metadata = self.clone();
        server.on_knock(JOIN_CALL, move |body| {
            let metadata = metadata.clone();
            async move { text(&metadata.welcome(body).await) }
        });
        self.answer_who(server);
        let metadata = self.clone();
        server.on_call(ELECT_CALL, move |_| {
            let metadata = metadata.clone();
            async move {
                if metadata.goes() {
                    return Err(GOES_TOO.to_owned());
                }
                let asked = metadata.0.group.raft().trigger().elect().await;
                asked.map(|()| Bytes::new()).map_err(|error| error.to_string())
            }
        });
    }

    pub(super) fn joining(&self) -> Joining {
        let settings = &self.0.settings;
        Joining {
            id: self.0.me,
            address: settings.address.clone(),
            http: settings.http.clone(),
            roles: settings.roles,
            version: settings.version.clone(),
            protocol: self.0.peers.protocol(),
            at: self.0.clock.now().0,
        }
    }

    /// Founds the cluster, joins it, or comes back to it.
    pub(super) async fn come_in(&self, known: Option<String>) -> Result<(), MetaError> {
        if let Some(cluster) = &known {
            self.0.peers.belong_to(cluster);
            self.say_what_is_not_asked(cluster);
        }
        match (&known, &self.0.settings.start) {
            (None, Start::Bootstrap) => self.found().await,
            _ => self.knock(known.is_some()).await,
        }
    }

    /// A node belongs to one cluster for good, whatever its settings name later.
    fn say_what_is_not_asked(&self, cluster: &str) {
        let topology = self.0.catalog.topology().borrow().clone();
        let is_known = |address: &String| topology.nodes.values().any(|n| n.address == *address);
        if let Start::Join(named) = &self.0.settings.start
            && !named.is_empty()
            && !topology.nodes.is_empty()
            && !named.iter().any(is_known)
        {
            tracing::warn!(cluster, join = ?named, "this node belongs to this cluster already, where none of --join is a node: to join another one, start with an empty --data-dir");
        }
    }

    /// Whether some node of the cluster found the store that they share to be theirs.
    ///
    /// # Errors
    /// [`CatalogError::Storage`].
    pub fn store_was_claimed(&self) -> Result<bool, CatalogError> {
        Ok(self.0.catalog.fact(STORE_CLAIMED)?.is_some())
    }

    /// What a store says whose it is when it is this cluster's.
    #[must_use]
    pub fn store_owner(&self) -> String {
        format!("cluster {}", self.0.catalog.topology().borrow().cluster)
    }

    /// Remembers for all nodes that the store is theirs: from now on it must say so.
    ///
    /// # Errors
    /// As [`Metadata::decide`].
    pub async fn store_is_claimed(&self) -> Result<(), CatalogError> {
        let (name, fact) = (STORE_CLAIMED.to_owned(), String::new());
        self.decide(&Command::Remember { name, fact }.into()).await.map(drop)
    }

    /// How many partitions the cluster wants.
    pub(super) fn partition_count(&self) -> u32 {
        let stored = self.0.catalog.fact(PARTITIONS).ok().flatten();
        stored.and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// A node whose settings name more partitions than there are has more made.
    async fn raise_partitions(&self) {
        let count = self.0.settings.partition_count;
        if count <= self.partition_count() {
            return;
        }
        match self.decide(&Command::Raise { partitions: count }.into()).await {
            Ok(_) => tracing::info!(count, "the queue gets more partitions"),
            Err(error) => tracing::warn!(%error, "the queue keeps its partitions"),
        }
    }

    /// Asks to come in, again and again.
    pub(super) async fn knock(&self, is_known: bool) -> Result<(), MetaError> {
        let clock = &self.0.clock;
        let until = clock.elapsed() + JOIN_WAIT_MAX;
        let mut why = nobody_asked(&self.0.settings.start, &self.0.settings.address).to_owned();
        let mut words = Words::default();
        // Who has come in once has the cluster's store, whatever it said before.
        let mut owner = self.0.settings.store_owner.clone().filter(|_| !is_known);
        // A node that knows its cluster waits for it as long as it takes.
        while is_known || clock.elapsed() < until {
            if let Some(why) = self.failure() {
                return Err(MetaError::Group(why));
            }
            for address in self.doors() {
                match self.knock_at(&address, owner.clone()).await {
                    Welcome::In { cluster, epoch } => return self.go_in(&cluster, epoch).await,
                    Welcome::NotNow(words) => why = self.why(&address, &words).unwrap_or(why),
                    Welcome::No(words) => why = self.is_no(words, &mut owner).await?,
                }
            }
            clock.sleep(JOIN_PAUSE).await;
            if words.are_due(clock.elapsed()) {
                tracing::warn!(why, "not in the cluster yet; trying on");
            }
        }
        Err(MetaError::Alone(why))
    }

    /// Whether a refusal is one for good: a store that was nobody's may be the cluster's by now.
    async fn is_no(&self, words: String, owner: &mut Option<String>) -> Result<String, MetaError> {
        if owner.is_some()
            && let Some(now) = (self.0.settings.ask_owner.0)().await
            && Some(&now) != owner.as_ref()
        {
            *owner = Some(now);
            return Ok(words);
        }
        Err(MetaError::Alone(words))
    }

    /// Takes its place, and returns when its own catalog knows it.
    async fn go_in(&self, cluster: &str, epoch: u64) -> Result<(), MetaError> {
        self.0.peers.belong_to(cluster);
        self.0.epoch.store(epoch, Ordering::Relaxed);
        self.0.catalog.remember_local("cluster", cluster)?;
        self.is_in().await?;
        self.heard_leader();
        self.raise_partitions().await;
        tracing::info!(cluster, node = %self.0.me, epoch, "this node is in its cluster");
        Ok(())
    }

    /// Why it is not in, by what was said at a door.
    fn why(&self, address: &str, words: &str) -> Option<String> {
        if address != self.0.settings.address {
            return Some(format!("{words}{}", hint(words)));
        }
        // Its own words help nobody: it is not in.
        (words == BEING_FOUNDED).then(|| BROKE_OFF.to_owned())
    }

    /// Where to knock: at this node itself too, when it leads already.
    fn doors(&self) -> Vec<String> {
        let mut doors = vec![self.0.settings.address.clone()];
        if let Start::Join(addresses) = &self.0.settings.start {
            doors.extend(addresses.iter().cloned());
        }
        let topology = self.0.catalog.topology();
        doors.extend(topology.borrow().nodes.values().map(|node| node.address.clone()));
        doors.dedup();
        doors
    }

    async fn knock_at(&self, address: &str, owner: Option<String>) -> Welcome {
        let store = Some(self.0.settings.store);
        let knock = Knock { joining: self.joining(), store, owner };
        let Ok(body) = text(&knock) else { return Welcome::No("no words".to_owned()) };
        match self.0.peers.call(address, JOIN_CALL, body, CALL_WAIT).await {
            Ok(answer) => serde_json::from_slice(&answer)
                .unwrap_or_else(|error| Welcome::NotNow(error.to_string())),
            Err(error @ PeerError::Refused { .. }) if self.counts_on(address) => {
                Welcome::No(error.to_string())
            }
            Err(error) => Welcome::NotNow(error.to_string()),
        }
    }

    /// Whether a refusal there is one for good. Where a node of ours was, one of another cluster may
    /// be by now; who has come in once is out only when its own cluster says so.
    fn counts_on(&self, address: &str) -> bool {
        let named = match &self.0.settings.start {
            Start::Join(addresses) => addresses.iter().any(|named| named == address),
            Start::Bootstrap => false,
        };
        named && self.epoch() == 0
    }

    /// Waits until this node's own catalog has its registration.
    async fn is_in(&self) -> Result<(), MetaError> {
        let me = self.0.me;
        let mut topology = self.0.catalog.topology();
        let seen = topology.wait_for(|topology| topology.nodes.contains_key(&me));
        match self.0.clock.timeout(FOLLOW_WAIT, seen).await {
            Some(Ok(_)) => Ok(()),
            _ => Err(MetaError::Alone("the cluster's metadata did not come".to_owned())),
        }
    }

    /// Lets a node in, if this one leads, or asks who does.
    async fn welcome(&self, body: Bytes) -> Welcome {
        let Ok(knock) = serde_json::from_slice::<Knock>(&body) else {
            return Welcome::No("a request to join that cannot be read".to_owned());
        };
        if let Some(words) = self.no_to(&knock) {
            return Welcome::No(words);
        }
        let metrics = self.0.group.raft().metrics().borrow().clone();
        match metrics.current_leader {
            None => Welcome::NotNow("the cluster has no leader now".to_owned()),
            Some(leader) if leader == self.0.me.0 => self.let_in(knock).await,
            Some(leader) => {
                let peer = metrics.membership_config.membership().get_node(&leader).cloned();
                let Some(peer) = peer else {
                    return Welcome::NotNow("the leader is not known".to_owned());
                };
                if peer.address == knock.joining.address {
                    return Welcome::NotNow("the leader is not known".to_owned());
                }
                match self.0.peers.call(&peer.address, JOIN_CALL, body, CALL_WAIT).await {
                    Ok(answer) => serde_json::from_slice(&answer)
                        .unwrap_or_else(|error| Welcome::NotNow(error.to_string())),
                    Err(error) => Welcome::NotNow(error.to_string()),
                }
            }
        }
    }

    /// Why a node never comes in as it is, if so.
    fn no_to(&self, Knock { joining, store, owner }: &Knock) -> Option<String> {
        let place = self.0.catalog.fact(STORE).ok().flatten();
        if let (Some(place), Some(store)) = (place, *store)
            && place != place_of_splits(store)
        {
            return Some(wrong_place(store).to_owned());
        }
        if let Some(owner) = owner
            && self.store_was_claimed().unwrap_or(false)
            && *owner != self.store_owner()
        {
            return Some(wrong_store(owner));
        }
        let (theirs, log) = (joining.protocol, self.log_protocol());
        let ours = self.0.peers.protocol();
        if theirs.abs_diff(ours) > 1 {
            return Some(format!("version {theirs} of the nodes' protocol is too far from {ours}"));
        }
        (theirs < log).then(|| too_early(theirs, log))
    }

    async fn let_in(&self, knock: Knock) -> Welcome {
        let topology = self.0.catalog.topology().borrow().clone();
        // The founder registers when everything is there that the others are to find.
        let is_founded = !topology.nodes.is_empty();
        let cluster = self.0.catalog.fact("cluster").ok().flatten();
        let Some(cluster) = cluster.filter(|_| is_founded) else {
            return Welcome::NotNow(BEING_FOUNDED.to_owned());
        };
        if let Some(words) = self.no_to(&knock) {
            return Welcome::No(words);
        }
        let Knock { joining, .. } = knock;
        if let Some(doubt) = self.doubt(&joining, &topology).await {
            return doubt;
        }
        let (id, at) = (joining.id, joining.at);
        // Nobody knows whether its clock is right.
        let joining = Joining { at: self.0.clock.now().0, ..joining };
        let peer = Peer { node: id.0, address: joining.address.clone() };
        // Who was removed, or is of another cluster, is told so before it becomes a member.
        let epoch = match self.decide(&Command::Register(joining).into()).await {
            Ok(Answer::Number(epoch)) => epoch,
            Ok(_) => return Welcome::NotNow("it has no life".to_owned()),
            Err(CatalogError::Refused(refusal @ Refusal::Stranger { .. })) => {
                return Welcome::No(refusal.to_string());
            }
            Err(error) => return Welcome::NotNow(error.to_string()),
        };
        self.note(Beat { node: id, epoch, now: at, ..Beat::default() });
        let (group, clock) = (&self.0.group, &self.0.clock);
        let membership = group.raft().metrics().borrow().membership_config.membership().clone();
        let known = membership.get_node(&id.0).cloned();
        let changed = if known.is_none() {
            group.learn(clock, id.0, peer).await
        } else if known.as_ref() != Some(&peer) {
            let nodes = [(id.0, peer)].into();
            group.change(clock, ChangeMembers::SetNodes(nodes), true).await
        } else {
            Ok(())
        };
        if let Err(error) = changed {
            return Welcome::NotNow(error.to_string());
        }
        Welcome::In { cluster, epoch }
    }
}

/// Why a node is not in that has asked nobody but itself.
fn nobody_asked(start: &Start, address: &str) -> &'static str {
    match start {
        Start::Join(named) if !named.is_empty() && named.iter().all(|one| one == address) => {
            "--join names this node's own address: give that of a node that is there, or --bootstrap to found a cluster"
        }
        _ => "give --join HOST:7411 of a node that is there, or --bootstrap",
    }
}

/// Where splits are, in the word that the cluster keeps.
pub(super) fn place_of_splits(store: bool) -> &'static str {
    if store { "shared" } else { "copies" }
}

/// Why a node whose splits would be elsewhere is not let in.
fn wrong_place(store: bool) -> &'static str {
    if store {
        "this cluster keeps splits as copies on its nodes: start this one without --store too"
    } else {
        "this cluster keeps splits in a store that its nodes share: start this one with the same --store URL"
    }
}

/// Why a node whose store says that it is another's, or nobody's, is not let in.
fn wrong_store(owner: &str) -> String {
    let whose =
        if owner.is_empty() { "empty".to_owned() } else { format!("of another one, {owner}") };
    format!(
        "the store that this node is given is not this cluster's, it is {whose}: start it with the same --store URL as the other nodes (is the folder mounted?)"
    )
}

pub(super) fn text(value: &impl Serialize) -> Result<Bytes, String> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use model::node::NodeId;

    use super::super::fixture::alone;
    use super::*;
    use crate::catalog::Order;
    use crate::peer::PROTOCOL;

    /// What a node that speaks this version is told when it knocks: yes or no.
    async fn told(metadata: &Metadata, protocol: u32) -> Welcome {
        let (id, address) = (NodeId(9), "nowhere:2".to_owned());
        let joining = Joining { id, address, protocol, ..metadata.joining() };
        let knock = text(&Knock { joining, store: None, owner: None }).unwrap();
        loop {
            match Box::pin(metadata.welcome(knock.clone())).await {
                // Another change of the group is on its way.
                Welcome::NotNow(_) => metadata.0.clock.sleep(JOIN_PAUSE).await,
                told => return told,
            }
        }
    }

    #[test]
    fn who_asks_itself_to_come_in_is_told_so() {
        let said = |named: &[&str]| {
            let named = named.iter().map(|one| (*one).to_owned()).collect();
            nobody_asked(&Start::Join(named), "here:1")
        };
        assert!(said(&["here:1"]).contains("own address"));
        assert!(!said(&["here:1", "there:1"]).contains("own address"));
        assert!(!said(&[]).contains("own address"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_neighbour_of_the_version_before_comes_in_until_what_it_cannot_read_is_decided() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = alone(folder.path()).await;
        assert!(matches!(told(&metadata, PROTOCOL - 1).await, Welcome::In { .. }));
        // All but that is decided with it.
        let open = Order::from(Command::Open { protocol: PROTOCOL });
        let refused = metadata.decide(&open).await.unwrap_err();
        assert!(refused.to_string().contains("with the newest program"), "{refused}");
        metadata.decide(&Command::Raise { partitions: 2 }.into()).await.unwrap();
        // It is started with the next program, and with its own one once more.
        assert!(matches!(told(&metadata, PROTOCOL).await, Welcome::In { .. }));
        metadata.decide(&open).await.unwrap();
        let Welcome::No(words) = told(&metadata, PROTOCOL - 1).await else {
            panic!("it came in and reads nothing");
        };
        assert!(words.contains("the program that the other nodes have"), "{words}");
        metadata.stop().await;
    }
}
