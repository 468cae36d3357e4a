//! Holding views for other nodes and scanning them.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use bytes::Bytes;
use cluster::peer::{FlightStream, PeerServer};
use futures::future::join_all;
use futures::stream::{BoxStream, StreamExt as _};
use model::partition::Offset;
use model::split::{FieldStat, SplitMeta};
use platform::telemetry::Counted;
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tonic::Status;

use super::{
    FIELDS_CALL, FOLLOW_TICKET, LET_GO_CALL, PartAnswer, PartRequest, PartitionAnswer, SCAN_TICKET,
    SPLIT_FIELDS_CALL, SPLIT_TICKET, SplitRequest, VIEW_CALL, VIEW_HELD_MAX, VIEWS_MAX, ViewAnswer,
};
use crate::fresh::FreshPart;
use crate::scan::{ScanError, ScanRequest};
use crate::searcher::{Searcher, Unit};

/// Batches of rows that are ahead of the asker.
const AHEAD: usize = 4;
/// How long a view waits for what was acknowledged before it was asked for.
const CATCH_UP_MAX: Duration = Duration::from_millis(1_000);
/// Scans for other nodes that work at a time; more wait.
const PLACES: usize = 64;
/// How long one waits for a place. Who asks gives up a little later.
const PLACE_WAIT: Duration = Duration::from_secs(15);

/// Serves this node's fresh records to others. Clones share it.
#[derive(Debug, Clone)]
pub struct Host(Arc<Inner>);

/// Views by their numbers, with when they were given.
type Held = BTreeMap<u64, (Duration, Vec<Arc<FreshPart>>)>;

#[derive(Debug)]
struct Inner {
    searcher: Searcher,
    held: Mutex<Held>,
    places: Arc<Semaphore>,
}

/// A place among the scans for other nodes, until dropped.
#[derive(Debug)]
struct Place {
    _permit: OwnedSemaphorePermit,
    _running: Counted,
}

type Emit<'a> = dyn FnMut(RecordBatch) -> ControlFlow<()> + 'a;
type Flights = BoxStream<'static, Result<FlightData, Status>>;

impl Host {
    /// Of this searcher; answers other nodes from now on.
    #[must_use]
    pub fn serve(searcher: Searcher, server: &PeerServer) -> Self {
        let host = Self::of(searcher, PLACES);
        let own = host.clone();
        server.on_call(VIEW_CALL, move |_| {
            let host = own.clone();
            async move {
                let answer = host.view().await;
                serde_json::to_vec(&answer).map(Bytes::from).map_err(|error| error.to_string())
            }
        });
        let own = host.clone();
        server.on_call(LET_GO_CALL, move |body| {
            let host = own.clone();
            async move {
                let view = body.as_ref().try_into().map(u64::from_le_bytes);
                let view = view.map_err(|_| "no view is named".to_owned())?;
                host.let_go(view);
                Ok(Bytes::new())
            }
        });
        let own = host.clone();
        server.on_call(FIELDS_CALL, move |body| {
            let host = own.clone();
            async move { host.fields(&body).await }
        });
        let own = host.clone();
        server.on_call(SPLIT_FIELDS_CALL, move |body| {
            let host = own.clone();
            async move { host.split_fields(&body).await }
        });
        let own = host.clone();
        server.on_ticket(SCAN_TICKET, move |ticket| {
            let host = own.clone();
            async move { host.scan(&ticket).await }
        });
        let own = host.clone();
        server.on_ticket(SPLIT_TICKET, move |ticket| {
            let host = own.clone();
            async move { host.scan_split(&ticket).await }
        });
        let own = host.clone();
        server.on_ticket(FOLLOW_TICKET, move |_| {
            let host = own.clone();
            async move { Ok(host.follow()) }
        });
        host
    }

    fn of(searcher: Searcher, places: usize) -> Self {
        let places = Arc::new(Semaphore::new(places));
        Self(Arc::new(Inner { searcher, held: Mutex::default(), places }))
    }

    /// A place among the scans for other nodes. What is scanned here waits for no other node's places,
    /// so that nodes never wait for each other.
    async fn place(&self) -> Result<Place, String> {
        let parties = &self.0.searcher.0.parties;
        let waiting = Counted::one(&parties.metrics.scans_waiting);
        let permit = self.0.places.clone().acquire_owned();
        let permit = parties.clock.timeout(PLACE_WAIT, permit).await;
        drop(waiting);
        match permit {
            Some(Ok(permit)) => {
                let running = Counted::one(&parties.metrics.scans_running);
                Ok(Place { _permit: permit, _running: running })
            }
            _ => Err("too many scans for other nodes are at work here".to_owned()),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is here now, with everything that was acknowledged before the call, held for the
    /// asker.
    async fn view(&self) -> ViewAnswer {
        let searcher = &self.0.searcher;
        let settled = searcher.queues().into_iter().map(|queue| {
            let settled = queue.settled();
            async move { (queue.partition(), settled.await) }
        });
        let settled = join_all(settled).await;
        let wanted: Vec<_> =
            settled.iter().filter_map(|(id, offset)| offset.map(|offset| (*id, offset))).collect();
        searcher.wait_shown(&wanted, CATCH_UP_MAX).await;
        let (partitions, parts) = searcher.own_parts();
        let behind = |id| {
            let end = partitions.iter().find(|(one, ..)| *one == id).map(|(_, _, _, end)| end.0);
            let wanted = wanted.iter().find(|(one, _)| *one == id).map(|(_, offset)| offset.0);
            // Nobody could say how far it is: that is named too.
            wanted.map_or(1, |wanted| wanted.saturating_sub(end.unwrap_or(0)))
        };
        let answers = partitions.iter().map(|(partition, token, published, end)| PartitionAnswer {
            partition: *partition,
            token: *token,
            published: *published,
            behind: behind(*partition),
            end: *end,
        });
        let view = platform::random::u64();
        let answer = ViewAnswer {
            view,
            partitions: answers.collect(),
            parts: parts.iter().map(|part| described(part)).collect(),
        };
        self.hold(view, parts);
        answer
    }

    /// Holds a view; who asked for the oldest ones has to ask again when there are too many.
    fn hold(&self, view: u64, parts: Vec<Arc<FreshPart>>) {
        let now = self.0.searcher.elapsed();
        let mut held = self.held();
        held.retain(|_, (at, _)| now.saturating_sub(*at) < VIEW_HELD_MAX);
        while held.len() >= VIEWS_MAX {
            let oldest = held.iter().min_by_key(|(_, (at, _))| *at).map(|(view, _)| *view);
            let Some(oldest) = oldest else { break };
            held.remove(&oldest);
        }
        held.insert(view, (now, parts));
        self.count(&held);
    }

    fn let_go(&self, view: u64) {
        let mut held = self.held();
        held.remove(&view);
        self.count(&held);
    }

    fn count(&self, held: &Held) {
        let count = i64::try_from(held.len()).unwrap_or(i64::MAX);
        self.0.searcher.0.parties.metrics.views_held.set(count);
    }

    pub(super) fn part(
        &self,
        view: u64,
        part: usize,
        from: Offset,
    ) -> Result<Arc<FreshPart>, String> {
        let held = self.held();
        let (_, parts) = held.get(&view).ok_or("the view is not held any more: ask again")?;
        let part = parts.get(part).cloned().ok_or("there is no such part")?;
        part.behind(from).ok_or_else(|| "all of it is in splits".to_owned())
    }

    async fn fields(&self, body: &[u8]) -> Result<Bytes, String> {
        let asked: PartRequest<()> =
            serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let part = self.part(asked.view, asked.part, asked.from)?;
        let searcher = self.0.searcher.clone();
        stats(move || searcher.field_stats(&[Unit::Fresh(part)])).await
    }

    /// The fields of a split that this node keeps.
    async fn split_fields(&self, body: &[u8]) -> Result<Bytes, String> {
        let asked: SplitRequest<SplitMeta, ()> =
            serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let (searcher, meta) = (self.0.searcher.clone(), Arc::new(asked.split));
        stats(move || searcher.fields_here(&meta)).await
    }

    async fn scan(&self, ticket: &[u8]) -> Result<Flights, String> {
        let asked: PartRequest<ScanRequest> =
            serde_json::from_slice(ticket).map_err(|error| error.to_string())?;
        let part = self.part(asked.view, asked.part, asked.from)?;
        let place = self.place().await?;
        Ok(self.rows(place, asked.request, move |searcher, request, emit| {
            searcher.scan(&Unit::Fresh(part), request, emit)
        }))
    }

    /// The rows of a split that this node keeps; what is to be deleted is in the request.
    async fn scan_split(&self, ticket: &[u8]) -> Result<Flights, String> {
        let asked: SplitRequest<SplitMeta, ScanRequest> =
            serde_json::from_slice(ticket).map_err(|error| error.to_string())?;
        let meta = Arc::new(asked.split);
        let place = self.place().await?;
        Ok(self.rows(place, asked.request, move |searcher, request, emit| {
            searcher.scan_here(&meta, request, emit)
        }))
    }

    /// What a scan gives. It has its place only while it works: who reads slowly keeps none.
    fn rows(
        &self,
        place: Place,
        request: ScanRequest,
        scan: impl FnOnce(&Searcher, &ScanRequest, &mut Emit<'_>) -> Result<(), ScanError>
        + Send
        + 'static,
    ) -> Flights {
        let (host, runtime) = (self.clone(), Handle::current());
        let schema = request.schema();
        let (to, rows) = mpsc::channel(AHEAD);
        tokio::task::spawn_blocking(move || {
            let (mut place, mut refused) = (Some(place), None);
            let mut send = |rows: RecordBatch| {
                if rows.num_rows() == 0 && !to.is_closed() {
                    return ControlFlow::Continue(());
                }
                let rows = match to.try_send(Ok(rows)) {
                    Ok(()) => return ControlFlow::Continue(()),
                    Err(TrySendError::Closed(_)) => return ControlFlow::Break(()),
                    Err(TrySendError::Full(rows)) => rows,
                };
                drop(place.take());
                if to.blocking_send(rows).is_err() {
                    return ControlFlow::Break(());
                }
                match runtime.block_on(host.place()) {
                    Ok(again) => {
                        place = Some(again);
                        ControlFlow::Continue(())
                    }
                    Err(words) => {
                        refused = Some(words);
                        ControlFlow::Break(())
                    }
                }
            };
            let scanned = scan(&host.0.searcher, &request, &mut send);
            let error: Option<Box<dyn Error + Send + Sync>> = match scanned {
                Err(error) => Some(Box::new(error)),
                Ok(()) => refused.map(Into::into),
            };
            if let Some(error) = error {
                // The asker may be gone.
                drop(to.blocking_send(Err(FlightError::ExternalError(error))));
            }
        });
        let rows = tokio_stream::wrappers::ReceiverStream::new(rows);
        let flights = FlightDataEncoderBuilder::new().with_schema(schema).build(rows);
        flights.map(|data| data.map_err(|error| Status::internal(error.to_string()))).boxed()
    }

    /// Every part as it becomes searchable. Who is too slow is told so and comes again.
    fn follow(&self) -> Flights {
        let parts = tokio_stream::wrappers::BroadcastStream::new(self.0.searcher.follow());
        let packed = parts.map(|part| match part {
            Ok(part) => packed(&part).map_err(|error| Status::internal(error.to_string())),
            Err(_) => Err(Status::data_loss("too slow: parts went by")),
        });
        packed.boxed()
    }
}

/// The fields that are told by work that waits for the disk.
async fn stats(
    work: impl FnOnce() -> Result<Vec<FieldStat>, ScanError> + Send + 'static,
) -> Result<Bytes, String> {
    let told = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    let told = told.map_err(|error| error.to_string())?;
    serde_json::to_vec(&told).map(Bytes::from).map_err(|error| error.to_string())
}

fn described(part: &FreshPart) -> PartAnswer {
    let (first, last) = part.offsets();
    PartAnswer {
        partition: part.partition,
        index: part.index.to_string(),
        time_first: part.time_first,
        time_last: part.time_last,
        row_count: part.rows.num_rows() as u64,
        bytes: part.bytes,
        first,
        last,
    }
}

/// A part as one message: its partition and index before its rows, as an Arrow stream.
fn packed(part: &FreshPart) -> Result<FlightData, arrow::error::ArrowError> {
    let mut body = Vec::new();
    let mut writer = StreamWriter::try_new(&mut body, part.rows.schema_ref())?;
    writer.write(&part.rows)?;
    writer.finish()?;
    drop(writer);
    let mut head = part.partition.0.to_le_bytes().to_vec();
    head.extend_from_slice(part.index.as_bytes());
    Ok(FlightData { app_metadata: head.into(), data_body: body.into(), ..FlightData::default() })
}

/// The parts of a stream.
pub(super) fn unpacked(
    stream: FlightStream,
) -> impl futures::Stream<Item = Result<Arc<FreshPart>, String>> {
    stream.map(|data| {
        let data = data.map_err(|status| status.to_string())?;
        let (number, index) =
            data.app_metadata.split_first_chunk().ok_or("a part without a partition")?;
        let partition = model::partition::PartitionId(u32::from_le_bytes(*number));
        let index = String::from_utf8_lossy(index);
        let reader = StreamReader::try_new(Cursor::new(&data.data_body), None);
        let mut reader = reader.map_err(|error| error.to_string())?;
        let rows: RecordBatch =
            reader.next().ok_or("a part without rows")?.map_err(|error| error.to_string())?;
        Ok(Arc::new(FreshPart::new(partition, index.as_ref().into(), rows)))
    })
}

#[cfg(test)]
mod tests {
    use model::query::Filter;
    use model::time::TimeRange;
    use tokio::task::yield_now;

    use super::*;
    use crate::fixture::Fixture;
    use crate::scan::Column;

    fn request() -> ScanRequest {
        ScanRequest {
            filter: Filter::All,
            range: TimeRange::ALL,
            columns: vec![Column::Message],
            newest: None,
            counted: false,
        }
    }

    #[test]
    fn views_for_other_nodes_are_counted_and_bounded() {
        let fixture = Fixture::new();
        let host = Host::of(fixture.searcher.clone(), 1);
        let count = || fixture.core.parties.metrics.views_held.get();
        (0..3).for_each(|view| host.hold(view, Vec::new()));
        assert_eq!(count(), 3);
        host.let_go(1);
        assert_eq!(count(), 2);
        (10..VIEWS_MAX as u64 + 10).for_each(|view| host.hold(view, Vec::new()));
        assert_eq!(count(), i64::try_from(VIEWS_MAX).unwrap());
        // Nobody fetched them.
        fixture.clock.advance(VIEW_HELD_MAX);
        host.hold(7, Vec::new());
        assert_eq!(count(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn scans_for_other_nodes_wait_for_a_place() {
        let fixture = Fixture::new();
        let split = fixture.publish(&["one", "two"]);
        let metrics = fixture.core.parties.metrics.clone();
        let host = Host::of(fixture.searcher.clone(), 1);
        let held = host.place().await.unwrap();
        assert_eq!((metrics.scans_running.get(), metrics.scans_waiting.get()), (1, 0));
        let asked = SplitRequest { split: SplitMeta::clone(&split), request: request() };
        let ticket = serde_json::to_vec(&asked).unwrap();
        let asking = host.clone();
        let scan = tokio::spawn(async move { asking.scan_split(&ticket).await });
        while metrics.scans_waiting.get() < 1 {
            yield_now().await;
        }
        drop(held);
        let flights: Vec<_> = scan.await.unwrap().unwrap().collect().await;
        // The schema, and the rows.
        assert_eq!(flights.len(), 2);
        assert!(flights.iter().all(Result::is_ok));
        while metrics.scans_running.get() > 0 {
            yield_now().await;
        }
        assert_eq!(metrics.scans_waiting.get(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_reads_slowly_keeps_no_place() {
        let fixture = Fixture::new();
        let unit = Unit::Split(fixture.publish(&["one", "two"]));
        let metrics = fixture.core.parties.metrics.clone();
        let mut batch = None;
        let mut take = |rows: RecordBatch| {
            batch = (rows.num_rows() > 0).then_some(rows).or(batch.take());
            ControlFlow::Continue(())
        };
        fixture.searcher.scan(&unit, &request(), &mut take).unwrap();
        let batch = batch.unwrap();
        let host = Host::of(fixture.searcher.clone(), 1);
        let place = host.place().await.unwrap();
        let flights = host.rows(place, request(), move |_, _, emit| {
            for _ in 0..2 * AHEAD {
                if emit(batch.clone()).is_break() {
                    break;
                }
            }
            Ok(())
        });
        while metrics.scans_running.get() > 0 {
            yield_now().await;
        }
        // Another one works meanwhile, and then this one goes on.
        drop(host.place().await.unwrap());
        let flights: Vec<_> = flights.collect().await;
        assert_eq!(flights.len(), 1 + 2 * AHEAD);
        assert!(flights.iter().all(Result::is_ok));
    }
}
