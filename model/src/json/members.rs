//! The members of one object, as they are read → its time, level and message, and the fields.

use std::borrow::Cow;
use std::ops::Range;

use super::{Flat, LEVEL_NAMES, MESSAGE_NAMES, Plain, TIME_NAMES, Value};
use crate::level::Level;
use crate::time::Timestamp;

/// Fields that most records have room for.
pub(super) const FIELDS_USUAL: usize = 16;

/// Slots of the names that mean something: those of the time, of the message and of the level, each
/// in order of preference.
const TIMES: Range<usize> = 0..TIME_NAMES.len();
const MESSAGES: Range<usize> = TIMES.end..TIMES.end + MESSAGE_NAMES.len();
const LEVELS: Range<usize> = MESSAGES.end..MESSAGES.end + LEVEL_NAMES.len();

/// The names of all slots.
const KNOWN: [&str; LEVELS.end] = known();

#[expect(clippy::indexing_slicing, reason = "checked while compiling")]
const fn known() -> [&'static str; LEVELS.end] {
    let lists: [&[&str]; 3] = [&TIME_NAMES, &MESSAGE_NAMES, &LEVEL_NAMES];
    let (mut known, mut slot) = ([""; LEVELS.end], 0);
    let mut list = 0;
    while list < lists.len() {
        let mut at = 0;
        while at < lists[list].len() {
            known[slot] = lists[list][at];
            slot += 1;
            at += 1;
        }
        list += 1;
    }
    known
}

/// How many places names are spread over. Most names of fields meet a place that is nobody's, and are
/// told from the known ones without looking at all their letters.
const PLACES: usize = 128;
/// The slot of the one known name that has this place, counted from one.
static SLOTS: [u8; PLACES] = slots();

#[expect(clippy::indexing_slicing, reason = "checked while compiling")]
#[expect(clippy::cast_possible_truncation, reason = "there are few slots")]
const fn slots() -> [u8; PLACES] {
    let (mut slots, mut slot) = ([0; PLACES], 0);
    while slot < KNOWN.len() {
        let place = place(KNOWN[slot].as_bytes());
        assert!(slots[place] == 0, "each known name has a place of its own");
        slots[place] = slot as u8 + 1;
        slot += 1;
    }
    slots
}

/// By the first and the last letter and the length.
const fn place(name: &[u8]) -> usize {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
    (*first as usize + *last as usize + 9 * name.len()) % PLACES
}

/// The slot of a name, if it is a known one.
fn slot(name: &str) -> Option<usize> {
    let slot = usize::from(*SLOTS.get(place(name.as_bytes()))?).checked_sub(1)?;
    KNOWN.get(slot).filter(|known| **known == name).map(|_| slot)
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

/// Of each slot the place of its member in the fields, counted from one; none is zero.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Found([u32; LEVELS.end]);

/// Which of the fields are time, level and message, and what the first two say.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) time: Option<(usize, Timestamp)>,
    pub(super) level: Option<(usize, Level)>,
    pub(super) message: Option<usize>,
}

impl Chosen {
    /// The places of the fields that are taken out.
    pub(super) fn taken(&self) -> [Option<usize>; 3] {
        [self.time.map(|(at, _)| at), self.level.map(|(at, _)| at), self.message]
    }
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
        self.found.note(&name, place, self.fields.len());
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
        let chosen = found.choose(|at| fields.get(at).map(|(_, value)| value.plain()));
        let mut text = None;
        let mut taken = chosen.taken();
        taken.sort_unstable();
        for at in taken.into_iter().rev().flatten() {
            let (_, value) = fields.remove(at);
            if Some(at) == chosen.message
                && let Value::Text(value) = value
            {
                text = Some(value);
            }
        }
        let message = text.unwrap_or_else(whole);
        let level = chosen.level.map_or_else(|| Level::detect(&message), |(_, level)| level);
        Flat { timestamp: chosen.time.map(|(_, moment)| moment), level, message, fields }
    }
}

impl Found {
    /// Notes the member that becomes the field at `at`, if its name means something there.
    pub(super) fn note(&mut self, name: &str, place: Place, at: usize) {
        // ECS writes the level with a dot or as an object; both are one name.
        if (place == Place::Top || name == "log.level")
            && let Some(found) = slot(name).and_then(|slot| self.0.get_mut(slot))
        {
            *found = u32::try_from(at + 1).unwrap_or_default();
        }
    }

    /// The first time that is one, the first level that is one, the first message that is text.
    pub(super) fn choose<'v>(&self, value: impl Fn(usize) -> Option<Plain<'v>>) -> Chosen {
        let all = |slots: Range<usize>| {
            let found = self.0.get(slots).unwrap_or_default().iter();
            found.filter_map(|at| (*at as usize).checked_sub(1))
        };
        Chosen {
            time: all(TIMES).find_map(|at| Some((at, value(at)?.moment()?))),
            level: all(LEVELS).find_map(|at| Some((at, value(at)?.severity()?))),
            message: all(MESSAGES).find(|at| matches!(value(*at), Some(Plain::Text(_)))),
        }
    }
}

impl Plain<'_> {
    /// The time that it is; numbers are epochs, their unit told by their size.
    fn moment(self) -> Option<Timestamp> {
        match self {
            Self::Text(text) => Timestamp::parse(text),
            Self::Int(number) => Timestamp::from_epoch(number),
            Self::Float(number) => Timestamp::from_epoch_float(number),
            Self::Bool(_) => None,
        }
    }

    /// The level that it is: a word, or a number of pino, bunyan or syslog.
    fn severity(self) -> Option<Level> {
        match self {
            Self::Text(text) => Level::from_word(text),
            Self::Int(number) => Level::from_json_number(number),
            _ => None,
        }
    }
}

/// The time that a value is; numbers are epochs, their unit told by their size. `None` when it is none.
#[must_use]
pub fn moment(value: &Value<'_>) -> Option<Timestamp> {
    value.plain().moment()
}

/// The level that a value is: a word, or a number of pino, bunyan or syslog. `None` when it is none.
#[must_use]
pub fn severity(value: &Value<'_>) -> Option<Level> {
    value.plain().severity()
}
