//! Our own leaves and functions in plans that are sent to other nodes.

use std::sync::Arc;

use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use index::searcher::Unit;

use crate::plan::lower::Function;
use crate::plan::scan::Scanner;
use crate::plan::table::{LogScanExec, ScanForm};

/// Writes and reads what datafusion-proto does not know: JSON of [`ScanForm`] and [`Function`].
#[derive(Debug)]
pub(super) struct Codec(Option<Leaf>);

/// What a scan reads at the node that runs it.
#[derive(Debug)]
struct Leaf {
    scanner: Scanner,
    units: Vec<Unit>,
    partitions: usize,
}

impl Codec {
    /// Writes plans.
    pub(super) fn sender() -> Self {
        Self(None)
    }

    /// Reads plans: their scan is of these units, on so many threads.
    pub(super) fn receiver(scanner: Scanner, units: Vec<Unit>, partitions: usize) -> Self {
        Self(Some(Leaf { scanner, units, partitions }))
    }
}

impl PhysicalExtensionCodec for Codec {
    fn try_decode(
        &self,
        bytes: &[u8],
        _: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(leaf) = &self.0 else { return plan_err!("a plan is read where none is run") };
        let form: ScanForm = serde_json::from_slice(bytes)
            .map_err(|error| plan_datafusion_err!("a scan of another version: {error}"))?;
        let (scanner, units) = (leaf.scanner.clone(), leaf.units.clone());
        Ok(Arc::new(LogScanExec::of_form(form, scanner, units, leaf.partitions)))
    }

    fn try_encode(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        bytes: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(scan) = plan.downcast_ref::<LogScanExec>() else {
            return plan_err!("{} is not sent to other nodes", plan.name());
        };
        serde_json::to_writer(bytes, &scan.form())
            .map_err(|error| plan_datafusion_err!("a scan that cannot be sent: {error}"))
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        match Function::of(function) {
            Some(function) => serde_json::to_writer(bytes, function)
                .map_err(|error| plan_datafusion_err!("a function that cannot be sent: {error}")),
            None => Ok(()),
        }
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        let function: Function = serde_json::from_slice(bytes)
            .map_err(|error| plan_datafusion_err!("{name} of another version: {error}"))?;
        Ok(Arc::new(function.udf()))
    }
}
