//! Syslog: RFC 5424 with its structured data, RFC 3164, and what daemons write to /var/log
//! (`Jun 14 15:16:01 host app[12]: text`), each with or without `<PRI>`.

use model::level::Level;
use nom::bytes::complete::{is_not, tag, take_till1, take_while, take_while_m_n, take_while1};
use nom::character::complete::{anychar, char, one_of, space1};
use nom::combinator::{opt, recognize, verify};
use nom::multi::{many0, many1};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser as _};

use super::Said;

/// Names of the facilities by their number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

/// The head's parts.
pub(super) fn read(line: &str) -> Option<Said> {
    let (rest, priority) = opt(priority).parse(line).ok()?;
    let mut said = Said::default();
    if let Some(priority) = priority {
        said.level = Some(level(priority % 8));
        said.text("facility", FACILITIES.get(usize::from(priority / 8)).copied().unwrap_or("-"));
    }
    if let Ok((rest, ())) = new_head(rest, &mut said) {
        structured(rest, &mut said);
        return Some(said);
    }
    said.fields.truncate(usize::from(priority.is_some()));
    match old_head(rest) {
        Ok((_, (time, host, app, pid))) => {
            said.time = Some(time.to_owned());
            said.text("hostname", host);
            said.text("app", app);
            said.number("pid", pid.unwrap_or_default());
            Some(said)
        }
        // A priority alone makes it syslog; without one it is some other text.
        Err(_) => priority.map(|_| said),
    }
}

fn level(severity: u8) -> Level {
    match severity {
        0..=2 => Level::Fatal,
        3 => Level::Error,
        4 => Level::Warn,
        5 | 6 => Level::Info,
        _ => Level::Debug,
    }
}

fn priority(rest: &str) -> IResult<&str, u8> {
    let digits = take_while_m_n(1, 3, |c: char| c.is_ascii_digit());
    let number = digits.map(|digits: &str| digits.parse().unwrap_or(u8::MAX));
    delimited(char('<'), verify(number, |number| *number < 192), char('>')).parse(rest)
}

/// `1 2026-11-23T15:24:00Z host app procid msgid`.
fn new_head<'a>(rest: &'a str, said: &mut Said) -> IResult<&'a str, ()> {
    let word =
        |rest: &'a str| terminated(take_till1(|c: char| c == ' '), opt(char(' '))).parse(rest);
    let (rest, _) = tag("1 ").parse(rest)?;
    let (rest, (time, host, app, process, message)) = (word, word, word, word, word).parse(rest)?;
    said.time = Some(time.to_owned());
    said.text("hostname", host);
    said.text("app", app);
    said.number("pid", process);
    said.text("msgid", message);
    Ok((rest, ()))
}

/// `[id name="value" …]…`, each as `id.name`.
fn structured(rest: &str, said: &mut Said) {
    let name =
        |rest| recognize(many1(is_not::<_, &str, nom::error::Error<&str>>("= ]\""))).parse(rest);
    let inside = recognize(many0(nom::branch::alt((
        recognize((char('\\'), anychar)),
        is_not::<_, &str, nom::error::Error<&str>>("\\\""),
    ))));
    let value = delimited(char('"'), inside, char('"'));
    let parameter = preceded(space1, (terminated(name, char('=')), value));
    let element = delimited(char('['), (name, many0(parameter)), char(']'));
    if let Ok((_, elements)) = many0(element).parse(rest) {
        for (id, parameters) in elements {
            for (name, value) in parameters {
                let value = value.replace("\\\"", "\"").replace("\\]", "]").replace("\\\\", "\\");
                said.text(&format!("{id}.{name}"), &value);
            }
        }
    }
}

type OldHead<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

/// `Jun 14 15:16:01 host app[pid]: `, or with an RFC 3339 time.
fn old_head(rest: &str) -> IResult<&str, OldHead<'_>> {
    let digits =
        |count_min, count_max| take_while_m_n(count_min, count_max, |c: char| c.is_ascii_digit());
    let clock = take_while_m_n(8, 15, |c: char| c.is_ascii_digit() || ":.".contains(c));
    let month = take_while_m_n(3, 3, |c: char| c.is_ascii_alphabetic());
    let bsd = recognize((month, space1, digits(1, 2), space1, clock));
    let iso = recognize((
        digits(4, 4),
        char('-'),
        digits(2, 2),
        char('-'),
        digits(2, 2),
        one_of("T"),
        take_while1(|c: char| c.is_ascii_digit() || ":.+-Z".contains(c)),
    ));
    let app = take_while1(|c: char| c > ' ' && !"[]():".contains(c));
    let pid = opt(delimited(char('['), take_while(|c: char| c != ']'), char(']')));
    let note = opt(delimited(char('('), take_while(|c: char| c != ')'), char(')')));
    let (rest, (time, _, host, _, app, _, pid, _)) = (
        nom::branch::alt((bsd, iso)),
        space1,
        take_till1(|c: char| c == ' ' || c == ':'),
        space1,
        app,
        note,
        pid,
        char(':'),
    )
        .parse(rest)?;
    Ok((rest, (time, host, app, pid)))
}
