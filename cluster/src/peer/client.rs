//! Asking other nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, FlightData, Ticket};
use bytes::Bytes;
use model::error::chain;
use model::node::NodeId;
use platform::clock::Clock;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::detour::Detours;
use super::{
    ALIVE_INTERVAL, ALIVE_WAIT, CLUSTER_HEADER, CONNECT_WAIT, CONNECTION_WINDOW_BYTES,
    MESSAGE_BYTES_MAX, NO_CLUSTER, NODE_HEADER, PROTOCOL, PROTOCOL_HEADER, PeerError, PeerTls,
    STREAM_WINDOW_BYTES,
};

/// What comes of a ticket.
pub type FlightStream = Streaming<FlightData>;

/// Connections to other nodes, made when they are needed and kept. Clones share them.
#[derive(Debug, Clone)]
pub struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    tls: Option<PeerTls>,
    /// The version that this node speaks.
    protocol: u32,
    cluster: OnceLock<String>,
    node: OnceLock<NodeId>,
    channels: Mutex<HashMap<String, Channel>>,
    detours: Detours,
}

impl Peers {
    /// No connection yet.
    #[must_use]
    pub fn new(clock: Clock, tls: Option<PeerTls>) -> Self {
        Self::speaking(PROTOCOL, clock, tls)
    }

    /// [`Peers::new`] of a node that says that it is of this version, takes others for neighbours by it, and
    /// reads of what the cluster decides only what that version reads. It is [`PROTOCOL`] but in tests of
    /// neighbours.
    #[must_use]
    pub fn speaking(protocol: u32, clock: Clock, tls: Option<PeerTls>) -> Self {
        let (cluster, node, channels, detours) = Default::default();
        Self(Arc::new(Inner { clock, tls, protocol, cluster, node, channels, detours }))
    }

    /// The version of the nodes' protocol that this node speaks.
    #[must_use]
    pub fn protocol(&self) -> u32 {
        self.0.protocol
    }

    /// From now on every request says that this node speaks. Once only; said twice it must be the
    /// same.
    pub fn speak_as(&self, node: NodeId) {
        if *self.0.node.get_or_init(|| node) != node {
            tracing::error!(%node, "this node has another name already");
        }
    }

    /// From now on every request says that it is of this cluster. Once only; said twice it must
    /// be the same.
    pub fn belong_to(&self, cluster: &str) {
        if self.0.cluster.get_or_init(|| cluster.to_owned()) != cluster {
            tracing::error!(cluster, "this node belongs to another cluster already");
        }
    }

    /// The cluster to which this node belongs, when it does.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.0.cluster.get().map(String::as_str)
    }

    /// The ways that are not direct.
    pub(super) fn detours(&self) -> &Detours {
        &self.0.detours
    }

    /// Asks a node to do something by name; through another one, where it is not reached otherwise.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn call(
        &self,
        address: &str,
        name: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, PeerError> {
        if let Some(detour) = self.detour(address) {
            return self.call_through(&detour, (address, name), body, deadline).await;
        }
        tokio::select! {
            biased;
            done = self.call_directly(address, name, body, deadline) => done,
            // What was sent there is not waited for in vain: whoever may send it again goes another way.
            () = self.until_detour(address) => {
                let why = "it is not reached directly any more".to_owned();
                Err(PeerError::Unreachable { address: address.to_owned(), why })
            }
        }
    }

    /// The same by no other way than to the node itself.
    pub(super) async fn call_directly(
        &self,
        address: &str,
        name: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, PeerError> {
        let cluster = self.cluster().unwrap_or(NO_CLUSTER);
        let action = self.request(Action { r#type: name.to_owned(), body }, cluster);
        self.ask(address, action, deadline).await
    }

    /// Asks a node for what it tells everybody, as one that knows no cluster: another one of those
    /// answers it too.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn knock(
        &self,
        address: &str,
        name: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, PeerError> {
        let action = self.request(Action { r#type: name.to_owned(), body }, NO_CLUSTER);
        self.ask(address, action, deadline).await
    }

    async fn ask(
        &self,
        address: &str,
        action: Request<Action>,
        deadline: Duration,
    ) -> Result<Bytes, PeerError> {
        let mut client = self.client(address)?;
        let asked = async {
            let mut results = client.do_action(action).await?.into_inner();
            let result = results.message().await?;
            result.map(|result| result.body).ok_or_else(|| Status::internal("no answer"))
        };
        match self.0.clock.timeout(deadline, asked).await {
            Some(Ok(body)) => Ok(body),
            Some(Err(status)) => Err(undone(address, &status)),
            None => {
                let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
                Err(PeerError::Late { address: address.to_owned(), ms })
            }
        }
    }

    /// Asks a node for a stream; dropping it ends it there too. Through another one, where it is not
    /// reached otherwise.
    ///
    /// # Errors
    /// [`PeerError`].
    pub async fn stream(
        &self,
        address: &str,
        ticket: Bytes,
        deadline: Duration,
    ) -> Result<FlightStream, PeerError> {
        match self.detour(address) {
            Some(detour) => self.stream_through(&detour, &ticket, deadline).await,
            None => self.stream_directly(address, ticket, deadline).await,
        }
    }

    /// The same by no other way than to the node itself.
    pub(super) async fn stream_directly(
        &self,
        address: &str,
        ticket: Bytes,
        deadline: Duration,
    ) -> Result<FlightStream, PeerError> {
        let mut client = self.client(address)?;
        let ticket = self.request(Ticket { ticket }, self.cluster().unwrap_or(NO_CLUSTER));
        match self.0.clock.timeout(deadline, client.do_get(ticket)).await {
            Some(Ok(stream)) => Ok(stream.into_inner()),
            Some(Err(status)) => Err(failure(address, &status)),
            None => {
                let ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
                Err(PeerError::Late { address: address.to_owned(), ms })
            }
        }
    }

    /// A failure of a stream that had begun.
    #[must_use]
    pub fn broken(address: &str, status: &Status) -> PeerError {
        failure(address, status)
    }

    fn request<T>(&self, message: T, cluster: &str) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(cluster) = MetadataValue::try_from(cluster) {
            request.metadata_mut().insert(CLUSTER_HEADER, cluster);
        }
        let node = self.0.node.get().map(|node| MetadataValue::try_from(node.to_string()));
        if let Some(Ok(node)) = node {
            request.metadata_mut().insert(NODE_HEADER, node);
        }
        request.metadata_mut().insert(PROTOCOL_HEADER, MetadataValue::from(self.0.protocol));
        request
    }

    fn client(&self, address: &str) -> Result<FlightServiceClient<Channel>, PeerError> {
        let mut channels = self.0.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = match channels.get(address) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self.connect(address)?;
                channels.insert(address.to_owned(), channel.clone());
                channel
            }
        };
        Ok(FlightServiceClient::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn connect(&self, address: &str) -> Result<Channel, PeerError> {
        let scheme = if self.0.tls.is_some() { "https" } else { "http" };
        let unusable = |error: tonic::transport::Error| PeerError::Unreachable {
            address: address.to_owned(),
            why: chain(&error),
        };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(unusable)?
            .connect_timeout(CONNECT_WAIT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(ALIVE_INTERVAL)
            .keep_alive_timeout(ALIVE_WAIT)
            .keep_alive_while_idle(true)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES);
        if let Some(tls) = &self.0.tls {
            endpoint = endpoint.tls_config(tls.client()).map_err(unusable)?;
        }
        // It connects when it is used, and again when it broke.
        Ok(endpoint.connect_lazy())
    }
}

/// Why something was not done: only what the other node itself says is sure.
fn undone(address: &str, status: &Status) -> PeerError {
    match (failure(address, status), status.code()) {
        (said, Code::FailedPrecondition | Code::Unimplemented | Code::OutOfRange) => said,
        // A connection that broke, say: it may have been done before.
        (PeerError::Failed { address, why }, _) => PeerError::Unreachable { address, why },
        (said, _) => said,
    }
}

fn failure(address: &str, status: &Status) -> PeerError {
    let address = address.to_owned();
    let mut why = status.message().to_owned();
    if let Some(cause) = std::error::Error::source(status) {
        why = format!("{why}: {}", chain(cause));
    }
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => PeerError::Refused { address, why },
        // Said before anything was begun; whoever stands between two nodes has other words.
        Code::Unavailable if super::serve::is_not_done(status.message()) => {
            PeerError::NotDone { address, why }
        }
        Code::Unavailable | Code::Cancelled | Code::Unknown => {
            PeerError::Unreachable { address, why }
        }
        Code::DeadlineExceeded => PeerError::Late { address, ms: 0 },
        _ => PeerError::Failed { address, why },
    }
}
