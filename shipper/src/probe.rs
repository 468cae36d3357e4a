//! Ways in for any bytes: what comes from outside goes through one of these. Property tests feed
//! them on every run, fuzz targets (`tests/fuzz`) for as long as one likes.

use std::sync::Arc;

use model::time::Timestamp;

use crate::feed::record::{self, Next};
use crate::feed::take_messages;
use crate::frame::assemble::Assembler;
use crate::frame::container::Container;
use crate::frame::{Delimiter, Lines};
use crate::parse::{Format, Line, Parser};
use crate::recipe::Recipe;

/// Bytes of a spool: every byte is passed, in records or as damage. How many are left.
#[must_use]
pub fn spool(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        match record::next(rest) {
            Next::Whole(_, used) | Next::Damaged(used) => {
                assert!(used > 0, "nothing is passed");
                rest = rest.get(used..).unwrap_or_default();
            }
            Next::Open => return rest.len(),
        }
    }
}

/// Bytes of a connection of syslog, in pieces of that size: how many messages there are.
#[must_use]
pub fn syslog(bytes: &[u8], size: usize) -> usize {
    take_messages(bytes.chunks(size.max(1)))
}

/// A file's bytes: framed, put together, and read in every format. How many records there are.
#[must_use]
pub fn lines(bytes: &[u8]) -> usize {
    let formats = [
        Format::Auto,
        Format::Detect,
        Format::Logfmt,
        Format::Syslog,
        Format::Access,
        Format::ServerError,
        Format::Klog,
    ];
    let mut count = 0;
    for format in formats {
        let recipe = Arc::new(Recipe { format, ..Recipe::default() });
        let mut parser = Parser::new(recipe, Timestamp(0), None);
        let mut lines = Lines::new(bytes, &Delimiter::Newline);
        let mut assembler = Assembler::new(Some(Container::Either), None);
        while let Some(line) = lines.next_line() {
            let place = lines.used() as u64;
            assembler.feed(line, place, place);
            count += usize::from(parser.record(Line::bare(line, place)).is_some());
            parser.flat(line);
            parser.text(line);
        }
        assembler.close();
    }
    count
}

/// A settings file: whether it can be used.
#[must_use]
pub fn settings(text: &str) -> bool {
    crate::Settings::parse(text).is_ok_and(|settings| settings.config().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_taken(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            text in "[\\[\\]{}<>=:\"' 0-9a-zA-Z/.\n-]{0,200}",
            size in 0..20_usize,
        ) {
            for bytes in [&bytes[..], text.as_bytes()] {
                prop_assert!(spool(bytes) <= bytes.len());
                prop_assert!(syslog(bytes, size) <= bytes.len());
                prop_assert!(lines(bytes) <= 7 * bytes.len());
            }
            prop_assert!(!settings(&text), "it says nowhere where to send to");
        }
    }
}
