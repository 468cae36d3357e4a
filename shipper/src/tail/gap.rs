//! What was rotated or truncated away before it was read: said in a record of its own, in the
//! stream of the file, so that a reader sees where lines are missing.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use model::batch::{BatchBuilder, Sequence};
use model::level::Level;
use model::record::{FieldValue, Record};
use model::time::Timestamp;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::context::Context;
use super::recover::Vanished;
use super::table::Tracked;
use super::{Done, Shipper};
use crate::checkpoint::Checkpoint;
use crate::config;
use crate::identity::FileId;
use crate::pack::Workbench;
use crate::recipe::Recipe;
use crate::send::{Patience, Reply};

/// Gaps that wait to be sent; of more only the newest are told, all are counted in bytes.
pub(super) const GAPS_MAX: usize = 1_000;
/// The file of the gaps not told yet, in the state directory.
const FILE: &str = "gaps.json";

/// Bytes of a file that nobody can read any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap {
    /// The generation of the file.
    pub(super) producer: u64,
    pub(super) source: String,
    pub(super) path: PathBuf,
    pub(super) from: u64,
    pub(super) to: u64,
    /// Up to here they had been sent before a restart, and no answer is known.
    #[serde(default)]
    pub(super) sent_to: Option<u64>,
    pub(super) noticed_ns: i64,
    /// What became of them, unless they were just gone.
    #[serde(default)]
    pub(super) why: Option<String>,
}

impl Gap {
    /// Bytes are lost for sure, or something may be and nobody knows.
    fn level(&self) -> Level {
        if self.to > self.from { Level::Error } else { Level::Warn }
    }

    /// What is lost of a file that was known and is not found. None when all of it is stored: after
    /// a crash also what was sent is, as far as anybody knows.
    pub(super) fn of_absent(known: &Checkpoint, orderly: bool, now: Timestamp) -> Option<Self> {
        let sent_to = known.sent.map(|sent| sent.to).filter(|to| *to > known.offset);
        let from = sent_to.filter(|_| !orderly).unwrap_or(known.offset);
        (known.size > from).then(|| Self {
            producer: known.producer,
            source: known.source.clone(),
            path: PathBuf::from(&known.path),
            from,
            to: known.size,
            sent_to: sent_to.filter(|_| orderly),
            noticed_ns: now.0,
            why: None,
        })
    }
}

impl Tracked {
    /// What is not acknowledged of so many bytes, once they are gone. None when all is.
    pub(super) fn gap(&self, to: u64, now: Timestamp) -> Option<Gap> {
        let from = self.start();
        (to > from).then(|| Gap {
            producer: self.checkpoint.producer,
            source: self.checkpoint.source.clone(),
            path: self.path.clone(),
            from,
            to,
            sent_to: None,
            noticed_ns: now.0,
            why: None,
        })
    }
}

/// Gaps to be told, and those that may be none.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    waiting: VecDeque<Gap>,
    /// Files gone from their paths, perhaps found elsewhere by the next walk.
    pub(super) vanished: Vec<Vanished>,
    /// The same of files of which nothing is on disk yet: nothing but its id tells such a file.
    pub(super) unread: Vec<(FileId, Gap)>,
    /// Whether they are looked for just now.
    pub(super) recovering: bool,
    /// Whether the status says what they cannot be looked for in.
    pub(super) doubted: bool,
    sending: bool,
    unsaved: bool,
}

impl Gaps {
    /// Those a process before us could not tell.
    pub(super) fn load(folder: &Path) -> Self {
        let waiting = std::fs::read(folder.join(FILE)).ok();
        let waiting = waiting.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { waiting: waiting.unwrap_or_default(), ..Self::default() }
    }

    /// Whether it waits to be said that whole files of that stream may be missing, noticed since then.
    pub(super) fn says_of_files(&self, source: &str, since_ns: i64) -> bool {
        self.waiting.iter().any(|gap| {
            let whole = gap.from == gap.to && gap.path == Path::new(source);
            whole && gap.source == source && gap.noticed_ns > since_ns
        })
    }

    /// How many no node has been told of.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Whether all are told.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
            && self.vanished.is_empty()
            && self.unread.is_empty()
            && !self.sending
            && !self.recovering
    }
}

impl Shipper {
    /// Bytes are lost for good.
    pub(super) fn lost(&mut self, gap: Gap) {
        self.context.metrics.lost_bytes.inc_by(gap.to - gap.from);
        self.context.metrics.gaps.inc();
        let why = gap.why.as_deref().unwrap_or("gone before it was read");
        match gap.level() {
            Level::Error => {
                tracing::error!(file = %gap.path.display(), from = gap.from, to = gap.to, "{why}");
            }
            _ => tracing::warn!(file = %gap.path.display(), "{why}"),
        }
        if self.gaps.waiting.len() >= GAPS_MAX {
            self.gaps.waiting.pop_front();
        }
        self.gaps.waiting.push_back(gap);
        self.gaps.unsaved = true;
    }

    /// Bytes are lost unless the next walk finds the file.
    pub(super) fn vanished(&mut self, vanished: Vanished) {
        self.gaps.vanished.push(vanished);
    }

    /// A walk is over: files that were never read and that it did not find are lost.
    pub(super) fn judge_unread(&mut self) {
        for (id, gap) in std::mem::take(&mut self.gaps.unread) {
            if self.passed.holds(&gap.source) {
                // It may be compressed: that is looked for just now.
                self.gaps.unread.push((id, gap));
            } else if self.table.by_id(id).is_none() {
                self.lost(gap);
            }
        }
    }

    /// Sends the oldest gap, one at a time.
    pub(super) fn tell_gaps(&mut self) {
        self.keep_gaps();
        if self.gaps.sending || self.context.shutdown.is_triggered() {
            return;
        }
        let Some(gap) = self.gaps.waiting.front().cloned() else { return };
        let recipe = self.recipe(Path::new(&gap.source), &gap.path);
        let batch = match encode(&gap, &recipe, &self.context.host) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, "a gap cannot be told");
                self.gaps.waiting.pop_front();
                return;
            }
        };
        self.gaps.sending = true;
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let Context { target, board, stop, .. } = &*context;
            // It is small: what does not let it through lets nothing through.
            Done::Gap(target.deliver(gap.producer, &batch, Patience::Endless, board, stop).await)
        });
    }

    /// The answer to the gap sent.
    pub(super) fn told(&mut self, reply: Option<Reply>) {
        self.gaps.sending = false;
        let Some(reply) = reply else { return };
        if let Reply::Refused(reason) = reply {
            tracing::error!(reason, "a gap is told here only: the node does not take it");
        }
        self.gaps.waiting.pop_front();
        self.gaps.unsaved = true;
    }

    /// Saves them when they changed. A lost file costs a report, not a line: written without much ado,
    /// again with the next.
    pub(super) fn keep_gaps(&mut self) {
        if !std::mem::take(&mut self.gaps.unsaved) {
            return;
        }
        let bytes = serde_json::to_vec(&self.gaps.waiting).unwrap_or_default();
        if let Err(error) =
            platform::disk::write_atomically(&self.context.store.folder().join(FILE), &bytes)
        {
            tracing::warn!(%error, "cannot save the gaps that are not told yet");
        }
    }
}

fn encode(gap: &Gap, recipe: &Recipe, host: &str) -> std::io::Result<Bytes> {
    let labels =
        config::labels_of(&recipe.labels, host, &gap.source).map_err(std::io::Error::other)?;
    let path = gap.path.display();
    let number = |number: u64| FieldValue::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let why = gap.why.as_deref().unwrap_or("were gone before they were read");
    let sent = gap.sent_to.map(|to| format!("; up to {to} they had been sent and may be stored"));
    let record = Record {
        timestamp: Some(Timestamp(gap.noticed_ns)),
        level: gap.level(),
        message: match (gap.to > gap.from, sent.unwrap_or_default()) {
            (true, sent) => format!("gap: bytes {} to {} of {path} {why}{sent}", gap.from, gap.to),
            // Nobody knows how much.
            (false, _) => format!("gap: {why}"),
        },
        fields: vec![
            ("gap_file".to_owned(), FieldValue::Text(path.to_string())),
            ("gap_from".to_owned(), number(gap.from)),
            ("gap_to".to_owned(), number(gap.to)),
        ],
    };
    let mut builder = BatchBuilder::new(recipe.index.clone(), labels);
    builder.push(record, Timestamp(gap.noticed_ns));
    // The same gap has the same producer: told twice it is stored once.
    let name = format!("gap {} {} {}", gap.producer, gap.from, gap.to);
    let producer = xxh3_64(name.as_bytes()).max(1);
    let sequence = Sequence { producer, epoch: 0, from: 0, to: 1 };
    Workbench::default().encode(builder.finish(), sequence)
}
