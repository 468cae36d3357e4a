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

/// The template of a message as people read it, as far as its own tokens tell.
pub(crate) fn pattern_of(message: &str) -> String {
    let mut template = Vec::with_capacity(message.len());
    let mut at = 0;
    each_token(message, |start, end| {
        if always_varies(message.as_bytes().get(start..end).unwrap_or_default()) {
            template.extend_from_slice(message.as_bytes().get(at..start).unwrap_or_default());
            template.push(SLOT);
            at = end;
        }
    });
    template.extend_from_slice(message.as_bytes().get(at..).unwrap_or_default());
    show(&template)
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
}
