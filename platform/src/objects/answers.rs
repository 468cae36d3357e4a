//! Whether an object store answers at all. Who reads first waits for it; from then on whoever reads is
//! told at once, while we ask by ourselves whether it is back.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::errors::{retryable, told};
use super::figures::ObjectFigures;
use crate::clock::Clock;

/// How long a read waits for a sign of the store: for the answer to begin, then for each piece of it.
pub const ANSWER_WAIT: Duration = Duration::from_secs(4);
/// How often a read that got none is asked in all: a connection may be lost while the store is there.
pub(super) const ANSWER_TRIES: u32 = 2;
/// How long we wait before we ask again whether a store is back.
const ASK_PAUSE: Duration = Duration::from_secs(2);

/// What is known of whether a store answers. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Answers(Arc<State>);

#[derive(Debug)]
struct State {
    clock: Clock,
    wait: Duration,
    pause: Duration,
    figures: ObjectFigures,
    /// Answers that have come.
    heard: AtomicU64,
    /// The moment of the clock's elapsed time from which on it has not answered.
    silent_since: Mutex<Option<Duration>>,
    /// Somebody asks whether it is back.
    is_asked: AtomicBool,
}

impl Answers {
    /// Of a store that answers, as far as is known.
    pub(super) fn new(figures: &ObjectFigures) -> Self {
        Self::waiting(ANSWER_WAIT, ASK_PAUSE, figures)
    }

    pub(super) fn waiting(wait: Duration, pause: Duration, figures: &ObjectFigures) -> Self {
        Self(Arc::new(State {
            clock: Clock::system(),
            wait,
            pause,
            figures: figures.clone(),
            heard: AtomicU64::new(0),
            silent_since: Mutex::new(None),
            is_asked: AtomicBool::new(false),
        }))
    }

    /// For how long the store has not answered; `None` where it does, as far as is known.
    pub(super) fn silence(&self) -> Option<Duration> {
        let since = *self.silent_since();
        since.map(|since| self.0.clock.elapsed().saturating_sub(since))
    }

    /// Whether something is to be read.
    ///
    /// # Errors
    /// The store does not answer: it is not tried.
    pub(super) fn begin(&self, name: &str) -> io::Result<()> {
        if self.silent_since().is_none() {
            return Ok(());
        }
        self.0.figures.reads_refused.inc();
        Err(unanswered(name))
    }

    /// How many answers have come by now.
    pub(super) fn count(&self) -> u64 {
        self.0.heard.load(Ordering::SeqCst)
    }

    /// A step of a read, for which is waited no longer than that.
    pub(super) async fn within<T>(
        &self,
        name: &str,
        step: impl Future<Output = object_store::Result<T>>,
    ) -> io::Result<T> {
        match self.0.clock.timeout(self.0.wait, step).await {
            Some(done) => done.map_err(|error| told(name, &error)),
            None => Err(unanswered(name)),
        }
    }

    /// An answer came, whatever it says.
    pub(super) fn heard(&self) {
        self.0.heard.fetch_add(1, Ordering::SeqCst);
        let since = self.silent_since().take();
        if let Some(since) = since {
            self.0.figures.store_silent.set(0);
            let seconds = self.0.clock.elapsed().saturating_sub(since).as_secs();
            tracing::info!(seconds, "the object store answers again");
        }
    }

    /// Something got no answer that was begun when so many had come. Where others have got one
    /// meanwhile, the store is there.
    pub(super) fn unheard(&self, count: u64) {
        let mut since = self.silent_since();
        if self.count() == count && since.is_none() {
            *since = Some(self.0.clock.elapsed());
            self.0.figures.store_silent.set(1);
            tracing::warn!(
                "the object store does not answer: until it does, answers lack what is only there"
            );
        }
    }

    /// What came of something that was begun when so many answers had come.
    pub(super) fn learn<T>(&self, count: u64, outcome: &io::Result<T>) {
        match outcome {
            Err(error) if is_silence(error) => self.unheard(count),
            Err(error) if retryable(error) => {}
            _ => self.heard(),
        }
    }

    /// Whether the caller is the one who asks from now on.
    pub(super) fn begin_asking(&self) -> bool {
        !self.0.is_asked.swap(true, Ordering::SeqCst)
    }

    /// Whether who asks may end: not while the store does not answer.
    pub(super) fn end_asking(&self) -> bool {
        if self.silent_since().is_some() {
            return false;
        }
        self.0.is_asked.store(false, Ordering::SeqCst);
        // Who found it silent meanwhile took us to be asking still.
        self.silent_since().is_none() || !self.begin_asking()
    }

    /// Waits before it is asked again.
    pub(super) async fn pause(&self) {
        self.0.clock.sleep(self.0.pause).await;
    }

    fn silent_since(&self) -> MutexGuard<'_, Option<Duration>> {
        self.0.silent_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error says that a store does not answer; a process that is stopping asks nobody.
pub(super) fn is_silence(error: &io::Error) -> bool {
    retryable(error) && error.kind() != ErrorKind::ConnectionAborted
}

fn unanswered(name: &str) -> io::Error {
    let text = format!(
        "{name}: the object store does not answer; it is asked again: check AWS_ENDPOINT_URL, the \
         network and the store if this stays"
    );
    io::Error::new(ErrorKind::TimedOut, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_silent_when_nothing_is_heard_of_it_while_somebody_waits() {
        let figures = ObjectFigures::default();
        let answers = Answers::new(&figures);
        answers.begin("a").unwrap();
        let begun = answers.count();
        answers.heard();
        answers.unheard(begun);
        assert_eq!(answers.silence(), None, "another one was answered: one connection was lost");
        answers.unheard(answers.count());
        assert!(answers.silence().is_some());
        let told = answers.begin("splits/a").unwrap_err();
        assert!(retryable(&told) && told.to_string().starts_with("splits/a: "), "{told}");
        assert_eq!((figures.store_silent.get(), figures.reads_refused.get()), (1, 1));
        answers.heard();
        assert_eq!((answers.silence(), figures.store_silent.get()), (None, 0));
        answers.begin("a").unwrap();
    }

    #[test]
    fn what_a_store_says_is_an_answer_and_a_process_that_stops_learns_nothing() {
        let answers = Answers::new(&ObjectFigures::default());
        let learn = |kind: ErrorKind| {
            let outcome: io::Result<()> = Err(kind.into());
            answers.learn(answers.count(), &outcome);
            answers.silence().is_some()
        };
        assert!(!learn(ErrorKind::ConnectionAborted));
        assert!(learn(ErrorKind::ConnectionRefused));
        assert!(learn(ErrorKind::ConnectionAborted));
        assert!(!learn(ErrorKind::NotFound));
    }

    #[test]
    fn one_asks_at_a_time_and_not_after_the_store_answers() {
        let answers = Answers::new(&ObjectFigures::default());
        answers.unheard(0);
        assert!(answers.begin_asking() && !answers.begin_asking());
        assert!(!answers.end_asking());
        answers.heard();
        assert!(answers.end_asking());
        assert!(answers.begin_asking());
    }
}
