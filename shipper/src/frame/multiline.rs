//! Which lines belong to the record before: stack traces of six languages, or a pattern.

use std::time::Duration;

use regex::bytes::Regex;

/// Lines of one record; a longer trace goes on in the next record.
pub(crate) const GROUP_LINES_MAX: usize = 1_000;
/// Bytes of one record made of several lines.
pub(crate) const GROUP_BYTES_MAX: usize = 256 << 10;

/// How lines are joined.
#[derive(Debug, Clone)]
pub(crate) struct Multiline {
    pub(crate) rule: Rule,
    /// How long a file must rest before its last record counts as whole.
    pub(crate) timeout: Duration,
}

/// What begins, continues or ends a record.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    /// Stack traces of Java, Python, Go, Rust, JavaScript and .NET.
    Traces,
    /// A line that matches begins a record.
    Start(Regex),
    /// A line that matches goes on with the record before.
    Continue(Regex),
    /// A line that matches ends the record.
    End(Regex),
}

/// What was seen of the record that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Trace {
    /// Nothing special.
    #[default]
    None,
    /// Inside a Python traceback; its last line is not indented.
    Python,
    /// After it; another may follow.
    PythonEnd,
    /// Inside the dump of a Go program: frames are not indented, their places are.
    Go,
    /// A Rust program panicked; its message is on the next line.
    RustMessage,
    /// Inside its notes and frames.
    Rust,
    /// Inside the fields of an error of Node, which end with a brace of its own.
    Fields,
    /// The record is whole with the line before.
    Ended,
}

impl Rule {
    /// Whether a line goes on with the open record, and what is known after it.
    pub(crate) fn joins(&self, trace: Trace, line: &[u8]) -> (bool, Trace) {
        match self {
            Self::Traces => traces(trace, line),
            Self::Start(start) => (!start.is_match(line), Trace::None),
            Self::Continue(more) => (more.is_match(line), Trace::None),
            Self::End(end) => {
                let after = if end.is_match(line) { Trace::Ended } else { Trace::None };
                (trace != Trace::Ended, after)
            }
        }
    }
}

fn traces(trace: Trace, line: &[u8]) -> (bool, Trace) {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        let opens = line.ends_with(b" {") && line.trim_ascii_start().starts_with(b"at ");
        return (true, if opens { Trace::Fields } else { trace });
    }
    if line.starts_with(b"Traceback (most recent call last):") {
        return (true, Trace::Python);
    }
    if is_go_start(line) {
        return (trace == Trace::Go, Trace::Go);
    }
    if line.starts_with(b"thread '") && memchr::memmem::find(line, b" panicked at ").is_some() {
        let message = if line.ends_with(b":") { Trace::RustMessage } else { Trace::Rust };
        return (false, message);
    }
    match trace {
        Trace::Python => return (true, Trace::PythonEnd),
        Trace::RustMessage => return (true, Trace::Rust),
        Trace::Fields if line == b"}" => return (true, Trace::None),
        Trace::PythonEnd
            if line.starts_with(b"During handling of the above exception")
                || line.starts_with(b"The above exception was the direct cause") =>
        {
            return (true, Trace::PythonEnd);
        }
        Trace::Go if is_go_frame(line) => return (true, Trace::Go),
        Trace::Rust if line.starts_with(b"stack backtrace:") || line.starts_with(b"note: ") => {
            return (true, Trace::Rust);
        }
        _ => {}
    }
    (is_java(line), Trace::None)
}

fn is_go_start(line: &[u8]) -> bool {
    line.starts_with(b"panic: ")
        || line.starts_with(b"fatal error: ")
        || (line.starts_with(b"goroutine ") && line.ends_with(b"]:"))
}

/// `main.main()`, `net/http.(*conn).serve(0xc0001, {0x7f})`, and what stands between them.
fn is_go_frame(line: &[u8]) -> bool {
    let open = memchr::memchr(b'(', line).unwrap_or(0);
    let call =
        line.ends_with(b")") && open > 0 && !line.get(..open).unwrap_or_default().contains(&b' ');
    call || line.starts_with(b"[signal ")
        || line.starts_with(b"exit status ")
        || line.starts_with(b"created by ")
        || line.starts_with(b"runtime.")
}

/// `Caused by: …`, or `java.lang.IllegalStateException: …` on a line of its own.
fn is_java(line: &[u8]) -> bool {
    if line.starts_with(b"Caused by: ") || line.starts_with(b"Suppressed: ") {
        return true;
    }
    let name = line.iter().position(|b| !(b.is_ascii_alphanumeric() || b"._$".contains(b)));
    let name = line.get(..name.unwrap_or(line.len())).unwrap_or_default();
    let ended = matches!(line.get(name.len()), None | Some(b':'));
    let kind = name.ends_with(b"Exception") || name.ends_with(b"Error");
    ended && kind && name.contains(&b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines beginning with `|` go on with the record before.
    #[track_caller]
    fn check(rule: &Rule, text: &str) {
        let mut trace = Trace::None;
        for (at, line) in text.lines().enumerate() {
            let (expected, line) = match line.strip_prefix('|') {
                Some(line) => (true, line),
                None => (false, line),
            };
            let (joins, after) = rule.joins(trace, line.as_bytes());
            trace = after;
            assert!(joins == expected || at == 0, "{line}");
        }
    }

    #[test]
    fn stack_traces_are_one_record() {
        check(
            &Rule::Traces,
            "12:00 ERROR failed\n|java.lang.IllegalStateException: x\n|\tat a.B.c(B.java:1)\n|Caused by: java.io.IOException: y\n|\t... 3 more\n12:01 INFO on\n12:02 done",
        );
        check(
            &Rule::Traces,
            "ERROR:root:bad\n|Traceback (most recent call last):\n|  File \"a.py\", line 1, in f\n|    g()\n|ValueError: bad\n|During handling of the above exception, another exception occurred:\n|Traceback (most recent call last):\n|  File \"a.py\", line 2\n|KeyError: 'x'\nINFO:root:on",
        );
        check(
            &Rule::Traces,
            "panic: boom\n|goroutine 1 [running]:\n|main.main()\n|\t/src/main.go:4 +0x1d\n|created by main.start\n|exit status 2\nlistening on 80",
        );
        check(
            &Rule::Traces,
            "thread 'main' panicked at src/main.rs:2:5:\n|boom\n|stack backtrace:\n|   0: rust_begin_unwind\n|             at /rustc/lib.rs:1\n|note: Some details are omitted\nready",
        );
        check(
            &Rule::Traces,
            "TypeError: x is undefined\n|    at f (/app/a.js:1:2)\n|    at node:internal/main:1:1\nGET / 200",
        );
        check(
            &Rule::Traces,
            "Error: connect ECONNREFUSED\n|    at f (/app/a.js:1:2) {\n|  errno: -111,\n|  code: 'ECONNREFUSED'\n|}\n}\nGET / 200",
        );
        check(
            &Rule::Traces,
            "Unhandled exception. System.InvalidOperationException: x\n| ---> System.Exception: y\n|   at A.B() in C.cs:line 3\n|   --- End of inner exception stack trace ---\ninfo: next",
        );
    }

    #[test]
    fn patterns_begin_continue_or_end_a_record() {
        let regex = |text| Regex::new(text).unwrap();
        check(&Rule::Start(regex(r"^\d{4}-")), "2026-01-01 a\n|b\n|c\n2026-01-02 d");
        check(&Rule::Continue(regex(r"^\+")), "a\n|+b\nc");
        check(&Rule::End(regex(";$")), "select 1\n|from t;\nselect 2;\nselect 3;");
    }
}
