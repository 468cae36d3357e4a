//! Parts as they become searchable anywhere in the cluster, for who follows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use model::node::NodeId;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::Remote;
use crate::fresh::FreshPart;
use crate::searcher::{FOLLOW_PARTS_MAX, Searcher};

/// How often is looked which nodes there are, and whether anybody follows.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

impl Searcher {
    /// Every part of records as it becomes searchable, on whichever node. What goes by while a node
    /// does not answer is seen by its offsets.
    #[must_use]
    pub fn follow_all(&self) -> broadcast::Receiver<Arc<FreshPart>> {
        let Some(remote) = self.clustered() else { return self.follow() };
        let to = broadcast::Sender::new(FOLLOW_PARTS_MAX);
        let parts = to.subscribe();
        let remote = remote.clone();
        let runtime = remote.0.runtime.clone();
        runtime.spawn(relay(remote, self.follow(), to));
        parts
    }
}

/// Until nobody follows any more.
async fn relay(
    remote: Remote,
    mut own: broadcast::Receiver<Arc<FreshPart>>,
    to: broadcast::Sender<Arc<FreshPart>>,
) {
    let mut followed: BTreeSet<NodeId> = BTreeSet::new();
    let mut tasks: JoinSet<NodeId> = JoinSet::new();
    let clock = remote.0.metadata.clock().clone();
    while to.receiver_count() > 0 {
        let topology = remote.topology();
        for node in topology.nodes.values().filter(|node| node.answers()) {
            if node.id != remote.0.metadata.me() && followed.insert(node.id) {
                tasks.spawn(one(remote.clone(), node.id, to.clone()));
            }
        }
        let until = clock.sleep(LOOK_INTERVAL);
        tokio::pin!(until);
        loop {
            tokio::select! {
                part = own.recv() => match part {
                    // Nobody follows any more: seen at once.
                    Ok(part) => if to.send(part).is_err() { return },
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(ended) = tasks.join_next() => {
                    // It is followed again when it is looked for the next time.
                    if let Ok(node) = ended {
                        followed.remove(&node);
                    }
                }
                () = &mut until => break,
            }
        }
    }
}

/// One node's parts, until it does not answer or nobody follows.
async fn one(remote: Remote, node: NodeId, to: broadcast::Sender<Arc<FreshPart>>) -> NodeId {
    if let Ok(parts) = remote.follow(node).await {
        tokio::pin!(parts);
        while let Some(Ok(part)) = parts.next().await {
            if to.send(part).is_err() {
                break;
            }
        }
    }
    node
}
