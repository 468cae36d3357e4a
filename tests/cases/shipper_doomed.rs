//! Lines that are seen and then taken away unread: whatever of them is not stored must be within a gap
//! that is said.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::process::Node;
use tests::wait::eventually;

/// Bytes of more than a batch, so that with no node to take them some are seen and never sent.
const BATCHES_BYTES: u64 = 3 << 20;

/// Lines of a file of which the shipper has seen so many bytes.
pub(crate) struct Doomed {
    pub(crate) path: PathBuf,
    /// Where each begins, and where the next one does.
    lines: Vec<(u64, u64, String)>,
}

impl Doomed {
    pub(crate) fn new(path: PathBuf) -> Self {
        let (mut lines, mut at) = (Vec::new(), 0);
        while at < BATCHES_BYTES {
            let line = format!("{} {} {}", path.display(), lines.len(), "d".repeat(300));
            let end = at + line.len() as u64 + 1;
            lines.push((at, end, line));
            at = end;
        }
        Self { path, lines }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.lines.last().unwrap().1
    }

    pub(crate) fn text(&self) -> String {
        self.lines.iter().map(|(_, _, line)| format!("{line}\n")).collect()
    }

    /// Each line is stored or lies within a gap that is said. The batch that was under way may be.
    #[track_caller]
    pub(crate) fn check_covered(&self, node: &Node, batch_may_arrive: bool) {
        let path = self.path.to_str().unwrap();
        let covered = |row: &Value| {
            let fields = &row["fields"];
            let place = |name: &str| fields[name].as_u64();
            (fields["gap_file"] == path).then(|| Some((place("gap_from")?, place("gap_to")?)))?
        };
        let missing = eventually("all that vanished to be covered", || {
            let rows = node.client.rows(&json!({ "query": "", "limit": 0 }));
            let gaps: Vec<(u64, u64)> = rows.iter().filter_map(covered).collect();
            let found: BTreeSet<&str> =
                rows.iter().filter_map(|row| row["message"].as_str()).collect();
            let missing: Vec<&(u64, u64, String)> =
                self.lines.iter().filter(|(_, _, line)| !found.contains(line.as_str())).collect();
            let all = missing
                .iter()
                .all(|(from, to, _)| gaps.iter().any(|gap| gap.0 <= *from && *to <= gap.1));
            (all && !gaps.is_empty()).then_some(missing.len())
        });
        let sent = self.lines.len() - missing;
        assert!(missing > 0, "nothing vanished");
        assert!(batch_may_arrive || sent == 0, "{sent} lines came out of nowhere");
    }
}
