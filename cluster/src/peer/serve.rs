//! Answering other nodes.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt as _};
use model::node::NodeId;
use platform::shutdown::Shutdown;
use tokio::net::TcpListener;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::{
    ALIVE_INTERVAL, ALIVE_WAIT, CLUSTER_HEADER, CONNECTION_WINDOW_BYTES, MESSAGE_BYTES_MAX,
    NO_CLUSTER, NODE_HEADER, PROTOCOL_HEADER, PeerTls, Peers, STREAM_WINDOW_BYTES,
};

/// How the answer to a call begins that this version does not know.
const NOT_DONE: &str = "this node does not do";
/// The same of a ticket.
const NOT_SERVED: &str = "this node serves no tickets";
/// What a node says that does not know yet to which cluster it belongs.
const STARTING: &str = "this node is starting";
/// What a node is told that was removed.
pub(crate) const REMOVED: &str = "was removed from the cluster";

/// What came of a call: bytes, or why not in words.
pub type Served = Result<Bytes, String>;
type Call = Arc<dyn Fn(Bytes) -> BoxFuture<'static, Served> + Send + Sync>;
type Flights = BoxStream<'static, Result<FlightData, Status>>;
type AllNamed = Box<dyn Fn() -> bool + Send + Sync>;
type IsRemoved = Box<dyn Fn(NodeId) -> bool + Send + Sync>;
type Flight = Arc<dyn Fn(Bytes) -> BoxFuture<'static, Result<Flights, String>> + Send + Sync>;

/// Why other nodes are not heard.
#[derive(Debug, thiserror::Error)]
pub enum PeerServerError {
    /// TLS or HTTP refuse.
    #[error("other nodes cannot be heard")]
    Transport(#[from] tonic::transport::Error),
}

/// What this node does for others. Clones share it.
#[derive(Clone)]
pub struct PeerServer(Arc<Inner>);

struct Inner {
    peers: Peers,
    calls: RwLock<HashMap<String, (Call, Guests)>>,
    flights: RwLock<HashMap<u8, Flight>>,
    is_removed: OnceLock<IsRemoved>,
    all_named: OnceLock<AllNamed>,
}

/// Whether a node says by these words that it has not begun to do what was asked. All versions do.
pub(super) fn is_not_done(words: &str) -> bool {
    [NOT_DONE, NOT_SERVED, STARTING].iter().any(|begin| words.starts_with(begin))
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guests {
    /// Nodes of this cluster.
    Members,
    /// Also those that know no cluster yet.
    Everybody,
}

impl std::fmt::Debug for PeerServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerServer").finish_non_exhaustive()
    }
}

impl PeerServer {
    /// Does nothing yet. The cluster is the one that `peers` belongs to.
    #[must_use]
    pub fn new(peers: Peers) -> Self {
        let (calls, flights, is_removed, all_named) = Default::default();
        Self(Arc::new(Inner { peers, calls, flights, is_removed, all_named }))
    }

    /// The way to other nodes.
    pub(super) fn peers(&self) -> Peers {
        self.0.peers.clone()
    }

    /// From now on a node of which this is true is not heard, but for what everybody may ask. Once
    /// only.
    pub fn turn_away(&self, is_removed: impl Fn(NodeId) -> bool + Send + Sync + 'static) {
        if self.0.is_removed.set(Box::new(is_removed)).is_err() {
            tracing::error!("this node knows already whom it turns away");
        }
    }

    /// From now on who does not say which node it is is not heard while this is true: all nodes of the
    /// cluster say it, so it is one that was removed. Once only.
    pub fn expect_names(&self, all_named: impl Fn() -> bool + Send + Sync + 'static) {
        if self.0.all_named.set(Box::new(all_named)).is_err() {
            tracing::error!("this node knows already when to expect names");
        }
    }

    /// Answers calls of that name from nodes of this cluster.
    pub fn on_call<F>(&self, name: &str, work: impl Fn(Bytes) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Served> + Send + 'static,
    {
        self.insert(name, Guests::Members, work);
    }

    /// Answers calls of that name also from nodes that know no cluster yet.
    pub fn on_knock<F>(&self, name: &str, work: impl Fn(Bytes) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Served> + Send + 'static,
    {
        self.insert(name, Guests::Everybody, work);
    }

    fn insert<F>(
        &self,
        name: &str,
        guests: Guests,
        work: impl Fn(Bytes) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Served> + Send + 'static,
    {
        let call: Call = Arc::new(move |body| Box::pin(work(body)));
        let mut calls = self.0.calls.write().unwrap_or_else(PoisonError::into_inner);
        calls.insert(name.to_owned(), (call, guests));
    }

    /// Serves streams whose tickets begin with that byte; the work gets the rest of the ticket.
    pub fn on_ticket<F>(&self, kind: u8, work: impl Fn(Bytes) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Flights, String>> + Send + 'static,
    {
        let flight: Flight = Arc::new(move |ticket| Box::pin(work(ticket)));
        self.0.flights.write().unwrap_or_else(PoisonError::into_inner).insert(kind, flight);
    }

    /// Listens until the shutdown.
    ///
    /// # Errors
    /// [`PeerServerError`].
    pub async fn serve(
        self,
        listener: TcpListener,
        tls: Option<PeerTls>,
        shutdown: Shutdown,
    ) -> Result<(), PeerServerError> {
        let mut server = Server::builder()
            .tcp_nodelay(true)
            .http2_keepalive_interval(Some(ALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(ALIVE_WAIT))
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES);
        if let Some(tls) = tls {
            server = server.tls_config(tls.server())?;
        }
        let service = FlightServiceServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        // Streams such as a tail never end by themselves: whoever is connected is let go.
        let serving = server.add_service(service).serve_with_incoming(incoming);
        tokio::select! {
            ended = serving => Ok(ended?),
            () = shutdown.wait() => Ok(()),
        }
    }

    /// Whether the caller may say this.
    fn admit(&self, headers: &MetadataMap, guests: Guests) -> Result<(), Status> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let protocol = text(PROTOCOL_HEADER).and_then(|version| version.parse::<u32>().ok());
        let ours = self.0.peers.protocol();
        if protocol.is_none_or(|version| version.abs_diff(ours) > 1) {
            return Err(Status::permission_denied(format!(
                "we speak version {ours} of the nodes' protocol, you speak {}: upgrade one step at a time",
                protocol.map_or("none".to_owned(), |version| version.to_string())
            )));
        }
        let theirs = text(CLUSTER_HEADER).unwrap_or(NO_CLUSTER);
        match self.0.peers.cluster() {
            _ if theirs == NO_CLUSTER && guests == Guests::Everybody => Ok(()),
            Some(ours) if ours == theirs => match guests {
                Guests::Members => self.hear(text(NODE_HEADER).and_then(NodeId::parse)),
                Guests::Everybody => Ok(()),
            },
            // Which cluster it is, is no business of strangers.
            Some(_) => Err(Status::permission_denied(format!(
                "this is another cluster than {theirs}: check --join, or start with an empty --data-dir"
            ))),
            None => Err(Status::unavailable(STARTING)),
        }
    }

    /// Whether a node is heard: not one that was removed, nor one that says no name where all do.
    fn hear(&self, node: Option<NodeId>) -> Result<(), Status> {
        let is_removed = |node: NodeId| self.0.is_removed.get().is_some_and(|is| is(node));
        match node {
            Some(node) if is_removed(node) => Err(Status::permission_denied(format!(
                "node {node} {REMOVED}: start it with an empty --data-dir"
            ))),
            None if self.0.all_named.get().is_some_and(|all| all()) => {
                Err(Status::permission_denied(
                    "every node of this cluster says which one it is, and you do not: start this node with the program that the other nodes have; if it was removed from the cluster, with an empty --data-dir",
                ))
            }
            _ => Ok(()),
        }
    }
}

type Answers<T> = Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

fn not_spoken<T>(what: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!("nodes do not speak {what}: use the HTTP API")))
}

#[tonic::async_trait]
impl FlightService for PeerServer {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Flights;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn do_action(
        &self,
        request: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        let (headers, _, Action { r#type: name, body }) = request.into_parts();
        let known = {
            let calls = self.0.calls.read().unwrap_or_else(PoisonError::into_inner);
            calls.get(&name).map(|(call, guests)| (call.clone(), *guests))
        };
        let guests = known.as_ref().map_or(Guests::Members, |(_, guests)| *guests);
        self.admit(&headers, guests)?;
        let Some((call, _)) = known else {
            return Err(Status::unavailable(format!("{NOT_DONE} {name:?} (yet)")));
        };
        let body = call(body).await.map_err(Status::failed_precondition)?;
        let answer = stream::once(async move { Ok(arrow_flight::Result { body }) });
        Ok(Response::new(answer.boxed()))
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let (headers, _, Ticket { mut ticket }) = request.into_parts();
        self.admit(&headers, Guests::Members)?;
        let kind = ticket.first().copied().unwrap_or_default();
        let flight = {
            let flights = self.0.flights.read().unwrap_or_else(PoisonError::into_inner);
            flights.get(&kind).cloned()
        };
        let Some(flight) = flight else {
            return Err(Status::unavailable(format!("{NOT_SERVED} {kind} (yet)")));
        };
        let rest = ticket.split_off(1.min(ticket.len()));
        Ok(Response::new(flight(rest).await.map_err(Status::failed_precondition)?))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        not_spoken("handshakes")
    }

    async fn list_flights(
        &self,
        _: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        not_spoken("lists of flights")
    }

    async fn get_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        not_spoken("flight infos")
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        not_spoken("polling")
    }

    async fn get_schema(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        not_spoken("schemas")
    }

    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        not_spoken("puts")
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        not_spoken("lists of actions")
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        not_spoken("exchanges")
    }
}

#[cfg(test)]
mod tests {
    use platform::clock::Clock;
    use tonic::metadata::MetadataValue;

    use super::super::PROTOCOL;
    use super::*;

    #[test]
    fn neighbours_of_one_version_apart_are_heard_and_nobody_else() {
        let server = |protocol: u32| {
            let peers = Peers::speaking(protocol, Clock::system(), None);
            peers.belong_to("one");
            PeerServer::new(peers)
        };
        let admit = |ours: u32, version: Option<u32>| {
            let mut headers = MetadataMap::new();
            headers.insert(CLUSTER_HEADER, MetadataValue::from_static("one"));
            if let Some(version) = version {
                headers.insert(PROTOCOL_HEADER, MetadataValue::from(version));
            }
            server(ours).admit(&headers, Guests::Members)
        };
        for ours in [PROTOCOL - 1, PROTOCOL] {
            for version in ours - 1..=ours + 1 {
                assert!(admit(ours, Some(version)).is_ok(), "{version}");
            }
            for version in [None, Some(ours - 2), Some(ours + 2)] {
                let refused = admit(ours, version).unwrap_err();
                assert!(refused.message().contains("one step at a time"), "{version:?}: {refused}");
            }
        }
    }
}
