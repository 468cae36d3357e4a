//! What is read of a split once, when it is asked for first.

use std::sync::{Arc, Mutex, PoisonError};

use crate::scan::ScanError;

/// Something that is read once, when it is asked for first.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Kept<T> {
    /// The value, read by `read` unless it was.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn get(
        &self,
        read: impl FnOnce() -> Result<T, ScanError>,
    ) -> Result<Arc<T>, ScanError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = kept.as_ref() {
            return Ok(value.clone());
        }
        let value = Arc::new(read()?);
        *kept = Some(value.clone());
        Ok(value)
    }

    /// Whether it was read, and is had without waiting for anybody who reads it.
    pub(super) fn is_held(&self) -> bool {
        self.0.try_lock().is_ok_and(|kept| kept.is_some())
    }

    /// The same, if it was read before: nobody is waited for.
    pub(super) fn at_hand(&self) -> Option<Arc<T>> {
        self.0.try_lock().ok()?.clone()
    }
}
