//! What happens to nodes, and how it ends.

use super::{PARTITIONS, Scene};
use crate::chance::Chance;
use crate::disks::{flip, segments, swap_away};
use crate::power::Lost;

/// What a sync of a slow disk takes longer, milliseconds.
const SLOW_MS_MAX: u64 = 400;

/// What happens to a node, or to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL.
    Kill,
    /// All lose power: what was not synced is gone.
    PowerLoss,
    /// SIGSTOP.
    Pause,
    /// Nobody hears it, and it hears nobody.
    CutOff,
    /// It and another one do not hear each other.
    CutPair,
    /// It hears nobody.
    Deaf,
    /// Nobody hears it.
    Mute,
    /// Its syncs take long.
    Slow,
    /// It is killed, and a bit of its queue flips.
    Flip,
    /// It is killed, and its data directory is lost.
    Wipe,
    /// SIGTERM.
    Restart,
    /// A new node comes in.
    Join,
    /// It is drained, stopped and removed.
    Leave,
    /// It is killed and removed.
    Remove,
    /// The store that all share takes and gives nothing.
    StoreAway,
}

const FAULTS: [Fault; 18] = [
    Fault::Kill,
    Fault::Kill,
    Fault::Pause,
    Fault::Pause,
    Fault::CutOff,
    Fault::CutOff,
    Fault::CutPair,
    Fault::Deaf,
    Fault::Mute,
    Fault::Slow,
    Fault::Restart,
    Fault::PowerLoss,
    Fault::Flip,
    Fault::Wipe,
    Fault::Join,
    Fault::Leave,
    Fault::Remove,
    // Only where there is one.
    Fault::StoreAway,
];

/// What may happen to a second node meanwhile: nothing that takes a copy away or needs all nodes.
const BESIDE: [Fault; 5] = [Fault::Kill, Fault::Pause, Fault::Slow, Fault::Deaf, Fault::Restart];

/// One of all faults.
pub(super) fn draw(chance: &mut Chance, shared: bool) -> Fault {
    let possible = if shared { FAULTS.len() } else { FAULTS.len() - 1 };
    *chance.one_of(&FAULTS[..possible])
}

/// One of those that may come beside another one.
pub(super) fn draw_beside(chance: &mut Chance) -> Fault {
    *chance.one_of(&BESIDE)
}

impl Fault {
    /// It in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Kill => "one killed",
            Self::PowerLoss => "all lose power",
            Self::Pause => "one paused",
            Self::CutOff => "one cut off, both ways",
            Self::CutPair => "two cut off from each other",
            Self::Deaf => "one hears nothing",
            Self::Mute => "one says nothing",
            Self::Slow => "a slow disk",
            Self::Flip => "one killed, a bit of its queue flipped",
            Self::Wipe => "one killed and wiped",
            Self::Restart => "one stopped in order",
            Self::Join => "one more joins",
            Self::Leave => "one drained and removed",
            Self::Remove => "one killed and removed",
            Self::StoreAway => "the store is away",
        }
    }

    /// Whether another node may have a fault meanwhile: who leaves is left to all others.
    pub(super) fn bears_another(self) -> bool {
        !matches!(self, Self::PowerLoss | Self::Leave | Self::Remove)
    }
}

impl Scene {
    /// Begins what happens to a node.
    pub(super) fn begin(&mut self, fault: Fault, victim: usize) {
        let others: Vec<usize> =
            self.members.iter().copied().filter(|other| *other != victim).collect();
        match fault {
            Fault::Kill => self.cluster.kill(victim),
            Fault::PowerLoss => self.lose_power(),
            Fault::Pause => self.cluster.pause(victim),
            Fault::CutOff => others.iter().for_each(|other| self.cut(victim, *other)),
            Fault::CutPair => {
                let other = *self.chance.one_of(&others);
                self.cut(victim, other);
            }
            Fault::Deaf => others.iter().for_each(|other| self.links.cut(*other, victim)),
            Fault::Mute => others.iter().for_each(|other| self.links.cut(victim, *other)),
            Fault::Slow => self.disks.slow(victim, 1 + self.chance.below(SLOW_MS_MAX)),
            Fault::Flip => {
                self.cluster.kill(victim);
                let partition = self.chance.place(PARTITIONS);
                // With more nodes than replicas it may have none of this partition.
                if let Some(newest) = segments(&self.cluster, victim, partition).last() {
                    flip(newest, 0.5);
                }
            }
            Fault::Wipe => {
                self.cluster.kill(victim);
                self.cluster.wipe(victim);
            }
            Fault::Restart => self.cluster.stop(victim),
            Fault::Join => self.join(victim),
            Fault::Leave | Fault::Remove => self.send_off(fault, victim),
            Fault::StoreAway => swap_away(&self.store()),
        }
    }

    /// Ends it.
    pub(super) fn heal(&mut self, fault: Fault, victim: usize) {
        match fault {
            Fault::Kill | Fault::Flip | Fault::Wipe | Fault::Restart => self.cluster.begin(victim),
            Fault::PowerLoss => {
                self.members.iter().for_each(|number| self.cluster.begin(*number));
            }
            Fault::Pause => self.cluster.resume(victim),
            Fault::Slow => self.disks.quick(victim),
            Fault::CutOff | Fault::CutPair | Fault::Deaf | Fault::Mute => self.links.mend(),
            Fault::Join => self.joined(victim),
            Fault::Leave | Fault::Remove => self.leave(fault, victim),
            Fault::StoreAway => swap_away(&self.store()),
        }
    }

    /// Both ways.
    fn cut(&self, one: usize, other: usize) {
        self.links.cut(one, other);
        self.links.cut(other, one);
    }

    fn lose_power(&mut self) {
        self.cluster.kill_all();
        let mut lost = Lost::default();
        for number in &self.members {
            lost.add(self.power.lose(*number, &self.cluster.data(*number)));
        }
        let Lost { bytes, files } = lost;
        (self.settings.say)(&format!("         not synced: {bytes} bytes, {files} files"));
    }
}
