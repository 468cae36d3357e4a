//! A cluster of one node, for tests.

use std::path::Path;
use std::time::Duration;

use model::node::Roles;
use platform::clock::Clock;
use platform::shutdown::Shutdown;

use super::{AskOwner, MetaSettings, Metadata, Start};
use crate::catalog::Catalog;
use crate::peer::{Members, PeerServer, Peers};

/// The node, which nobody reaches and which reaches nobody.
pub(super) async fn alone(folder: &Path) -> Metadata {
    let settings = MetaSettings {
        folder: folder.join("meta"),
        address: "nowhere:1".to_owned(),
        http: String::new(),
        roles: Roles::default(),
        version: String::new(),
        start: Start::Bootstrap,
        partition_count: 1,
        gone_after: Duration::from_secs(600),
        store: false,
        store_owner: None,
        ask_owner: AskOwner::new(|| Box::pin(async { None })),
        had_partitions: false,
    };
    let catalog = Catalog::open(&folder.join("catalog.redb")).unwrap();
    let peers = Peers::new(Clock::system(), None);
    let (server, members) = (PeerServer::new(peers.clone()), Members::default());
    let parties = (peers, &server, &members);
    let (clock, shutdown) = (Clock::system(), Shutdown::default());
    Box::pin(Metadata::start(settings, catalog, parties, clock, shutdown)).await.unwrap()
}
