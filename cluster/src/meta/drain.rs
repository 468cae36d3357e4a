//! Nodes that are to be left. That is a fact beside their health, which is told anew whenever a node
//! comes: it holds until it is taken back.

use model::node::{Health, NodeId, NodeInfo};

use super::Metadata;
use crate::catalog::{CatalogError, Command, DRAINING};

impl Metadata {
    /// Has a node left by all that it keeps and does, also when it dies or is started again, until
    /// [`Metadata::undrain`].
    ///
    /// # Errors
    /// As [`Metadata::decide`].
    pub async fn drain(&self, node: &NodeInfo) -> Result<(), CatalogError> {
        self.decide(&mark(node.id, "yes").into()).await?;
        // One that is down stays so.
        self.set_health(node.id, Health::Up, Health::Draining).await
    }

    /// Lets a node that was to be left take work again.
    ///
    /// # Errors
    /// As [`Metadata::decide`].
    pub async fn undrain(&self, node: &NodeInfo) -> Result<(), CatalogError> {
        self.decide(&mark(node.id, "").into()).await?;
        self.set_health(node.id, Health::Draining, Health::Up).await
    }

    /// Says at once what follows for the node as it is by now. Who leads sees to it again and again: in
    /// between others may have decided what was right before.
    async fn set_health(
        &self,
        node: NodeId,
        from: Health,
        health: Health,
    ) -> Result<(), CatalogError> {
        let known = self.0.catalog.topology().borrow().nodes.get(&node).cloned();
        let Some(known) = known.filter(|known| known.health == from) else { return Ok(()) };
        let (since, epoch) = (self.0.clock.now().0, known.epoch);
        let command = Command::SetHealth { node, epoch, health, since };
        match self.decide(&command.into()).await {
            // It came anew meanwhile.
            Ok(_) | Err(CatalogError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn mark(node: NodeId, fact: &str) -> Command {
    Command::Remember { name: format!("{DRAINING}{node}"), fact: fact.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    #[test]
    fn who_is_to_be_left_is_known_until_it_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        let draining = || catalog.topology().borrow().draining.clone();
        catalog.execute(mark(NodeId(7), "yes")).unwrap();
        assert_eq!(draining(), [NodeId(7)].into());
        catalog.execute(mark(NodeId(8), "yes")).unwrap();
        catalog.execute(mark(NodeId(7), "")).unwrap();
        assert_eq!(draining(), [NodeId(8)].into());
        assert!(catalog.topology().borrow().forgotten.is_empty());
    }
}
