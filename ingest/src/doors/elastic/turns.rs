//! Requests that say the same at the same time: one after the other. A client that waits for an answer no
//! longer sends its request again while the first is under way; both at once would share its ids between them, and
//! neither part would be known elsewhere for what it was.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// Who has a turn, by a fingerprint of what is said. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<u64, Arc<Notify>>>>);

/// A turn. It ends when this goes.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    said: u64,
}

impl Turns {
    /// Waits until nobody else says the same.
    pub(super) async fn take(&self, said: u64) -> Turn {
        loop {
            let ended = {
                let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                match taken.get(&said) {
                    // Made while the other one cannot end: its end is not missed.
                    Some(other) => other.clone().notified_owned(),
                    None => {
                        taken.insert(said, Arc::default());
                        return Turn { turns: self.clone(), said };
                    }
                }
            };
            ended.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut taken = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = taken.remove(&self.said) {
            waiting.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_says_the_same_waits() {
        let turns = Turns::default();
        let first = turns.take(1).await;
        let mut second = Box::pin(turns.take(1));
        let mut third = Box::pin(turns.take(1));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(third.as_mut().now_or_never().is_none());
        assert!(turns.take(2).now_or_never().is_some());
        drop(first);
        let second = second.await;
        assert!(third.as_mut().now_or_never().is_none());
        drop(second);
        drop(third.await);
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
