//! OTLP over gRPC: the one call of its log service, written by hand on tonic's codec.

use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use bytes::{Buf as _, BufMut as _, Bytes};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use model::error::Kind;
use model::limits::REQUEST_BYTES_MAX;
use platform::http::{Access, ApiError};
use platform::shutdown::Shutdown;
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status};
use tower_service::Service;

use super::message::{self, Delay, Detail, RetryInfo};
use super::{answer, decode, record};
use crate::doors::IngestState;
use crate::doors::body::{self, Packing};
use crate::doors::parcel::{self, Parcel};

pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
/// How a request says that its message is packed.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// Exports of one connection at one time.
const STREAMS_MAX: u32 = 64;
/// How long exports may go on after the wish to stop.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// OTLP's log service.
#[derive(Debug, Clone)]
pub struct LogsService {
    ingest: IngestState,
    access: Access,
}

impl NamedService for LogsService {
    const NAME: &'static str = "opentelemetry.proto.collector.logs.v1.LogsService";
}

impl LogsService {
    /// For those whom `access` admits.
    pub(in crate::doors) fn new(ingest: IngestState, access: Access) -> Self {
        Self { ingest, access }
    }

    /// Serves until the wish to stop.
    ///
    /// # Errors
    /// As the system says.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: Shutdown,
    ) -> Result<(), tonic::transport::Error> {
        let clock = self.ingest.0.clock.clone();
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let wish = shutdown.clone();
        let served = tonic::transport::Server::builder()
            .max_concurrent_streams(STREAMS_MAX)
            .add_service(self)
            .serve_with_incoming_shutdown(incoming, async move { wish.wait().await });
        tokio::select! {
            served = served => served,
            () = async { shutdown.wait().await; clock.sleep(DRAIN_TIME).await } => Ok(()),
        }
    }

    async fn call(self, request: Request<Body>) -> Response<Body> {
        if request.uri().path() != EXPORT {
            return Status::unimplemented("only the export of logs is served here").into_http();
        }
        if let Err(error) = self.access.knows_token(request.headers()) {
            return status(error).into_http();
        }
        let request = match unpacked(request).await {
            Ok(request) => request,
            Err(status) => return status.into_http(),
        };
        let mut grpc = Grpc::new(Raw).max_decoding_message_size(REQUEST_BYTES_MAX);
        let mut response = grpc.unary(Export(self.ingest), request).await;
        // A message over the bound is said so by the codec; the standard of OTLP has another word.
        let code = HeaderValue::from(Code::OutOfRange as i32);
        if response.headers().get(Status::GRPC_STATUS) == Some(&code) {
            let code = HeaderValue::from(Code::ResourceExhausted as i32);
            response.headers_mut().insert(Status::GRPC_STATUS, code);
        }
        response
    }
}

/// The request with its message unpacked, if it is packed. One message is all it holds: a flag,
/// four bytes of length, and so many bytes.
async fn unpacked(request: Request<Body>) -> Result<Request<Body>, Status> {
    let (mut parts, body) = request.into_parts();
    let packing = match parts.headers.remove(ENCODING) {
        None => return Ok(Request::from_parts(parts, body)),
        Some(name) if name == "identity" => return Ok(Request::from_parts(parts, body)),
        Some(name) if name == "gzip" => Packing::Gzip,
        Some(name) if name == "zstd" => Packing::Zstd,
        Some(name) => {
            let words = format!("messages packed as {name:?} are not read here: gzip, zstd");
            return Err(Status::unimplemented(words));
        }
    };
    let bytes = body::read(axum::body::Body::new(body)).await.map_err(status)?;
    let frame = |bytes| Request::from_parts(parts, Body::new(axum::body::Body::from(bytes)));
    let Some((head, _)) = bytes.split_first_chunk::<5>() else { return Ok(frame(bytes)) };
    if head.first() == Some(&0) {
        return Ok(frame(bytes));
    }
    let unpack = move || packing.unpack(bytes.slice(5..));
    let lost = |_| Status::internal("the message could not be unpacked");
    let plain = tokio::task::spawn_blocking(unpack).await.map_err(lost)?.map_err(status)?;
    let length = u32::try_from(plain.len()).map_err(|_| Status::internal("over four bytes"))?;
    let length = length.to_be_bytes();
    let parts = [[0].as_slice(), &length, &plain];
    Ok(frame(parts.concat().into()))
}

impl Service<Request<Body>> for LogsService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().call(request).map(Ok).boxed()
    }
}

/// The call itself.
struct Export(IngestState);

impl UnaryService<Bytes> for Export {
    type Response = Vec<u8>;
    type Future = BoxFuture<'static, Result<tonic::Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let state = self.0.clone();
        async move {
            let (metadata, _, body) = request.into_parts();
            let stored = export(state, &metadata.into_headers(), body).await.map_err(status)?;
            Ok(tonic::Response::new(stored.encode_to_vec()))
        }
        .boxed()
    }
}

async fn export(
    state: IngestState,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<message::Response, ApiError> {
    let parcel = Parcel::new(state.0.clock.now(), parcel::key(headers, &body));
    let parse = move || record::pack(&decode(body)?, parcel);
    Ok(answer(state.take("otlp_grpc", parse).await?))
}

/// A refusal in gRPC's words, with the time after which to come again.
pub(super) fn status(error: ApiError) -> Status {
    let code = match (error.detail.code.as_str(), error.kind) {
        ("unauthorized", _) => Code::Unauthenticated,
        ("forbidden", _) => Code::PermissionDenied,
        ("too_large", _) | (_, Kind::Overloaded) => Code::ResourceExhausted,
        (_, Kind::Invalid) => Code::InvalidArgument,
        (_, Kind::Moved | Kind::Unavailable) => Code::Unavailable,
        (_, Kind::Corrupt | Kind::Bug) => Code::Internal,
    };
    let retry_after_s = error.retry_after_s;
    let detail = error.into_detail();
    let text = match detail.hint {
        Some(hint) => format!("{}; {hint}", detail.message),
        None => detail.message,
    };
    let Some(seconds) = retry_after_s else { return Status::new(code, text) };
    let delay = Delay { seconds: i64::try_from(seconds).unwrap_or(i64::MAX) };
    let retry = Detail {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: RetryInfo { retry_delay: Some(delay) }.encode_to_vec(),
    };
    let details =
        message::Status { code: code as i32, message: text.clone(), details: vec![retry] };
    Status::with_details(code, text, details.encode_to_vec().into())
}

/// Messages as bytes: they are read away from the event loop.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
