//! `context`: the records around each one, of the same index and labels.
//!
//! Which records these are is found on their places alone, all of the streams that have a match; then
//! those records are read.

use datafusion::common::{
    Column as PlanColumn, JoinType, NullEquality, Result, ScalarValue, plan_err,
};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt as _, LogicalPlan, LogicalPlanBuilder, WindowFrame, WindowFrameBound,
    WindowFrameUnits, WindowFunctionDefinition, lit,
};
use index::scan::Column;

use super::frame::{Frame, Named, Rows, Value, column};
use super::{ColumnKind, Lowering, columns};
use crate::language::{MATCHED, Query};

/// What names a record.
const PLACE: [Column; 2] = [Column::Partition, Column::Offset];
/// What names its stream.
const STREAM: [Column; 2] = [Column::Index, Column::Labels];
/// The order of records in their stream.
const ORDER: [Column; 3] = [Column::Timestamp, Column::Partition, Column::Offset];

impl Lowering<'_> {
    /// The records of a frame with those `around` them.
    pub(super) fn context(
        &mut self,
        frame: &Frame,
        (before, after): (u64, u64),
        around: &Query,
    ) -> Result<Frame> {
        let Rows::Records { record, .. } = &frame.rows else {
            return plan_err!("`context` stands before `stats` and `fields`: there are records");
        };
        let (streams, stream) = self.distinct(frame, &columns(record, &STREAM))?;
        let (matches, matched) = self.distinct(frame, &columns(record, &PLACE))?;
        let places = self.scan(around, None)?;
        let Rows::Records { record, .. } = &places.rows else {
            return plan_err!("a search has records");
        };
        let record = record.clone();
        // Streams may lack labels: what lacks a value is equal here.
        let places = joined(streams, places.plan, JoinType::RightSemi, &stream, &record, &STREAM)?;
        let mark = self.name();
        let matches = LogicalPlanBuilder::from(matches);
        let marked = matched.iter().map(|name| column(name)).chain([lit(1_i64).alias(&mark)]);
        let matches = matches.project(marked)?.build()?;
        let places = joined(matches, places, JoinType::Right, &matched, &record, &PLACE)?;

        let near = self.name();
        let counted = WindowFunction::new(
            WindowFunctionDefinition::AggregateUDF(count_udaf()),
            vec![column(&mark)],
        );
        // One stands near a match that is at most `before` records later or `after` records earlier.
        let rows = |count| ScalarValue::UInt64(Some(count));
        let window = WindowFrame::new_bounds(
            WindowFrameUnits::Rows,
            WindowFrameBound::Preceding(rows(after)),
            WindowFrameBound::Following(rows(before)),
        );
        let order = columns(&record, &ORDER).into_iter().map(|expr| expr.sort(true, false));
        let counted = Expr::from(counted)
            .partition_by(columns(&record, &STREAM))
            .order_by(order.collect())
            .window_frame(window)
            .build()?;
        let places = places.window([counted.alias(&near)])?;
        let places = places.filter(column(&near).gt(lit(0_i64)))?;
        let kept: [String; 3] = std::array::from_fn(|_| self.name());
        let [partition, offset, is_match] = &kept;
        let exprs = columns(&record, &PLACE).into_iter().chain([column(&mark).is_not_null()]);
        let exprs = exprs.zip(&kept).map(|(expr, name)| expr.alias(name));
        let places = places.project(exprs)?.build()?;

        let mut whole = self.scan(around, None)?;
        let Rows::Records { record, hidden, .. } = &mut whole.rows else {
            return plan_err!("a search has records");
        };
        let keys = [partition.clone(), offset.clone()];
        whole.plan = joined(places, whole.plan, JoinType::Inner, &keys, record, &PLACE)?;
        let value = Value::new(column(is_match), ColumnKind::Bool);
        hidden.push(Named { name: MATCHED.to_owned(), value });
        Ok(whole)
    }

    /// The distinct values of some columns, with the names that they have then.
    fn distinct(&mut self, frame: &Frame, exprs: &[Expr]) -> Result<(LogicalPlan, Vec<String>)> {
        let names: Vec<String> = exprs.iter().map(|_| self.name()).collect();
        let exprs = exprs.iter().zip(&names).map(|(expr, name)| expr.clone().alias(name));
        let plan = frame.plan.clone().project(exprs.collect::<Vec<_>>())?.distinct()?.build()?;
        Ok((plan, names))
    }
}

/// A small table, held in memory, joined with records by some of their columns.
fn joined(
    small: LogicalPlan,
    records: LogicalPlanBuilder,
    kind: JoinType,
    names: &[String],
    record: &[Expr],
    by: &[Column],
) -> Result<LogicalPlanBuilder> {
    let names = names.iter().map(PlanColumn::new_unqualified).collect::<Vec<_>>();
    let by = columns(record, by).into_iter().filter_map(|expr| match expr {
        Expr::Column(column) => Some(column),
        _ => None,
    });
    LogicalPlanBuilder::from(small).join_detailed(
        records.build()?,
        kind,
        (names, by.collect()),
        None,
        NullEquality::NullEqualsNull,
    )
}
