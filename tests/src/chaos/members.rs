//! Nodes that come and go.

use serde_json::{Value, json};

use super::{Fault, Scene};
use crate::cluster::list;
use crate::wait::eventually;

impl Scene {
    /// The fault, or another one where the cluster has no place for it, and the node that it
    /// happens to: no fewer nodes than at the beginning, and one more at most.
    pub(super) fn possible(&mut self, fault: Fault) -> (Fault, usize) {
        let has_more = self.members.len() > self.settings.nodes;
        let fault = match fault {
            Fault::Join if has_more => Fault::Leave,
            Fault::Leave | Fault::Remove if !has_more => Fault::Join,
            fault => fault,
        };
        let spare = (0..=self.settings.nodes).find(|number| !self.members.contains(number));
        let victim = match (fault, spare) {
            (Fault::Join, Some(spare)) => spare,
            _ => *self.chance.one_of(&self.members),
        };
        (fault, victim)
    }

    /// Starts a node that was never there: the place of one that was removed has an empty disk.
    pub(super) fn join(&mut self, number: usize) {
        self.cluster.wipe(number);
        self.cluster.begin(number);
        self.members.push(number);
    }

    /// Waits until it serves, and sends to it.
    pub(super) fn joined(&mut self, number: usize) {
        self.ready(number);
        self.load().use_again(number);
    }

    pub(super) fn ready(&self, number: usize) {
        let client = self.cluster.client(number);
        eventually("the node to be ready", || {
            client.status_of("/readyz").filter(|status| *status == 200)
        });
    }

    /// Has a node left by what it keeps, or kills it.
    pub(super) fn send_off(&mut self, fault: Fault, number: usize) {
        self.load().avoid(number);
        self.leaving = self.cluster.id(number);
        if fault == Fault::Leave {
            self.operate("drain", number);
        } else {
            self.cluster.kill(number);
        }
    }

    /// Takes it out for good, one that was drained when it keeps nothing.
    pub(super) fn leave(&mut self, fault: Fault, number: usize) {
        let others = self.members.iter().copied();
        let witness = others.filter(|other| *other != number).min().expect("there are others");
        if fault == Fault::Leave {
            eventually("it to keep nothing", || {
                let node = self.leaving_as_seen_by(witness)?;
                let kept = ["replicas", "indexing", "splits"];
                kept.iter().all(|what| node[*what] == 0).then_some(())
            });
            self.cluster.stop(number);
        }
        self.operate("remove", witness);
        self.members.retain(|other| *other != number);
    }

    fn leaving_as_seen_by(&self, number: usize) -> Option<Value> {
        let status = self.cluster.status(number)?;
        list(&status["nodes"]).iter().find(|node| node["id"] == self.leaving.as_str()).cloned()
    }

    /// Asks a node for what is to become of the one that leaves, until it is done: that it is dead is
    /// not known at once.
    fn operate(&self, what: &str, asked: usize) {
        let body = json!({ "node": self.leaving }).to_string().into_bytes();
        let (path, headers) =
            (format!("/api/v1/cluster/{what}"), [("content-type", "application/json")]);
        let client = self.cluster.client(asked);
        eventually(&format!("{what} to be done"), || {
            let answer = client.send("POST", &path, &headers, body.clone())?;
            // The answer to a try before may have been lost.
            let is_done = answer.status == 200 || what == "remove" && answer.status == 404;
            is_done.then_some(())
        });
    }
}
