//! What changes the catalog: commands, their answers, and why one was refused. On one node a
//! command is carried out at once; in a cluster it goes through the metadata group and every node
//! carries it out in the same order.

use model::deletion::Deletion;
use model::node::{Health, NodeId, NodeInfo, Placement, Roles};
use model::partition::{Offset, PartitionId};
use model::split::{SplitId, SplitMeta};
use model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::estate::Estate;
use super::written::PROTOCOL_FIRST;

/// The version since which objects are swept up to a moment that the catalog knows, and copies are
/// given up where enough others keep them.
const PROTOCOL_SWEEPS: u32 = 2;
/// The version since which partitions are added so that producers stay where they are known.
const PROTOCOL_RAISES: u32 = 3;
/// The version since which the log is opened by a command of its own ([`Command::Open`]).
pub(crate) const PROTOCOL_OPENS: u32 = 4;
/// The version since which searches can have whole numbers that floats confuse.
const PROTOCOL_WHOLE_NUMBERS: u32 = 4;
/// The version since which columns of fields have types of their own in the bodies of splits.
pub const PROTOCOL_TYPES: u32 = 5;

/// A partition's records `from..to` became these splits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Publication {
    /// The partition.
    pub partition: PartitionId,
    /// Its indexed offset until now.
    pub from: Offset,
    /// Its indexed offset from now on.
    pub to: Offset,
    /// The splits that hold the records; none when there was nothing to keep.
    pub add: Vec<SplitMeta>,
}

/// The lease under which a command is given. When it was granted anew meanwhile the command is
/// refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// The lease's name.
    pub lease: String,
    /// Its token.
    pub token: u64,
}

/// A change, all of it or nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Adds splits and moves the partition's indexed offset.
    Publish(Publication),
    /// Puts splits in the place of others; with nothing to add it removes.
    Replace {
        /// Which go.
        remove: Vec<SplitId>,
        /// Which come.
        add: Vec<SplitMeta>,
    },
    /// A node keeps the objects of these splits now.
    Copied {
        /// Which splits.
        splits: Vec<SplitId>,
        /// Who.
        node: NodeId,
    },
    /// A node does not keep the objects of these splits any more; of each only where so many others
    /// that are up keep it.
    Dropped {
        /// Which splits.
        splits: Vec<SplitId>,
        /// Who.
        node: NodeId,
        /// How many others there must be.
        #[serde(default, skip_serializing_if = "is_none")]
        least: usize,
    },
    /// Splits that were begun before this moment and are not known by now are refused from now on, so
    /// that their objects may be swept. It never goes back: an earlier one changes nothing.
    SweepBefore(Timestamp),
    /// Begins a deletion; its number is set.
    BeginDeletion(Deletion),
    /// Says how far a deletion is.
    ProgressDeletion {
        /// Which one.
        number: u64,
        /// Records that went.
        deleted: u64,
        /// When all were gone.
        done: Option<Timestamp>,
    },
    /// Stores a document.
    PutDocument {
        /// Its family.
        kind: String,
        /// Its name.
        name: String,
        /// What is in it, JSON.
        value: String,
    },
    /// Removes a document.
    RemoveDocument {
        /// Its family.
        kind: String,
        /// Its name.
        name: String,
    },
    /// Remembers a fact.
    Remember {
        /// Its name.
        name: String,
        /// The fact.
        fact: String,
    },
    /// Wants so many partitions; not more than there are by now changes nothing. Batches are spread over
    /// all of them when all have begun.
    Raise {
        /// How many.
        partitions: u32,
    },
    /// From here on it takes this version of the nodes' protocol to read what is decided, in the metadata and
    /// in the partitions' logs. Refused when a node speaks an earlier one.
    Open {
        /// The version.
        protocol: u32,
    },
    /// Begins the cluster: its id. Once only.
    Found {
        /// The id that refuses strangers.
        cluster: String,
    },
    /// Takes over what the founder had before, as far as it is not known.
    Adopt(Estate),
    /// A node comes, or comes back: it gets its next epoch.
    Register(Joining),
    /// A node is in another state. Refused when it has lived anew meanwhile.
    SetHealth {
        /// Which node.
        node: NodeId,
        /// Which of its lives is meant.
        epoch: u64,
        /// The state.
        health: Health,
        /// Since when, nanoseconds UTC.
        since: i64,
    },
    /// Forgets a node.
    Forget(NodeId),
    /// Who keeps a partition. Refused when others were wanted meanwhile.
    Place {
        /// Which partition.
        partition: PartitionId,
        /// What was wanted until now.
        before: Option<Placement>,
        /// What is wanted.
        placement: Placement,
    },
    /// Grants a lease. Refused when it is another's than was thought.
    Grant {
        /// Its name.
        lease: String,
        /// Its token until now; 0 when nobody had it.
        before: u64,
        /// Who gets it.
        node: NodeId,
    },
}

impl Command {
    /// The version of the nodes' protocol that it takes to carry it out. What is new, a command or a
    /// field of one, takes a version that is new with it: it is not proposed before all nodes speak
    /// that.
    #[must_use]
    pub fn protocol(&self) -> u32 {
        let has_whole = |deletion: &Deletion| deletion.filter.has_whole();
        let are_typed = |splits: &[SplitMeta]| splits.iter().any(|split| split.typed);
        match self {
            Self::Publish(Publication { add, .. }) | Self::Replace { add, .. }
                if are_typed(add) =>
            {
                PROTOCOL_TYPES
            }
            Self::Adopt(estate) if are_typed(&estate.splits) => PROTOCOL_TYPES,
            Self::BeginDeletion(deletion) if has_whole(deletion) => PROTOCOL_WHOLE_NUMBERS,
            Self::Adopt(estate) if estate.deletions.iter().any(has_whole) => PROTOCOL_WHOLE_NUMBERS,
            Self::Publish(_)
            | Self::Replace { .. }
            | Self::Copied { .. }
            | Self::Dropped { least: 0, .. }
            | Self::BeginDeletion(_)
            | Self::ProgressDeletion { .. }
            | Self::PutDocument { .. }
            | Self::RemoveDocument { .. }
            | Self::Remember { .. }
            | Self::Found { .. }
            | Self::Adopt(_)
            | Self::Register(_)
            | Self::SetHealth { .. }
            | Self::Forget(_)
            | Self::Place { .. }
            | Self::Grant { .. } => PROTOCOL_FIRST,
            Self::Dropped { .. } | Self::SweepBefore(_) => PROTOCOL_SWEEPS,
            Self::Raise { .. } => PROTOCOL_RAISES,
            Self::Open { protocol } => PROTOCOL_OPENS.max(*protocol),
        }
    }
}

fn is_none(number: &usize) -> bool {
    *number == 0
}

/// A node that comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// Which node.
    pub id: NodeId,
    /// Where other nodes reach it.
    pub address: String,
    /// Where clients reach it.
    pub http: String,
    /// What it does.
    pub roles: Roles,
    /// Version of its program.
    pub version: String,
    /// Version of what nodes say to each other.
    pub protocol: u32,
    /// When, nanoseconds UTC, by the clock of who leads.
    pub at: i64,
}

impl Joining {
    /// As the cluster knows it.
    pub(super) fn known(self, epoch: u64) -> NodeInfo {
        let Self { id, address, http, roles, version, protocol, at: since } = self;
        let health = Health::Up;
        NodeInfo { id, address, http, roles, version, protocol, epoch, health, since }
    }
}

/// A command and the lease under which it is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// What to do.
    pub command: Command,
    /// Under which lease.
    pub fence: Option<Fence>,
}

impl From<Command> for Order {
    fn from(command: Command) -> Self {
        Self { command, fence: None }
    }
}

/// What a command did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is done, and this came of it: a number, a token, an epoch.
    Number(u64),
    /// Whether there was anything to do.
    Was(bool),
}

impl Answer {
    /// The number that came of it.
    #[must_use]
    pub fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Done | Self::Was(_) => 0,
        }
    }
}

/// Why a command was not carried out; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Somebody else published; what was built is to be thrown away.
    #[error("partition {partition} is published up to {current}, not {expected}")]
    Moved {
        /// The partition.
        partition: PartitionId,
        /// Where it is.
        current: Offset,
        /// Where it was thought to be.
        expected: Offset,
    },
    /// A split to be replaced is gone; what was built is to be thrown away.
    #[error("split {0} is not in the catalog any more")]
    Gone(SplitId),
    /// It was begun so long ago that its objects may be swept; it is to be built anew.
    #[error("split {split} was begun before {before}: what was not known of that time is swept")]
    Swept {
        /// Which split.
        split: SplitId,
        /// The moment.
        before: Timestamp,
    },
    /// The lease was granted anew; who had it is to stop.
    #[error("the lease {lease} has token {current} now: somebody else has it")]
    Fenced {
        /// Which lease.
        lease: String,
        /// Its token.
        current: u64,
    },
    /// What was to be changed has changed meanwhile.
    #[error("{what} has changed meanwhile: look again")]
    Changed {
        /// What.
        what: String,
    },
    /// The node belongs to another cluster, or speaks another language.
    #[error("{why}")]
    Stranger {
        /// Why.
        why: String,
    },
    /// Not every node could read it.
    #[error(
        "node {node} speaks version {has} of the nodes' protocol, and this takes version {needed}: start every node with the newest program first, and take out those that do not come back: `sawlog cluster remove {node}`"
    )]
    Early {
        /// A node of an earlier version.
        node: NodeId,
        /// Its version.
        has: u32,
        /// The version that it takes.
        needed: u32,
    },
    /// It cannot be read: a neighbour of another version gave it.
    #[error("a command that this version does not know")]
    Unknown,
}

/// What a command that was carried out changed: told to who subscribed, in order, after it is
/// visible.
#[derive(Debug, Clone)]
pub enum Change {
    /// Splits came and an indexed offset moved.
    Published(Publication),
    /// Splits went and came.
    Replaced {
        /// Which went.
        remove: Vec<SplitId>,
        /// Which came.
        add: Vec<SplitMeta>,
    },
    /// What is known of some splits is another: who keeps them.
    Copies(Vec<SplitMeta>),
    /// A deletion began or went on.
    Deletion(Box<Deletion>),
    /// Nodes, placements or leases.
    Topology,
    /// Everything may be another: a snapshot was installed.
    All,
}
