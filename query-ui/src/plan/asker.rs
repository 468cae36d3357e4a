//! Who asks, and the name of what it asks, by which that can be ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::running::QueryId;

tokio::task_local! {
    /// Who asks.
    static ASKER: Asker;
}

/// One request of somebody: a tenant by its name, or whoever is at an address. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Asker(Arc<Request>);

#[derive(Debug)]
struct Request {
    who: Arc<str>,
    /// All that the request asks, one after another or together, has one name.
    id: QueryId,
    has_asked: AtomicBool,
}

impl Asker {
    /// Somebody who names the query; a name is drawn where it does not.
    pub(crate) fn new(who: impl Into<Arc<str>>, id: Option<QueryId>) -> Self {
        let id = id.unwrap_or_else(QueryId::drawn);
        Self(Arc::new(Request { who: who.into(), id, has_asked: AtomicBool::new(false) }))
    }

    /// Does something for it.
    pub(crate) async fn asks<T>(&self, work: impl Future<Output = T>) -> T {
        ASKER.scope(self.clone(), work).await
    }

    /// The name of its query; `None` when it has asked none.
    pub(crate) fn asked(&self) -> Option<QueryId> {
        self.0.has_asked.load(Ordering::Relaxed).then_some(self.0.id)
    }
}

/// Who asks in this task; nobody in one that works for none.
pub(super) fn who() -> Arc<str> {
    ASKER.try_with(|asker| asker.0.who.clone()).unwrap_or_else(|_| "".into())
}

/// The name of a query that this task begins.
pub(super) fn name() -> QueryId {
    let named = ASKER.try_with(|asker| {
        asker.0.has_asked.store(true, Ordering::Relaxed);
        asker.0.id
    });
    named.unwrap_or_else(|_| QueryId::drawn())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_that_a_request_asks_has_its_name() {
        let given = QueryId(7);
        let asker = Asker::new("ada", Some(given));
        assert_eq!(asker.asked(), None);
        let names = asker.asks(async { (who(), name(), name()) }).await;
        assert_eq!(names, ("ada".into(), given, given));
        assert_eq!(asker.asked(), Some(given));
        assert_ne!(name(), name());
        assert_eq!(&*who(), "");
    }
}
