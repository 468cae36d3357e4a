//! Messages of one partition → queue: offered until they are durable, from where the queue is.

use std::sync::Arc;
use std::time::Duration;

use model::error::Kind;
use platform::shutdown::Shutdown;
use rdkafka::consumer::{Consumer as _, StreamConsumer};

use super::listener::Listener;
use super::run::{Course, Extent, Lane, Position, Waiting};
use crate::doors::IngestState;
use crate::partition::{AppendError, Checked};

/// The door's name in figures.
const DOOR: &str = "kafka";
/// The first wait before messages that were refused are offered again.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a broker may take to say what it has.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// What became of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All before `next` is durable.
    Stored {
        /// The first offset that is not.
        next: u64,
    },
    /// Earlier ones are to be read first.
    Back {
        /// Where they begin.
        to: u64,
    },
    /// We shall stop.
    GivenUp,
}

/// What storing needs.
#[derive(Clone)]
pub(super) struct Storing {
    pub(super) state: IngestState,
    pub(super) consumer: Arc<StreamConsumer<Listener>>,
    pub(super) shutdown: Shutdown,
}

impl Storing {
    /// Stores messages however long it takes, unless we shall stop.
    pub(super) async fn store(
        &self,
        lane: &Arc<Lane>,
        mut position: Position,
        mut waiting: Waiting,
    ) -> (Position, Outcome) {
        let mut pause = PAUSE_MIN;
        loop {
            if let Some(next) = position.next {
                waiting.skip(next);
            }
            let Some((first, last)) = waiting.ends() else {
                let next = position.next.unwrap_or_default();
                return (position, Outcome::Stored { next });
            };
            let Some((kept, answer)) = self.offer(lane, position, waiting).await else {
                // They are gone from memory: read again.
                let outcome = if self.wait(&mut pause).await {
                    Outcome::Back { to: first }
                } else {
                    Outcome::GivenUp
                };
                return (position, outcome);
            };
            waiting = kept;
            let next = match answer {
                Ok(next) if next == last + 1 => {
                    position.next = Some(next);
                    return (position, Outcome::Stored { next });
                }
                // The queue is ahead of us, or behind.
                Ok(next) | Err(AppendError::Sequence { next }) => next,
                Err(AppendError::Fenced { current }) => {
                    position = Position { epoch: current, next: None };
                    continue;
                }
                Err(error) => {
                    if !matches!(error.kind(), Kind::Overloaded | Kind::Unavailable) {
                        tracing::error!(topic = lane.topic, %error, "messages are not taken");
                    }
                    if !self.wait(&mut pause).await {
                        return (position, Outcome::GivenUp);
                    }
                    continue;
                }
            };
            let Some(extent) = self.extent(lane).await else {
                if !self.wait(&mut pause).await {
                    return (position, Outcome::GivenUp);
                }
                continue;
            };
            if let Course::Back { to } = position.learn(next, first, extent) {
                return (position, Outcome::Back { to });
            }
        }
    }

    /// Offers messages once. Gives them back, and the first offset that the queue does not have.
    /// None when they could not be packed.
    async fn offer(
        &self,
        lane: &Arc<Lane>,
        position: Position,
        waiting: Waiting,
    ) -> Option<(Waiting, Result<u64, AppendError>)> {
        let (arrival, lane_of) = (self.state.0.clock.now(), lane.clone());
        let pack = move || {
            let packed = waiting.pack(&lane_of, position, arrival);
            (waiting, packed)
        };
        let (waiting, packed) = tokio::task::spawn_blocking(pack).await.ok()?;
        let (batches, poisoned) = match packed {
            Ok(packed) => packed,
            Err(error) => {
                tracing::error!(topic = lane.topic, %error, "messages fit no batch");
                return Some((waiting, Err(AppendError::Unsure)));
            }
        };
        let Some(target) = self.state.0.partitions.of(lane.stream) else {
            return Some((waiting, Err(AppendError::Stopping)));
        };
        let checked = batches.into_iter().map(|(head, bytes)| Checked::new(&head, bytes)).collect();
        let answer = target.append(checked).await;
        if let Err(error) = &answer {
            // Counted and named as at every door.
            drop(self.state.refuse(error));
        }
        let taken = match answer {
            Ok(taken) => taken,
            Err(error) => return Some((waiting, Err(error))),
        };
        let count = taken.iter().map(|batch| u64::from(batch.record_count)).sum();
        self.state.0.metrics.came_through(DOOR, count);
        if taken.iter().any(|batch| !batch.duplicate) {
            self.state.0.metrics.poisoned.inc_by(poisoned);
        }
        let next = taken.last().map_or(Err(AppendError::Unsure), |batch| Ok(batch.next));
        Some((waiting, next))
    }

    /// What the broker has of a partition.
    async fn extent(&self, lane: &Arc<Lane>) -> Option<Extent> {
        let (consumer, lane) = (self.consumer.clone(), lane.clone());
        let ask = move || consumer.fetch_watermarks(&lane.topic, lane.partition, ANSWER_TIME_MAX);
        let (low, high) = match tokio::task::spawn_blocking(ask).await.ok()? {
            Ok(extent) => extent,
            Err(error) => {
                tracing::debug!(%error, "the broker does not say what it has");
                return None;
            }
        };
        Some(Extent { low: u64::try_from(low).ok()?, high: u64::try_from(high).ok()? })
    }

    /// Waits, longer each time. False when we shall stop.
    async fn wait(&self, pause: &mut Duration) -> bool {
        tokio::select! {
            () = self.state.0.clock.sleep(*pause) => {}
            () = self.shutdown.wait() => return false,
        }
        *pause = (*pause * 2).min(PAUSE_MAX);
        true
    }
}
