//! Every request has a name, which its answer, its errors and our own words about it carry; and
//! what the router refuses by itself has the shape of every other error.

use std::fmt;
use std::future::Future;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use model::error::Kind;
use tracing::Instrument as _;

use super::ApiError;

/// The header that names a request, in both directions.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Where is asked again and again whether a node is ready: that it is not is no failure.
const PROBES: [&str; 2] = ["/readyz", "/ready"];
/// Bytes of a name that a client may give.
const ID_BYTES_MAX: usize = 64;
/// Bytes of the router's own words that are kept in an error.
const WORDS_BYTES_MAX: usize = 4 << 10;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The name of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl RequestId {
    /// What the client calls it, if that is a word; a name of ours otherwise.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
        let is_word = |text: &&str| {
            let sign = |b: u8| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b);
            !text.is_empty() && text.len() <= ID_BYTES_MAX && text.bytes().all(sign)
        };
        match given.filter(is_word) {
            Some(given) => Self(given.to_owned()),
            None => Self(format!("{:016x}", crate::random::u64())),
        }
    }

    /// The request that is being answered here. Tasks that a handler spawns have none.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Does something as part of this request.
    pub async fn scope<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// Says something as part of this request.
    pub fn sync_scope<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }
}

/// Names every request and gives every refusal its shape. Belongs around everything else.
pub fn named(router: Router) -> Router {
    // Around the router, not around its routes: it says `Allow` behind those.
    Router::new().fallback_service(router).layer(axum::middleware::from_fn(name))
}

async fn name(request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let span = tracing::info_span!("request", %id, method = %request.method());
    let path = request.uri().path().to_owned();
    let answer = async {
        let response = shaped(next.run(request).await, &path).await;
        let is_probe = PROBES.contains(&path.as_str());
        if response.status().is_server_error() && !is_probe {
            tracing::warn!(status = response.status().as_u16(), path, "a request failed");
        }
        response
    };
    let mut response = id.clone().scope(answer.instrument(span)).await;
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// An answer whose error has the shape of all errors.
async fn shaped(response: Response, path: &str) -> Response {
    let status = response.status();
    let is_text = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    let is_refusal = status.is_client_error() || status.is_server_error();
    let is_ours = path.starts_with("/api/") || status == StatusCode::METHOD_NOT_ALLOWED;
    if !is_refusal || !is_text || !is_ours {
        return response;
    }
    let (parts, body) = response.into_parts();
    let words = to_bytes(body, WORDS_BYTES_MAX).await.unwrap_or_default();
    let words = String::from_utf8_lossy(&words).into_owned();
    let allowed = parts.headers.get(header::ALLOW);
    let mut answer = refusal(status, &words, allowed).into_response();
    *answer.status_mut() = status;
    if let Some(allowed) = allowed {
        answer.headers_mut().insert(header::ALLOW, allowed.clone());
    }
    answer
}

/// What the router's refusal means.
fn refusal(status: StatusCode, words: &str, allowed: Option<&HeaderValue>) -> ApiError {
    let said = |otherwise: &str| match words.trim() {
        "" => otherwise.to_owned(),
        words => words.to_owned(),
    };
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let error = ApiError::new(Kind::Invalid, "the route does not have this method");
            let error = error.code("method_not_allowed");
            match allowed.and_then(|allowed| allowed.to_str().ok()) {
                Some(allowed) => error.hint(format!("it has {allowed}")),
                None => error,
            }
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            let error = ApiError::new(Kind::Invalid, "the request is over the route's bound");
            error.code("too_large").hint("send less at a time")
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            ApiError::new(Kind::Invalid, said("the route does not take this kind of body"))
                .code("unsupported_media_type")
        }
        StatusCode::NOT_FOUND => {
            ApiError::new(Kind::Invalid, said("there is no such thing")).code("not_found")
        }
        status if status.is_client_error() => {
            ApiError::new(Kind::Invalid, said("the request is not understood"))
        }
        _ => ApiError::new(Kind::Bug, said("the answer failed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: bool) {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
        assert_eq!(RequestId::of(&headers).0 == given, expected, "{given:?}");
    }

    #[test]
    fn a_clients_name_is_kept_when_it_is_a_word() {
        check("4bf92f35-77b3.4da6", true);
        check("a b", false);
        check("", false);
        check("<script>", false);
        check(&"x".repeat(64), true);
        check(&"x".repeat(65), false);
    }

    #[test]
    fn names_of_ours_differ() {
        let none = HeaderMap::new();
        assert_ne!(RequestId::of(&none), RequestId::of(&none));
    }
}
