//! The functions of templates, by the names that Loki's have.

/// A function with how many values it takes, the one that is piped into it among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) least: usize,
    pub(super) most: usize,
}

/// Values that a function takes which takes any number of them.
const MANY: usize = 64;

const fn known(name: &'static str, least: usize, most: usize) -> Known {
    Known { name, least, most }
}

/// Every function.
const FUNCTIONS: [Known; 78] = [
    known("ToLower", 1, 1),
    known("ToUpper", 1, 1),
    known("Title", 1, 1),
    known("Replace", 4, 4),
    known("Trim", 2, 2),
    known("TrimLeft", 2, 2),
    known("TrimRight", 2, 2),
    known("TrimPrefix", 2, 2),
    known("TrimSuffix", 2, 2),
    known("TrimSpace", 1, 1),
    known("lower", 1, 1),
    known("upper", 1, 1),
    known("title", 1, 1),
    known("replace", 3, 3),
    known("trim", 1, 1),
    known("trimAll", 2, 2),
    known("trimPrefix", 2, 2),
    known("trimSuffix", 2, 2),
    known("trunc", 2, 2),
    known("substr", 3, 3),
    known("alignLeft", 2, 2),
    known("alignRight", 2, 2),
    known("indent", 2, 2),
    known("nindent", 2, 2),
    known("repeat", 2, 2),
    known("urlencode", 1, 1),
    known("urldecode", 1, 1),
    known("b64enc", 1, 1),
    known("b64dec", 1, 1),
    known("regexReplaceAll", 3, 3),
    known("regexReplaceAllLiteral", 3, 3),
    known("count", 2, 2),
    known("contains", 2, 2),
    known("hasPrefix", 2, 2),
    known("hasSuffix", 2, 2),
    known("default", 2, 2),
    known("print", 1, MANY),
    known("printf", 1, MANY),
    known("len", 1, 1),
    known("eq", 2, MANY),
    known("ne", 2, 2),
    known("lt", 2, 2),
    known("le", 2, 2),
    known("gt", 2, 2),
    known("ge", 2, 2),
    known("and", 1, MANY),
    known("or", 1, MANY),
    known("not", 1, 1),
    known("int", 1, 1),
    known("float64", 1, 1),
    known("add", 1, MANY),
    known("sub", 2, 2),
    known("mul", 1, MANY),
    known("div", 2, 2),
    known("mod", 2, 2),
    known("max", 1, MANY),
    known("min", 1, MANY),
    known("addf", 1, MANY),
    known("subf", 1, MANY),
    known("mulf", 1, MANY),
    known("divf", 1, MANY),
    known("maxf", 1, MANY),
    known("minf", 1, MANY),
    known("ceil", 1, 1),
    known("floor", 1, 1),
    known("round", 2, 2),
    known("bytes", 1, 1),
    known("duration", 1, 1),
    known("duration_seconds", 1, 1),
    known("date", 2, 2),
    known("unixEpoch", 1, 1),
    known("unixEpochMillis", 1, 1),
    known("unixEpochNanos", 1, 1),
    known("unixToTime", 1, 1),
    known("toDate", 2, 2),
    known("toDateInZone", 3, 3),
    known("fromJson", 1, 1),
    known("index", 1, MANY),
];

/// The function of a name.
pub(super) fn find(name: &str) -> Option<Known> {
    FUNCTIONS.iter().find(|known| known.name == name).copied()
}

/// Whether its first value is a regular expression.
pub(super) fn wants_regex(name: &str) -> bool {
    matches!(name, "regexReplaceAll" | "regexReplaceAllLiteral" | "count")
}
