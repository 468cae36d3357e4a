//! Finds the time a line states near its beginning. Plain bytes, no backtracking over the line.

use model::time::Timestamp;

use model::zone::Stated;

/// Bytes of a first word that may stand before the time.
const WORD_BYTES_MAX: usize = 128;
/// Bytes within which an access log states its time in brackets.
const BRACKET_BYTES_MAX: usize = 256;
/// Names before a time in `name=value` lines.
const NAMES: [&[u8]; 5] = [b"time=", b"ts=", b"timestamp=", b"t=", b"@timestamp="];
/// Digits of the longest number that is a time.
const DIGITS_MAX: usize = 19;
/// Epoch seconds that a number of ten digits is taken for: 2001 to 2100.
const EPOCH_SECONDS: std::ops::Range<i64> = 1_000_000_000..4_102_444_800;

/// The time stated at the beginning of a line, in brackets after a client's address, or after
/// the first word.
pub(super) fn find(line: &[u8]) -> Option<Stated> {
    let line = after_name(after_priority(line));
    any_form(opened(line)).or_else(|| access(line)).or_else(|| after_word(line))
}

/// Passes syslog's `<34>`.
fn after_priority(line: &[u8]) -> &[u8] {
    let Some([b'<', rest @ ..]) = Some(line) else { return line };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match rest.get(digits..) {
        Some([b'>', rest @ ..]) if (1..=3).contains(&digits) => rest,
        _ => line,
    }
}

/// Passes the name in `time=…`; most lines begin with no letter that one begins with.
fn after_name(line: &[u8]) -> &[u8] {
    if !matches!(line, [b't' | b'@', ..]) {
        return line;
    }
    NAMES.iter().find_map(|name| line.strip_prefix(*name)).unwrap_or(line)
}

/// Passes one bracket or quote, and spaces.
fn opened(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    match line {
        [b'[' | b'(' | b'"' | b'\'', rest @ ..] => rest,
        _ => line,
    }
}

fn any_form(at: &[u8]) -> Option<Stated> {
    match at.first()? {
        b'0'..=b'9' => numeric(at),
        b'A'..=b'Z' => named(at),
        _ => None,
    }
}

/// `83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET …`
fn access(line: &[u8]) -> Option<Stated> {
    let head = line.get(..BRACKET_BYTES_MAX).unwrap_or(line);
    memchr::memchr_iter(b'[', head)
        .take(4)
        .find_map(|at| day_month_year(&mut Cursor { bytes: line.get(at + 1..)? }))
}

/// `nova-api.log.1 2017-05-16 00:00:00.008 …`: after a first word, only whole dates count.
fn after_word(line: &[u8]) -> Option<Stated> {
    let head = line.get(..WORD_BYTES_MAX).unwrap_or(line);
    let end = memchr::memchr2(b' ', b'\t', head)?;
    let rest = opened(line.get(end..)?);
    year_first(&mut Cursor { bytes: rest }).or_else(|| day_month_year(&mut Cursor { bytes: rest }))
}

/// Which form it can be is told by how many digits come first.
fn numeric(at: &[u8]) -> Option<Stated> {
    let digits = at.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
    let cursor = &mut Cursor { bytes: at };
    match (digits, at.get(digits)) {
        (4, _) => year_first(cursor),
        (2, Some(b'/')) => short_year(cursor).or_else(|| day_month_year(&mut Cursor { bytes: at })),
        (2, Some(b'-')) => month_day(cursor).or_else(|| day_month_year(&mut Cursor { bytes: at })),
        (1 | 2, _) => day_month_year(cursor),
        (6, _) => compact(cursor),
        (10 | 13 | 16 | 19, _) => epoch(cursor),
        _ => None,
    }
}

fn named(at: &[u8]) -> Option<Stated> {
    let forms: [fn(&mut Cursor<'_>) -> Option<Stated>; 3] = [syslog, weekday, klog];
    forms.into_iter().find_map(|form| form(&mut Cursor { bytes: at }))
}

/// `2015-10-18 18:01:47,978`, `2026-11-23T15:24:00.5+02:00`, `2009/01/23 01:23:23`.
fn year_first(cursor: &mut Cursor<'_>) -> Option<Stated> {
    let year = cursor.number(4)?;
    let separator = cursor.one_of(b"-/")?;
    let month = cursor.number(2)?;
    cursor.one_of(&[separator])?;
    let day = cursor.number(2)?;
    cursor.one_of(b"T t_")?;
    cursor.time(Some(year), month, day)
}

/// `17/06/09 20:10:40`.
fn short_year(cursor: &mut Cursor<'_>) -> Option<Stated> {
    let year = cursor.number(2)?;
    cursor.one_of(b"/")?;
    let month = cursor.number(2)?;
    cursor.one_of(b"/")?;
    let day = cursor.number(2)?;
    cursor.one_of(b" ")?;
    cursor.time(Some(century(year)), month, day)
}

/// `081109 203615`.
fn compact(cursor: &mut Cursor<'_>) -> Option<Stated> {
    let (year, month, day) = (cursor.number(2)?, cursor.number(2)?, cursor.number(2)?);
    cursor.one_of(b" ")?;
    let (hour, minute, second) = (cursor.number(2)?, cursor.number(2)?, cursor.number(2)?);
    if cursor.peek().is_some_and(|byte| !byte.is_ascii_whitespace()) {
        return None;
    }
    civil(Some(century(year)), (month, day), (hour, minute, second), 0, None)
}

/// `03-17 16:13:38.811`.
fn month_day(cursor: &mut Cursor<'_>) -> Option<Stated> {
    let month = cursor.number(2)?;
    cursor.one_of(b"-")?;
    let day = cursor.number(2)?;
    cursor.one_of(b" ")?;
    cursor.time(None, month, day)
}

/// `17/May/2015:10:05:03 +0000`, `23 Nov 2026 15:24:00.123`, `23-Nov-2026 15:24:00`.
fn day_month_year(cursor: &mut Cursor<'_>) -> Option<Stated> {
    let day = cursor.day()?;
    let separator = cursor.one_of(b"/ -")?;
    let month = cursor.month()?;
    cursor.one_of(&[separator])?;
    let year = cursor.number(4)?;
    cursor.one_of(b": ")?;
    cursor.time(Some(year), month, day)
}

/// `1700000000`, also with a fraction or in milli-, micro- or nanoseconds; a space, bracket or
/// the end must follow.
fn epoch(cursor: &mut Cursor<'_>) -> Option<Stated> {
    let digits = cursor.bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(cursor.bytes.get(..digits)?).ok()?;
    let number: i64 = text.parse().ok()?;
    let unit = match digits {
        10 => 1_000_000_000,
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return None,
    };
    cursor.skip(digits);
    let nanos = if digits == 10 { cursor.fraction()? } else { 0 };
    let ended =
        cursor.peek().is_none_or(|byte| byte.is_ascii_whitespace() || b"])\",:".contains(&byte));
    let nanoseconds = number.checked_mul(unit)?.checked_add(i64::from(nanos))?;
    let plausible = EPOCH_SECONDS.contains(&nanoseconds.div_euclid(1_000_000_000));
    (ended && plausible).then_some(Stated::Moment(Timestamp(nanoseconds)))
}

/// `Jun 14 15:16:01`, `Jun  4 15:16:01.5`, `Nov 23 2026 15:24:00`.
fn syslog(cursor: &mut Cursor<'_>) -> Option<Stated> {
    let month = cursor.month()?;
    cursor.one_of(b" ")?;
    let day = cursor.day()?;
    cursor.one_of(b" ")?;
    let mut with_year = Cursor { bytes: cursor.bytes };
    if let Some(year) = with_year.number(4)
        && with_year.one_of(b" ").is_some()
    {
        return with_year.time(Some(year), month, day);
    }
    cursor.time(None, month, day)
}

/// `Sun Dec 04 04:47:44.123 2005`, `Mon, 23 Nov 2026 15:24:00 +0000`.
fn weekday(cursor: &mut Cursor<'_>) -> Option<Stated> {
    let word = cursor.bytes.get(..3)?;
    if !word.iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    cursor.skip(3);
    if cursor.one_of(b",").is_some() {
        cursor.one_of(b" ")?;
        return day_month_year(cursor);
    }
    cursor.one_of(b" ")?;
    let month = cursor.month()?;
    cursor.one_of(b" ")?;
    let day = cursor.day()?;
    cursor.one_of(b" ")?;
    let clock = cursor.clock()?;
    let nanos = cursor.fraction()?;
    cursor.one_of(b" ")?;
    let year = cursor.number(4)?;
    civil(Some(year), (month, day), clock, nanos, None)
}

/// `I0523 12:34:56.789012`.
fn klog(cursor: &mut Cursor<'_>) -> Option<Stated> {
    cursor.one_of(b"IWEFD")?;
    let (month, day) = (cursor.number(2)?, cursor.number(2)?);
    cursor.one_of(b" ")?;
    cursor.time(None, month, day)
}

/// Two-digit years: 70 to 99 were in the last century.
fn century(year: i32) -> i32 {
    if year >= 70 { 1900 + year } else { 2000 + year }
}

fn civil(
    year: Option<i32>,
    (month, day): (i32, i32),
    (hour, minute, second): (i32, i32, i32),
    nanos: i32,
    offset_s: Option<i32>,
) -> Option<Stated> {
    let sound = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    let small = |number: i32| i8::try_from(number).ok();
    let year = match year {
        Some(year) => Some(i16::try_from(year).ok()?),
        None => None,
    };
    sound.then_some(())?;
    Some(Stated::Civil {
        year,
        month: small(month)?,
        day: small(day)?,
        hour: small(hour)?,
        minute: small(minute)?,
        second: small(second.min(59))?,
        nanos,
        offset_s,
    })
}

struct Cursor<'a> {
    bytes: &'a [u8],
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    fn skip(&mut self, count: usize) {
        self.bytes = self.bytes.get(count..).unwrap_or_default();
    }

    fn one_of(&mut self, choices: &[u8]) -> Option<u8> {
        let byte = self.peek().filter(|byte| choices.contains(byte))?;
        self.skip(1);
        Some(byte)
    }

    /// A number of exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<i32> {
        let text = self.bytes.get(..digits)?;
        let mut number = 0;
        for byte in text {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = number * 10 + i32::from(digit);
        }
        self.skip(digits);
        Some(number)
    }

    /// A day of one digit or two, a space for the missing one.
    fn day(&mut self) -> Option<i32> {
        if self.one_of(b" ").is_some() {
            return self.number(1);
        }
        self.number(2).or_else(|| self.number(1))
    }

    fn month(&mut self) -> Option<i32> {
        let &[first, second, third, ..] = self.bytes else { return None };
        let month = match [first | 0x20, second | 0x20, third | 0x20] {
            [b'j', b'a', b'n'] => 1,
            [b'f', b'e', b'b'] => 2,
            [b'm', b'a', b'r'] => 3,
            [b'a', b'p', b'r'] => 4,
            [b'm', b'a', b'y'] => 5,
            [b'j', b'u', b'n'] => 6,
            [b'j', b'u', b'l'] => 7,
            [b'a', b'u', b'g'] => 8,
            [b's', b'e', b'p'] => 9,
            [b'o', b'c', b't'] => 10,
            [b'n', b'o', b'v'] => 11,
            [b'd', b'e', b'c'] => 12,
            _ => return None,
        };
        self.skip(3);
        Some(month)
    }

    /// `18:01:47`.
    fn clock(&mut self) -> Option<(i32, i32, i32)> {
        let hour = self.number(2)?;
        self.one_of(b":")?;
        let minute = self.number(2)?;
        self.one_of(b":")?;
        Some((hour, minute, self.number(2)?))
    }

    /// `.978`, `,978` as nanoseconds; nothing is zero.
    fn fraction(&mut self) -> Option<i32> {
        let separated = matches!(self.bytes, [b'.' | b',', digit, ..] if digit.is_ascii_digit());
        if !separated {
            return Some(0);
        }
        self.skip(1);
        let (mut nanos, mut unit) = (0_i32, 100_000_000_i32);
        while let Some(digit) = self.peek().filter(u8::is_ascii_digit) {
            nanos += i32::from(digit - b'0') * unit;
            unit /= 10;
            self.skip(1);
        }
        Some(nanos)
    }

    /// Time of day, fraction and zone, after a date.
    fn time(&mut self, year: Option<i32>, month: i32, day: i32) -> Option<Stated> {
        let clock = self.clock()?;
        let nanos = self.fraction()?;
        civil(year, (month, day), clock, nanos, self.zone())
    }

    /// `Z`, `+02:00`, `-0330`, ` UTC` as seconds east; `None` when none is stated.
    fn zone(&mut self) -> Option<i32> {
        let at = self.bytes.strip_prefix(b" ").unwrap_or(self.bytes);
        let spaced = at.len() < self.bytes.len();
        let free = |rest: &[u8]| rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric());
        match at {
            [b'Z' | b'z', rest @ ..] if !spaced && free(rest) => Some(0),
            [b'U', b'T', b'C', rest @ ..] | [b'G', b'M', b'T', rest @ ..] if free(rest) => Some(0),
            [sign @ (b'+' | b'-'), rest @ ..] => {
                let mut rest = Cursor { bytes: rest };
                let hours = rest.number(2)?;
                let colon = rest.one_of(b":").is_some();
                let minutes = rest.number(2);
                // After a space only the form +0000 is a zone; ` -12` is more likely text.
                if (minutes.is_none() && (colon || spaced)) || !free(rest.bytes) {
                    return None;
                }
                let seconds = (hours * 60 + minutes.unwrap_or(0)) * 60;
                (hours <= 15).then_some(if *sign == b'-' { -seconds } else { seconds })
            }
            _ => None,
        }
    }
}
