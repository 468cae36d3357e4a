//! Error logs: Nginx' `2026/11/23 15:24:00 [error] 12#34: *5 text, client: 1.2.3.4, …` and
//! Apache's `[Sun Dec 04 04:47:44 2005] [core:error] [pid 12:tid 34] [client 1.2.3.4] text`.

use model::level::Level;
use nom::bytes::complete::{take_until, take_while_m_n, take_while1};
use nom::character::complete::{char, space0, space1};
use nom::combinator::opt;
use nom::multi::many_m_n;
use nom::sequence::{delimited, terminated};
use nom::{IResult, Parser as _};

use super::Said;

/// The parts before the text, and Nginx' pairs behind it.
pub(super) fn read(line: &str) -> Option<Said> {
    if line.starts_with('[') { apache(line) } else { nginx(line) }
}

fn bracket(rest: &str) -> IResult<&str, &str> {
    delimited(char('['), take_until("]"), char(']')).parse(rest)
}

fn apache(line: &str) -> Option<Said> {
    let (_, brackets) = many_m_n(2, 4, terminated(bracket, space0)).parse(line).ok()?;
    let (time, level) = (brackets.first()?, brackets.get(1)?);
    let (module, level) = level.rsplit_once(':').unwrap_or(("", *level));
    // Apache knows trace1 to trace8.
    let level = Level::from_word(level.trim_end_matches(|c: char| c.is_ascii_digit()))?;
    let mut said = Said { level: Some(level), time: Some((*time).to_owned()), ..Said::default() };
    said.text("module", module);
    for bracket in brackets.iter().skip(2) {
        if let Some(pid) = bracket.strip_prefix("pid ") {
            said.number("pid", pid.split(':').next().unwrap_or_default());
        } else if let Some(client) = bracket.strip_prefix("client ") {
            said.text("client", client);
        }
    }
    Some(said)
}

fn nginx(line: &str) -> Option<Said> {
    let (rest, (level, pid, thread, connection)) = nginx_head(line).ok()?;
    let mut said = Said { level: Some(Level::from_word(level)?), ..Said::default() };
    said.number("pid", pid);
    said.number("thread", thread);
    said.number("connection", connection.unwrap_or_default());
    for pair in rest.split(", ").skip(1) {
        if let Some((name, value)) = pair.split_once(": ")
            && ["client", "server", "request", "upstream", "host", "referrer"].contains(&name)
        {
            said.text(name, value.trim_matches('"'));
        }
    }
    Some(said)
}

fn nginx_head(line: &str) -> IResult<&str, (&str, &str, &str, Option<&str>)> {
    let digits = |rest| take_while1(|c: char| c.is_ascii_digit()).parse(rest);
    let date = take_while_m_n(10, 10, |c: char| c.is_ascii_digit() || c == '/');
    let clock = take_while_m_n(8, 8, |c: char| c.is_ascii_digit() || c == ':');
    let number = (char('*'), digits, space1).map(|(_, number, _)| number);
    let (rest, (_, _, _, _, level, _, pid, _, thread, _, connection)) = (
        date,
        space1,
        clock,
        space1,
        bracket,
        space1,
        digits,
        char('#'),
        digits,
        (char(':'), space1),
        opt(number),
    )
        .parse(line)?;
    Ok((rest, (level, pid, thread, connection)))
}
