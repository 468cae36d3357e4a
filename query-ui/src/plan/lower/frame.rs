//! A plan as far as it is built: its rows, the columns that can be named, and their order.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;
use datafusion::common::{Column as PlanColumn, Result, plan_err};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, SortExpr, cast, lit};
use index::scan::Column;
use model::record::FieldType;
use model::stream::RESERVED;

use super::functions::Function;
use super::references::{fields_of, lists_of};
use super::{ColumnKind, OutputColumn, RECORD, fixed};
use crate::language::Query;
use crate::plan::table::Source;
use crate::plan::types::{Types, resolve};

/// A column as the asker knows it, and as the plan does.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) value: Value,
}

/// Which of some texts are numbers in the order of them; they come before the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Texts {
    /// None.
    Plain,
    /// Of a field that holds texts: whole numbers beyond 63 bits, which are kept so.
    Great,
    /// Of a field that holds numbers beside texts: all that read as such.
    Mixed,
    /// Out of another text: all that read as such.
    Loose,
}

/// A value of every row.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) expr: Expr,
    pub(super) kind: ColumnKind,
    /// Which of its texts are numbers, where it is a text.
    pub(super) texts: Texts,
    /// The field it is as it stands, whose name may tell a unit.
    pub(super) field: Option<String>,
}

impl Value {
    pub(super) fn new(expr: Expr, kind: ColumnKind) -> Self {
        Self { expr, kind, texts: Texts::Plain, field: None }
    }

    /// A text that may be a number.
    pub(super) fn loose(expr: Expr) -> Self {
        Self { expr, kind: ColumnKind::Text, texts: Texts::Loose, field: None }
    }

    /// The value as text.
    pub(super) fn text(&self) -> Expr {
        match self.kind {
            ColumnKind::Text => self.expr.clone(),
            ColumnKind::Level => Function::LevelName.call(vec![self.expr.clone()]),
            ColumnKind::Float => Function::Shown.call(vec![self.expr.clone()]),
            _ => cast(self.expr.clone(), DataType::Utf8),
        }
    }

    /// The value as a number; none where it is no number.
    pub(super) fn number(&self) -> Expr {
        match self.kind {
            ColumnKind::Float => self.expr.clone(),
            ColumnKind::Int => cast(self.expr.clone(), DataType::Float64),
            ColumnKind::Text => Function::Number.call(vec![self.expr.clone()]),
            ColumnKind::Level | ColumnKind::Bool => {
                cast(cast(self.expr.clone(), DataType::Int64), DataType::Float64)
            }
            ColumnKind::Time => cast(nanos(self.expr.clone()), DataType::Float64) / lit(1e9),
            ColumnKind::List | ColumnKind::Object => {
                lit(datafusion::common::ScalarValue::Float64(None))
            }
        }
    }

    /// The order by it, what is missing last. A text that is a number comes by its number, whole ones exactly.
    pub(super) fn order(&self, descending: bool) -> Vec<SortExpr> {
        let mut keys = match self.texts {
            Texts::Plain => Vec::new(),
            Texts::Great => vec![Function::Great.call(vec![self.expr.clone()])],
            Texts::Mixed | Texts::Loose => {
                vec![self.number(), Function::Whole.call(vec![self.expr.clone()])]
            }
        };
        keys.push(self.expr.clone());
        keys.into_iter().map(|key| key.sort(!descending, false)).collect()
    }

    /// The same with all texts of a field as texts: as groups are counted without a plan, and as doors
    /// compare them where a page begins.
    pub(super) fn order_of_texts(&self, descending: bool) -> Vec<SortExpr> {
        match self.texts {
            Texts::Great | Texts::Mixed => vec![self.expr.clone().sort(!descending, false)],
            Texts::Plain | Texts::Loose => self.order(descending),
        }
    }
}

/// Nanoseconds of a moment.
pub(super) fn nanos(time: Expr) -> Expr {
    cast(time, DataType::Int64)
}

/// What the rows are.
#[derive(Debug, Clone)]
pub(super) enum Rows {
    /// Records: any name can be asked for.
    Records {
        /// The number of the scan that they come from, if it is one.
        scan: Option<usize>,
        /// The columns of a record, in the order of [`RECORD`].
        record: Vec<Expr>,
        /// Values that can be named, but are no columns of an answer.
        hidden: Vec<Named>,
        /// Structures that were parsed out of them, as flat objects; later ones count first.
        parsed: Vec<Expr>,
        /// Names that were taken away, each with the number of structures that were parsed before it was.
        dropped: BTreeMap<String, usize>,
    },
    /// A table: only its columns can be named.
    Table,
}

/// A plan as far as it is built.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) plan: LogicalPlanBuilder,
    pub(super) rows: Rows,
    /// Of a table all its columns; of records those that were computed.
    pub(super) columns: Vec<Named>,
    /// The order of the rows, complete.
    pub(super) order: Vec<SortExpr>,
    /// Whether the plan gives them in that order.
    pub(super) is_sorted: bool,
}

/// A column of a plan.
pub(super) fn column(name: &str) -> Expr {
    Expr::Column(PlanColumn::new_unqualified(name))
}

impl Frame {
    pub(super) fn is_records(&self) -> bool {
        matches!(self.rows, Rows::Records { .. })
    }

    /// The columns of a table or those computed, as an answer names them.
    pub(super) fn output(&self) -> Vec<OutputColumn> {
        let named =
            |named: &Named| OutputColumn { name: named.name.clone(), kind: named.value.kind };
        self.columns.iter().map(named).collect()
    }

    /// What a name means here; in a table `None` when there is no such column.
    pub(super) fn find(&self, name: &str, scans: &[ScanColumns]) -> Option<Value> {
        if let Some(named) = self.columns.iter().rev().find(|named| named.name == name) {
            return Some(named.value.clone());
        }
        let Rows::Records { scan, record, hidden, parsed, dropped } = &self.rows else {
            return None;
        };
        if let Some(named) = hidden.iter().find(|named| named.name == name) {
            return Some(named.value.clone());
        }
        let scan = scan.and_then(|scan| scans.get(scan));
        // What was parsed since then has the name anew.
        let gone = dropped.get(name).copied();
        let parsed = parsed.get(gone.unwrap_or(0)..).unwrap_or_default();
        if gone.is_some() && (parsed.is_empty() || fixed(name).is_some()) {
            return Some(Value::new(
                lit(datafusion::common::ScalarValue::Utf8(None)),
                ColumnKind::Text,
            ));
        }
        let from_record = |wanted: &Column| {
            let at = RECORD.iter().position(|column| column == wanted)?;
            record.get(at).cloned()
        };
        if let Some((source, kind)) = fixed(name) {
            let expr = match &source {
                Source::Stored(stored) => from_record(stored),
                _ => None,
            };
            let expr = expr.or_else(|| scan?.of(&source))?;
            return Some(Value::new(expr, kind));
        }
        let columns = scan?;
        let kind = resolve(&columns.types, name);
        let stored = Column::Field { name: name.to_owned(), kind };
        let stored = columns.of(&Source::Stored(stored));
        let texts = match kind {
            FieldType::Text => texts_of(&columns.types, name),
            _ => Texts::Plain,
        };
        let stored = stored.map(|expr| Value {
            field: Some(name.to_owned()),
            texts,
            ..Value::new(expr, ColumnKind::of(kind))
        });
        if parsed.is_empty() {
            return stored;
        }
        // Records keep a member that is called like something of their own as `fields.NAME`.
        let own = name.strip_prefix("fields.").filter(|own| RESERVED.contains(own));
        let member = |object: &Expr, name: &str| {
            Function::Member(name.to_owned()).call(vec![object.clone()])
        };
        let mut members: Vec<Expr> = Vec::new();
        for object in parsed.iter().rev() {
            members.push(member(object, name));
            members.extend(own.map(|own| member(object, own)));
        }
        if columns.types.contains_key(name) && gone.is_none() {
            members.extend(stored.map(|stored| stored.text()));
        }
        let expr = if members.len() == 1 { members.swap_remove(0) } else { coalesce(members) };
        Some(Value { field: Some(name.to_owned()), ..Value::loose(expr) })
    }

    /// Adds a computed column or puts it in the place of one of that name.
    pub(super) fn set(&mut self, name: &str, value: Value) {
        let named = Named { name: name.to_owned(), value };
        match self.columns.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = named,
            None => self.columns.push(named),
        }
    }

    /// Takes a name away.
    pub(super) fn remove(&mut self, name: &str) -> Result<()> {
        self.columns.retain(|known| known.name != name);
        if let Rows::Records { dropped, parsed, .. } = &mut self.rows {
            if fixed(name).is_some() {
                return plan_err!(
                    "every record has {name:?}: choose columns with `fields` instead"
                );
            }
            dropped.insert(name.to_owned(), parsed.len());
        }
        Ok(())
    }

    /// Sorts the plan, where it is not sorted.
    pub(super) fn sorted(mut self) -> Result<Self> {
        if !self.is_sorted && !self.order.is_empty() {
            self.plan = self.plan.sort(self.order.clone())?;
        }
        self.is_sorted = true;
        Ok(self)
    }
}

/// Which texts of a field that is seen as text are numbers.
fn texts_of(types: &Types, name: &str) -> Texts {
    let Some(kinds) = types.get(name) else { return Texts::Plain };
    let is_mixed = [FieldType::Int, FieldType::Float].iter().any(|kind| kinds.contains(kind));
    if is_mixed { Texts::Mixed } else { Texts::Great }
}

/// The columns that a scan must have, and the types of fields that were looked up.
#[derive(Debug)]
pub(super) struct ScanColumns {
    pub(super) number: usize,
    pub(super) sources: Vec<Source>,
    pub(super) types: Types,
}

impl ScanColumns {
    /// Columns for whole records and for every name that is asked for.
    pub(super) fn new(
        number: usize,
        query: &Query,
        asked: &BTreeSet<String>,
        types: Types,
    ) -> Self {
        let mut names = fields_of(query);
        names.extend(asked.iter().cloned());
        let mut sources = RECORD.map(Source::Stored).to_vec();
        for name in names {
            let source = match fixed(&name) {
                Some((source, _)) => source,
                None => {
                    let kind: FieldType = resolve(&types, &name);
                    Source::Stored(Column::Field { name: name.clone(), kind })
                }
            };
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        for (name, distinct) in lists_of(query) {
            if fixed(&name).is_none() {
                let kind = resolve(&types, &name);
                sources.push(Source::Stored(Column::Values { name, kind, distinct }));
            }
        }
        Self { number, sources, types }
    }

    /// All values of a field, and their type.
    pub(super) fn values(&self, name: &str, distinct: bool) -> Option<(Expr, ColumnKind)> {
        let kind = resolve(&self.types, name);
        let name = name.to_owned();
        let expr = self.of(&Source::Stored(Column::Values { name, kind, distinct }))?;
        Some((expr, ColumnKind::of(kind)))
    }

    pub(super) fn of(&self, source: &Source) -> Option<Expr> {
        let at = self.sources.iter().position(|known| known == source)?;
        Some(column(&crate::plan::table::LogTable::column_name(self.number, at)))
    }

    /// A record's own columns.
    pub(super) fn record(&self) -> Vec<Expr> {
        RECORD.iter().filter_map(|wanted| self.of(&Source::Stored(wanted.clone()))).collect()
    }
}
