//! Processor cores for scanning: so many tokens, held while a thread computes, given back while
//! it waits for its reader.

use std::sync::Arc;

/// The tokens. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Cores(Arc<(flume::Sender<()>, flume::Receiver<()>)>);

/// One core, until dropped.
#[derive(Debug)]
pub(super) struct Core(Option<Cores>);

impl Cores {
    pub(super) fn new(count: usize) -> Self {
        let (give, take) = flume::bounded(count.max(1));
        for () in std::iter::repeat_n((), count.max(1)) {
            // The channel holds as many as there are.
            give.try_send(()).ok();
        }
        Self(Arc::new((give, take)))
    }

    /// Waits for a core. Blocks; for threads that may.
    pub(super) fn take(&self) -> Core {
        // Both ends live as long as self, so this always is a token.
        let token = self.0.1.recv().is_ok();
        Core(token.then(|| self.clone()))
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(cores) = self.0.take() {
            cores.0.0.try_send(()).ok();
        }
    }
}
