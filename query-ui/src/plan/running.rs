//! The queries that run or wait for a place, by name, so that one of them can be ended. Names are drawn, by the
//! node or by who asks: nobody ends a query by guessing, and no two nodes use the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Hexadecimal digits of a name.
const DIGITS: usize = 16;

/// The name of a query that runs, in all of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueryId(pub u64);

/// Hexadecimal digits.
impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl QueryId {
    /// Reads what is displayed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }

    /// Reads a name that an asker gives: as many digits as are displayed, so that it was drawn too.
    #[must_use]
    pub fn given(text: &str) -> Option<Self> {
        let is_whole = text.len() == DIGITS && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_whole { Self::parse(text) } else { None }
    }

    /// A name that nothing else has.
    pub(super) fn drawn() -> Self {
        Self(platform::random::u64())
    }
}

/// The queries that run. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<Queries>>);

#[derive(Debug, Default)]
struct Queries {
    /// By name and number: a request may ask several things at once.
    by_name: BTreeMap<(QueryId, u64), Arc<Notify>>,
    begun: u64,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, Queries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, until its place is dropped.
    pub(super) fn enter(&self, id: QueryId) -> Place {
        let stop = Arc::new(Notify::new());
        let mut queries = self.lock();
        queries.begun += 1;
        let number = queries.begun;
        queries.by_name.insert((id, number), stop.clone());
        drop(queries);
        Place { id, number, stop, running: self.clone() }
    }

    /// Ends all of one name; false when none runs.
    pub(super) fn cancel(&self, id: QueryId) -> bool {
        let queries = self.lock();
        let mut of_name = queries.by_name.range((id, 0)..=(id, u64::MAX)).peekable();
        let was = of_name.peek().is_some();
        of_name.for_each(|(_, stop)| stop.notify_one());
        was
    }
}

/// A query's place among those that run.
#[derive(Debug)]
pub(super) struct Place {
    id: QueryId,
    number: u64,
    stop: Arc<Notify>,
    running: Running,
}

impl Place {
    pub(super) fn id(&self) -> QueryId {
        self.id
    }

    /// Waits until somebody ends the query, perhaps before this was asked.
    pub(super) async fn cancelled(&self) {
        self.stop.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.lock().by_name.remove(&(self.id, self.number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_of_one_name_end_and_no_others() {
        let running = Running::default();
        let places = [1, 1, 2].map(|id| running.enter(QueryId(id)));
        assert!(running.cancel(QueryId(1)));
        places[0].cancelled().await;
        places[1].cancelled().await;
        let [first, second, other] = places;
        drop(first);
        assert!(running.cancel(QueryId(1)));
        drop(second);
        assert!(!running.cancel(QueryId(1)));
        assert!(running.cancel(QueryId(2)));
        other.cancelled().await;
    }

    #[test]
    fn a_name_that_is_given_has_all_its_digits() {
        let id = QueryId(0x1f);
        assert_eq!(QueryId::given(&id.to_string()), Some(id));
        assert_eq!(QueryId::given("00000000000000FF"), Some(QueryId(255)));
        for wrong in ["1f", "", "+00000000000001f", "00000000000000zz", "0000000000000001f"] {
            assert_eq!(QueryId::given(wrong), None, "{wrong}");
        }
    }
}
