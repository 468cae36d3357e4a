//! Whether the node is ready: its cluster is heard, what it had is searchable again, and since it was
//! started one answer was whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use index::searcher::Searcher;
use platform::clock::Clock;
use platform::shutdown::Shutdown;

use crate::node::Parts;

/// A node that has heard nothing of its cluster for so long is not ready.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How long a node that was started may wait for its answers to be whole. Then it is ready all the same: what
/// its answers lack is another node's, or nobody's now, and they say so.
const WHOLE_WAIT_MAX: Duration = Duration::from_secs(20);
/// How often is looked whether they are.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Who knows whether the node is ready. Clones share it.
#[derive(Clone)]
pub(crate) struct Readiness {
    searcher: Searcher,
    parts: Parts,
    /// An answer was whole, or that was waited for long enough.
    has_begun: Arc<AtomicBool>,
}

impl Readiness {
    /// Not yet; looks by itself from now on. Nothing waits for it: other nodes are heard meanwhile, and
    /// whoever asks is answered with what there is.
    pub(crate) fn watch(
        searcher: &Searcher,
        parts: &Parts,
        clock: &Clock,
        shutdown: &Shutdown,
    ) -> Self {
        let (searcher, parts, has_begun) = (searcher.clone(), parts.clone(), Arc::default());
        let readiness = Self { searcher, parts, has_begun };
        let (clock, shutdown) = (clock.clone(), shutdown.clone());
        let (watching, looking) = (readiness.clone(), readiness.clone());
        let is_whole = move || {
            let looking = looking.clone();
            async move { looking.is_whole().await }
        };
        tokio::spawn(async move {
            tokio::select! {
                is_whole = until(&clock, WHOLE_WAIT_MAX, is_whole) => {
                    if !is_whole {
                        tracing::warn!("answers are not whole yet: they say what they lack");
                    }
                    watching.has_begun.store(true, Ordering::Relaxed);
                }
                () = shutdown.wait() => {}
            }
        });
        readiness
    }

    /// Whether it is known who keeps and indexes each partition, and an answer has the records of all.
    async fn is_whole(&self) -> bool {
        let is_placed = match &self.parts {
            Parts::Solo(_) => true,
            Parts::Clustered(clustered) => clustered.has_partitions(),
        };
        is_placed && Box::pin(self.searcher.gather_within(Duration::ZERO)).await.missing.is_empty()
    }

    /// Returns when the node is ready for the first time.
    pub(crate) async fn begun(&self, clock: &Clock) {
        while self.lack().is_some() {
            clock.sleep(LOOK_INTERVAL).await;
        }
    }

    /// Why the node is not ready, if it is not.
    pub(crate) fn lack(&self) -> Option<&'static str> {
        if self.parts.silence() > SILENCE_MAX {
            Some("nothing is heard of the cluster")
        } else if !self.searcher.is_caught_up() {
            Some("reading the queue")
        } else if !self.has_begun.load(Ordering::Relaxed) {
            Some("not all records are there yet")
        } else {
            None
        }
    }
}

/// Looks until it is so, for so long at most, also where a look does not end. Whether it is.
async fn until<F: Future<Output = bool>>(
    clock: &Clock,
    wait_max: Duration,
    mut is_so: impl FnMut() -> F,
) -> bool {
    let looking = async {
        while !is_so().await {
            clock.sleep(LOOK_INTERVAL).await;
        }
    };
    clock.timeout(wait_max, looking).await.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_waits_for_the_first_whole_answer_and_not_for_ever() {
        let clock = Clock::system();
        let mut looks = 0;
        let third = || {
            looks += 1;
            std::future::ready(looks == 3)
        };
        assert!(until(&clock, Duration::from_secs(3600), third).await);
        assert_eq!(looks, 3);
        assert!(!until(&clock, Duration::ZERO, || std::future::ready(false)).await);
        // A disk may stand still.
        assert!(!until(&clock, Duration::ZERO, std::future::pending).await);
    }
}
