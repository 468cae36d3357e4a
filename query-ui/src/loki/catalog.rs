//! What there is: labels and their values, series, fields, volume, patterns.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use model::query::Filter;
use model::time::TimeRange;
use serde_json::{Value, json};

use super::ast::{By, Figure, Join, Query as LogQl, Range};
use super::figures::Found;
use super::lines::{Labels, Moments, label_name, label_value};
use super::lower::{Lowered, names};
use super::routes::{Answered, Params, Refusal, figures, matrix, run, success};
use crate::language::{Aggregate, Function, Group, Pipe, Query};
use crate::plan::json::value;
use crate::plan::{ColumnKind, Engine, QueryFailure, Question, Shape};

/// Values of a label, and series, of one answer.
const VALUES_MAX: usize = 5_000;

pub(super) fn question(filter: Filter, pipes: Vec<Pipe>, range: TimeRange) -> Question {
    Question { query: Query { time: None, filter, pipes }, range, indexes: None, limit: 0 }
}

/// The labels that the streams of some records have.
pub(super) async fn label_names(
    engine: &Engine,
    filter: Filter,
    range: TimeRange,
) -> Result<Vec<String>, QueryFailure> {
    let found = engine.fields(&question(filter, Vec::new(), range)).await?;
    let labels = found.fields.into_iter().filter(|field| field.label && field.count > 0);
    let mut names: Vec<String> = labels.map(|field| field.name).collect();
    names.sort();
    Ok(names)
}

/// What a selection asks; everything of the tenants where there is none.
pub(super) fn selection(params: &Params) -> Result<Lowered, Refusal> {
    let text = params.get("query").filter(|text| *text != "{}");
    match text.map(|_| params.query()).transpose()? {
        None => Ok(Lowered::of(&params.everything())),
        Some(LogQl::Log(log)) => Ok(Lowered::of(&log)),
        Some(_) => Err(Refusal::bad("a selection is wanted: {name=\"value\"}")),
    }
}

pub(super) async fn labels(State(engine): State<Engine>, params: Params) -> Answered {
    let range = params.range(engine.clock().now())?;
    let filter = selection(&params)?.filter();
    let names =
        run(&engine, |engine| async move { label_names(&engine, filter, range).await }).await?;
    let names: Vec<String> = names.iter().map(|name| label_name(name)).collect();
    Ok(success(names))
}

async fn values_of(engine: &Engine, params: &Params, name: &str) -> Result<Vec<String>, Refusal> {
    let range = params.range(engine.clock().now())?;
    let filter = selection(params)?.filter();
    let mut wanted = names(name);
    run(engine, |engine| async move {
        let mut all = Vec::new();
        if wanted.len() > 1 {
            // Of all the names that a label may have, few are there.
            let known = question(filter.clone(), Vec::new(), range);
            let held = engine.held(&known, wanted.iter().cloned().collect()).await?;
            wanted.retain(|name| name == "index" || held.contains_key(name));
        }
        for name in wanted {
            let question = question(filter.clone(), Vec::new(), range);
            let found = engine.field_values(&question, &name, VALUES_MAX).await?;
            let texts = found.values.iter().map(|(value, _)| label_value(value));
            all.extend(texts.filter(|text| !(name == "level" && text == "unknown")));
        }
        all.sort();
        all.dedup();
        Ok(all)
    })
    .await
}

pub(super) async fn values(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    params: Params,
) -> Answered {
    Ok(success(values_of(&engine, &params, &name).await?))
}

pub(super) async fn series(State(engine): State<Engine>, params: Params) -> Answered {
    let range = params.range(engine.clock().now())?;
    let mut filters = Vec::new();
    for text in params.list("match[]").into_iter().chain(params.list("match")) {
        match params.read(text)? {
            LogQl::Log(log) => filters.push(Lowered::of(&log).filter()),
            _ => return Err(Refusal::bad("match[] wants a selection: {name=\"value\"}")),
        }
    }
    let everything = Lowered::of(&params.everything()).filter();
    let filter = if filters.is_empty() { everything.clone() } else { Filter::Or(filters) };
    let found = run(&engine, |engine| async move {
        let names = label_names(&engine, everything, range).await?;
        let by = names.iter().cloned().map(Group::Field).collect();
        let count = Aggregate {
            function: Function::Count,
            argument: None,
            condition: None,
            name: "\u{1}n".to_owned(),
        };
        let stats = Pipe::Stats { aggregates: vec![count], by };
        let mut answer = engine.ask(&question(filter, vec![stats], range)).await?;
        let kinds: Vec<_> = match answer.shape() {
            Shape::Table(columns) => columns.iter().map(|column| column.kind).collect(),
            Shape::Records(_) => Vec::new(),
        };
        let mut found: Vec<Labels> = Vec::new();
        while let Some(rows) = answer.next().await? {
            for row in 0..rows.num_rows().min(VALUES_MAX.saturating_sub(found.len())) {
                let cells = names.iter().zip(rows.columns().iter().zip(&kinds));
                let label =
                    |(name, (column, kind)): (&String, (&arrow::array::ArrayRef, &ColumnKind))| {
                        let cell = value(column, row, *kind);
                        (!cell.is_null()).then(|| (label_name(name), label_value(&cell)))
                    };
                let labels: Labels = cells.filter_map(label).collect();
                if !labels.is_empty() {
                    found.push(labels);
                }
            }
        }
        Ok(found)
    });
    Ok(success(json!(found.await?)))
}

pub(super) async fn detected_labels(State(engine): State<Engine>, params: Params) -> Answered {
    let range = params.range(engine.clock().now())?;
    let filter = selection(&params)?.filter();
    let names =
        run(&engine, |engine| async move { label_names(&engine, filter, range).await }).await?;
    let mut found = Vec::new();
    for name in names {
        let count = values_of(&engine, &params, &name).await?.len();
        found.push(json!({ "label": label_name(&name), "cardinality": count }));
    }
    Ok(axum::response::IntoResponse::into_response(Json(json!({ "detectedLabels": found }))))
}

pub(super) async fn detected_values(
    State(engine): State<Engine>,
    Path(name): Path<String>,
    params: Params,
) -> Answered {
    let values = values_of(&engine, &params, &name).await?;
    Ok(axum::response::IntoResponse::into_response(Json(
        json!({ "values": values, "limit": VALUES_MAX }),
    )))
}

fn of_range(
    params: &Params,
    figure: Figure,
    range: TimeRange,
    by: Vec<String>,
) -> Result<LogQl, Refusal> {
    let log = match params.get("query").map(|_| params.query()).transpose()? {
        None => params.everything(),
        Some(LogQl::Log(log)) => log,
        Some(_) => return Err(Refusal::bad("a selection is wanted: {name=\"value\"}")),
    };
    // Whole milliseconds, as bins are.
    let span = range.to.0.saturating_sub(range.from.0).max(1);
    let span = (span / 1_000_000 + 1).saturating_mul(1_000_000);
    let inner = Range { figure, quantile: 0.0, log, unwrap: None, span, offset: 0, by: None };
    let by = Some(By { without: false, names: by });
    Ok(LogQl::Join {
        operator: Join::Sum,
        most: None,
        by,
        inner: Box::new(LogQl::Range(Box::new(inner))),
    })
}

async fn sum(
    engine: &Engine,
    params: &Params,
    figure: Figure,
    range: TimeRange,
) -> Result<f64, Refusal> {
    let query = of_range(params, figure, range, Vec::new())?;
    let moments = Moments { first: range.to, last: range.to, step: 1_000_000 };
    let Found::Series(series) = figures(engine, query, moments).await? else { return Ok(0.0) };
    Ok(series.values().flat_map(BTreeMap::values).sum())
}

pub(super) async fn stats(State(engine): State<Engine>, params: Params) -> Answered {
    let range = params.range(engine.clock().now())?;
    let entries = sum(&engine, &params, Figure::Count, range).await?;
    let bytes = sum(&engine, &params, Figure::Bytes, range).await?;
    let view = engine.view().await;
    let units = engine.searcher().units(&view, &range, None).len();
    let answer = json!({ "streams": units, "chunks": units, "entries": whole(entries), "bytes": whole(bytes) });
    Ok(axum::response::IntoResponse::into_response(Json(answer)))
}

#[expect(clippy::cast_possible_truncation, reason = "a count of ours")]
fn whole(number: f64) -> i64 {
    number as i64
}

async fn by_labels(engine: &Engine, params: &Params) -> Result<Vec<String>, Refusal> {
    if let Some(names) = params.get("targetLabels") {
        return Ok(names.split(',').map(str::to_owned).collect());
    }
    match params.written()? {
        LogQl::Log(log) if !log.selector.is_empty() => {
            Ok(log.selector.into_iter().map(|test| test.name).collect())
        }
        _ => {
            let filter = Lowered::of(&params.everything()).filter();
            run(engine, |engine| async move { label_names(&engine, filter, TimeRange::ALL).await })
                .await
        }
    }
}

pub(super) async fn volume(State(engine): State<Engine>, params: Params) -> Answered {
    let range = params.range(engine.clock().now())?;
    let limit = usize::try_from(params.limit(100, 5_000)?).unwrap_or(usize::MAX);
    let by = by_labels(&engine, &params).await?;
    let query = of_range(&params, Figure::Bytes, range, by)?;
    let moments = Moments { first: range.to, last: range.to, step: 1_000_000 };
    let Found::Series(series) = figures(&engine, query, moments).await? else {
        return Err(Refusal::bad("a selection is wanted"));
    };
    let mut found: Vec<(Labels, f64)> =
        series.into_iter().map(|(labels, values)| (labels, values.values().sum())).collect();
    found.sort_by(|a, b| b.1.total_cmp(&a.1));
    let at = range.to.0 / 1_000_000_000;
    let one = |(labels, bytes): (Labels, f64)| json!({ "metric": labels, "value": [at, whole(bytes).to_string()] });
    let result: Vec<Value> = found.into_iter().take(limit).map(one).collect();
    Ok(success(json!({ "resultType": "vector", "result": result, "stats": {} })))
}

pub(super) async fn volume_range(State(engine): State<Engine>, params: Params) -> Answered {
    let range = params.range(engine.clock().now())?;
    let moments = params.moments(range)?;
    let by = by_labels(&engine, &params).await?;
    let mut query = of_range(&params, Figure::Bytes, range, by)?;
    if let LogQl::Join { inner, .. } = &mut query
        && let LogQl::Range(inner) = &mut **inner
    {
        inner.span = moments.step;
    }
    let found = figures(&engine, query, moments).await?;
    Ok(success(matrix(found, moments)))
}

pub(super) async fn patterns(State(engine): State<Engine>, params: Params) -> Answered {
    let range = params.range(engine.clock().now())?;
    let moments = params.moments(range)?;
    let filter = selection(&params)?.filter();
    let count = Aggregate {
        function: Function::Count,
        argument: None,
        condition: None,
        name: "\u{1}n".to_owned(),
    };
    let by = vec![
        Group::Field(crate::language::PATTERN.to_owned()),
        Group::Bin { width: Some(moments.step.max(10_000_000_000)) },
    ];
    let stats = Pipe::Stats { aggregates: vec![count], by };
    let found = run(&engine, |engine| async move {
        let mut answer = engine.ask(&question(filter, vec![stats], range)).await?;
        let kinds: Vec<_> = match answer.shape() {
            Shape::Table(columns) => columns.iter().map(|column| column.kind).collect(),
            Shape::Records(_) => Vec::new(),
        };
        let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        while let Some(rows) = answer.next().await? {
            for row in 0..rows.num_rows() {
                let cells = rows.columns().iter().zip(&kinds);
                let cells: Vec<Value> =
                    cells.map(|(column, kind)| value(column, row, *kind)).collect();
                let [pattern, bin, count] = cells.as_slice() else { continue };
                let at = bin.as_str().and_then(model::time::Timestamp::parse);
                let Some(at) = at else { continue };
                let samples = found.entry(label_value(pattern)).or_default();
                samples.push(json!([at.0 / 1_000_000_000, count]));
            }
        }
        Ok(found)
    });
    let found = found.await?.into_iter().take(VALUES_MAX);
    let one = |(pattern, samples): (String, Vec<Value>)| json!({ "pattern": pattern.replace("<*>", "<_>"), "samples": samples });
    Ok(success(found.map(one).collect::<Vec<Value>>()))
}

pub(super) async fn limits() -> Json<Value> {
    Json(json!({
        "limits": { "discover_log_levels": true, "volume_enabled": true, "max_entries_limit_per_query": VALUES_MAX,
            "discover_service_name": [], "log_level_fields": ["level"] },
        "pattern_ingester_enabled": true, "version": "3.4.0",
    }))
}
