//! A node of its own becomes the first of a cluster: everything in its queue is put into splits, and
//! the cluster's partitions begin where its partitions ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster::meta::Founder;
use cluster::queue::Queue as _;
use index::indexer::Indexer;
use index::metrics::IndexMetrics;
use index::settings::Settings;
use ingest::partition::{Partition, Seeds};
use platform::shutdown::Shutdown;

use crate::node::{Base, index_settings, local_objects, open_partitions, parties};
use crate::tell;

/// How often is looked whether all is in splits.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Where the partitions of this node ended, if it was on its own before: as long as it founds the
/// cluster, and some of the cluster's have not begun there.
pub(crate) async fn seeds(base: &Base) -> Result<Seeds> {
    let was_alone = base.config.data_dir.join("queue/0000").exists();
    let founds = base.config.cluster.bootstrap && base.catalog.local("cluster")?.is_none();
    if !was_alone || !(founds || Founder::is_asked(&base.catalog)?) {
        return Ok(Seeds::default());
    }
    let alone = crate::config::Config { partitions: count(base), ..base.config.clone() };
    let partitions = open_partitions(&alone, &base.clock, &base.ingest_metrics)?;
    if founds {
        ensure!(
            base.config.cluster.store.is_none(),
            "this node has records on its own disk, which a cluster with a store that all share would not find: \
             found the cluster without --store, or on an empty data directory and send the records again"
        );
        tell("putting everything that is in the queue into splits, once");
        settle(base, &partitions).await?;
    }
    let seeds = Seeds::of(&partitions);
    let stop = move || partitions.iter().for_each(Partition::stop);
    tokio::task::spawn_blocking(stop).await.context("stopping failed")?;
    Ok(seeds)
}

/// How many partitions there are on disk.
fn count(base: &Base) -> u32 {
    let exists = |number: &u32| base.config.data_dir.join(format!("queue/{number:04}")).exists();
    let count = (0..=64_u32).take_while(exists).count();
    u32::try_from(count).unwrap_or(1)
}

async fn settle(base: &Base, partitions: &[Partition]) -> Result<()> {
    let stop = Shutdown::default();
    // Whatever is fresh is due.
    let settings = Settings { fresh_age_max: Duration::ZERO, ..index_settings(&base.config) };
    let parties = parties(base, settings, local_objects(&base.config)?, IndexMetrics::default())?;
    let indexer = Indexer::start(parties, base.config.data_dir.clone(), stop.clone())?;
    for partition in partitions {
        indexer.take(Arc::new(partition.clone()), None)?;
    }
    for partition in partitions {
        let committed = *partition.committed().borrow();
        while base.catalog.indexed_offset(partition.partition())? < committed {
            base.clock.sleep(LOOK_INTERVAL).await;
        }
    }
    stop.trigger();
    tokio::task::spawn_blocking(move || indexer.join()).await.context("stopping failed")
}
