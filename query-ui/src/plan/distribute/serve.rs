//! Running parts of other nodes' plans.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use cluster::peer::PeerServer;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::execute_stream;
use datafusion_proto::bytes::physical_plan_from_bytes_with_extension_codec;
use futures::stream::StreamExt as _;
use index::remote::{Host, Piece, Pieces, Reached};
use index::searcher::Unit;
use platform::telemetry::Counted;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::codec::Codec;
use crate::plan::scan::{Scanner, StopGuard};
use crate::plan::{CANCEL_CALL, Engine, Shape};

/// Batches that may be ahead of the asker.
const AHEAD: usize = 2;
/// How often the asker is told how far the work is, and that somebody is at it.
const TELL: Duration = Duration::from_millis(500);

/// What the work gives.
enum Given {
    Rows(RecordBatch),
    /// It came to its end.
    End,
}

/// A part of a plan at work; it ends when this is dropped.
struct Work {
    engine: Engine,
    scanner: Scanner,
    given: mpsc::Receiver<Result<Given, String>>,
    is_over: bool,
    _tasks: JoinSet<()>,
    _stop: StopGuard,
}

impl Engine {
    /// Runs parts of other nodes' plans, and ends queries for them, from now on.
    pub fn serve(&self, host: &Host, server: &PeerServer) {
        let engine = self.clone();
        server.on_call(CANCEL_CALL, move |body| {
            let engine = engine.clone();
            async move { Ok(engine.cancel_here(&body)) }
        });
        let engine = self.clone();
        host.on_fragment(server, move |units, plan| {
            let engine = engine.clone();
            async move { engine.fragment(units, plan) }
        });
    }

    /// The functions and aggregates that plans may name.
    fn known(&self) -> Arc<TaskContext> {
        let known = self.0.known.get_or_init(|| {
            let functions = datafusion::functions::all_default_functions();
            let aggregates = datafusion::functions_aggregate::all_default_aggregate_functions();
            let state = SessionStateBuilder::new()
                .with_scalar_functions(functions)
                .with_aggregate_functions(aggregates)
                .build();
            state.task_ctx()
        });
        known.clone()
    }

    fn fragment(&self, units: Vec<Unit>, plan: Bytes) -> Result<Pieces, String> {
        self.0.metrics.fragments_served.inc();
        let scanner = self.scanner().here();
        let stop = scanner.stop_guard();
        let (to, given) = mpsc::channel(AHEAD);
        let (engine, scanning) = (self.clone(), scanner.clone());
        let work = async move {
            let folded = engine.fold_fragment(scanning, units, &plan, &to);
            let given = match engine.placed(folded).await {
                Ok(()) => Ok(Given::End),
                Err(error) => Err(error.to_string()),
            };
            // The asker may be gone.
            drop(to.send(given).await);
        };
        let mut tasks = JoinSet::new();
        let runtime = self.0.runtime.as_ref().ok_or("the node ends")?;
        tasks.spawn_on(work, runtime.handle());
        let engine = self.clone();
        let work = Work { engine, scanner, given, is_over: false, _tasks: tasks, _stop: stop };
        Ok(futures::stream::unfold(work, Work::next).boxed())
    }

    /// Folds when there is a place, within the time of a query. Who asks is told meanwhile that somebody
    /// is at it. What is folded waits for no other node, so that nodes never wait for each other's places.
    async fn placed(&self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let inner = &self.0;
        let waiting = Counted::one(&inner.metrics.fragments_waiting);
        let _place = inner.fragments.acquire().await;
        drop(waiting);
        let _running = Counted::one(&inner.metrics.fragments_running);
        let deadline = inner.settings.deadline;
        let late = || exec_datafusion_err!("it took longer than {} seconds", deadline.as_secs());
        inner.clock.timeout(deadline, work).await.ok_or_else(late)?
    }

    async fn fold_fragment(
        &self,
        scanner: Scanner,
        units: Vec<Unit>,
        plan: &[u8],
        to: &mpsc::Sender<Result<Given, String>>,
    ) -> Result<()> {
        let codec = Codec::receiver(scanner, units, self.0.settings.core_count);
        let plan = physical_plan_from_bytes_with_extension_codec(plan, &self.known(), &codec)?;
        let task = self.0.sessions.task(&Shape::Table(Vec::new()))?;
        let mut rows = execute_stream(plan, task)?;
        while let Some(batch) = rows.next().await {
            if to.send(Ok(Given::Rows(batch?))).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

impl Work {
    async fn next(mut self) -> Option<(Result<Piece, String>, Self)> {
        if self.is_over {
            return None;
        }
        let given = self.engine.clock().timeout(TELL, self.given.recv()).await;
        let piece = match given {
            None => Ok(self.reached(false)),
            Some(Some(Ok(Given::Rows(rows)))) => Ok(Piece::Rows(rows)),
            Some(Some(Ok(Given::End))) => {
                self.is_over = true;
                match self.scanner.missing().first() {
                    None => Ok(self.reached(true)),
                    // The asker has other copies, or says what is missing.
                    Some(missing) => Err(format!("{}: {}", missing.what, missing.why)),
                }
            }
            Some(Some(Err(words))) => {
                self.is_over = true;
                Err(words)
            }
            Some(None) => {
                self.is_over = true;
                Err("the work broke off".to_owned())
            }
        };
        Some((piece, self))
    }

    fn reached(&self, is_end: bool) -> Piece {
        let progress = self.scanner.progress.now();
        Piece::Reached(Reached { units_done: progress.units_done, rows: progress.rows, is_end })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;
    use crate::fixture::{Fixture, Rest};

    #[tokio::test(flavor = "multi_thread")]
    async fn parts_of_other_nodes_plans_wait_for_a_place() {
        let fixture = Fixture::with(Rest::Fresh, |settings| settings.fragments_max = 1);
        let metrics = fixture.engine.metrics().clone();
        let (free, held) = oneshot::channel::<()>();
        let mut tasks = JoinSet::new();
        let engine = fixture.engine.clone();
        tasks.spawn(async move {
            let work = async {
                held.await.ok();
                Ok(())
            };
            engine.placed(work).await
        });
        while metrics.fragments_running.get() < 1 {
            yield_now().await;
        }
        let engine = fixture.engine.clone();
        tasks.spawn(async move { engine.placed(async { Ok(()) }).await });
        while metrics.fragments_waiting.get() < 1 {
            yield_now().await;
        }
        assert_eq!(metrics.fragments_running.get(), 1);
        free.send(()).unwrap();
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
        assert_eq!((metrics.fragments_running.get(), metrics.fragments_waiting.get()), (0, 0));
    }

    /// Another version of the planner may have made it: who asks scans by itself then.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_that_cannot_be_read_ends_with_an_error_and_no_row() {
        let fixture = Fixture::with(Rest::Fresh, |_| {});
        let plan = Bytes::from_static(b"of a later version");
        let pieces = fixture.engine.fragment(Vec::new(), plan).unwrap();
        let pieces: Vec<_> = pieces.collect().await;
        assert!(pieces.last().is_some_and(|last| last.is_err()), "{pieces:?}");
        let is_end = |piece: &Result<Piece, String>| {
            matches!(piece, Ok(Piece::Rows(_) | Piece::Reached(Reached { is_end: true, .. })))
        };
        assert!(!pieces.iter().any(is_end), "{pieces:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_part_has_the_time_of_a_query() {
        let fixture =
            Fixture::with(Rest::Fresh, |settings| settings.deadline = Duration::from_millis(1));
        let late = fixture.engine.placed(std::future::pending()).await.unwrap_err();
        assert!(late.to_string().contains("longer than"), "{late}");
        assert_eq!(fixture.engine.metrics().fragments_running.get(), 0);
    }
}
