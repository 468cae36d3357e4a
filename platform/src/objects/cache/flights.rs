//! Blocks that are being fetched: who asks for one meanwhile waits for it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;

use super::disk_blocks::Key;

/// All blocks that are being fetched.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Arc<Flight>>>);

/// A block that somebody else fetches.
#[derive(Debug, Default)]
pub(super) struct Flight {
    landed: Mutex<Option<Landing>>,
    changed: Condvar,
}

type Landing = Result<Bytes, (io::ErrorKind, String)>;

/// The duty to fetch a block. Dropped without a word, who waits is told to ask again.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) key: Key,
    flights: &'a Flights,
    flight: Arc<Flight>,
}

impl Flights {
    /// Of these blocks, those the caller is to fetch, and those that somebody fetches.
    pub(super) fn claim(&self, keys: &[Key]) -> (Vec<Claim<'_>>, Vec<(Key, Arc<Flight>)>) {
        let (mut claims, mut waits) = (Vec::new(), Vec::new());
        let mut flying = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if let Some(flight) = flying.get(key) {
                waits.push((*key, flight.clone()));
            } else {
                let flight = Arc::new(Flight::default());
                flying.insert(*key, flight.clone());
                claims.push(Claim { key: *key, flights: self, flight });
            }
        }
        (claims, waits)
    }
}

impl Flight {
    pub(super) fn wait(&self) -> io::Result<Bytes> {
        let mut landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match landed.as_ref() {
                Some(Ok(bytes)) => return Ok(bytes.clone()),
                Some(Err((kind, text))) => return Err(io::Error::new(*kind, text.clone())),
                None => {}
            }
            landed = self.changed.wait(landed).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn land(&self, landing: Landing) {
        let mut landed = self.landed.lock().unwrap_or_else(PoisonError::into_inner);
        if landed.is_none() {
            *landed = Some(landing);
        }
        drop(landed);
        self.changed.notify_all();
    }
}

impl Claim<'_> {
    /// Tells who waits what came of it.
    pub(super) fn land(self, fetched: Result<Bytes, &io::Error>) {
        self.flight.land(fetched.map_err(|error| (error.kind(), error.to_string())));
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let text = "it was not fetched: ask again".to_owned();
        self.flight.land(Err((io::ErrorKind::ConnectionAborted, text)));
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
