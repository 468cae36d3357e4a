//! Figures of lines over time: bins that our plan counts, folded into the spans that are asked.

use std::collections::BTreeMap;

use model::time::{TimeRange, Timestamp};
use serde_json::Value as Json;

use super::ast::{By, Figure, Join, Measure, Operator, Query, Range};
use super::lines::{Labels, Moments, label_value};
use super::lower::{self, Lowered};
use super::series::relabelled;
use crate::language::{Aggregate, Expr, Function, Group, Operator as Ours, Pipe};
use crate::plan::json::value;
use crate::plan::{Engine, QueryFailure, Question, Shape};

/// Rows that one figure may come to: series times bins.
const ROWS_MAX: usize = 500_000;

/// Values by moment.
pub(super) type Series = BTreeMap<i64, f64>;

/// What a query comes to.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Number(f64),
    Series(BTreeMap<Labels, Series>),
}

/// Who asks, and of when.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) engine: Engine,
    pub(super) moments: Moments,
    /// The labels that streams have.
    pub(super) labels: Vec<String>,
}

pub(super) fn refused(why: impl Into<String>) -> QueryFailure {
    QueryFailure::Refused(why.into())
}

type Answer<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Found, QueryFailure>> + Send + 'a>>;

impl Asked {
    /// Computes a query. Runs on the queries' threads.
    pub(super) fn compute<'a>(&'a self, query: &'a Query) -> Answer<'a> {
        Box::pin(async move {
            match query {
                Query::Log(_) => Err(refused("lines are no figures")),
                Query::Number(number) => Ok(Found::Number(*number)),
                Query::Vector(number) => {
                    let series = self.moments.all().map(|at| (at, *number)).collect();
                    Ok(Found::Series(BTreeMap::from([(Labels::new(), series)])))
                }
                Query::Range(range) if range.figure == Figure::Absent => self.absent(range).await,
                Query::Range(range) => self.range(range, range.by.as_ref()).await,
                Query::Join { operator, most, by, inner } => {
                    self.join(*operator, *most, by.as_ref(), inner).await
                }
                Query::Relabel(relabel) => relabelled(relabel, self.compute(&relabel.inner).await?),
                Query::Binary { operator, keeps, left, right } => {
                    let (left, right) = (self.compute(left).await?, self.compute(right).await?);
                    Ok(binary(*operator, *keeps, left, right))
                }
            }
        })
    }

    async fn join(
        &self,
        operator: Join,
        most: Option<f64>,
        by: Option<&By>,
        inner: &Query,
    ) -> Result<Found, QueryFailure> {
        let nothing = By { without: false, names: Vec::new() };
        let found = match inner {
            // What adds up is grouped where it is counted.
            Query::Range(range)
                if operator == Join::Sum && adds_up(range.figure) && range.by.is_none() =>
            {
                return self.range(range, Some(by.unwrap_or(&nothing))).await;
            }
            // Labels that are asked for are told apart, also those that lines were parsed for.
            Query::Range(range) if range.by.is_none() && range.figure != Figure::Absent => {
                let mut names = self.labels.clone();
                let asked = by.filter(|by| !by.without).map(|by| by.names.clone());
                names
                    .extend(asked.into_iter().flatten().filter(|name| !self.labels.contains(name)));
                self.range(range, Some(&By { without: false, names })).await?
            }
            inner => self.compute(inner).await?,
        };
        let Found::Series(series) = found else {
            return Err(refused("a number cannot be added up"));
        };
        if let Some(most) = most {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            let most = most.clamp(0.0, 1e6) as usize;
            return Ok(Found::Series(first(&series, by.unwrap_or(&nothing), most, operator)));
        }
        let mut groups: BTreeMap<Labels, BTreeMap<i64, Vec<f64>>> = BTreeMap::new();
        for (labels, values) in series {
            let group = groups.entry(group_of(&labels, by.unwrap_or(&nothing))).or_default();
            for (at, number) in values {
                group.entry(at).or_default().push(number);
            }
        }
        let joined = |values: Vec<f64>| match operator {
            Join::Sum => values.iter().sum(),
            Join::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
            Join::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Join::Avg => values.iter().sum::<f64>() / values.len() as f64,
            _ => values.len() as f64,
        };
        let of = |values: BTreeMap<i64, Vec<f64>>| {
            values.into_iter().map(|(at, values)| (at, joined(values))).collect()
        };
        Ok(Found::Series(groups.into_iter().map(|(labels, values)| (labels, of(values))).collect()))
    }

    /// A figure of lines by labels; by those of the streams when none are named.
    pub(super) async fn range(
        &self,
        range: &Range,
        by: Option<&By>,
    ) -> Result<Found, QueryFailure> {
        let names: Vec<String> = match by {
            None => self.labels.clone(),
            Some(By { without: false, names }) => names.clone(),
            Some(By { without: true, names }) => {
                self.labels.iter().filter(|label| !names.contains(label)).cloned().collect()
            }
        };
        let Moments { first, last, step } = self.moments;
        let single = first == last;
        let width =
            if single || range.span == step { range.span } else { common(range.span, step) };
        if range.figure == Figure::Quantile && width != range.span {
            return Err(refused("quantile_over_time wants a range as long as the step: [$__auto]"));
        }
        let lowered = Lowered::with(&range.log, &names);
        // A span holds its end and not its beginning: a nanosecond earlier, bins are half-open.
        let from = first.0.saturating_sub(range.offset).saturating_sub(range.span);
        let to = last.0.saturating_sub(range.offset);
        let shifted = |column: &str| {
            let one = Box::new(Expr::Duration(1.0));
            Expr::Binary(Ours::Subtract, Box::new(Expr::Column(column.to_owned())), one)
        };
        let text = |text: String| Expr::Text(text);
        let later = Expr::Duration(from.rem_euclid(width) as f64);
        let width_text = text(format!("{}ms", width / 1_000_000));
        let bin = Expr::Call(
            "time_bin",
            vec![shifted("timestamp"), width_text, text(String::new()), later],
        );
        let mut pipes = lowered.pipes.clone();
        let mut computed = vec![("\u{1}bin".to_owned(), bin)];
        for (at, name) in names.iter().enumerate() {
            computed.push((format!("\u{1}{at}"), lowered.value(name)));
        }
        computed.push(("\u{1}number".to_owned(), number(range, &lowered)));
        pipes.push(Pipe::Eval(computed));
        let column = || Expr::Column("\u{1}number".to_owned());
        if range.unwrap.is_some() {
            pipes.push(Pipe::Where(Expr::Exists(Box::new(column()))));
        }
        pipes.push(Pipe::Stats {
            aggregates: aggregates(range, &column()),
            by: groups(names.len()),
        });
        let query = crate::language::Query { time: None, filter: lowered.filter(), pipes };
        let range_of = TimeRange {
            from: Timestamp(from.saturating_add(1)),
            to: Timestamp(to.saturating_add(1)),
        };
        let question = Question { query, range: range_of, indexes: None, limit: 0 };
        let bins = self.bins(&question, &names).await?;
        Ok(Found::Series(folded(range, bins, self.moments)))
    }

    async fn bins(
        &self,
        question: &Question,
        names: &[String],
    ) -> Result<BTreeMap<Labels, BTreeMap<i64, Vec<f64>>>, QueryFailure> {
        let mut answer = self.engine.ask(question).await?;
        let kinds: Vec<_> = match answer.shape() {
            Shape::Table(columns) => columns.iter().map(|column| column.kind).collect(),
            Shape::Records(_) => Vec::new(),
        };
        let mut bins: BTreeMap<Labels, BTreeMap<i64, Vec<f64>>> = BTreeMap::new();
        let mut count = 0;
        while let Some(rows) = answer.next().await? {
            count += rows.num_rows();
            if count > ROWS_MAX {
                return Err(refused(format!(
                    "more than {ROWS_MAX} values: add up by fewer labels, or ask for a shorter time"
                )));
            }
            for row in 0..rows.num_rows() {
                let cells = rows.columns().iter().zip(&kinds);
                let mut cells = cells.map(|(column, kind)| value(column, row, *kind));
                let bin = cells.next().and_then(|bin| Timestamp::parse(bin.as_str()?));
                let Some(bin) = bin else { continue };
                let mut labels = Labels::new();
                for name in names {
                    let text = cells.next().map(|cell| label_value(&cell)).unwrap_or_default();
                    let unknown = text == "unknown" && lower::names(name) == ["level"];
                    if !text.is_empty() && !unknown {
                        labels.insert(name.clone(), text);
                    }
                }
                let numbers = cells.map(|cell: Json| cell.as_f64().unwrap_or_default()).collect();
                bins.entry(labels).or_default().insert(bin.0, numbers);
            }
        }
        match answer.missing().into_iter().next() {
            Some(missing) => Err(QueryFailure::Incomplete(missing.what, missing.why)),
            None => Ok(bins),
        }
    }
}

/// The number of a line: the one that is unwrapped, else its bytes.
fn number(range: &Range, lowered: &Lowered) -> Expr {
    let Some((label, measure)) = &range.unwrap else {
        let line = if lowered.rewritten { lower::LINE } else { "message" };
        return Expr::Call("bytes", vec![Expr::Column(line.to_owned())]);
    };
    let read = match measure {
        Measure::Number => "number",
        Measure::Seconds => "seconds",
        Measure::Bytes => "size",
    };
    Expr::Call(read, vec![lowered.value(label)])
}

fn groups(labels: usize) -> Vec<Group> {
    let label = |at: usize| Group::Field(format!("\u{1}{at}"));
    std::iter::once(Group::Field("\u{1}bin".to_owned())).chain((0..labels).map(label)).collect()
}

/// What is computed of a bin: the number of lines, and what the figure wants.
fn aggregates(range: &Range, column: &Expr) -> Vec<Aggregate> {
    let of = |function: Function, argument: Option<&Expr>| Aggregate {
        function,
        argument: argument.cloned(),
        condition: None,
        name: format!("\u{1}{function:?}"),
    };
    let more = match range.figure {
        Figure::Min => Function::Min,
        Figure::Max => Function::Max,
        Figure::First => Function::First,
        Figure::Last => Function::Last,
        Figure::Quantile => Function::Quantile(range.quantile.clamp(0.0, 1.0)),
        _ => Function::Sum,
    };
    vec![of(Function::Count, None), of(more, Some(column))]
}

/// The greatest span of which both are multiples.
fn common(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common(b, a % b) }
}

fn adds_up(figure: Figure) -> bool {
    use Figure::{Bytes, BytesRate, Count, Rate, Sum};
    matches!(figure, Count | Rate | Bytes | BytesRate | Sum)
}

/// The figure of each moment, of the bins in the span before it.
fn folded(
    range: &Range,
    bins: BTreeMap<Labels, BTreeMap<i64, Vec<f64>>>,
    moments: Moments,
) -> BTreeMap<Labels, Series> {
    let seconds = range.span as f64 / 1e9;
    let one = |bins: &BTreeMap<i64, Vec<f64>>, at: i64| {
        let end = at.saturating_sub(range.offset);
        let inside: Vec<&Vec<f64>> =
            bins.range(end.saturating_sub(range.span)..end).map(|(_, numbers)| numbers).collect();
        let get = |numbers: &&Vec<f64>, at: usize| numbers.get(at).copied().unwrap_or_default();
        let count: f64 = inside.iter().map(|numbers| get(numbers, 0)).sum();
        let sum = || inside.iter().map(|numbers| get(numbers, 1)).sum::<f64>();
        let numbers = || inside.iter().map(|numbers| get(numbers, 1));
        if inside.is_empty() || count == 0.0 {
            return None;
        }
        Some(match range.figure {
            Figure::Count | Figure::Absent => count,
            Figure::Rate if range.unwrap.is_some() => sum() / seconds,
            Figure::Rate => count / seconds,
            Figure::Bytes | Figure::Sum => sum(),
            Figure::BytesRate => sum() / seconds,
            Figure::Avg => sum() / count,
            Figure::Min => numbers().fold(f64::INFINITY, f64::min),
            Figure::Max => numbers().fold(f64::NEG_INFINITY, f64::max),
            Figure::First | Figure::Quantile => numbers().next()?,
            Figure::Last => numbers().next_back()?,
        })
    };
    let series = |(labels, bins): (Labels, BTreeMap<i64, Vec<f64>>)| {
        let values: Series = moments.all().filter_map(|at| Some((at, one(&bins, at)?))).collect();
        (labels, values)
    };
    bins.into_iter().map(series).filter(|(_, values)| !values.is_empty()).collect()
}

fn group_of(labels: &Labels, by: &By) -> Labels {
    let kept = |name: &String| by.names.contains(name) != by.without;
    labels.iter().filter(|(name, _)| kept(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// The greatest or the least series of each moment.
fn first(
    series: &BTreeMap<Labels, Series>,
    by: &By,
    most: usize,
    operator: Join,
) -> BTreeMap<Labels, Series> {
    let mut at_moment: BTreeMap<(Labels, i64), Vec<(f64, Labels)>> = BTreeMap::new();
    for (labels, values) in series {
        for (at, number) in values {
            let group = (group_of(labels, by), *at);
            at_moment.entry(group).or_default().push((*number, labels.clone()));
        }
    }
    let mut kept: BTreeMap<Labels, Series> = BTreeMap::new();
    for ((_, at), mut values) in at_moment {
        values.sort_by(|a, b| {
            if operator == Join::Top { b.0.total_cmp(&a.0) } else { a.0.total_cmp(&b.0) }
        });
        for (number, labels) in values.into_iter().take(most) {
            kept.entry(labels).or_default().insert(at, number);
        }
    }
    kept
}

fn number_of(operator: Operator, a: f64, b: f64) -> f64 {
    let truth = |truth: bool| f64::from(u8::from(truth));
    match operator {
        Operator::Add => a + b,
        Operator::Subtract => a - b,
        Operator::Multiply => a * b,
        // As Loki has it: nothing is endless.
        Operator::Divide if b == 0.0 => f64::NAN,
        Operator::Divide => a / b,
        Operator::Remainder => a % b,
        Operator::Power => a.powf(b),
        Operator::Less => truth(a < b),
        Operator::LessEqual => truth(a <= b),
        Operator::Greater => truth(a > b),
        Operator::GreaterEqual => truth(a >= b),
        Operator::NotEqual => truth((a - b).abs() > 0.0),
        _ => truth((a - b).abs() <= 0.0),
    }
}

fn compares(operator: Operator) -> bool {
    use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
    matches!(operator, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
}

/// The values at moments at which other series of the same labels have one, or have none.
fn among(
    operator: Operator,
    series: BTreeMap<Labels, Series>,
    others: &BTreeMap<Labels, Series>,
) -> BTreeMap<Labels, Series> {
    let of = |(labels, mut values): (Labels, Series)| {
        let other = others.get(&labels);
        values.retain(|at, _| {
            let has_one = other.is_some_and(|other| other.contains_key(at));
            has_one == (operator == Operator::And)
        });
        (labels, values)
    };
    series.into_iter().map(of).filter(|(_, values)| !values.is_empty()).collect()
}

/// Two values joined; a comparison that keeps gives the left one or nothing.
fn binary(operator: Operator, keeps: bool, left: Found, right: Found) -> Found {
    let keeps = keeps && compares(operator);
    let joined = |a: f64, b: f64, shown: f64| match (keeps, number_of(operator, a, b)) {
        (true, truth) => (truth > 0.0).then_some(shown),
        (false, number) => Some(number),
    };
    let each = |series: BTreeMap<Labels, Series>, join: &dyn Fn(f64) -> Option<f64>| {
        let of = |values: Series| -> Series {
            values.into_iter().filter_map(|(at, number)| Some((at, join(number)?))).collect()
        };
        let series = series.into_iter().map(|(labels, values)| (labels, of(values)));
        Found::Series(series.filter(|(_, values)| !values.is_empty()).collect())
    };
    match (left, right) {
        (Found::Number(a), Found::Number(b)) => Found::Number(number_of(operator, a, b)),
        (Found::Series(a), Found::Number(b)) => each(a, &|a| joined(a, b, a)),
        (Found::Number(a), Found::Series(b)) => each(b, &|b| joined(a, b, b)),
        (Found::Series(mut a), Found::Series(b)) => match operator {
            // Moment by moment: what has a value there.
            Operator::Or => {
                for (labels, values) in b {
                    let series = a.entry(labels).or_default();
                    for (at, number) in values {
                        series.entry(at).or_insert(number);
                    }
                }
                Found::Series(a)
            }
            Operator::And | Operator::Unless => Found::Series(among(operator, a, &b)),
            _ => {
                let mut found = BTreeMap::new();
                for (labels, values) in a {
                    let Some(other) = b.get(&labels) else { continue };
                    let both = values
                        .into_iter()
                        .filter_map(|(at, a)| Some((at, joined(a, *other.get(&at)?, a)?)));
                    let both: Series = both.collect();
                    if !both.is_empty() {
                        found.insert(labels, both);
                    }
                }
                Found::Series(found)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(pairs: &[(&str, &[(i64, f64)])]) -> Found {
        let one = |(name, values): &(&str, &[(i64, f64)])| {
            let labels = Labels::from([("a".to_owned(), (*name).to_owned())]);
            (labels, values.iter().copied().collect::<Series>())
        };
        Found::Series(pairs.iter().map(one).collect())
    }

    #[track_caller]
    fn check(operator: Operator, expected: &[(&str, &[(i64, f64)])]) {
        let left = series(&[("x", &[(1, 10.0), (2, 20.0)]), ("y", &[(1, 1.0)])]);
        let right = series(&[("x", &[(2, 5.0), (3, 0.0)]), ("z", &[(1, 7.0)])]);
        let found = binary(operator, true, left, right);
        let (Found::Series(found), Found::Series(expected)) = (found, series(expected)) else {
            panic!("a number");
        };
        assert_eq!(found, expected, "{operator:?}");
    }

    #[test]
    fn sets_of_series_are_made_moment_by_moment() {
        let x: &[(i64, f64)] = &[(1, 10.0), (2, 20.0), (3, 0.0)];
        check(Operator::Or, &[("x", x), ("y", &[(1, 1.0)]), ("z", &[(1, 7.0)])]);
        check(Operator::And, &[("x", &[(2, 20.0)])]);
        check(Operator::Unless, &[("x", &[(1, 10.0)]), ("y", &[(1, 1.0)])]);
        check(Operator::Divide, &[("x", &[(2, 4.0)])]);
        check(Operator::Greater, &[("x", &[(2, 20.0)])]);
    }

    #[test]
    fn nothing_is_divided_by_nothing() {
        assert!(number_of(Operator::Divide, 1.0, 0.0).is_nan());
        assert!(number_of(Operator::Remainder, 1.0, 0.0).is_nan());
        assert!(number_of(Operator::Divide, 6.0, 3.0) > 1.9);
    }
}
