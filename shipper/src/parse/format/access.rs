//! `1.2.3.4 - user [17/May/2015:10:05:03 +0000] "GET /x HTTP/1.1" 200 1234 "referrer" "agent"`.

use model::level::Level;
use nom::branch::alt;
use nom::bytes::complete::{escaped, is_not, tag, take_till1, take_until, take_while_m_n};
use nom::character::complete::{anychar, char, space1};
use nom::combinator::{opt, recognize};
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser as _};

use super::Said;

/// The parts of a common or combined line; what follows them is left.
pub(super) fn read(line: &str) -> Option<Said> {
    let (_, parts) = parts(line).ok()?;
    let mut said = Said { time: Some(parts.time.to_owned()), ..Said::default() };
    said.text("client", parts.client);
    said.text("user", parts.user);
    let mut words = parts.request.split(' ');
    if let (Some(method), Some(path)) = (words.next(), words.next()) {
        said.text("method", method);
        said.text("path", path);
        said.text("protocol", words.next().unwrap_or_default());
    } else {
        said.text("request", parts.request);
    }
    said.number("status", parts.status);
    said.number("bytes", parts.bytes);
    said.text("referrer", parts.referrer.unwrap_or_default());
    said.text("agent", parts.agent.unwrap_or_default());
    said.level = Some(match parts.status.as_bytes().first() {
        Some(b'5') => Level::Error,
        Some(b'4') => Level::Warn,
        _ => Level::Info,
    });
    Some(said)
}

struct Parts<'a> {
    client: &'a str,
    user: &'a str,
    time: &'a str,
    request: &'a str,
    status: &'a str,
    bytes: &'a str,
    referrer: Option<&'a str>,
    agent: Option<&'a str>,
}

fn word(rest: &str) -> IResult<&str, &str> {
    take_till1(|c: char| c == ' ').parse(rest)
}

fn quoted(rest: &str) -> IResult<&str, &str> {
    let inside = alt((recognize(escaped(is_not("\\\""), '\\', anychar)), tag("")));
    delimited(char('"'), inside, char('"')).parse(rest)
}

fn parts(line: &str) -> IResult<&str, Parts<'_>> {
    let (rest, (client, _, _, _, user, _)) =
        (word, space1, word, space1, word, space1).parse(line)?;
    let (rest, time) = delimited(char('['), take_until("]"), char(']')).parse(rest)?;
    let (rest, request) = preceded(space1, quoted).parse(rest)?;
    let status = take_while_m_n(3, 3, |c: char| c.is_ascii_digit());
    let (rest, (status, bytes)) = (preceded(space1, status), preceded(space1, word)).parse(rest)?;
    let more = |rest| opt(preceded(space1, quoted)).parse(rest);
    let (rest, (referrer, agent)) = (more, more).parse(rest)?;
    Ok((rest, Parts { client, user, time, request, status, bytes, referrer, agent }))
}
