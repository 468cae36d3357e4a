//! For editors and the curious: how a query is read, what could come next, how it would be answered.

use axum::Json as Answer;
use axum::extract::State;
use model::wire::QueryRequest;
use platform::http::ApiError;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Json, Said};
use super::request::Ask;
use super::{QueryState, facets};
use crate::language::{FUNCTIONS, Function, PIPES, Scope, Search, Token, TokenKind, nearest, read};
use crate::plan::{Engine, FieldCount, Fields};

/// Completions of one answer.
const COMPLETIONS_MAX: usize = 50;
/// Words that join the terms of a search, and the parts of a pipe.
const KEYWORDS: [&str; 7] = ["AND", "NOT", "OR", "as", "asc", "by", "desc"];

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
    let mut diagnostics = unknown_fields(&text, &tokens, &fields);
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

/// Warnings about fields that no record has.
fn unknown_fields(text: &[char], tokens: &[Token], fields: &Fields) -> Vec<Value> {
    const ALWAYS: [&str; 6] = ["id", "index", "ingest_time", "level", "message", "timestamp"];
    let known: Vec<&str> =
        fields.fields.iter().map(|field| field.name.as_str()).chain(ALWAYS).collect();
    let searched = tokens.iter().filter(|token| token.kind == TokenKind::Field);
    let unknown = searched.filter_map(|token| {
        let name: String = text.get(token.start..token.end)?.iter().collect();
        let name = name.trim_matches(['"', '`']);
        (!known.contains(&name)).then(|| {
            let near = nearest(name, &known).map(|near| format!("did you mean {near}?"));
            json!({
                "severity": "warning", "start": token.start, "end": token.end,
                "message": format!("no record has a field {name:?}"),
                "expected": [], "hint": near,
            })
        })
    });
    // A store without records has no fields, and then the warning tells nothing.
    if fields.records == 0 { Vec::new() } else { unknown.collect() }
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
}

impl Place {
    fn of(text: &[char], tokens: &[Token], cursor: usize) -> Self {
        let part = |c: &&char| c.is_alphanumeric() || "_.-@".contains(**c);
        let before = text.get(..cursor).unwrap_or_default();
        let start = cursor - before.iter().rev().take_while(part).count();
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
            _ if in_pipe => Wanted::Column,
            // `field:` was read as a field, or could not be read for want of a value.
            (Some(':'), Some(field)) if field.end + 1 >= start => {
                Wanted::Value(said(field).iter().collect())
            }
            (Some(':'), _) => {
                let name = text.get(..start.saturating_sub(1)).unwrap_or_default();
                let name: String = name.iter().rev().take_while(part).collect();
                Wanted::Value(name.chars().rev().collect())
            }
            _ => Wanted::Term,
        };
        Self { typed, start, end, wanted }
    }

    fn fits(&self, text: &str) -> bool {
        text.to_lowercase().starts_with(&self.typed.to_lowercase()) && text != self.typed
    }

    fn completion(&self, text: &str, kind: &str, detail: &str) -> Option<Value> {
        self.fits(text).then(|| {
            json!({ "text": text, "kind": kind, "start": self.start, "end": self.end, "detail": detail })
        })
    }

    async fn completions(
        &self,
        engine: &Engine,
        everything: &Ask,
        fields: &Fields,
    ) -> Result<Vec<Value>, ApiError> {
        let field = |field: &FieldCount| {
            let detail = format!("{} records", field.count);
            self.completion(&field.name, "field", &detail)
        };
        let mut found: Vec<Value> = match &self.wanted {
            Wanted::Pipe => {
                let pipes = PIPES.iter();
                pipes.filter_map(|pipe| self.completion(pipe.name, "pipe", pipe.about)).collect()
            }
            Wanted::Value(name) => {
                let (asked, name) = (everything.question.clone(), name.clone());
                let values = facets::run(engine, None, |engine| async move {
                    engine.field_values(&asked, &name, COMPLETIONS_MAX).await
                });
                let values = values.await?.values;
                let value = |(value, count): &(Value, u64)| {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    self.completion(&text, "value", &format!("{count} records"))
                };
                values.iter().filter_map(value).collect()
            }
            Wanted::Term => fields.fields.iter().filter_map(field).collect(),
            Wanted::Column => {
                let aggregates = Function::ALL.iter().map(|(name, _)| (*name, "an aggregate"));
                let functions = FUNCTIONS.iter().map(|function| (function.name, function.about));
                let called = aggregates.chain(functions).filter_map(|(name, about)| {
                    self.completion(&format!("{name}("), "function", about)
                });
                fields.fields.iter().filter_map(field).chain(called).collect()
            }
        };
        if matches!(self.wanted, Wanted::Term | Wanted::Column) && !self.typed.is_empty() {
            found.extend(KEYWORDS.iter().filter_map(|word| self.completion(word, "keyword", "")));
        }
        found.truncate(COMPLETIONS_MAX);
        Ok(found)
    }
}

pub(super) async fn explain(
    State(state): State<QueryState>,
    Json(request): Json<QueryRequest>,
) -> Result<Answer<Value>, ApiError> {
    let ask = Ask::of(request, state.engine.clock().now())?;
    let filter = Search(&ask.question.query.filter).to_string();
    let query = ask.question.query.to_string();
    let question = ask.question.clone();
    let explained =
        facets::run(&state.engine, None, |engine| async move { engine.explain(&question).await })
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
