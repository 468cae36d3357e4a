//! What is told at the end: faults with how long they lasted for clients, and what was counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Fault, Past, Scene};
use crate::load::{Gap, Tally};
use crate::measure::quantile;

impl Scene {
    /// The report of a run in which all was found.
    pub(super) fn told(&self, tally: &Tally, lines: u64) -> String {
        let mode = if self.settings.shared { "a store that all share" } else { "copies" };
        let mut text = format!(
            "\n{} faults, splits in {mode}:\n\n| what happened | times | longest gap of a client, s: p50 | worst | until all was settled again, s: p50 | worst |\n|---|---|---|---|---|---|\n",
            self.past.len()
        );
        let mut kinds: BTreeMap<Fault, Vec<&Past>> = BTreeMap::new();
        for past in &self.past {
            kinds.entry(past.fault).or_default().push(past);
        }
        for (fault, all) in kinds {
            text.push_str(&row(fault, &all, tally));
        }
        text.push_str(&self.counted(tally, lines));
        text
    }

    fn counted(&self, tally: &Tally, lines: u64) -> String {
        let gaps = sorted(tally.gaps.iter().map(Gap::seconds));
        let gap = |share| if gaps.is_empty() { 0.0 } else { quantile(&gaps, share) };
        let total = tally.total();
        let mut text = format!(
            "\nby clients: {total} records acknowledged; found once at each of {} nodes: {total}; twice: 0; missing: 0\n",
            self.members.len()
        );
        let counts = writeln!(
            text,
            "by the shipper: {lines} lines written; found once at each node: {lines}\ngap between a client's acknowledgements: p50 {:.3} s, p99 {:.3} s, longest {:.2} s; {} requests repeated after their acknowledgement and {} whose first answer was lost, all recognised; {} refusals, {} requests without an answer",
            gap(0.5),
            gap(0.99),
            gap(1.0),
            tally.again,
            tally.repeats,
            tally.refused,
            tally.unanswered
        );
        counts.expect("a text takes what is written");
        text
    }
}

fn row(fault: Fault, all: &[&Past], tally: &Tally) -> String {
    let gaps = sorted(all.iter().map(|past| tally.longest_gap_s(past.from, past.settled)));
    let healing = sorted(all.iter().map(|past| (past.settled - past.healed).as_secs_f64()));
    format!(
        "| {} | {} | {:.2} | {:.2} | {:.1} | {:.1} |\n",
        fault.words(),
        all.len(),
        quantile(&gaps, 0.5),
        quantile(&gaps, 1.0),
        quantile(&healing, 0.5),
        quantile(&healing, 1.0)
    )
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}
