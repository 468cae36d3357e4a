//! Standard input → lines in the spool.

use std::io;

use model::limits::MESSAGE_BYTES_MAX;
use platform::shutdown::Shutdown;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::record::{self, Note};
use super::run::Out;
use crate::recipe::Delimiting;

/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;

/// Reads to the end, or until we shall stop. A last line without an end is one: who wrote it is not read
/// again.
///
/// # Errors
/// As the system says.
pub(super) async fn read(
    mut input: impl AsyncRead + Unpin,
    by: &Delimiting,
    out: &Out,
    stop: &Shutdown,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut lines = Splitter::new(by);
    loop {
        let read = tokio::select! {
            read = input.read(&mut buffer) => read?,
            () = stop.wait() => 0,
        };
        let (mut records, note) = (Vec::new(), out.note());
        match buffer.get(..read) {
            Some(bytes) if read > 0 => lines.take(bytes, &mut records, note),
            _ => lines.end(&mut records, note),
        }
        if !out.put(records).await || read == 0 {
            return Ok(());
        }
    }
}

/// Bytes as they come → whole lines. Of a line over the bound the beginning is kept.
pub(super) struct Splitter<'a> {
    by: &'a Delimiting,
    open: Vec<u8>,
    cut: bool,
}

impl<'a> Splitter<'a> {
    pub(super) fn new(by: &'a Delimiting) -> Self {
        Self { by, open: Vec::new(), cut: false }
    }

    pub(super) fn take(&mut self, bytes: &[u8], records: &mut Vec<u8>, note: Note<'_>) {
        let delimiter = self.by.delimiter();
        // Where a delimiter may have begun that these bytes end, at an even distance.
        let back = (delimiter.len() - 1).next_multiple_of(2);
        let mut from = self.open.len().saturating_sub(back) & !1;
        self.open.extend_from_slice(bytes);
        let mut used = 0;
        while let Some((end, next)) = self.open.get(from..).and_then(|rest| delimiter.find(rest)) {
            let line = self.open.get(used..from + end).unwrap_or_default();
            put(records, delimiter.trim(line), Note { cut: self.cut, ..note });
            self.cut = false;
            used = from + next;
            from = used;
        }
        self.open.drain(..used);
        // More than it takes to tell that the line is longer; its end must still be found.
        if self.open.len() > 2 * MESSAGE_BYTES_MAX {
            let kept = self.open.split_off(self.open.len() - (back + 2 + self.open.len() % 2));
            self.open.truncate(MESSAGE_BYTES_MAX & !1);
            self.open.extend(kept);
            self.cut = true;
        }
    }

    pub(super) fn end(&mut self, records: &mut Vec<u8>, note: Note<'_>) {
        let line = self.by.delimiter().trim(&self.open);
        put(records, line, Note { cut: self.cut, ..note });
        self.open.clear();
    }
}

/// Empty lines are none.
fn put(records: &mut Vec<u8>, line: &[u8], note: Note<'_>) {
    if !line.is_empty() {
        record::put(records, line, note);
    }
}
