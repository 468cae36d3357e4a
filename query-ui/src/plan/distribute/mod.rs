//! Where the parts of a plan run: what folds or cuts the records of other nodes runs at those nodes,
//! and only what is left of them travels.
//!
//! A part is an aggregate's first half, or a sort that keeps the first rows, over a scan and what
//! changes its rows one by one. It is sent as datafusion-proto writes it; the units that it reads go
//! beside it, as their holder knows them. When a holder does not do it, for whatever reason, its
//! units are scanned from here as those of any other plan, which tries other copies and says what
//! is missing.

mod codec;
mod fragment;
mod serve;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode as _, TreeNodeRecursion};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion_proto::bytes::physical_plan_to_bytes_with_extension_codec;
use index::remote::HeldUnit;
use index::searcher::Unit;

use super::table::LogScanExec;
use codec::Codec;
use fragment::FragmentExec;

/// The units of one other node.
#[derive(Debug, Default)]
struct Away {
    units: Vec<Unit>,
    held: Vec<HeldUnit>,
}

/// The plan with what others can do done by them.
///
/// # Errors
/// What the engine says of a plan put together anew.
pub(super) fn distributed(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let changed = plan.transform_down(|plan| {
        let Some((part, scan)) = part_of(&plan) else { return Ok(Transformed::no(plan)) };
        let (here, away) = scan.by_holder();
        if away.is_empty() {
            return Ok(Transformed::no(plan));
        }
        let mut fragments: Vec<Arc<dyn ExecutionPlan>> = Vec::with_capacity(away.len());
        for (address, away) in away {
            let scanned: Arc<dyn ExecutionPlan> = Arc::new(scan.with(away.units));
            let theirs = over(&plan, &scanned)?;
            // What has no form to be sent in is done here.
            let Ok(bytes) =
                physical_plan_to_bytes_with_extension_codec(theirs.clone(), &Codec::sender())
            else {
                return Ok(Transformed::no(plan));
            };
            let scanner = scan.scanner().clone();
            fragments.push(Arc::new(FragmentExec::new(theirs, address, away.held, bytes, scanner)));
        }
        let here: Arc<dyn ExecutionPlan> = Arc::new(scan.with(here));
        let joined = |first: Arc<dyn ExecutionPlan>| {
            UnionExec::try_new([vec![first], fragments.clone()].concat())
        };
        let whole = match part {
            // Halves of aggregates are joined by the other half above.
            Part::Aggregate => joined(over(&plan, &here)?)?,
            // The first rows of all are among the first rows of each.
            Part::Sort => match plan.children().first() {
                Some(input) => {
                    let rows = joined(over(input, &here)?)?;
                    replace_children_if_necessary(plan.clone(), vec![single(rows, input)])?
                }
                None => return Ok(Transformed::no(plan)),
            },
        };
        Ok(Transformed::new(whole, true, TreeNodeRecursion::Jump))
    })?;
    Ok(changed.data)
}

/// What may run elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The first half of an aggregate.
    Aggregate,
    /// A sort of which the first rows are wanted.
    Sort,
}

/// Whether that is a part that may run elsewhere, with the scan below it.
fn part_of(plan: &Arc<dyn ExecutionPlan>) -> Option<(Part, Arc<LogScanExec>)> {
    let part = if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        (*aggregate.mode() == AggregateMode::Partial).then_some(Part::Aggregate)?
    } else {
        plan.downcast_ref::<SortExec>().and_then(SortExec::fetch).map(|_| Part::Sort)?
    };
    let mut below = plan.children().first().map(|plan| Arc::clone(plan))?;
    loop {
        if let Some(scan) = below.downcast_ref::<LogScanExec>() {
            // A scan for the newest rows is narrowed by what others found.
            return scan.is_whole().then(|| (part, Arc::new(scan.clone())));
        }
        let is_by_row = below.is::<ProjectionExec>()
            || below.is::<FilterExec>()
            || below.is::<UnnestExec>()
            || below.is::<CooperativeExec>()
            || below.is::<CoalescePartitionsExec>();
        if !is_by_row {
            return None;
        }
        below = below.children().first().map(|plan| Arc::clone(plan))?;
    }
}

/// The same plan over another scan.
fn over(
    plan: &Arc<dyn ExecutionPlan>,
    scan: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let changed = plan.clone().transform_up(|plan| match plan.is::<LogScanExec>() {
        true => Ok(Transformed::yes(scan.clone())),
        false => Ok(Transformed::no(plan)),
    })?;
    Ok(changed.data)
}

/// Rows in one stream when they came in one before.
fn single(rows: Arc<dyn ExecutionPlan>, before: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
    match before.properties().output_partitioning().partition_count() {
        1 => Arc::new(CoalescePartitionsExec::new(rows)),
        _ => rows,
    }
}

impl LogScanExec {
    /// Its units: those that are scanned here, and those of other nodes by address.
    fn by_holder(&self) -> (Vec<Unit>, BTreeMap<String, Away>) {
        let searcher = &self.scanner().searcher;
        let (mut here, mut away) = (Vec::new(), BTreeMap::<String, Away>::new());
        for unit in self.units() {
            match searcher.holder(unit) {
                None => here.push(unit.clone()),
                Some((address, held)) => {
                    let theirs = away.entry(address).or_default();
                    theirs.units.push(unit.clone());
                    theirs.held.push(held);
                }
            }
        }
        (here, away)
    }
}
