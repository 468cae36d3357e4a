//! What the indexes of a split know of a filter: rows that surely pass, and rows that may.

use model::limits::TOKEN_BYTES_MAX;
use model::number::Number;
use model::query::{FieldTest, Filter, TextMatch};
use model::text::{cut, fold_text, tokens};

use super::lex::fixed_texts;
use super::literals::{Literals, is_free, literals};
use super::rowset::RowSet;
use super::search::{Indexes, Unreadable};
use super::spans::LEVEL;
use super::tokens::Part;
use crate::matcher::Matcher;
use crate::schema::STREAM;

/// Bounds of the rows that pass: all of `sure`, none outside of `may`.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) sure: RowSet,
    pub(super) may: RowSet,
}

/// A filter with the bounds of its leaves.
#[derive(Debug)]
pub(super) struct Resolved {
    /// Of the whole filter.
    pub(super) bounds: Bounds,
    /// Of each leaf, in the order in which they are met.
    pub(super) leaves: Vec<Leaf>,
}

/// What is known of a leaf.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) bounds: Bounds,
    /// Rows between the bounds are looked at again, all others are known. Where that is not so, too
    /// much is open: all rows that may pass are asked.
    pub(super) is_decided: bool,
}

impl Leaf {
    /// Bounds that decide a leaf.
    fn decided(bounds: Bounds) -> Self {
        Self { bounds, is_decided: true }
    }

    /// Bounds that decide a leaf only where they leave nothing open.
    pub(super) fn bounded(bounds: Bounds) -> Self {
        Self { is_decided: bounds.sure == bounds.may, bounds }
    }
}

/// Whether a filter is a single test.
pub(super) fn is_leaf(filter: &Filter) -> bool {
    matches!(filter, Filter::Text(_) | Filter::Field { .. })
}

/// The leaves of a filter, in the order in which they are met.
pub(super) fn leaves_of(filter: &Filter) -> Vec<&Filter> {
    match filter {
        Filter::All => Vec::new(),
        Filter::And(parts) | Filter::Or(parts) => parts.iter().flat_map(leaves_of).collect(),
        Filter::Not(part) => leaves_of(part),
        leaf => vec![leaf],
    }
}

/// Asks the indexes.
pub(super) fn resolve(filter: &Filter, indexes: &Indexes<'_>) -> Result<Resolved, Unreadable> {
    let resolver = Resolver { indexes };
    // The whole was looked up before.
    let found = |leaf| if is_leaf(filter) { None } else { indexes.found(leaf) };
    let leaves = leaves_of(filter).into_iter().map(|leaf| match found(leaf) {
        Some(found) => {
            let rows = found.rows();
            Ok(Leaf::decided(Bounds { sure: rows.clone(), may: rows }))
        }
        None => resolver.leaf(leaf),
    });
    let leaves = leaves.collect::<Result<Vec<Leaf>, Unreadable>>()?;
    Ok(Resolved { bounds: combined(filter, &leaves, indexes.row_count), leaves })
}

/// The bounds of a filter with such leaves.
pub(super) fn combined(filter: &Filter, leaves: &[Leaf], row_count: u32) -> Bounds {
    let all = RowSet::all(row_count);
    joined(filter, &mut leaves.iter().map(|leaf| &leaf.bounds), &all)
}

fn joined(filter: &Filter, leaves: &mut dyn Iterator<Item = &Bounds>, all: &RowSet) -> Bounds {
    match filter {
        Filter::All => Bounds { sure: all.clone(), may: all.clone() },
        Filter::And(parts) => {
            let mut both = Bounds { sure: all.clone(), may: all.clone() };
            for part in parts {
                let part = joined(part, leaves, all);
                both = Bounds { sure: both.sure.and(&part.sure), may: both.may.and(&part.may) };
            }
            both
        }
        Filter::Or(parts) => {
            let mut any = Bounds { sure: RowSet::default(), may: RowSet::default() };
            for part in parts {
                let part = joined(part, leaves, all);
                any = Bounds { sure: any.sure.or(&part.sure), may: any.may.or(&part.may) };
            }
            any
        }
        Filter::Not(part) => {
            let part = joined(part, leaves, all);
            Bounds { sure: all.without(&part.may), may: all.without(&part.sure) }
        }
        _ => match leaves.next() {
            Some(bounds) => bounds.clone(),
            None => Bounds { sure: RowSet::default(), may: all.clone() },
        },
    }
}

struct Resolver<'a, 'b> {
    indexes: &'a Indexes<'b>,
}

/// What every record has.
pub(super) const EVERY: [&str; 7] =
    ["timestamp", "ingest_time", LEVEL, "index", "id", "message", STREAM];

/// A token that a text must have, as far as it is known.
enum Needed {
    /// The very token.
    Token(String),
    /// One that has it.
    Has(String, Part),
    /// Nothing can be said of it.
    Any,
}

impl Resolver<'_, '_> {
    fn all(&self) -> RowSet {
        RowSet::all(self.indexes.row_count)
    }

    fn open(&self) -> Bounds {
        Bounds { sure: RowSet::default(), may: self.all() }
    }

    fn leaf(&self, filter: &Filter) -> Result<Leaf, Unreadable> {
        Ok(match filter {
            Filter::Text(text) => Leaf::decided(self.text(text)?),
            Filter::Field { name, test: FieldTest::Matches(text) } if name == "message" => {
                Leaf::decided(self.text(text)?)
            }
            Filter::Field { name, test: test @ FieldTest::ExistsBelow } => {
                Leaf::bounded(self.field(name, test)?)
            }
            Filter::Field { name, test } => match self.in_spans(filter, name)? {
                Some(rows) => Leaf::decided(Bounds { sure: rows.clone(), may: rows }),
                None => Leaf::bounded(self.field(name, test)?),
            },
            // The others are no leaves.
            _ => Leaf::bounded(self.open()),
        })
    }

    /// The rows that pass a test of a column that is kept in spans.
    fn in_spans(&self, filter: &Filter, name: &str) -> Result<Option<RowSet>, Unreadable> {
        if name != LEVEL && EVERY.contains(&name) {
            return Ok(None);
        }
        let (spans, fields) = (self.indexes.spans()?, self.indexes.fields()?);
        let passing = match name {
            LEVEL => spans.level().map(|column| column.passing(filter, None, self.indexes.place())),
            _ => spans
                .named(name, &fields)
                .map(|(id, column)| column.passing(filter, Some(&id), self.indexes.place())),
        };
        Ok(passing.transpose()?)
    }

    /// A named value: its tokens are in the token index; labels are read.
    fn field(&self, name: &str, test: &FieldTest) -> Result<Bounds, Unreadable> {
        if EVERY.contains(&name) {
            return Ok(self.open());
        }
        let fields = self.indexes.fields()?;
        let mut named = fields.iter().filter(|field| test.covers(name, &field.name)).peekable();
        if named.peek().is_none() {
            // No row has it.
            return Ok(Bounds { sure: RowSet::default(), may: RowSet::default() });
        }
        let (FieldTest::Matches(text), false) = (test, named.any(|field| field.label)) else {
            return Ok(self.open());
        };
        let mut may = self.in_fields(text)?;
        // Numbers equal to it: `1.50` finds 1.5.
        for text in Number::meant(text).map(Number::texts).unwrap_or_default() {
            may = may.or(&self.in_fields(&TextMatch::Phrase(text))?);
        }
        Ok(Bounds { sure: RowSet::default(), may })
    }

    /// The rows of blocks with all tokens that a text must have.
    fn in_fields(&self, text: &TextMatch) -> Result<RowSet, Unreadable> {
        if let Some(literals) = literals(text) {
            return self.holding(&literals, false);
        }
        let mut may = self.all();
        for needed in needed(text) {
            if let Some(blocks) = self.blocks(&needed)? {
                may = may.and(&blocks);
            }
        }
        Ok(may)
    }

    /// A text in the message or in any field's value.
    ///
    /// A match within the fixed texts of a template makes all its rows sure. Any other match has a
    /// token that varies, is loose or is a field's, and the token index has all of those.
    fn text(&self, text: &TextMatch) -> Result<Bounds, Unreadable> {
        if let Some(literals) = literals(text) {
            let may = self.holding(&literals, true)?;
            return Ok(Bounds { sure: self.surely_without(text, &may)?, may });
        }
        let needed = needed(text);
        let known = needed.iter().any(|token| !matches!(token, Needed::Any));
        let templates = needed.iter().map(|token| self.templates(token));
        let templates = templates.collect::<Result<Vec<Option<RowSet>>, Unreadable>>()?;
        let sure = self.surely(text, &templates)?;
        if !known {
            return Ok(Bounds { sure, may: self.all() });
        }
        let (mut all_tokens, mut varying) = (self.all(), RowSet::default());
        let mut is_vague = false;
        for (token, templates) in needed.iter().zip(templates) {
            match (templates, self.blocks(token)?) {
                (Some(templates), Some(blocks)) => {
                    all_tokens = all_tokens.and(&templates.or(&blocks));
                    varying = varying.or(&blocks);
                }
                _ => is_vague = true,
            }
        }
        // A star reaches over tokens that nothing is known of.
        let may = if is_vague || spans_a_gap(text) { all_tokens } else { all_tokens.and(&varying) };
        Ok(Bounds { may: may.or(&sure), sure })
    }

    /// The rows that may hold such literals, in fields or (if asked) in messages.
    fn holding(&self, literals: &Literals, in_messages: bool) -> Result<RowSet, Unreadable> {
        let token = |needed: &Needed| -> Result<RowSet, Unreadable> {
            let Some(mut rows) = self.blocks(needed)? else { return Ok(self.all()) };
            if in_messages {
                let templates = self.templates(needed)?;
                rows = templates.map_or_else(|| self.all(), |templates| rows.or(&templates));
            }
            Ok(rows)
        };
        match literals {
            Literals::Any => Ok(self.all()),
            Literals::Token(text) => token(&Needed::Token(text.clone())),
            Literals::Part(text) => {
                let mut may = self.all();
                for needed in needed_of_part(text, true, true) {
                    may = may.and(&token(&needed)?);
                }
                Ok(may)
            }
            Literals::All(parts) => {
                let mut may = self.all();
                for part in parts {
                    may = may.and(&self.holding(part, in_messages)?);
                }
                Ok(may)
            }
            Literals::One(parts) => {
                let mut may = RowSet::default();
                for part in parts {
                    may = may.or(&self.holding(part, in_messages)?);
                }
                Ok(may)
            }
        }
    }

    /// The rows of templates in whose fixed texts an expression matches whatever stands around.
    fn surely_without(&self, text: &TextMatch, may: &RowSet) -> Result<RowSet, Unreadable> {
        match text {
            TextMatch::Regex(source) if is_free(source) => self.found_in_fixed(text, may),
            _ => Ok(RowSet::default()),
        }
    }

    /// The rows of templates in whose fixed texts it is found, of those that have its tokens.
    fn surely(&self, text: &TextMatch, having: &[Option<RowSet>]) -> Result<RowSet, Unreadable> {
        let candidates = having.iter().flatten();
        let candidates = candidates.fold(self.all(), |all, rows| all.and(rows));
        self.found_in_fixed(text, &candidates)
    }

    /// Of candidates, the rows of templates in whose fixed texts it is found.
    fn found_in_fixed(&self, text: &TextMatch, candidates: &RowSet) -> Result<RowSet, Unreadable> {
        if candidates.is_empty() {
            return Ok(RowSet::default());
        }
        let matcher = Matcher::new(text);
        let templates = self.indexes.templates()?;
        let mut ranges = candidates.ranges().iter().peekable();
        Ok(RowSet::from_sorted(templates.0.iter().filter_map(|template| {
            while ranges.next_if(|range| range.end <= template.rows.start).is_some() {}
            let is_candidate = ranges.peek().is_some_and(|range| range.start < template.rows.end);
            let fixed = template.key.fixed().filter(|_| is_candidate)?;
            let found = fixed_texts(fixed).any(|text| matcher.matches(text));
            found.then(|| template.rows.clone())
        })))
    }

    /// The rows of templates with such a word; `None` when nothing is known.
    fn templates(&self, needed: &Needed) -> Result<Option<RowSet>, Unreadable> {
        let words = self.indexes.words()?;
        let found = match needed {
            Needed::Token(token) => words.templates(cut(token, TOKEN_BYTES_MAX)),
            Needed::Has(text, part) => words.templates_with_part(text, *part),
            Needed::Any => return Ok(None),
        };
        let found = found.map_err(|error| self.indexes.unreadable("words", &error))?;
        Ok(Some(self.indexes.templates()?.rows_of(found)))
    }

    /// The rows of blocks with such a token; `None` when nothing is known.
    fn blocks(&self, needed: &Needed) -> Result<Option<RowSet>, Unreadable> {
        let (tokens, blocks) = (self.indexes.tokens()?, self.indexes.blocks()?);
        let found = match needed {
            Needed::Token(token) => tokens.blocks(cut(token, TOKEN_BYTES_MAX).as_bytes()),
            Needed::Has(text, part) => {
                tokens.blocks_with_part(text.as_bytes(), *part, blocks.len())
            }
            Needed::Any => return Ok(None),
        };
        let found = found.map_err(|error| self.indexes.unreadable("tokens", &error))?;
        Ok(Some(blocks.rows_of(found, self.indexes.row_count)))
    }
}

/// Whether a match may hold tokens that the text itself does not name.
fn spans_a_gap(text: &TextMatch) -> bool {
    match text {
        TextMatch::Phrase(_) => false,
        TextMatch::Pattern { parts, .. } => parts.len() != 1,
        TextMatch::Cased(inner) => spans_a_gap(inner),
        _ => true,
    }
}

/// The tokens that a matching text must have.
fn needed(text: &TextMatch) -> Vec<Needed> {
    match text {
        TextMatch::Phrase(phrase) => {
            let folded = fold_text(phrase);
            tokens(&folded).map(|token| Needed::Token(token.to_owned())).collect()
        }
        TextMatch::Pattern { parts, open_start, open_end } => {
            let mut needed = Vec::new();
            for (at, part) in parts.iter().enumerate() {
                let left = at > 0 || *open_start;
                let right = at + 1 < parts.len() || *open_end;
                needed.extend(needed_of_part(part, left, right));
            }
            needed
        }
        TextMatch::Cased(inner) => needed(inner),
        _ => vec![Needed::Any],
    }
}

/// Tokens inside a part of a pattern are whole, unless they touch a star or an open end.
fn needed_of_part(part: &str, touches_left: bool, touches_right: bool) -> Vec<Needed> {
    let folded = fold_text(part);
    let found: Vec<&str> = tokens(&folded).collect();
    let mut needed = Vec::new();
    for (nth, token) in found.iter().enumerate() {
        let cut_left = touches_left && nth == 0 && folded.starts_with(token);
        let cut_right = touches_right && nth + 1 == found.len() && folded.ends_with(token);
        let token = (*token).to_owned();
        needed.push(match (cut_left, cut_right) {
            (false, false) => Needed::Token(token),
            _ if token.len() >= TOKEN_BYTES_MAX => Needed::Any,
            (true, _) if token.len() < 2 => Needed::Any,
            (true, _) => Needed::Has(token, Part::Anywhere),
            (false, true) => Needed::Has(token, Part::Start),
        });
    }
    needed
}
