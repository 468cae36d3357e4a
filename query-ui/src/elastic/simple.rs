//! `simple_query_string`: `+` and, `|` or, `-` not, phrases, prefixes and brackets. What is
//! written wrongly is taken as words, as its users expect; what is not supported is refused.

use model::query::Filter;
use serde_json::Value;

use super::clause::{field_list, only};
use super::names;
use super::refusal::Refusal;
use super::taken::either;
use super::values::{self, Case, End, Join};

/// Brackets inside each other.
const DEPTH_MAX: usize = 30;
/// Bytes of a query string.
const BYTES_MAX: usize = 64 << 10;

/// The filter of a `simple_query_string` clause.
pub(super) fn query(body: &Value) -> Result<Filter, Refusal> {
    let known = [
        "query",
        "fields",
        "default_operator",
        "analyze_wildcard",
        "lenient",
        "auto_generate_synonyms_phrase_query",
    ];
    let body = only("simple_query_string", body, &known)?;
    let text = body
        .get("query")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::parsing("[simple_query_string] must be provided with a [query]"))?;
    if text.len() > BYTES_MAX {
        let reason = format!("[simple_query_string] has more than {BYTES_MAX} bytes");
        return Err(Refusal::argument(reason));
    }
    let fields = body.get("fields").map_or_else(
        || Ok(vec!["*".to_owned()]),
        |fields| field_list("simple_query_string", fields),
    )?;
    let operator = body.get("default_operator").and_then(Value::as_str).unwrap_or("or");
    let all = operator.eq_ignore_ascii_case("and");
    let mut parser = Parser { rest: text, fields, all };
    let mut parts = Vec::new();
    loop {
        parts.extend(parser.group(0)?);
        // A bracket that closes nothing says nothing.
        match parser.rest.strip_prefix(')') {
            Some(rest) => parser.rest = rest,
            None => break,
        }
    }
    Ok(match (parts.is_empty(), all) {
        (true, _) => values::none(),
        (_, true) => values::all(parts),
        (_, false) => values::any(parts),
    })
}

struct Parser<'a> {
    rest: &'a str,
    fields: Vec<String>,
    all: bool,
}

impl Parser<'_> {
    /// Parts up to the end or a closing bracket: alternatives of `|`, each of what `+` joins.
    fn group(&mut self, depth: usize) -> Result<Option<Filter>, Refusal> {
        if depth > DEPTH_MAX {
            let reason = "[simple_query_string] has too many brackets inside each other";
            return Err(Refusal::argument(reason));
        }
        let mut found: Option<Filter> = None;
        let mut and = None;
        loop {
            self.rest = self.rest.trim_start();
            let Some(c) = self.rest.chars().next() else { break };
            match c {
                ')' => break,
                '+' | '|' => {
                    and = Some(c == '+');
                    self.rest = self.rest.get(1..).unwrap_or_default();
                    continue;
                }
                _ => {}
            }
            let Some(part) = self.part(depth)? else { continue };
            found = Some(match found.take() {
                None => part,
                Some(before) if and.unwrap_or(self.all) => values::all(vec![before, part]),
                Some(before) => values::any(vec![before, part]),
            });
            and = None;
        }
        Ok(found)
    }

    fn part(&mut self, depth: usize) -> Result<Option<Filter>, Refusal> {
        if let Some(rest) = self.rest.strip_prefix('-') {
            self.rest = rest.trim_start();
            let deeper = depth + 1;
            if deeper > DEPTH_MAX {
                return self.group(deeper);
            }
            if self.rest.is_empty() || self.rest.starts_with(')') {
                return Ok(None);
            }
            return Ok(self.part(deeper)?.map(|part| Filter::Not(Box::new(part))));
        }
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            let group = self.group(depth + 1)?;
            self.rest = self.rest.strip_prefix(')').unwrap_or(self.rest);
            return Ok(group);
        }
        if let Some(rest) = self.rest.strip_prefix('"') {
            let end = rest.find('"');
            let (text, rest) = rest.split_at(end.unwrap_or(rest.len()));
            self.rest = rest.strip_prefix('"').unwrap_or(rest);
            self.no_tilde()?;
            let text = text.to_owned();
            return self.of_fields(|name| values::phrase(&ours(name)?, &text, End::Word)).map(Some);
        }
        let (mut text, mut chars) = (String::new(), self.rest.char_indices());
        let (mut end, mut escaped) = (self.rest.len(), false);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    escaped = true;
                    text.extend(chars.next().map(|(_, c)| c));
                }
                c if c.is_whitespace() || "()|+\"~".contains(c) => {
                    end = at;
                    break;
                }
                c => {
                    escaped = false;
                    text.push(c);
                }
            }
        }
        self.rest = self.rest.get(end..).unwrap_or_default();
        self.no_tilde()?;
        if text.is_empty() {
            return Ok(None);
        }
        let prefix = text.strip_suffix('*').filter(|_| !escaped);
        self.of_fields(|name| match prefix {
            Some("") if name == "*" => Ok(Filter::All),
            Some("") => super::dsl::exists(name),
            Some(prefix) if name == "*" || !name.ends_with(".keyword") => {
                values::phrase(&ours(name)?, prefix, End::Prefix)
            }
            Some(prefix) => {
                values::shaped(&ours(name)?, &format!("{}.*", regex::escape(prefix)), Case::Exact)
            }
            None if name.ends_with(".keyword") => {
                values::whole(&ours(name)?, &text.as_str().into(), Case::Exact)
            }
            None => {
                let join = if self.all { Join::All } else { Join::Any };
                Ok(values::words(&ours(name)?, &text, join))
            }
        })
        .map(Some)
    }

    fn no_tilde(&self) -> Result<(), Refusal> {
        match self.rest.starts_with('~') {
            true => Err(Refusal::parsing(
                "[simple_query_string] does not support [~]: fuzzy words and slop",
            )),
            false => Ok(()),
        }
    }

    fn of_fields(&self, one: impl Fn(&str) -> Result<Filter, Refusal>) -> Result<Filter, Refusal> {
        let one = |name: &String| either(name, |name, _| one(name));
        Ok(values::any(self.fields.iter().map(one).collect::<Result<_, _>>()?))
    }
}

fn ours(name: &str) -> Result<String, Refusal> {
    if name == "*" { Ok("*".to_owned()) } else { names::queried(name) }
}
