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
        let (chunks, rest) = head.as_chunks::<LANES>();
        // The last byte of the chunk before decides whether a word begins.
        let mut before = b' ';
        for (at, chunk) in chunks.iter().enumerate() {
            if let Some(level) = detect_in(head, at * LANES, chunk, before) {
                return level;
            }
            before = chunk.last().copied().unwrap_or_default();
        }
        let mut last = [0; LANES];
        if let Some(place) = last.get_mut(..rest.len()) {
            place.copy_from_slice(rest);
        }
        detect_in(head, chunks.len() * LANES, &last, before).unwrap_or_default()
    }
}

/// Bytes looked at together.
const LANES: usize = 32;

/// The first level stated by a word that begins in the chunk at `start`. All bytes are judged at
/// once (the loop has no branches, so it becomes vector instructions); few words are left to be
/// looked at.
fn detect_in(head: &[u8], start: usize, chunk: &[u8; LANES], before: u8) -> Option<Level> {
    let mut previous = [before; LANES];
    if let (Some(to), Some(from)) = (previous.get_mut(1..), chunk.get(..LANES - 1)) {
        to.copy_from_slice(from);
    }
    let mut begins = [0_u8; LANES];
    for ((begins, byte), previous) in begins.iter_mut().zip(chunk).zip(&previous) {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let inside = (previous | 0x20).wrapping_sub(b'a') < 26;
        // A word in small letters says nothing unless one of these stands before it.
        let large = byte.wrapping_sub(b'A') < 26;
        let set_off = (*previous == b' ')
            | (*previous == b'=')
            | (*previous == b'"')
            | (*previous == b'[')
            | (*previous == b'<')
            | (*previous == b'(');
        *begins = u8::from(letter & !inside & (large | set_off));
    }
    for (at, eight) in begins.as_chunks::<8>().0.iter().enumerate() {
        let mut left = u64::from_le_bytes(*eight);
        while left != 0 {
            let place = start + at * 8 + left.trailing_zeros() as usize / 8;
            left &= left - 1;
            let initial = head.get(place).is_some_and(|byte| class(*byte) & INITIAL != 0);
            if initial
                && begins_word(head, place)
                && let Some(level) = stated(head, place)
            {
                return Some(level);
            }
        }
    }
    None
}

/// Whether the letter at `place`, before which no letter stands, is the first of its word:
/// digits may stand before it, but not behind a letter of the same word.
fn begins_word(head: &[u8], place: usize) -> bool {
    let before = head.get(..place).unwrap_or_default();
    let digits = before.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let first = before.len().checked_sub(digits + 1).and_then(|at| before.get(at));
    digits == 0 || !first.is_some_and(u8::is_ascii_alphabetic)
}

/// How far into a line its level is looked for.
const HEAD_BYTES: usize = 160;
/// The byte is a letter or digit.
const WORD: u8 = 2;
/// A level's name begins with the byte.
const INITIAL: u8 = 4;

/// Whether the name of a level begins with these two letters.
fn begins_a_level(first: u8, second: u8) -> bool {
    let second = second | 0x20;
    match first | 0x20 {
        b't' | b'c' => second == b'r',
        b'v' | b's' => second == b'e',
        b'i' | b'u' => second == b'n',
        b'n' | b'l' => second == b'o',
        b'f' => matches!(second, b'i' | b'a' | b't'),
        b'd' => matches!(second, b'e' | b'b'),
        b'w' => matches!(second, b'a' | b'r'),
        b'e' => matches!(second, b'r' | b'm'),
        b'a' => second == b'l',
        b'p' => second == b'a',
        _ => false,
    }
}

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
        if (byte as u8).is_ascii_alphanumeric() {
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
    let first = *rest.first()?;
    let upper = first.is_ascii_uppercase();
    if class(second) & WORD != 0 && !begins_a_level(first, second) {
        return None;
    }
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

    /// Byte by byte, as it is meant.
    fn plainly(line: &str) -> Level {
        let bytes = line.as_bytes();
        let head = &bytes[..bytes.len().min(HEAD_BYTES)];
        let mut inside = false;
        for (start, byte) in head.iter().enumerate() {
            let begins = !inside && byte.is_ascii_alphabetic();
            inside = byte.is_ascii_alphanumeric() && (inside || begins);
            if begins && let Some(level) = stated(head, start) {
                return level;
            }
        }
        Level::Unknown
    }

    proptest::proptest! {
        #[test]
        fn many_bytes_at_once_say_what_each_alone_does(
            line in "([ a-zE9\\[\\]=:\"<(]{0,3}(err|Error|WARN|warn|info|I|E9|x9|ü|fail)[:\\] ]?){0,30}",
        ) {
            proptest::prop_assert_eq!(Level::detect(&line), plainly(&line), "{}", line);
        }
    }
}
