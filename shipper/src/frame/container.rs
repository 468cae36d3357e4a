//! Lines that a container runtime wrapped: Docker's JSON and Kubernetes' CRI text.

use std::borrow::Cow;

use model::time::Timestamp;
use serde::Deserialize;

/// Who wrapped the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    /// `{"log":"text\n","stream":"stdout","time":"…"}`; a part of a line has no `\n`.
    Docker,
    /// `2026-11-23T15:24:00.123456789Z stdout F text`; a part of a line has `P`.
    Cri,
    /// Whichever of them it is, line by line.
    Either,
}

/// What was inside a line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece<'a> {
    pub(crate) text: Cow<'a, [u8]>,
    /// 0 when no stream is stated, 1 for stdout, 2 for stderr.
    pub(crate) stream: usize,
    pub(crate) time: Option<Timestamp>,
    /// More of the same line follows in the next piece of its stream.
    pub(crate) partial: bool,
}

/// The names of streams by their number.
pub(crate) const STREAMS: [&str; 3] = ["", "stdout", "stderr"];

#[derive(Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(default, borrow)]
    stream: Cow<'a, str>,
    #[serde(default, borrow)]
    time: Cow<'a, str>,
}

impl<'a> Piece<'a> {
    /// A line that nobody wrapped.
    pub(crate) fn bare(line: &'a [u8]) -> Self {
        Self { text: Cow::Borrowed(line), stream: 0, time: None, partial: false }
    }
}

impl Container {
    /// Takes a line out of its wrapping; a line that has none stays as it is.
    pub(crate) fn open(self, line: &[u8]) -> Piece<'_> {
        let opened = match self {
            Self::Docker => docker(line),
            Self::Cri => cri(line),
            Self::Either if line.first() == Some(&b'{') => docker(line),
            Self::Either => cri(line),
        };
        opened.unwrap_or_else(|| Piece::bare(line))
    }
}

fn docker(line: &[u8]) -> Option<Piece<'_>> {
    let read: DockerLine<'_> = serde_json::from_slice(line).ok()?;
    let whole = read.log.ends_with('\n');
    let text = match read.log {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches(['\r', '\n']).as_bytes()),
        Cow::Owned(mut text) => {
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
            Cow::Owned(text.into_bytes())
        }
    };
    let time = Timestamp::parse(&read.time);
    Some(Piece { text, stream: stream(read.stream.as_bytes()), time, partial: !whole })
}

fn cri(line: &[u8]) -> Option<Piece<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (time, name, tag) = (parts.next()?, parts.next()?, parts.next()?);
    let time = Timestamp::parse(std::str::from_utf8(time).ok()?)?;
    let stream = Some(stream(name)).filter(|stream| *stream > 0)?;
    let partial = match tag.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    let text = Cow::Borrowed(parts.next().unwrap_or_default());
    Some(Piece { text, stream, time: Some(time), partial })
}

fn stream(name: &[u8]) -> usize {
    STREAMS.iter().position(|known| known.as_bytes() == name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(container: Container, line: &str, text: &str, stream: usize, partial: bool) {
        let piece = container.open(line.as_bytes());
        assert_eq!(piece.text, text.as_bytes());
        assert_eq!((piece.stream, piece.partial), (stream, partial), "{line}");
    }

    #[test]
    fn docker_and_cri_lines_are_opened() {
        let docker =
            |line, text, stream, partial| check(Container::Docker, line, text, stream, partial);
        docker(
            r#"{"log":"a \"b\"\n","stream":"stderr","time":"2026-11-23T00:00:00.1Z"}"#,
            "a \"b\"",
            2,
            false,
        );
        docker(
            r#"{"log":"part","stream":"stdout","time":"2026-11-23T00:00:00Z"}"#,
            "part",
            1,
            true,
        );
        docker("not wrapped", "not wrapped", 0, false);
        let cri = |line, text, stream, partial| check(Container::Cri, line, text, stream, partial);
        cri("2026-11-23T00:00:00.123456789Z stdout F a b", "a b", 1, false);
        cri("2026-11-23T00:00:00.1+02:00 stderr P:x part", "part", 2, true);
        cri("2026-11-23T00:00:00Z stdout F", "", 1, false);
        cri("2026-11-23T00:00:00Z nowhere F x", "2026-11-23T00:00:00Z nowhere F x", 0, false);
    }
}
