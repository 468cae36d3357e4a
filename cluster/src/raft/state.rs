//! The vote, and how far the log was purged: one small file, replaced in one step.

use std::path::{Path, PathBuf};

use platform::disk;

use super::entry::leader;
use super::types::{LogId, Vote, log_id};
use crate::log::LogError;

/// Name of the file.
const STATE_FILE: &str = "state";
/// First bytes of the file, its version among them.
const STATE_MAGIC: [u8; 8] = *b"SWRSTAT1";
/// Bytes of the file: magic, what there is, term and node of the vote, term, leader and index of
/// the last purged entry, checksum.
const STATE_BYTES: usize = 56;
/// There is a vote.
const HAS_VOTE: u8 = 1;
/// The vote was granted by a quorum.
const VOTE_COMMITTED: u8 = 2;
/// Something was purged.
const HAS_PURGED: u8 = 4;

/// What must outlive the process besides the entries.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct State {
    pub(super) vote: Option<Vote>,
    pub(super) purged: Option<LogId>,
}

impl State {
    /// Reads the file; `None` when there is none.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, LogError> {
        let file = path(folder);
        match std::fs::read(&file) {
            Ok(bytes) => Self::decode(&bytes).map(Some).ok_or(LogError::Damaged {
                file,
                at: 0,
                what: "it is not what was written: the vote may be lost",
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LogError::Io { file, source }),
        }
    }

    /// Writes the file; durable when it returns.
    pub(super) fn write(&self, folder: &Path) -> Result<(), LogError> {
        let file = path(folder);
        disk::write_atomically(&file, &self.encode()).map_err(|source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                LogError::Full(folder.to_owned())
            }
            _ => LogError::Io { file, source },
        })
    }

    fn encode(&self) -> Vec<u8> {
        let vote = self.vote.unwrap_or_default();
        let purged = self.purged.unwrap_or_default();
        let flags = [
            (self.vote.is_some(), HAS_VOTE),
            (vote.committed, VOTE_COMMITTED),
            (self.purged.is_some(), HAS_PURGED),
        ];
        let has = flags.iter().filter(|(is, _)| *is).fold(0, |has, (_, flag)| has | flag);
        let mut bytes = STATE_MAGIC.to_vec();
        bytes.extend_from_slice(&[has, 0, 0, 0]);
        let numbers = [
            vote.leader_id.term,
            vote.leader_id.node_id,
            purged.leader_id.term,
            leader(&purged),
            purged.index,
        ];
        numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let has = *bytes.get(8)?;
        let mut vote = Vote::new(number(12)?, number(20)?);
        vote.committed = has & VOTE_COMMITTED != 0;
        let purged = log_id(number(28)?, number(36)?, number(44)?);
        let state = Self {
            vote: (has & HAS_VOTE != 0).then_some(vote),
            purged: (has & HAS_PURGED != 0).then_some(purged),
        };
        (bytes.len() == STATE_BYTES && state.encode() == bytes).then_some(state)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(STATE_FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_no_flipped_bit_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), None);
        let vote = Some(Vote::new_committed(7, 3));
        let state = State { vote, purged: Some(log_id(6, 2, 99)) };
        state.write(folder.path()).unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), Some(state));
        let bytes = state.encode();
        for at in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            assert_eq!(State::decode(&flipped), None, "{at}");
        }
    }
}
