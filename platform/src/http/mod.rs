//! HTTP on the serving side: errors as answers, who may come in, listening. Only here are status
//! codes known.

mod requests;
mod slashed;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use model::error::Kind;
use model::wire::{ErrorBody, ErrorDetail};
use tokio::net::TcpListener;

use crate::shutdown::Shutdown;
pub use requests::{RequestId, named};
pub use slashed::Slashed;

/// A refusal, as it goes out.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// What the client should do about it.
    pub kind: Kind,
    /// The body; an empty code is filled in from the kind.
    pub detail: Box<ErrorDetail>,
    /// Seconds after which to come again.
    pub retry_after_s: Option<u64>,
}

impl ApiError {
    /// A refusal with the kind's own code.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let detail = ErrorDetail { message: message.into(), ..ErrorDetail::default() };
        let detail = Box::new(detail);
        let retry = matches!(kind, Kind::Overloaded | Kind::Unavailable).then_some(1);
        Self { kind, detail, retry_after_s: retry }
    }

    /// With one of the codes of docs/api.md.
    #[must_use]
    pub fn code(mut self, code: &str) -> Self {
        code.clone_into(&mut self.detail.code);
        self
    }

    /// With advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.detail.hint = Some(hint.into());
        self
    }

    /// The body, its code filled in: for errors that come inside a stream.
    #[must_use]
    pub fn into_detail(mut self) -> ErrorDetail {
        if self.detail.code.is_empty() {
            let code = match self.kind {
                Kind::Invalid => "invalid_request",
                Kind::Overloaded => "overloaded",
                Kind::Moved => "sequence",
                Kind::Unavailable => "unavailable",
                Kind::Corrupt => "corrupt",
                Kind::Bug => "internal",
            };
            code.clone_into(&mut self.detail.code);
        }
        self.detail.request_id = RequestId::current().map(|id| id.to_string());
        *self.detail
    }

    /// The status it goes out with.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match (self.detail.code.as_str(), self.kind) {
            ("unauthorized", _) => StatusCode::UNAUTHORIZED,
            ("forbidden", _) => StatusCode::FORBIDDEN,
            ("not_found", _) => StatusCode::NOT_FOUND,
            ("too_large", _) => StatusCode::PAYLOAD_TOO_LARGE,
            ("not_acceptable", _) => StatusCode::NOT_ACCEPTABLE,
            ("method_not_allowed", _) => StatusCode::METHOD_NOT_ALLOWED,
            ("unsupported_media_type", _) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ("invalid_value", _) => StatusCode::UNPROCESSABLE_ENTITY,
            ("cancelled" | "name_taken", _) => StatusCode::CONFLICT,
            ("sequence", _) | (_, Kind::Moved) => StatusCode::CONFLICT,
            ("timeout", _) => StatusCode::GATEWAY_TIMEOUT,
            (_, Kind::Invalid) => StatusCode::BAD_REQUEST,
            (_, Kind::Overloaded) => StatusCode::TOO_MANY_REQUESTS,
            (_, Kind::Unavailable) => StatusCode::SERVICE_UNAVAILABLE,
            (_, Kind::Corrupt | Kind::Bug) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry_after_s) = (self.status(), self.retry_after_s);
        let detail = self.into_detail();
        let body = ErrorBody { error: detail.clone() };
        let mut response = (status, axum::Json(body)).into_response();
        // For layers that say it in other words.
        response.extensions_mut().insert(detail);
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            let challenge =
                HeaderValue::from_static("Basic realm=\"Sawlog: the token is the password\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// Who may come in.
#[derive(Debug, Clone)]
pub struct Access {
    token: Option<Arc<str>>,
    open: bool,
}

impl Access {
    /// Those who carry the token. Without one: programs on this machine, unless `insecure`.
    #[must_use]
    pub fn new(token: Option<String>, insecure: bool) -> Self {
        Self { token: token.map(Arc::from), open: insecure }
    }

    /// Puts the check before every route but `/livez`.
    pub fn guard<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        router.layer(axum::middleware::from_fn_with_state(self.clone(), check))
    }

    /// Whether a request of a client that is no browser may come in: it shows the token, if there
    /// is one.
    ///
    /// # Errors
    /// The refusal.
    pub fn knows_token(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        self.shows_token(headers, &Uri::from_static("/"))
    }

    fn shows_token(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
        let Some(token) = &self.token else { return Ok(()) };
        let is_right = |given: &String| same(given.as_bytes(), token.as_bytes());
        match presented(headers, uri).iter().any(is_right) {
            true => Ok(()),
            false => Err(ApiError::new(Kind::Invalid, "this node wants a token")
                .code("unauthorized")
                .hint("send `Authorization: Bearer TOKEN`, the text in the node's --token-file")),
        }
    }

    fn admits(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
        self.shows_token(headers, uri)?;
        if self.token.is_some() || self.open {
            return Ok(());
        }
        // Without a token only this machine may come in, and a web page elsewhere could make the
        // browser here ask on its behalf: by a name that resolves to us, or across origins.
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        // HTTP/2 says it in the address.
        let named = || uri.authority().map(|authority| authority.as_str());
        let host = text(header::HOST).or_else(named).unwrap_or_default();
        if !is_local(host) {
            return Err(ApiError::new(
                Kind::Invalid,
                format!("{host:?} is no name of this machine"),
            )
            .code("forbidden")
            .hint("without a token a node answers to localhost and loopback addresses only"));
        }
        match text(header::ORIGIN).and_then(|origin| origin.split_once("://")) {
            Some((_, origin)) if origin != host => {
                Err(ApiError::new(Kind::Invalid, "asked by a page of another site")
                    .code("forbidden"))
            }
            _ => Ok(()),
        }
    }
}

async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    if request.uri().path() != "/livez"
        && let Err(error) = access.admits(request.headers(), request.uri())
    {
        return error.into_response();
    }
    next.run(request).await
}

/// What a request shows as its token, in the ways of the protocols: `Bearer TOKEN`,
/// `Basic user:TOKEN`, `Splunk TOKEN`, and `ApiKey` with the token itself or, as clients of
/// Elasticsearch write it, in base64 behind an id; `?token=TOKEN` at a collector of events.
fn presented(headers: &HeaderMap, uri: &Uri) -> Vec<String> {
    // Collectors of events may be told it in the address; nothing else is.
    let query = uri.query().filter(|_| uri.path().starts_with("/services/collector"));
    if let Some(given) =
        query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("token=")))
    {
        return vec![given.to_owned()];
    }
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, rest)) = value.and_then(|value| value.split_once(' ')) else {
        return Vec::new();
    };
    let rest = rest.trim();
    let pair = || String::from_utf8(base64(rest)?).ok();
    let second = || pair()?.split_once(':').map(|(_, second)| second.to_owned());
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "splunk" => vec![rest.to_owned()],
        "basic" => second().into_iter().collect(),
        "apikey" => second().into_iter().chain([rest.to_owned()]).collect(),
        _ => Vec::new(),
    }
}

/// Decodes standard base64, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut count) = (0_u32, 0);
    for symbol in text.trim_end_matches('=').bytes() {
        let value = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// Compares without telling by its time how much was right.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else does.
    #[error("{0} is in use by another program: stop it, or choose another address with --listen")]
    InUse(SocketAddr),
    /// The system refuses.
    #[error("cannot listen on {address}")]
    Other {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Listens on an address.
///
/// # Errors
/// [`BindError`] says what to do.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(address),
        _ => BindError::Other { address, source },
    })
}

/// How long requests that were taken may go on after the wish to stop.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Serves until the wish to stop, then finishes what was taken, for ten seconds at most. Requests
/// know where they come from (`ConnectInfo<SocketAddr>` among their extensions).
///
/// # Errors
/// As the system says.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    // Small answers must not wait for the other side's acknowledgement (Nagle).
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    let wish = shutdown.clone();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, service)
        .with_graceful_shutdown(async move { wish.wait().await })
        .into_future();
    tokio::select! {
        served = served => served,
        () = async {
            shutdown.wait().await;
            crate::clock::Clock::system().sleep(DRAIN_TIME).await;
        } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(access: &Access, headers: &[(&str, &str)], expected: bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = header::HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.insert(name, value.parse().unwrap());
        }
        let uri = Uri::from_static("/");
        assert_eq!(access.admits(&map, &uri).is_ok(), expected, "{headers:?}");
    }

    #[test]
    fn a_token_in_the_address_counts_for_collectors_alone() {
        let access = Access::new(Some("secret123".to_owned()), false);
        let admits = |uri| access.admits(&HeaderMap::new(), &Uri::from_static(uri)).is_ok();
        assert!(admits("/services/collector/raw?channel=a&token=secret123"));
        assert!(!admits("/services/collector/raw?token=secret124"));
        assert!(!admits("/api/v1/query?token=secret123"));
    }

    #[test]
    fn a_token_is_wanted_in_either_form() {
        let access = Access::new(Some("secret123".to_owned()), false);
        check(&access, &[], false);
        check(&access, &[("authorization", "Bearer secret123")], true);
        check(&access, &[("authorization", "Bearer secret124")], false);
        check(&access, &[("authorization", "Basic eDpzZWNyZXQxMjM=")], true);
        check(&access, &[("authorization", "Basic %%%")], false);
        check(&access, &[("authorization", "ApiKey eDpzZWNyZXQxMjM=")], true);
        check(&access, &[("authorization", "ApiKey secret123")], true);
        check(&access, &[("authorization", "ApiKey eDpzZWNyZXQxMjQ=")], false);
        check(&access, &[("authorization", "Splunk secret123")], true);
        check(&access, &[("authorization", "Digest secret123")], false);
    }

    #[test]
    fn without_a_token_only_this_machine_comes_in() {
        let access = Access::new(None, false);
        check(&access, &[("host", "127.0.0.1:7410")], true);
        check(&access, &[("host", "localhost:7410")], true);
        check(&access, &[("host", "[::1]:7410")], true);
        check(&access, &[("host", "evil.example:7410")], false);
        check(&access, &[("host", "localhost:7410"), ("origin", "http://evil.example")], false);
        check(&access, &[("host", "localhost:7410"), ("origin", "http://localhost:7410")], true);
        check(&Access::new(None, true), &[("host", "logs.example")], true);
    }

    #[test]
    fn over_http_2_the_name_asked_for_is_in_the_address() {
        let access = Access::new(None, false);
        let admits = |uri| access.admits(&HeaderMap::new(), &Uri::from_static(uri)).is_ok();
        assert!(admits("http://127.0.0.1:7410/api/v1/query"));
        assert!(!admits("http://evil.example:7410/api/v1/query"));
        assert!(!admits("/api/v1/query"));
    }
}
