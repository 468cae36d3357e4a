//! The truth: a list of records and a plain scan, written from the documents, not from the code.

use serde_json::Value;

/// A record as it ought to be.
#[derive(Debug, Clone)]
pub struct Truth {
    /// The file it stands in.
    pub source: String,
    /// Nanoseconds since 1970 UTC; `None` where the line states no time.
    pub timestamp: Option<i64>,
    /// The level's name; `None` where this oracle does not judge it.
    pub level: Option<&'static str>,
    /// The message.
    pub message: String,
    /// Labels of its stream, asked by name only.
    pub labels: Vec<(String, Value)>,
    /// Flat fields; one with several values stands here several times.
    pub fields: Vec<(String, Value)>,
    folded: Vec<char>,
}

/// A condition on a record, beside the language and not made from it.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Everything.
    All,
    /// A word or phrase, standing free.
    Phrase(String),
    /// A word with `*` in it.
    Stars(String),
    /// A word or phrase, standing free, with its letters as they are.
    Exact(String),
    /// The message, or a field's text, of which this is true: an expression or a network, told by hand.
    Text(fn(&str) -> bool),
    /// From this moment to before that one, nanoseconds.
    Inside(i64, i64),
    /// A named value.
    Field(String, Test),
    /// All of them.
    And(Vec<Ask>),
    /// Any of them.
    Or(Vec<Ask>),
    /// Not it.
    Not(Box<Ask>),
}

/// A test of a named value.
#[derive(Debug, Clone)]
pub enum Test {
    /// It is there.
    Exists,
    /// It is the number, where both are numbers; else its text holds the phrase.
    Is(String),
    /// Its text holds the word with stars.
    Stars(String),
    /// Its text holds the phrase with its letters as they are.
    Exact(String),
    /// This is true of its text.
    Text(fn(&str) -> bool),
    /// It is one of these texts: a range of texts, spans, sizes or times, told by hand.
    OneOf(&'static [&'static str]),
    /// `from <= number <= to`.
    Within(f64, f64),
    /// `number > bound`.
    Over(f64),
    /// `number < bound`.
    Under(f64),
    /// It is a whole number from the first to the last.
    Whole(i128, i128),
    /// A level at least as bad.
    LevelFrom(&'static str),
}

const LEVELS: [&str; 7] = ["unknown", "trace", "debug", "info", "warn", "error", "fatal"];

impl Truth {
    /// A record.
    #[must_use]
    pub fn new(source: &str, timestamp: Option<i64>, message: String) -> Self {
        let folded = fold(&message);
        let source = source.to_owned();
        let (labels, fields) = (Vec::new(), Vec::new());
        Self { source, timestamp, level: None, message, labels, fields, folded }
    }

    /// Whether it lies in the half-open window of nanoseconds.
    #[must_use]
    pub fn inside(&self, window: Option<(i64, i64)>) -> bool {
        window.is_none_or(|(from, to)| self.timestamp.is_some_and(|t| from <= t && t < to))
    }
}

impl Ask {
    /// Whether the record answers.
    ///
    /// # Panics
    /// The level of a record is asked that this oracle does not judge.
    #[must_use]
    pub fn holds(&self, record: &Truth) -> bool {
        match self {
            Self::All => true,
            Self::Phrase(text) => any_text(record, |folded| phrase(folded, &fold(text))),
            Self::Stars(text) => any_text(record, |folded| stars(folded, &fold(text))),
            Self::Exact(text) => any_written(record, |written| exact(written, text)),
            Self::Text(holds) => any_written(record, holds),
            Self::Inside(from, to) => record.inside(Some((*from, *to))),
            Self::Field(name, test) => match name.as_str() {
                "message" => test.holds(&Value::String(record.message.clone())),
                "source" => test.holds(&Value::String(record.source.clone())),
                "level" => test.holds_level(record.level.expect("the oracle judges this level")),
                _ => {
                    let mut named = record.labels.iter().chain(&record.fields);
                    named.any(|(known, value)| known == name && test.holds(value))
                }
            },
            Self::And(parts) => parts.iter().all(|part| part.holds(record)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(record)),
            Self::Not(part) => !part.holds(record),
        }
    }
}

fn any_text(record: &Truth, test: impl Fn(&[char]) -> bool) -> bool {
    test(&record.folded) || record.fields.iter().any(|(_, value)| test(&fold(&text_of(value))))
}

fn any_written(record: &Truth, test: impl Fn(&str) -> bool) -> bool {
    test(&record.message) || record.fields.iter().any(|(_, value)| test(&text_of(value)))
}

/// Whether the phrase stands free anywhere in the text, with its letters as they are.
fn exact(text: &str, wanted: &str) -> bool {
    let [text, wanted] = [text, wanted].map(|text| text.chars().collect::<Vec<char>>());
    phrase(&text, &wanted)
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
        match self {
            Self::Exists => true,
            Self::Is(text) => match equal(value, text) {
                Some(is_equal) => is_equal,
                None => phrase(&fold(&text_of(value)), &fold(text)),
            },
            Self::Stars(text) => stars(&fold(&text_of(value)), &fold(text)),
            Self::Exact(text) => exact(&text_of(value), text),
            Self::Text(holds) => holds(&text_of(value)),
            Self::OneOf(texts) => texts.contains(&text_of(value).as_str()),
            Self::Within(from, to) => number.is_some_and(|n| *from <= n && n <= *to),
            Self::Over(bound) => number.is_some_and(|n| n > *bound),
            Self::Under(bound) => number.is_some_and(|n| n < *bound),
            Self::Whole(first, last) => {
                let whole = text_of(value).trim().parse::<i128>();
                whole.is_ok_and(|n| (*first..=*last).contains(&n))
            }
            Self::LevelFrom(_) => false,
        }
    }

    fn holds_level(&self, level: &str) -> bool {
        let rank = |name: &str| LEVELS.iter().position(|level| *level == name).unwrap();
        match self {
            Self::Exists => level != "unknown",
            Self::Is(name) => level == name,
            Self::LevelFrom(name) => rank(level) >= rank(name),
            _ => false,
        }
    }
}

/// Whether a number is equal to a written one; `None` where one of them is no number.
fn equal(value: &Value, text: &str) -> Option<bool> {
    let (wanted, number) = (text.parse::<f64>().ok()?, value.as_number()?);
    Some(match (number.to_string().parse::<i128>(), text.parse::<i128>()) {
        (Ok(number), Ok(wanted)) => number == wanted,
        _ => number.as_f64() == Some(wanted),
    })
}

/// The text of a value.
#[must_use]
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Every character in lower case, where that is one character.
#[must_use]
pub fn fold(text: &str) -> Vec<char> {
    let lower = |c: char| {
        let all: Vec<char> = c.to_lowercase().collect();
        if all.len() == 1 { all[0] } else { c }
    };
    text.chars().map(lower).collect()
}

/// Whether no word goes on from the left character into the right one.
fn is_gap(left: Option<&char>, right: Option<&char>) -> bool {
    let (Some(left), Some(right)) = (left, right) else { return true };
    let in_word = |c: char| c == '_' || c.is_alphanumeric();
    !(in_word(*left) && in_word(*right)) || is_alone(*left) || is_alone(*right)
}

/// Characters of scripts without spaces, each a word of its own; the blocks of Unicode.
fn is_alone(c: char) -> bool {
    const BLOCKS: [(u32, u32); 12] = [
        (0x0E00, 0x0EFF),
        (0x1000, 0x109F),
        (0x1100, 0x11FF),
        (0x1780, 0x17FF),
        (0x3040, 0x31FF),
        (0x3400, 0x4DBF),
        (0x4E00, 0x9FFF),
        (0xA960, 0xA97F),
        (0xAC00, 0xD7FF),
        (0xF900, 0xFAFF),
        (0xFF66, 0xFF9F),
        (0x20000, 0x3FFFF),
    ];
    BLOCKS.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(c)))
}

fn free_at(text: &[char], at: usize) -> bool {
    is_gap(at.checked_sub(1).and_then(|at| text.get(at)), text.get(at))
}

/// Whether the phrase stands free anywhere in the text. Both folded.
#[must_use]
pub fn phrase(text: &[char], phrase: &[char]) -> bool {
    (0..=text.len().saturating_sub(phrase.len())).any(|at| {
        text[at..].starts_with(phrase) && free_at(text, at) && free_at(text, at + phrase.len())
    })
}

/// Whether the word with stars stands anywhere in the text: a star is any characters but white
/// space; at an end with a star the word may go on. Both folded.
#[must_use]
pub fn stars(text: &[char], pattern: &[char]) -> bool {
    let open = |end: Option<&char>| end == Some(&'*');
    let places = 0..=text.len();
    // All places up to which the pattern so far may reach, from every place where it may begin.
    let begin = |at| open(pattern.first()) || free_at(text, at);
    let mut reached: Vec<bool> = places.clone().map(begin).collect();
    for wanted in pattern {
        let mut next = vec![false; text.len() + 1];
        for at in places.clone() {
            let goes_on = text.get(at).is_some_and(|c| !c.is_whitespace());
            if *wanted == '*' {
                next[at] |= reached[at];
                if next[at] && goes_on {
                    next[at + 1] = true;
                }
            } else if reached[at] && text.get(at) == Some(wanted) {
                next[at + 1] = true;
            }
        }
        reached = next;
    }
    places.into_iter().any(|at| reached[at] && (open(pattern.last()) || free_at(text, at)))
}
