//! A statement of SQL: what all of them share, its plan over an empty table, and where it is wrong.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{
    CatalogProvider as _, CatalogProviderList as _, MemoryCatalogProvider,
    MemoryCatalogProviderList, MemorySchemaProvider, SchemaProvider as _,
};
use datafusion::common::tree_node::{TreeNode as _, TreeNodeRecursion};
use datafusion::common::{
    Column, DFSchema, DataFusionError, Result, ScalarValue, SchemaError, plan_err,
};
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::{SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan, Volatility, create_udf};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Statement as Standard};
use model::wire::Position;
use regex::Regex;

use super::failure::Misread;
use super::lower::Function;
use super::planning::wanted;
use super::{QueryFailure, sql::LOGS};
use crate::language::{QueryError, name_of, nearest};

/// The function that searches.
pub(super) const MATCHES: &str = "matches";
/// Functions without which everything can be said, and with which a few words make texts without end.
const REMOVED: [&str; 2] = ["repeat", "overlay"];
/// Functions that fill a text up to a length.
const FILLING: [&str; 2] = ["lpad", "rpad"];
/// Characters up to which they do, and bytes of what `string_agg` puts between texts and of the
/// format of `to_char`.
const FILLED_MAX: i64 = 1_000;
/// Groups of an expression whose texts `regexp_match` gives.
const GROUPS_MAX: usize = 16;
/// Functions that put values of many rows into one: of each row, with `OVER`.
const GATHERING: [&str; 2] = ["array_agg", "string_agg"];
/// What is said of all else.
const ONLY_SELECT: &str = "only SELECT is answered";
/// What the engine says of a function that is given what it does not take, behind all that it tried.
const UNFIT: &str = "No function matches the given name and argument types '";

/// What plans statements: functions, those that make longer texts being ours, which have a bound.
static SHARED: LazyLock<SessionState> = LazyLock::new(|| {
    let mut config = SessionConfig::new().with_create_default_catalog_and_schema(false);
    let options = config.options_mut();
    // What is scanned is scanned once.
    options.execution.enable_recursive_ctes = false;
    let parser = &mut options.sql_parser;
    // Names are as records have them: `userName` is not `username`.
    parser.enable_ident_normalization = false;
    parser.collect_spans = true;
    let bounded =
        [Function::Concat, Function::ConcatWs, Function::Replace, Function::RegexpReplace];
    let ours = bounded.map(|function| Arc::new(function.udf()));
    let mut functions = SessionStateDefaults::default_scalar_functions();
    functions.retain(|one| {
        let name = one.name();
        !REMOVED.contains(&name) && ours.iter().all(|function| function.name() != name)
    });
    functions.extend(ours);
    let misplaced = Arc::new(|_: &[ColumnarValue]| -> Result<ColumnarValue> {
        plan_err!("matches() stands in WHERE, of one table, joined to the rest by AND")
    });
    let (text, truth) = (DataType::Utf8, DataType::Boolean);
    let matches = create_udf(MATCHES, vec![text], truth, Volatility::Volatile, misplaced);
    functions.push(Arc::new(matches));
    let mut planners = SessionStateDefaults::default_expr_planners();
    planners.insert(0, Arc::new(Operators));
    let mut builder = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_scalar_functions(functions)
        .with_expr_planners(planners);
    // `generate_series()` and `range()` make rows without end, of nothing.
    *builder.table_functions() = None;
    builder.build()
});

/// Operators that make longer texts, with a bound.
#[derive(Debug)]
struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        _: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        Ok(match expr.op {
            BinaryOperator::StringConcat => {
                PlannerResult::Planned(Function::Joined.udf().call(vec![expr.left, expr.right]))
            }
            _ => PlannerResult::Original(expr),
        })
    }

    fn plan_overlay(&self, _: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        plan_err!("there is no overlay(): substr() and || say the same")
    }
}

/// The statement as a plan over an empty table.
///
/// # Errors
/// It is no `SELECT`, names what there is not, or makes texts without end.
pub(super) async fn planned(sql: &str, schema: SchemaRef) -> Result<LogicalPlan> {
    let mut state = SessionState::clone(&SHARED);
    let names = &state.config_options().catalog;
    let (catalog_name, schema_name) = (names.default_catalog.clone(), names.default_schema.clone());
    let tables = MemorySchemaProvider::new();
    tables.register_table(LOGS.to_owned(), Arc::new(EmptyTable::new(schema)))?;
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(&schema_name, Arc::new(tables))?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(catalog_name, Arc::new(catalog));
    state.register_catalog_list(Arc::new(catalogs));
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect)?;
    if !is_select(&statement) {
        return plan_err!("{ONLY_SELECT}");
    }
    wanted()?;
    let plan = state.statement_to_plan(statement).await?;
    wanted()?;
    let only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
    if only.with_allow_statements(false).verify_plan(&plan).is_err() {
        return plan_err!("{ONLY_SELECT}");
    }
    match first_part(&plan, &endless)? {
        Some(words) => plan_err!("{words}"),
        None => Ok(plan),
    }
}

/// Whether a statement asks for something: rows, or the columns that there are (`DESCRIBE logs`).
fn is_select(statement: &Statement) -> bool {
    let Statement::Statement(standard) = statement else { return false };
    matches!(**standard, Standard::Query(_) | Standard::ExplainTable { .. })
}

/// What is said of the first part of a plan's expressions of which anything is.
pub(super) fn first_part<T>(
    plan: &LogicalPlan,
    say: &dyn Fn(&Expr) -> Option<T>,
) -> Result<Option<T>> {
    let mut said = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                said = said.take().or_else(|| say(part));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(said)
}

/// Why a part has no bound, if it has none: how much it makes must be known to be little.
fn endless(expr: &Expr) -> Option<String> {
    match expr {
        Expr::ScalarFunction(call) if FILLING.contains(&call.name()) => {
            let length = call.args.get(1).map(uncast);
            let is_short = matches!(
                length,
                Some(Expr::Literal(ScalarValue::Int64(Some(length)), _)) if *length <= FILLED_MAX
            );
            (!is_short).then(|| {
                format!("lpad() and rpad() want a number up to {FILLED_MAX} as the length")
            })
        }
        Expr::ScalarFunction(call) if call.name() == "regexp_match" => {
            let groups = |source: &str| Regex::new(source).map_or(0, |regex| regex.captures_len());
            let is_small =
                written(call.args.get(1)).is_some_and(|source| groups(source) <= GROUPS_MAX + 1);
            (!is_small).then(|| {
                format!(
                    "regexp_match() wants an expression in quotes, of up to {GROUPS_MAX} groups"
                )
            })
        }
        Expr::ScalarFunction(call) if call.name() == "to_char" => (!is_short(call.args.get(1)))
            .then(|| format!("to_char() wants a format in quotes of up to {FILLED_MAX} bytes")),
        Expr::AggregateFunction(call) if call.func.name() == "string_agg" => {
            (!is_short(call.params.args.get(1)))
                .then(|| format!("string_agg() wants a text of up to {FILLED_MAX} bytes between"))
        }
        Expr::WindowFunction(call) if GATHERING.contains(&call.fun.name()) => {
            Some(format!("{}() takes no OVER: it stands beside GROUP BY", call.fun.name()))
        }
        _ => None,
    }
}

/// Whether an argument is a text that is written out, and is short.
fn is_short(argument: Option<&Expr>) -> bool {
    let most = usize::try_from(FILLED_MAX).unwrap_or_default();
    written(argument).is_some_and(|text| text.len() <= most)
}

/// The text of an argument that is written out.
fn written(argument: Option<&Expr>) -> Option<&str> {
    match argument.map(uncast) {
        Some(Expr::Literal(value, _)) => value.try_as_str().flatten(),
        _ => None,
    }
}

/// What is cast.
pub(super) fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(inner) => uncast(&inner.expr),
        other => other,
    }
}

/// A search in `matches('…')` that is not understood.
#[derive(Debug, thiserror::Error)]
#[error("matches('{text}'), column {}: {wrong}", .wrong.start + 1)]
pub(super) struct WrongSearch {
    pub(super) text: String,
    pub(super) wrong: QueryError,
}

impl WrongSearch {
    fn refusal(&self, sql: &str) -> Misread {
        let literal = format!("'{}'", self.text.replace('\'', "''"));
        let place = sql.find(&literal).map(|at| {
            let begin = sql.get(..at).unwrap_or_default().chars().count() + 1;
            // A quote is written twice.
            let width = |c: char| 1 + usize::from(c == '\'');
            let place =
                |count: usize| begin + self.text.chars().take(count).map(width).sum::<usize>();
            (place(self.wrong.start), place(self.wrong.end))
        });
        let expected = self.wrong.expected.clone();
        let (message, hint) = (self.to_string(), self.wrong.hint.clone());
        Misread { message, hint, position: place.map(|place| position(place, expected)) }
    }
}

/// Why a statement is not answered: where it is wrong, as far as that is known.
pub(super) fn refused(sql: &str, error: DataFusionError, memory_bytes_max: usize) -> QueryFailure {
    let misread = match error.find_root() {
        DataFusionError::External(inner) => {
            inner.downcast_ref::<WrongSearch>().map(|wrong| wrong.refusal(sql))
        }
        root => misread(sql, &error, root),
    };
    match misread {
        Some(misread) => QueryFailure::Misread(Box::new(misread)),
        None => QueryFailure::of(error, memory_bytes_max),
    }
}

fn misread(sql: &str, error: &DataFusionError, root: &DataFusionError) -> Option<Misread> {
    let diagnosed = error.diagnostic();
    let span = diagnosed.and_then(|diagnosed| diagnosed.span).map(|span| {
        let [start, end] = [span.start, span.end].map(|at| character(sql, at.line, at.column));
        (start, end)
    });
    match root {
        DataFusionError::SchemaError(wrong, _) => {
            let SchemaError::FieldNotFound { field, valid_fields } = wrong.as_ref() else {
                return Some(Misread::new(wrong.to_string(), span));
            };
            Some(unknown_column(sql, field, valid_fields, span))
        }
        DataFusionError::SQL(wrong, _) => {
            let said = wrong.to_string();
            let said = said.strip_prefix("sql parser error: ").unwrap_or(&said);
            let (message, place) = match said.rsplit_once(" at Line: ") {
                Some((message, place)) => (message, located(sql, place)),
                None => (said, None),
            };
            // What has no place is expected behind the end.
            let end = sql.chars().count();
            let place = span.or(place).unwrap_or((end, end));
            let odd = sql.chars().nth(place.0).and_then(name_of);
            let hint = odd.map(|name| format!("this is {name}: replace it by the plain character"));
            Some(Misread { hint, ..Misread::new(message.to_owned(), Some(place)) })
        }
        DataFusionError::Plan(words) => {
            let (message, more) = words.split_once('\n').unwrap_or((words.as_str(), ""));
            let meant = more.strip_prefix("Did you mean '").and_then(|rest| rest.split_once('\''));
            let of_table = diagnosed.filter(|said| said.message.starts_with("table '"));
            Some(match (of_table, meant) {
                (Some(said), _) => {
                    let hint = Some(format!("the table is {LOGS}"));
                    Misread { hint, ..Misread::new(said.message.clone(), span) }
                }
                (None, Some((meant, _))) => {
                    let hint = Some(format!("did you mean {meant}?"));
                    Misread { hint, ..Misread::new(message.to_owned(), span) }
                }
                (None, None) => unfit(sql, words, span)
                    .or_else(|| no_table(sql, words))
                    .unwrap_or_else(|| Misread::new(words.clone(), span)),
            })
        }
        _ => None,
    }
}

impl Misread {
    fn new(message: String, place: Option<(usize, usize)>) -> Self {
        let position = place.map(|place| position(place, Vec::new()));
        Self { message, hint: None, position }
    }
}

/// A function that is given what it does not take.
fn unfit(sql: &str, words: &str, span: Option<(usize, usize)>) -> Option<Misread> {
    let (_, behind) = words.split_once(UNFIT)?;
    let (call, _) = behind.split_once('\'')?;
    let (name, types) = call.split_once('(')?;
    let types = types.strip_suffix(')').unwrap_or(types);
    let hint = types.contains("Utf8").then(|| {
        format!("what is text here becomes a number so: {name}(TRY_CAST(field AS DOUBLE))")
    });
    let message = format!("{name}() does not take {}", types.replace("Utf8", "text"));
    Some(Misread { hint, ..Misread::new(message, span.or_else(|| standing(sql, name))) })
}

/// A function in the place of a table: there is none.
fn no_table(sql: &str, words: &str) -> Option<Misread> {
    let (name, _) = words.strip_prefix("table function '")?.split_once('\'')?;
    let place = standing(sql, name);
    Some(Misread {
        message: format!("there is no table {name}()"),
        hint: Some(format!("the table is {LOGS}")),
        position: place.map(|place| position(place, vec![LOGS.to_owned()])),
    })
}

fn position((start, end): (usize, usize), expected: Vec<String>) -> Position {
    Position { start, end: end.max(start + 1), expected }
}

/// A column that there is not, with the nearest one; names are quoted where SQL would misread them.
fn unknown_column(
    sql: &str,
    field: &Column,
    known: &[Column],
    span: Option<(usize, usize)>,
) -> Misread {
    let known: Vec<&str> = known.iter().map(Column::name).collect();
    // `user.name` without quotes is a column of a table.
    let typed = field.flat_name();
    let near = nearest(&typed, &known).or_else(|| nearest(field.name(), &known));
    let near = near.map(|name| {
        let is_plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
    });
    let place = span.or_else(|| standing(sql, field.name()));
    let is_bare = known.contains(&typed.as_str());
    Misread {
        message: format!("there is no column {typed:?}"),
        hint: near.as_ref().map(|near| match is_bare {
            true => format!("the field is written in quotes: {near}"),
            false => format!("did you mean {near}?"),
        }),
        position: place.map(|place| position(place, near.into_iter().collect())),
    }
}

/// Where a name stands first, not as a part of another one.
fn standing(sql: &str, name: &str) -> Option<(usize, usize)> {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (at, _) = sql.match_indices(name).find(|(at, _)| {
        let before = sql.get(..*at).and_then(|text| text.chars().next_back());
        let behind = sql.get(at + name.len()..).and_then(|text| text.chars().next());
        !is_part(before) && !is_part(behind)
    })?;
    let start = sql.get(..at)?.chars().count();
    Some((start, start + name.chars().count()))
}

/// The word or the sign at a place that is written as `1, Column: 8`.
fn located(sql: &str, place: &str) -> Option<(usize, usize)> {
    let (line, column) = place.split_once(", Column: ")?;
    let digits = column.find(|c: char| !c.is_ascii_digit()).unwrap_or(column.len());
    let start = character(sql, line.parse().ok()?, column.get(..digits)?.parse().ok()?);
    let word = sql.chars().skip(start).take_while(|c| c.is_alphanumeric() || *c == '_');
    Some((start, start + word.count()))
}

/// Characters before a line and a column, which count from 1.
fn character(sql: &str, line: u64, column: u64) -> usize {
    let before = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
    let lines = sql.split_inclusive('\n').take(before(line));
    let start: usize = lines.map(|line| line.chars().count()).sum();
    start.saturating_add(before(column)).min(sql.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_characters_of_the_statement() {
        let sql = "SELECT é,\n  nosuch FROM logs";
        assert_eq!(character(sql, 1, 8), 7);
        assert_eq!(character(sql, 2, 3), 12);
        assert_eq!(character(sql, 9, 9), sql.chars().count());
        assert_eq!(located(sql, "2, Column: 3"), Some((12, 18)));
        assert_eq!(located(sql, "2, Column: 3 near"), Some((12, 18)));
        assert_eq!(located(sql, "here"), None);
        assert_eq!(standing("SELECT ab, b FROM b", "b"), Some((11, 12)));
        assert_eq!(standing("SELECT ab", "b"), None);
    }

    #[test]
    fn a_name_that_lacks_its_quotes_is_told_with_them() {
        let known = [Column::from_name("user.name")];
        let hint = |field: Column| unknown_column("", &field, &known, None).hint;
        let quoted = hint(Column::new(Some("user"), "name"));
        assert_eq!(quoted.as_deref(), Some("the field is written in quotes: \"user.name\""));
        let near = hint(Column::new(Some("user"), "nam"));
        assert_eq!(near.as_deref(), Some("did you mean \"user.name\"?"));
    }
}
