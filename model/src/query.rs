//! What a search asks of a record. The language parses into it, splits and fresh records answer it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::time::Period;

/// A condition on one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Filter {
    /// Every record.
    All,
    /// All of them hold; none is [`Filter::All`]'s answer.
    And(Vec<Filter>),
    /// One of them holds at least.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// The message, or the text of any field's value (labels not included), matches.
    Text(TextMatch),
    /// A named value passes the test. Names: what every record has (`timestamp`, `ingest_time`,
    /// `level`, `message`, `index`, `id`), labels, and fields. A field with several values or
    /// types passes when one of them does.
    Field {
        /// Whose value.
        name: String,
        /// The test.
        test: FieldTest,
    },
}

/// How a text is matched; folding and boundaries are [`crate::text`]'s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextMatch {
    /// The folded text occurs literally, standing free at both ends
    /// ([`crate::text::stands_free`]). Words are phrases of one word. Never empty.
    Phrase(String),
    /// The parts occur in order, with any characters but white space between them (`*` in the
    /// language). The match stands free at an end unless the pattern is open there.
    Pattern {
        /// The literal pieces between the stars, folded, none empty. No piece: anything matches
        /// that is not empty.
        parts: Vec<String>,
        /// Begins with a star.
        open_start: bool,
        /// Ends with a star.
        open_end: bool,
    },
    /// The inner phrase or pattern, with its letters in exactly this case: nothing in it is
    /// folded. What matches it matches the inner one as well.
    Cased(Box<TextMatch>),
    /// The regular expression (syntax of the `regex` crate) matches anywhere in the text. One that
    /// cannot be compiled matches nothing; the language refuses it.
    Regex(String),
    /// An IP address in the text, standing free, lies in the network.
    Network {
        /// An address of the network.
        address: IpAddr,
        /// How many of its leading bits the network's addresses share.
        prefix: u8,
    },
}

/// Bytes of memory that one compiled regular expression may take.
pub const REGEX_BYTES_MAX: usize = 1 << 20;

/// A test of one named value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FieldTest {
    /// There is a value. A message exists when it is not empty, a level when it is not unknown.
    Exists,
    /// There is a value, under this name or under one that goes on behind it with a dot: what
    /// people call an object is many fields here.
    ExistsBelow,
    /// The value's text ([`crate::record::FieldValue::to_text`]) matches; a level's name, a
    /// time's RFC 3339 form. Where a phrase is a number, values that are numbers pass when they are
    /// equal to it (`200` finds 200.0, `5` does not find 74.5), whatever their texts.
    Matches(TextMatch),
    /// The value lies between the bounds. Numbers compare as numbers, and so do texts that read
    /// as numbers; levels by severity; times as times, and so do texts that read as times
    /// ([`Literal::Time`]); other texts by code point, folded.
    Between {
        /// Lower bound.
        from: Bound,
        /// Upper bound.
        to: Bound,
    },
}

impl FieldTest {
    /// Whether this test of what is named `wanted` looks at the value called `name`.
    #[must_use]
    pub fn covers(&self, wanted: &str, name: &str) -> bool {
        name.strip_prefix(wanted).is_some_and(|rest| {
            rest.is_empty() || *self == Self::ExistsBelow && rest.starts_with('.')
        })
    }
}

/// One end of a range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    /// No bound.
    Open,
    /// The value itself is inside.
    Inclusive(Literal),
    /// The value itself is outside.
    Exclusive(Literal),
}

/// A literal to compare with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Literal {
    /// A number. Text never compares with it unless it reads as a number.
    Number(f64),
    /// A span of time, nanoseconds. Texts that read as one ([`crate::quantity`]) compare with it,
    /// and numbers of fields whose name ends in a unit (`took_ms`).
    Duration(f64),
    /// So many bytes. Texts that read as a size ([`crate::quantity`]) compare with it, and numbers:
    /// as bytes, or in the unit in which the field's name ends (`cache_mb`).
    Size(f64),
    /// A time. Texts that read as one ([`Period::read`]) compare with it by the first moment that
    /// they name, which is equal to every moment of the period; other texts compare with the text.
    /// Never compares with a number.
    Time {
        /// The moments that it names.
        period: Period,
        /// As it was written, folded.
        text: String,
    },
    /// Anything else: a level's name, a moment of what every record has, or text (folded). Never
    /// compares with a number.
    Text(String),
}
