//! Splits that nobody begins to write anew now: those that are being written anew, by a merge, a
//! deletion or a compaction; and those that could not be read, which are left alone for a while, so
//! that others are merged and deletions go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use model::split::{SplitId, SplitMeta};
use parquet::errors::ParquetError;
use platform::telemetry::Counted;

use crate::guard::guarded;
use crate::publish::PublishError;
use crate::scan::ScanError;
use crate::searcher::Core;
use crate::split::BuildError;

/// How long a damaged split is left alone: a good copy may take its place.
const DAMAGED: Duration = Duration::from_secs(900);
/// How long a split is left alone of which nobody answered.
const AWAY: Duration = Duration::from_secs(60);

/// The splits that are left alone.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    /// Those that could not be read, each up to a moment of the clock's elapsed time.
    until: BTreeMap<SplitId, Duration>,
    /// Those that somebody is writing anew.
    held: BTreeSet<SplitId>,
}

impl Aside {
    /// Whether somebody is writing splits anew.
    pub(crate) fn is_at_work(&self) -> bool {
        !self.held.is_empty()
    }

    fn has(&self, id: &SplitId, now: Duration) -> bool {
        self.held.contains(id) || self.until.get(id).is_some_and(|until| now < *until)
    }

    fn put<'a>(&mut self, ids: impl Iterator<Item = &'a SplitId>, now: Duration, time: Duration) {
        self.until.retain(|_, until| now < *until);
        self.until.extend(ids.map(|id| (id.clone(), now + time)));
    }
}

/// Splits that are being written anew: nobody else begins with them until this is dropped.
struct Hold<'a> {
    core: &'a Core,
    ids: Vec<SplitId>,
    _running: Counted,
}

impl<'a> Hold<'a> {
    /// Takes a group. `None` where somebody else has one of them or one has left the catalog.
    fn take(core: &'a Core, group: &[Arc<SplitMeta>]) -> Option<Self> {
        let ids: Vec<SplitId> = group.iter().map(|split| split.id.clone()).collect();
        let mut is_ours = false;
        // No record is seen or hidden by it: the view stays.
        core.change_if(|state| -> Option<()> {
            let is_free =
                |id: &SplitId| state.splits.contains_key(id) && !state.aside.held.contains(id);
            is_ours = ids.iter().all(is_free);
            if is_ours {
                state.aside.held.extend(ids.iter().cloned());
            }
            None
        });
        is_ours.then(|| {
            let running = Counted::one(&core.parties.metrics.rewrites_running);
            Self { core, ids, _running: running }
        })
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.core.change_if(|state| -> Option<()> {
            state.aside.held.retain(|id| !self.ids.contains(id));
            None
        });
    }
}

impl Core {
    /// Of some splits those that are not left alone now.
    pub(crate) fn not_aside(&self, splits: Vec<Arc<SplitMeta>>) -> Vec<Arc<SplitMeta>> {
        let now = self.parties.clock.elapsed();
        self.read(|state| {
            let is_free = |split: &Arc<SplitMeta>| !state.aside.has(&split.id, now);
            splits.into_iter().filter(is_free).collect()
        })
    }

    fn put_aside(&self, group: &[Arc<SplitMeta>], error: &PublishError) {
        let Some((blamed, time)) = blamed(group, error) else { return };
        for split in blamed {
            if let PublishError::Build(BuildError::Rows(error)) = error {
                self.suspect(&split.id, error);
            }
            tracing::error!(split = %split.id, seconds = time.as_secs(),
                "a split cannot be written anew and is left alone for a while");
        }
        let now = self.parties.clock.elapsed();
        // No record is seen or hidden by it: the view stays.
        self.change_if(|state| -> Option<()> {
            state.aside.put(blamed.iter().map(|split| &split.id), now, time);
            None
        });
    }
}

/// Writes some splits anew, which are nobody else's meanwhile. Those because of which that fails are
/// left alone for a while. Whether it was done: not where somebody else has one of them.
pub(crate) fn written_anew(
    core: &Core,
    group: &[Arc<SplitMeta>],
    work: impl FnOnce() -> Result<bool, PublishError>,
) -> Result<bool, PublishError> {
    let Some(_hold) = Hold::take(core, group) else { return Ok(false) };
    let done = guarded(work);
    let done = done.unwrap_or_else(|broken| Err(BuildError::Broken(broken.to_string()).into()));
    if let Err(error) = &done {
        core.put_aside(group, error);
    }
    done
}

/// Because of which splits work on them failed, and how long they are left alone; `None` where it
/// was not the splits.
fn blamed<'a>(
    group: &'a [Arc<SplitMeta>],
    error: &PublishError,
) -> Option<(&'a [Arc<SplitMeta>], Duration)> {
    let PublishError::Build(error) = error else { return None };
    let (object, time) = match error {
        BuildError::Rows(ScanError::Corrupt { object, .. }) => (object.as_str(), DAMAGED),
        BuildError::Rows(ScanError::Away { what, .. }) => (what.as_str(), AWAY),
        // The disk or the store takes nothing.
        BuildError::Io(_) | BuildError::Body(ParquetError::External(_)) => return None,
        _ => ("", DAMAGED),
    };
    let named = group.iter().position(|split| object.contains(&split.id.0));
    let one = named.and_then(|at| group.get(at..=at));
    // Nobody is named: together they will not do.
    Some((one.unwrap_or(group), time))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn blame_falls_on_who_is_named() {
        let fixture = Fixture::new();
        let group = [fixture.publish(&["a"]), fixture.publish(&["b"])];
        let check = |error: BuildError, expected: Option<(&[Arc<SplitMeta>], Duration)>| {
            assert_eq!(blamed(&group, &PublishError::from(error)), expected);
        };
        let named = || (crate::split::body_name(&group[1].id), String::new());
        let (object, what) = named();
        let damaged = ScanError::Corrupt { object, what };
        check(damaged.into(), Some((&group[1..], DAMAGED)));
        let (what, why) = named();
        check(ScanError::Away { what, why }.into(), Some((&group[1..], AWAY)));
        check(BuildError::Broken("a row is not there".to_owned()), Some((&group[..], DAMAGED)));
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        check(full().into(), None);
        check(ParquetError::from(full()).into(), None);
    }

    #[test]
    fn work_that_breaks_off_is_not_tried_again_at_once() {
        let fixture = Fixture::new();
        let split = fixture.publish(&["a"]);
        let group = std::slice::from_ref(&split);
        let work = || -> Result<bool, PublishError> { panic!("a row is not there") };
        let broken = written_anew(&fixture.core, group, work).unwrap_err();
        assert!(matches!(broken, PublishError::Build(BuildError::Broken(_))), "{broken}");
        let left = || fixture.core.not_aside(vec![split.clone()]).len();
        assert_eq!(left(), 0);
        fixture.clock.advance(DAMAGED);
        assert_eq!(left(), 1);
        assert_eq!(fixture.core.parties.metrics.rewrites_running.get(), 0);
    }

    #[test]
    fn what_somebody_writes_anew_is_nobody_elses_meanwhile() {
        let fixture = Fixture::new();
        let group = [fixture.publish(&["a"]), fixture.publish(&["b"])];
        let (core, one) = (&fixture.core, &group[..1]);
        let left = || core.not_aside(group.to_vec());
        let done = written_anew(core, one, || {
            assert_eq!(left(), group[1..]);
            assert_eq!(core.parties.metrics.rewrites_running.get(), 1);
            assert!(!written_anew(core, &group, || panic!("one is taken"))?);
            written_anew(core, &group[1..], || Ok(true))
        });
        assert!(done.unwrap());
        assert_eq!(left(), group);
        assert_eq!(core.parties.metrics.rewrites_running.get(), 0);
        core.change(|state| state.splits.remove(&group[0].id));
        assert!(!written_anew(core, one, || panic!("it has expired")).unwrap());
    }
}
