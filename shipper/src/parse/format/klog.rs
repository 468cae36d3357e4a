//! `I0523 12:34:56.789012    1234 server.go:56] text`: Kubernetes' components, glog.

use model::level::Level;
use nom::bytes::complete::{tag, take_till1, take_while_m_n, take_while1};
use nom::character::complete::{one_of, space1};
use nom::{IResult, Parser as _};

use super::Said;

/// The parts before the text.
pub(super) fn read(line: &str) -> Option<Said> {
    let (_, (letter, thread, place)) = head(line).ok()?;
    let (file, number) = place.rsplit_once(':')?;
    let level = match letter {
        'I' => Level::Info,
        'W' => Level::Warn,
        'E' => Level::Error,
        'F' => Level::Fatal,
        _ => Level::Debug,
    };
    let mut said = Said { level: Some(level), ..Said::default() };
    said.number("thread", thread);
    said.text("file", file);
    said.number("line", number);
    Some(said)
}

fn head(line: &str) -> IResult<&str, (char, &str, &str)> {
    let digit = |c: char| c.is_ascii_digit();
    let clock = take_while1(|c: char| c.is_ascii_digit() || ":.".contains(c));
    let (rest, (letter, _, _, _, _, thread, _, place, _)) = (
        one_of("IWEFD"),
        take_while_m_n(4, 4, digit),
        space1,
        clock,
        space1,
        take_while1(digit),
        space1,
        take_till1(|c: char| c == ']' || c == ' '),
        tag("]"),
    )
        .parse(line)?;
    Ok((rest, (letter, thread, place)))
}
