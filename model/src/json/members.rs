//! The members of one object, as they are read → its time, level and message, and the fields.

use std::borrow::Cow;

use super::{Flat, LEVEL_NAMES, MESSAGE_NAMES, TIME_NAMES, Value};
use crate::level::Level;
use crate::time::Timestamp;

/// Fields that most records have room for.
const FIELDS_USUAL: usize = 16;
/// Bytes of the longest name that means something.
const NAME_BYTES_MAX: usize = "@timestamp".len();

/// By the first byte of a name, how long the names are that mean something and begin so: a bit for
/// each length.
static LENGTHS: [u16; 256] = lengths();

#[expect(clippy::indexing_slicing, reason = "checked while compiling")]
const fn lengths() -> [u16; 256] {
    let lists: [&[&str]; 3] = [&TIME_NAMES, &MESSAGE_NAMES, &LEVEL_NAMES];
    let mut lengths = [0; 256];
    let mut list = 0;
    while list < lists.len() {
        let mut at = 0;
        while at < lists[list].len() {
            let name = lists[list][at].as_bytes();
            assert!(name.len() <= NAME_BYTES_MAX && NAME_BYTES_MAX < 16);
            lengths[name[0] as usize] |= 1 << name.len();
            at += 1;
        }
        list += 1;
    }
    lengths
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A member of the object itself.
    Top,
    /// Within another value.
    Below,
}

/// Flat fields read so far, and which of them may be time, level and message. Nothing is bounded
/// here: who reads stops where the bounds are.
#[derive(Debug)]
pub struct Members<'a> {
    fields: Vec<(Cow<'a, str>, Value<'a>)>,
    found: Found,
}

/// Places in the fields, in order of preference.
#[derive(Debug, Default)]
struct Found {
    times: [Option<usize>; TIME_NAMES.len()],
    messages: [Option<usize>; MESSAGE_NAMES.len()],
    levels: [Option<usize>; LEVEL_NAMES.len()],
}

impl Default for Members<'_> {
    fn default() -> Self {
        Self { fields: Vec::with_capacity(FIELDS_USUAL), found: Found::default() }
    }
}

impl<'a> Members<'a> {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.fields.len()
    }

    /// One more. Of several with one known name the last one counts.
    pub fn push(&mut self, name: Cow<'a, str>, value: Value<'a>, place: Place) {
        // ECS writes the level with a dot or as an object; both are one name.
        if place == Place::Top || name == "log.level" {
            self.found.note(&name, self.fields.len());
        }
        self.fields.push((name, value));
    }

    /// All of them as fields.
    #[must_use]
    pub fn into_fields(self) -> Vec<(Cow<'a, str>, Value<'a>)> {
        self.fields
    }

    /// The record they make: the first time that is one, the first level that is one, the first
    /// message that is text; `whole` gives the message where none is.
    pub fn choose(self, whole: impl FnOnce() -> Cow<'a, str>) -> Flat<'a> {
        let Self { mut fields, found } = self;
        let value = |at: usize| fields.get(at).map(|(_, value)| value);
        let time = found.times.iter().flatten().find_map(|at| Some((*at, moment(value(*at)?)?)));
        let level =
            found.levels.iter().flatten().find_map(|at| Some((*at, severity(value(*at)?)?)));
        let is_text = |at: &usize| matches!(value(*at), Some(Value::Text(_)));
        let message = found.messages.iter().flatten().copied().find(is_text);
        let mut text = None;
        let mut taken = [time.map(|(at, _)| at), level.map(|(at, _)| at), message];
        taken.sort_unstable();
        for at in taken.into_iter().rev().flatten() {
            let (_, value) = fields.remove(at);
            if Some(at) == message
                && let Value::Text(value) = value
            {
                text = Some(value);
            }
        }
        let message = text.unwrap_or_else(whole);
        let level = level.map_or_else(|| Level::detect(&message), |(_, level)| level);
        Flat { timestamp: time.map(|(_, moment)| moment), level, message, fields }
    }
}

impl Found {
    fn note(&mut self, name: &str, at: usize) {
        // Most names of fields are none of those, and that is told without looking at their letters.
        let first = name.as_bytes().first().map_or(0, |byte| usize::from(*byte));
        let lengths = LENGTHS.get(first).copied().unwrap_or_default();
        if name.len() > NAME_BYTES_MAX || (lengths >> name.len()) & 1 == 0 {
            return;
        }
        let note = |names: &[&str], found: &mut [Option<usize>]| {
            let place = names.iter().position(|known| *known == name);
            if let Some(found) = place.and_then(|place| found.get_mut(place)) {
                *found = Some(at);
            }
        };
        note(&TIME_NAMES, &mut self.times);
        note(&MESSAGE_NAMES, &mut self.messages);
        note(&LEVEL_NAMES, &mut self.levels);
    }
}

/// The time that a value is; numbers are epochs, their unit told by their size. `None` when it is none.
#[must_use]
pub fn moment(value: &Value<'_>) -> Option<Timestamp> {
    match value {
        Value::Text(text) => Timestamp::parse(text),
        Value::Int(number) => Timestamp::from_epoch(*number),
        Value::Float(number) => Timestamp::from_epoch_float(*number),
        Value::Bool(_) => None,
    }
}

/// The level that a value is: a word, or a number of pino, bunyan or syslog. `None` when it is none.
#[must_use]
pub fn severity(value: &Value<'_>) -> Option<Level> {
    match value {
        Value::Text(text) => Level::from_word(text),
        Value::Int(number) => Level::from_json_number(*number),
        _ => None,
    }
}
