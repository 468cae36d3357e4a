//! Functions of values that DataFusion does not bring: numbers, spans and sizes out of texts,
//! regular expressions, networks, and texts taken apart.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, StringArray,
    StructArray, TimestampNanosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, Fields, Float64Type, Int64Type, TimestampNanosecondType, UInt32Type,
    UInt64Type,
};
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use index::matcher::Matcher;
use model::level::Level;
use model::number::{Number, read_number};
use model::quantity::{read_duration, read_size};
use model::query::TextMatch;
use model::time::{Period, Timestamp};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::numbers::{WHOLE_DIGITS, is_great, wholes};
use super::structure::{at, flat_json, flat_logfmt, member};
use super::texts::lengthened;
use crate::language::calendar::Bins;
use crate::language::{Extraction, Format, pieces};

/// Nanoseconds of a span that can move a moment: fewer than 64 bits can say.
const NANOS_MAX: f64 = 9.2e18;

/// A function of values, with what it was given once and for all.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(in crate::plan) enum Function {
    /// A text as a finite number.
    Number,
    /// A text as nanoseconds.
    Duration,
    /// A text as bytes.
    Size,
    /// A text as the first moment that it names, in nanoseconds since 1970.
    Moment,
    /// Whether a text matches a regular expression.
    Matches(String),
    /// Whether an address in a text lies in a network.
    InNetwork(IpAddr, u8),
    /// The pieces of a text, as a structure.
    Extract(Extraction),
    /// A text that is a structure itself, as a flat JSON object.
    Parse(Format),
    /// A value of a flat JSON object, as text.
    Member(String),
    /// What stands at a place of a text that is a JSON object, as text.
    At(Vec<String>),
    /// A level's name.
    LevelName,
    /// The moment at which a bin of time begins.
    Bin(Bins),
    /// The moment that lies so many nanoseconds behind another one; none beyond all times.
    Moved,
    /// Texts one behind the other; what is missing is left out.
    Concat,
    /// The same with the first text between each two of the others; nothing where that is missing.
    ConcatWs,
    /// Two texts one behind the other; nothing where one is missing.
    Joined,
    /// A text with another one in the place of each that is found in it.
    Replace,
    /// A text with another one in the place of each match.
    ReplaceRegex(String),
    /// As SQL has it: a text, an expression, what stands in the place of its first match, and letters
    /// that change the expression, `g` for each match.
    RegexpReplace,
    /// Whether a record is in a sample: partition and offset, against a part of 2^32.
    Sampled(u32),
    /// A number as the text that a search finds it by: `5`, not `5.0`.
    Shown,
    /// A template with what it asks of a row.
    Template(String),
    /// A text as the whole number that it is; not if that has more than 38 digits.
    Whole,
    /// The same of numbers that have more than 63 bits.
    Great,
    /// How two values compare as numbers, whole ones exactly: -1, 0 or 1; nothing where one is none.
    /// Nodes before version 4 of the nodes' protocol do not know it.
    Order,
}

impl Function {
    /// The expression that calls it.
    pub(super) fn call(self, arguments: Vec<Expr>) -> Expr {
        self.udf().call(arguments)
    }

    /// As DataFusion knows it.
    pub(in crate::plan) fn udf(self) -> ScalarUDF {
        let signature = match self {
            Self::Concat | Self::ConcatWs | Self::Template(_) => {
                Signature::variadic_any(Volatility::Immutable)
            }
            Self::Replace => Signature::any(3, Volatility::Immutable),
            Self::RegexpReplace => {
                let either = vec![TypeSignature::Any(3), TypeSignature::Any(4)];
                Signature::one_of(either, Volatility::Immutable)
            }
            Self::Sampled(_) | Self::Moved | Self::Joined | Self::ReplaceRegex(_) | Self::Order => {
                Signature::any(2, Volatility::Immutable)
            }
            _ => Signature::any(1, Volatility::Immutable),
        };
        ScalarUDF::new_from_impl(Called { function: self, signature })
    }

    /// The one that DataFusion knows so; `None` when it is none of ours.
    pub(in crate::plan) fn of(function: &ScalarUDF) -> Option<&Self> {
        function.inner().downcast_ref::<Called>().map(|called| &called.function)
    }
}

/// A function as DataFusion knows it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Called {
    function: Function,
    signature: Signature,
}

impl fmt::Debug for Called {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.function.fmt(f)
    }
}

impl ScalarUDFImpl for Called {
    fn name(&self) -> &str {
        match self.function {
            Function::Number => "number",
            Function::Duration => "duration",
            Function::Size => "size",
            Function::Moment => "moment",
            Function::Matches(_) => "matches_regex",
            Function::InNetwork(..) => "in_cidr",
            Function::Extract(_) => "extract",
            Function::Parse(_) => "parse",
            Function::Member(_) => "member",
            Function::At(_) => "at",
            Function::LevelName => "level_name",
            Function::Bin(_) => "time_bin",
            Function::Moved => "moved",
            Function::Concat => "concat",
            Function::ConcatWs => "concat_ws",
            Function::Joined => "joined",
            Function::Replace => "replace",
            Function::ReplaceRegex(_) => "replace_regex",
            Function::RegexpReplace => "regexp_replace",
            Function::Sampled(_) => "sampled",
            Function::Shown => "shown",
            Function::Template(_) => "template",
            Function::Whole => "whole",
            Function::Great => "great",
            Function::Order => "order",
        }
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let names: Vec<String> =
            arguments.iter().map(|argument| argument.schema_name().to_string()).collect();
        Ok(match self.function {
            // What an operator of SQL gives is called after it.
            Function::Joined => names.join(" || "),
            _ => format!("{}({})", self.name(), names.join(",")),
        })
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(match &self.function {
            Function::Number | Function::Duration | Function::Size => DataType::Float64,
            Function::Moment | Function::Order => DataType::Int64,
            Function::Whole | Function::Great => DataType::Decimal128(WHOLE_DIGITS, 0),
            Function::Matches(_) | Function::InNetwork(..) | Function::Sampled(_) => {
                DataType::Boolean
            }
            Function::Extract(pattern) => DataType::Struct(struct_fields(pattern)),
            Function::Parse(_)
            | Function::Member(_)
            | Function::At(_)
            | Function::LevelName
            | Function::Concat
            | Function::ConcatWs
            | Function::Joined
            | Function::Replace
            | Function::ReplaceRegex(_)
            | Function::RegexpReplace
            | Function::Template(_)
            | Function::Shown => DataType::Utf8,
            Function::Bin(_) | Function::Moved => time_type(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        use Function::{Concat, ConcatWs, Joined, RegexpReplace, Replace, ReplaceRegex, Template};
        let made = match &self.function {
            function @ (Concat | ConcatWs | Joined | Replace | ReplaceRegex(_) | RegexpReplace
            | Template(_)) => lengthened(function, &args.args)?,
            function => function.apply(&ColumnarValue::values_to_arrays(&args.args)?)?,
        };
        Ok(ColumnarValue::Array(made))
    }
}

fn struct_fields(pattern: &Extraction) -> Fields {
    pattern.names().into_iter().map(|name| Field::new(name, DataType::Utf8, true)).collect()
}

impl Function {
    fn apply(&self, arrays: &[ArrayRef]) -> Result<ArrayRef> {
        let Some(first) = arrays.first() else { return plan_err!("a function without argument") };
        match self {
            Self::Sampled(bound) => return sampled(arrays, *bound),
            Self::Bin(bins) => return binned(first, bins),
            Self::Moved => return moved(arrays),
            Self::Shown => return shown(first),
            Self::Order => return ordered(arrays),
            Self::LevelName => {
                let levels = cast(first, &DataType::Int64)?;
                let levels = levels.as_primitive::<Int64Type>();
                let name = |level: Option<i64>| {
                    level.map(|n| Level::from_number(u8::try_from(n).unwrap_or(0)).name())
                };
                return Ok(Arc::new(levels.iter().map(name).collect::<StringArray>()));
            }
            _ => {}
        }
        let texts = cast(first, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let numbers = |read: fn(&str) -> Option<f64>| -> ArrayRef {
            Arc::new(texts.iter().map(|text| text.and_then(read)).collect::<Float64Array>())
        };
        Ok(match self {
            Self::Number => numbers(read_number),
            Self::Duration => numbers(read_duration),
            Self::Size => numbers(read_size),
            Self::Whole => wholes(texts, |_| true)?,
            Self::Great => wholes(texts, is_great)?,
            Self::Moment => {
                let moment = |text: Option<&str>| Some(Period::read(text?)?.first.0);
                Arc::new(texts.iter().map(moment).collect::<Int64Array>())
            }
            Self::Matches(source) => matched(texts, &TextMatch::Regex(source.clone())),
            Self::InNetwork(address, prefix) => {
                matched(texts, &TextMatch::Network { address: *address, prefix: *prefix })
            }
            Self::Extract(pattern) => extracted(texts, pattern),
            Self::Parse(format) => {
                let flat = |text: Option<&str>| match format {
                    Format::Json => flat_json(text?),
                    Format::Logfmt => flat_logfmt(text?),
                };
                Arc::new(texts.iter().map(flat).collect::<StringArray>())
            }
            Self::Member(name) => {
                Arc::new(texts.iter().map(|text| member(text?, name)).collect::<StringArray>())
            }
            Self::At(path) => {
                Arc::new(texts.iter().map(|text| at(text?, path)).collect::<StringArray>())
            }
            Self::LevelName
            | Self::Sampled(_)
            | Self::Bin(_)
            | Self::Moved
            | Self::Concat
            | Self::ConcatWs
            | Self::Joined
            | Self::Replace
            | Self::ReplaceRegex(_)
            | Self::RegexpReplace
            | Self::Template(_)
            | Self::Shown
            | Self::Order => first.clone(),
        })
    }
}

/// Numbers as texts, as the index has them.
fn shown(numbers: &ArrayRef) -> Result<ArrayRef> {
    let numbers = cast(numbers, &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>().iter();
    let text = |number: Option<f64>| number.map(|number| number.to_string());
    Ok(Arc::new(numbers.map(text).collect::<StringArray>()))
}

/// The type of moments.
fn time_type() -> DataType {
    index::schema::time_type()
}

/// The moments at which the bins begin; texts and numbers are read as times.
fn binned(times: &ArrayRef, bins: &Bins) -> Result<ArrayRef> {
    let find = bins.finder();
    let mut last: Option<(Timestamp, Timestamp)> = None;
    let mut start = |moment: Timestamp| {
        // Records come by time: most are in the bin of the one before.
        if let Some((from, to)) = last
            && from <= moment
            && moment < to
        {
            return Some(from.0);
        }
        let from = find(moment)?;
        last = bins.next(from).map(|to| (from, to));
        Some(from.0)
    };
    let starts: TimestampNanosecondArray = match times.as_primitive_opt::<TimestampNanosecondType>()
    {
        Some(times) => times.iter().map(|time| start(Timestamp(time?))).collect(),
        None => {
            let texts = cast(times, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>();
            texts.iter().map(|text| start(Timestamp::parse(text?)?)).collect()
        }
    };
    Ok(cast(&starts, &time_type())?)
}

/// Moments so many nanoseconds behind others.
fn moved(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [moments, spans] = arrays else { return plan_err!("a moment is moved by a span") };
    let moments = cast(moments, &DataType::Int64)?;
    let spans = cast(spans, &DataType::Float64)?;
    let moments = moments.as_primitive::<Int64Type>();
    let spans = spans.as_primitive::<Float64Type>();
    let later = |(moment, span): (Option<i64>, Option<f64>)| {
        let span = span.filter(|span| span.abs() < NANOS_MAX)?;
        #[expect(clippy::cast_possible_truncation, reason = "whole nanoseconds, by intention")]
        let span = span as i64;
        moment?.checked_add(span)
    };
    let times: TimestampNanosecondArray = moments.iter().zip(spans.iter()).map(later).collect();
    Ok(cast(&times, &time_type())?)
}

/// How two values compare as numbers: whole ones exactly.
fn ordered(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [left, right] = arrays else { return plan_err!("two values are compared") };
    let (left, right) = (cast(left, &DataType::Utf8)?, cast(right, &DataType::Utf8)?);
    let both = left.as_string::<i32>().iter().zip(right.as_string::<i32>().iter());
    let order = |(left, right): (Option<&str>, Option<&str>)| {
        let order = Number::read(left?)?.order(Number::read(right?)?)?;
        Some(i64::from(order as i8))
    };
    Ok(Arc::new(both.map(order).collect::<Int64Array>()))
}

fn matched(texts: &StringArray, wanted: &TextMatch) -> ArrayRef {
    let matcher = Matcher::new(wanted);
    let test = |text: Option<&str>| text.map(|text| matcher.matches(text));
    Arc::new(texts.iter().map(test).collect::<BooleanArray>())
}

/// Chance that falls the same way for a record whenever it is asked.
fn sampled(arrays: &[ArrayRef], bound: u32) -> Result<ArrayRef> {
    let [partitions, offsets] = arrays else { return plan_err!("a sample wants records") };
    let partitions = partitions.as_primitive_opt::<UInt32Type>();
    let offsets = offsets.as_primitive_opt::<UInt64Type>();
    let (Some(partitions), Some(offsets)) = (partitions, offsets) else {
        return plan_err!("a sample wants records");
    };
    let chosen = |(partition, offset): (&u32, &u64)| {
        // The finaliser of MurmurHash3: every bit of a place counts.
        let mut hash = offset ^ u64::from(*partition).rotate_left(40);
        for factor in [0xff51_afd7_ed55_8ccd_u64, 0xc4ce_b9fe_1a85_ec53] {
            hash = (hash ^ (hash >> 33)).wrapping_mul(factor);
        }
        Some((hash ^ (hash >> 33)) >> 32 <= u64::from(bound))
    };
    let places = partitions.values().iter().zip(offsets.values());
    Ok(Arc::new(places.map(chosen).collect::<BooleanArray>()))
}

/// The pieces of texts as a structure; all are missing where the text does not look like that.
fn extracted(texts: &StringArray, pattern: &Extraction) -> ArrayRef {
    let fields = struct_fields(pattern);
    let mut columns: Vec<Vec<Option<&str>>> = vec![Vec::with_capacity(texts.len()); fields.len()];
    let regex = match pattern {
        Extraction::Regex(source) => Regex::new(source).ok(),
        Extraction::Pattern(_) => None,
    };
    for text in texts {
        let found = text.map(|text| match (pattern, &regex) {
            (_, Some(regex)) => groups(text, regex),
            (Extraction::Pattern(pattern), None) => between(text, pattern).unwrap_or_default(),
            (Extraction::Regex(_), None) => Vec::new(),
        });
        let found = found.unwrap_or_default();
        for (at, column) in columns.iter_mut().enumerate() {
            column.push(found.get(at).copied().flatten());
        }
    }
    let arrays = columns.into_iter().map(|c| Arc::new(StringArray::from(c)) as ArrayRef).collect();
    Arc::new(StructArray::new(fields, arrays, None))
}

fn groups<'a>(text: &'a str, regex: &Regex) -> Vec<Option<&'a str>> {
    let Some(found) = regex.captures(text) else { return Vec::new() };
    let names = regex.capture_names().flatten();
    names.map(|name| found.name(name).map(|group| group.as_str())).collect()
}

/// The pieces of a text between the texts of a pattern; `None` when one of these is not there.
fn between<'a>(text: &'a str, pattern: &str) -> Option<Vec<Option<&'a str>>> {
    let mut found = Vec::new();
    let mut pieces = pieces(pattern).peekable();
    let (first, mut name) = pieces.next()?;
    let mut rest = text.get(text.find(first)? + first.len()..)?;
    while let Some((literal, next)) = pieces.next() {
        // Behind the last piece without text, all the rest belongs to it.
        let end = match literal {
            "" if pieces.peek().is_none() => rest.len(),
            literal => rest.find(literal)?,
        };
        if name.is_some() {
            found.push(rest.get(..end));
        }
        rest = rest.get(end + literal.len()..)?;
        name = next;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: Option<&[&str]>) {
        let found = between(text, pattern).map(|all| all.into_iter().flatten().collect::<Vec<_>>());
        assert_eq!(found.as_deref(), expected, "{pattern} in {text}");
    }

    #[test]
    fn pieces_are_what_stands_between() {
        check("<ip> - <user> [<_>]", "10.0.0.1 - bob [now]", Some(&["10.0.0.1", "bob"]));
        check("took <ms>ms", "it took 12ms here", Some(&["12"]));
        check("user=<user>", "x user=alice smith", Some(&["alice smith"]));
        check("user=<user> ", "user=alice", None);
        check("a<b>c<d>", "zaxcy", Some(&["x", "y"]));
        check("<a>", "all", Some(&["all"]));
        check("<a b", "x <a b y", Some(&[]));
    }
}
