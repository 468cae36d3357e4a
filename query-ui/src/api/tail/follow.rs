//! One reader's tail: what comes, in the order of each partition, and what it has not seen before.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use index::fresh::FreshPart;
use index::scan::ScanRequest;
use index::searcher::Searcher;
use model::partition::{Offset, RecordId};
use model::query::Filter;
use model::time::TimeRange;
use model::wire::Missing;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::place::TailPlace;
use crate::language::{Pipe, Query, SortKey};
use crate::plan::json::Records;
use crate::plan::{Engine, Extras, QueryFailure, Question, RECORD, Shape};

/// Events that wait for a slow reader.
pub(super) const EVENTS_AHEAD: usize = 256;
/// Offsets of a partition that are read together when a tail is behind: they are sorted, on disk if
/// need be.
const STEP: u64 = 1 << 20;
/// How often a tail that has nothing to show says how far it is.
const MARK_INTERVAL: Duration = Duration::from_secs(10);
/// How long a tail that is behind waits when the node is too busy to read for it.
const BUSY_WAIT: Duration = Duration::from_millis(500);

/// What a reader that is too slow gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// Everything, later.
    Reads,
    /// What comes now, and how many went by.
    Skips,
}

/// The reader went.
struct Gone;

/// One reader's tail.
pub(super) struct Tail {
    pub(super) engine: Engine,
    pub(super) filter: Filter,
    pub(super) parts: broadcast::Receiver<Arc<FreshPart>>,
    pub(super) to: mpsc::Sender<Result<Event, Infallible>>,
    pub(super) place: TailPlace,
    pub(super) behind: Behind,
}

impl Tail {
    /// Until the reader goes.
    pub(super) async fn run(mut self) {
        // Whoever goes before anything comes still knows where to go on.
        if self.begin().await.is_err() {
            return;
        }
        let clock = self.engine.clock().clone();
        let mut is_marked = true;
        let mut lost_parts = 0;
        loop {
            let before = self.place.clone();
            let outcome = tokio::select! {
                part = self.parts.recv() => match part {
                    Ok(part) => self.show(part, std::mem::take(&mut lost_parts)).await,
                    Err(RecvError::Lagged(_)) if self.behind == Behind::Reads => {
                        self.read_on().await
                    }
                    Err(RecvError::Lagged(parts)) => {
                        lost_parts += parts;
                        Ok(())
                    }
                    Err(RecvError::Closed) => return,
                },
                () = clock.sleep(MARK_INTERVAL), if !is_marked => {
                    is_marked = true;
                    self.mark().await
                }
            };
            if outcome.is_err() {
                return;
            }
            if self.place != before {
                is_marked = false;
            }
        }
    }

    async fn begin(&mut self) -> Result<(), Gone> {
        self.mark().await?;
        match self.behind {
            Behind::Reads => self.read_on().await,
            Behind::Skips => Ok(()),
        }
    }

    /// Says how far the tail is: an event without data, which only leaves its id.
    async fn mark(&self) -> Result<(), Gone> {
        self.send(Event::default().id(self.place.to_string())).await
    }

    async fn send(&self, event: Event) -> Result<(), Gone> {
        self.to.send(Ok(event)).await.map_err(|_| Gone)
    }

    /// Shows a part that came, and before it what came and was not seen.
    async fn show(&mut self, part: Arc<FreshPart>, lost_parts: u64) -> Result<(), Gone> {
        let partition = part.partition;
        if part.rows.num_rows() == 0 {
            return Ok(());
        }
        let (first, last) = part.offsets();
        let end = Offset(last.0.saturating_add(1));
        let at = self.place.of(partition);
        if end <= at {
            // It was read before it was told of.
            return Ok(());
        }
        match self.behind {
            Behind::Reads if first != at => {
                let mut to = TailPlace::default();
                to.advance(partition, end);
                return self.read(&to).await;
            }
            Behind::Skips if lost_parts > 0 => self.lost(first.0.saturating_sub(at.0)).await?,
            // What went by while another node took the partition over.
            Behind::Skips if first > at && self.engine.searcher().is_clustered() => {
                let mut to = TailPlace::default();
                to.advance(partition, end);
                return self.read(&to).await;
            }
            Behind::Reads | Behind::Skips => {}
        }
        for (id, record) in self.records(part).await {
            self.place.advance(partition, Offset(id.offset.0.saturating_add(1)));
            let event = Event::default().event("record").id(self.place.to_string()).data(record);
            self.send(event).await?;
        }
        self.place.advance(partition, end);
        Ok(())
    }

    async fn lost(&self, count: u64) -> Result<(), Gone> {
        self.engine.metrics().tail_lost.inc_by(count);
        self.send(Event::default().event("lost").data(json!({ "count": count }).to_string())).await
    }

    /// The records of a part that match, oldest first.
    async fn records(&self, part: Arc<FreshPart>) -> Vec<(RecordId, String)> {
        let searcher = self.engine.searcher().clone();
        let request = ScanRequest {
            filter: self.filter.clone(),
            range: TimeRange::ALL,
            columns: RECORD.to_vec(),
            newest: None,
            counted: false,
        };
        let rendered = self.engine.run(async move {
            let work = tokio::task::spawn_blocking(move || rendered(&searcher, &part, &request));
            Ok(work.await.unwrap_or_default())
        });
        rendered.await.unwrap_or_default()
    }

    /// Reads what is stored behind the tail's place.
    async fn read_on(&mut self) -> Result<(), Gone> {
        let view = self.engine.view().await;
        let ends = view.ends.iter().map(|(partition, end)| (*partition, *end));
        self.read(&TailPlace::at(ends)).await
    }

    /// Reads what is stored from the tail's place to another one.
    async fn read(&mut self, to: &TailPlace) -> Result<(), Gone> {
        while self.place.records_to(to).is_some() {
            let near = self.place.step(to, STEP);
            match self.read_step(&near).await? {
                Ok(()) => self.place.advance_to(&near),
                Err(QueryFailure::Overloaded(_)) => self.engine.clock().sleep(BUSY_WAIT).await,
                Err(failure) => {
                    // The reader comes again with the id of the last event, and nothing is lost.
                    let error = super::super::refusal(&failure).into_detail();
                    let event = Event::default().event("failed").data(json!(error).to_string());
                    self.send(event).await?;
                    return Err(Gone);
                }
            }
        }
        Ok(())
    }

    async fn read_step(&mut self, near: &TailPlace) -> Result<Result<(), QueryFailure>, Gone> {
        let Some(stretch) = self.place.records_to(near) else { return Ok(Ok(())) };
        let ticket = match self.engine.admit(None).await {
            Ok(ticket) => ticket,
            Err(failure) => return Ok(Err(failure)),
        };
        let by_id =
            Pipe::Sort(vec![SortKey { name: "id".to_owned(), descending: false, numbers: false }]);
        let filter = Filter::And(vec![self.filter.clone(), stretch]);
        let question = Question {
            query: Query { time: None, filter, pipes: vec![by_id] },
            range: TimeRange::ALL,
            indexes: None,
            limit: 0,
        };
        let (engine, to, mut place) = (self.engine.clone(), self.to.clone(), self.place.clone());
        let work = Box::pin(self.engine.run(async move {
            let outcome = stretch_of(&engine, &question, &to, &mut place).await;
            Ok((outcome, place))
        }));
        let outcome = work.await;
        drop(ticket);
        let (outcome, place) = match outcome {
            Ok(done) => done,
            Err(failure) => return Ok(Err(failure)),
        };
        self.place = place;
        match outcome {
            Ok(Ok(missing)) => {
                for missing in missing {
                    let data = json!(missing).to_string();
                    self.send(Event::default().event("missing").data(data)).await?;
                }
                Ok(Ok(()))
            }
            Ok(Err(Gone)) => Err(Gone),
            Err(failure) => Ok(Err(failure)),
        }
    }
}

/// Sends the records of a question; the place goes with them.
async fn stretch_of(
    engine: &Engine,
    question: &Question,
    to: &mpsc::Sender<Result<Event, Infallible>>,
    place: &mut TailPlace,
) -> Result<Result<Vec<Missing>, Gone>, QueryFailure> {
    let mut answer = engine.ask(question).await?;
    let extras = match answer.shape() {
        Shape::Records(extras) => extras.clone(),
        Shape::Table(_) => Extras::default(),
    };
    while let Some(rows) = answer.next().await? {
        let Some(records) = Records::of(&rows, &extras) else { continue };
        for row in 0..rows.num_rows() {
            let (_, id) = records.place(row);
            place.advance(id.partition, Offset(id.offset.0.saturating_add(1)));
            let event = Event::default().event("record").id(place.to_string());
            if to.send(Ok(event.data(text_of(&records, row)))).await.is_err() {
                return Ok(Err(Gone));
            }
        }
    }
    Ok(Ok(answer.missing()))
}

fn text_of(records: &Records<'_>, row: usize) -> String {
    let mut text = Vec::new();
    records.write(row, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn rendered(
    searcher: &Searcher,
    part: &FreshPart,
    request: &ScanRequest,
) -> Vec<(RecordId, String)> {
    let rows = match searcher.scan_part(part, request) {
        Ok(rows) => rows,
        Err(error) => {
            tracing::error!(%error, "a tail cannot show what was accepted");
            return Vec::new();
        }
    };
    let extras = Extras::default();
    let Some(records) = Records::of(&rows, &extras) else { return Vec::new() };
    (0..rows.num_rows()).map(|row| (records.place(row).1, text_of(&records, row))).collect()
}
