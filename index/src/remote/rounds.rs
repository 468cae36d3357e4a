//! Asking again for what moves: all questions that wait do so together, so that a move costs the nodes
//! as much as one question, however many wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use platform::clock::Clock;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// How long to wait before nodes are asked again for what moves to them; twice as long each time.
const PAUSE_MIN: Duration = Duration::from_millis(25);
/// How long to wait at most.
const PAUSE_MAX: Duration = Duration::from_millis(200);
/// When nobody asked again for so long, it is another move.
const QUIET: Duration = Duration::from_secs(2);

/// The rounds in which nodes are asked again. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Rounds<T>(Arc<Mutex<Course<T>>>);

impl<T> Default for Rounds<T> {
    fn default() -> Self {
        let (next, pause, begins) = (None, Duration::ZERO, Duration::ZERO);
        Self(Arc::new(Mutex::new(Course { next, pause, begins })))
    }
}

#[derive(Debug)]
struct Course<T> {
    /// The one that has not begun yet.
    next: Option<Promised<T>>,
    /// How long the last one waited before it began, and when that was, by the clock's elapsed time.
    pause: Duration,
    begins: Duration,
}

/// A round that has not begun yet: it finds all that was there when it was promised.
#[derive(Debug, Clone)]
pub(crate) struct Promised<T> {
    begins: Duration,
    found: watch::Receiver<Option<T>>,
}

impl<T: Clone> Promised<T> {
    /// What it finds, when it has ended; `None` when it does not end.
    pub(crate) async fn found(mut self) -> Option<T> {
        let found = self.found.wait_for(Option::is_some).await.ok()?;
        found.clone()
    }
}

impl<T: Clone + Send + Sync + 'static> Rounds<T> {
    /// The next round, if it begins by then: the one that others wait for, or else `ask`.
    pub(crate) fn next(
        &self,
        by: Duration,
        (clock, runtime): (&Clock, &Handle),
        ask: impl Future<Output = T> + Send + 'static,
    ) -> Option<Promised<T>> {
        let mut course = self.course();
        if let Some(next) = &course.next {
            return (next.begins <= by).then(|| next.clone());
        }
        let now = clock.elapsed();
        let pause = grown(course.pause, now.saturating_sub(course.begins));
        let begins = now + pause;
        if begins > by {
            return None;
        }
        let (tell, found) = watch::channel(None);
        let promised = Promised { begins, found };
        *course = Course { next: Some(promised.clone()), pause, begins };
        drop(course);
        let (rounds, clock) = (self.clone(), clock.clone());
        runtime.spawn(async move {
            clock.sleep(pause).await;
            // Who comes from now on may know of more than this one finds.
            rounds.course().next = None;
            tell.send_replace(Some(ask.await));
        });
        Some(promised)
    }

    fn course(&self) -> MutexGuard<'_, Course<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a round waits behind one that waited so long and began so long ago.
fn grown(pause: Duration, ago: Duration) -> Duration {
    if ago > QUIET { PAUSE_MIN } else { (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX) }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn questions_that_wait_at_once_ask_once() {
        let (rounds, clock, runtime) = (Rounds::default(), Clock::system(), Handle::current());
        let next = |number: u64| {
            let round = rounds.next(Duration::MAX, (&clock, &runtime), async move { number });
            round.unwrap().found()
        };
        assert_eq!(join_all((0..100).map(next)).await, [Some(0); 100]);
        assert_eq!(next(7).await, Some(7));
        // Nobody is asked where nobody can wait for it.
        let now = clock.elapsed();
        assert!(rounds.next(now, (&clock, &runtime), async { 8 }).is_none());
        assert_eq!(next(9).await, Some(9));
    }

    #[tokio::test]
    async fn who_comes_while_others_are_answered_asks_anew() {
        let (rounds, clock, runtime) = (Rounds::default(), Clock::system(), Handle::current());
        let with = (&clock, &runtime);
        let (begin, begun) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        let slow = async move {
            begin.send(()).unwrap();
            ended.await.unwrap();
            1
        };
        let slow = rounds.next(Duration::MAX, with, slow).unwrap();
        begun.await.unwrap();
        let later = rounds.next(Duration::MAX, with, async { 2 }).unwrap();
        assert_eq!(later.found().await, Some(2));
        end.send(()).unwrap();
        assert_eq!(slow.found().await, Some(1));
        // One that breaks off is waited for by nobody.
        let broken = async { "broken off".parse::<i32>().unwrap() };
        let broken = rounds.next(Duration::MAX, with, broken).unwrap();
        assert_eq!(broken.found().await, None);
    }

    #[test]
    fn the_longer_a_move_lasts_the_more_rarely_nodes_are_asked() {
        let [short, quiet] = [QUIET / 2, QUIET * 2];
        let mut pause = grown(Duration::ZERO, quiet);
        let mut pauses = vec![pause.as_millis()];
        for _ in 0..4 {
            pause = grown(pause, short);
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [25, 50, 100, 200, 200]);
        assert_eq!(grown(pause, quiet), PAUSE_MIN);
        // The first of all.
        assert_eq!(grown(Duration::ZERO, short), PAUSE_MIN);
    }
}
