//! Times of templates, in UTC, written as Go's layouts say: as its reference time, 2006-01-02 15:04:05, would be.

use jiff::tz::TimeZone;
use model::time::Timestamp;

use super::value::Value;

/// How Go shows a time by itself.
pub(super) const PLAIN: &str = "2006-01-02 15:04:05.999999999 -0700 MST";

pub(super) const NANOS: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * NANOS;
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// From the day of the week of 1970-01-01 on.
pub(super) const DAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// What layouts are made of; of two that begin alike the longer one comes first.
const PARTS: [&str; 29] = [
    "2006", "January", "Jan", "Monday", "Mon", "MST", "002", "01", "02", "03", "04", "05", "06",
    "15", "PM", "pm", "-07:00", "-0700", "-07", "Z07:00", "Z0700", "Z07", "_2", "1", "2", "3", "4",
    "5", "",
];

/// The nanoseconds of a time that is written as we do.
pub(super) fn read(text: &str) -> Option<i128> {
    Timestamp::parse(text).map(|time| i128::from(time.0))
}

/// The nanoseconds of a value.
pub(super) fn nanos(value: &Value<'_>) -> i128 {
    match value {
        Value::Time(nanos) => *nanos,
        value => read(&value.shown()).unwrap_or(0),
    }
}

/// A time in a layout; nothing of what is no time.
pub(super) fn date(layout: &str, value: &Value<'_>) -> String {
    let time = match value {
        Value::Time(nanos) => Some(*nanos),
        value => read(&value.shown()),
    };
    time.map(|time| shown(layout, time)).unwrap_or_default()
}

/// Days, seconds, milliseconds, microseconds or nanoseconds since 1970, by how many digits they have.
pub(super) fn from_epoch(text: &str) -> i128 {
    let text = text.trim();
    let unit = match text.trim_start_matches('-').len() {
        5 => DAY,
        0..=10 => NANOS,
        11..=13 => 1_000_000,
        14..=16 => 1_000,
        _ => 1,
    };
    text.parse::<i64>().map_or(0, |number| i128::from(number) * unit)
}

/// What a layout begins with; nothing where that stands for itself.
pub(super) fn part_of(layout: &str) -> &'static str {
    PARTS.iter().find(|part| layout.starts_with(**part)).copied().unwrap_or_default()
}

/// A time in a layout.
pub(super) fn shown(layout: &str, nanos: i128) -> String {
    let Ok(moment) = jiff::Timestamp::from_nanosecond(nanos) else {
        return String::new();
    };
    let time = moment.to_zoned_datetime(TimeZone::UTC);
    let hour = i32::from(time.hour());
    let day_name = usize::try_from(nanos.div_euclid(DAY).rem_euclid(7)).unwrap_or(0);
    let day_name = DAYS.get(day_name).copied().unwrap_or_default();
    let month = usize::try_from(time.month() - 1).unwrap_or(0);
    let month = MONTHS.get(month).copied().unwrap_or_default();
    let half = if hour % 12 == 0 { 12 } else { hour % 12 };
    let (mut text, mut rest) = (String::new(), layout);
    while let Some(first) = rest.chars().next() {
        if let Some((digits, behind)) = fraction(rest, time.subsec_nanosecond()) {
            text.push_str(&digits);
            rest = behind;
            continue;
        }
        let part = part_of(rest);
        let written = match part {
            "2006" => format!("{:04}", time.year()),
            "06" => format!("{:02}", time.year().rem_euclid(100)),
            "January" => month.to_owned(),
            "Jan" => month.chars().take(3).collect(),
            "01" => format!("{:02}", time.month()),
            "1" => time.month().to_string(),
            "Monday" => day_name.to_owned(),
            "Mon" => day_name.chars().take(3).collect(),
            "02" => format!("{:02}", time.day()),
            "_2" => format!("{:>2}", time.day()),
            "2" => time.day().to_string(),
            "002" => format!("{:03}", time.day_of_year()),
            "15" => format!("{hour:02}"),
            "03" => format!("{half:02}"),
            "3" => half.to_string(),
            "04" => format!("{:02}", time.minute()),
            "4" => time.minute().to_string(),
            "05" => format!("{:02}", time.second()),
            "5" => time.second().to_string(),
            "PM" => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            "pm" => if hour < 12 { "am" } else { "pm" }.to_owned(),
            "MST" => "UTC".to_owned(),
            "Z07:00" | "Z0700" | "Z07" => "Z".to_owned(),
            "-07:00" => "+00:00".to_owned(),
            "-0700" => "+0000".to_owned(),
            "-07" => "+00".to_owned(),
            _ => first.to_string(),
        };
        text.push_str(&written);
        rest = rest
            .get(part.len().max(first.len_utf8() * usize::from(part.is_empty()))..)
            .unwrap_or_default();
    }
    text
}

/// Digits of a second where a layout has them: `.000` so many, `.999` those that are no zeros at the end.
fn fraction(layout: &str, nanos: i32) -> Option<(String, &str)> {
    let (digit, count, behind) = fraction_of(layout)?;
    let sign = layout.chars().next()?;
    let all = format!("{nanos:09}");
    let digits = all.get(..count)?;
    let digits = if digit == '9' { digits.trim_end_matches('0') } else { digits };
    let text = if digits.is_empty() { String::new() } else { format!("{sign}{digits}") };
    Some((text, behind))
}

/// The digit of a fraction with which a layout begins, how often it stands there, and what is behind it.
pub(super) fn fraction_of(layout: &str) -> Option<(char, usize, &str)> {
    let inside = layout.strip_prefix(['.', ','])?;
    let digit = inside.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = inside.find(|c| c != digit).unwrap_or(inside.len());
    let behind = inside.get(count..)?;
    // More digits behind them are those of something else.
    let is_one = !behind.starts_with(|c: char| c.is_ascii_digit()) && count <= 9;
    is_one.then_some((digit, count, behind))
}
