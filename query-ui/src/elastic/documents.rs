//! Documents by their ids, without a search around them: `_doc`, `_source`, `_mget`.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use platform::http::Slashed as _;
use serde_json::{Value, json};

use super::dated;
use super::names::{self, Absent};
use super::refusal::{Refusal, set};
use super::request::Asked;
use super::routes::{Answered, known, named, run};
use super::search::{Params, Search};
use crate::plan::Engine;

/// Documents of one request.
const DOCUMENTS_MAX: usize = 1_000;
/// Parameters that say which parts of a source are shown.
const SOURCE: [&str; 5] =
    ["_source", "_source_includes", "_source_excludes", "realtime", "refresh"];

/// The routes.
pub(super) fn router() -> Router<Engine> {
    Router::new()
        .slashed("/es/{index}/_doc/{id}", get(document))
        .slashed("/es/{index}/_source/{id}", get(source))
        .slashed("/es/_mget", get(several_anywhere).post(several_anywhere))
        .slashed("/es/{index}/_mget", get(several_in).post(several_in))
}

/// One document that is asked for.
struct Wanted {
    /// The name of its index as it was asked for, which may be an alias.
    index: String,
    id: String,
    search: Search,
}

impl Wanted {
    /// `_source` is what the request says of this document alone.
    fn new(
        engine: &Engine,
        (index, id): (&str, &str),
        indexes: Option<Vec<String>>,
        params: &Params,
        own: Option<&Value>,
    ) -> Result<Self, Refusal> {
        let mut query = json!({ "query": { "ids": { "values": [id] } }, "size": 1 });
        if let Some(own) = own {
            set(&mut query, "_source", own.clone());
        }
        let search = Search::read(&query, params, indexes, engine.clock().now())?;
        Ok(Self { index: index.to_owned(), id: id.to_owned(), search })
    }

    /// The newest one of that id as `_doc` shows it, or that there is none.
    async fn found(&self, engine: &Engine) -> Result<Value, Refusal> {
        let hits = self.search.hits(engine).await?;
        let shown = self.search.shown(&hits);
        let Some(hit) = shown.get("hits").and_then(|hits| hits.get(0)) else {
            return Ok(json!({ "_index": self.index, "_id": self.id, "found": false }));
        };
        let mut body = json!({ "_version": 1, "_seq_no": 0, "_primary_term": 1, "found": true });
        for name in ["_index", "_id", "_source"] {
            hit.get(name).into_iter().for_each(|value| set(&mut body, name, value.clone()));
        }
        Ok(body)
    }
}

fn is_found(document: &Value) -> bool {
    document.get("found") == Some(&Value::Bool(true))
}

async fn one(engine: &Engine, (index, id): (&str, &str), asked: &Asked) -> Result<Value, Refusal> {
    asked.only(&SOURCE)?;
    let indexes = named(engine, index, asked).await?;
    let wanted = Wanted::new(engine, (index, id), indexes, &asked.params, None)?;
    let cost = wanted.search.cost();
    run(engine, Some(&cost), |engine| async move { wanted.found(&engine).await }).await
}

async fn document(
    State(engine): State<Engine>,
    Path((index, id)): Path<(String, String)>,
    asked: Asked,
) -> Answered {
    let document = one(&engine, (&index, &id), &asked).await?;
    let status = if is_found(&document) { StatusCode::OK } else { StatusCode::NOT_FOUND };
    Ok((status, asked.answer(document)).into_response())
}

async fn source(
    State(engine): State<Engine>,
    Path((index, id)): Path<(String, String)>,
    asked: Asked,
) -> Answered {
    let mut document = one(&engine, (&index, &id), &asked).await?;
    match document.get_mut("_source").map(Value::take) {
        Some(source) => Ok(asked.answer(source)),
        None => Err(Refusal::no_source(&index, &id)),
    }
}

async fn several_anywhere(State(engine): State<Engine>, asked: Asked) -> Answered {
    several(&engine, None, &asked).await
}

async fn several_in(
    State(engine): State<Engine>,
    Path(index): Path<String>,
    asked: Asked,
) -> Answered {
    several(&engine, Some(&index), &asked).await
}

async fn several(engine: &Engine, index: Option<&str>, asked: &Asked) -> Answered {
    asked.only(&SOURCE)?;
    let body = asked.json()?;
    let wanted = read(&body, index)?;
    let known = known(engine).await?;
    let searches = wanted.into_iter().map(|(index, id, own)| {
        // Each is refused for itself: an index that is not there hides no other document.
        let indexes = dated::resolved(index, engine.clock().now())
            .and_then(|index| names::indexes(&index, &known, Absent::default()));
        let wanted = indexes
            .and_then(|indexes| Wanted::new(engine, (index, id), indexes, &asked.params, own));
        wanted.map_err(|refusal| failed(index, id, &refusal))
    });
    let searches: Vec<Result<Wanted, Value>> = searches.collect();
    let Some(cost) = searches.iter().flatten().map(|wanted| wanted.search.cost()).next() else {
        let documents: Vec<Value> = searches.into_iter().filter_map(Result::err).collect();
        return Ok(asked.answer(json!({ "docs": documents })));
    };
    let documents = run(engine, Some(&cost), |engine| async move {
        let mut documents = Vec::with_capacity(searches.len());
        for search in searches {
            documents.push(match search {
                Ok(wanted) => wanted.found(&engine).await?,
                Err(refused) => refused,
            });
        }
        Ok(documents)
    })
    .await?;
    Ok(asked.answer(json!({ "docs": documents })))
}

fn failed(index: &str, id: &str, refusal: &Refusal) -> Value {
    let mut answer = json!({ "_index": index, "_id": id });
    set(&mut answer, "error", refusal.body().get("error").cloned().unwrap_or_default());
    answer
}

type Named<'a> = (&'a str, &'a str, Option<&'a Value>);

/// What `_mget` asks for: index, id, and which parts of the source.
fn read<'a>(body: &'a Value, index: Option<&'a str>) -> Result<Vec<Named<'a>>, Refusal> {
    let object = body.as_object();
    let object = object.ok_or_else(|| Refusal::content("a multi get wants a JSON object"))?;
    if let Some(name) = object.keys().find(|name| !["docs", "ids"].contains(&name.as_str())) {
        return Err(Refusal::parsing(format!("unknown key [{name}] in a multi get")));
    }
    let list = |name: &str| object.get(name).and_then(Value::as_array);
    let mut wanted = Vec::new();
    for id in list("ids").into_iter().flatten() {
        let id = id.as_str().ok_or_else(|| Refusal::parsing("[ids] wants texts"))?;
        let index = index.ok_or_else(|| Refusal::argument("index is missing for doc"))?;
        wanted.push((index, id, None));
    }
    for document in list("docs").into_iter().flatten() {
        wanted.push(read_one(document, index)?);
    }
    match wanted.len() {
        0 => Err(Refusal::argument("no documents to get: [docs] or [ids]")),
        count if count > DOCUMENTS_MAX => {
            let reason = format!("a multi get has at most {DOCUMENTS_MAX} documents");
            Err(Refusal::argument(reason))
        }
        _ => Ok(wanted),
    }
}

fn read_one<'a>(document: &'a Value, index: Option<&'a str>) -> Result<Named<'a>, Refusal> {
    let known = ["_index", "_id", "_source", "routing", "version", "version_type"];
    let object = document.as_object().ok_or_else(|| Refusal::parsing("[docs] wants objects"))?;
    if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(Refusal::parsing(format!("unknown key [{name}] in [docs]")));
    }
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let index = text("_index").or(index);
    let index = index.ok_or_else(|| Refusal::argument("index is missing for doc"))?;
    let id = text("_id").ok_or_else(|| Refusal::argument("id is missing for doc"))?;
    Ok((index, id, object.get("_source")))
}

#[cfg(test)]
mod tests {
    use super::super::router;
    use super::super::tests::{ask, found, post};
    use super::*;
    use crate::fixture::{Fixture, Rest};

    #[tokio::test]
    async fn a_document_is_found_by_the_id_that_its_sender_gave() {
        for rest in [Rest::Fresh, Rest::Splits] {
            let fixture = Fixture::new(rest);
            let lines = [json!({"msg": "given", "_id": "Order-7"}), json!({"msg": "own"})];
            fixture.append(0, &[], lines.map(|line| line.to_string())).await;
            if rest == Rest::Splits {
                fixture.settle().await;
            }
            let app = router(fixture.engine.clone());
            let own =
                post(&app, "/es/_search", json!({"query": {"match": {"message": "own"}}})).await;
            let own = own["hits"]["hits"][0]["_id"].as_str().unwrap().to_owned();
            for (query, expected) in [
                (json!({"ids": {"values": ["Order-7"]}}), vec!["given"]),
                (json!({"ids": {"values": [own]}}), vec!["own"]),
                (json!({"term": {"_id": "Order-7"}}), vec!["given"]),
                (json!({"terms": {"_id": ["Order-7", own]}}), vec!["own", "given"]),
                (json!({"match": {"_id": "Order-7"}}), vec!["given"]),
                (json!({"query_string": {"query": "_id:\"Order-7\""}}), vec!["given"]),
                (json!({"ids": {"values": ["order-7", "Order"]}}), vec![]),
            ] {
                let mut messages = found(&app, query.clone()).await;
                messages.sort_by(|one, two| two.cmp(one));
                assert_eq!(messages, expected, "{rest:?} {query}");
            }
            let (status, answer) = ask(&app, "GET", "/es/main/_doc/Order-7", "").await;
            assert_eq!((status, &answer["_id"]), (StatusCode::OK, &json!("Order-7")));
            assert_eq!(answer["_source"].get("_id"), None, "{answer}");
            let (status, answer) = ask(&app, "GET", "/es/main/_doc/Order-8", "").await;
            assert_eq!((status, &answer["found"]), (StatusCode::NOT_FOUND, &json!(false)));
            let (status, source) =
                ask(&app, "GET", "/es/main/_source/Order-7?_source=message", "").await;
            assert_eq!((status, source), (StatusCode::OK, json!({"message": "given"})));
            let (status, _) = ask(&app, "HEAD", "/es/main/_source/Order-8", "").await;
            assert_eq!(status, StatusCode::NOT_FOUND);
            let wanted = json!({"docs": [
                {"_index": "main", "_id": "Order-7", "_source": false}, {"_id": own}, {"_id": "no"},
                {"_index": "none", "_id": "Order-7"},
            ]});
            let got = post(&app, "/es/main/_mget", wanted).await;
            let told = got["docs"].as_array().unwrap().iter().map(|one| {
                (
                    one["found"].clone(),
                    one["_source"]["message"].clone(),
                    one["error"]["type"].clone(),
                )
            });
            assert_eq!(
                told.collect::<Vec<_>>(),
                [
                    (json!(true), Value::Null, Value::Null),
                    (json!(true), json!("own"), Value::Null),
                    (json!(false), Value::Null, Value::Null),
                    (Value::Null, Value::Null, json!("index_not_found_exception")),
                ]
            );
            let refused = json!({"query": {"prefix": {"_id": "Ord"}}}).to_string();
            let (status, answer) = ask(&app, "POST", "/es/_search", &refused).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        }
    }
}
