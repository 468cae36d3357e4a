//! `query_string`: Lucene's syntax, read as its classic parser does.

use model::query::Filter;
use model::time::Timestamp;
use serde_json::Value;

use super::clause::{field_list, only};
use super::dates::Dates;
use super::dsl::{asked_of, exists};
use super::levels::End as Bound;
use super::names;
use super::range::between;
use super::refusal::Refusal;
use super::regexp::regexp;
use super::taken::{Role, either};
use super::values::{self, Case, End, Join};

/// Bytes of a query string.
const BYTES_MAX: usize = 64 << 10;
/// Brackets inside each other.
const DEPTH_MAX: usize = 30;

/// The filter of a `query_string` clause.
pub(super) fn query_string(body: &Value, now: Timestamp) -> Result<Filter, Refusal> {
    let known = [
        "query",
        "default_field",
        "fields",
        "default_operator",
        "analyze_wildcard",
        "lenient",
        "allow_leading_wildcard",
        "time_zone",
        "type",
        "escape",
        "tie_breaker",
        "rewrite",
        "phrase_slop",
        "auto_generate_synonyms_phrase_query",
    ];
    let body = only("query_string", body, &known)?;
    let text = body
        .get("query")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::parsing("[query_string] must be provided with a [query]"))?;
    let fields = match (body.get("fields"), body.get("default_field")) {
        (Some(fields), _) | (None, Some(fields)) => field_list("query_string", fields)?,
        (None, None) => vec!["*".to_owned()],
    };
    let all = match body.get("default_operator").and_then(Value::as_str) {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("or") => false,
        Some(word) if word.eq_ignore_ascii_case("and") => true,
        Some(other) => {
            return Err(Refusal::parsing(format!(
                "[query_string] default_operator [{other}] is none"
            )));
        }
    };
    let zone = body.get("time_zone").and_then(Value::as_str).unwrap_or_default();
    let dates = Dates::new(now, zone, "")
        .ok_or_else(|| Refusal::argument(format!("time_zone [{zone}] is no time zone")))?;
    if text.len() > BYTES_MAX {
        return Err(Refusal::argument(format!("[query_string] has more than {BYTES_MAX} bytes")));
    }
    let mut parser = Parser { whole: text, rest: text, all, dates };
    let filter = parser.clauses(&fields, 0)?;
    match parser.rest.is_empty() {
        true => Ok(filter.unwrap_or_else(values::none)),
        false => Err(parser.refused("a bracket closes that was not opened")),
    }
}

struct Parser<'a> {
    whole: &'a str,
    rest: &'a str,
    /// Clauses beside each other must all hold.
    all: bool,
    dates: Dates,
}

/// How a clause counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occur {
    Must,
    Should,
    Not,
}

/// The word between two clauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    And,
    Or,
}

impl Parser<'_> {
    fn refused(&self, why: &str) -> Refusal {
        let at = self.whole.len() - self.rest.len();
        let column = self.whole.get(..at).map_or(0, |text| text.chars().count()) + 1;
        Refusal::parsing(format!(
            "Failed to parse query [{}]: {why} at column {column}",
            self.whole
        ))
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A word of the language, standing alone.
    fn word(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest)
                if rest.is_empty() || rest.starts_with([' ', '\t', '\n', '\r', '(', ')', '"']) =>
            {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Clauses up to the end or the closing bracket, joined as Lucene's classic parser joins them.
    fn clauses(&mut self, fields: &[String], depth: usize) -> Result<Option<Filter>, Refusal> {
        if depth > DEPTH_MAX {
            return Err(self.refused("too many brackets inside each other"));
        }
        let mut clauses: Vec<(Occur, Filter)> = Vec::new();
        loop {
            self.space();
            if self.rest.is_empty() || self.rest.starts_with(')') {
                break;
            }
            let between = if self.word("AND") || self.eat("&&") {
                Between::And
            } else if self.word("OR") || self.eat("||") {
                Between::Or
            } else {
                Between::Nothing
            };
            if between != Between::Nothing && clauses.is_empty() {
                return Err(self.refused("AND and OR stand between two clauses"));
            }
            self.space();
            let mut sign = None;
            if self.word("NOT") || self.eat("!") || self.eat("-") {
                sign = Some(Occur::Not);
            } else if self.eat("+") {
                sign = Some(Occur::Must);
            }
            self.space();
            if self.rest.is_empty() || self.rest.starts_with(')') {
                return Err(self.refused("a clause is missing"));
            }
            let filter = self.clause(fields, depth)?;
            if let Some((before, _)) = clauses.last_mut() {
                match between {
                    Between::And if *before == Occur::Should => *before = Occur::Must,
                    Between::Or if self.all && *before == Occur::Must => *before = Occur::Should,
                    _ => {}
                }
            }
            let occur = sign.unwrap_or(match between {
                Between::And => Occur::Must,
                Between::Nothing if self.all => Occur::Must,
                _ => Occur::Should,
            });
            clauses.push((occur, filter));
        }
        if clauses.is_empty() {
            return Ok(None);
        }
        Ok(Some(joined(clauses)))
    }

    fn clause(&mut self, fields: &[String], depth: usize) -> Result<Filter, Refusal> {
        if self.eat("(") {
            let filter = self.clauses(fields, depth + 1)?;
            if !self.eat(")") {
                return Err(self.refused("a bracket is not closed"));
            }
            self.boost();
            return Ok(filter.unwrap_or_else(values::none));
        }
        let before = self.rest;
        if let Some(name) = self.field_name() {
            self.space();
            if name == "_exists_" {
                let (field, _) = self.term();
                self.boost();
                return exists(&field.text);
            }
            let only = [name];
            if self.eat("(") {
                let filter = self.clauses(&only, depth + 1)?;
                if !self.eat(")") {
                    return Err(self.refused("a bracket is not closed"));
                }
                self.boost();
                return Ok(filter.unwrap_or_else(values::none));
            }
            return self.value(&only);
        }
        self.rest = before;
        self.value(fields)
    }

    /// `name:`, with `\` before unusual characters.
    fn field_name(&mut self) -> Option<String> {
        let (mut name, mut chars) = (String::new(), self.rest.char_indices());
        while let Some((at, c)) = chars.next() {
            match c {
                ':' if !name.is_empty() => {
                    self.rest = self.rest.get(at + 1..)?;
                    return Some(name);
                }
                '\\' => name.push(chars.next()?.1),
                c if c.is_whitespace() || "()[]{}\"/:<>=".contains(c) => return None,
                c => name.push(c),
            }
        }
        None
    }

    /// What is asked of the fields: a word, a phrase, a range, a regular expression.
    fn value(&mut self, fields: &[String]) -> Result<Filter, Refusal> {
        if self.rest.starts_with('"') {
            let text = self.quoted()?;
            if self.eat("~") && !self.number().is_some_and(|slop| slop == 0.0) {
                return Err(
                    self.refused("[query_string] does not support words near each other (~)")
                );
            }
            self.boost();
            return of_fields(fields, |name, role| match name {
                "*" => values::phrase("*", &text, End::Word),
                name => asked_of(name, role, &text),
            });
        }
        if self.rest.starts_with('/') {
            let source = self.regex()?;
            let source = regexp(&source, "")?;
            self.boost();
            return of_fields(fields, |name, _| match name {
                "*" => values::shaped("*", &source, Case::Any),
                name => values::shaped(&names::queried(name)?, &source, Case::Exact),
            });
        }
        if self.rest.starts_with(['[', '{']) {
            return self.range(fields);
        }
        for (sign, is_least, inside) in
            [(">=", true, true), ("<=", false, true), (">", true, false), ("<", false, false)]
        {
            if self.eat(sign) {
                self.space();
                let value = match self.rest.starts_with('"') {
                    true => self.quoted()?,
                    false => self.term().0.text,
                };
                let value = Value::from(value);
                let end = Some((&value, inside));
                return self.between(fields, if is_least { (end, None) } else { (None, end) });
            }
        }
        let (term, fuzzy) = self.term();
        if fuzzy {
            return Err(self.refused("[query_string] does not support fuzzy words (~)"));
        }
        self.boost();
        if term.text.is_empty() {
            return Err(self.refused("a word is missing"));
        }
        of_fields(fields, |name, role| term.filter(name, role))
    }

    fn between(&self, fields: &[String], ends: (Bound<'_>, Bound<'_>)) -> Result<Filter, Refusal> {
        of_fields(fields, |name, role| match name {
            "*" => Err(self.refused("a range wants a field: name:[1 TO 5]")),
            name => between(name, role, ends, &self.dates),
        })
    }

    fn range(&mut self, fields: &[String]) -> Result<Filter, Refusal> {
        let from_inside = self.rest.starts_with('[');
        self.rest = self.rest.get(1..).unwrap_or_default();
        let from = self.end()?;
        self.space();
        if !self.word("TO") {
            return Err(self.refused("a range is written [1 TO 5]"));
        }
        let to = self.end()?;
        self.space();
        let to_inside = self.eat("]");
        if !to_inside && !self.eat("}") {
            return Err(self.refused("a range ends with ] or }"));
        }
        self.boost();
        let stated = |end: String| (end != "*").then(|| Value::from(end));
        let (from, to) = (stated(from), stated(to));
        let (from, to) = (from.as_ref(), to.as_ref());
        let ends = (from.map(|end| (end, from_inside)), to.map(|end| (end, to_inside)));
        self.between(fields, ends)
    }

    /// An end of a range.
    fn end(&mut self) -> Result<String, Refusal> {
        self.space();
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let end = self.rest.find(|c: char| c.is_whitespace() || "]}".contains(c));
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match text {
            "" => Err(self.refused("an end of the range is missing")),
            text => Ok(text.replace('\\', "")),
        }
    }

    fn quoted(&mut self) -> Result<String, Refusal> {
        let (mut text, mut chars) = (String::new(), self.rest.char_indices().skip(1));
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(text);
                }
                '\\' => text.extend(chars.next().map(|(_, c)| c)),
                c => text.push(c),
            }
        }
        Err(self.refused("a quote is not closed"))
    }

    fn regex(&mut self) -> Result<String, Refusal> {
        let (mut text, mut chars) = (String::new(), self.rest.char_indices().skip(1));
        while let Some((at, c)) = chars.next() {
            match c {
                '/' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, '/')) => text.push('/'),
                    Some((_, c)) => text.extend(['\\', c]),
                    None => {}
                },
                c => text.push(c),
            }
        }
        Err(self.refused("a regular expression is not closed: a / in a word is written \\/"))
    }

    /// A word up to white space or a sign; and whether `~` stands behind it.
    fn term(&mut self) -> (Term, bool) {
        let mut term = Term { text: String::new(), stars: Vec::new() };
        let mut chars = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => term.text.extend(chars.next().map(|(_, c)| c)),
                '*' | '?' => {
                    term.stars.push(term.text.len());
                    term.text.push(c);
                }
                c if c.is_whitespace() || "()[]{}\"~^".contains(c) => {
                    end = at;
                    break;
                }
                c => term.text.push(c),
            }
        }
        self.rest = self.rest.get(end..).unwrap_or_default();
        let fuzzy = self.eat("~");
        if fuzzy {
            self.number();
        }
        (term, fuzzy)
    }

    fn number(&mut self) -> Option<f64> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        digits.parse().ok()
    }

    /// A weight changes nothing here.
    fn boost(&mut self) {
        if self.eat("^") {
            self.number();
        }
    }
}

/// Whether a field's values are asked as a whole.
fn exact(name: &str) -> bool {
    name.ends_with(".keyword") || name == "_index"
}

/// One of the fields.
fn of_fields(
    fields: &[String],
    one: impl Fn(&str, Role) -> Result<Filter, Refusal>,
) -> Result<Filter, Refusal> {
    Ok(values::any(fields.iter().map(|name| either(name, &one)).collect::<Result<_, _>>()?))
}

/// A word with the places of its stars.
struct Term {
    text: String,
    stars: Vec<usize>,
}

impl Term {
    fn filter(&self, name: &str, role: Role) -> Result<Filter, Refusal> {
        if !self.stars.is_empty() {
            return self.pattern(name);
        }
        match name {
            "*" => Ok(values::words("*", &self.text, Join::All)),
            name => asked_of(name, role, &self.text),
        }
    }

    fn pattern(&self, name: &str) -> Result<Filter, Refusal> {
        if self.text == "*" {
            return if name == "*" { Ok(Filter::All) } else { exists(name) };
        }
        let mut source = String::new();
        for (at, c) in self.text.char_indices() {
            match (c, self.stars.contains(&at)) {
                ('*', true) => source.push_str(r"\S*"),
                ('?', true) => source.push_str(r"\S"),
                (c, _) => source.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            }
        }
        match name {
            "*" => values::shaped("*", &source, Case::Any),
            name if exact(name) => values::shaped(&names::queried(name)?, &source, Case::Exact),
            "level" => values::shaped("level", &source, Case::Any),
            // Patterns of words, as words are asked: in any case, anywhere in the value.
            name => values::regex(&names::field(name)?, format!(r"(?si)(?:^|\b){source}(?:\b|$)")),
        }
    }
}

fn joined(clauses: Vec<(Occur, Filter)>) -> Filter {
    let (mut must, mut should, mut not) = (Vec::new(), Vec::new(), Vec::new());
    for (occur, filter) in clauses {
        match occur {
            Occur::Must => must.push(filter),
            Occur::Should => should.push(filter),
            Occur::Not => not.push(Filter::Not(Box::new(filter))),
        }
    }
    // What should be there adds to a rank, and we have none.
    if must.is_empty() && !should.is_empty() {
        must.push(values::any(should));
    }
    must.extend(not);
    values::all(must)
}
