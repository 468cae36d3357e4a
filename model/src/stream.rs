//! A stream: all records with one set of labels, and the id that is their hash.

use std::fmt;

use crate::limits::{INDEX_NAME_BYTES_MAX, LABEL_BYTES_MAX, LABELS_MAX};

/// The labels of a stream, sorted by name, names unique. Never changed after they are made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Labels(Vec<(String, String)>);

/// Why a set of labels cannot name a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelsError {
    /// Give fewer labels.
    #[error("{count} labels are more than the {LABELS_MAX} a stream may have")]
    TooMany {
        /// How many there were.
        count: usize,
    },
    /// Shorten the label, or give it a name.
    #[error("label {name:?} has no name, or a name or value over {LABEL_BYTES_MAX} bytes")]
    Size {
        /// The label's name, cut.
        name: String,
    },
    /// Name it once.
    #[error("label {name:?} is given twice")]
    Twice {
        /// The label's name.
        name: String,
    },
    /// Choose another name: the record itself has one of this name.
    #[error("{name:?} cannot be a label: every record has a value of that name already")]
    Reserved {
        /// The label's name.
        name: String,
    },
}

/// Names that every record has of itself; labels may not take them, fields of that name are
/// stored as `fields.NAME`.
pub const RESERVED: [&str; 8] =
    ["timestamp", "ingest_time", "level", "message", "index", "partition", "offset", "id"];

impl Labels {
    /// Sorts and checks the pairs.
    ///
    /// # Errors
    /// [`LabelsError`] names the label that cannot be.
    pub fn new(mut pairs: Vec<(String, String)>) -> Result<Self, LabelsError> {
        if pairs.len() > LABELS_MAX {
            return Err(LabelsError::TooMany { count: pairs.len() });
        }
        pairs.sort();
        for (name, value) in &pairs {
            if name.is_empty() || name.len() > LABEL_BYTES_MAX || value.len() > LABEL_BYTES_MAX {
                return Err(LabelsError::Size { name: crate::text::cut(name, 64).to_owned() });
            }
            if RESERVED.contains(&name.as_str()) {
                return Err(LabelsError::Reserved { name: name.clone() });
            }
        }
        if let Some([(name, _), _]) =
            pairs.windows(2).find_map(|w| <&[_; 2]>::try_from(w).ok().filter(|[a, b]| a.0 == b.0))
        {
            return Err(LabelsError::Twice { name: name.clone() });
        }
        Ok(Self(pairs))
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Name and value of every label, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Which stream: the hash of index and labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

impl StreamId {
    /// XXH3-64 over index, names and values, each ended by a zero byte.
    #[must_use]
    pub fn of(index: &IndexName, labels: &Labels) -> Self {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        let parts = labels.iter().flat_map(|(name, value)| [name, value]);
        for part in std::iter::once(index.as_str()).chain(parts) {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
        Self(hash.digest())
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The name of an index, `main` unless told otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexName(String);

/// Why a text cannot name an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "index name {0:?} is not 1 to {INDEX_NAME_BYTES_MAX} bytes of a-z 0-9 . _ - (no leading dot or dash)"
)]
pub struct IndexNameError(pub String);

impl IndexName {
    /// Checks the name: lower-case ASCII letters, digits, `.`, `_`, `-`; not led by `.` or `-`.
    ///
    /// # Errors
    /// The name, when it cannot be one.
    pub fn new(name: &str) -> Result<Self, IndexNameError> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let sound = !name.is_empty()
            && name.len() <= INDEX_NAME_BYTES_MAX
            && !name.starts_with(['.', '-'])
            && name.bytes().all(legal);
        if sound { Ok(Self(name.to_owned())) } else { Err(IndexNameError(name.to_owned())) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for IndexName {
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl fmt::Display for IndexName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, LabelsError> {
        Labels::new(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn order_of_labels_does_not_change_the_stream() {
        let index = IndexName::default();
        let one = labels(&[("a", "1"), ("b", "2")]).unwrap();
        let two = labels(&[("b", "2"), ("a", "1")]).unwrap();
        assert_eq!(StreamId::of(&index, &one), StreamId::of(&index, &two));
        let other = labels(&[("a", "12"), ("b", "")]).unwrap();
        assert_ne!(StreamId::of(&index, &one), StreamId::of(&index, &other));
    }

    #[test]
    fn labels_are_unique_and_not_reserved() {
        assert_eq!(
            labels(&[("a", "1"), ("a", "2")]),
            Err(LabelsError::Twice { name: "a".to_owned() })
        );
        assert!(matches!(labels(&[("level", "x")]), Err(LabelsError::Reserved { .. })));
    }

    #[test]
    fn an_index_name_is_plain() {
        assert!(IndexName::new("logs-2026.11").is_ok());
        for bad in ["", "Logs", "../x", "-a", "a/b", "ä"] {
            assert!(IndexName::new(bad).is_err(), "{bad}");
        }
    }
}
