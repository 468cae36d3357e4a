//! Spans of time and sizes as people and programs write them: `5ms`, `1h30m`, `1.5s`, `10KB`, `4 MiB`.

/// Units of time with their nanoseconds. Months and years have no fixed length and are none.
const SPANS: [(&str, f64); 10] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 6e10),
    ("h", 3.6e12),
    ("d", 8.64e13),
    ("w", 6.048e14),
];

/// Units of size with their bytes: decimal, and binary with an `i`.
const SIZES: [(&str, f64); 11] = [
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("pb", 1e15),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
    ("pib", 1_125_899_906_842_624.0),
];

/// Endings of field names that say in which unit their numbers are, with nanoseconds.
const SPAN_NAMES: [(&str, f64); 12] = [
    ("ns", 1.0),
    ("nanos", 1.0),
    ("us", 1e3),
    ("micros", 1e3),
    ("ms", 1e6),
    ("millis", 1e6),
    ("msec", 1e6),
    ("s", 1e9),
    ("sec", 1e9),
    ("secs", 1e9),
    ("seconds", 1e9),
    ("minutes", 6e10),
];

/// A span of time in nanoseconds: numbers with units, one behind the other (`1h30m`, `1.5s`,
/// `-2ms`). `None` when the text is none.
#[must_use]
pub fn read_duration(text: &str) -> Option<f64> {
    let text = text.trim();
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text),
    };
    let mut sum = 0.0;
    loop {
        let (number, tail) = number(rest)?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at_checked(end)?;
        let (_, scale) = SPANS.iter().find(|(name, _)| *name == unit)?;
        sum += number * scale;
        if after.is_empty() {
            return Some(sign * sum);
        }
        rest = after;
    }
}

/// A size in bytes: a number and a unit in any case, perhaps a space between (`10KB`, `4 MiB`).
/// `None` when the text is none.
#[must_use]
pub fn read_size(text: &str) -> Option<f64> {
    let (number, tail) = number(text.trim())?;
    let unit = tail.trim_start();
    let (_, scale) = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    Some(number * scale)
}

/// Nanoseconds of one in a field of that name: `took_ms`, `duration.seconds`. `None` when the
/// name does not say.
#[must_use]
pub fn duration_unit(name: &str) -> Option<f64> {
    unit(name, &SPAN_NAMES)
}

/// Bytes of one in a field of that name: `cache_mb`; plain numbers are bytes.
#[must_use]
pub fn size_unit(name: &str) -> f64 {
    unit(name, &SIZES).unwrap_or(1.0)
}

fn unit(name: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (_, last) = name.rsplit_once(['_', '.', '-'])?;
    units.iter().find(|(unit, _)| unit.eq_ignore_ascii_case(last)).map(|(_, scale)| *scale)
}

/// A number without sign at the beginning, and what follows.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, tail) = text.split_at_checked(end)?;
    let number: f64 = digits.parse().ok()?;
    number.is_finite().then_some((number, tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, duration: Option<f64>, size: Option<f64>) {
        assert_eq!((read_duration(text), read_size(text)), (duration, size), "{text}");
    }

    #[test]
    fn spans_and_sizes_are_told_apart_by_their_units() {
        check("5ms", Some(5e6), None);
        check("1h30m", Some(5.4e12), None);
        check("1.5s", Some(1.5e9), None);
        check("-2ms", Some(-2e6), None);
        check("1m0.5s", Some(6.05e10), None);
        check("10KB", None, Some(1e4));
        check("4 MiB", None, Some(4_194_304.0));
        check("7b", None, Some(7.0));
        check("5", None, None);
        check("ms", None, None);
        check("5 ms later", None, None);
        check("", None, None);
    }

    #[test]
    fn names_say_their_unit() {
        assert_eq!(duration_unit("took_ms"), Some(1e6));
        assert_eq!(duration_unit("a.duration.seconds"), Some(1e9));
        assert_eq!(duration_unit("items"), None);
        assert_eq!(duration_unit("ms"), None);
        assert!((size_unit("cache_mb") - 1e6).abs() < 1e-9);
        assert!((size_unit("size") - 1.0).abs() < 1e-9);
    }
}
