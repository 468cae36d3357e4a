//! `stats count() by …` straight behind a search, or behind conditions on what it groups by: the scan
//! counts, and only groups are added up. So are the first and the last time of groups, and their least
//! message: a group tells its own.

use datafusion::functions_aggregate::expr_fn::{max, min, sum};
use datafusion::logical_expr::Expr;
use index::scan::{COUNTED_COLUMNS_MAX, Column};

use super::frame::{Frame, Rows, ScanColumns, Value};
use super::references::{asks_queries, columns};
use super::{ColumnKind, Lowering, fixed, origin};
use crate::language::{Aggregate, Expr as Given, Function, Group, Pipe, Query};
use crate::plan::table::Source;
use crate::plan::types::resolve;

impl Lowering<'_> {
    /// What the scan of a query has to give beside fields so that it can count: `None` when it
    /// has to give records.
    pub(super) fn counted(&self, query: &Query) -> Option<Vec<Source>> {
        let Grouping { aggregates, by, asks_level } = Grouping::of(query)?;
        let asked = aggregates.iter().map(Asked::of).collect::<Option<Vec<Asked>>>()?;
        // Where the gravest level of a group is asked, it is counted by levels too.
        let is_level = |group: &Group| matches!(group, Group::Field(name) if name == "level");
        let asks_level = asks_level || asked.contains(&Asked::Level);
        let more = usize::from(asks_level && !by.iter().any(is_level));
        if by.is_empty() || by.len() + more > COUNTED_COLUMNS_MAX {
            return None;
        }
        let types = &self.reading(query).ok()?.types;
        let mut sources = vec![Source::Count];
        for column in asked.iter().filter_map(Asked::column) {
            if !sources.contains(&column) {
                sources.push(column);
            }
        }
        for group in by {
            match group {
                Group::Field(name) => {
                    let source = match fixed(name) {
                        Some((source, _)) => source,
                        None => {
                            let kind = resolve(types, name);
                            Source::Stored(Column::Field { name: name.clone(), kind })
                        }
                    };
                    match source {
                        Source::Severity => {}
                        Source::Stored(column) if column.is_counted() => {}
                        _ => return None,
                    }
                }
                Group::Bin { width } => sources.push(self.bin_source(*width)),
                Group::Step { .. } => return None,
            }
        }
        Some(sources)
    }

    fn bin_source(&self, width: Option<i64>) -> Source {
        let width = width.unwrap_or_else(|| self.round_width());
        Source::Stored(Column::Bin { width, origin: origin(width) })
    }

    /// The scan behind rows, when it counts.
    fn counting(&self, frame: &Frame) -> Option<&ScanColumns> {
        let Rows::Records { scan: Some(number), .. } = &frame.rows else { return None };
        self.scans.get(*number).filter(|scan| scan.sources.contains(&Source::Count))
    }

    /// The number of records, where the scan counts them.
    pub(super) fn counted_rows(&self, frame: &Frame) -> Option<Expr> {
        Some(sum(self.counting(frame)?.of(&Source::Count)?))
    }

    /// What the scan's groups tell of an aggregate other than a number of records.
    pub(super) fn measured(&self, frame: &Frame, aggregate: &Aggregate) -> Option<Value> {
        let column = Asked::of(aggregate)?.column()?;
        let value = self.counting(frame)?.of(&column)?;
        let kind = match column {
            Source::Stored(Column::Example) => ColumnKind::Text,
            _ => ColumnKind::Time,
        };
        let is_first = aggregate.function == Function::Min;
        Some(Value::new(if is_first { min(value) } else { max(value) }, kind))
    }

    /// The bin of a record, where the scan counts by it.
    pub(super) fn counted_bin(&self, frame: &Frame, width: Option<i64>) -> Option<Value> {
        let bin = self.counting(frame)?.of(&self.bin_source(width))?;
        Some(Value::new(bin, ColumnKind::Time))
    }
}

/// Aggregates straight behind a search, or behind conditions that hold for all of a group or for
/// nothing of it: they ask for levels and what makes a group.
struct Grouping<'a> {
    aggregates: &'a [Aggregate],
    by: &'a [Group],
    /// Whether the conditions ask for levels.
    asks_level: bool,
}

impl<'a> Grouping<'a> {
    fn of(query: &'a Query) -> Option<Self> {
        let conditions = query.pipes.iter().map_while(|pipe| match pipe {
            Pipe::Where(condition) => Some(condition),
            _ => None,
        });
        let conditions: Vec<&Given> = conditions.collect();
        let Some(Pipe::Stats { aggregates, by }) = query.pipes.get(conditions.len()) else {
            return None;
        };
        let named: Vec<String> = conditions.iter().flat_map(|one| columns(one)).collect();
        let asks_level = named.iter().any(|name| name == "level");
        let is_grouped = |name: &String| {
            let makes = |group: &Group| matches!(group, Group::Field(field) if field == name);
            name == "level" || by.iter().any(makes)
        };
        let is_known = !conditions.iter().any(|one| asks_queries(one));
        (is_known && named.iter().all(is_grouped)).then_some(Self { aggregates, by, asks_level })
    }
}

/// What an aggregate asks that groups of counted records tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// How many records there are.
    Count,
    /// The earliest time.
    First,
    /// The latest time.
    Last,
    /// The least message.
    Message,
    /// The least or the gravest level: groups of one level tell it.
    Level,
}

impl Asked {
    fn of(aggregate: &Aggregate) -> Option<Self> {
        let Aggregate { function, argument, condition: None, .. } = aggregate else { return None };
        let argument = match argument {
            None => None,
            Some(Given::Column(name)) => Some(name.as_str()),
            Some(_) => return None,
        };
        Some(match (function, argument) {
            (Function::Count | Function::Rate, None) => Self::Count,
            (Function::Min, Some("timestamp")) => Self::First,
            (Function::Max, Some("timestamp")) => Self::Last,
            (Function::Min, Some("message")) => Self::Message,
            (Function::Min | Function::Max, Some("level")) => Self::Level,
            _ => return None,
        })
    }

    /// The column in which the scan tells it of each group, beside the number of its records.
    fn column(&self) -> Option<Source> {
        match self {
            Self::Count | Self::Level => None,
            Self::First => Some(Source::Stored(Column::Earliest)),
            Self::Last => Some(Source::Stored(Column::Latest)),
            Self::Message => Some(Source::Stored(Column::Example)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::parse;

    /// Whether the conditions before an aggregate leave it to the scan, and ask for levels.
    #[track_caller]
    fn check(query: &str, expected: Option<bool>) {
        let query = parse(query).unwrap();
        let found = Grouping::of(&query).map(|grouping| grouping.asks_level);
        assert_eq!(found, expected, "{query:?}");
    }

    #[test]
    fn conditions_on_groups_leave_counting_to_the_scan() {
        check("error | stats count() by service", Some(false));
        check("| top 3 service", Some(false));
        check("| top 3 service, level", Some(true));
        let both = "| where service == \"a\" and exists(host) | stats count() by service, host";
        check(both, Some(false));
        check("| where level >= \"warn\" | stats count() by service", Some(true));
        check("| where host == \"a\" | stats count() by service", None);
        check("| where message == \"a\" | timechart count() by service", None);
        check("| eval x = service | stats count() by x", None);
        check("| where app in (error | fields app) | stats count() by app", None);
        check("| where service == \"a\"", None);
    }
}
