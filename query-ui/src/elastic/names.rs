//! Names: of fields as clients know them and as we do, of indexes, and patterns of both.

use std::collections::BTreeSet;

use cluster::aliases::Aliases;
use model::json::{LEVEL_NAMES, MESSAGE_NAMES, TIME_NAMES};

use super::refusal::Refusal;

/// Names of documents' own fields that are taken by what every record has, and where these fields are
/// kept ([`model::stream::RESERVED`]). What the record has is asked as `_id` and `_index`.
const KEPT: [(&str, &str); 4] = [
    ("id", "fields.id"),
    ("index", "fields.index"),
    ("partition", "fields.partition"),
    ("offset", "fields.offset"),
];

/// A field by our name. `@timestamp`, `_id`, `_index` and `name.keyword` are other names.
pub(super) fn field(name: &str) -> Result<String, Refusal> {
    Ok(match name {
        "@timestamp" | "timestamp" => "timestamp".to_owned(),
        "event.ingested" | "ingest_time" => "ingest_time".to_owned(),
        "_id" => "id".to_owned(),
        "_index" => "index".to_owned(),
        // Nothing has such a name: an answer without hits would be a wrong one.
        name if name.contains('*') => {
            let reason = format!("field [{name}] is a pattern, which is not supported here");
            return Err(Refusal::argument(reason));
        }
        name => {
            let bare = name.strip_suffix(".keyword").unwrap_or(name);
            let kept = KEPT.iter().find(|(own, _)| *own == bare);
            kept.map_or(bare, |&(_, kept)| kept).to_owned()
        }
    })
}

/// What a record has of its own by our name, where `name` is one that documents give it: there it was
/// taken out of the fields.
pub(super) fn taken(name: &str) -> Option<&'static str> {
    let bare = name.strip_suffix(".keyword").unwrap_or(name);
    let ours = [
        (&TIME_NAMES[..], "timestamp"),
        (&MESSAGE_NAMES[..], "message"),
        (&LEVEL_NAMES[..], "level"),
    ];
    // These stand for what records have, and for nothing else.
    if ["@timestamp", "timestamp", "message", "level"].contains(&bare) {
        return None;
    }
    ours.into_iter().find(|(names, _)| names.contains(&bare)).map(|(_, own)| own)
}

/// The message as one value, where a query asks for whole values.
pub(super) const WHOLE_MESSAGE: &str = "message.keyword";

/// A field that a query asks, by our name.
pub(super) fn queried(name: &str) -> Result<String, Refusal> {
    if name == WHOLE_MESSAGE { Ok(name.to_owned()) } else { field(name) }
}

/// Whether a field of ours holds times.
pub(super) fn is_time(field: &str) -> bool {
    matches!(field, "timestamp" | "ingest_time")
}

/// The name under which a client knows what we call so.
pub(super) fn shown(name: &str) -> &str {
    match name {
        "timestamp" => "@timestamp",
        "ingest_time" => "event.ingested",
        "id" => "_id",
        "index" => "_index",
        name => of_document(name),
    }
}

/// The name that a field has in its document.
pub(super) fn of_document(name: &str) -> &str {
    KEPT.iter().find(|(_, kept)| *kept == name).map_or(name, |&(own, _)| own)
}

/// Whether a name matches a pattern with stars.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut pieces = rest.split('*').peekable();
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return left.ends_with(piece);
        }
        let Some(at) = left.find(piece) else { return false };
        left = left.get(at + piece.len()..).unwrap_or_default();
    }
    true
}

/// The names that there are.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) indexes: BTreeSet<String>,
    pub(super) aliases: Aliases,
}

/// What an expression may name that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Absent {
    /// Indexes (`ignore_unavailable`).
    pub(super) named: bool,
    /// Patterns that nothing matches must not be (`allow_no_indices=false`).
    pub(super) no_pattern: bool,
}

impl Known {
    /// What a name or pattern stands for.
    fn matching<'a>(&'a self, part: &'a str) -> BTreeSet<&'a str> {
        let fits = |name: &str| part == "_all" || matches(part, name);
        let own = self.indexes.iter().map(String::as_str).filter(|name| fits(name));
        let aliases = self.aliases.names().filter(|name| fits(name));
        let members = aliases.flat_map(|name| self.aliases.indexes(name));
        // What an alias names may have no record any more, or not yet.
        own.chain(members).filter(|name| self.indexes.contains(*name)).collect()
    }
}

/// The indexes of an expression such as `a,b*,-bad`; `None` is all of them.
pub(super) fn indexes(
    expression: &str,
    known: &Known,
    absent: Absent,
) -> Result<Option<Vec<String>>, Refusal> {
    let expression = expression.trim();
    if matches!(expression, "" | "_all" | "*") {
        return match absent.no_pattern && known.indexes.is_empty() {
            true => Err(Refusal::no_index("_all")),
            false => Ok(None),
        };
    }
    let mut found: BTreeSet<&str> = BTreeSet::new();
    for (at, part) in
        expression.split(',').map(str::trim).filter(|part| !part.is_empty()).enumerate()
    {
        if let Some(pattern) = part.strip_prefix('-').filter(|_| at > 0) {
            found.retain(|name| !matches(pattern, name));
            continue;
        }
        let named = known.matching(part);
        let is_pattern = part == "_all" || part.contains('*');
        let may_be_absent = match is_pattern {
            true => !absent.no_pattern,
            false => absent.named || !known.aliases.indexes(part).is_empty(),
        };
        if named.is_empty() && !may_be_absent {
            return Err(Refusal::no_index(part));
        }
        found.extend(named);
    }
    Ok(Some(found.into_iter().map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, name, expected) in [
            ("logs-*", "logs-app", true),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("*app", "logs-app", true),
            ("logs", "logs-app", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_documents_own_names_are_told_from_those_of_its_record() {
        for (name, ours) in [
            ("_id", "id"),
            ("_index", "index"),
            ("id", "fields.id"),
            ("index.keyword", "fields.index"),
            ("offset", "fields.offset"),
            ("id.part", "id.part"),
            ("status.keyword", "status"),
        ] {
            assert_eq!(field(name).as_deref(), Ok(ours), "{name}");
            assert_eq!(shown(ours), name.trim_end_matches(".keyword"), "{name}");
        }
        // They are those that labels and fields may not take.
        let reserved = |(own, kept): &(&str, &str)| {
            model::stream::RESERVED.contains(own) && *kept == format!("fields.{own}")
        };
        assert!(KEPT.iter().all(reserved));
    }

    #[test]
    fn expressions_name_indexes() {
        let indexes_known = ["main", "logs-a", "logs-b"].map(str::to_owned).into();
        let known = Known { indexes: indexes_known, ..Known::default() };
        let strict = Absent::default();
        let names =
            |expression: &str| indexes(expression, &known, strict).map(Option::unwrap_or_default);
        assert_eq!(indexes("_all", &known, strict), Ok(None));
        assert_eq!(names("main,logs-*"), Ok(vec!["logs-a".into(), "logs-b".into(), "main".into()]));
        assert_eq!(names("logs-*,-*b"), Ok(vec!["logs-a".to_owned()]));
        assert_eq!(names("none*"), Ok(Vec::new()));
        assert_eq!(names("none"), Err(Refusal::no_index("none")));
        assert_eq!(indexes("none", &known, Absent { named: true, ..strict }), Ok(Some(Vec::new())));
        let no_pattern = Absent { no_pattern: true, ..strict };
        assert_eq!(indexes("none*", &known, no_pattern), Err(Refusal::no_index("none*")));
        assert_eq!(indexes("_all", &Known::default(), no_pattern), Err(Refusal::no_index("_all")));
    }
}
