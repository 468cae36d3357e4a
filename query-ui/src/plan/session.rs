//! What plans queries and runs them: rules and settings are made once and shared; memory and disk are each
//! query's own.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{SpillFile, TaskContext, TempFileFactory};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionConfig;

use super::Shape;
use super::memory::Memory;
use super::settings::QuerySettings;
use super::steps::steps;

/// Rows of a batch of whole records: sorting on disk holds a batch of each piece it merges.
const RECORD_BATCH_ROWS: usize = 1_024;
/// Rows of a batch of a table.
const TABLE_BATCH_ROWS: usize = 8_192;
/// The part of a query's memory that merging may take.
const MERGE_SHARE: usize = 4;
/// Rules of plans in which something is filtered or put together: in plain ones they find nothing to do.
const NOT_PLAIN: [&str; 15] = [
    "rewrite_set_comparison",
    "optimize_unions",
    "unions_to_filter",
    "eliminate_join",
    "decorrelate_predicate_subquery",
    "scalar_subquery_to_join",
    "decorrelate_lateral_join",
    "extract_equijoin_predicate",
    "eliminate_filter",
    "eliminate_cross_join",
    "filter_null_join_keys",
    "eliminate_outer_join",
    "push_down_filter",
    "extract_leaf_expressions",
    "push_down_leaf_projections",
];
/// The same of plans that run.
const NOT_PLAIN_PHYSICAL: [&str; 6] = [
    "join_selection",
    "WindowTopN",
    "LimitPushPastWindows",
    "HashJoinBuffering",
    "FilterPushdown",
    "FilterPushdown(Post)",
];

/// What all queries share.
#[derive(Debug)]
pub(super) struct Sessions {
    records: States,
    tables: States,
    memory: Memory,
    memory_bytes_max: usize,
    spill: PathBuf,
    spill_bytes_max: u64,
}

/// What plans answers of one shape.
#[derive(Debug)]
struct States {
    /// Plain plans: one pass of few rules makes all of them that there is to make.
    plain: SessionState,
    /// All others.
    any: SessionState,
}

impl States {
    fn new(settings: &QuerySettings, batch_rows: usize) -> Self {
        let mut config = SessionConfig::new()
            .with_target_partitions(settings.core_count)
            .with_batch_size(batch_rows)
            .with_round_robin_repartition(false)
            // Plans come with their tables.
            .with_create_default_catalog_and_schema(false);
        let options = config.options_mut();
        // One sort of everything: what merges several would need memory that they hold.
        options.optimizer.repartition_sorts = false;
        // What merging sorted pieces takes is set aside: their keys, about a tenth of the rows.
        options.execution.sort_spill_reservation_bytes = settings.memory_bytes_max / MERGE_SHARE;
        let (mut logical, mut physical) = steps();
        let any = SessionStateBuilder::new()
            .with_config(config.clone())
            .with_optimizer_rules(logical.clone())
            .with_physical_optimizer_rules(physical.clone())
            .build();
        config.options_mut().optimizer.max_passes = 1;
        logical.retain(|rule| !NOT_PLAIN.contains(&rule.name()));
        physical.retain(|rule| !NOT_PLAIN_PHYSICAL.contains(&rule.name()));
        let plain = SessionStateBuilder::new()
            .with_config(config)
            .with_optimizer_rules(logical)
            .with_physical_optimizer_rules(physical);
        Self { plain: plain.build(), any }
    }
}

impl Sessions {
    pub(super) fn new(settings: &QuerySettings, memory: Memory) -> Self {
        Self {
            records: States::new(settings, RECORD_BATCH_ROWS),
            tables: States::new(settings, TABLE_BATCH_ROWS),
            memory,
            memory_bytes_max: settings.memory_bytes_max,
            spill: settings.spill.clone(),
            spill_bytes_max: settings.spill_bytes_max,
        }
    }

    fn states(&self, shape: &Shape) -> &States {
        match shape {
            Shape::Records(_) => &self.records,
            Shape::Table(_) => &self.tables,
        }
    }

    /// What makes a plan one that runs. What says `now()` in it means this moment.
    ///
    /// # Errors
    /// What the engine says of a plan that it cannot look through.
    pub(super) fn planner(&self, shape: &Shape, plan: &LogicalPlan) -> Result<SessionState> {
        let states = self.states(shape);
        let state = if is_plain(plan)? { &states.plain } else { &states.any };
        let mut state = state.clone();
        state.mark_start_execution();
        Ok(state)
    }

    /// What the plan of one query runs with.
    ///
    /// # Errors
    /// What the engine says of the disk.
    pub(super) fn task(&self, shape: &Shape) -> Result<Arc<TaskContext>> {
        let state = &self.states(shape).any;
        let spill = Spill {
            folder: self.spill.clone(),
            bytes_max: self.spill_bytes_max,
            files: OnceLock::new(),
        };
        let disk = DiskManagerBuilder::default().with_temp_file_factory(Arc::new(spill));
        let runtime = RuntimeEnv {
            memory_pool: self.memory.share(self.memory_bytes_max),
            disk_manager: Arc::new(disk.build()?),
            ..RuntimeEnv::clone(state.runtime_env())
        };
        Ok(Arc::new(TaskContext::from(state).with_runtime(Arc::new(runtime))))
    }
}

/// Whether nothing is chosen or put together in a plan: its rows go one way, and what the rules make of
/// one node opens nothing to them in another.
fn is_plain(plan: &LogicalPlan) -> Result<bool> {
    let mut is_plain = true;
    plan.apply_with_subqueries(|node| {
        is_plain &= matches!(
            node,
            LogicalPlan::TableScan(_)
                | LogicalPlan::Projection(_)
                | LogicalPlan::Aggregate(_)
                | LogicalPlan::Sort(_)
                | LogicalPlan::Limit(_)
        );
        Ok(if is_plain { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(is_plain)
}

/// The files of one query's sorting, in a folder that is made with the first of them: most queries have none.
struct Spill {
    folder: PathBuf,
    bytes_max: u64,
    files: OnceLock<Arc<DiskManager>>,
}

impl TempFileFactory for Spill {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        let files = match self.files.get() {
            Some(files) => files,
            None => {
                let made = DiskManagerBuilder::default()
                    .with_mode(DiskManagerMode::Directories(vec![self.folder.clone()]))
                    .with_max_temp_directory_size(self.bytes_max)
                    .build()?;
                // Of two made at a time one goes again, with its folder.
                self.files.get_or_init(|| Arc::new(made))
            }
        };
        files.create_tmp_file(description)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datafusion::logical_expr::{LogicalPlanBuilder, col, lit, table_scan};

    use super::*;

    #[test]
    fn the_folder_of_a_query_is_made_with_its_first_file_and_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let spill =
            Spill { folder: folder.path().to_owned(), bytes_max: 1_500, files: OnceLock::new() };
        let disk = DiskManagerBuilder::default().with_temp_file_factory(Arc::new(spill));
        let disk = Arc::new(disk.build().unwrap());
        let folders = || std::fs::read_dir(folder.path()).unwrap().count();
        assert!(disk.tmp_files_enabled());
        assert_eq!(folders(), 0);
        let files = ["one", "other"].map(|name| disk.create_tmp_file(name).unwrap());
        assert_eq!(folders(), 1);
        // They have one bound together.
        let mut writers = files.each_ref().map(|file| file.open_writer().unwrap());
        writers[0].write_all(&[0; 1_000]).unwrap();
        assert!(writers[1].write_all(&[0; 1_000]).is_err());
        drop((writers, files, disk));
        assert_eq!(folders(), 0);
    }

    #[test]
    fn rules_that_plain_plans_do_without_are_there() {
        let (logical, physical) = steps();
        for name in NOT_PLAIN {
            assert!(logical.iter().any(|rule| rule.name() == name), "{name}");
        }
        for name in NOT_PLAIN_PHYSICAL {
            assert!(physical.iter().any(|rule| rule.name() == name), "{name}");
        }
    }

    #[test]
    fn one_pass_is_for_plans_whose_rows_go_one_way() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
        let scan = || table_scan(Some("t"), &schema, None).unwrap();
        let plain = |plan: LogicalPlanBuilder| is_plain(&plan.build().unwrap()).unwrap();
        let projected = || scan().project([col("a")]).unwrap().limit(0, Some(3)).unwrap();
        assert!(plain(projected()));
        assert!(!plain(projected().filter(col("a").gt(lit(1_i64))).unwrap()));
        assert!(!plain(scan().union(scan().build().unwrap()).unwrap()));
    }
}
