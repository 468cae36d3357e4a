//! How bad it is: the seven levels every source is normalised to.

use std::fmt;

/// A record's severity, ordered from unknown to fatal. The number is what batches and splits store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum Level {
    /// The source did not say.
    #[default]
    Unknown = 0,
    /// Finest detail.
    Trace = 1,
    /// For developers.
    Debug = 2,
    /// Normal events; syslog's notice is one of them.
    Info = 3,
    /// Recovered, look tomorrow.
    Warn = 4,
    /// Something failed.
    Error = 5,
    /// The process or the system cannot go on; syslog's critical, alert and emergency.
    Fatal = 6,
}

impl Level {
    /// Every level, mildest first.
    pub const ALL: [Self; 7] =
        [Self::Unknown, Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The stored number's level; numbers of no level are [`Level::Unknown`].
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }

    /// The number that is stored.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The name that is shown and queried.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// Normalises a level's name in the spellings of syslog, log4j, Android, klog and the rest,
    /// in any case. `None` when the word is no level.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let mut lower = [0_u8; 13];
        let lower = lower.get_mut(..word.len())?;
        lower.copy_from_slice(word.as_bytes());
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"trace" | b"trc" | b"verbose" | b"finest" | b"finer" => Self::Trace,
            b"debug" | b"dbg" | b"debu" | b"fine" => Self::Debug,
            b"info" | b"inf" | b"information" | b"informational" | b"notice" | b"note" | b"log" => {
                Self::Info
            }
            b"warn" | b"warning" | b"wrn" => Self::Warn,
            b"error" | b"err" | b"eror" | b"severe" | b"fail" => Self::Error,
            b"fatal" | b"ftl" | b"crit" | b"critical" | b"alert" | b"emerg" | b"emergency"
            | b"panic" => Self::Fatal,
            b"unknown" => Self::Unknown,
            _ => return None,
        })
    }

    /// Normalises a numeric level: pino and bunyan (10–60) and syslog severities (0–7).
    #[must_use]
    pub fn from_json_number(number: i64) -> Option<Self> {
        Some(match number {
            0..=2 => Self::Fatal,
            3 => Self::Error,
            4 => Self::Warn,
            5 | 6 => Self::Info,
            7 => Self::Debug,
            10..20 => Self::Trace,
            20..30 => Self::Debug,
            30..40 => Self::Info,
            40..50 => Self::Warn,
            50..60 => Self::Error,
            60 => Self::Fatal,
            _ => return None,
        })
    }

    /// Finds the level a plain line states within its first 160 bytes: `level=warn`, a level's
    /// word in capitals or brackets (`ERROR`, `[error]`, `<warn>`, `error:`), or klog's and
    /// Android's single letter between spaces. A plain lower-case word in running text is none.
    #[must_use]
    pub fn detect(line: &str) -> Self {
        let bytes = line.as_bytes();
        let head = bytes.get(..bytes.len().min(160)).unwrap_or(bytes);
        let mut at = 0;
        while at < head.len() {
            let Some(start) =
                head.get(at..).and_then(|s| s.iter().position(u8::is_ascii_alphabetic))
            else {
                break;
            };
            let start = at + start;
            let length = head
                .get(start..)
                .map_or(0, |s| s.iter().take_while(|b| b.is_ascii_alphanumeric()).count());
            let end = start + length;
            at = end;
            if let Some(level) = line.get(start..end).and_then(|word| stated(head, start, word)) {
                return level;
            }
        }
        Self::Unknown
    }
}

/// The level stated by `word` at `start`, if the way it is set off says that it is one.
fn stated(head: &[u8], start: usize, word: &str) -> Option<Level> {
    let before = start.checked_sub(1).and_then(|at| head.get(at)).copied();
    let after = head.get(start + word.len()).copied();
    if let &[letter] = word.as_bytes() {
        let alone = before == Some(b' ') && after == Some(b' ');
        return match letter {
            b'V' if alone => Some(Level::Trace),
            b'D' if alone => Some(Level::Debug),
            b'I' if alone => Some(Level::Info),
            b'W' if alone => Some(Level::Warn),
            b'E' if alone => Some(Level::Error),
            b'F' if alone => Some(Level::Fatal),
            _ => None,
        };
    }
    let level = Level::from_word(word)?;
    let capitals = word.bytes().all(|b| b.is_ascii_uppercase());
    let assigned = before == Some(b'=')
        || (before == Some(b'"') && start >= 2 && {
            matches!(head.get(start - 2), Some(b'=' | b':'))
        });
    let bracketed = matches!(
        (before, after),
        (Some(b'['), Some(b']' | b':')) | (Some(b'<'), Some(b'>')) | (Some(b'('), Some(b')'))
    );
    let announced = after == Some(b':') && matches!(before, None | Some(b' '));
    (capitals || assigned || bracketed || announced).then_some(level)
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Level) {
        assert_eq!(Level::detect(line), expected, "{line}");
    }

    #[test]
    fn a_line_states_its_level() {
        check("2015-10-18 18:01:47,978 INFO [main] x", Level::Info);
        check("[Sun Dec 04 04:47:44 2005] [error] mod_jk child", Level::Error);
        check("03-17 16:13:38.811  1702  2395 D WindowManager: printing", Level::Debug);
        check("level=warn msg=x", Level::Warn);
        check(r#"{"level":"fatal","x":1}"#, Level::Fatal);
        check("warning: unused variable", Level::Warn);
        check("the error was gone", Level::Unknown);
        check("GET /error HTTP/1.1", Level::Unknown);
        check("", Level::Unknown);
    }
}
