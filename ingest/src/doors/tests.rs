//! The doors over real HTTP bodies: what is taken, what is kept as text, what is refused.

use std::io::Write as _;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use cluster::queue::Queue as _;
use model::batch::Sequence;
use model::partition::{Offset, PartitionId};
use model::record::POISON_FIELD;
use platform::disk::Disk;
use platform::telemetry::Metrics;
use proptest::prelude::*;
use tower::ServiceExt as _;

use super::*;
use crate::partition::{Partition, PartitionSettings};

pub(super) struct Fixture {
    _folder: tempfile::TempDir,
    partitions: Vec<Partition>,
    pub(super) doors: Doors,
    router: Router,
}

pub(super) fn fixture() -> Fixture {
    fixture_on(&Disk::default())
}

/// Whose queue is on this disk.
pub(super) fn fixture_on(disk: &Disk) -> Fixture {
    fixture_by(Clock::system(), std::slice::from_ref(disk))
}

/// Whose doors go by this clock, and whose partitions are each on a disk of its own.
pub(super) fn fixture_by(clock: Clock, disks: &[Disk]) -> Fixture {
    let settings = PartitionSettings { disk_free_bytes_min: 0, ..PartitionSettings::default() };
    open(clock, disks.iter().map(|disk| (disk.clone(), settings.clone())).collect())
}

/// Whose partitions have these bounds, each its own.
pub(super) fn fixture_within(settings: &[PartitionSettings]) -> Fixture {
    let on_one = |settings: &PartitionSettings| (Disk::default(), settings.clone());
    open(Clock::system(), settings.iter().map(on_one).collect())
}

fn open(clock: Clock, parts: Vec<(Disk, PartitionSettings)>) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let metrics = IngestMetrics::new(&Metrics::default());
    let numbered = (0..).map(PartitionId).zip(parts);
    let partitions = numbered.map(|(id, (disk, settings))| {
        let (path, clock) = (folder.path().join(id.to_string()), Clock::system());
        Partition::open(&path, id, disk, clock, settings, metrics.clone()).unwrap()
    });
    let partitions = partitions.collect();
    before(folder, partitions, metrics, clock)
}

/// Doors that nobody came through yet, before these partitions.
fn before(
    folder: tempfile::TempDir,
    partitions: Vec<Partition>,
    metrics: IngestMetrics,
    clock: Clock,
) -> Fixture {
    let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
    let state = IngestState::new(Partitions::new(partitions.clone()), clock, metrics);
    let doors = Doors::open(state, catalog, folder.path(), &Disk::default()).unwrap();
    let router = translated(doors.router(), Audience::All);
    Fixture { _folder: folder, partitions, doors, router }
}

impl Fixture {
    /// The doors of another node, or of this one without its files: the partitions alone are the same.
    pub(super) fn other_node(&self) -> Self {
        let metrics = IngestMetrics::new(&Metrics::default());
        let folder = tempfile::tempdir().unwrap();
        before(folder, self.partitions.clone(), metrics, Clock::system())
    }

    pub(super) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, serde_json::Value) {
        let (status, body) = self.ask("POST", path, headers, body).await;
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let response = self.response(request).await;
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 64 << 20).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    pub(super) async fn response(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    /// Waits until so many records are stored: some doors answer nobody.
    pub(super) async fn stored(&self, count: u64) -> Vec<model::record::Record> {
        let mut committed = self.partitions[0].committed();
        let enough = committed.wait_for(|committed| committed.0 >= count);
        let waited = Clock::system().timeout(std::time::Duration::from_secs(20), enough).await;
        assert!(waited.is_some_and(|waited| waited.is_ok()), "{:?}", self.records());
        self.records()
    }

    /// Waits until it is so.
    pub(super) async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let mut committed = self.partitions[0].committed();
        while !is_so() {
            let change = committed.changed();
            let waited = Clock::system().timeout(std::time::Duration::from_secs(20), change).await;
            assert!(waited.is_some_and(|waited| waited.is_ok()), "{what}: {:?}", self.records());
        }
    }

    /// The labels of each batch.
    pub(super) fn labels(&self) -> Vec<model::stream::Labels> {
        self.batches().into_iter().map(|batch| batch.labels).collect()
    }

    /// How often something was refused for that.
    pub(super) fn refused(&self, reason: &'static str) -> u64 {
        self.doors.state.0.metrics.refusals.get_or_create(&vec![("reason", reason)]).get()
    }

    /// The index of each batch.
    pub(super) fn indexes(&self) -> Vec<String> {
        self.batches().into_iter().map(|batch| batch.index.to_string()).collect()
    }

    pub(super) fn records(&self) -> Vec<model::record::Record> {
        let rows = |batch: model::batch::Batch| {
            (0..batch.record_count()).filter_map(|row| batch.record(row)).collect::<Vec<_>>()
        };
        self.batches().into_iter().flat_map(rows).collect()
    }

    fn batches(&self) -> Vec<model::batch::Batch> {
        let mut batches = Vec::new();
        for partition in &self.partitions {
            let mut at = Offset(0);
            while let Some(entry) = partition.read(at, 1).unwrap().first() {
                batches.push(codec::decode(&entry.batch).unwrap().1);
                at = entry.end();
            }
        }
        batches
    }
}

/// A listener on a port of its own, and its address.
pub(super) async fn listener() -> (tokio::net::TcpListener, std::net::SocketAddr) {
    let listener = platform::http::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The texts of a field of records that have it.
pub(super) fn field(record: &model::record::Record, name: &str) -> Option<String> {
    record.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.to_text())
}

#[tokio::test]
async fn lines_become_records_and_broken_ones_are_kept() {
    let fixture = fixture();
    let body =
        b"{\"msg\":\"one\",\"n\":1}\n\n  \r\n{broken\n{\"msg\":\"\xff\"}\n[1]\n{\"msg\":\"two\"}"
            .to_vec();
    let (status, answer) = fixture.post("/api/v1/ingest?service=api", &[], body).await;
    assert_eq!(
        (status, answer["accepted"].as_u64(), answer["poisoned"].as_u64()),
        (StatusCode::OK, Some(5), Some(3))
    );
    let records = fixture.records();
    let texts: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
    assert_eq!(texts, ["one", "{broken", "{\"msg\":\"\\xff\"}", "[1]", "two"]);
    let poisoned =
        |record: &&model::record::Record| record.fields.iter().any(|f| f.0 == POISON_FIELD);
    assert_eq!(records.iter().filter(poisoned).count(), 3);
}

#[tokio::test]
async fn plain_lines_are_records_as_they_stand() {
    let fixture = fixture();
    let kind = [("content-type", "text/plain; charset=utf-8")];
    let body = b"ERROR it failed\n\n[1]\n{\"msg\":\"json\"}\n{broken\n".to_vec();
    let (_, answer) = fixture.post("/api/v1/ingest?service=api", &kind, body).await;
    assert_eq!((answer["accepted"].as_u64(), answer["poisoned"].as_u64()), (Some(4), Some(0)));
    let records = fixture.records();
    let texts: Vec<&str> = records.iter().map(|record| record.message.as_str()).collect();
    assert_eq!(texts, ["ERROR it failed", "[1]", "json", "{broken"]);
    assert_eq!(records[0].level.name(), "error");
}

#[tokio::test]
async fn a_repeated_key_stores_once() {
    let fixture = fixture();
    let key = [("idempotency-key", "k1")];
    for expected in [false, true] {
        let (status, answer) =
            fixture.post("/api/v1/ingest", &key, b"{\"msg\":\"x\"}".to_vec()).await;
        assert_eq!(
            (status, answer["duplicate"].as_bool().unwrap_or(false)),
            (StatusCode::OK, expected)
        );
    }
    // Another body is not passed over in silence, whether it makes as many batches or more.
    for other in ["{\"msg\":\"y\"}".to_owned(), "{\"msg\":\"z\"}\n".repeat(200_000)] {
        let (status, answer) = fixture.post("/api/v1/ingest", &key, other.into_bytes()).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert_eq!(answer["error"]["message"], "this Idempotency-Key was used for another body");
    }
    let (_, answer) = fixture.post("/api/v1/ingest", &key, b"{\"msg\":\"x\"}".to_vec()).await;
    assert_eq!(answer["duplicate"], true);
    assert_eq!(fixture.records().len(), 1);
}

#[tokio::test]
async fn packed_bodies_are_unpacked_within_the_bound() {
    let fixture = fixture();
    let zstd = zstd::bulk::compress(b"{\"msg\":\"z\"}", 1).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"{\"msg\":\"g\"}").unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    zlib.write_all(b"{\"msg\":\"d\"}").unwrap();
    let zlib = zlib.finish().unwrap();
    let packed = [("zstd", zstd), ("gzip", gzip), ("deflate", zlib)];
    for (packing, body) in packed {
        let (status, _) =
            fixture.post("/api/v1/ingest", &[("content-encoding", packing)], body).await;
        assert_eq!(status, StatusCode::OK);
    }
    let bomb = zstd::bulk::compress(&vec![b' '; REQUEST_BYTES_MAX + 1], 1).unwrap();
    let headers = [("content-encoding", "zstd")];
    let (status, answer) = fixture.post("/api/v1/ingest", &headers, bomb).await;
    assert_eq!(
        (status, answer["error"]["code"].as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("too_large"))
    );
    let (status, _) = fixture.post("/api/v1/ingest", &headers, b"nonsense".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(fixture.records().len(), 3);
}

#[tokio::test]
async fn a_batch_is_stored_as_it_came_and_nonsense_is_refused() {
    let fixture = fixture();
    let mut builder = model::batch::BatchBuilder::new(
        model::stream::IndexName::default(),
        model::stream::Labels::default(),
    );
    let record = model::record::Record { message: "hi".to_owned(), ..Default::default() };
    builder.push(record, model::time::Timestamp(1));
    let sequence = Sequence { producer: 3, epoch: 0, from: 0, to: 10 };
    let bytes = codec::encode(&builder.finish(), sequence).unwrap().to_vec();
    let (status, answer) = fixture.post("/api/v1/batches", &[], bytes.clone()).await;
    assert_eq!((status, answer["next"].as_u64()), (StatusCode::OK, Some(10)));
    let (_, answer) = fixture.post("/api/v1/batches", &[], bytes).await;
    assert_eq!(answer["duplicate"].as_bool(), Some(true));
    let (status, _) = fixture.post("/api/v1/batches", &[], b"nonsense".to_vec()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_record_that_fits_no_batch_is_kept_as_text_beside_its_neighbours() {
    let fixture = fixture();
    let giant = "x".repeat(model::limits::BATCH_BYTES_MAX + (8 << 20));
    let body = format!("{{\"msg\":\"one\"}}\n{{\"a\":\"{giant}\"}}\n{{\"msg\":\"two\"}}");
    let (status, answer) = fixture.post("/api/v1/ingest", &[], body.into_bytes()).await;
    assert_eq!((status, answer["poisoned"].as_u64()), (StatusCode::OK, Some(1)), "{answer}");
    let records = fixture.records();
    let texts: Vec<&str> = records.iter().map(|record| record.message.get(..3).unwrap()).collect();
    assert_eq!(texts, ["one", "{\"a", "two"]);
    assert!(records[1].fields.iter().any(|(name, _)| name == POISON_FIELD));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Lines of any bytes between two that are records: all are kept, what is no JSON with the reason.
    #[test]
    fn any_lines_cost_their_neighbours_nothing(garbage: Vec<u8>, is_text: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            let kind = if is_text { "text/plain" } else { "application/x-ndjson" };
            let line = |text: &str| format!("{{\"msg\":\"{text}\"}}\n").into_bytes();
            let body = [line("before"), garbage.clone(), b"\n".to_vec(), line("after")].concat();
            let (status, answer) = fixture.post("/api/v1/ingest", &[("content-type", kind)], body).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            let records = fixture.records();
            let lines = ndjson::lines(&garbage).count();
            assert_eq!((records.len(), answer["accepted"].as_u64()), (lines + 2, Some(lines as u64 + 2)));
            assert_eq!(records[0].message, "before");
            assert_eq!(records[lines + 1].message, "after");
            let is_poison = |record: &&model::record::Record| field(record, POISON_FIELD).is_some();
            assert_eq!(Some(records.iter().filter(is_poison).count() as u64), answer["poisoned"].as_u64());
        });
    }

    /// Any bytes as what they are not: a packed body, parameters, a batch. The refusal is in our own
    /// words, and what comes before and behind is stored.
    #[test]
    fn what_is_no_request_is_refused_in_our_words(garbage: Vec<u8>, packing in 0_usize..4, query in "[a-zA-Z0-9=&%._-]{0,20}") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = fixture();
            let line = |text: &str| format!("{{\"msg\":\"{text}\"}}\n").into_bytes();
            fixture.post("/api/v1/ingest", &[], line("before")).await;
            let headers: &[(&str, &str)] = match packing {
                0 => &[("content-encoding", "gzip")],
                1 => &[("content-encoding", "zstd")],
                2 => &[("content-encoding", "deflate")],
                _ => &[],
            };
            let path = format!("/api/v1/ingest?{query}");
            for path in [path.as_str(), "/api/v1/batches"] {
                let (status, text) = fixture.ask("POST", path, headers, garbage.clone()).await;
                assert!(status.is_success() || status.is_client_error(), "{path}: {status} {text}");
            }
            if packing < 3 && !garbage.is_empty() {
                // Nothing that is drawn here is packed by chance: each kind begins with its own sign.
                let body = [b"\0\0".as_slice(), &garbage].concat();
                let (status, answer) = fixture.post("/api/v1/ingest", headers, body).await;
                let is_word = answer["error"]["message"].is_string();
                let is_none = packing == 2 && status.is_success();
                assert!(status.is_client_error() && is_word || is_none, "{status} {answer}");
            }
            let before = fixture.records();
            assert_eq!(before[0].message, "before");
            let (status, _) = fixture.post("/api/v1/ingest", &[], line("after")).await;
            let after = fixture.records();
            assert_eq!((status, after.len()), (StatusCode::OK, before.len() + 1));
            assert!(after.iter().any(|record| record.message == "after"));
        });
    }
}
