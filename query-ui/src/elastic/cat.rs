//! Small tables of `_cat`: how many records, which nodes, which templates.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::get;
use cluster::documents::DocumentKind;
use model::node::NodeInfo;
use model::time::SECOND;
use platform::http::Slashed as _;
use serde_json::Value;

use super::aliases::kept;
use super::catalog::tabled;
use super::names;
use super::refusal::Refusal;
use super::request::Asked;
use super::routes::{Answered, named, run};
use super::search::{Params, Search};
use crate::plan::Engine;

/// The routes.
pub(super) fn router() -> Router<Engine> {
    Router::new()
        .slashed("/es/_cat/count", get(count).post(count))
        .slashed("/es/_cat/count/{index}", get(count).post(count))
        .slashed("/es/_cat/nodes", get(nodes))
        .slashed("/es/_cat/templates", get(templates))
        .slashed("/es/_cat/templates/{name}", get(templates))
        .slashed("/es/_cat/{table}", get(unknown))
        .slashed("/es/_cat/{table}/{name}", get(unknown))
}

/// What a path of `_cat` names; everything where it names nothing.
pub(super) fn named_or_all(name: Option<Path<String>>) -> String {
    name.map_or_else(|| "_all".to_owned(), |Path(name)| name)
}

async fn unknown(Path(parts): Path<Vec<(String, String)>>) -> Refusal {
    let table = parts.first().map_or("", |(_, table)| table);
    Refusal::argument(format!(
        "[_cat/{table}] is not supported: aliases, count, health, indices, nodes, templates"
    ))
}

async fn count(
    State(engine): State<Engine>,
    index: Option<Path<String>>,
    headers: HeaderMap,
    asked: Asked,
) -> Answered {
    let body = asked.json()?;
    if let Some(name) = body.as_object().and_then(|body| body.keys().find(|name| *name != "query"))
    {
        return Err(Refusal::parsing(format!("request does not support [{name}]")));
    }
    let indexes = named(&engine, &named_or_all(index), &asked).await?;
    let now = engine.clock().now();
    let search = Search::read(&body, &Params::new(), indexes, now)?;
    let cost = search.cost();
    let (count, _) = run(&engine, Some(&cost), |engine| async move {
        search.count(&engine, search.filter.clone()).await
    })
    .await?;
    let seconds = now.0.div_euclid(SECOND);
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    let clock = format!("{hour:02}:{minute:02}:{:02}", seconds % 60);
    let columns = [("epoch", "t"), ("timestamp", "ts"), ("count", "dc")];
    tabled(&columns, vec![vec![seconds.to_string(), clock, count.to_string()]], &headers, &asked)
}

/// The nodes that are there, as far as this one knows.
async fn nodes(State(engine): State<Engine>, headers: HeaderMap, asked: Asked) -> Answered {
    let topology = engine.searcher().catalog().topology().borrow().clone();
    let row = |node: &NodeInfo| {
        let address = node.http.rsplit_once(':').map_or(node.http.as_str(), |(host, _)| host);
        let roles = [(node.roles.ingest, 'i'), (node.roles.index, 'd'), (node.roles.query, 'c')];
        let roles = roles.iter().filter(|(has, _)| *has).map(|(_, letter)| letter);
        let name = node.id.to_string();
        vec![address.to_owned(), roles.collect(), "-".to_owned(), node.version.clone(), name]
    };
    let there = topology.nodes.values().filter(|node| node.answers());
    let mut rows: Vec<Vec<String>> = there.map(row).collect();
    if topology.nodes.is_empty() {
        let version = env!("CARGO_PKG_VERSION");
        rows.push(["127.0.0.1", "idc", "*", version, "sawlog"].map(str::to_owned).to_vec());
    }
    let columns =
        [("ip", "i"), ("node.role", "r"), ("master", "m"), ("version", "v"), ("name", "n")];
    tabled(&columns, rows, &headers, &asked)
}

/// The templates that clients left.
async fn templates(
    State(engine): State<Engine>,
    name: Option<Path<String>>,
    headers: HeaderMap,
    asked: Asked,
) -> Answered {
    let pattern = name.map_or_else(|| "*".to_owned(), |Path(name)| name);
    let found = kept(&engine, |catalog| {
        let mut found: Vec<(String, Value)> = Vec::new();
        for family in ["index_template/", "template/"] {
            let documents = catalog.documents_below(DocumentKind::Elastic, family)?;
            found.extend(documents.into_iter().map(|(key, document): (String, Value)| {
                (key.trim_start_matches(family).to_owned(), document)
            }));
        }
        Ok(found)
    })
    .await?;
    let row = |(name, document): (String, Value)| {
        let said = |names: [&str; 2]| {
            let value = names.iter().find_map(|name| document.get(name));
            value.map_or_else(String::new, |value| match value {
                Value::Array(list) => {
                    let list: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                    format!("[{}]", list.join(", "))
                }
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        };
        let patterns = said(["index_patterns", "template"]);
        let order = said(["priority", "order"]);
        let (version, parts) = (said(["version", "version"]), said(["composed_of", "composed_of"]));
        vec![name, patterns, order, version, parts]
    };
    let rows = found.into_iter().filter(|(name, _)| names::matches(&pattern, name)).map(row);
    let columns = [
        ("name", "n"),
        ("index_patterns", "t"),
        ("order", "o"),
        ("version", "v"),
        ("composed_of", "c"),
    ];
    tabled(&columns, rows.collect(), &headers, &asked)
}
