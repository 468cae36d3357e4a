//! The objects of an open split as its readers ask for them. Whether nobody answered is remembered
//! here: errors on their way through Parquet are words only.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use platform::objects::{Objects, retryable};

use crate::scan::ScanError;

/// Objects that one open split is read from. Clones share what is remembered.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    objects: Objects,
    unanswered: Arc<AtomicBool>,
}

impl Asked {
    pub(super) fn new(objects: &Objects) -> Self {
        Self { objects: objects.clone(), unanswered: Arc::default() }
    }

    /// The bytes `from..to` of an object.
    pub(super) fn get_range(&self, name: &str, from: u64, to: u64) -> io::Result<Bytes> {
        let bytes = self.objects.get_range(name, from, to);
        if bytes.as_ref().is_err_and(retryable) {
            self.unanswered.store(true, Ordering::Relaxed);
        }
        bytes
    }

    /// Brings ranges of an object here that is in a shared store. Where nobody answers, who reads would
    /// only wait for that once more; what else is wrong is left to who reads.
    pub(super) fn bring(&self, name: &str, ranges: &[Range<u64>]) -> Result<(), ScanError> {
        match self.objects.bring(name, ranges) {
            Err(error) if retryable(&error) => Err(not_read(name, &error)),
            _ => Ok(()),
        }
    }

    /// What is wrong with an object that could not be read: it is damaged or gone, or, since the
    /// last time, nobody answered.
    pub(super) fn wrong(&self, object: &str, what: String) -> ScanError {
        match self.unanswered.swap(false, Ordering::Relaxed) {
            true => away(object, what),
            false => corrupt(object, what),
        }
    }
}

/// What is wrong with an object, given what was heard of it.
pub(super) fn not_read(object: &str, error: &io::Error) -> ScanError {
    match retryable(error) {
        true => away(object, error.to_string()),
        false => corrupt(object, error.to_string()),
    }
}

fn away(object: &str, why: String) -> ScanError {
    ScanError::Away { what: object.to_owned(), why }
}

fn corrupt(object: &str, what: String) -> ScanError {
    ScanError::Corrupt { object: object.to_owned(), what }
}
