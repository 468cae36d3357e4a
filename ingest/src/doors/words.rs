//! Refusals in the words of the protocol that was spoken, wherever they were made.

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use model::wire::ErrorDetail;

use super::{elastic, hec, loki, otlp};

/// What clients of Elasticsearch look for before they go on.
const PRODUCT: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-elastic-product"), HeaderValue::from_static("Elasticsearch"));

/// Whom a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everybody; the path tells the protocol.
    All,
    /// Clients of Elasticsearch, at the root.
    Elastic,
}

/// Translates what the routes below refuse. Belongs around everything else.
pub fn translated(router: Router, audience: Audience) -> Router {
    let layer = axum::middleware::from_fn_with_state(audience, translate);
    Router::new().fallback_service(router).layer(layer)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Own,
    Elastic,
    Loki,
    Otlp { is_protobuf: bool },
    Hec { has_token: bool },
}

impl Protocol {
    fn of(request: &Request, audience: Audience) -> Self {
        let path = request.uri().path();
        let below = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match audience {
            Audience::Elastic => Self::Elastic,
            Audience::All if below("/es") => Self::Elastic,
            Audience::All if below("/loki") || below("/api/prom") => Self::Loki,
            Audience::All if path == "/v1/logs" || path == "/otlp/v1/logs" => {
                Self::Otlp { is_protobuf: otlp::is_protobuf(request.headers()) }
            }
            Audience::All if below("/services/collector") => {
                let query = request.uri().query();
                Self::Hec { has_token: hec::has_token(request.headers(), query) }
            }
            Audience::All => Self::Own,
        }
    }
}

async fn translate(State(audience): State<Audience>, request: Request, next: Next) -> Response {
    let protocol = Protocol::of(&request, audience);
    let mut response = next.run(request).await;
    if protocol == Protocol::Own {
        return response;
    }
    let status = response.status();
    let detail = response.extensions().get::<ErrorDetail>().cloned();
    let is_refusal = status.is_client_error() || status.is_server_error();
    // Without a body the router said it; with one that is not ours the door itself did.
    let is_bare = response.body().size_hint().exact() == Some(0);
    if is_refusal && (detail.is_some() || is_bare) {
        response = reworded(protocol, response, status, detail.as_ref());
    }
    if protocol == Protocol::Elastic {
        let (name, value) = PRODUCT;
        response.headers_mut().insert(name, value);
    }
    response
}

fn reworded(
    protocol: Protocol,
    response: Response,
    status: StatusCode,
    detail: Option<&ErrorDetail>,
) -> Response {
    const JSON: &str = "application/json";
    let (status, kind, body) = match protocol {
        Protocol::Own => return response,
        Protocol::Elastic => {
            (status, JSON, elastic::refusal(status, detail).to_string().into_bytes())
        }
        Protocol::Loki => match detail {
            Some(detail) => (status, "text/plain; charset=utf-8", loki::refusal(detail).into()),
            None => return response,
        },
        Protocol::Otlp { is_protobuf } => {
            let (kind, body) = otlp::refusal(status, detail, is_protobuf);
            (status, kind, body)
        }
        Protocol::Hec { has_token } => {
            let (status, body) = hec::refusal(status, has_token);
            (status, JSON, body.to_string().into_bytes())
        }
    };
    let (mut parts, _) = response.into_parts();
    parts.status = status;
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Response::from_parts(parts, Body::from(body))
}
