//! For editors and the curious: how a query is read, what could come next, how it would be answered.

use axum::Json as Answer;
use axum::extract::State;
use index::schema::STREAM;
use model::wire::QueryRequest;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Json, Said};
use super::request::Ask;
use super::{QueryState, facets};
use crate::language::{
    FUNCTIONS, Function, PIPES, Query, Scope, Search, Token, TokenKind, parse as parse_query, read,
};
use crate::plan::{Engine, Fields, Warning, asked, unknown_levels};

/// Completions of one answer.
const COMPLETIONS_MAX: usize = 50;
/// Values of a field that are looked through for what was typed.
const VALUES_MAX: usize = 1_000;
/// Words that join the terms of a search.
const SEARCH_WORDS: [&str; 3] = ["AND", "NOT", "OR"];
/// Words that join the parts of a pipe.
const PIPE_WORDS: [&str; 7] = ["AND", "NOT", "OR", "as", "asc", "by", "desc"];
/// What every record has.
const ALWAYS: [&str; 6] = ["id", "index", "ingest_time", "level", "message", "timestamp"];
/// What ends a value that stands in no quotes.
const ENDS: &str = "()[]|,";

/// Body of a request for the parts of a query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    #[serde(default)]
    query: String,
    /// Characters from 0; the end when it is missing.
    cursor: Option<usize>,
    from: Option<Value>,
    to: Option<Value>,
    indexes: Option<Vec<String>>,
}

impl Said for Request {
    const RIGHT: &'static str = "send a JSON object such as {\"query\":\"error\",\"cursor\":5}";
}

pub(super) async fn parse(
    State(state): State<QueryState>,
    Json(request): Json<Request>,
) -> Result<Answer<Value>, ApiError> {
    let (outcome, tokens) = read(&request.query);
    let text: Vec<char> = request.query.chars().collect();
    let cursor = request.cursor.unwrap_or(text.len()).min(text.len());
    let everything = QueryRequest {
        from: request.from,
        to: request.to,
        indexes: request.indexes,
        ..QueryRequest::default()
    };
    let everything = Ask::of(everything, state.engine.clock().now())?;
    let (engine, asked) = (state.engine.clone(), everything.question.clone());
    let fields =
        facets::run(&engine, None, |engine| async move { engine.fields(&asked).await }).await?;
    let mut diagnostics = unknown_fields(&text, &tokens, outcome.as_ref().ok(), &fields);
    diagnostics.extend(level_warnings(&text, &tokens));
    let kind = match &outcome {
        Ok(query) if Scope::behind(&query.pipes).columns().is_some() => Some("table"),
        Ok(_) => Some("records"),
        Err(error) => {
            diagnostics.push(json!({
                "severity": "error", "start": error.start, "end": error.end,
                "message": error.message, "expected": error.expected, "hint": error.hint,
            }));
            None
        }
    };
    let place = Place::of(&text, &tokens, cursor);
    let completions = place.completions(&state.engine, &everything, &fields).await?;
    let token = |token: &Token| json!({ "start": token.start, "end": token.end, "kind": token.kind.name() });
    Ok(Answer(json!({
        "kind": kind,
        "tokens": tokens.iter().map(token).collect::<Vec<_>>(),
        "diagnostics": diagnostics,
        "completions": completions,
    })))
}

/// Warnings about fields that no record has: those of the search, and, where all of the query is
/// understood, those that pipes ask of records.
fn unknown_fields(
    text: &[char],
    tokens: &[Token],
    query: Option<&Query>,
    fields: &Fields,
) -> Vec<Value> {
    let known: Vec<&str> =
        fields.fields.iter().map(|field| field.name.as_str()).chain(ALWAYS).collect();
    let mut names = query.map(asked).unwrap_or_default();
    names.retain(|name| !known.contains(&name.as_str()));
    let unknown = tokens.iter().filter_map(|token| {
        let name = name_of(text.get(token.start..token.end)?);
        let is_unknown = match token.kind {
            TokenKind::Field => !known.contains(&name.as_str()) && name != STREAM,
            TokenKind::Column => names.contains(&name),
            _ => false,
        };
        is_unknown.then(|| shown(token, &Warning::unknown_field(&name, &known)))
    });
    // A store without records has no fields, and then the warning tells nothing.
    if fields.records == 0 { Vec::new() } else { unknown.collect() }
}

/// A warning about what stands at a place.
fn shown(token: &Token, warning: &Warning) -> Value {
    json!({
        "severity": "warning", "start": token.start, "end": token.end,
        "message": warning.message, "expected": [], "hint": warning.hint,
    })
}

/// Warnings about values of `level` that are no levels.
fn level_warnings(text: &[char], tokens: &[Token]) -> Vec<Value> {
    let said = |token: &Token| text.get(token.start..token.end).unwrap_or_default();
    let mut warnings = Vec::new();
    // Whether a value would be that of `level`, and how many brackets are open behind it.
    let (mut is_level, mut open) = (false, 0_usize);
    for token in tokens {
        match token.kind {
            TokenKind::Field => (is_level, open) = (name_of(said(token)) == "level", 0),
            TokenKind::Bracket if said(token) == ['('] && is_level => open += 1,
            TokenKind::Bracket => {
                open = open.saturating_sub(usize::from(said(token) == [')']));
                is_level &= open > 0;
            }
            TokenKind::Value | TokenKind::Phrase | TokenKind::Regex | TokenKind::Word => {
                if is_level {
                    let value: String = said(token).iter().collect();
                    let found = parse_query(&format!("level:{value}"));
                    let found = found.map(|query| unknown_levels([&query.filter]));
                    let found = found.unwrap_or_default();
                    warnings.extend(found.iter().map(|warning| shown(token, warning)));
                }
                is_level &= open > 0;
            }
            TokenKind::Operator | TokenKind::Keyword => {}
            _ => is_level = false,
        }
    }
    warnings
}

/// Where completions are wanted.
struct Place {
    /// What was typed of the word, and where it begins.
    typed: String,
    start: usize,
    end: usize,
    wanted: Wanted,
}

/// What can stand at a place.
enum Wanted {
    /// A field of a search, or a word that joins.
    Term,
    /// A value of a field.
    Value(String),
    Pipe,
    /// A column, a function, a word that joins.
    Column,
    /// The same, where a function is more likely: in front of what it takes.
    Call,
    /// Something that only who types it knows.
    Nothing,
}

impl Place {
    fn of(text: &[char], tokens: &[Token], cursor: usize) -> Self {
        if let Some(place) = Self::in_value(text, tokens, cursor) {
            return place;
        }
        let part = |c: &&char| c.is_alphanumeric() || "_.-@".contains(**c);
        let before = text.get(..cursor).unwrap_or_default();
        let word = before.iter().rev().take_while(part).count();
        let signs = before.iter().skip(cursor - word).take_while(|c| **c == '-').count();
        let start = cursor - word + signs;
        let end = cursor + text.iter().skip(cursor).take_while(part).count();
        let typed = text.get(start..cursor).unwrap_or_default().iter().collect();
        let earlier: Vec<&Token> = tokens.iter().filter(|token| token.end <= start).collect();
        let said = |token: &Token| text.get(token.start..token.end).unwrap_or_default();
        let blank = text.get(..start).unwrap_or_default().iter().rev();
        let behind = blank.copied().find(|c| !c.is_whitespace());
        let field = earlier.iter().rev().find(|token| token.kind == TokenKind::Field);
        let in_pipe = earlier.iter().any(|token| said(token) == ['|']);
        let wanted = match (behind, field) {
            (Some('|'), _) => Wanted::Pipe,
            (Some('('), _) if in_pipe => Wanted::Column,
            _ if in_pipe => Self::in_pipe(text, &earlier),
            // `field: value`, with a blank between them.
            (Some(':'), Some(field)) => Wanted::Value(name_of(said(field))),
            // What is compared with is written by hand.
            (Some(':' | '<' | '>' | '='), _) => Wanted::Nothing,
            _ => Wanted::Term,
        };
        Self { typed, start, end, wanted }
    }

    /// Behind the name of a pipe that computes stand functions, behind its `by` columns.
    fn in_pipe(text: &[char], earlier: &[&Token]) -> Wanted {
        let said = |token: &Token| -> String {
            text.get(token.start..token.end).unwrap_or_default().iter().collect()
        };
        let names = |token: &&&Token| token.kind == TokenKind::Pipe || said(token) == "by";
        let named = earlier.iter().rev().find(names).map(|token| said(token));
        match named.as_deref() {
            Some("stats" | "timechart" | "eval" | "where") => Wanted::Call,
            _ => Wanted::Column,
        }
    }

    /// In a value: all of it behind the `:`, also in quotes and with any signs in it.
    fn in_value(text: &[char], tokens: &[Token], cursor: usize) -> Option<Self> {
        let is_field = |token: &&Token| token.kind == TokenKind::Field && token.end < cursor;
        let field = tokens.iter().rev().find(is_field)?;
        let start = field.end + 1;
        let written = text.get(start..cursor)?;
        if text.get(field.end) != Some(&':') {
            return None;
        }
        let quoted = written.first() == Some(&'"');
        let typed = written.get(usize::from(quoted)..)?;
        let goes_on = |c: &&char| match quoted {
            true => **c != '"',
            false => !c.is_whitespace() && !ENDS.contains(**c),
        };
        if typed.iter().any(|c| !goes_on(&c)) {
            return None;
        }
        let rest = text.get(cursor..)?;
        let closed = quoted && rest.contains(&'"');
        let end = match (quoted, closed) {
            // A quote that is still open would reach to the end.
            (true, false) => cursor,
            _ => cursor + rest.iter().take_while(goes_on).count() + usize::from(closed),
        };
        let name = name_of(text.get(field.start..field.end)?);
        Some(Self { typed: typed.iter().collect(), start, end, wanted: Wanted::Value(name) })
    }

    fn completion(&self, text: &str, kind: &str, detail: &str) -> Option<(bool, Value)> {
        let (lower, typed) = (text.to_lowercase(), self.typed.to_lowercase());
        (lower.contains(&typed) && text != self.typed).then(|| {
            let said = json!({ "text": text, "kind": kind, "start": self.start, "end": self.end, "detail": detail });
            (!lower.starts_with(&typed), said)
        })
    }

    /// What begins with what was typed, then what holds it.
    async fn completions(
        &self,
        engine: &Engine,
        everything: &Ask,
        fields: &Fields,
    ) -> Result<Vec<Value>, ApiError> {
        let words = |words: &[&str]| -> Vec<(bool, Value)> {
            // Nobody needs to be told of them before the first letter.
            let wanted = words.iter().filter(|_| !self.typed.is_empty());
            wanted.filter_map(|word| self.completion(word, "keyword", "")).collect()
        };
        let mut found: Vec<(bool, Value)> = match &self.wanted {
            Wanted::Nothing => Vec::new(),
            Wanted::Pipe => {
                let pipes = PIPES.iter();
                pipes.filter_map(|pipe| self.completion(pipe.name, "pipe", pipe.about)).collect()
            }
            Wanted::Value(name) => self.values(engine, everything, name).await?,
            Wanted::Term => [self.fields(fields), words(&SEARCH_WORDS)].concat(),
            Wanted::Column | Wanted::Call => {
                let aggregates = Function::ALL.iter().map(|(name, _)| (*name, "an aggregate"));
                let functions = FUNCTIONS.iter().map(|function| (function.name, function.about));
                let called = aggregates.chain(functions).filter_map(|(name, about)| {
                    self.completion(&format!("{name}("), "function", about)
                });
                let (called, fields) = (called.collect(), self.fields(fields));
                let parts = match self.wanted {
                    Wanted::Call => [called, fields, words(&PIPE_WORDS)],
                    _ => [fields, called, words(&PIPE_WORDS)],
                };
                parts.concat()
            }
        };
        found.sort_by_key(|(inside, _)| *inside);
        found.truncate(COMPLETIONS_MAX);
        Ok(found.into_iter().map(|(_, said)| said).collect())
    }

    fn fields(&self, fields: &Fields) -> Vec<(bool, Value)> {
        let known = fields.fields.iter().filter_map(|field| {
            self.completion(&field.name, "field", &format!("{} records", field.count))
        });
        let is_new = |name: &&&str| fields.fields.iter().all(|field| field.name != **name);
        let always = ALWAYS.iter().filter(is_new);
        known
            .chain(always.filter_map(|name| self.completion(name, "field", "of every record")))
            .collect()
    }

    async fn values(
        &self,
        engine: &Engine,
        everything: &Ask,
        name: &str,
    ) -> Result<Vec<(bool, Value)>, ApiError> {
        let (asked, name) = (everything.question.clone(), name.to_owned());
        let values = facets::run(engine, None, |engine| async move {
            engine.field_values(&asked, &name, VALUES_MAX).await
        });
        let value = |(value, count): &(Value, u64)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            self.completion(&text, "value", &format!("{count} records"))
        };
        Ok(values.await?.values.iter().filter_map(value).collect())
    }
}

/// A field's name without its quotes.
fn name_of(written: &[char]) -> String {
    let name: String = written.iter().collect();
    name.trim_matches(['"', '`']).to_owned()
}

pub(super) async fn explain(
    State(state): State<QueryState>,
    Json(request): Json<QueryRequest>,
) -> Result<Answer<Value>, ApiError> {
    let ask = Ask::of(request, state.engine.clock().now())?;
    let filter = Search(&ask.question.query.filter).to_string();
    let query = ask.question.query.to_string();
    let (question, text) = (ask.question.clone(), ask.request.query.clone());
    let explained = facets::run(&state.engine, None, |engine| async move {
        let explained = engine.explain(&question).await;
        explained.map_err(|failure| failure.located(&text))
    })
    .await?;
    let shown = |moment: Option<model::time::Timestamp>| moment.map(|moment| moment.to_string());
    Ok(Answer(json!({
        "query": query,
        "filter": filter,
        "from": shown(ask.from),
        "to": shown(ask.to),
        "units": { "splits": explained.splits, "fresh": explained.fresh },
        "records": explained.records,
        "bytes": explained.bytes,
        "plan": explained.plan,
    })))
}
