//! Running parts of other nodes' plans.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use cluster::peer::PeerServer;
use datafusion::common::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::execute_stream;
use datafusion_proto::bytes::physical_plan_from_bytes_with_extension_codec;
use futures::stream::StreamExt as _;
use index::remote::{Host, Piece, Pieces, Reached};
use index::searcher::Unit;
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
            let given = match engine.fold_fragment(scanning, units, &plan, &to).await {
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

    async fn fold_fragment(
        &self,
        scanner: Scanner,
        units: Vec<Unit>,
        plan: &[u8],
        to: &mpsc::Sender<Result<Given, String>>,
    ) -> Result<()> {
        let codec = Codec::receiver(scanner, units, self.0.settings.core_count);
        let plan = physical_plan_from_bytes_with_extension_codec(plan, &self.known(), &codec)?;
        let state = self.session(&Shape::Table(Vec::new()))?;
        let mut rows = execute_stream(plan, state.task_ctx())?;
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
