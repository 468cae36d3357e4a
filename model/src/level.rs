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
        let head = bytes.get(..bytes.len().min(HEAD_BYTES)).unwrap_or(bytes);
        // Whether the byte before belongs to a word, and where words begin that may be levels.
        let mut inside = false;
        for (start, byte) in head.iter().enumerate() {
            let class = class(*byte);
            let begins = !inside && class & LETTER != 0;
            inside = class & WORD != 0 && (inside || begins);
            if begins
                && class & INITIAL != 0
                && let Some(level) = stated(head, start)
            {
                return level;
            }
        }
        Self::Unknown
    }
}

/// How far into a line its level is looked for.
const HEAD_BYTES: usize = 160;
/// The byte is a letter.
const LETTER: u8 = 1;
/// The byte is a letter or digit.
const WORD: u8 = 2;
/// A level's name begins with the byte.
const INITIAL: u8 = 4;

/// What each byte can be, so that a line is passed with one look at each.
static CLASSES: [u8; 256] = classes();

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

#[expect(clippy::indexing_slicing, reason = "checked while compiling")]
#[expect(clippy::cast_possible_truncation, reason = "a table of every byte")]
const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphabetic() {
            classes[byte] = LETTER | WORD;
        } else if (byte as u8).is_ascii_digit() {
            classes[byte] = WORD;
        }
        byte += 1;
    }
    let initials = b"tvfdinlwescapu";
    let mut at = 0;
    while at < initials.len() {
        classes[initials[at] as usize] |= INITIAL;
        classes[initials[at].to_ascii_uppercase() as usize] |= INITIAL;
        at += 1;
    }
    classes
}

/// The level stated by the word at `start`, if the way it is set off says that it is one.
fn stated(head: &[u8], start: usize) -> Option<Level> {
    let before = start.checked_sub(1).and_then(|at| head.get(at)).copied();
    let rest = head.get(start..)?;
    let second = rest.get(1).copied().unwrap_or(b' ');
    let upper = rest.first()?.is_ascii_uppercase();
    // Most words are lower case between spaces, or names with one capital: neither can be one,
    // unless a colon follows.
    let set_off = matches!(before, Some(b'=' | b'"' | b'[' | b'<' | b'('));
    let capital = upper && (second.is_ascii_uppercase() || class(second) & WORD == 0);
    let opens = matches!(before, None | Some(b' '));
    if !set_off && !capital && !opens {
        return None;
    }
    let length = rest.iter().take(14).take_while(|byte| class(**byte) & WORD != 0).count();
    let after = rest.get(length).copied();
    if !set_off && !capital && after != Some(b':') {
        return None;
    }
    let word = std::str::from_utf8(rest.get(..length)?).ok()?;
    if let &[letter] = word.as_bytes() {
        return (before == Some(b' ') && after == Some(b' ')).then(|| initial(letter)).flatten();
    }
    let level = Level::from_word(word)?;
    let capitals = word.bytes().all(|b| b.is_ascii_uppercase());
    let assigned = before == Some(b'=')
        || (before == Some(b'"') && start >= 2 && matches!(head.get(start - 2), Some(b'=' | b':')));
    let bracketed = matches!(
        (before, after),
        (Some(b'['), Some(b']' | b':')) | (Some(b'<'), Some(b'>')) | (Some(b'('), Some(b')'))
    );
    let announced = after == Some(b':') && opens;
    (capitals || assigned || bracketed || announced).then_some(level)
}

/// The level that klog and Android write as one letter.
fn initial(letter: u8) -> Option<Level> {
    Some(match letter {
        b'V' => Level::Trace,
        b'D' => Level::Debug,
        b'I' => Level::Info,
        b'W' => Level::Warn,
        b'E' => Level::Error,
        b'F' => Level::Fatal,
        _ => return None,
    })
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
        check("9ERROR x", Level::Error);
        check("x_ERROR:", Level::Error);
        check("error9: x", Level::Unknown);
        check("informationals: x", Level::Unknown);
    }
}
