//! An object of JSON as most programs write it, read in one pass onto a desk: plain numbers, and texts
//! whose escapes are no halves of characters. What is anything else is left to the reader of all JSON;
//! what is read here is read as there.

use super::Place;
use super::desk::{Desk, Held, PLACE_MAX, Span};
use super::members::Found;
use crate::limits::{FIELD_NAME_BYTES_MAX, RECORD_DEPTH_MAX, RECORD_FIELDS_MAX};

/// Digits of a whole number that surely fits 64 bits.
const DIGITS_MAX: usize = 18;
/// Digits of a number with a fraction that a float holds exactly, so that one division rounds it
/// as it must be.
const FLOAT_DIGITS_MAX: usize = 15;

/// Why a line is not read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The reader of all JSON has to say what it is.
    Unusual,
    /// It is no object of JSON.
    Broken,
}

/// What was passed.
type Passed<T> = Result<T, Stop>;

/// Reads the object that a line is.
pub(super) fn read(line: &str, desk: &mut Desk, found: &mut Found) -> Passed<()> {
    if line.len() > PLACE_MAX {
        return Err(Stop::Unusual);
    }
    let mut reader = Reader { text: line, at: 0, desk, found };
    reader.expect(b'{')?;
    reader.members(None, 1)?;
    reader.skip_space();
    if reader.at == line.len() { Ok(()) } else { Err(Stop::Broken) }
}

struct Reader<'a, 'd> {
    text: &'a str,
    at: usize,
    desk: &'d mut Desk,
    found: &'d mut Found,
}

impl Reader<'_, '_> {
    /// The members of an object whose brace was passed, and the brace behind them.
    fn members(&mut self, prefix: Option<Span>, depth: usize) -> Passed<()> {
        if self.token()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.expect(b'"')?;
            let key = self.text()?;
            self.expect(b':')?;
            let name = match prefix.filter(|prefix| prefix.len() > 0) {
                None => key,
                Some(prefix) => self.desk.join(self.text, prefix, key).ok_or(Stop::Unusual)?,
            };
            self.value(name, depth)?;
            if self.ended(b'}')? {
                return Ok(());
            }
        }
    }

    /// The elements of a list, as [`Reader::members`]: each is a value under the one name.
    fn elements(&mut self, name: Span, depth: usize) -> Passed<()> {
        if self.token()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(name, depth)?;
            if self.ended(b']')? {
                return Ok(());
            }
        }
    }

    /// Passes what ends it, or the comma before what follows.
    fn ended(&mut self, by: u8) -> Passed<bool> {
        let next = self.token()?;
        self.at += 1;
        if next == by || next == b',' { Ok(next == by) } else { Err(Stop::Broken) }
    }

    /// Passes the next value and notes it under its name; null is nothing.
    fn value(&mut self, name: Span, depth: usize) -> Passed<()> {
        let bound = depth > RECORD_DEPTH_MAX || name.len() > FIELD_NAME_BYTES_MAX;
        if bound || self.desk.count() >= RECORD_FIELDS_MAX {
            return Err(Stop::Unusual);
        }
        let value = match self.token()? {
            b'"' => {
                self.at += 1;
                Held::text(self.text()?)
            }
            b'{' => {
                self.at += 1;
                return self.members(Some(name), depth + 1);
            }
            b'[' => {
                self.at += 1;
                return self.elements(name, depth + 1);
            }
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.word("true", Held::bool(true))?,
            b'f' => self.word("false", Held::bool(false))?,
            _ => return self.word("null", ()),
        };
        let place = if depth == 1 { Place::Top } else { Place::Below };
        self.desk.push(self.text, self.found, name, value, place);
        Ok(())
    }

    /// Passes a word that stands for something.
    fn word<T>(&mut self, word: &str, meant: T) -> Passed<T> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        self.at += word.len();
        if rest.starts_with(word.as_bytes()) { Ok(meant) } else { Err(Stop::Broken) }
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
    fn token(&mut self) -> Passed<u8> {
        self.skip_space();
        self.peek().ok_or(Stop::Broken)
    }

    fn expect(&mut self, byte: u8) -> Passed<()> {
        if self.token()? != byte {
            return Err(Stop::Broken);
        }
        self.at += 1;
        Ok(())
    }

    /// The text whose quote was passed, and the quote behind it.
    fn text(&mut self) -> Passed<Span> {
        let start = self.at;
        match self.run()? {
            b'"' => Ok(Span::of_line(start, self.at - 1)),
            _ => self.escaped(start),
        }
    }

    /// Passes plain bytes and the quote or the backslash behind them.
    fn run(&mut self) -> Passed<u8> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = plain_bytes(rest);
        self.at += length + 1;
        rest.get(length).copied().filter(|byte| *byte >= b' ').ok_or(Stop::Broken)
    }

    /// A text whose first backslash was passed.
    fn escaped(&mut self, start: usize) -> Passed<Span> {
        let (own, mut from) = (self.desk.begin(), start);
        loop {
            self.desk.add(self.text.get(from..self.at - 1).unwrap_or_default());
            let meant = self.escape()?;
            self.desk.add(meant.encode_utf8(&mut [0; 4]));
            from = self.at;
            if self.run()? == b'"' {
                self.desk.add(self.text.get(from..self.at - 1).unwrap_or_default());
                return self.desk.own_since(own).ok_or(Stop::Unusual);
            }
        }
    }

    /// Passes what stands behind a backslash: the character that is meant.
    fn escape(&mut self) -> Passed<char> {
        let sign = self.peek().ok_or(Stop::Broken)?;
        self.at += 1;
        Ok(match sign {
            b'"' | b'\\' | b'/' => char::from(sign),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let digits = self.text.get(self.at..self.at + 4).ok_or(Stop::Unusual)?;
                self.at += 4;
                // A sign before them would be read, too.
                let number =
                    u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'));
                number.and_then(char::from_u32).ok_or(Stop::Unusual)?
            }
            _ => return Err(Stop::Broken),
        })
    }

    fn number(&mut self) -> Passed<Held> {
        let negative = self.peek() == Some(b'-');
        self.at += usize::from(negative);
        let (mut digits, mut number) = (0, 0);
        let first = self.peek();
        self.digits(&mut digits, &mut number);
        // Zeros before a number are no JSON.
        if digits == 0 || (first == Some(b'0') && digits > 1) {
            return Err(Stop::Broken);
        }
        // And a zero below zero is a float.
        if digits > DIGITS_MAX || (first == Some(b'0') && negative) {
            return Err(Stop::Unusual);
        }
        match self.peek() {
            Some(b'.') => {
                self.at += 1;
                let whole = digits;
                self.digits(&mut digits, &mut number);
                if digits == whole {
                    return Err(Stop::Broken);
                }
                if digits > FLOAT_DIGITS_MAX || matches!(self.peek(), Some(b'e' | b'E')) {
                    return Err(Stop::Unusual);
                }
                let scale = POWERS.get(digits - whole).ok_or(Stop::Unusual)?;
                #[expect(clippy::cast_precision_loss, reason = "of so few digits none is lost")]
                let value = number as f64 / scale;
                Ok(Held::float(if negative { -value } else { value }))
            }
            Some(b'e' | b'E') => Err(Stop::Unusual),
            _ => Ok(Held::int(if negative { -number } else { number })),
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

    use super::super::{Flat, JsonError, flat_of_any};
    use super::*;

    /// What is read here is read as by the reader of all JSON, and what is broken is so there.
    fn read_both_ways<'l>(desk: &mut Desk, line: &'l [u8]) -> Result<Flat<'l>, Stop> {
        let quick = desk.read(line).map(|quick| {
            let flat = quick.into_flat();
            let (count, bytes) = quick.weight();
            assert_eq!((count, bytes), (flat.fields.len(), flat.weight()));
            assert_eq!(quick.message(), flat.message);
            let fields: Vec<_> = quick.fields().collect();
            let same = flat.fields.iter().map(|(name, value)| (&**name, value.plain()));
            assert_eq!(fields, same.collect::<Vec<_>>());
            flat
        });
        let general = flat_of_any(line);
        let shown = String::from_utf8_lossy(line);
        match &quick {
            Ok(flat) => assert_eq!(Ok(flat), general.as_ref(), "{shown}"),
            Err(Stop::Broken) => {
                let broken = matches!(general, Err(JsonError::Syntax(_) | JsonError::NotObject));
                assert!(broken, "{shown}: {general:?}");
            }
            Err(Stop::Unusual) => {}
        }
        quick
    }

    #[track_caller]
    fn check(line: &str, expected: Result<(), Stop>) {
        let read = read_both_ways(&mut Desk::default(), line.as_bytes());
        assert_eq!(read.map(|_| ()), expected, "{line}");
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
    fn plain_objects_are_read() {
        for line in [
            r#"{}"#,
            r#" { "a" : 1 , "b":-2.50,"c":true,"d":null,"e":"x ü" } "#,
            r#"{"time":"2026-11-28T10:00:00Z","level":"warn","msg":"hello","n":17}"#,
            r#"{"ts":1700000000,"severity":30,"message":1,"msg":"m","log.level":"info"}"#,
            r#"{"msg":"one","msg":"two","time":"no time","timestamp":1700000000.25}"#,
            r#"{"a":123456789012345678,"b":0.1,"c":0,"d":12345678.1234567}"#,
            r#"{"a":{},"b":[],"c":{"d":[1,[2,{"e":"x"}],null]},"log":{"level":"warn"}}"#,
            r#"{"":{"a":{"b":1}},"msg":["a"],"message":{"msg":"no"}}"#,
            r#"{"a":"\n","\"b\\":{"\u00fc\t":"\/\b\f\r\u0041 and \u20ac"},"m\u0073g":"\""}"#,
            r#"{"message":"\u0000","level":"war\u006e","":"\\"}"#,
        ] {
            check(line, Ok(()));
        }
    }

    #[test]
    fn all_else_is_left() {
        for unusual in [
            r#"{"a":-0}"#,
            r#"{"a":1e5}"#,
            r#"{"a":1.5E5}"#,
            r#"{"a":1234567890123456789}"#,
            r#"{"a":1.23456789012345678}"#,
            r#"{"a":"\ud83d\ude00"}"#,
            r#"{"a":"\ud83d"}"#,
            r#"{"a":"\u+041"}"#,
            r#"{"a":"\u00"}"#,
        ] {
            check(unusual, Err(Stop::Unusual));
        }
        for broken in [
            r#"{"a":"\x"}"#,
            r#"{"a":"\"#,
            r#"{"a":{}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":[1}"#,
            r#"{"a":01}"#,
            r#"{"a":-01}"#,
            r#"{"a":-}"#,
            r#"{"a":1.}"#,
            r#"{"a":.5}"#,
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            r#"{"a":1}x"#,
            r#"{"a":1"#,
            r#"{"a":truee}"#,
            r#"{"a":nul}"#,
            "{\"a\":\"\t\"}",
            r#"["a"]"#,
            "{",
            "",
        ] {
            check(broken, Err(Stop::Broken));
        }
    }

    #[test]
    fn bounds_are_left() {
        let deep = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        check(&deep(RECORD_DEPTH_MAX), Ok(()));
        check(&deep(RECORD_DEPTH_MAX + 1), Err(Stop::Unusual));
        let named = |length: usize| format!(r#"{{"{}":1}}"#, "n".repeat(length));
        check(&named(FIELD_NAME_BYTES_MAX), Ok(()));
        check(&named(FIELD_NAME_BYTES_MAX + 1), Err(Stop::Unusual));
        let many = |count: usize| format!("{{\"a\":[{}1]}}", "1,".repeat(count - 1));
        check(&many(RECORD_FIELDS_MAX), Ok(()));
        check(&many(RECORD_FIELDS_MAX + 1), Err(Stop::Unusual));
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_read_as_elsewhere(
            members in prop::collection::vec((
                "(ts|time|@timestamp|level|severity|msg|message|log|a|b.c|ü|\\\\u00e4|[a-z]{1,9})",
                "(\"(info|WARN|x y|[ -~ü]{0,20}|2026-11-28T10:00:00(.5)?Z|([a-z ]{0,9}\\\\[nrtbf/\"u\\\\](00e4)?){1,4}|\\\\ud83d(\\\\ude00)?)\"|-?[0-9]{1,19}|-?[0-9]{1,9}\\.[0-9]{1,9}|true|false|null|\\{\\}|\\[1, \\{\"level\":\"warn\"\\}\\]|\\{\"level\":\"info\",\"b\":[2]\\}|1e3)",
            ), 0..9),
            cut in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let text = |(name, value): &(String, String)| format!("\"{name}\":{value}");
            let inner: Vec<String> = members.iter().map(text).collect();
            let mut line = format!("{{{}}}", inner.join(", ")).into_bytes();
            // What is left on the desk is no part of what comes next.
            let mut desk = Desk::default();
            for _ in 0..2 {
                let read = read_both_ways(&mut desk, &line).map(|_| ());
                prop_assert_eq!(read, desk.read(&line).map(|_| ()));
                // And once more with a byte that is another.
                let place = cut.index(line.len());
                line[place] = byte;
            }
        }
    }
}
