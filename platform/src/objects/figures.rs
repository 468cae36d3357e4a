//! What objects cost: bytes read and fetched, what the cache spared, uploads, requests.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::Metrics;

/// Figures of a store of objects. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct ObjectFigures {
    /// Bytes read of objects, wherever they came from.
    pub read_bytes: Counter,
    /// Bytes fetched from the object store or another node.
    pub fetched_bytes: Counter,
    /// Blocks that were on this disk already.
    pub cache_hits: Counter,
    /// Blocks that had to be fetched.
    pub cache_misses: Counter,
    /// Blocks on this disk that were damaged, and fetched again.
    pub cache_damaged: Counter,
    /// Bytes of blocks on this disk.
    pub cache_bytes: Gauge,
    /// Bytes of blocks that may be on this disk.
    pub cache_bytes_max: Gauge,
    /// Objects that were uploaded.
    pub uploads: Counter,
    /// Uploads that were given up.
    pub upload_failures: Counter,
    /// Uploads begun and never finished that were swept.
    pub uploads_swept: Counter,
    /// Objects taken over from other nodes.
    pub adopted: Counter,
    /// Objects that were found damaged and set aside, a whole one in their place.
    pub damaged: Counter,
    /// Requests to the object store.
    pub requests: Counter,
    /// Requests that got no answer, or "later": those that were tried again.
    pub requests_failed: Counter,
    /// Reads that were not tried, for the object store did not answer others.
    pub reads_refused: Counter,
    /// 1 while the object store does not answer.
    pub store_silent: Gauge,
}

impl ObjectFigures {
    /// Shows them among the metrics of the process.
    pub fn register(&self, metrics: &Metrics) {
        let counters = [
            ("read_bytes", "Bytes read of the objects of splits", &self.read_bytes),
            ("fetched_bytes", "Bytes fetched from the store or another node", &self.fetched_bytes),
            ("cache_hits", "Blocks that were in the disk cache", &self.cache_hits),
            ("cache_misses", "Blocks that had to be fetched", &self.cache_misses),
            ("cache_damaged", "Damaged blocks of the cache, fetched again", &self.cache_damaged),
            ("uploads", "Objects uploaded", &self.uploads),
            ("upload_failures", "Uploads given up", &self.upload_failures),
            ("uploads_swept", "Half uploads swept", &self.uploads_swept),
            ("adopted", "Objects taken over from other nodes", &self.adopted),
            ("damaged", "Damaged objects replaced by whole ones", &self.damaged),
            ("requests", "Requests to the object store", &self.requests),
            ("requests_failed", "Requests without an answer or put off", &self.requests_failed),
            ("reads_refused", "Reads not tried of a silent object store", &self.reads_refused),
        ];
        for (name, help, counter) in counters {
            metrics.register(&format!("objects_{name}"), help, counter.clone());
        }
        let help = "Bytes of blocks in the disk cache";
        metrics.register("objects_cache_bytes", help, self.cache_bytes.clone());
        let help = "Bytes of blocks that the disk cache may hold";
        metrics.register("objects_cache_bytes_max", help, self.cache_bytes_max.clone());
        let help = "1 while the object store does not answer";
        metrics.register("objects_store_silent", help, self.store_silent.clone());
    }
}
