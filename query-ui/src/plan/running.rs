//! The queries that run, by name, so that one of them can be ended. Names are drawn: nobody ends a query
//! by guessing, and no two nodes use the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

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
}

/// The queries that run. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<Queries>>);

type Queries = BTreeMap<QueryId, Arc<Notify>>;

impl Running {
    fn lock(&self) -> MutexGuard<'_, Queries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, until its place is dropped.
    pub(super) fn enter(&self) -> Place {
        let stop = Arc::new(Notify::new());
        let id = QueryId(platform::random::u64());
        self.lock().insert(id, stop.clone());
        Place { id, stop, running: self.clone() }
    }

    /// Ends one; false when it does not run.
    pub(super) fn cancel(&self, id: QueryId) -> bool {
        let stop = self.lock().get(&id).cloned();
        stop.inspect(|stop| stop.notify_one()).is_some()
    }
}

/// A query's place among those that run.
#[derive(Debug)]
pub(super) struct Place {
    id: QueryId,
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
        self.running.lock().remove(&self.id);
    }
}
