//! Any bytes as the body of a request, at every door over HTTP: the first byte says at which. Each
//! is answered in words (2xx, 4xx), and what comes behind some of them is stored.
#![no_main]

use std::cell::RefCell;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use cluster::catalog::Catalog;
use cluster::queue::Queue as _;
use ingest::doors::{Audience, Doors, IngestState, translated};
use ingest::metrics::IngestMetrics;
use ingest::partition::{Partition, PartitionSettings};
use ingest::route::Partitions;
use libfuzzer_sys::fuzz_target;
use model::partition::PartitionId;
use platform::clock::Clock;
use platform::disk::Disk;
use platform::telemetry::Metrics;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

/// Requests of one node; then its folder begins anew.
const REQUESTS_MAX: u32 = 20_000;
/// Of so many requests one has a good one behind it.
const BESIDE_EVERY: u32 = 16;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// Address, type and packing of each.
const DOORS: [(&str, &str, &str); 15] = [
    ("/api/v1/ingest", JSON, ""),
    ("/api/v1/ingest?service=a", "text/plain", ""),
    ("/api/v1/ingest", JSON, "zstd"),
    ("/api/v1/batches", "application/x-sawlog-batch", ""),
    ("/es/_bulk", JSON, ""),
    ("/es/logs/_doc/1", JSON, ""),
    ("/v1/logs", JSON, ""),
    ("/v1/logs", PROTOBUF, ""),
    ("/loki/api/v1/push", JSON, ""),
    ("/loki/api/v1/push", PROTOBUF, "snappy"),
    ("/services/collector", JSON, ""),
    ("/services/collector/raw?channel=c", "text/plain", ""),
    ("/gelf", JSON, ""),
    ("/upload", "application/vnd.fdo.journal", ""),
    ("/es/_bulk", JSON, "gzip"),
];

struct Node {
    _folder: tempfile::TempDir,
    runtime: Runtime,
    partition: Partition,
    router: Router,
    requests: u32,
}

impl Node {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        // In memory, where a sync costs nothing.
        let memory = std::path::Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a folder");
        let metrics = IngestMetrics::new(&Metrics::default());
        let settings = PartitionSettings { disk_free_bytes_min: 0, ..PartitionSettings::default() };
        let _inside = runtime.enter();
        let (clock, disk) = (Clock::system(), Disk::default());
        let partition = Partition::open(
            folder.path(),
            PartitionId(0),
            disk,
            clock.clone(),
            settings,
            metrics.clone(),
        )
        .expect("a partition");
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).expect("a catalog");
        let state = IngestState::new(Partitions::new(vec![partition.clone()]), clock, metrics);
        let doors = Doors::open(state, catalog, folder.path(), &Disk::default()).expect("doors");
        let router = translated(doors.router(), Audience::All);
        drop(_inside);
        Self { _folder: folder, runtime, partition, router, requests: 0 }
    }

    fn post(&self, door: (&str, &str, &str), body: Vec<u8>) -> StatusCode {
        let (path, kind, packing) = door;
        let mut request = Request::post(path).header("content-type", kind);
        if !matches!(packing, "" | "snappy") {
            request = request.header("content-encoding", packing);
        }
        let request = request.body(Body::from(body)).expect("a request");
        let answer = self.runtime.block_on(self.router.clone().oneshot(request));
        answer.expect("an answer").status()
    }
}

/// What is behind the packing is what is worth changing.
fn packed(packing: &str, body: &[u8]) -> Vec<u8> {
    match packing {
        "zstd" => zstd::bulk::compress(body, 1).expect("it is packed"),
        "snappy" => snap::raw::Encoder::new().compress_vec(body).expect("it is packed"),
        _ => body.to_vec(),
    }
}

thread_local! {
    static NODE: RefCell<Node> = RefCell::new(Node::start());
}

fuzz_target!(|bytes: &[u8]| {
    let Some((door, body)) = bytes.split_first() else { return };
    let door = DOORS[usize::from(*door) % DOORS.len()];
    NODE.with_borrow_mut(|node| {
        node.requests += 1;
        if node.requests > REQUESTS_MAX {
            *node = Node::start();
        }
        let status = node.post(door, packed(door.2, body));
        assert!(status.is_success() || status.is_client_error(), "{door:?}: {status}");
        if !node.requests.is_multiple_of(BESIDE_EVERY) {
            return;
        }
        let before = *node.partition.committed().borrow();
        let status = node.post(DOORS[0], b"{\"msg\":\"beside\"}".to_vec());
        assert!(status.is_success(), "{status}");
        assert_eq!(node.partition.committed().borrow().0, before.0 + 1);
    });
});
