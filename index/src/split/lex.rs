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
    if text.is_ascii() {
        let mut start = None;
        for (at, byte) in text.bytes().enumerate() {
            match (start, is_ascii_word(byte)) {
                (None, true) => start = Some(at),
                (Some(from), false) => {
                    each(from, at);
                    start = None;
                }
                _ => {}
            }
        }
        if let Some(from) = start {
            each(from, text.len());
        }
        return;
    }
    let base = text.as_ptr() as usize;
    for token in tokens(text) {
        let start = token.as_ptr() as usize - base;
        each(start, start + token.len());
    }
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
    each_token(message, |start, end| {
        let varies = always_varies(bytes.get(start..end).unwrap_or_default());
        tokens.push(Token { start, end, varies });
    });
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
