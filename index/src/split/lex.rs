//! A message as tokens and what stands between them, and which tokens vary from record to record.

use model::limits::TOKEN_BYTES_MAX;
use model::text::tokens;

/// What stands in a template in the place of a token that varies. It is no part of any UTF-8 text.
pub(super) const SLOT: u8 = 0xff;

/// Whether a byte is a word character by itself.
fn is_ascii_word(byte: u8) -> bool {
    WORD.get(usize::from(byte)).copied().unwrap_or(false)
}

const WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        #[expect(clippy::indexing_slicing, reason = "it is computed while compiling")]
        #[expect(clippy::cast_possible_truncation, reason = "below 128")]
        {
            table[byte] = byte == b'_' as usize || (byte as u8).is_ascii_alphanumeric();
        }
        byte += 1;
    }
    table
};

/// The token that begins a text, if one does.
fn first_token(text: &str) -> &str {
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|byte| !is_ascii_word(*byte)).unwrap_or(bytes.len());
    if bytes.get(end).is_none_or(u8::is_ascii) {
        return text.get(..end).unwrap_or_default();
    }
    // Beyond ASCII characters decide together where a token ends.
    tokens(text).next().unwrap_or_default()
}

/// Calls `each` with the place of every token (`start..end`, bytes), in order.
pub(super) fn each_token(text: &str, mut each: impl FnMut(usize, usize)) {
    each_of(text, |start, end, _| each(start, end));
}

/// Calls `each` with every token's place (`start..end`, bytes), and whether it varies whatever its
/// count, in order.
pub(super) fn each_judged(text: &str, mut each: impl FnMut(usize, usize, bool)) {
    each_of(text, |start, end, has_digit| {
        each(start, end, has_digit || end - start > TOKEN_BYTES_MAX);
    });
}

/// Calls `each` with every token's place, and whether it has a digit.
fn each_of(text: &str, mut each: impl FnMut(usize, usize, bool)) {
    if !text.is_ascii() {
        let base = text.as_ptr() as usize;
        for token in tokens(text) {
            let start = token.as_ptr() as usize - base;
            each(start, start + token.len(), token.bytes().any(|byte| byte.is_ascii_digit()));
        }
        return;
    }
    // The token that goes on in the next group: where it begins, and whether it has a digit so far.
    let mut open: Option<(usize, bool)> = None;
    for (base, group) in (0..).step_by(GROUP).zip(text.as_bytes().chunks(GROUP)) {
        let Kinds { words, digits } = Kinds::of(group);
        let mut left = words;
        if let Some((start, has_digit)) = open.take() {
            let end = words.trailing_ones();
            let has_digit = has_digit || digits & below(end) != 0;
            if end == u64::BITS {
                open = Some((start, has_digit));
                continue;
            }
            each(start, base + end as usize, has_digit);
            left &= !below(end);
        }
        while left != 0 {
            let from = left.trailing_zeros();
            let end = from + (left >> from).trailing_ones();
            let has_digit = digits & below(end) & !below(from) != 0;
            if end == u64::BITS {
                open = Some((base + from as usize, has_digit));
                break;
            }
            each(base + from as usize, base + end as usize, has_digit);
            left &= !below(end);
        }
    }
    if let Some((start, has_digit)) = open {
        each(start, text.len(), has_digit);
    }
}

/// Bytes that are looked at together: as many as a word of the machine has bits.
const GROUP: usize = u64::BITS as usize;

/// The lowest bits, so many.
fn below(bits: u32) -> u64 {
    u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0)
}

/// What the bytes of a group of ASCII text are, a bit for each. Bits behind the group are not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Kinds {
    /// Word characters.
    words: u64,
    /// Digits.
    digits: u64,
}

impl Kinds {
    /// Of up to [`GROUP`] bytes below 128.
    fn of(group: &[u8]) -> Self {
        let mut kinds = Self::default();
        let (eights, rest) = group.as_chunks::<8>();
        let mut shift = 0;
        for eight in eights {
            kinds.add(u64::from_le_bytes(*eight), shift);
            shift += 8;
        }
        if !rest.is_empty() {
            let mut eight = [0; 8];
            eight.iter_mut().zip(rest).for_each(|(to, byte)| *to = *byte);
            kinds.add(u64::from_le_bytes(eight), shift);
        }
        kinds
    }

    /// Adds eight bytes, all of them at once: each is compared in its own eight bits, by whether a sum
    /// reaches the highest of them.
    fn add(&mut self, bytes: u64, shift: u32) {
        let (from_0, above_9) = (bytes + each_byte(0x80 - b'0'), bytes + each_byte(0x7f - b'9'));
        let lower = bytes | each_byte(0x20);
        let (from_a, above_z) = (lower + each_byte(0x80 - b'a'), lower + each_byte(0x7f - b'z'));
        let other = (bytes ^ each_byte(b'_')) + each_byte(0x7f);
        let digits = from_0 & !above_9;
        self.words |= highest(digits | from_a & !above_z | !other) << shift;
        self.digits |= highest(digits) << shift;
    }
}

/// Eight times that byte.
const fn each_byte(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The highest bit of each byte, as the lowest eight bits: the product puts them side by side.
const fn highest(bytes: u64) -> u64 {
    ((bytes & each_byte(0x80)) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Whether a token varies whatever its count: it has a digit, or is longer than tokens are kept.
pub(super) fn always_varies(token: &[u8]) -> bool {
    token.len() > TOKEN_BYTES_MAX || token.iter().any(u8::is_ascii_digit)
}

/// Calls `each` with the tokens of the message that stand in the slots of its template. `None`
/// stands for a template without any fixed part: every token varies.
pub(super) fn each_slot<'a>(
    message: &'a str,
    template: Option<&[u8]>,
    mut each: impl FnMut(&'a str),
) {
    let Some(template) = template else {
        each_token(message, |start, end| each(message.get(start..end).unwrap_or_default()));
        return;
    };
    // Between two slots the texts are the same, so a slot is found by the length before it.
    let (mut at, mut rest) = (0, template);
    while let Some(fixed) = memchr::memchr(SLOT, rest) {
        at += fixed;
        let token = message.get(at..).map(first_token).unwrap_or_default();
        each(token);
        at += token.len();
        rest = rest.get(fixed + 1..).unwrap_or_default();
    }
}

/// The fixed texts of a template, between its slots.
pub(super) fn fixed_texts(template: &[u8]) -> impl Iterator<Item = &str> {
    template.split(|byte| *byte == SLOT).filter_map(|fixed| std::str::from_utf8(fixed).ok())
}

/// A template as people read it.
pub(crate) fn show(template: &[u8]) -> String {
    let mut text = String::with_capacity(template.len() + 16);
    for (at, fixed) in fixed_texts(template).enumerate() {
        text.push_str(if at > 0 { PLACEHOLDER } else { "" });
        text.push_str(fixed);
    }
    text
}

/// The normal form of a message, which is its pattern: [`PLACEHOLDER`] stands for the tokens that
/// vary by their look. It hangs on nothing but the message, so the same text has the same pattern in
/// fresh rows and in every split.
pub(crate) fn pattern_of(message: &str) -> String {
    let (bytes, mut tokens) = (message.as_bytes(), Vec::new());
    each_judged(message, |start, end, varies| tokens.push(Token { start, end, varies }));
    vary_ids(bytes, &mut tokens);
    let mut pattern = String::with_capacity(message.len());
    let mut at = 0;
    for token in tokens.iter().filter(|token| token.varies) {
        pattern.push_str(message.get(at..token.start).unwrap_or_default());
        pattern.push_str(PLACEHOLDER);
        at = token.end;
    }
    pattern.push_str(message.get(at..).unwrap_or_default());
    pattern
}

/// A token of a message, by its place.
struct Token {
    start: usize,
    end: usize,
    varies: bool,
}

/// Lengths of the parts of a UUID. Of fifty parts with four characters one has no digit.
const ID_PARTS: [usize; 3] = [4, 8, 12];

/// Whether a token may be a part of an id: hexadecimal letters, so many as a part of a UUID has.
fn is_id_part(token: &[u8]) -> bool {
    ID_PARTS.contains(&token.len()) && token.iter().all(u8::is_ascii_hexdigit)
}

/// Parts of ids vary as the parts beside them do: those that a hyphen joins to a token that varies.
fn vary_ids(bytes: &[u8], tokens: &mut [Token]) {
    let are_joined = |end: usize, start: usize| bytes.get(end..start) == Some(b"-".as_slice());
    let is_part = |token: &Token| is_id_part(bytes.get(token.start..token.end).unwrap_or_default());
    let mut before: Option<usize> = None;
    for token in tokens.iter_mut() {
        let is_beside = before.is_some_and(|end| are_joined(end, token.start));
        token.varies = token.varies || is_beside && is_part(&*token);
        before = token.varies.then_some(token.end);
    }
    let mut after: Option<usize> = None;
    for token in tokens.iter_mut().rev() {
        let is_beside = after.is_some_and(|start| are_joined(token.end, start));
        token.varies = token.varies || is_beside && is_part(&*token);
        after = token.varies.then_some(token.start);
    }
}

/// What people see in the place of a token that varies.
const PLACEHOLDER: &str = "<*>";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(message: &str, varies: impl Fn(&str) -> bool, template: &str, slots: &[&str]) {
        let mut made = Vec::new();
        let mut at = 0;
        each_token(message, |start, end| {
            if varies(&message[start..end]) {
                made.extend_from_slice(&message.as_bytes()[at..start]);
                made.push(SLOT);
                at = end;
            }
        });
        made.extend_from_slice(&message.as_bytes()[at..]);
        assert_eq!(show(&made), template);
        let mut found = Vec::new();
        each_slot(message, Some(&made), |token| found.push(token));
        assert_eq!(found, slots);
    }

    #[test]
    fn ascii_words_are_the_models() {
        for byte in 0..=127_u8 {
            assert_eq!(is_ascii_word(byte), model::text::is_word(char::from(byte)), "{byte}");
        }
        for text in ["a1 b", "", "abc", "abé d", "ab错", "x"] {
            assert_eq!(first_token(text), tokens(text).next().unwrap_or_default(), "{text}");
        }
    }

    #[test]
    fn groups_are_what_their_bytes_are() {
        for byte in 0..=127_u8 {
            for at in [0, 3, 7, 8, 62, 63] {
                let mut group = [b' '; GROUP];
                group[at] = byte;
                let bit = |is: bool| u64::from(is) << at;
                let (words, digits) = (bit(is_ascii_word(byte)), bit(byte.is_ascii_digit()));
                assert_eq!(Kinds::of(&group), Kinds { words, digits }, "{byte} at {at}");
                assert_eq!(Kinds::of(&group[..=at]), Kinds { words, digits }, "{byte} at {at}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn tokens_are_the_models(
            parts in proptest::collection::vec("[a-z0-9_]{0,90}|[ -~]{0,9}|\\PC{0,3}", 0..6),
        ) {
            let text = parts.concat();
            let mut found = Vec::new();
            each_judged(&text, |start, end, varies| {
                let token = &text[start..end];
                assert_eq!(varies, always_varies(token.as_bytes()), "{token}");
                found.push(token);
            });
            proptest::prop_assert_eq!(found, tokens(&text).collect::<Vec<_>>());
        }
    }

    #[test]
    fn slots_give_back_the_tokens_that_vary() {
        let digit = |token: &str| always_varies(token.as_bytes());
        check("GET /a/17?x=9 ok", digit, "GET /a/<*>?x=<*> ok", &["17", "9"]);
        check("7", digit, "<*>", &["7"]);
        check("", digit, "", &[]);
        check("错误abc日志", |token| token == "日", "错误abc<*>志", &["日"]);
        check("错误日志", |_| true, "<*><*><*><*>", &["错", "误", "日", "志"]);
    }

    #[test]
    fn a_pattern_hangs_on_the_message_alone() {
        for (message, pattern) in [
            ("GET /a/17?x=9 ok", "GET /a/<*>?x=<*> ok"),
            ("user ann logged in", "user ann logged in"),
            ("", ""),
            ("7", "<*>"),
            ("错误7日志", "错误<*>日志"),
            ("a<*>b 1", "a<*>b <*>"),
            ("id 550e8400-e29b-41d4-a716-446655440000 gone", "id <*>-<*>-<*>-<*>-<*> gone"),
            // Parts without a digit, also several beside each other and at either end.
            ("id deadbeef-cafe-41d4-beef-abcdefabcdef gone", "id <*>-<*>-<*>-<*>-<*> gone"),
            ("dead beef-face web-1 cafe-latte", "dead beef-face web-<*> cafe-latte"),
            ("dead - 1 dead--1 dead-1", "dead - <*> dead--<*> <*>-<*>"),
        ] {
            assert_eq!(pattern_of(message), pattern, "{message}");
        }
    }
}
