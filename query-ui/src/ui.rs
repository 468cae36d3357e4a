//! The page: the built files of `query-ui/web`, inside the program.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use model::error::Kind;
use platform::http::ApiError;
use rust_embed::RustEmbed;

/// What `make ui` built; empty when it was not run.
#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/web/dist"]
#[allow_missing = true]
struct Dist;

/// What is shown instead.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<title>Sawlog</title><h1>Sawlog is running</h1>\
<p>This build has no web page in it: run <code>make ui</code>, then build and start again.</p>\
<p>The HTTP API and the command line work without it.</p></html>";

/// Only our own scripts, styles and connections; nobody may put us into a frame.
const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; \
img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
form-action 'self'";

/// The first parts of paths that belong to programs.
const PROTOCOLS: [&str; 7] = ["api", "es", "gelf", "loki", "otlp", "services", "v1"];

/// Files that are smaller are sent as they are.
const GZIP_BYTES_MIN: usize = 1 << 10;

/// The page's files as they were compressed, by name; no more than the page has.
static COMPRESSED: Mutex<Option<HashMap<String, Bytes>>> = Mutex::new(None);

/// A file of the page; the page itself at every path that looks like none.
pub(crate) async fn page(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return not_found();
    }
    let path = request.uri().path().trim_start_matches('/');
    // A program that asks for what a protocol has and we do not must not take the page for a yes.
    if path.split('/').next().is_some_and(|first| PROTOCOLS.contains(&first)) {
        return not_found();
    }
    let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    let packed = wants_gzip(request.headers());
    let mut response = match (Dist::get(path), is_file) {
        (Some(file), true) => asset(path, &file, packed),
        (_, true) => return not_found(),
        (_, false) => match Dist::get("index.html") {
            Some(file) => asset("index.html", &file, packed),
            None => html(Body::from(NOT_BUILT)),
        },
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn not_found() -> Response {
    ApiError::new(Kind::Invalid, "there is nothing here").code("not_found").into_response()
}

fn html(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], body).into_response()
}

/// How a body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
}

fn wants_gzip(headers: &HeaderMap) -> Coding {
    let named = |text: &str| {
        text.split(',').any(|one| {
            let mut parts = one.split(';').map(str::trim);
            let gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
            gzip && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    };
    let accepted = headers.get_all(header::ACCEPT_ENCODING);
    match accepted.iter().any(|value| value.to_str().is_ok_and(named)) {
        true => Coding::Gzip,
        false => Coding::Identity,
    }
}

/// The file compressed, once for all askers; `None` when it cannot be.
fn compressed(path: &str, data: &[u8]) -> Option<Bytes> {
    let mut all = COMPRESSED.lock().unwrap_or_else(PoisonError::into_inner);
    let known = all.get_or_insert_with(HashMap::new);
    if let Some(bytes) = known.get(path) {
        return Some(bytes.clone());
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).ok()?;
    let bytes = Bytes::from(encoder.finish().ok()?);
    known.insert(path.to_owned(), bytes.clone());
    Some(bytes)
}

fn asset(path: &str, file: &rust_embed::EmbeddedFile, coding: Coding) -> Response {
    let kind = match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    };
    // The names of built assets hold a hash of what is in them.
    let keep = match path.starts_with("assets/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, keep)];
    let plain = || Bytes::copy_from_slice(&file.data);
    let wanted = coding == Coding::Gzip && file.data.len() >= GZIP_BYTES_MIN;
    let packed = wanted.then(|| compressed(path, &file.data)).flatten();
    let coding = packed.is_some().then_some([(header::CONTENT_ENCODING, "gzip")]);
    let vary = [(header::VARY, "accept-encoding")];
    let body = Body::from(packed.unwrap_or_else(plain));
    match coding {
        Some(coding) => (StatusCode::OK, headers, vary, coding, body).into_response(),
        None => (StatusCode::OK, headers, vary, body).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accepted: &str, expected: Coding) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, accepted.parse().expect("a header's value"));
        assert_eq!(wants_gzip(&headers), expected, "{accepted}");
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        check("gzip, deflate, br", Coding::Gzip);
        check("br;q=1.0, GZIP;q=0.5", Coding::Gzip);
        check("gzip;q=0", Coding::Identity);
        check("br", Coding::Identity);
    }

    #[tokio::test]
    async fn programs_are_not_given_the_page() {
        for (method, path, expected) in [
            ("GET", "/es/_cat/nodes", 404),
            ("GET", "/loki/api/v1/rules", 404),
            ("GET", "/services/collector/nothing", 404),
            ("GET", "/v1/traces", 404),
            ("POST", "/search", 404),
            ("GET", "/search", 200),
            ("GET", "/v1s", 200),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty());
            let response = page(request.expect("a request")).await;
            assert_eq!(response.status().as_u16(), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_file_is_compressed_once_and_whole() {
        let data = b"sawlog ".repeat(1000);
        let packed = compressed("a-test.js", &data).expect("it is compressed");
        assert!(packed.len() < data.len() / 10);
        let mut unpacked = Vec::new();
        std::io::Read::read_to_end(
            &mut flate2::read::GzDecoder::new(packed.as_ref()),
            &mut unpacked,
        )
        .expect("it is whole");
        assert_eq!(unpacked, data);
        assert_eq!(compressed("a-test.js", b"never looked at"), Some(packed));
    }
}
