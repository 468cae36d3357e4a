//! An object of JSON as most programs write it, read in one pass: names and values without escapes,
//! plain numbers. What is anything else is left to the reader of all JSON; what is read here is
//! read as there.

use std::borrow::Cow;

use super::{Flat, Members, Place, Value};
use crate::limits::{FIELD_NAME_BYTES_MAX, RECORD_DEPTH_MAX, RECORD_FIELDS_MAX};

/// Digits of a whole number that surely fits 64 bits.
const DIGITS_MAX: usize = 18;
/// Digits of a number with a fraction that a float holds exactly, so that one division rounds it
/// as it must be.
const FLOAT_DIGITS_MAX: usize = 15;

/// The record of such a line; `None` for every other.
pub(super) fn flat(line: &[u8]) -> Option<Flat<'_>> {
    let text = std::str::from_utf8(line).ok()?;
    let mut reader = Reader { text, at: 0, members: Members::default() };
    reader.expect(b'{')?;
    reader.members("", 1)?;
    reader.skip_space();
    let whole = || Cow::Borrowed(text.trim());
    (reader.at == line.len()).then(|| reader.members.choose(whole))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    members: Members<'a>,
}

impl<'a> Reader<'a> {
    /// The members of an object whose brace was passed, and the brace behind them.
    fn members(&mut self, prefix: &str, depth: usize) -> Option<()> {
        if self.token()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.expect(b'"')?;
            let key = self.text()?;
            self.expect(b':')?;
            let name = match prefix {
                "" => Cow::Borrowed(key),
                prefix => Cow::Owned([prefix, ".", key].concat()),
            };
            self.value(name, depth)?;
            if self.ended(b'}')? {
                return Some(());
            }
        }
    }

    /// The elements of a list, as [`Reader::members`]: each is a value under the one name.
    #[expect(clippy::ptr_arg, reason = "a borrowed name stays borrowed")]
    fn elements(&mut self, name: &Cow<'a, str>, depth: usize) -> Option<()> {
        if self.token()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.value(name.clone(), depth)?;
            if self.ended(b']')? {
                return Some(());
            }
        }
    }

    /// Passes what ends it, or the comma before what follows.
    fn ended(&mut self, by: u8) -> Option<bool> {
        let next = self.token()?;
        self.at += 1;
        (next == by || next == b',').then_some(next == by)
    }

    /// Passes the next value and notes it under its name; null is nothing.
    fn value(&mut self, name: Cow<'a, str>, depth: usize) -> Option<()> {
        let bound = depth > RECORD_DEPTH_MAX || name.len() > FIELD_NAME_BYTES_MAX;
        if bound || self.members.count() >= RECORD_FIELDS_MAX {
            return None;
        }
        let next = self.token()?;
        let rest = self.text.as_bytes().get(self.at..)?;
        let value = match next {
            b'"' | b'{' | b'[' => {
                self.at += 1;
                match next {
                    b'{' => return self.members(&name, depth + 1),
                    b'[' => return self.elements(&name, depth + 1),
                    _ => Value::Text(Cow::Borrowed(self.text()?)),
                }
            }
            b'-' | b'0'..=b'9' => self.number()?,
            _ if rest.starts_with(b"null") => {
                self.at += 4;
                return Some(());
            }
            _ => {
                let (word, truth) = if next == b't' { ("true", true) } else { ("false", false) };
                self.at += word.len();
                rest.starts_with(word.as_bytes()).then_some(Value::Bool(truth))?
            }
        };
        let place = if depth == 1 { Place::Top } else { Place::Below };
        self.members.push(name, value, place);
        Some(())
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// The next byte that is no space.
    fn token(&mut self) -> Option<u8> {
        self.skip_space();
        self.peek()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.token()? == byte).then(|| self.at += 1)
    }

    /// The text whose quote was passed, and the quote behind it.
    fn text(&mut self) -> Option<&'a str> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..)?;
        let length = plain_bytes(rest);
        if rest.get(length) != Some(&b'"') {
            return None;
        }
        self.at += length + 1;
        self.text.get(start..start + length)
    }

    fn number(&mut self) -> Option<Value<'a>> {
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let (mut digits, mut number) = (0, 0);
        let first = self.peek();
        self.digits(&mut digits, &mut number);
        // Zeros before a number are no JSON, and a zero below zero is a float.
        if digits == 0 || digits > DIGITS_MAX || (first == Some(b'0') && (digits > 1 || negative)) {
            return None;
        }
        match self.peek() {
            Some(b'.') => {
                self.at += 1;
                let whole = digits;
                self.digits(&mut digits, &mut number);
                let exact = digits > whole && digits <= FLOAT_DIGITS_MAX;
                if !exact || matches!(self.peek(), Some(b'e' | b'E')) {
                    return None;
                }
                let scale = POWERS.get(digits - whole)?;
                #[expect(clippy::cast_precision_loss, reason = "of so few digits none is lost")]
                let value = number as f64 / scale;
                Some(Value::Float(if negative { -value } else { value }))
            }
            Some(b'e' | b'E') => None,
            _ => Some(Value::Int(if negative { -number } else { number })),
        }
    }

    /// Passes digits, one more than fit at most.
    fn digits(&mut self, count: &mut usize, number: &mut i64) {
        while let Some(digit) = self.peek().map(|byte| byte.wrapping_sub(b'0'))
            && digit < 10
            && *count <= DIGITS_MAX
        {
            if *count < DIGITS_MAX {
                *number = *number * 10 + i64::from(digit);
            }
            *count += 1;
            self.at += 1;
        }
    }
}

/// Tens that a float holds exactly.
const POWERS: [f64; FLOAT_DIGITS_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// How many bytes there are before a quote, a backslash or a control character.
fn plain_bytes(bytes: &[u8]) -> usize {
    let mut passed = 0;
    for eight in bytes.as_chunks::<8>().0 {
        let found = special(u64::from_le_bytes(*eight));
        if found != 0 {
            return passed + found.trailing_zeros() as usize / 8;
        }
        passed += 8;
    }
    let rest = bytes.get(passed..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\');
    passed + end.unwrap_or(rest.len())
}

/// The high bit of each byte that ends a plain text; of bytes behind the first one perhaps wrongly.
fn special(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let below = |limit: u64, bytes: u64| bytes.wrapping_sub(ONES * limit) & !bytes;
    let is = |byte: u8| below(1, eight ^ (ONES * u64::from(byte)));
    (below(0x20, eight) | is(b'"') | is(b'\\')) & HIGH
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::flat_of_any;
    use super::*;

    /// What is read here is read as by the reader of all JSON.
    #[track_caller]
    fn check(line: &str, read: bool) {
        let quick = flat(line.as_bytes());
        assert_eq!(quick.is_some(), read, "{line}");
        if let Some(quick) = quick {
            assert_eq!(Ok(quick), flat_of_any(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn plain_bytes_are_counted_as_one_by_one() {
        const LENGTH: usize = 19;
        for (byte, last) in (0..=u8::MAX).flat_map(|byte| b"a\"\x1f\xff".map(|last| (byte, last))) {
            for at in 0..LENGTH {
                let mut bytes = [b'a'; LENGTH];
                bytes[LENGTH - 1] = last;
                bytes[at] = byte;
                let ends = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
                let slow = bytes.iter().position(ends).unwrap_or(LENGTH);
                assert_eq!(plain_bytes(&bytes), slow, "{byte} at {at} before {last}");
            }
        }
    }

    #[test]
    fn plain_objects_are_read_and_all_else_is_left() {
        check(r#"{}"#, true);
        check(r#" { "a" : 1 , "b":-2.50,"c":true,"d":null,"e":"x ü" } "#, true);
        check(r#"{"time":"2026-11-28T10:00:00Z","level":"warn","msg":"hello","n":17}"#, true);
        check(r#"{"ts":1700000000,"severity":30,"message":1,"msg":"m","log.level":"info"}"#, true);
        check(r#"{"msg":"one","msg":"two","time":"no time","timestamp":1700000000.25}"#, true);
        check(r#"{"a":123456789012345678,"b":0.1,"c":0,"d":12345678.1234567}"#, true);
        check(r#"{"a":{},"b":[],"c":{"d":[1,[2,{"e":"x"}],null]},"log":{"level":"warn"}}"#, true);
        check(r#"{"":{"a":{"b":1}},"msg":["a"],"message":{"msg":"no"}}"#, true);
        for other in [
            r#"{"a":"\n"}"#,
            r#"{"a":{}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1}"#,
            r#"{"a":-0}"#,
            r#"{"a":01}"#,
            r#"{"a":1e5}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1234567890123456789}"#,
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            r#"{"a":1}x"#,
            r#"{"a":1"#,
            r#"{"a":truee}"#,
            "{\"a\":\"\t\"}",
            r#"{"a":1.23456789012345678}"#,
            r#"["a"]"#,
            "{",
            "",
        ] {
            check(other, false);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_read_as_elsewhere(
            members in prop::collection::vec((
                "(ts|time|@timestamp|level|severity|msg|message|log|a|b.c|ü|[a-z]{1,9})",
                "(\"(info|WARN|x y|[ -~ü]{0,20}|2026-11-28T10:00:00(.5)?Z)\"|-?[0-9]{1,19}|-?[0-9]{1,9}\\.[0-9]{1,9}|true|false|null|\\{\\}|\\[1, \\{\"level\":\"warn\"\\}\\]|\\{\"level\":\"info\",\"b\":[2]\\}|1e3)",
            ), 0..9),
            cut in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let text = |(name, value): &(String, String)| format!("\"{name}\":{value}");
            let inner: Vec<String> = members.iter().map(text).collect();
            let mut line = format!("{{{}}}", inner.join(", ")).into_bytes();
            for _ in 0..2 {
                if let Some(quick) = flat(&line) {
                    prop_assert_eq!(Ok(quick), flat_of_any(&line));
                }
                // And once more with a byte that is another.
                let place = cut.index(line.len());
                line[place] = byte;
            }
        }
    }
}
