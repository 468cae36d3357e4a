//! The shipper's figures over HTTP, for Prometheus. There are two paths, so hyper serves them alone: with a
//! router, which speaks HTTP/2 as well, the program would be larger on every server.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use platform::clock::Clock;
use platform::shutdown::Shutdown;
use platform::telemetry::Metrics;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::operate::until_had;
use crate::status::Control;

/// So many may ask at once; more are sent away.
const ASKERS_MAX: usize = 16;
/// How long one may take to ask and to read the answer.
const ASKER_TIME_MAX: Duration = Duration::from_secs(10);
/// A listener that has no descriptor left tries again after that.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `/metrics` in Prometheus' text, and `/livez`, until the shipper stops. An address that is taken,
/// or not ours, is told and tried again: files are shipped whoever looks on.
pub fn serve(
    address: SocketAddr,
    metrics: Metrics,
    control: Control,
    clock: Clock,
    shutdown: Shutdown,
) {
    tokio::spawn(async move {
        let bound = until_had(
            &clock,
            &shutdown,
            || TcpListener::bind(address),
            |error| {
                let why = format!(
                    "figures are not served at {address}, tried again every few seconds: {error}"
                );
                tracing::warn!("{why}");
                control.listener(Some(why));
            },
        );
        let Some(listener) = bound.await else { return };
        control.listener(None);
        tracing::info!(%address, "figures are served");
        answer_all(&listener, &metrics, &clock, &shutdown).await;
    });
}

async fn answer_all(listener: &TcpListener, metrics: &Metrics, clock: &Clock, shutdown: &Shutdown) {
    let places = Arc::new(Semaphore::new(ASKERS_MAX));
    loop {
        let accepted = tokio::select! {
            () = shutdown.wait() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            clock.sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let (metrics, clock) = (metrics.clone(), clock.clone());
        tokio::spawn(async move {
            if clock.timeout(ASKER_TIME_MAX, answer(stream, metrics)).await.is_none() {
                tracing::debug!("who asked for the figures took too long");
            }
            drop(place);
        });
    }
}

/// Answers one request.
async fn answer(stream: TcpStream, metrics: Metrics) {
    let service = service_fn(move |request: Request<Incoming>| {
        ready(Ok::<_, Infallible>(figures(&request, &metrics)))
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "the figures were not read");
    }
}

fn figures(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let asked = matches!(*request.method(), Method::GET | Method::HEAD);
    let (status, text) = match request.uri().path() {
        "/metrics" if asked => (StatusCode::OK, metrics.encode()),
        "/livez" if asked => (StatusCode::OK, "ok".to_owned()),
        _ => (StatusCode::NOT_FOUND, "ask for /metrics or /livez\n".to_owned()),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// The address where figures are served.
    async fn served() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (metrics, clock) = (Metrics::default(), Clock::system());
        let _counted = crate::metrics::Metrics::new(&metrics);
        tokio::spawn(async move {
            answer_all(&listener, &metrics, &clock, &Shutdown::default()).await;
        });
        address
    }

    /// All that is said to this.
    async fn answer_to(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Who is sent away may hear of it while it asks.
        stream.write_all(request.as_bytes()).await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn silent(address: SocketAddr, count: usize) -> Vec<TcpStream> {
        let mut streams = Vec::new();
        for _ in 0..count {
            streams.push(TcpStream::connect(address).await.unwrap());
        }
        streams
    }

    #[tokio::test]
    async fn figures_are_answered_beside_those_who_ask_for_nothing() {
        let address = served().await;
        let _silent = silent(address, ASKERS_MAX / 2).await;
        for (request, status, word) in [
            ("GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n", 200, "shipper_records_total 0"),
            ("HEAD /metrics HTTP/1.1\r\nhost: a\r\n\r\n", 200, "text/plain"),
            ("GET /livez HTTP/1.0\r\n\r\n", 200, "ok"),
            ("GET /else HTTP/1.1\r\nhost: a\r\n\r\n", 404, "/metrics or /livez"),
            ("POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", 404, "/metrics"),
            ("GET /metrics HTTP/1.1\r\nno header\r\n\r\n", 400, ""),
        ] {
            let answer = answer_to(address, request).await;
            let said = answer.split(' ').nth(1) == Some(status.to_string().as_str());
            assert!(said && answer.contains(word), "{request}: {answer}");
        }
    }

    #[tokio::test]
    async fn who_comes_when_too_many_ask_is_sent_away() {
        let address = served().await;
        let _silent = silent(address, ASKERS_MAX).await;
        assert_eq!(answer_to(address, "GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await, "");
    }
}
