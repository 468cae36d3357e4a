//! Which type a field has in the records of one query.

use std::collections::{BTreeMap, BTreeSet};

use index::searcher::Unit;
use model::record::FieldType;
use model::split::FieldStat;

use super::scan::Scanner;

/// Units whose fields are looked at amid planning.
const FEW: usize = 64;

/// The types found, by field; labels are text.
pub(super) type Types = BTreeMap<String, BTreeSet<FieldType>>;

/// Looks the types of some fields up. What cannot be told is noted as missing; splits stay, since
/// other copies of them may be read, all else is left out from here on. Blocks.
pub(super) fn look_up(
    scanner: &Scanner,
    units: &mut Vec<Unit>,
    is_wanted: impl Fn(&str) -> bool,
) -> Types {
    let mut types = Types::new();
    let _core = scanner.cores.take();
    units.retain(|unit| {
        if scanner.is_stopped() {
            return true;
        }
        let Some(stats) = scanner.fields(unit) else { return matches!(unit, Unit::Split(_)) };
        take(&mut types, &stats, &is_wanted);
        true
    });
    types
}

/// The same of few units, where all that is to be known of them is in memory: nobody is waited for.
pub(super) fn at_hand(
    scanner: &Scanner,
    units: &[Unit],
    is_wanted: impl Fn(&str) -> bool,
) -> Option<Types> {
    if units.len() > FEW {
        return None;
    }
    let mut types = Types::new();
    for unit in units {
        take(&mut types, &scanner.searcher.fields_at_hand(unit)?, &is_wanted);
    }
    Some(types)
}

/// Adds the types of those fields of a unit that are wanted.
fn take(types: &mut Types, stats: &[FieldStat], is_wanted: &impl Fn(&str) -> bool) {
    for stat in stats.iter().filter(|stat| stat.count > 0 && is_wanted(&stat.name)) {
        if let Some(kinds) = types.get_mut(&stat.name) {
            kinds.insert(stat.kind);
        } else {
            types.insert(stat.name.clone(), BTreeSet::from([stat.kind]));
        }
    }
}

/// The one type in which all of a field's values are seen: its own if it has but one, numbers as
/// floats, any other mixture as text.
pub(super) fn resolve(types: &Types, name: &str) -> FieldType {
    let Some(types) = types.get(name) else { return FieldType::Text };
    let mut kinds = types.iter().copied();
    match (kinds.next(), kinds.next(), kinds.next()) {
        (Some(only), None, _) => only,
        (Some(FieldType::Int), Some(FieldType::Float), None) => FieldType::Float,
        _ => FieldType::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &[FieldType], expected: FieldType) {
        let types = Types::from([("f".to_owned(), given.iter().copied().collect())]);
        assert_eq!(resolve(&types, "f"), expected, "{given:?}");
    }

    #[test]
    fn mixed_numbers_are_floats_and_other_mixtures_text() {
        check(&[], FieldType::Text);
        check(&[FieldType::Bool], FieldType::Bool);
        check(&[FieldType::Int, FieldType::Float], FieldType::Float);
        check(&[FieldType::Int, FieldType::Text], FieldType::Text);
        check(&[FieldType::Int, FieldType::Float, FieldType::Text], FieldType::Text);
    }
}
