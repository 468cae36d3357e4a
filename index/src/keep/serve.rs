//! Serving objects to other nodes, and taking copies when they ask.

use std::io;
use std::time::Duration;

use arrow_flight::FlightData;
use bytes::Bytes;
use cluster::peer::{PeerServer, Peers};
use futures::stream::StreamExt as _;
use model::split::SplitMeta;
use platform::objects::Announced;
use tonic::Status;

use super::copies::{
    Copies, RANGE_CALL, RangeRequest, SIZE_CALL, TAKE_CALL, TakeRequest, TakenObject, as_built,
    names, told,
};

/// First byte of a ticket for a whole object.
const OBJECT_TICKET: u8 = b'O';
/// Bytes of an object that are sent at a time.
const PIECE_BYTES: u64 = 1 << 20;
/// Bytes of an object that are served in one answer.
const RANGE_BYTES_MAX: u64 = 64 << 20;
/// How long a node may take to begin a stream.
const STREAM_WAIT: Duration = Duration::from_secs(10);
/// How long one piece may take.
const PIECE_WAIT: Duration = Duration::from_secs(20);

impl Copies {
    /// Answers other nodes from now on.
    pub fn serve(&self, server: &PeerServer) {
        let own = self.clone();
        server.on_call(RANGE_CALL, move |body| {
            let copies = own.clone();
            async move { copies.blocking(move |copies| copies.range(&body)).await }
        });
        let own = self.clone();
        server.on_call(SIZE_CALL, move |body| {
            let copies = own.clone();
            async move {
                copies
                    .blocking(move |copies| {
                        let name = String::from_utf8_lossy(&body).into_owned();
                        let listed = copies.objects()?.read_size(&name)?;
                        Ok(Bytes::copy_from_slice(&listed.to_le_bytes()))
                    })
                    .await
            }
        });
        let own = self.clone();
        server.on_call(TAKE_CALL, move |body| {
            let copies = own.clone();
            async move {
                let request: TakeRequest =
                    serde_json::from_slice(&body).map_err(|error| error.to_string())?;
                copies
                    .take(&request)
                    .await
                    .map(|()| Bytes::new())
                    .map_err(|error| error.to_string())
            }
        });
        let own = self.clone();
        server.on_ticket(OBJECT_TICKET, move |name| {
            let copies = own.clone();
            async move {
                let name = String::from_utf8_lossy(&name).into_owned();
                Ok(copies.pieces(name).boxed())
            }
        });
    }

    async fn blocking(
        &self,
        work: impl FnOnce(&Self) -> io::Result<Bytes> + Send + 'static,
    ) -> Result<Bytes, String> {
        let copies = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&copies)).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    fn range(&self, body: &[u8]) -> io::Result<Bytes> {
        let RangeRequest { name, from, to } =
            serde_json::from_slice(body).map_err(io::Error::other)?;
        if to.saturating_sub(from) > RANGE_BYTES_MAX {
            let words = format!("more than {RANGE_BYTES_MAX} bytes of {name} are asked at once");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        }
        self.objects()?.read_local(&name, from, to)
    }

    /// A whole object, piece by piece.
    fn pieces(self, name: String) -> impl futures::Stream<Item = Result<FlightData, Status>> {
        let copies = self;
        futures::stream::unfold(Some(0_u64), move |at| {
            let (copies, name) = (copies.clone(), name.clone());
            async move {
                let at = at?;
                let read = tokio::task::spawn_blocking(move || {
                    let objects = copies.objects()?;
                    let end = objects.read_size(&name)?.min(at + PIECE_BYTES);
                    objects.read_local(&name, at, end)
                });
                let read = read.await.unwrap_or_else(|error| Err(io::Error::other(error)));
                match read {
                    Ok(bytes) if bytes.is_empty() => None,
                    Ok(bytes) => {
                        let next = at + bytes.len() as u64;
                        let data = FlightData { data_body: bytes, ..FlightData::default() };
                        Some((Ok(data), Some(next)))
                    }
                    Err(error) => Some((Err(Status::not_found(error.to_string())), None)),
                }
            }
        })
    }

    /// Takes a copy of what another node has. Who is short of room does not, unless it has to be.
    async fn take(&self, request: &TakeRequest) -> io::Result<()> {
        let bytes: u64 = request.objects.iter().map(|object| object.bytes).sum();
        if !request.insist && !self.0.room.takes(bytes) {
            let words = "this node's disk is short of room";
            return Err(io::Error::new(io::ErrorKind::StorageFull, words));
        }
        for object in &request.objects {
            if !self.has_object(object) {
                self.take_one(&request.from, object).await?;
            }
        }
        Ok(())
    }

    /// Takes an object of another node, checked against what it should be, in the place of what is
    /// there.
    pub(super) async fn take_one(&self, from: &str, object: &TakenObject) -> io::Result<()> {
        let mut ticket = vec![OBJECT_TICKET];
        ticket.extend_from_slice(object.name.as_bytes());
        let stream = self.0.metadata.peers().stream(from, ticket.into(), STREAM_WAIT).await;
        let mut stream = stream.map_err(told)?;
        let mut adoption = self.objects()?.replacement(&object.name)?;
        let clock = self.0.metadata.clock();
        loop {
            let piece = clock.timeout(PIECE_WAIT, stream.message()).await;
            let piece = piece.ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))?;
            let piece = piece.map_err(|status| told(Peers::broken(from, &status)))?;
            let Some(piece) = piece else { break };
            tokio::task::block_in_place(|| adoption.write(&piece.data_body))?;
        }
        let announced = Announced { bytes: object.bytes, crc32c: object.crc };
        tokio::task::block_in_place(|| adoption.finish(announced))?;
        self.0.room.add(object.bytes);
        Ok(())
    }

    /// Copies what this node lacks of a split from a node that keeps it. That node says what the
    /// objects are where that was not written down when they were built.
    pub(super) async fn copy_from(&self, address: &str, meta: &SplitMeta) -> io::Result<()> {
        if let Some(objects) = as_built(meta) {
            for object in objects.iter().filter(|object| !self.has_object(object)) {
                self.take_one(address, object).await?;
            }
            return Ok(());
        }
        for name in names(&meta.id) {
            if self.objects()?.has_local(&name) {
                continue;
            }
            let body = Bytes::copy_from_slice(name.as_bytes());
            let peers = self.0.metadata.peers();
            let answer = peers.call(address, super::repair::ANNOUNCE_CALL, body, PIECE_WAIT).await;
            let answer = answer.map_err(told)?;
            let object: TakenObject = serde_json::from_slice(&answer).map_err(io::Error::other)?;
            self.take_one(address, &object).await?;
        }
        Ok(())
    }

    /// Whether an object of that name and length is here.
    pub(super) fn has_object(&self, object: &TakenObject) -> bool {
        let bytes = self.objects().and_then(|objects| objects.read_size(&object.name));
        bytes.is_ok_and(|bytes| bytes == object.bytes)
    }
}
