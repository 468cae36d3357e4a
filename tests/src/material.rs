//! The files that are shipped, and what a reader knows to be in them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::oracle::Truth;

/// How the lines of a file state time and level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Android,
    Apache,
    Access,
    Compact,
    Iso,
    Syslog,
    SecondWord,
    Slashes,
    Json,
}

/// Which form a file has is told by the beginning of its name.
const FORMS: [(&str, Form); 13] = [
    ("Android", Form::Android),
    ("Apache", Form::Apache),
    ("HDFS", Form::Compact),
    ("Hadoop", Form::Iso),
    ("Linux", Form::Syslog),
    ("OpenSSH", Form::Syslog),
    ("OpenStack", Form::SecondWord),
    ("Spark", Form::Slashes),
    ("Zookeeper", Form::Iso),
    ("apache_logs", Form::Access),
    ("nginxplus_json_logs", Form::Json),
    ("access", Form::Access),
    ("json", Form::Json),
];

/// The files of the folder beside the repository and our own fixtures, in this order.
#[must_use]
pub fn files() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = here.join("../../shared/data");
    let mut files = Vec::new();
    for folder in [shared.join("loghub"), shared.join("elastic"), here.join("fixtures")] {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            eprintln!("skipped: {} is not there", folder.display());
            continue;
        };
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        found.retain(|path| form(path).is_some() && path.extension().is_none_or(|e| e == "log"));
        found.sort();
        files.extend(found);
    }
    files
}

fn form(path: &Path) -> Option<Form> {
    let name = path.file_name()?.to_str()?;
    // The longest name that fits: `Apache` is not `apache_logs`, but `access` could be more.
    FORMS.iter().find(|(start, _)| name.starts_with(start)).map(|(_, form)| *form)
}

/// Copies the files into a folder, each with an end to its last line: a file that is followed
/// may always grow, so a line without an end waits.
///
/// # Panics
/// The disk does not do as told.
#[must_use]
pub fn stage(files: &[PathBuf], folder: &Path) -> Vec<PathBuf> {
    let stage = |file: &PathBuf| {
        let mut bytes = std::fs::read(file).unwrap();
        if !bytes.ends_with(b"\n") {
            bytes.push(b'\n');
        }
        let to = folder.join(file.file_name().unwrap());
        std::fs::write(&to, bytes).unwrap();
        to
    };
    files.iter().map(stage).collect()
}

/// What is in a file, read at `now` (nanoseconds), in UTC.
///
/// # Panics
/// A line does not have the form its file is known for.
#[must_use]
pub fn read(file: &Path, now: i64) -> Vec<Truth> {
    let source = file.to_str().unwrap();
    let form = form(file).unwrap();
    let text = String::from_utf8(std::fs::read(file).unwrap()).unwrap();
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    lines.filter(|line| !line.is_empty()).map(|line| truth(source, form, line, now)).collect()
}

fn truth(source: &str, form: Form, line: &str, now: i64) -> Truth {
    if form == Form::Json {
        return of_json(source, line);
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let inner = |open| line.split_once(open).and_then(|(_, rest)| rest.split_once(']')).unwrap().0;
    let time = match form {
        Form::Android | Form::Iso | Form::Slashes | Form::Compact => {
            digits(&format!("{} {}", words[0], words[1]))
        }
        Form::SecondWord => digits(&format!("{} {}", words[1], words[2])),
        Form::Syslog => digits(&named(words[0], words[1], words[2])),
        Form::Apache => {
            let parts: Vec<&str> = inner('[').split_whitespace().collect();
            digits(&format!("{} {}", parts[4], named(parts[1], parts[2], parts[3])))
        }
        Form::Access => {
            let parts: Vec<&str> = inner('[').split(['/', ':', ' ']).collect();
            let clock = format!("{} {} {}", parts[3], parts[4], parts[5]);
            digits(&format!("{} {}", parts[2], named(parts[1], parts[0], &clock)))
        }
        Form::Json => Vec::new(),
    };
    let mut truth = Truth::new(source, Some(moment(form, &time, now)), line.to_owned());
    truth.level = match form {
        Form::Android => Some(level(words[4])),
        Form::Apache => Some(level(line.split(['[', ']']).nth(3).unwrap())),
        Form::Compact => Some(level(words[3])),
        Form::Iso => Some(level(if words[2] == "-" { words[3] } else { words[2] })),
        Form::SecondWord => Some(level(words[4])),
        Form::Slashes => Some(level(words[2])),
        Form::Access | Form::Syslog | Form::Json => None,
    };
    truth
}

fn level(word: &str) -> &'static str {
    match word {
        "V" => "trace",
        "D" | "DEBUG" => "debug",
        "I" | "INFO" | "notice" | "info" => "info",
        "W" | "WARN" | "WARNING" | "warn" => "warn",
        "E" | "ERROR" | "error" => "error",
        "FATAL" => "fatal",
        other => panic!("the oracle does not know the level {other:?}"),
    }
}

/// `05 17 10 05 03` for a month by name.
fn named(month: &str, day: &str, clock: &str) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    format!("{} {day} {clock}", MONTHS.find(month).unwrap() / 3 + 1)
}

/// The numbers of a text, with how many digits each has.
fn digits(text: &str) -> Vec<(i64, usize)> {
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    numbers.map(|part| (part.parse().unwrap(), part.len())).collect()
}

fn moment(form: Form, time: &[(i64, usize)], now: i64) -> i64 {
    let mut numbers = Vec::new();
    for (number, length) in time {
        // `081109` is three numbers.
        if form == Form::Compact && *length == 6 {
            numbers.extend([number / 10_000, number / 100 % 100, number % 100]);
        } else {
            numbers.push(*number);
        }
    }
    let short = matches!(form, Form::Compact | Form::Slashes);
    if short {
        numbers[0] += 2000;
    }
    if matches!(form, Form::Android | Form::Syslog) {
        // No year: the latest that does not lie more than a day ahead.
        let year = 1970 + now / 31_556_952_000_000_000;
        let at = |year: i64| {
            let mut whole = vec![year];
            whole.extend(&numbers);
            nanoseconds(&whole)
        };
        let limit = now + 86_400_000_000_000;
        return [year + 1, year, year - 1].map(at).into_iter().find(|t| *t <= limit).unwrap();
    }
    nanoseconds(&numbers)
}

/// Year, month, day, hour, minute, second, and milliseconds if there are any.
fn nanoseconds(numbers: &[i64]) -> i64 {
    let [year, month, day, hour, minute, second] = numbers[..6] else { unreachable!() };
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let mut days: i64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let february = if is_leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += months[..usize::try_from(month - 1).unwrap()].iter().sum::<i64>() + day - 1;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    seconds * 1_000_000_000 + numbers.get(6).copied().unwrap_or(0) * 1_000_000
}

fn of_json(source: &str, line: &str) -> Truth {
    let Value::Object(mut object) = serde_json::from_str(line).unwrap() else {
        panic!("not an object: {line}")
    };
    let time = object.shift_remove("timestamp").and_then(|t| t.as_i64()).map(|t| t * 1_000_000);
    let message = match object.shift_remove("message") {
        Some(Value::String(text)) => text,
        _ => line.trim().to_owned(),
    };
    let stated = object.shift_remove("level");
    let mut truth = Truth::new(source, time, message);
    truth.level = stated.and_then(|l| l.as_str().map(level));
    flatten(&mut truth.fields, "", Value::Object(object));
    truth
}

fn flatten(fields: &mut Vec<(String, Value)>, name: &str, value: Value) {
    match value {
        Value::Null => {}
        Value::Array(values) => values.into_iter().for_each(|value| flatten(fields, name, value)),
        Value::Object(object) => {
            for (key, value) in object {
                let name = if name.is_empty() { key } else { format!("{name}.{key}") };
                flatten(fields, &name, value);
            }
        }
        value => fields.push((name.to_owned(), value)),
    }
}
