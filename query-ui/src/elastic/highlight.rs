//! What was looked for, marked in the texts of hits.

use model::query::{FieldTest, Filter, TextMatch};
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value};

use super::hits::Document;
use super::names;
use super::refusal::Refusal;

/// Patterns of one highlight.
const PATTERNS_MAX: usize = 256;

/// What is marked in hits.
#[derive(Debug)]
pub(super) struct Highlight {
    /// Names, which may be patterns, and how their values are marked.
    fields: Vec<(String, Marking)>,
    /// What was looked for in which field; `*` is every one.
    patterns: Vec<(String, Regex)>,
}

/// How values are marked.
#[derive(Debug, Clone)]
struct Marking {
    pre: String,
    post: String,
    /// Bytes of a fragment, and how many there are; none is the whole value.
    fragment: usize,
    fragments: usize,
    /// Bytes that are shown where nothing is marked.
    unmarked: usize,
    /// What looks like HTML in the text is no HTML.
    escapes: bool,
    /// The fragments with most marks come first.
    best_first: bool,
    /// Only what was looked for in this field is marked.
    needs_field: bool,
}

/// A piece of a text, and how many marks are in it.
type Fragment = (usize, String);

impl Highlight {
    pub(super) fn read(given: &Value, filter: &Filter) -> Result<Self, Refusal> {
        let refused = || Refusal::parsing("[highlight] wants [fields]");
        let object = given.as_object().ok_or_else(refused)?;
        let mut all = Marking::default();
        for (name, value) in object.iter().filter(|(name, _)| *name != "fields") {
            match (name.as_str(), value.as_str()) {
                ("encoder", Some(encoder @ ("default" | "html"))) => {
                    all.escapes = encoder == "html"
                }
                ("encoder", _) => return Err(unsupported(name, value)),
                _ => all.set(name, value)?,
            }
        }
        let mut fields = Vec::new();
        let mut add = |one: &Value| -> Result<(), Refusal> {
            for (name, options) in one.as_object().ok_or_else(refused)? {
                let mut marking = all.clone();
                for (option, value) in options.as_object().ok_or_else(refused)? {
                    marking.set(option, value)?;
                }
                fields.push((name.clone(), marking));
            }
            Ok(())
        };
        match object.get("fields") {
            Some(Value::Array(list)) => list.iter().try_for_each(&mut add)?,
            Some(one) => add(one)?,
            None => return Err(refused()),
        }
        let mut patterns = Vec::new();
        looked_for(filter, &mut patterns);
        patterns.truncate(PATTERNS_MAX);
        Ok(Self { fields, patterns })
    }

    /// The marked values of a hit, by name; `None` where there are none.
    pub(super) fn shown(&self, document: &Document) -> Option<Value> {
        let mut found = Map::new();
        for (pattern, marking) in &self.fields {
            let wanted = document.name(pattern);
            for (name, value) in &document.flat {
                if !names::matches(wanted, name) {
                    continue;
                }
                let shown = if wanted == name { pattern } else { name };
                if found.contains_key(shown) {
                    continue;
                }
                if let Some(fragments) = self.marked(name, value, marking) {
                    found.insert(shown.clone(), fragments);
                }
            }
        }
        (!found.is_empty()).then_some(Value::Object(found))
    }

    /// The fragments of a field's values, those of a list one after the other.
    fn marked(&self, name: &str, value: &Value, marking: &Marking) -> Option<Value> {
        let texts: Vec<&str> = match value {
            Value::String(text) => vec![text],
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
            _ => return None,
        };
        let fits =
            |field: &str| field == "*" || !marking.needs_field || names::shown(field) == name;
        let mut fragments: Vec<Fragment> = Vec::new();
        for text in &texts {
            let patterns = self.patterns.iter().filter(|(field, _)| fits(field));
            let mut spans: Vec<(usize, usize)> = patterns
                .flat_map(|(_, regex)| regex.find_iter(text))
                .map(|found| (found.start(), found.end()))
                .filter(|(start, end)| start < end)
                .collect();
            spans.sort_unstable();
            fragments.extend(marking.fragments_of(text, &joined(&spans)));
        }
        if marking.best_first {
            fragments.sort_by_key(|(marks, _)| std::cmp::Reverse(*marks));
        }
        if marking.fragments > 0 {
            fragments.truncate(marking.fragments);
        }
        if fragments.is_empty() && marking.unmarked > 0 {
            let text = texts.first()?;
            let end = text.floor_char_boundary(marking.unmarked);
            fragments.push((0, marking.mark(text, 0, end, &[])));
        }
        let texts: Vec<String> = fragments.into_iter().map(|(_, text)| text).collect();
        (!texts.is_empty()).then(|| texts.into())
    }
}

fn unsupported(name: &str, value: &Value) -> Refusal {
    Refusal::parsing(format!("[highlight] does not support [{name}] {value}"))
}

/// Spans that touch are one.
fn joined(spans: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for (start, end) in spans {
        match joined.last_mut() {
            Some((_, last)) if *start <= *last => *last = (*last).max(*end),
            _ => joined.push((*start, *end)),
        }
    }
    joined
}

impl Default for Marking {
    fn default() -> Self {
        Self {
            pre: "<em>".to_owned(),
            post: "</em>".to_owned(),
            fragment: 100,
            fragments: 5,
            unmarked: 0,
            escapes: false,
            best_first: false,
            needs_field: true,
        }
    }
}

impl Marking {
    /// Sets what an option says; one that is not known, or says something else, is refused.
    fn set(&mut self, name: &str, value: &Value) -> Result<(), Refusal> {
        let refused = || unsupported(name, value);
        let number = || -> Result<usize, Refusal> {
            let number = value.as_u64().ok_or_else(refused)?;
            Ok(usize::try_from(number).unwrap_or(usize::MAX))
        };
        let tag = || -> Result<String, Refusal> {
            let first = value.as_array().map_or(Some(value), |tags| tags.first());
            Ok(first.and_then(Value::as_str).ok_or_else(refused)?.to_owned())
        };
        match name {
            "pre_tags" => self.pre = tag()?,
            "post_tags" => self.post = tag()?,
            "fragment_size" => self.fragment = number()?,
            "number_of_fragments" => self.fragments = number()?,
            "no_match_size" => self.unmarked = number()?,
            "require_field_match" => self.needs_field = value.as_bool().ok_or_else(refused)?,
            // They differ in how fast they are, and in where they cut.
            "type" if ["unified", "plain", "fvh"].iter().any(|kind| value == kind) => {}
            "order" if value == "score" => self.best_first = true,
            "order" if value == "none" => self.best_first = false,
            _ => return Err(refused()),
        }
        Ok(())
    }

    fn fragments_of(&self, text: &str, spans: &[(usize, usize)]) -> Vec<Fragment> {
        if spans.is_empty() {
            return Vec::new();
        }
        if self.fragments == 0 || text.len() <= self.fragment {
            return vec![(spans.len(), self.mark(text, 0, text.len(), spans))];
        }
        let mut fragments = Vec::new();
        let mut next = 0;
        while let Some((start, end)) = spans.get(next).copied() {
            let room = self.fragment.saturating_sub(end - start) / 2;
            let from = text.floor_char_boundary(start.saturating_sub(room));
            let to = text.ceil_char_boundary(end.saturating_add(room).min(text.len()));
            let inside = spans.iter().skip(next).take_while(|(_, end)| *end <= to).count();
            let own = spans.get(next..next + inside.max(1)).unwrap_or_default();
            fragments.push((own.len(), self.mark(text, from, to, own)));
            next += inside.max(1);
            // Where the best come first, all are looked at.
            if !self.best_first && fragments.len() >= self.fragments {
                break;
            }
        }
        fragments
    }

    fn mark(&self, text: &str, from: usize, to: usize, spans: &[(usize, usize)]) -> String {
        let mut marked = String::new();
        let mut at = from;
        let put = |marked: &mut String, from: usize, to: usize| {
            let piece = text.get(from..to).unwrap_or_default();
            match self.escapes {
                true => piece.chars().for_each(|c| escape(marked, c)),
                false => marked.push_str(piece),
            }
        };
        for (start, end) in spans {
            put(&mut marked, at, *start);
            marked.push_str(&self.pre);
            put(&mut marked, *start, *end);
            marked.push_str(&self.post);
            at = *end;
        }
        put(&mut marked, at, to);
        marked
    }
}

fn escape(to: &mut String, c: char) {
    match c {
        '&' => to.push_str("&amp;"),
        '<' => to.push_str("&lt;"),
        '>' => to.push_str("&gt;"),
        '"' => to.push_str("&quot;"),
        '\'' => to.push_str("&#x27;"),
        '/' => to.push_str("&#x2F;"),
        c => to.push(c),
    }
}

/// The texts that a filter looks for, as regular expressions.
fn looked_for(filter: &Filter, found: &mut Vec<(String, Regex)>) {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            parts.iter().for_each(|part| looked_for(part, found));
        }
        Filter::Text(text) => found.extend(expression(text).map(|regex| ("*".to_owned(), regex))),
        Filter::Field { name, test: FieldTest::Matches(text) } => {
            found.extend(expression(text).map(|regex| (name.clone(), regex)));
        }
        Filter::All | Filter::Not(_) | Filter::Field { .. } => {}
    }
}

fn expression(text: &TextMatch) -> Option<Regex> {
    let (source, any_case) = match text {
        TextMatch::Regex(source) => (source.clone(), false),
        TextMatch::Cased(inner) => return expression(inner),
        TextMatch::Phrase(phrase) => {
            let word = |c: Option<char>| c.is_some_and(model::text::is_word);
            let left = if word(phrase.chars().next()) { r"\b" } else { "" };
            let right = if word(phrase.chars().next_back()) { r"\b" } else { "" };
            (format!("{left}{}{right}", regex::escape(phrase)), true)
        }
        TextMatch::Pattern { parts, open_start, open_end } => {
            let inner: Vec<String> = parts.iter().map(|part| regex::escape(part)).collect();
            let left = if *open_start { r"\S*" } else { r"\b" };
            let right = if *open_end { r"\S*" } else { r"\b" };
            (format!("{left}{}{right}", inner.join(r"\S*")), true)
        }
        TextMatch::Network { .. } => return None,
    };
    RegexBuilder::new(&source)
        .case_insensitive(any_case)
        .size_limit(model::query::REGEX_BYTES_MAX)
        .build()
        .ok()
}
