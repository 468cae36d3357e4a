//! Aliases of indexes: kept with the catalog, given back, changed one by one or several at once.

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use cluster::aliases::{Alias, Aliases, Change, is_name};
use cluster::catalog::{Catalog, CatalogError};
use platform::http::Slashed as _;
use serde_json::{Map, Value, json};

use super::cat::named_or_all;
use super::catalog::{listed, tabled};
use super::names;
use super::refusal::{Refusal, set};
use super::request::Asked;
use super::routes::{Answered, known};
use crate::plan::Engine;

/// Changes of one request.
const ACTIONS_MAX: usize = 1_000;

/// The routes.
pub(super) fn router() -> Router<Engine> {
    let one = get(of_index_named).head(of_index_named).put(add).post(add).delete(remove);
    Router::new()
        .slashed("/es/_aliases", get(all).post(change))
        .slashed("/es/_alias", get(all))
        .slashed("/es/_alias/{name}", get(named))
        .slashed("/es/{index}/_alias", get(of_index))
        .slashed("/es/{index}/_alias/{name}", one.clone())
        .slashed("/es/{index}/_aliases/{name}", one)
        .slashed("/es/_cat/aliases", get(cat))
        .slashed("/es/_cat/aliases/{name}", get(cat))
}

/// Asks the catalog where it may block.
pub(super) async fn kept<T: Send + 'static>(
    engine: &Engine,
    ask: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
) -> Result<T, Refusal> {
    let catalog = engine.searcher().catalog().clone();
    let answer = tokio::task::spawn_blocking(move || ask(&catalog)).await;
    let answer = answer.map_err(|_| Refusal::unavailable("the catalog was not asked"))?;
    answer.map_err(|error| Refusal::unavailable(error.to_string()))
}

/// The aliases of an index, by name, that are wanted.
pub(super) fn shown(aliases: &Aliases, index: &str, wanted: impl Fn(&str) -> bool) -> Value {
    let of = aliases.of(index).filter(|(name, _)| wanted(name));
    of.map(|(name, kept)| (name.to_owned(), json!(kept))).collect::<Map<_, _>>().into()
}

async fn all(State(engine): State<Engine>, asked: Asked) -> Answered {
    found(&engine, "_all", None, &asked).await
}

async fn of_index(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    asked: Asked,
) -> Answered {
    found(&engine, &index, None, &asked).await
}

async fn named(State(engine): State<Engine>, Path(name): Path<String>, asked: Asked) -> Answered {
    found(&engine, "_all", Some(&name), &asked).await
}

async fn of_index_named(
    State(engine): State<Engine>,
    Path((index, name)): Path<(String, String)>,
    asked: Asked,
) -> Answered {
    found(&engine, &index, Some(&name), &asked).await
}

/// Whether a name is one of an expression such as `a,b*`.
fn is_wanted(expression: &str, name: &str) -> bool {
    let mut parts = expression.split(',').map(str::trim);
    parts.any(|part| part == "_all" || names::matches(part, name))
}

/// The aliases of indexes; with names, only those, and the indexes that have one of them.
async fn found(engine: &Engine, indexes: &str, name: Option<&str>, asked: &Asked) -> Answered {
    asked.only(&[])?;
    let indexes = listed(engine, indexes, asked).await?;
    let aliases = known(engine).await?.aliases;
    let mut answer = Map::new();
    for index in indexes {
        let of = shown(&aliases, &index, |alias| name.is_none_or(|name| is_wanted(name, alias)));
        if name.is_none() || of.as_object().is_some_and(|of| !of.is_empty()) {
            answer.insert(index, json!({ "aliases": of }));
        }
    }
    let missing = name.filter(|name| answer.is_empty() && !name.contains('*') && *name != "_all");
    if let Some(name) = missing {
        let body = json!({ "error": format!("alias [{name}] missing"), "status": 404 });
        return Ok((StatusCode::NOT_FOUND, axum::Json(body)).into_response());
    }
    Ok(asked.answer(Value::Object(answer)))
}

async fn add(
    State(engine): State<Engine>,
    Path((index, name)): Path<(String, String)>,
    asked: Asked,
) -> Answered {
    let mut action = asked.json()?;
    set(&mut action, "index", index.into());
    set(&mut action, "alias", name.into());
    changed(&engine, &json!({ "actions": [{ "add": action }] }), &asked).await
}

async fn remove(
    State(engine): State<Engine>,
    Path((index, name)): Path<(String, String)>,
    asked: Asked,
) -> Answered {
    let action = json!({ "index": index, "alias": name });
    changed(&engine, &json!({ "actions": [{ "remove": action }] }), &asked).await
}

async fn change(State(engine): State<Engine>, asked: Asked) -> Answered {
    let body = asked.json()?;
    changed(&engine, &body, &asked).await
}

async fn changed(engine: &Engine, body: &Value, asked: &Asked) -> Answered {
    asked.only(&[])?;
    let actions = body.get("actions").and_then(Value::as_array);
    let actions = actions.ok_or_else(|| Refusal::parsing("[aliases] wants a list of [actions]"))?;
    if actions.len() > ACTIONS_MAX {
        let reason = format!("[aliases] has more than {ACTIONS_MAX} actions: send them in parts");
        return Err(Refusal::argument(reason));
    }
    let names = known(engine).await?;
    let mut changes = Vec::new();
    for action in actions {
        let (kind, body) = single(action)?;
        let indexes = texts(kind, body, ["index", "indices"])?.join(",");
        let indexes = listed(engine, &indexes, asked).await?;
        for alias in texts(kind, body, ["alias", "aliases"])? {
            let pairs = match kind {
                "add" => added(&alias, &indexes, body, &names.indexes)?,
                _ => removed(&alias, &indexes, body, &names.aliases)?,
            };
            changes.extend(pairs);
        }
    }
    let outcome = kept(engine, move |catalog| catalog.change_aliases(&changes)).await?;
    outcome.map_err(|refused| Refusal::argument(refused.to_string()))?;
    Ok(asked.answer(json!({ "acknowledged": true, "errors": false })))
}

/// What one action does, and with what.
fn single(action: &Value) -> Result<(&str, &Map<String, Value>), Refusal> {
    let mut members = action.as_object().into_iter().flatten();
    match (members.next(), members.next()) {
        (Some((kind, Value::Object(body))), None) if matches!(kind.as_str(), "add" | "remove") => {
            let known = [
                "index",
                "indices",
                "alias",
                "aliases",
                "is_write_index",
                "is_hidden",
                "must_exist",
            ];
            match body.keys().find(|name| !known.contains(&name.as_str())) {
                // A part of an index under a name of its own: it would show too much.
                Some(name) => Err(Refusal::parsing(format!(
                    "[{name}] is not supported in an alias: it names whole indexes"
                ))),
                None => Ok((kind, body)),
            }
        }
        (Some((kind, _)), _) => Err(Refusal::parsing(format!(
            "[aliases] action [{kind}] is not supported: add or remove"
        ))),
        (None, _) => Err(Refusal::parsing("[aliases] an action is add or remove")),
    }
}

/// The names under the one key or the other.
fn texts(kind: &str, body: &Map<String, Value>, keys: [&str; 2]) -> Result<Vec<String>, Refusal> {
    let refused =
        || Refusal::argument(format!("[{kind}] requires [{}] with names", keys.join("] or [")));
    let given = keys.iter().find_map(|key| body.get(*key)).ok_or_else(refused)?;
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let found: Option<Vec<String>> = match given {
        Value::Array(list) => list.iter().map(text).collect(),
        one => text(one).map(|one| vec![one]),
    };
    found.filter(|found| !found.is_empty()).ok_or_else(refused)
}

fn added(
    alias: &str,
    indexes: &[String],
    body: &Map<String, Value>,
    known: &BTreeSet<String>,
) -> Result<Vec<Change>, Refusal> {
    if !is_name(alias) {
        let reason =
            format!("Invalid alias name [{alias}]: 1 to 128 of a-z 0-9 . _ -, not led by . or -");
        return Err(Refusal::alias_name(reason));
    }
    if known.contains(alias) {
        let reason = format!(
            "Invalid alias name [{alias}]: an index exists with the same name as the alias"
        );
        return Err(Refusal::alias_name(reason));
    }
    let kept = Alias { is_write_index: body.get("is_write_index").and_then(Value::as_bool) };
    let change =
        |index: &String| Change::Add { alias: alias.to_owned(), index: index.clone(), kept };
    Ok(indexes.iter().map(change).collect())
}

fn removed(
    alias: &str,
    indexes: &[String],
    body: &Map<String, Value>,
    aliases: &Aliases,
) -> Result<Vec<Change>, Refusal> {
    let mut changes = Vec::new();
    for name in aliases.names().filter(|name| is_wanted(alias, name)) {
        let members = aliases.indexes(name);
        let change =
            |index: &&String| Change::Remove { alias: name.to_owned(), index: (*index).clone() };
        changes.extend(
            indexes
                .iter()
                .filter(|index| members.contains(index.as_str()))
                .map(|index| change(&index)),
        );
    }
    if changes.is_empty() && body.get("must_exist") != Some(&Value::Bool(false)) {
        return Err(Refusal::no_alias(alias));
    }
    Ok(changes)
}

async fn cat(
    State(engine): State<Engine>,
    name: Option<Path<String>>,
    headers: HeaderMap,
    asked: Asked,
) -> Answered {
    let expression = named_or_all(name);
    let aliases = known(&engine).await?.aliases;
    let mut rows = Vec::new();
    for alias in aliases.names().filter(|name| is_wanted(&expression, name)) {
        for index in aliases.indexes(alias) {
            let kept = aliases.of(index).find(|(name, _)| *name == alias);
            let writes = match kept.and_then(|(_, kept)| kept.is_write_index) {
                Some(writes) => writes.to_string(),
                None => "-".to_owned(),
            };
            let cells =
                [alias.to_owned(), index.to_owned(), "-".into(), "-".into(), "-".into(), writes];
            rows.push(cells.to_vec());
        }
    }
    let columns = [
        ("alias", "a"),
        ("index", "i"),
        ("filter", "f"),
        ("routing.index", "ri"),
        ("routing.search", "rs"),
        ("is_write_index", "w"),
    ];
    tabled(&columns, rows, &headers, &asked)
}
