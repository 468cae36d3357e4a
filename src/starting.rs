//! What a node answers while it starts, which lasts as long as its cluster is not there: that it lives,
//! and to everything else that it is to be asked again.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use model::error::Kind;
use platform::clock::Clock;
use platform::http::{Access, ApiError};
use platform::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::node::reachable;
use crate::tell;

/// How long what was asked meanwhile may take to be answered when the node has started.
const END_WAIT: Duration = Duration::from_secs(1);

/// Answers at the node's address until the node does.
pub(crate) struct Starting {
    done: Shutdown,
    serving: JoinHandle<io::Result<()>>,
    listener: std::net::TcpListener,
}

impl Starting {
    /// Answers from now on, and says so on the terminal: whoever started the node may wait for long.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) fn begin(listener: TcpListener, access: &Access) -> io::Result<Self> {
        let address = reachable(listener.local_addr()?);
        tell(&format!("serving at http://{address}, not ready yet: reading what is there"));
        let listener = listener.into_std()?;
        let shared = TcpListener::from_std(listener.try_clone()?)?;
        let done = Shutdown::default();
        let served = platform::http::serve(shared, access.guard(router()), done.clone());
        Ok(Self { done, serving: tokio::spawn(served), listener })
    }

    /// Leaves who comes from now on to the node.
    ///
    /// # Errors
    /// As the system says.
    pub(crate) async fn end(self, clock: &Clock) -> io::Result<TcpListener> {
        self.done.trigger();
        // Nobody new is let in by now; who is slow to ask may be told later.
        drop(clock.timeout(END_WAIT, self.serving).await);
        TcpListener::from_std(self.listener)
    }
}

fn router() -> Router {
    let not_ready = || async { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") };
    let not_yet = || async {
        let words = "this node is starting: it reads what it has, or waits for the other nodes of its cluster";
        ApiError::new(Kind::Unavailable, words).hint(
            "what it waits for is in its log; a cluster needs a majority of the nodes that vote: start those too",
        )
    };
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(not_ready))
        .route("/ready", get(not_ready))
        .fallback(not_yet)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    /// The first line and the rest of an answer.
    async fn answer_to(address: std::net::SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (first, rest) = answer.split_once("\r\n").unwrap();
        (first.to_owned(), rest.to_owned())
    }

    #[tokio::test]
    async fn a_node_that_starts_says_so_and_keeps_its_address_for_the_node() {
        let listener = platform::http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let starting = Starting::begin(listener, &Access::new(None, false)).unwrap();
        assert_eq!(answer_to(address, "/livez").await.0, "HTTP/1.1 200 OK");
        let unavailable = "HTTP/1.1 503 Service Unavailable";
        assert_eq!(answer_to(address, "/readyz").await.0, unavailable);
        let (first, rest) = answer_to(address, "/api/v1/cluster").await;
        assert!(first == unavailable && rest.contains("this node is starting"), "{first} {rest}");
        assert!(rest.to_lowercase().contains("retry-after: 1"), "{rest}");
        let listener = starting.end(&Clock::system()).await.unwrap();
        let node = Router::new().fallback(|| async { "here" });
        let done = Shutdown::default();
        let serving = tokio::spawn(platform::http::serve(listener, node, done.clone()));
        let (first, rest) = answer_to(address, "/api/v1/cluster").await;
        assert!(first.ends_with("200 OK") && rest.ends_with("here"), "{first} {rest}");
        done.trigger();
        serving.await.unwrap().unwrap();
    }
}
