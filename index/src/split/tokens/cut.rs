//! Tokens that are kept by their beginnings only: ids and encoded bytes, which nearly never occur
//! twice. In sorted order a few bytes tell such a token from both of its neighbours; the rest of it
//! would be most of the index, and a reader verifies what it finds in any case.

use model::limits::TOKEN_BYTES_MAX;

/// Bytes of the shortest hexadecimal id that is cut.
const HEX_BYTES_MIN: usize = 12;
/// Bytes of the shortest piece of encoded bytes that is cut.
const CODE_BYTES_MIN: usize = 24;
/// Encoded bytes go from letters to digits or back once in so many bytes, at least.
const CODE_BYTES_PER_TURN: usize = 8;
/// Blocks of a token that is cut, at most.
const BLOCKS_MAX: usize = 8;
/// Bytes kept beyond those that a neighbour has too. An absent id is taken for a present one about
/// once in 256 lookups, and a block is read in vain.
const BYTES_BEYOND: usize = 2;
/// Bytes that cutting must spare.
const SPARED_BYTES_MIN: usize = 4;

/// How much of a token is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of it.
    Whole,
    /// The beginning of a hexadecimal id: digits and `a` to `f`, both of them.
    Hex,
    /// The beginning of a long piece of encoded bytes: letters and digits in quick turns.
    Code,
}

impl Kept {
    /// What a token, folded, would be if it were cut.
    fn of(token: &[u8]) -> Self {
        let digits = token.iter().filter(|byte| byte.is_ascii_digit()).count();
        let goes_on = token.len() + 4 > TOKEN_BYTES_MAX;
        if digits == 0 || token.len() < HEX_BYTES_MIN || goes_on {
            return Self::Whole;
        }
        if digits < token.len() && token.iter().all(|byte| Self::Hex.may_follow(*byte)) {
            return Self::Hex;
        }
        if token.len() < CODE_BYTES_MIN || !token.is_ascii() {
            return Self::Whole;
        }
        let turns = token.windows(2).filter(|pair| {
            pair.iter().any(u8::is_ascii_digit) && pair.iter().any(u8::is_ascii_lowercase)
        });
        if turns.count() * CODE_BYTES_PER_TURN >= token.len() { Self::Code } else { Self::Whole }
    }

    /// Whether a byte may stand in what was cut off.
    fn may_follow(self, byte: u8) -> bool {
        match self {
            Self::Whole => false,
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Code => byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_',
        }
    }

    /// The number that says it in a page.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Whole => 0,
            Self::Hex => 1,
            Self::Code => 2,
        }
    }

    /// Reads such a number.
    pub(super) fn from_number(number: u64) -> Option<Self> {
        [Self::Whole, Self::Hex, Self::Code].into_iter().find(|kept| kept.number() == number)
    }

    /// Whether a token that is kept so, by such a text, may be `token`.
    pub(super) fn may_be(self, text: &[u8], token: &[u8]) -> bool {
        match self {
            Self::Whole => text == token,
            _ => token.len() > text.len() && token.starts_with(text) && Self::of(token) == self,
        }
    }

    /// Whether a token that is kept so, by such a text, may begin with `part`.
    pub(super) fn may_begin(self, text: &[u8], part: &[u8]) -> bool {
        let beyond = part.strip_prefix(text);
        text.starts_with(part)
            || beyond.is_some_and(|rest| rest.iter().all(|byte| self.may_follow(*byte)))
    }

    /// Whether what was cut off, with the end of `text` before it, may hold `part`.
    pub(super) fn may_hold_behind(self, text: &[u8], part: &[u8]) -> bool {
        let fitting = part.iter().rev().take_while(|byte| self.may_follow(**byte)).count();
        let from = part.len() - fitting;
        fitting > 0
            && (from..part.len())
                .any(|at| part.get(..at).is_some_and(|start| text.ends_with(start)))
    }
}

/// How many bytes are kept of a token, and how, if its neighbours in order begin like it with at
/// most `shared` bytes. One that may go on behind [`TOKEN_BYTES_MAX`] is kept whole: anything may
/// stand there, and its length says so.
pub(super) fn kept_of(token: &[u8], shared: usize, blocks: usize) -> (usize, Kept) {
    let bytes = shared + BYTES_BEYOND;
    if blocks > BLOCKS_MAX || bytes + SPARED_BYTES_MIN > token.len() {
        return (token.len(), Kept::Whole);
    }
    match Kept::of(token) {
        Kept::Whole => (token.len(), Kept::Whole),
        kept => (bytes, kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_encoded_bytes_are_cut_and_words_are_not() {
        for (token, kept) in [
            ("4bf92f3577b34da6", Kept::Hex),
            ("a3ce929d0e0e4736a3ce929d0e0e4736", Kept::Hex),
            ("0123456789012345", Kept::Whole),
            ("deadbeefcafe", Kept::Whole),
            ("4bf92f3577b", Kept::Whole),
            ("connection", Kept::Whole),
            ("attempt_1445144423722_0020_m_000001_0", Kept::Whole),
            ("eyjhbgcioijiuzi1niisinr5cci6ikpxvcj9", Kept::Code),
            ("a1é2a1b2c3d4e5f6a7b8c9d0e1f2", Kept::Whole),
        ] {
            assert_eq!(Kept::of(token.as_bytes()), kept, "{token}");
        }
        assert_eq!(kept_of(b"4bf92f3577b34da6", 5, 1), (7, Kept::Hex));
        assert_eq!(kept_of(b"4bf92f3577b34da6", 5, 9), (16, Kept::Whole));
        assert_eq!(kept_of(b"4bf92f3577b34da6", 11, 1), (16, Kept::Whole));
        let long = "4bf92f3577b34da6".repeat(8);
        assert_eq!(kept_of(long.as_bytes(), 5, 1), (128, Kept::Whole));
    }

    #[test]
    fn what_was_cut_off_may_hold_what_its_alphabet_allows() {
        let holds = |part: &str| Kept::Hex.may_hold_behind(b"4bf9", part.as_bytes());
        assert!(holds("dead"));
        assert!(holds("f9dead"));
        assert!(!holds("xdead"), "what is kept does not end with x");
        assert!(!holds("refused"), "no part of it ends the text kept");
        assert!(!holds("dead_"));
        assert!(Kept::Code.may_hold_behind(b"4bf9", b"refused"));
        assert!(!Kept::Whole.may_hold_behind(b"4bf9", b"f9"));
        assert!(Kept::Hex.may_begin(b"4bf9", b"4bf9a"));
        assert!(!Kept::Hex.may_begin(b"4bf9", b"4bf9x"));
        assert!(Kept::Hex.may_begin(b"4bf9", b"4b"));
        assert!(!Kept::Whole.may_begin(b"4bf9", b"4bf9a"));
    }
}
