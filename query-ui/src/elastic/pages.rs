//! Points in time and scrolls. Both are told in their ids whole: the node keeps nothing, so that
//! they do not expire, need no bound, and outlive a restart.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use index::searcher::Searcher;
use model::partition::{Offset, PartitionId, RecordId};
use model::query::{Bound, FieldTest, Filter, Literal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::refusal::Refusal;

/// The records that there were at a moment, in some indexes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Point {
    /// In these indexes; `None` is all.
    pub(super) indexes: Option<Vec<String>>,
    /// Where each partition ended.
    ends: Vec<(u32, u64)>,
}

impl Point {
    /// Now, with everything that was acknowledged.
    pub(super) async fn now(searcher: &Searcher, indexes: Option<Vec<String>>) -> Self {
        let ends = searcher.gather().await.ends.clone().into_iter();
        Self { indexes, ends: ends.map(|(partition, end)| (partition.0, end.0)).collect() }
    }

    /// What holds for its records.
    pub(super) fn filter(&self) -> Filter {
        let part = |(partition, end): &(u32, u64)| {
            let id = |offset: u64| {
                let id = RecordId { partition: PartitionId(*partition), offset: Offset(offset) };
                Literal::Text(id.to_string())
            };
            let test = FieldTest::Between {
                from: Bound::Inclusive(id(0)),
                to: Bound::Exclusive(id(*end)),
            };
            Filter::Field { name: "id".to_owned(), test }
        };
        super::values::any(self.ends.iter().map(part).collect())
    }
}

/// A scroll: what is asked, of when, and how far its reader is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Scroll {
    pub(super) point: Point,
    /// The search as it came.
    pub(super) body: Value,
    /// Where the last hit stood; `None` at the end.
    pub(super) place: Option<Vec<Value>>,
    /// Records in all.
    pub(super) total: u64,
}

/// What is told, as an id.
pub(super) fn id_of(told: &impl Serialize) -> String {
    let text = serde_json::to_vec(told).unwrap_or_default();
    URL_SAFE_NO_PAD.encode(text)
}

/// What an id tells.
pub(super) fn told<T: DeserializeOwned>(kind: &str, id: &str) -> Result<T, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(id.trim_end_matches('=')).ok();
    let told = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    told.ok_or_else(|| {
        Refusal::argument(format!("Cannot parse {kind} id: it is none of this node"))
    })
}
