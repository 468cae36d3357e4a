//! The labels that the stages of a query name.

use std::collections::BTreeSet;

use super::ast::{Piece, Stage, Tests};
use crate::language::Extraction;
use crate::language::template::Name;

/// Those that stages ask for, write or take away.
pub(super) fn named(stages: &[Stage]) -> BTreeSet<String> {
    let mut labels = asked(stages);
    for stage in stages {
        match stage {
            Stage::Members { labels: pairs, .. } => {
                labels.extend(pairs.iter().map(|(label, _)| label.clone()));
            }
            Stage::LabelFormat(formats) => {
                labels.extend(formats.iter().map(|(label, _)| label.clone()));
            }
            Stage::Drop(names) => labels.extend(names.iter().cloned()),
            Stage::Regexp(source) => labels.extend(Extraction::Regex(source.clone()).names()),
            Stage::Pattern(text) => labels.extend(Extraction::Pattern(text.clone()).names()),
            _ => {}
        }
    }
    labels
}

/// Those whose values stages ask for, or keep.
pub(super) fn asked(stages: &[Stage]) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    for stage in stages {
        match stage {
            Stage::Labels(tests) => of_tests(tests, &mut labels),
            Stage::LineFormat(pieces) => of_pieces(pieces, &mut labels),
            Stage::LabelFormat(formats) => {
                formats.iter().for_each(|(_, pieces)| of_pieces(pieces, &mut labels));
            }
            Stage::Keep(names) => labels.extend(names.iter().cloned()),
            _ => {}
        }
    }
    labels
}

fn of_tests(tests: &Tests, labels: &mut BTreeSet<String>) {
    match tests {
        Tests::One(test) => {
            labels.insert(test.name.clone());
        }
        Tests::And(a, b) | Tests::Or(a, b) => {
            of_tests(a, labels);
            of_tests(b, labels);
        }
    }
}

fn of_pieces(pieces: &[Piece], labels: &mut BTreeSet<String>) {
    for piece in pieces {
        match piece {
            Piece::Text(_) | Piece::Line => {}
            Piece::Label(label) => {
                labels.insert(label.clone());
            }
            Piece::Filled { names, .. } => {
                labels.extend(names.iter().filter_map(|name| match name {
                    Name::Label(label) => Some(label.clone()),
                    Name::Line | Name::Time => None,
                }));
            }
        }
    }
}
