//! Queries as text: what is printed reads as the same query.

use std::fmt::{self, Display, Formatter, Write as _};

use model::number::FLOAT_EXACT;
use model::quantity;
use model::query::{Bound, FieldTest, Filter, Literal, TextMatch};

use super::ast::{
    Aggregate, Expr, Extraction, Format, Function, Group, Moment, Operator, Pipe, Query, TimeWords,
};

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let search = Search(&self.filter).to_string();
        match (&self.time, search.as_str()) {
            (None, _) => f.write_str(&search)?,
            (Some(time), "*") => write!(f, "{time}")?,
            (Some(time), _) if matches!(self.filter, Filter::Or(_)) => {
                write!(f, "{time} ({search})")?;
            }
            (Some(time), _) => write!(f, "{time} {search}")?,
        }
        self.pipes.iter().try_for_each(|pipe| write!(f, " | {pipe}"))
    }
}

impl Display for TimeWords {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (Some(Moment::Ago(nanos)), None) if nanos > 0 => write!(f, "last {}", Span(nanos)),
            (from, to) => {
                from.iter().try_for_each(|from| write!(f, "from {from}"))?;
                f.write_str(if from.is_some() && to.is_some() { " " } else { "" })?;
                to.iter().try_for_each(|to| write!(f, "to {to}"))
            }
        }
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(moment) => write!(f, "{moment}"),
            Self::Ago(0) => f.write_str("now"),
            Self::Ago(nanos) => write!(f, "-{}", Span(*nanos)),
        }
    }
}

/// Nanoseconds as a span of one unit.
struct Span(i64);

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, i64); 8] = [
            ("w", 604_800_000_000_000),
            ("d", 86_400_000_000_000),
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000),
            ("ms", 1_000_000),
            ("us", 1_000),
            ("ns", 1),
        ];
        let whole = UNITS.iter().find(|(_, scale)| self.0 % scale == 0);
        let (unit, scale) = whole.unwrap_or(&("ns", 1));
        write!(f, "{}{unit}", self.0 / scale)
    }
}

/// A search as text.
pub(crate) struct Search<'a>(pub(crate) &'a Filter);

impl Display for Search<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut Formatter<'_>, parts: &[Filter], by: &str| {
            for (at, part) in parts.iter().enumerate() {
                f.write_str(if at > 0 { by } else { "" })?;
                inner(f, part)?;
            }
            Ok(())
        };
        match self.0 {
            Filter::All => f.write_str("*"),
            Filter::And(parts) => joined(f, parts, " "),
            Filter::Or(parts) => joined(f, parts, " OR "),
            Filter::Not(part) => {
                f.write_str("NOT ")?;
                inner(f, part)
            }
            Filter::Text(text) => matched(f, text),
            Filter::Field { name, test } => {
                write!(f, "{}:", Name(name))?;
                match test {
                    FieldTest::Exists | FieldTest::ExistsBelow => f.write_str("*"),
                    FieldTest::Matches(text) => matched(f, text),
                    FieldTest::Between { from, to } => range(f, from, to),
                }
            }
        }
    }
}

/// A part of a search; joined ones in brackets.
fn inner(f: &mut Formatter<'_>, part: &Filter) -> fmt::Result {
    match part {
        Filter::And(_) | Filter::Or(_) => write!(f, "({})", Search(part)),
        _ => Search(part).fmt(f),
    }
}

fn matched(f: &mut Formatter<'_>, text: &TextMatch) -> fmt::Result {
    match text {
        TextMatch::Phrase(phrase) => quoted(f, phrase),
        TextMatch::Pattern { parts, open_start, open_end } => {
            f.write_str(if *open_start { "*" } else { "" })?;
            for (at, part) in parts.iter().enumerate() {
                f.write_str(if at > 0 { "*" } else { "" })?;
                pattern_part(f, part)?;
            }
            f.write_str(if *open_end { "*" } else { "" })
        }
        TextMatch::Cased(inner) => {
            f.write_str("=")?;
            matched(f, inner)
        }
        TextMatch::Regex(source) => regex(f, source),
        TextMatch::Network { address, prefix } => write!(f, "cidr({address}/{prefix})"),
    }
}

/// A part of a pattern: in quotes what cannot be escaped, as white space.
fn pattern_part(f: &mut Formatter<'_>, part: &str) -> fmt::Result {
    let cannot_be_escaped = |c: char| c.is_whitespace() || super::lex::name_of(c).is_some();
    if part.contains(cannot_be_escaped) {
        return quoted(f, part);
    }
    let mut before = None;
    part.chars().try_for_each(|c| {
        // Two dots would be read as a range.
        let is_range = before.replace(c) == Some('.') && c == '.';
        f.write_str(if is_range || needs_escape(c) { "\\" } else { "" })?;
        f.write_char(c)
    })
}

/// Whether a character of a word would be read as something else. Letters and digits cannot be
/// escaped.
fn needs_escape(c: char) -> bool {
    !c.is_alphanumeric() && !"._/@#%&,;+~$^".contains(c)
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            other => f.write_char(other)?,
        }
    }
    f.write_str("\"")
}

fn regex(f: &mut Formatter<'_>, source: &str) -> fmt::Result {
    let (source, flag) = source.strip_prefix("(?i)").map_or((source, ""), |rest| (rest, "i"));
    f.write_str("/")?;
    let mut escaped = false;
    for c in source.chars() {
        f.write_str(if c == '/' && !escaped { "\\" } else { "" })?;
        f.write_char(c)?;
        escaped = c == '\\' && !escaped;
    }
    write!(f, "/{flag}")
}

fn range(f: &mut Formatter<'_>, from: &Bound, to: &Bound) -> fmt::Result {
    let open = if matches!(from, Bound::Exclusive(_)) { "{" } else { "[" };
    let close = if matches!(to, Bound::Exclusive(_)) { "}" } else { "]" };
    f.write_str(open)?;
    bound(f, from)?;
    f.write_str(" TO ")?;
    bound(f, to)?;
    f.write_str(close)
}

fn bound(f: &mut Formatter<'_>, bound: &Bound) -> fmt::Result {
    match bound {
        Bound::Open => f.write_str("*"),
        Bound::Inclusive(literal) | Bound::Exclusive(literal) => match literal {
            // All its digits would be those of a whole number.
            Literal::Number(number) if number.abs() >= FLOAT_EXACT as f64 => {
                write!(f, "{number:e}")
            }
            Literal::Number(number) => write!(f, "{number}"),
            Literal::Whole(number) => write!(f, "{number}"),
            Literal::Text(text) | Literal::Time { text, .. } => quoted(f, text),
            Literal::Duration(nanos) => duration(f, *nanos),
            Literal::Size(bytes) => write!(f, "{bytes}B"),
        },
    }
}

/// A span in the greatest unit that gives the very number back.
fn duration(f: &mut Formatter<'_>, nanos: f64) -> fmt::Result {
    for (unit, scale) in [("h", 3.6e12), ("m", 6e10), ("s", 1e9), ("ms", 1e6), ("us", 1e3)] {
        let text = format!("{}{unit}", nanos / scale);
        if nanos.abs() >= scale && quantity::read_duration(&text) == Some(nanos) {
            return f.write_str(&text);
        }
    }
    write!(f, "{nanos}ns")
}

/// A field's or column's name, quoted where it must be.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const WORDS: [&str; 12] =
            ["and", "or", "not", "is", "in", "true", "false", "null", "by", "as", "bin", "cidr"];
        let plain = matches!(super::lex::name(self.0), Ok(("", _)));
        let lower = self.0.to_ascii_lowercase();
        // What stands alone in some places and is a word of the language.
        let word = WORDS.contains(&lower.as_str())
            || ["asc", "desc", "from", "inner", "left", "on", "where", "auto"]
                .contains(&lower.as_str());
        if plain && !word {
            f.write_str(self.0)
        } else {
            write!(f, "`{}`", self.0.replace('`', "``"))
        }
    }
}

/// Things with commas between.
struct List<'a, T>(&'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().enumerate() {
            f.write_str(if at > 0 { ", " } else { "" })?;
            item.fmt(f)?;
        }
        Ok(())
    }
}

fn names(names: &[String]) -> String {
    let names: Vec<Name<'_>> = names.iter().map(|name| Name(name)).collect();
    List(&names).to_string()
}

impl Display for Pipe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Where(expr) => write!(f, "where {expr}"),
            Self::Stats { aggregates, by } => {
                write!(f, "stats {}", List(aggregates))?;
                if by.is_empty() { Ok(()) } else { write!(f, " by {}", List(by)) }
            }
            Self::Sort(keys) => {
                let key = |key: &super::SortKey| {
                    let order = if key.descending { " desc" } else { "" };
                    format!("{}{order}", Name(&key.name))
                };
                write!(f, "sort {}", List(&keys.iter().map(key).collect::<Vec<_>>()))
            }
            Self::Limit(most) => write!(f, "limit {most}"),
            Self::Fields(columns) => write!(f, "fields {}", names(columns)),
            Self::Drop(columns) => write!(f, "drop {}", names(columns)),
            Self::Rename(pairs) => {
                let pair =
                    |(old, new): &(String, String)| format!("{} as {}", Name(old), Name(new));
                write!(f, "rename {}", List(&pairs.iter().map(pair).collect::<Vec<_>>()))
            }
            Self::Eval(computed) => {
                let one = |(name, expr): &(String, Expr)| format!("{} = {expr}", Name(name));
                write!(f, "eval {}", List(&computed.iter().map(one).collect::<Vec<_>>()))
            }
            Self::Dedup { keep, by } => write!(f, "dedup {keep} {}", names(by)),
            Self::Expand { from, into, distinct } => {
                let distinct = if *distinct { "distinct " } else { "" };
                write!(f, "expand {distinct}{} as {}", Name(from), Name(into))
            }
            Self::Extract { from, pattern } => {
                f.write_str("extract ")?;
                match pattern {
                    Extraction::Pattern(text) => quoted(f, text)?,
                    Extraction::Regex(source) => regex(f, source)?,
                }
                write!(f, " from {}", Name(from))
            }
            Self::Parse { format, from } => {
                let format = if *format == Format::Json { "json" } else { "logfmt" };
                write!(f, "parse {format} from {}", Name(from))
            }
            Self::Join { keep_all, on, query } => {
                let kind = if *keep_all { "left" } else { "inner" };
                write!(f, "join {kind} on {} ({query})", names(on))
            }
            Self::Union(query) => write!(f, "union ({query})"),
            Self::Sample(share) => write!(f, "sample {}%", share * 100.0),
            Self::Context { before, after, .. } => {
                write!(f, "context before {before} after {after}")
            }
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.function.name())?;
        if let Function::Quantile(part) | Function::QuantileEstimate(part) = self.function {
            write!(f, "{part}, ")?;
        }
        self.argument.iter().try_for_each(|argument| write!(f, "{argument}"))?;
        f.write_str(")")?;
        self.condition.iter().try_for_each(|condition| write!(f, " where {condition}"))?;
        write!(f, " as {}", Name(&self.name))
    }
}

impl Display for Group {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => Name(name).fmt(f),
            Self::Bin { width: None } => f.write_str("bin(timestamp, auto)"),
            Self::Bin { width: Some(width) } => write!(f, "bin(timestamp, {})", Span(*width)),
            Self::Step { field, width } => write!(f, "bin({}, {width})", Name(field)),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Column(name) => Name(name).fmt(f),
            Self::Int(number) => write!(f, "{number}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Text(text) => quoted(f, text),
            Self::Bool(truth) => write!(f, "{truth}"),
            Self::Null => f.write_str("null"),
            Self::Duration(nanos) => duration(f, *nanos),
            Self::Size(bytes) => write!(f, "{bytes}B"),
            Self::Not(inner) => write!(f, "(not {inner})"),
            Self::Negative(inner) => write!(f, "-({inner})"),
            Self::Binary(operator, left, right) => {
                let known = Operator::ALL.iter().find(|(_, known, _)| known == operator);
                let written = known.map_or("==", |(written, _, _)| written);
                write!(f, "({left} {written} {right})")
            }
            Self::Exists(inner) => write!(f, "exists({inner})"),
            Self::Like(inner, source) => {
                write!(f, "({inner} =~ ")?;
                regex(f, source)?;
                f.write_str(")")
            }
            Self::In(inner, values) => write!(f, "({inner} in ({}))", List(values)),
            Self::InQuery(inner, query) => write!(f, "({inner} in ({query}))"),
            Self::Call("replace_regex", arguments) => {
                f.write_str("replace_regex(")?;
                for (at, argument) in arguments.iter().enumerate() {
                    f.write_str(if at > 0 { ", " } else { "" })?;
                    match (at, argument) {
                        (1, Self::Text(source)) => regex(f, source)?,
                        _ => argument.fmt(f)?,
                    }
                }
                f.write_str(")")
            }
            Self::Call(name, arguments) => write!(f, "{name}({})", List(arguments)),
        }
    }
}
