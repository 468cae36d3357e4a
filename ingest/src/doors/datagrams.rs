//! Datagrams that carry records: nobody is answered, so they wait within a bound until they are
//! stored, and those that find no room are counted.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use platform::http::ApiError;
use platform::shutdown::Shutdown;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::IngestState;
use super::parcel::Packed;

/// Bytes of datagrams that wait to be stored.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Datagrams that wait to be stored.
const WAITING_MAX: usize = 65_536;
/// Bytes of a datagram: no greater one exists.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Datagrams that are stored together.
const TOGETHER_MAX: usize = 8_192;

/// A message that came alone, its sender, and the room it takes.
#[derive(Debug)]
pub(super) struct Datagram {
    pub(super) bytes: Bytes,
    pub(super) peer: IpAddr,
    _room: OwnedSemaphorePermit,
}

/// Takes datagrams until the wish to stop, then stores what has come. `pack` makes a parcel of
/// those that came together.
pub(super) async fn serve(
    door: &'static str,
    state: &IngestState,
    socket: UdpSocket,
    shutdown: &Shutdown,
    pack: impl FnMut(&[Datagram]) -> Result<Packed, ApiError>,
) {
    let (sender, receiver) = channel(WAITING_MAX);
    tokio::join!(
        receive(state, &socket, sender, shutdown),
        keep(door, state, receiver, shutdown, pack)
    );
}

async fn receive(
    state: &IngestState,
    socket: &UdpSocket,
    sender: Sender<Datagram>,
    shutdown: &Shutdown,
) {
    let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut buffer) => received,
            () = shutdown.wait() => return,
        };
        // An error is about a sender that is not reached; nothing is sent to it.
        let Ok((length, address)) = received else { continue };
        let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        let taken = u32::try_from(length).unwrap_or(u32::MAX);
        let datagram = room.clone().try_acquire_many_owned(taken).ok().map(|room| Datagram {
            bytes,
            peer: address.ip().to_canonical(),
            _room: room,
        });
        if datagram.is_none_or(|datagram| sender.try_send(datagram).is_err()) {
            state.0.metrics.refused("datagrams");
        }
    }
}

async fn keep(
    door: &'static str,
    state: &IngestState,
    mut receiver: Receiver<Datagram>,
    shutdown: &Shutdown,
    mut pack: impl FnMut(&[Datagram]) -> Result<Packed, ApiError>,
) {
    let mut all = Vec::new();
    while receiver.recv_many(&mut all, TOGETHER_MAX).await > 0 {
        let stored = match pack(&all) {
            Ok(packed) => state.persist(door, packed, shutdown).await,
            Err(error) => Err(error),
        };
        if let Err(error) = stored {
            tracing::warn!(door, error = %error.detail.message, "datagrams were lost");
            all.iter().for_each(|_| state.0.metrics.refused("datagrams"));
        }
        all.clear();
    }
}
