//! The query DSL: JSON → the filter of our own plan. What is not known is refused by its name.

use model::query::{Bound, FieldTest, Filter, Literal};
use model::time::Timestamp;
use serde_json::{Map, Value};

use super::clause::{asked, field_list, minimum, one_field, only, text_or, wanted, wanted_text};
use super::dates::{Dates, Edge};
use super::refusal::Refusal;
use super::taken::{Role, either};
use super::values::{self, Case, End, Join};
use super::{lucene, names, range, regexp, simple};

/// Queries inside each other.
const DEPTH_MAX: usize = 30;
/// Clauses of one query.
const CLAUSES_MAX: usize = 1_024;

/// A query on its way to a filter.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) now: Timestamp,
    clauses: usize,
}

impl Reader {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, clauses: 0 }
    }

    /// The filter of a query.
    pub(super) fn query(&mut self, query: &Value) -> Result<Filter, Refusal> {
        self.clause(query, 0)
    }

    fn clause(&mut self, query: &Value, depth: usize) -> Result<Filter, Refusal> {
        self.clauses += 1;
        if depth > DEPTH_MAX || self.clauses > CLAUSES_MAX {
            let reason = format!(
                "too many clauses: at most {CLAUSES_MAX}, and {DEPTH_MAX} of them inside each other"
            );
            return Err(Refusal::argument(reason));
        }
        let object = query.as_object().ok_or_else(|| {
            Refusal::parsing("[_na] query malformed, must start with start_object")
        })?;
        let mut members = object.iter();
        let (Some((name, body)), None) = (members.next(), members.next()) else {
            let names: Vec<&str> = object.keys().map(String::as_str).collect();
            let reason = match names.as_slice() {
                [] => "query malformed, empty clause found".to_owned(),
                [first, ..] => format!(
                    "[{first}] malformed query, expected [END_OBJECT]: one clause stands in an object, found [{}]",
                    names.join(", ")
                ),
            };
            return Err(Refusal::parsing(reason));
        };
        match name.as_str() {
            "match_all" => only(name, body, &[]).map(|_| Filter::All),
            "match_none" => only(name, body, &[]).map(|_| values::none()),
            "bool" => self.bool(body, depth),
            "constant_score" => {
                let body = only(name, body, &["filter"])?;
                self.clause(wanted(name, body, "filter")?, depth + 1)
            }
            "nested" => {
                let known = ["path", "query", "score_mode", "ignore_unmapped"];
                let body = only(name, body, &known)?;
                self.clause(wanted(name, body, "query")?, depth + 1)
            }
            "match" => matching(body),
            "match_phrase" => phrase(name, body, End::Word),
            "match_phrase_prefix" => phrase(name, body, End::Prefix),
            "multi_match" => multi_match(body),
            "term" => term(body),
            "terms" => terms(body),
            "range" => range::range(body, self.now),
            "exists" => {
                let body = only(name, body, &["field"])?;
                exists(wanted_text(name, body, "field")?)
            }
            "prefix" | "wildcard" | "regexp" => pattern(name, body),
            "ids" => ids(body),
            "query_string" => lucene::query_string(body, self.now),
            "simple_query_string" => simple::query(body),
            other => Err(Refusal::parsing(format!("unknown query [{other}]"))),
        }
    }

    fn bool(&mut self, body: &Value, depth: usize) -> Result<Filter, Refusal> {
        let known = ["must", "filter", "should", "must_not", "minimum_should_match"];
        let body = only("bool", body, &known)?;
        let mut clauses = |name: &str| -> Result<Vec<Filter>, Refusal> {
            match body.get(name) {
                None | Some(Value::Null) => Ok(Vec::new()),
                Some(Value::Array(list)) => {
                    list.iter().map(|clause| self.clause(clause, depth + 1)).collect()
                }
                Some(one) => Ok(vec![self.clause(one, depth + 1)?]),
            }
        };
        let mut parts = clauses("must")?;
        parts.extend(clauses("filter")?);
        let should = clauses("should")?;
        let must_not = clauses("must_not")?;
        let usual = usize::from(parts.is_empty());
        if !should.is_empty() {
            let least = match body.get("minimum_should_match") {
                None => usual,
                Some(value) => minimum("bool", value, should.len())?,
            };
            parts.push(values::at_least(should, least)?);
        }
        parts.extend(must_not.into_iter().map(|part| Filter::Not(Box::new(part))));
        Ok(values::all(parts))
    }
}

/// There is a value, or an object with one, or what was taken from it.
pub(super) fn exists(name: &str) -> Result<Filter, Refusal> {
    let there = |field: &str| values::test(field, FieldTest::ExistsBelow);
    Ok(match (names::field(name)?.as_str(), names::taken(name)) {
        ("timestamp" | "ingest_time" | "id" | "index", _) | (_, Some("timestamp")) => Filter::All,
        (field, None) => there(field),
        (field, Some(own)) => values::any(vec![there(field), there(own)]),
    })
}

/// How the words of a text are joined, as the options say.
fn join(clause: &str, options: Option<&Map<String, Value>>, text: &str) -> Result<Join, Refusal> {
    let Some(options) = options else { return Ok(Join::Any) };
    let operator = text_or(options, "operator")?;
    match operator.to_ascii_lowercase().as_str() {
        "and" => return Ok(Join::All),
        "" | "or" => {}
        other => return Err(Refusal::parsing(format!("[{clause}] operator [{other}] is none"))),
    }
    match options.get("minimum_should_match") {
        None => Ok(Join::Any),
        Some(value) => {
            let count = model::text::tokens(text).count();
            Ok(Join::AtLeast(minimum(clause, value, count)?.max(1)))
        }
    }
}

const MATCH_OPTIONS: [&str; 6] = [
    "operator",
    "minimum_should_match",
    "lenient",
    "zero_terms_query",
    "auto_generate_synonyms_phrase_query",
    "analyzer",
];

fn matching(body: &Value) -> Result<Filter, Refusal> {
    let (name, value) = one_field("match", body)?;
    let (value, options) = asked("match", value, &["query"], &MATCH_OPTIONS)?;
    match_one("match", name, value, options)
}

/// A text's words in a field; of a `.keyword` the whole value.
fn match_one(
    clause: &str,
    name: &str,
    value: &Value,
    options: Option<&Map<String, Value>>,
) -> Result<Filter, Refusal> {
    if let Some(analyzer) = options.and_then(|options| options.get("analyzer"))
        && analyzer != "standard"
    {
        return Err(Refusal::parsing(format!(
            "[{clause}] query does not support [analyzer] {analyzer}"
        )));
    }
    either(name, |name, role| match_in(clause, (name, role), value, options))
}

fn match_in(
    clause: &str,
    (name, role): (&str, Role),
    value: &Value,
    options: Option<&Map<String, Value>>,
) -> Result<Filter, Refusal> {
    let field = if name == "*" { "*".to_owned() } else { names::queried(name)? };
    if names::is_time(&field) {
        return one_term((name, role), value, Case::Exact);
    }
    let Value::String(text) = value else {
        return match field.as_str() {
            "*" => Ok(values::words("*", &values::text_of(value).unwrap_or_default(), Join::All)),
            field => values::whole(field, value, Case::Exact),
        };
    };
    if name.ends_with(".keyword") || field == "index" {
        return values::whole(&field, value, Case::Exact);
    }
    if values::is_number(text) && !["*", "message"].contains(&field.as_str()) {
        return values::phrase_or_number(&field, text);
    }
    let empty = model::text::tokens(text).next().is_none();
    if empty
        && options.and_then(|o| o.get("zero_terms_query")).and_then(Value::as_str) == Some("all")
    {
        return Ok(Filter::All);
    }
    match join(clause, options, text)? {
        Join::AtLeast(count) => {
            let words =
                model::text::tokens(text).map(|word| values::words(&field, word, Join::All));
            values::at_least(words.collect(), count)
        }
        join => Ok(values::words(&field, text, join)),
    }
}

fn phrase(clause: &str, body: &Value, end: End) -> Result<Filter, Refusal> {
    let (name, value) = one_field(clause, body)?;
    let options = ["slop", "zero_terms_query", "max_expansions"];
    let (value, options) = asked(clause, value, &["query"], &options)?;
    no_slop(clause, options)?;
    let text = values::text_of(value)
        .ok_or_else(|| Refusal::parsing(format!("[{clause}] for [{name}] wants a text")))?;
    phrase_in(name, &text, end)
}

fn phrase_in(name: &str, text: &str, end: End) -> Result<Filter, Refusal> {
    either(name, |name, role| one_phrase((name, role), text, end))
}

fn one_phrase((name, role): (&str, Role), text: &str, end: End) -> Result<Filter, Refusal> {
    let field = if name == "*" { "*".to_owned() } else { names::queried(name)? };
    if names::is_time(&field) && end == End::Word {
        return one_term((name, role), &text.into(), Case::Exact);
    }
    if name.ends_with(".keyword") {
        return match end {
            End::Word => values::whole(&field, &text.into(), Case::Exact),
            End::Prefix => {
                values::shaped(&field, &format!("{}.*", regex::escape(text)), Case::Exact)
            }
        };
    }
    values::phrase(&field, text, end)
}

fn no_slop(clause: &str, options: Option<&Map<String, Value>>) -> Result<(), Refusal> {
    match options.and_then(|options| options.get("slop")).and_then(Value::as_i64) {
        None | Some(0) => Ok(()),
        Some(_) => Err(Refusal::parsing(format!("[{clause}] query does not support [slop]"))),
    }
}

fn multi_match(body: &Value) -> Result<Filter, Refusal> {
    let known = [
        "query",
        "fields",
        "type",
        "operator",
        "minimum_should_match",
        "lenient",
        "tie_breaker",
        "slop",
        "max_expansions",
        "zero_terms_query",
    ];
    let body = only("multi_match", body, &known)?;
    no_slop("multi_match", Some(body))?;
    let value = wanted("multi_match", body, "query")?;
    let fields = match body.get("fields") {
        None => vec!["*".to_owned()],
        Some(fields) => field_list("multi_match", fields)?,
    };
    let kind = text_or(body, "type")?;
    let text = values::text_of(value)
        .ok_or_else(|| Refusal::parsing("[multi_match] [query] wants a text"))?;
    let one = |name: &String| match kind {
        "" | "best_fields" | "most_fields" => match_one("multi_match", name, value, Some(body)),
        "phrase" => phrase_in(name, &text, End::Word),
        "phrase_prefix" => phrase_in(name, &text, End::Prefix),
        other => Err(Refusal::parsing(format!("[multi_match] type [{other}] is not supported"))),
    };
    if kind == "cross_fields" {
        // Each word in one of the fields.
        let mut parts = Vec::new();
        for word in model::text::tokens(&text) {
            let in_field = |name: &String| match_one("multi_match", name, &word.into(), None);
            parts.push(values::any(fields.iter().map(in_field).collect::<Result<_, _>>()?));
        }
        return Ok(match join("multi_match", Some(body), &text)? {
            Join::All => values::all(parts),
            Join::AtLeast(count) => values::at_least(parts, count)?,
            Join::Any => values::any(parts),
        });
    }
    Ok(values::any(fields.iter().map(one).collect::<Result<_, _>>()?))
}

fn case(options: Option<&Map<String, Value>>) -> Case {
    let any = options.and_then(|options| options.get("case_insensitive")).and_then(Value::as_bool);
    if any == Some(true) { Case::Any } else { Case::Exact }
}

fn term(body: &Value) -> Result<Filter, Refusal> {
    let (name, value) = one_field("term", body)?;
    let (value, options) = asked("term", value, &["value", "term"], &["case_insensitive"])?;
    term_of(name, value, case(options))
}

/// A field's whole value; of times the whole unit that is written.
fn term_of(name: &str, value: &Value, case: Case) -> Result<Filter, Refusal> {
    either(name, |name, role| one_term((name, role), value, case))
}

fn one_term((name, role): (&str, Role), value: &Value, case: Case) -> Result<Filter, Refusal> {
    let field = names::queried(name)?;
    if !names::is_time(&field) {
        return values::whole(&field, value, case);
    }
    let dates = Dates::new(Timestamp::default(), "", "").map(|dates| match role {
        Role::Named => dates,
        Role::Taken => dates.of_taken(),
    });
    let read = |edge| dates.as_ref().and_then(|dates| dates.read(value, edge));
    match (read(Edge::First), read(Edge::Last)) {
        (Some(first), Some(last)) => {
            let at = |time: Timestamp| Bound::Inclusive(Literal::Text(time.to_string()));
            Ok(values::test(&field, FieldTest::Between { from: at(first), to: at(last) }))
        }
        _ => Err(Refusal::parsing(format!("failed to parse date field [{value}] of [{name}]"))),
    }
}

/// A text that is asked of a field: the whole of ids, times and `.keyword`, words of others.
pub(super) fn asked_of(name: &str, role: Role, text: &str) -> Result<Filter, Refusal> {
    let field = names::queried(name)?;
    match field.as_str() {
        field
            if name.ends_with(".keyword")
                || name == "_index"
                || names::is_time(field)
                || field == "id" =>
        {
            one_term((name, role), &text.into(), Case::Exact)
        }
        "message" => values::phrase("message", text, End::Word),
        field if values::is_number(text) => values::phrase_or_number(field, text),
        field => values::phrase(field, text, End::Word),
    }
}

fn terms(body: &Value) -> Result<Filter, Refusal> {
    let (name, values) = one_field("terms", body)?;
    let Value::Array(values) = values else {
        return Err(Refusal::parsing(format!("[terms] query for [{name}] wants a list of values")));
    };
    if values.len() > CLAUSES_MAX {
        let reason = format!("[terms] has more than {CLAUSES_MAX} values");
        return Err(Refusal::argument(reason));
    }
    let one = |value: &Value| term_of(name, value, Case::Exact);
    Ok(values::any(values.iter().map(one).collect::<Result<_, _>>()?))
}

fn pattern(clause: &str, body: &Value) -> Result<Filter, Refusal> {
    let (name, value) = one_field(clause, body)?;
    let options = ["case_insensitive", "rewrite", "flags", "max_determinized_states"];
    let (value, options) = asked(clause, value, &["value", "wildcard"], &options)?;
    let text = value
        .as_str()
        .ok_or_else(|| Refusal::parsing(format!("[{clause}] for [{name}] wants a text")))?;
    either(name, |name, _| {
        let field = names::queried(name)?;
        let in_words = field == "message";
        let source = match clause {
            "prefix" if in_words => format!(r"{}\w*", regex::escape(text)),
            "prefix" => format!("{}.*", regex::escape(text)),
            "wildcard" => values::wildcard(text, in_words),
            _ => {
                let flags = options.map_or(Ok(""), |options| text_or(options, "flags"))?;
                regexp::regexp(text, flags)?
            }
        };
        values::shaped(&field, &source, case(options))
    })
}

fn ids(body: &Value) -> Result<Filter, Refusal> {
    let body = only("ids", body, &["values"])?;
    let list = match wanted("ids", body, "values")? {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    if list.len() > CLAUSES_MAX {
        return Err(Refusal::argument(format!("[ids] has more than {CLAUSES_MAX} values")));
    }
    let one = |value: &Value| {
        let text = value.as_str().ok_or_else(|| Refusal::parsing("[ids] [values] wants texts"))?;
        values::id(text)
    };
    Ok(values::any(list.into_iter().map(one).collect::<Result<_, _>>()?))
}
