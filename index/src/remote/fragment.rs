//! Parts of a plan that run where the records are: the holder of some units gets bytes that only
//! the planner understands, and gives rows back.
//!
//! Every message of the stream is one Flight message: an Arrow stream as its body, or, as its
//! metadata, how far the holder is ([`Reached`], JSON). The last one says that it is the end.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow_flight::FlightData;
use bytes::{BufMut as _, Bytes, BytesMut};
use cluster::peer::{FlightStream, PeerServer};
use futures::stream::{BoxStream, StreamExt as _};
use model::partition::Offset;
use model::split::SplitMeta;
use platform::clock::Clock;
use serde::{Deserialize, Serialize};
use tonic::Status;

use super::serve::Host;
use crate::searcher::{Searcher, Unit};

/// First byte of a ticket for a part of a plan.
const FRAGMENT_TICKET: u8 = b'P';
/// How long a holder may say nothing; it says how far it is more often.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// A unit as the node that holds it knows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum HeldUnit {
    /// A split, as the asker's catalog has it.
    Split(Box<SplitMeta>),
    /// Fresh rows of a view.
    Part {
        /// The view.
        view: u64,
        /// Which part of it.
        part: usize,
        /// Rows below this are in splits.
        from: Offset,
    },
}

/// How far a holder is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Units read or left out.
    pub units_done: u64,
    /// Records that passed the search.
    pub rows: u64,
    /// Nothing comes behind it.
    pub is_end: bool,
}

/// What comes of a part of a plan.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Rows.
    Rows(RecordBatch),
    /// How far the holder is.
    Reached(Reached),
}

/// Pieces as they come.
pub type Pieces = BoxStream<'static, Result<Piece, String>>;

impl Searcher {
    /// The address of the node that would scan a unit for this one, with the unit as that node
    /// knows it. `None` for what is scanned here, and for splits of which records are being
    /// deleted: only this node surely knows which.
    #[must_use]
    pub fn holder(&self, unit: &Unit) -> Option<(String, HeldUnit)> {
        match unit {
            Unit::Fresh(_) => None,
            Unit::Split(meta) => {
                let remote = self.elsewhere(meta)?;
                let address = remote.keepers(meta).into_iter().next()?;
                let unit = HeldUnit::Split(Box::new(SplitMeta::clone(meta)));
                self.is_whole(&Unit::Split(meta.clone())).then_some((address, unit))
            }
            Unit::Remote(part) => {
                let (view, part_number, from) = (part.view.view, part.part, part.from);
                let unit = HeldUnit::Part { view, part: part_number, from };
                Some((part.view.address.clone(), unit))
            }
        }
    }

    /// Has a node run a part of a plan over some of its units; dropping the stream ends it there.
    ///
    /// # Errors
    /// Why the node does not begin.
    pub async fn fragment(
        &self,
        address: &str,
        units: &[HeldUnit],
        plan: &[u8],
    ) -> Result<Pieces, String> {
        let remote = self.clustered().ok_or("no cluster")?;
        let units = serde_json::to_vec(units).map_err(|error| error.to_string())?;
        let length = u32::try_from(units.len()).map_err(|_| "too many units".to_owned())?;
        let mut ticket = BytesMut::with_capacity(units.len() + plan.len() + 5);
        ticket.put_u8(FRAGMENT_TICKET);
        ticket.put_u32_le(length);
        ticket.put_slice(&units);
        ticket.put_slice(plan);
        let (peers, clock) = (remote.0.metadata.peers(), remote.0.metadata.clock().clone());
        let stream = peers.stream(address, ticket.freeze(), SILENCE_MAX).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let coming = Coming { stream, clock, address: address.to_owned() };
        Ok(futures::stream::unfold(coming, Coming::next).boxed())
    }
}

/// What a holder sends.
struct Coming {
    stream: FlightStream,
    clock: Clock,
    address: String,
}

impl Coming {
    async fn next(mut self) -> Option<(Result<Piece, String>, Self)> {
        let piece = match self.clock.timeout(SILENCE_MAX, self.stream.next()).await {
            None => Err(format!("node {} is silent", self.address)),
            Some(None) => return None,
            Some(Some(Err(status))) => Err(status.message().to_owned()),
            Some(Some(Ok(data))) => unpacked(&data),
        };
        Some((piece, self))
    }
}

impl Host {
    /// Runs parts of plans for other nodes: the work gets units that are here and the plan's
    /// bytes.
    pub fn on_fragment<F>(
        &self,
        server: &PeerServer,
        work: impl Fn(Vec<Unit>, Bytes) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<Pieces, String>> + Send + 'static,
    {
        let (host, work) = (self.clone(), Arc::new(work));
        server.on_ticket(FRAGMENT_TICKET, move |ticket| {
            let (host, work) = (host.clone(), work.clone());
            async move {
                let (units, plan) = split_ticket(&ticket).ok_or("a ticket that is cut short")?;
                let held: Vec<HeldUnit> =
                    serde_json::from_slice(&units).map_err(|error| error.to_string())?;
                let units = held.into_iter().map(|unit| host.unit(unit));
                let pieces = work(units.collect::<Result<_, _>>()?, plan).await?;
                let flights = pieces.map(|piece| match piece.and_then(|piece| packed(&piece)) {
                    Ok(data) => Ok(data),
                    Err(words) => Err(Status::internal(words)),
                });
                Ok(flights.boxed())
            }
        });
    }

    fn unit(&self, unit: HeldUnit) -> Result<Unit, String> {
        Ok(match unit {
            HeldUnit::Split(meta) => Unit::Split(Arc::new(*meta)),
            HeldUnit::Part { view, part, from } => Unit::Fresh(self.part(view, part, from)?),
        })
    }
}

/// The units and the plan of a ticket.
fn split_ticket(ticket: &Bytes) -> Option<(Bytes, Bytes)> {
    let (length, _) = ticket.split_first_chunk()?;
    let end = usize::try_from(u32::from_le_bytes(*length)).ok()?.checked_add(4)?;
    (end <= ticket.len()).then(|| (ticket.slice(4..end), ticket.slice(end..)))
}

fn packed(piece: &Piece) -> Result<FlightData, String> {
    let mut data = FlightData::default();
    match piece {
        Piece::Rows(rows) => {
            let write = || {
                let mut body = Vec::new();
                let mut writer = StreamWriter::try_new(&mut body, rows.schema_ref())?;
                writer.write(rows)?;
                writer.finish()?;
                drop(writer);
                Ok::<_, arrow::error::ArrowError>(body)
            };
            data.data_body = write().map_err(|error| error.to_string())?.into();
        }
        Piece::Reached(reached) => {
            data.app_metadata = serde_json::to_vec(reached).unwrap_or_default().into();
        }
    }
    Ok(data)
}

fn unpacked(data: &FlightData) -> Result<Piece, String> {
    if data.data_body.is_empty() {
        let reached = serde_json::from_slice(&data.app_metadata);
        return reached.map(Piece::Reached).map_err(|error| error.to_string());
    }
    let mut reader = StreamReader::try_new(Cursor::new(&data.data_body), None)
        .map_err(|error| error.to_string())?;
    let rows = reader.next().ok_or("a piece without rows")?;
    rows.map(Piece::Rows).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_that_is_cut_short_is_none() {
        let whole = Bytes::from_static(b"\x02\0\0\0[]plan");
        let (units, plan) = split_ticket(&whole).unwrap();
        assert_eq!((units.as_ref(), plan.as_ref()), (b"[]".as_ref(), b"plan".as_ref()));
        assert!(split_ticket(&whole.slice(..5)).is_none());
        assert!(split_ticket(&whole.slice(..3)).is_none());
        assert!(split_ticket(&Bytes::from_static(&[0xff; 8])).is_none());
    }

    #[test]
    fn pieces_come_as_they_were() {
        let reached = Reached { units_done: 3, rows: 7, is_end: true };
        let data = packed(&Piece::Reached(reached)).unwrap();
        assert!(matches!(unpacked(&data), Ok(Piece::Reached(again)) if again == reached));
        let column: arrow::array::ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![1, 2]));
        let rows = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let data = packed(&Piece::Rows(rows.clone())).unwrap();
        assert!(matches!(unpacked(&data), Ok(Piece::Rows(again)) if again == rows));
        let torn = FlightData { data_body: data.data_body.slice(..20), ..FlightData::default() };
        assert!(unpacked(&torn).is_err());
    }
}
