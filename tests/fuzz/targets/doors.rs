//! Any bytes as the body of a request, at every door over HTTP: the first byte says at which. Each
//! is answered in words (2xx, 4xx), and what comes behind some of them is stored.
#![no_main]

mod node;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use node::{INPUTS_MAX, Node};

/// Of so many requests one has a good one behind it.
const BESIDE_EVERY: u32 = 16;

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";

/// Address, type and packing of each.
const DOORS: [(&str, &str, &str); 17] = [
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
    ("/services/collector/ack?channel=c", JSON, ""),
    ("/es/_index_template/t", JSON, ""),
];

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
        node.inputs += 1;
        if node.inputs > INPUTS_MAX {
            *node = Node::start();
        }
        let status = node.post(door, packed(door.2, body));
        assert!(status.is_success() || status.is_client_error(), "{door:?}: {status}");
        if !node.inputs.is_multiple_of(BESIDE_EVERY) {
            return;
        }
        let before = node.committed();
        let status = node.post(DOORS[0], b"{\"msg\":\"beside\"}".to_vec());
        assert!(status.is_success(), "{status}");
        assert_eq!(node.committed().0, before.0 + 1);
    });
});
