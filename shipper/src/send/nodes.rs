//! Which node is asked next: healthy ones by the balance set, failed ones seldom and by one
//! sender at a time.

use std::time::Duration;

use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Pause after the first failure of a node; doubles with each one.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause of our own choice.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longest pause a server may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Who waits for another's try of a failed node looks again after that, if not woken.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// How batches are shared out among several nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// A file's batches go to one node while it lives (rendezvous hashing): few move when one
    /// fails or is added.
    #[default]
    Sticky,
    /// Each batch to the next node.
    RoundRobin,
    /// Each batch to the node with the fewest requests of ours under way.
    LeastOutstanding,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Ask this node.
    Ask(usize),
    /// All have failed: come back then.
    Wait(Duration),
}

#[derive(Debug, Clone, Default)]
struct Node {
    failures: u32,
    /// Not asked before that time of the clock.
    not_before: Duration,
    outstanding: u32,
}

/// What all senders know of the nodes together.
#[derive(Debug)]
pub(super) struct Nodes {
    balance: Balance,
    nodes: Vec<Node>,
    turn: usize,
}

impl Nodes {
    pub(super) fn new(count: usize, balance: Balance) -> Self {
        Self { balance, nodes: vec![Node::default(); count], turn: 0 }
    }

    /// Chooses a node for a batch of that key, and counts the request. Healthy nodes go first;
    /// a failed one is tried after its pause, by one sender, so that it costs the others nothing.
    pub(super) fn choose(&mut self, key: u64, now: Duration) -> Choice {
        self.turn = self.turn.wrapping_add(1);
        let all = self.nodes.iter().enumerate();
        // A failed node whose pause is over is tried before the healthy: else it stays failed.
        let probe = all.clone().filter(|(_, node)| {
            node.failures > 0 && node.outstanding == 0 && node.not_before <= now
        });
        let healthy = all.clone().filter(|(_, node)| node.failures == 0);
        let chosen = probe.map(|(at, _)| at).next().or_else(|| {
            let rank = |(at, node): &(usize, &Node)| self.rank(key, *at, node);
            healthy.min_by_key(rank).map(|(at, _)| at)
        });
        if let Some(at) = chosen
            && let Some(node) = self.nodes.get_mut(at)
        {
            node.outstanding += 1;
            return Choice::Ask(at);
        }
        let wait = self.nodes.iter().map(|node| match node.outstanding {
            0 => node.not_before.saturating_sub(now),
            _ => PROBE_WAIT,
        });
        Choice::Wait(wait.min().unwrap_or(PROBE_WAIT))
    }

    /// The lowest is asked.
    fn rank(&self, key: u64, at: usize, node: &Node) -> (u64, u64) {
        let count = self.nodes.len().max(1);
        let in_turn = (at + count - self.turn % count) % count;
        match self.balance {
            Balance::Sticky => (xxh3_64_with_seed(&(at as u64).to_le_bytes(), key), 0),
            Balance::RoundRobin => (in_turn as u64, 0),
            Balance::LeastOutstanding => (u64::from(node.outstanding), in_turn as u64),
        }
    }

    /// Where all have failed, the one that is tried first, unless it asked to be left alone for longer.
    pub(super) fn first_due(&self, now: Duration) -> Option<usize> {
        let all = self.nodes.iter().enumerate();
        let soon = all.filter(|(_, node)| node.not_before <= now + PAUSE_MAX * 5 / 4);
        soon.min_by_key(|(_, node)| node.not_before).map(|(at, _)| at)
    }

    /// The request ended without an answer of the node, and tells nothing of it.
    pub(super) fn given_up(&mut self, at: usize) {
        if let Some(node) = self.nodes.get_mut(at) {
            node.outstanding = node.outstanding.saturating_sub(1);
        }
    }

    /// It answered.
    pub(super) fn succeeded(&mut self, at: usize) {
        if let Some(node) = self.nodes.get_mut(at) {
            *node = Node { outstanding: node.outstanding.saturating_sub(1), ..Node::default() };
        }
    }

    /// It did not, or asked to come back later. Whether that is news.
    pub(super) fn failed(
        &mut self,
        at: usize,
        retry_after: Option<Duration>,
        now: Duration,
    ) -> bool {
        let Some(node) = self.nodes.get_mut(at) else { return false };
        node.outstanding = node.outstanding.saturating_sub(1);
        let first = node.failures == 0;
        // Requests that were under way together fail together: that is one failure.
        if first || node.not_before <= now {
            node.failures = node.failures.saturating_add(1);
        }
        let own = PAUSE_MIN.saturating_mul(1 << (node.failures - 1).min(10)).min(PAUSE_MAX);
        // Who asks for no pause gets one: else it would be asked again and again.
        let pause = retry_after.map_or(own, |asked| asked.clamp(PAUSE_MIN, RETRY_AFTER_MAX));
        node.not_before = node.not_before.max(now + jittered(pause));
        first
    }
}

/// The pause, up to a quarter longer, so that shippers do not come back all at once.
fn jittered(pause: Duration) -> Duration {
    let share = u32::try_from(platform::random::u64() % 250).unwrap_or(0);
    pause + pause * share / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn asked(nodes: &mut Nodes, key: u64, now: Duration) -> usize {
        match nodes.choose(key, now) {
            Choice::Ask(at) => at,
            Choice::Wait(pause) => panic!("waits {pause:?}"),
        }
    }

    #[test]
    fn a_file_stays_with_its_node_and_only_those_of_a_dead_one_move() {
        let mut nodes = Nodes::new(3, Balance::Sticky);
        let before: Vec<usize> = (0..300).map(|key| asked(&mut nodes, key, NOW)).collect();
        for at in 0..3 {
            let share = before.iter().filter(|it| **it == at).count();
            assert!((60..140).contains(&share), "{share} of 300");
        }
        nodes.failed(1, None, NOW);
        let after: Vec<usize> = (0..300).map(|key| asked(&mut nodes, key, NOW)).collect();
        for (before, after) in before.iter().zip(&after) {
            assert!(if *before == 1 { *after != 1 } else { before == after });
        }
    }

    #[test]
    fn turns_and_the_least_busy() {
        let mut nodes = Nodes::new(3, Balance::RoundRobin);
        let first: Vec<usize> = (0..6).map(|_| asked(&mut nodes, 0, NOW)).collect();
        assert_eq!(first[..3], first[3..]);
        assert_eq!(first.iter().filter(|at| **at == 0).count(), 2);
        let mut nodes = Nodes::new(2, Balance::LeastOutstanding);
        let (one, other) = (asked(&mut nodes, 0, NOW), asked(&mut nodes, 0, NOW));
        assert_ne!(one, other);
        nodes.succeeded(other);
        assert_eq!(asked(&mut nodes, 0, NOW), other);
    }

    #[test]
    fn a_failed_node_is_tried_by_one_after_its_pause_and_all_failed_are_waited_for() {
        let mut nodes = Nodes::new(1, Balance::Sticky);
        assert_eq!(asked(&mut nodes, 0, NOW), 0);
        assert!(nodes.failed(0, None, NOW));
        let Choice::Wait(pause) = nodes.choose(0, NOW) else { panic!("asks at once") };
        assert!(pause >= PAUSE_MIN && pause <= PAUSE_MIN * 5 / 4, "{pause:?}");
        let later = NOW + pause;
        assert_eq!(asked(&mut nodes, 0, later), 0);
        assert_eq!(nodes.choose(1, later), Choice::Wait(PROBE_WAIT));
        assert!(!nodes.failed(0, Some(Duration::from_secs(20)), later));
        let Choice::Wait(pause) = nodes.choose(0, later) else { panic!("asks at once") };
        assert!((20..=25).contains(&pause.as_secs()), "{pause:?}");
        assert_eq!(nodes.first_due(later), None);
        let later = later + pause;
        assert_eq!((asked(&mut nodes, 0, later), nodes.first_due(later)), (0, Some(0)));
        assert!(!nodes.failed(0, Some(Duration::ZERO), later));
        let Choice::Wait(pause) = nodes.choose(0, later) else { panic!("asks at once") };
        assert!(pause >= PAUSE_MIN && pause <= PAUSE_MIN * 5 / 4, "{pause:?}");
        let later = later + pause;
        assert_eq!(asked(&mut nodes, 0, later), 0);
        nodes.succeeded(0);
        assert_eq!([asked(&mut nodes, 0, later), asked(&mut nodes, 1, later)], [0, 0]);
    }
}
