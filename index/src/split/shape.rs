//! Texts that are times, all of them written alike: a moment and how it is written are the whole text.

use model::time::{date_of, days_since_1970};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// How times are written: RFC 3339 with so many digits behind the second and such a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Between day and time: `T` or a space.
    separator: u8,
    /// Digits of the fraction: none, three, six or nine.
    digits: usize,
    zone: Zone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    /// `Z`.
    Utc,
    /// `+hh:mm`, so many minutes.
    East(i64),
    /// `-hh:mm`.
    West(i64),
}

impl Zone {
    fn minutes_east(self) -> i64 {
        match self {
            Self::Utc => 0,
            Self::East(minutes) => minutes,
            Self::West(minutes) => -minutes,
        }
    }
}

/// In which unit the moments of a shape are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Milli,
    Micro,
    Nano,
}

impl Shape {
    /// How a text is written, and the moment that it names, in its unit since 1970. `None` of what would
    /// not come back as it is.
    pub(super) fn read(text: &str) -> Option<(Self, i64)> {
        let (head, rest) = text.as_bytes().split_first_chunk::<19>()?;
        let (separator, seconds) = civil(head)?;
        let (digits, fraction, zone) = match rest {
            [b'.', rest @ ..] => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (fraction, zone) = rest.split_at_checked(digits)?;
                (matches!(digits, 3 | 6 | 9).then_some(digits)?, number(fraction)?, zone)
            }
            zone => (0, 0, zone),
        };
        let shape = Self { separator, digits, zone: zone_of(zone)? };
        let seconds = seconds - shape.zone.minutes_east() * 60;
        Some((shape, seconds.checked_mul(shape.of_second())?.checked_add(fraction)?))
    }

    /// The unit of its moments.
    pub(super) fn count(self) -> Count {
        match self.digits {
            0 | 3 => Count::Milli,
            6 => Count::Micro,
            _ => Count::Nano,
        }
    }

    /// How many of its units a second has.
    fn of_second(self) -> i64 {
        match self.count() {
            Count::Milli => 1_000,
            Count::Micro => 1_000_000,
            Count::Nano => 1_000_000_000,
        }
    }

    /// Bytes of each of its texts.
    pub(super) fn bytes(self) -> usize {
        let fraction = if self.digits > 0 { self.digits + 1 } else { 0 };
        19 + fraction + if self.zone == Zone::Utc { 1 } else { 6 }
    }

    /// Its text of a moment; `None` where it has none.
    pub(super) fn text(self, moment: i64) -> Option<String> {
        let mut out = Vec::with_capacity(self.bytes());
        Scribe::new(self).write(moment, &mut out)?;
        String::from_utf8(out).ok()
    }
}

/// Writes times of a shape; those of one day after the other more quickly.
pub(super) struct Scribe {
    shape: Shape,
    /// The last day, in days since 1970, and its text.
    day: Option<i64>,
    date: Vec<u8>,
    zone: Vec<u8>,
}

impl Scribe {
    pub(super) fn new(shape: Shape) -> Self {
        let mut zone = Vec::new();
        match shape.zone {
            Zone::Utc => zone.push(b'Z'),
            Zone::East(minutes) | Zone::West(minutes) => {
                zone.push(if matches!(shape.zone, Zone::East(_)) { b'+' } else { b'-' });
                put(&mut zone, minutes / 60, 2);
                zone.push(b':');
                put(&mut zone, minutes % 60, 2);
            }
        }
        Self { shape, day: None, date: Vec::new(), zone }
    }

    /// Appends the text of a moment; `None` where there is none.
    pub(super) fn write(&mut self, moment: i64, out: &mut Vec<u8>) -> Option<()> {
        let (shape, of_second) = (self.shape, self.shape.of_second());
        let (seconds, fraction) = (moment.div_euclid(of_second), moment.rem_euclid(of_second));
        let local = seconds + shape.zone.minutes_east() * 60;
        let (day, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        if self.day != Some(day) {
            self.date = date(day, shape.separator)?;
            self.day = Some(day);
        }
        out.extend_from_slice(&self.date);
        put(out, second / 3_600, 2);
        out.push(b':');
        put(out, second / 60 % 60, 2);
        out.push(b':');
        put(out, second % 60, 2);
        match shape.digits {
            0 if fraction != 0 => return None,
            0 => {}
            digits => {
                out.push(b'.');
                put(out, fraction, digits);
            }
        }
        out.extend_from_slice(&self.zone);
        Some(())
    }
}

/// A day and what follows it.
fn date(day: i64, separator: u8) -> Option<Vec<u8>> {
    let (year, month, day) = date_of(day);
    if !(0..=9_999).contains(&year) {
        return None;
    }
    let mut date = Vec::new();
    put(&mut date, year, 4);
    date.push(b'-');
    put(&mut date, month, 2);
    date.push(b'-');
    put(&mut date, day, 2);
    date.push(separator);
    Some(date)
}

/// Appends a number of so many digits.
fn put(out: &mut Vec<u8>, number: i64, digits: usize) {
    let (start, mut left) = (out.len(), number);
    out.resize(start + digits, b'0');
    for digit in out.iter_mut().skip(start).rev() {
        *digit += u8::try_from(left % 10).unwrap_or_default();
        left /= 10;
    }
}

/// What stands between day and time, and the seconds from 1970 to it where there is no zone.
fn civil(head: &[u8; 19]) -> Option<(u8, i64)> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, separator, rest @ ..] = head else {
        return None;
    };
    let [h1, h2, b':', n1, n2, b':', s1, s2] = rest else { return None };
    let (year, month) = (number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?);
    let (day, hour) = (number(&[*d1, *d2])?, number(&[*h1, *h2])?);
    let (minute, second) = (number(&[*n1, *n2])?, number(&[*s1, *s2])?);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let is_time = (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
    if !is_time || !matches!(separator, b'T' | b' ') {
        return None;
    }
    let seconds = hour * 3_600 + minute * 60 + second;
    Some((*separator, days_since_1970(year, month, day) * DAY + seconds))
}

fn zone_of(text: &[u8]) -> Option<Zone> {
    let &[sign, h1, h2, b':', m1, m2] = text else {
        return (text == b"Z").then_some(Zone::Utc);
    };
    let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    match sign {
        b'+' => Some(Zone::East(hours * 60 + minutes)),
        b'-' => Some(Zone::West(hours * 60 + minutes)),
        _ => None,
    }
}

/// The number that digits are.
fn number(digits: &[u8]) -> Option<i64> {
    let add = |number: i64, byte: &u8| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + i64::from(digit))
    };
    digits.iter().try_fold(0, add)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, moment: i64) {
        let (shape, found) = Shape::read(text).unwrap();
        assert_eq!((found, shape.text(found).as_deref()), (moment, Some(text)));
        assert_eq!(shape.bytes(), text.len());
    }

    #[test]
    fn times_come_back_as_they_were_written() {
        check("1970-01-01T00:00:00Z", 0);
        check("1970-01-01 00:00:01.500Z", 1_500);
        check("1970-01-01T02:00:00.000001+02:00", 1);
        check("1969-12-31T18:59:59.999999999-05:00", -1);
        check("2024-02-29T23:59:59-00:00", 1_709_251_199_000);
        check("2024-02-29T23:59:59+00:00", 1_709_251_199_000);
        check("0000-01-01T00:00:00.000Z", -62_167_219_200_000);
        check("9999-12-31T23:59:59.999Z", 253_402_300_799_999);
        check("2262-04-11T23:47:16.854775807Z", i64::MAX);
    }

    #[test]
    fn what_would_not_come_back_is_no_time() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01t00:00:00Z",
            "2026-01-01T00:00:00z",
            "2026-01-01_00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2016-12-31T23:59:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.1Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00,123Z",
            "2026-01-01T00:00:00+0200",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00+01:60",
            "2026-01-01T00:00:00 Z",
            "2026-01-01T00:00:00ZZ",
            "+026-01-01T00:00:00Z",
            "2262-04-11T23:47:16.854775808Z",
            "1500-01-01T00:00:00.000000000Z",
        ] {
            assert_eq!(Shape::read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_moment_has_one_text_or_none(moment: i64, days in 0_i64..4_000_000, at in 0_usize..7) {
            let examples = [
                "1970-01-01T00:00:00Z",
                "1970-01-01 00:00:00.000Z",
                "1970-01-01T00:00:00.000000Z",
                "1970-01-01T00:00:00.000000000+00:00",
                "1970-01-01T00:00:00.000000-23:59",
                "1970-01-01 00:00:00+05:30",
                "1970-01-01T00:00:00.000-03:00",
            ];
            let (shape, _) = Shape::read(examples[at]).unwrap();
            let day = (days - 720_000).checked_mul(shape.of_second() * DAY).unwrap_or(0);
            for moment in [moment, moment / shape.of_second() * shape.of_second(), day] {
                if let Some(text) = shape.text(moment) {
                    prop_assert_eq!(Shape::read(&text), Some((shape, moment)), "{}", text);
                }
            }
        }

        #[test]
        fn what_is_read_is_written_again(text in "[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{3}|\\.[0-9]{6}|\\.[0-9]{9})?(Z|[+-][0-2][0-9]:[0-6][0-9])") {
            if let Some((shape, moment)) = Shape::read(&text) {
                prop_assert_eq!(shape.text(moment), Some(text));
            }
        }
    }
}
