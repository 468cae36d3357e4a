//! Syslog: RFC 5424 with its structured data, RFC 3164, and what daemons write to /var/log
//! (`Jun 14 15:16:01 host app[12]: text`), each with or without `<PRI>`.

use std::net::Ipv6Addr;

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_till1, take_while, take_while_m_n, take_while1};
use nom::character::complete::{anychar, char, one_of, space1};
use nom::combinator::{not, opt, recognize, verify};
use nom::multi::{many0, many1};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser as _};

use crate::level::Level;
use crate::time::Timestamp;
use crate::zone::{Stated, Zone};

/// Names of the facilities by their number.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];
/// Names of the months as RFC 3164 writes them.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Parameters of structured data that are read; more stay in the line.
const PARAMETERS_MAX: usize = 256;

/// What a message says, as it stands there. What is not said, or said as `-`, is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message<'a> {
    /// Facility and severity, below 192.
    pub priority: Option<u8>,
    /// The text that states the time.
    pub time: Option<&'a str>,
    /// The machine.
    pub host: Option<&'a str>,
    /// The program.
    pub app: Option<&'a str>,
    /// Its process, mostly a number.
    pub process: Option<&'a str>,
    /// The kind of message.
    pub id: Option<&'a str>,
    /// Structured data: `id.name` and value.
    pub structured: Vec<(String, String)>,
    /// The text behind the head.
    pub text: &'a str,
    /// What is wrong with it by the standard it claims.
    pub fault: Option<&'static str>,
}

impl Message<'_> {
    /// The level that its severity is.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        self.priority.map(|priority| match priority % 8 {
            0..=2 => Level::Fatal,
            3 => Level::Error,
            4 => Level::Warn,
            5 | 6 => Level::Info,
            _ => Level::Debug,
        })
    }

    /// The name of its facility.
    #[must_use]
    pub fn facility(&self) -> Option<&'static str> {
        FACILITIES.get(usize::from(self.priority? / 8)).copied()
    }

    /// The moment it states; without zone and year as they are at the receiver.
    #[must_use]
    pub fn moment(&self, zone: &mut Zone, now: Timestamp) -> Option<Timestamp> {
        let text = self.time?;
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return Timestamp::parse(text);
        }
        zone.resolve(&bsd_time(text)?, now)
    }
}

/// Reads a message. `None`: it is none, having neither a priority nor a head.
#[must_use]
pub fn read(line: &str) -> Option<Message<'_>> {
    let (rest, priority) = opt(priority).parse(line).ok()?;
    let bare = Message { priority, text: rest, ..Message::default() };
    if let Ok((rest, message)) = new_head(rest, &bare) {
        let (text, structured) = structured(rest).unwrap_or((rest, Vec::new()));
        let sound = rest.is_empty() || text.len() < rest.len();
        let fault = (!sound).then_some("its structured data is none");
        let text = text.strip_prefix(' ').unwrap_or(text);
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        return Some(Message { structured, text, fault, ..message });
    }
    if let Ok((text, (time, host, app, process))) = old_head(rest) {
        let text = text.strip_prefix(' ').unwrap_or(text);
        return Some(Message { time: Some(time), host, app: Some(app), process, text, ..bare });
    }
    // A priority makes it syslog, whatever follows; without one it is some other text.
    priority?;
    if let Ok((text, (time, app, process))) = hostless_head(rest) {
        let text = text.strip_prefix(' ').unwrap_or(text);
        return Some(Message { time: Some(time), app: Some(app), process, text, ..bare });
    }
    if let Ok((text, (time, host))) = tagless_head(rest) {
        return Some(Message { time: Some(time), host: said(host), text, ..bare });
    }
    let fault = rest.starts_with("1 ").then_some("its head is not that of RFC 5424");
    Some(Message { fault, ..bare })
}

fn said(word: &str) -> Option<&str> {
    (!word.is_empty() && word != "-").then_some(word)
}

fn priority(rest: &str) -> IResult<&str, u8> {
    let digits = take_while_m_n(1, 3, |c: char| c.is_ascii_digit());
    let number = digits.map(|digits: &str| digits.parse().unwrap_or(u8::MAX));
    delimited(char('<'), verify(number, |number| *number < 192), char('>')).parse(rest)
}

/// `1 2026-11-23T15:24:00Z host app procid msgid`.
fn new_head<'a>(rest: &'a str, bare: &Message<'a>) -> IResult<&'a str, Message<'a>> {
    let word =
        |rest: &'a str| terminated(take_till1(|c: char| c == ' '), opt(char(' '))).parse(rest);
    let (rest, _) = tag("1 ").parse(rest)?;
    let (rest, (time, host, app, process, id)) = (word, word, word, word, word).parse(rest)?;
    let message = Message {
        time: said(time),
        host: said(host),
        app: said(app),
        process: said(process),
        id: said(id),
        ..bare.clone()
    };
    Ok((rest, message))
}

/// `-`, or `[id name="value" …]…`, each as `id.name`.
fn structured(rest: &str) -> IResult<&str, Vec<(String, String)>> {
    if let Some(rest) =
        rest.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with(' '))
    {
        return Ok((rest, Vec::new()));
    }
    let name =
        |rest| recognize(many1(is_not::<_, &str, nom::error::Error<&str>>("= ]\""))).parse(rest);
    let inside = recognize(many0(alt((
        recognize((char('\\'), anychar)),
        is_not::<_, &str, nom::error::Error<&str>>("\\\""),
    ))));
    let value = delimited(char('"'), inside, char('"'));
    let parameter = preceded(space1, (terminated(name, char('=')), value));
    let element = delimited(char('['), (name, many0(parameter)), (opt(space1), char(']')));
    let (rest, elements) = many0(element).parse(rest)?;
    let pairs = elements.into_iter().flat_map(|(id, parameters)| {
        parameters.into_iter().map(move |(name, value)| (format!("{id}.{name}"), unescaped(value)))
    });
    Ok((rest, pairs.take(PARAMETERS_MAX).collect()))
}

/// `\"`, `\]` and `\\` are what they escape; any other backslash is itself.
fn unescaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value.chars().peekable();
    while let Some(c) = rest.next() {
        match rest.peek() {
            Some(&next) if c == '\\' && matches!(next, '"' | ']' | '\\') => {
                text.push(next);
                rest.next();
            }
            _ => text.push(c),
        }
    }
    text
}

type OldHead<'a> = (&'a str, Option<&'a str>, &'a str, Option<&'a str>);

/// `Jun 14 15:16:01 host app[pid]: `, or with an RFC 3339 time.
fn old_head(rest: &str) -> IResult<&str, OldHead<'_>> {
    let (rest, (time, _, host, _, (app, pid))) =
        (old_time, space1, host, space1, app_and_process).parse(rest)?;
    Ok((rest, (time, said(host), app, pid)))
}

/// The same without a host.
fn hostless_head(rest: &str) -> IResult<&str, (&str, &str, Option<&str>)> {
    let (rest, (time, _, (), (app, pid))) =
        (old_time, space1, not(address), app_and_process).parse(rest)?;
    Ok((rest, (time, app, pid)))
}

/// The same without a program.
fn tagless_head(rest: &str) -> IResult<&str, (&str, &str)> {
    let (rest, (time, _, host, _)) = (old_time, space1, host, char(' ')).parse(rest)?;
    Ok((rest, (time, host)))
}

/// A name or an address.
fn host(rest: &str) -> IResult<&str, &str> {
    alt((address, take_till1(|c: char| c == ' ' || c == ':'))).parse(rest)
}

/// An address of IPv6, which has colons as the tag of a program has.
fn address(rest: &str) -> IResult<&str, &str> {
    let is_address = |word: &str| word.parse::<Ipv6Addr>().is_ok();
    verify(take_till1(|c: char| c == ' '), is_address).parse(rest)
}

/// `app(note)[pid]:`.
fn app_and_process(rest: &str) -> IResult<&str, (&str, Option<&str>)> {
    let app = take_while1(|c: char| c > ' ' && !"[]():".contains(c));
    let pid = opt(delimited(char('['), take_while(|c: char| c != ']'), char(']')));
    let note = opt(delimited(char('('), take_while(|c: char| c != ')'), char(')')));
    let (rest, (app, _, pid, _)) = (app, note, pid, char(':')).parse(rest)?;
    Ok((rest, (app, pid.and_then(said))))
}

fn old_time(rest: &str) -> IResult<&str, &str> {
    let digits =
        |count_min, count_max| take_while_m_n(count_min, count_max, |c: char| c.is_ascii_digit());
    let clock = take_while_m_n(8, 15, |c: char| c.is_ascii_digit() || ":.".contains(c));
    let month = take_while_m_n(3, 3, |c: char| c.is_ascii_alphabetic());
    let year = opt(terminated(digits(4, 4), space1));
    let bsd = recognize((month, space1, digits(1, 2), space1, year, clock));
    let iso = recognize((
        digits(4, 4),
        char('-'),
        digits(2, 2),
        char('-'),
        digits(2, 2),
        one_of("T"),
        take_while1(|c: char| c.is_ascii_digit() || ":.+-Z".contains(c)),
    ));
    alt((bsd, iso)).parse(rest)
}

/// `Jun 14 15:16:01.5`, `Nov 23 2026 15:24:00`.
fn bsd_time(text: &str) -> Option<Stated> {
    let mut words = text.split_ascii_whitespace();
    let (month, day) = (words.next()?, words.next()?);
    let (first, second) = (words.next()?, words.next());
    let (year, clock) = match second {
        Some(clock) => (Some(first.parse().ok()?), clock),
        None => (None, first),
    };
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut parts = clock.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let nanos = format!("{:0<9}", fraction.get(..fraction.len().min(9))?).parse().ok()?;
    let sound = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    sound.then_some(Stated::Civil {
        year,
        month: i8::try_from(month).ok()?,
        day: day.parse().ok()?,
        hour,
        minute,
        second: second.min(59),
        nanos,
        offset_s: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(line: &str) -> Option<String> {
        let now = Timestamp::parse("2026-11-28T12:00:00Z")?;
        let moment = read(line)?.moment(&mut Zone::default(), now)?;
        Some(moment.to_string().trim_end_matches("000000Z").to_owned())
    }

    #[test]
    fn new_messages_are_taken_apart() {
        let line = r#"<165>1 2026-11-23T15:24:00.003Z web1 app - ID47 [ex@1 a="1" b="x \"y\" \]\n"][two] text"#;
        let message = read(line).unwrap();
        let structured = [("ex@1.a", "1"), ("ex@1.b", "x \"y\" ]\\n")];
        let structured = structured.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            message,
            Message {
                priority: Some(165),
                time: Some("2026-11-23T15:24:00.003Z"),
                host: Some("web1"),
                app: Some("app"),
                process: None,
                id: Some("ID47"),
                structured: structured.to_vec(),
                text: "text",
                fault: None,
            }
        );
        assert_eq!((message.facility(), message.level()), (Some("local4"), Some(Level::Info)));
        assert_eq!(moment(line).as_deref(), Some("2026-11-23T15:24:00.003"));
        let bare = read("<34>1 - - - - - -").unwrap();
        assert_eq!((bare.time, bare.host, bare.text, bare.fault), (None, None, "", None));
        assert_eq!(read("<34>1 - - - - - - \u{feff}text").unwrap().text, "text");
        assert!(read("<34>1 - - - - - [a b=\"c] text").unwrap().fault.is_some());
        assert!(read("<34>1 what").unwrap().fault.is_some());
    }

    #[test]
    fn old_messages_may_lack_almost_all() {
        #[track_caller]
        fn check(line: &str, expected: (Option<&str>, Option<&str>, Option<&str>, &str)) {
            let message = read(line).unwrap();
            assert_eq!((message.host, message.app, message.process, message.text), expected);
        }
        check("<34>Oct 11 22:14:15 h su: it failed", (Some("h"), Some("su"), None, "it failed"));
        check("<34>Oct  1 22:14:15 h a[7]: x: y", (Some("h"), Some("a"), Some("7"), "x: y"));
        let six = Some("2001:db8::1");
        check("<34>Oct 11 22:14:15 2001:db8::1 a[7]: x", (six, Some("a"), Some("7"), "x"));
        check("<34>Oct 11 22:14:15 2001:db8::1 no tag", (six, None, None, "no tag"));
        check("<34>Oct 11 22:14:15 a::b: x", (None, Some("a"), None, ":b: x"));
        check("<34>Oct 11 22:14:15 su[7]: x", (None, Some("su"), Some("7"), "x"));
        check("<34>Oct 11 22:14:15 h no tag", (Some("h"), None, None, "no tag"));
        check("<189>123: *Mar  1 x", (None, None, None, "123: *Mar  1 x"));
        check("Jun 14 15:16:01 h a(b)[9]: t", (Some("h"), Some("a"), Some("9"), "t"));
        assert_eq!(read("no message"), None);
        assert_eq!(read("<192>x"), None);
        assert_eq!(
            moment("<34>Oct 11 22:14:15.5 h a: x").as_deref(),
            Some("2026-10-11T22:14:15.500")
        );
        // More than a day after now: of last year.
        assert_eq!(
            moment("<34>Dec 30 22:14:15 h a: x").as_deref(),
            Some("2025-12-30T22:14:15.000")
        );
        assert_eq!(
            moment("<34>Oct 11 2024 22:14:15 h a: x").as_deref(),
            Some("2024-10-11T22:14:15.000")
        );
        assert_eq!(moment("<34>Oct 11 25:14:15 h a: x"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_not(text: String, head in 0_usize..4) {
            let heads = ["", "<34>", "<34>1 - - - - - [", "<34>Oct 11 22:14:15 "];
            let line = format!("{}{text}", heads[head]);
            if let Some(message) = read(&line) {
                proptest::prop_assert!(line.ends_with(message.text));
                let moment = message.moment(&mut Zone::default(), Timestamp(0));
                proptest::prop_assert!(moment.is_none() || message.time.is_some());
            }
        }
    }
}
