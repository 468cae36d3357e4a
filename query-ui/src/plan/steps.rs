//! The rules of plans, each a step between which is asked whether anybody still waits for the plan.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::ExecutionPlan;

use super::planning::wanted;

/// Rules of plans.
pub(super) type Rules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;
/// Rules of plans that run.
pub(super) type PhysicalRules = Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>;

/// The engine's own rules as such steps.
pub(super) fn steps() -> (Rules, PhysicalRules) {
    let mut logical: Rules = Vec::new();
    for rule in Optimizer::new().rules {
        logical.push(Arc::new(Step(rule)));
    }
    let mut physical: PhysicalRules = Vec::new();
    for rule in PhysicalOptimizer::new().rules {
        physical.push(Arc::new(PhysicalStep(rule)));
    }
    (logical, physical)
}

/// A rule that makes nothing of a plan which nobody wants.
#[derive(Debug)]
struct Step(Arc<dyn OptimizerRule + Send + Sync>);

impl OptimizerRule for Step {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        wanted()?;
        self.0.rewrite(plan, config)
    }
}

/// The same of a plan that runs.
#[derive(Debug)]
struct PhysicalStep(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl PhysicalOptimizerRule for PhysicalStep {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        wanted()?;
        self.0.optimize(plan, config)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        wanted()?;
        self.0.optimize_with_context(plan, context)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::logical_expr::{col, lit, table_scan};

    use super::*;
    use crate::plan::planning::unwatched;

    #[test]
    fn rules_have_the_names_of_the_engines_own() {
        let (logical, physical) = steps();
        let own = Optimizer::new().rules;
        assert_eq!(logical.len(), own.len());
        assert!(logical.iter().zip(&own).all(|(step, own)| step.name() == own.name()));
        let own = PhysicalOptimizer::new().rules;
        assert_eq!(physical.len(), own.len());
        assert!(physical.iter().zip(&own).all(|(step, own)| step.name() == own.name()));
    }

    #[test]
    fn a_plan_that_nobody_wants_ends_at_the_next_rule() {
        let (logical, _) = steps();
        let state = SessionStateBuilder::new().with_optimizer_rules(logical).build();
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
        let plan = table_scan(Some("t"), &schema, None).unwrap();
        let plan = plan.filter(col("a").gt(lit(1_i64))).unwrap().build().unwrap();
        assert!(state.optimize(&plan).is_ok());
        let failed = unwatched(|| state.optimize(&plan)).unwrap_err();
        assert!(failed.to_string().contains("nobody waits"), "{failed}");
    }
}
