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
/// How long something must keep the node from being ready to be said.
const TELL_AFTER: Duration = Duration::from_secs(2);

/// Who knows whether the node is ready. Clones share it.
#[derive(Clone)]
pub(crate) struct Readiness {
    searcher: Searcher,
    parts: Parts,
    /// An answer was whole, or that was waited for long enough.
    has_begun: Arc<AtomicBool>,
    /// It was ready once.
    was_ready: Arc<AtomicBool>,
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
        let (searcher, parts) = (searcher.clone(), parts.clone());
        let (has_begun, was_ready) = (Arc::default(), Arc::default());
        let readiness = Self { searcher, parts, has_begun, was_ready };
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

    /// Returns when the node is ready for the first time. Says what it lacks until then, once where that
    /// lasts.
    pub(crate) async fn begun(&self, clock: &Clock, say: impl Fn(&str)) {
        let mut news = News::default();
        while let Some(lack) = self.lack() {
            if news.lasts(lack, clock.elapsed()) {
                say(lack);
            }
            clock.sleep(LOOK_INTERVAL).await;
        }
    }

    /// Why the node is not ready, if it is not.
    pub(crate) fn lack(&self) -> Option<&'static str> {
        let has_begun = self.has_begun.load(Ordering::Relaxed);
        let start = (!self.was_ready.load(Ordering::Relaxed))
            .then(|| Start { is_caught_up: self.searcher.is_caught_up(), has_begun });
        let lack = lack_of(self.parts.silence(), start);
        if lack.is_none() {
            self.was_ready.store(true, Ordering::Relaxed);
        }
        lack
    }

    /// Whether records are stored here that cannot be found yet: more have come in the last moments than
    /// are read.
    pub(crate) fn is_behind(&self) -> bool {
        !self.searcher.is_caught_up()
    }

    /// What is said of a node that is ready: what it does not reach keeps it from nothing that it could do.
    pub(crate) fn words(&self) -> String {
        ready_words(self.store_silence())
    }

    /// For how long the store of splits has not answered this node, which takes records all the same.
    pub(crate) fn store_silence(&self) -> Option<Duration> {
        self.searcher.store_silence()
    }
}

/// Records are taken and the newest are found without a store.
fn ready_words(store_silence: Option<Duration>) -> String {
    store_silence.map_or("ready\n".to_owned(), |silence| {
        let seconds = silence.as_secs();
        format!("ready\nthe store of splits has not answered for {seconds} s\n")
    })
}

/// How far a node is that was not ready yet since it was started.
#[derive(Debug, Clone, Copy)]
struct Start {
    is_caught_up: bool,
    has_begun: bool,
}

/// What a node lacks to be ready. One that was ready lacks no records: those that came a moment ago are
/// on their way into what is searched, and who asks for all waits for them.
fn lack_of(silence: Duration, start: Option<Start>) -> Option<&'static str> {
    match start {
        _ if silence > SILENCE_MAX => Some("nothing is heard of the cluster"),
        Some(Start { is_caught_up: false, .. }) => Some("reading the queue"),
        Some(Start { has_begun: false, .. }) => Some("not all records are there yet"),
        _ => None,
    }
}

/// What keeps a node from being ready, since when, and whether that was said.
#[derive(Debug, Default)]
struct News {
    lack: &'static str,
    since: Duration,
    is_said: bool,
}

impl News {
    /// Whether it has lasted for so long that it is to be said, and was not yet.
    fn lasts(&mut self, lack: &'static str, now: Duration) -> bool {
        if self.lack != lack {
            *self = Self { lack, since: now, is_said: false };
        }
        let is_news = !self.is_said && now.saturating_sub(self.since) >= TELL_AFTER;
        self.is_said |= is_news;
        is_news
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

    #[test]
    fn what_keeps_a_node_from_being_ready_is_said_once_and_only_where_it_lasts() {
        let (mut news, at) = (News::default(), Duration::from_millis);
        let said = [
            ("reading", 100),
            ("reading", 1_900),
            ("reading", 2_100),
            ("reading", 60_000),
            ("alone", 60_050),
            ("reading", 60_100),
            ("reading", 62_100),
        ];
        let said = said.map(|(lack, ms)| news.lasts(lack, at(ms)));
        assert_eq!(said, [false, false, true, false, false, false, true]);
    }

    #[test]
    fn who_was_ready_stays_so_however_much_comes() {
        let (heard, start) =
            (Duration::ZERO, |is_caught_up, has_begun| Some(Start { is_caught_up, has_begun }));
        assert_eq!(lack_of(heard, start(false, true)), Some("reading the queue"));
        assert_eq!(lack_of(heard, start(true, false)), Some("not all records are there yet"));
        assert_eq!(lack_of(heard, start(true, true)), None);
        assert_eq!(lack_of(heard, None), None, "whatever it has still to read");
        assert_eq!(ready_words(None), "ready\n");
        let words = ready_words(Some(Duration::from_millis(9_500)));
        assert_eq!(words, "ready\nthe store of splits has not answered for 9 s\n");
        let silence = SILENCE_MAX + Duration::from_millis(1);
        assert_eq!(lack_of(silence, None), Some("nothing is heard of the cluster"));
    }

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
