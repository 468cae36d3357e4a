//! A node that takes everything, and remembers how far it is and how long lines were under way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::post;
use model::codec;
use model::wire::{BATCHES_PATH, BatchAnswer};
use tokio::runtime::Runtime;

/// What a line begins with that says when it was written, nanoseconds since 1970.
pub(crate) const WRITTEN: &str = "written ";

/// What came.
#[derive(Debug, Default)]
pub(crate) struct Came {
    /// The greatest end of a batch.
    pub(crate) bytes: AtomicU64,
    pub(crate) records: AtomicU64,
    /// Milliseconds from the writing of a line to our having it.
    pub(crate) delays_ms: Mutex<Vec<f64>>,
}

/// A running sink.
pub(crate) struct Sink {
    pub(crate) came: Arc<Came>,
    pub(crate) url: String,
    _runtime: Runtime,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let came = Arc::new(Came::default());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let bound = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = bound.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route(BATCHES_PATH, post(take))
            .layer(DefaultBodyLimit::disable())
            .with_state(came.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { came, url, _runtime: runtime }
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now_ns() -> u128 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("a clock after 1970").as_nanos()
}

async fn take(State(came): State<Arc<Came>>, body: Bytes) -> axum::Json<BatchAnswer> {
    let head = codec::head(&body).expect("a whole batch");
    let next = head.sequence.to;
    if head.record_count < 100 {
        let (_, batch) = codec::decode(&body).expect("a whole batch");
        for message in batch.messages.iter() {
            let written = message.strip_prefix(WRITTEN).and_then(|rest| rest.parse::<u128>().ok());
            if let Some(written) = written {
                #[expect(clippy::cast_precision_loss, reason = "for people")]
                let delay = now_ns().saturating_sub(written) as f64 / 1e6;
                came.delays_ms.lock().expect("nobody panics").push(delay);
            }
        }
    }
    came.bytes.fetch_max(next, Ordering::AcqRel);
    came.records.fetch_add(u64::from(head.record_count), Ordering::AcqRel);
    let accepted = u64::from(head.record_count);
    axum::Json(BatchAnswer { accepted, duplicate: false, next })
}
