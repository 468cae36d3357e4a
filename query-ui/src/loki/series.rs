//! Series that other series become: `absent_over_time`, `label_replace`.

use std::collections::BTreeMap;

use super::ast::{By, Compare, Figure, Range, Relabel, Test, Value};
use super::figures::{Asked, Found, Series, refused};
use super::lines::Labels;
use super::parse::regex_of;
use super::tenant::LABEL;
use crate::plan::QueryFailure;

/// Bytes that one `label_replace` writes at most: a `$1` may stand for a whole value, and often.
const WRITTEN_BYTES_MAX: usize = 32 << 20;

impl Asked {
    /// One at the moments before which there is no line, with the labels that the selection says.
    pub(super) async fn absent(&self, range: &Range) -> Result<Found, QueryFailure> {
        let counted = Range { figure: Figure::Count, by: None, ..range.clone() };
        let all = By { without: false, names: Vec::new() };
        let there = match self.range(&counted, Some(&all)).await? {
            Found::Series(series) => series.into_values().next().unwrap_or_default(),
            Found::Number(_) => Series::new(),
        };
        let moments = self.moments.all().filter(|at| !there.contains_key(at));
        let absent: Series = moments.map(|at| (at, 1.0)).collect();
        let mut found = BTreeMap::new();
        if !absent.is_empty() {
            found.insert(said(&range.log.selector), absent);
        }
        Ok(Found::Series(found))
    }
}

/// The labels that a selection says, each by one test.
fn said(selector: &[Test]) -> Labels {
    let once = |name: &str| selector.iter().filter(|test| test.name == name).count() == 1;
    let label = |test: &Test| match (test.compare, &test.value) {
        (Compare::Equal, Value::Text(text)) if !text.is_empty() && once(&test.name) => {
            Some((test.name.clone(), text.clone()))
        }
        _ => None,
    };
    // Whose records they are is no label of Loki's: the request's header may have said it.
    selector.iter().filter(|test| test.name != LABEL).filter_map(label).collect()
}

/// Series whose labels are written anew where one of them matches as a whole.
pub(super) fn relabelled(relabel: &Relabel, found: Found) -> Result<Found, QueryFailure> {
    let Found::Series(series) = found else {
        return Err(refused("a number has no labels to replace"));
    };
    let regex = regex_of(&whole(&relabel.matches)).map_err(refused)?;
    let (mut renamed, mut left) = (BTreeMap::<Labels, Series>::new(), WRITTEN_BYTES_MAX);
    for (mut labels, values) in series {
        let value = labels.get(&relabel.from).map_or("", String::as_str);
        match written(&regex, &relabel.by, value, &mut left)? {
            Some(text) if text.is_empty() => drop(labels.remove(&relabel.into)),
            Some(text) => drop(labels.insert(relabel.into.clone(), text)),
            None => {}
        }
        if renamed.insert(labels, values).is_some() {
            return Err(refused("label_replace gives several series the same labels"));
        }
    }
    Ok(Found::Series(renamed))
}

/// What a value that matches becomes. `left` are the bytes that may be written yet.
fn written(
    regex: &regex::Regex,
    by: &str,
    value: &str,
    left: &mut usize,
) -> Result<Option<String>, QueryFailure> {
    let Some(captures) = regex.captures(value) else { return Ok(None) };
    let most = by.matches('$').count().saturating_mul(value.len()).saturating_add(by.len());
    *left = left.checked_sub(most).ok_or_else(|| {
        refused(format!("label_replace writes more than {WRITTEN_BYTES_MAX} bytes"))
    })?;
    let mut text = String::new();
    captures.expand(by, &mut text);
    Ok(Some(text))
}

/// The expression that a whole text matches.
pub(super) fn whole(source: &str) -> String {
    format!(r"\A(?s:{source})\z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[track_caller]
    fn check(by: &str, matches: &str, expected: &[(&str, &str)]) {
        let [into, from] = ["short", "host"].map(str::to_owned);
        let inner = Box::new(super::super::ast::Query::Vector(1.0));
        let (by, matches) = (by.to_owned(), matches.to_owned());
        let relabel = Relabel { inner, into, by, from, matches };
        let given = BTreeMap::from([(labels(&[("host", "web-7")]), Series::from([(0, 1.0)]))]);
        match relabelled(&relabel, Found::Series(given)) {
            Ok(Found::Series(found)) => {
                assert_eq!(found.into_keys().collect::<Vec<_>>(), [labels(expected)]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_label_is_written_where_the_whole_value_matches() {
        check("$1", "(.*)-.*", &[("host", "web-7"), ("short", "web")]);
        check("${name}!", "(?P<name>[a-z]+).*", &[("host", "web-7"), ("short", "web!")]);
        check("x", "web", &[("host", "web-7")]);
        check("", ".*", &[("host", "web-7")]);
    }

    #[test]
    fn what_is_written_has_a_bound() {
        let regex = regex_of(&whole("(.*)")).unwrap();
        let (value, by) = ("x".repeat(1 << 20), "$1".repeat(8));
        let mut left = WRITTEN_BYTES_MAX;
        let mut wrote =
            || written(&regex, &by, &value, &mut left).map(|text| text.map(|t| t.len()));
        let whole = [wrote(), wrote(), wrote()].map(Result::unwrap);
        assert_eq!(whole, [Some(8 << 20); 3]);
        assert!(wrote().is_err_and(|error| error.to_string().contains("label_replace writes")));
    }

    #[test]
    fn what_is_absent_has_the_labels_that_are_said() {
        let test = |name: &str, compare, text: &str| Test {
            name: name.to_owned(),
            compare,
            value: Value::Text(text.to_owned()),
        };
        let selector = [
            test("app", Compare::Equal, "web"),
            test("host", Compare::Like, "w.*"),
            test("env", Compare::Equal, "a"),
            test("env", Compare::NotEqual, "b"),
        ];
        assert_eq!(said(&selector), labels(&[("app", "web")]));
    }
}
