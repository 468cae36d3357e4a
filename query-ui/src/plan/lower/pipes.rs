//! Pipes that make other columns or rows.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::{JoinType, Result, ScalarValue, UnnestOptions, plan_err};
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt as _, LogicalPlanBuilder, SortExpr, cast, lit,
};

use super::call::one_kind;
use super::frame::{Frame, Named, Rows, Value, column};
use super::functions::Function;
use super::{ColumnKind, Lowering, newest_first};
use crate::language::{Expr as Given, Extraction, Format, Pipe, Query, SortKey};
use crate::plan::planning::wanted;

impl Lowering<'_> {
    /// The rows behind a pipe.
    pub(super) fn pipe(&mut self, mut frame: Frame, pipe: &Pipe) -> Result<Frame> {
        wanted()?;
        match pipe {
            Pipe::Where(condition) => {
                let condition = self.truth(&frame, condition)?;
                frame.plan = frame.plan.filter(condition)?;
                frame.is_sorted = false;
                Ok(frame)
            }
            Pipe::Stats { aggregates, by } => self.stats(frame, aggregates, by),
            Pipe::Sort(keys) => self.sort(frame, keys),
            Pipe::Limit(most) => {
                frame = frame.sorted()?;
                frame.plan = frame.plan.limit(0, Some(super::rows_at_most(*most)))?;
                Ok(frame)
            }
            Pipe::Fields(names) => self.fields(frame, names),
            Pipe::Drop(names) => {
                for name in names {
                    frame.remove(name)?;
                }
                Ok(frame)
            }
            Pipe::Rename(pairs) => self.rename(frame, pairs),
            Pipe::Eval(computed) => self.eval(frame, computed),
            Pipe::Dedup { keep, by } => self.dedup(frame, *keep, by),
            Pipe::Expand { from, into, distinct } => self.expand(frame, (from, into), *distinct),
            Pipe::Extract { from, pattern } => self.extract(frame, from, pattern),
            Pipe::Parse { format, from } => self.parse(frame, *format, from),
            Pipe::Join { keep_all, on, query } => self.join(frame, *keep_all, on, query),
            Pipe::Union(query) => self.union(frame, query),
            Pipe::Sample(share) => self.sample(frame, *share),
            Pipe::Context { before, after, around } => {
                self.context(&frame, (*before, *after), around)
            }
        }
    }

    fn sort(&mut self, mut frame: Frame, keys: &[SortKey]) -> Result<Frame> {
        let mut order = Vec::new();
        for key in keys {
            let computed = frame.columns.iter().any(|named| named.name == key.name);
            match &frame.rows {
                // Ids are ordered as places, not as texts.
                Rows::Records { record, .. } if key.name == "id" && !computed => {
                    let places = newest_first(record).into_iter().skip(1);
                    order.extend(places.map(|place| SortExpr { asc: !key.descending, ..place }));
                }
                _ => {
                    let value = self.named(&frame, &key.name)?;
                    order.extend(match key.numbers {
                        true => value.order(key.descending),
                        false => value.order_of_texts(key.descending),
                    });
                }
            }
        }
        order.append(&mut frame.order);
        Ok(Frame { order, is_sorted: false, ..frame })
    }

    fn fields(&mut self, frame: Frame, names: &[String]) -> Result<Frame> {
        let mut columns = Vec::new();
        for name in names {
            let value = self.named(&frame, name)?;
            columns.push(Named { name: name.clone(), value });
        }
        // The projection comes at the end; what was left out cannot be named any more.
        Ok(Frame { rows: Rows::Table, columns, ..frame })
    }

    fn rename(&mut self, mut frame: Frame, pairs: &[(String, String)]) -> Result<Frame> {
        for (old, new) in pairs {
            let value = self.named(&frame, old)?;
            let place = frame.columns.iter().position(|named| named.name == *old);
            match place {
                Some(place) => {
                    let named = Named { name: new.clone(), value };
                    // A column of the new name makes way.
                    let other = frame.columns.iter().position(|known| known.name == *new);
                    if let Some(known) = frame.columns.get_mut(place) {
                        *known = named;
                    }
                    if let Some(other) = other.filter(|other| *other != place) {
                        frame.columns.remove(other);
                    }
                    if let Rows::Records { dropped, parsed, .. } = &mut frame.rows {
                        dropped.insert(old.clone(), parsed.len());
                    }
                }
                None => {
                    frame.set(new, value);
                    frame.remove(old)?;
                }
            }
        }
        Ok(frame)
    }

    fn eval(&mut self, mut frame: Frame, computed: &[(String, Given)]) -> Result<Frame> {
        for (name, given) in computed {
            if frame.is_records() && super::fixed(name).is_some() {
                return plan_err!("every record has {name:?}: give the result another name");
            }
            let value = self.value(&frame, given)?;
            let value = self.with_column(&mut frame, value)?;
            frame.set(name, value);
        }
        Ok(frame)
    }

    /// Computes a value once, as a column of the plan.
    fn with_column(&mut self, frame: &mut Frame, value: Value) -> Result<Value> {
        wanted()?;
        let inner = self.name();
        let mut exprs: Vec<Expr> = columns_of(&frame.plan).collect();
        exprs.push(value.expr.alias(&inner));
        frame.plan = frame.plan.clone().project(exprs)?;
        frame.is_sorted = false;
        Ok(Value { expr: column(&inner), field: None, ..value })
    }

    fn dedup(&mut self, mut frame: Frame, keep: u64, by: &[String]) -> Result<Frame> {
        let mut keys = Vec::new();
        for name in by {
            keys.push(self.named(&frame, name)?.expr);
        }
        let number = self.name();
        let numbered = row_number().partition_by(keys).order_by(frame.order.clone()).build()?;
        let window = frame.plan.window([numbered.alias(&number)])?;
        frame.plan = window.filter(column(&number).lt_eq(lit(keep)))?;
        frame.is_sorted = false;
        Ok(frame)
    }

    fn expand(
        &mut self,
        mut frame: Frame,
        (from, into): (&str, &str),
        distinct: bool,
    ) -> Result<Frame> {
        if frame.is_records() && super::fixed(into).is_some() {
            return plan_err!("every record has {into:?}: write `expand {from} as` another name");
        }
        let is_computed = frame.columns.iter().any(|named| named.name == from);
        let (expr, kind) = match &frame.rows {
            Rows::Records { scan, parsed, dropped, .. }
                if !is_computed && !dropped.contains_key(from) && super::fixed(from).is_none() =>
            {
                let scan = scan.and_then(|scan| self.scans.get(scan));
                let values = scan.and_then(|scan| scan.values(from, distinct));
                let Some((expr, kind)) = values.filter(|_| parsed.is_empty()) else {
                    return plan_err!("`expand` stands before `parse`, `union` and `context`");
                };
                (expr, kind)
            }
            _ => {
                let value = self.named(&frame, from)?;
                match value.kind {
                    ColumnKind::List => (value.expr, ColumnKind::Text),
                    _ => {
                        let value = self.with_column(&mut frame, value)?;
                        frame.set(into, value);
                        return Ok(frame);
                    }
                }
            }
        };
        let list = self.with_column(&mut frame, Value::new(expr, kind))?;
        let Expr::Column(name) = list.expr.clone() else {
            return plan_err!("a list that is no column");
        };
        let options = UnnestOptions::new().with_preserve_nulls(true);
        frame.plan = frame.plan.unnest_column_with_options(name, options)?;
        frame.set(into, list);
        Ok(frame)
    }

    fn extract(&mut self, mut frame: Frame, from: &str, pattern: &Extraction) -> Result<Frame> {
        let text = self.named(&frame, from)?.text();
        let whole = Function::Extract(pattern.clone()).call(vec![text]);
        // The structure is computed once, then taken apart.
        let whole = self.with_column(&mut frame, Value::new(whole, ColumnKind::Object))?;
        for name in pattern.names() {
            let piece = get_field(whole.expr.clone(), name.as_str());
            frame.set(&name, Value::loose(piece));
        }
        Ok(frame)
    }

    fn parse(&mut self, mut frame: Frame, format: Format, from: &str) -> Result<Frame> {
        let text = self.named(&frame, from)?.text();
        let flat = Function::Parse(format).call(vec![text]);
        let flat = self.with_column(&mut frame, Value::new(flat, ColumnKind::Object))?;
        match &mut frame.rows {
            Rows::Records { parsed, .. } => parsed.push(flat.expr),
            Rows::Table => {
                return plan_err!("`parse` stands before `stats` and `fields`: there are records");
            }
        }
        Ok(frame)
    }

    fn join(
        &mut self,
        mut frame: Frame,
        keep_all: bool,
        on: &[String],
        query: &Query,
    ) -> Result<Frame> {
        let inner = self.query(query)?;
        let (mut left_keys, mut right_keys) = (Vec::new(), Vec::new());
        let mut right = Vec::new();
        for name in on {
            let (a, b) = (self.named(&frame, name)?, self.named(&inner, name)?);
            let (exprs, _) = one_kind(&[a.clone(), b.clone()]);
            let mut exprs = exprs.into_iter();
            let (Some(a_key), Some(b_key)) = (exprs.next(), exprs.next()) else { continue };
            let (left_key, right_key) = (self.name(), self.name());
            let exprs = columns_of(&frame.plan).chain([a_key.alias(&left_key)]);
            frame.plan = frame.plan.clone().project(exprs)?;
            right.push(b_key.alias(&right_key));
            left_keys.push(column_of(left_key));
            right_keys.push(column_of(right_key));
        }
        let mut added = Vec::new();
        for named in inner.columns.iter().filter(|named| !on.contains(&named.name)) {
            let name = self.name();
            right.push(named.value.expr.clone().alias(&name));
            let value = Value { expr: column(&name), field: None, ..named.value.clone() };
            added.push(Named { name: named.name.clone(), value });
        }
        let right = inner.plan.project(right)?.build()?;
        let kind = if keep_all { JoinType::Left } else { JoinType::Inner };
        frame.plan = frame.plan.join(right, kind, (left_keys, right_keys), None)?;
        frame.is_sorted = false;
        for named in added {
            if frame.is_records() && super::fixed(&named.name).is_some() {
                let name = &named.name;
                return plan_err!("the joined column {name:?} has a record's own name: rename it");
            }
            frame.set(&named.name, named.value);
        }
        Ok(frame)
    }

    fn union(&mut self, frame: Frame, query: &Query) -> Result<Frame> {
        let other = self.query(query)?;
        match (&frame.rows, &other.rows) {
            (Rows::Records { .. }, Rows::Records { .. }) => self.union_records(frame, other),
            (Rows::Table, Rows::Table) => self.union_tables(frame, other),
            _ => plan_err!("records and a table cannot be joined into one list"),
        }
    }

    /// Records of two searches: their own columns, and the names that come behind.
    fn union_records(&mut self, frame: Frame, other: Frame) -> Result<Frame> {
        let mut names: Vec<String> = self.asked.iter().cloned().collect();
        for named in frame.columns.iter().chain(&other.columns) {
            if !names.contains(&named.name) {
                names.push(named.name.clone());
            }
        }
        let mut sides: [Vec<Expr>; 2] = [Vec::new(), Vec::new()];
        let (mut record, mut columns) = (Vec::new(), Vec::new());
        let shown =
            |name: &str| frame.columns.iter().chain(&other.columns).any(|named| named.name == name);
        let own = |frame: &Frame| match &frame.rows {
            Rows::Records { record, .. } => record.clone(),
            Rows::Table => Vec::new(),
        };
        for (a, b) in own(&frame).into_iter().zip(own(&other)) {
            let inner = self.name();
            record.push(column(&inner));
            sides[0].push(a.alias(&inner));
            sides[1].push(b.alias(&inner));
        }
        let mut hidden = Vec::new();
        for name in names {
            let (a, b) = (self.named(&frame, &name)?, self.named(&other, &name)?);
            let (exprs, like) = one_kind(&[a, b]);
            let inner = self.name();
            for (side, expr) in sides.iter_mut().zip(exprs) {
                side.push(expr.alias(&inner));
            }
            let value = Value { expr: column(&inner), ..like };
            let named = Named { name: name.clone(), value };
            if shown(&name) { columns.push(named) } else { hidden.push(named) }
        }
        let [left, right] = sides;
        let right = other.plan.project(right)?.build()?;
        let plan = frame.plan.project(left)?.union(right)?;
        let order = newest_first(&record);
        let (scan, parsed, dropped) = (None, Vec::new(), BTreeMap::new());
        let rows = Rows::Records { scan, record, hidden, parsed, dropped };
        Ok(Frame { plan, rows, columns, order, is_sorted: false })
    }

    fn union_tables(&mut self, mut frame: Frame, mut other: Frame) -> Result<Frame> {
        let mut names: Vec<String> = frame.columns.iter().map(|n| n.name.clone()).collect();
        for named in &other.columns {
            if !names.contains(&named.name) {
                names.push(named.name.clone());
            }
        }
        let mut sides: [Vec<Expr>; 2] = [Vec::new(), Vec::new()];
        let mut columns = Vec::new();
        for name in names {
            let missing = || Value::new(lit(ScalarValue::Null), ColumnKind::Text);
            let find = |frame: &Frame| frame.find(&name, &[]).unwrap_or_else(missing);
            let (exprs, like) = one_kind(&[find(&frame), find(&other)]);
            let inner = self.name();
            for (side, expr) in sides.iter_mut().zip(exprs) {
                side.push(expr.alias(&inner));
            }
            columns.push(Named { name, value: Value { expr: column(&inner), ..like } });
        }
        // The first query's rows come first, each in its own order.
        let place = self.name();
        let [mut left, mut right] = sides;
        left.push((self.place(&mut frame)? + lit(0_i64)).alias(&place));
        right.push((self.place(&mut other)? + lit(i64::MAX / 2)).alias(&place));
        let right = other.plan.project(right)?.build()?;
        let plan = frame.plan.project(left)?.union(right)?;
        let order = vec![column(&place).sort(true, false)];
        Ok(Frame { plan, rows: Rows::Table, columns, order, is_sorted: false })
    }

    /// The places of the rows in their order, as a column of the plan.
    fn place(&mut self, frame: &mut Frame) -> Result<Expr> {
        let name = self.name();
        let number = row_number().order_by(frame.order.clone()).build()?;
        frame.plan = frame.plan.clone().window([number.alias(&name)])?;
        Ok(cast(column(&name), DataType::Int64))
    }

    fn sample(&mut self, mut frame: Frame, share: f64) -> Result<Frame> {
        let Rows::Records { record, .. } = &frame.rows else {
            return plan_err!("`sample` stands before `stats` and `fields`: there are records");
        };
        let places = [index::scan::Column::Partition, index::scan::Column::Offset];
        let arguments = super::columns(record, &places);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of 2^32"
        )]
        let bound = (share * f64::from(u32::MAX)) as u32;
        frame.plan = frame.plan.filter(Function::Sampled(bound).call(arguments))?;
        frame.is_sorted = false;
        Ok(frame)
    }
}

fn columns_of(plan: &LogicalPlanBuilder) -> impl Iterator<Item = Expr> + use<> {
    let columns: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    columns.into_iter()
}

fn column_of(name: String) -> datafusion::common::Column {
    datafusion::common::Column::new_unqualified(name)
}
