//! Texts that functions make of others; those that may be longer have a bound for each batch of rows.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{
    DataFusionError, Result, exec_err, plan_datafusion_err, plan_err, resources_datafusion_err,
};
use datafusion::functions::expr_fn as functions;
use datafusion::logical_expr::{ColumnarValue, Expr, lit, try_cast, when};
use regex::Regex;

use super::frame::Value;
use super::functions::Function;
use crate::language::Expr as Given;
use crate::language::template::{Template, Unfilled};

/// Bytes of the texts that a function makes of one batch of rows. As it is read, a batch has half a
/// mebibyte, unless a single record has more; one that was sorted or grouped has up to 8,192 rows.
const MADE_BYTES_MAX: usize = 128 << 20;
/// Steps that the loops of a template take in one batch of rows: a second or two of work.
const STEPS_MAX: u64 = 4 << 20;

/// A group in a replacement, as it is written elsewhere: `\1`.
static GROUP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\\{1,2}(\d+)").expect("it is a regular expression"));

/// What a function that makes texts gives; `None` when it makes none.
///
/// # Errors
/// An argument that is not what the function wants.
pub(super) fn made(name: &str, arguments: &[Given], values: &[Value]) -> Result<Option<Expr>> {
    let text = |at: usize| values.get(at).map_or_else(|| lit(""), Value::text);
    let whole = |at: usize| {
        let number = values.get(at).map_or_else(|| lit(0.0), Value::number);
        try_cast(number, DataType::Int64)
    };
    Ok(Some(match name {
        "lower" => functions::lower(text(0)),
        "upper" => functions::upper(text(0)),
        "concat" => Function::Concat.call(values.iter().map(Value::text).collect()),
        "replace" => Function::Replace.call(vec![text(0), text(1), text(2)]),
        "replace_regex" => {
            let Some(Given::Text(pattern)) = arguments.get(1) else {
                return plan_err!("replace_regex() wants a regular expression: /[0-9]+/");
            };
            Function::ReplaceRegex(pattern.clone()).call(vec![text(0), text(2)])
        }
        // There is no piece 0.
        "split_part" => {
            functions::split_part(text(0), text(1), functions::nullif(whole(2), lit(0_i64)))
        }
        "substr" if values.len() > 2 => {
            let count = whole(2);
            let count = when(count.clone().lt(lit(0_i64)), lit(0_i64)).otherwise(count)?;
            functions::substring(text(0), whole(1), count)
        }
        "substr" => functions::substr(text(0), whole(1)),
        _ => return Ok(None),
    }))
}

/// One argument: a text of each row, or one for all of them.
struct Argument {
    texts: StringArray,
    is_one: bool,
}

impl Argument {
    fn read(given: &ColumnarValue) -> Result<Self> {
        let (array, is_one) = match given {
            ColumnarValue::Array(array) => (array.clone(), false),
            ColumnarValue::Scalar(value) => (value.to_array()?, true),
        };
        let texts = cast(&array, &DataType::Utf8)?;
        Ok(Self { texts: texts.as_string::<i32>().clone(), is_one })
    }

    fn of(&self, row: usize) -> Option<&str> {
        let row = if self.is_one { 0 } else { row };
        (row < self.texts.len() && self.texts.is_valid(row)).then(|| self.texts.value(row))
    }
}

/// What a function that may make texts longer makes of its arguments.
///
/// # Errors
/// The bound, [`MADE_BYTES_MAX`]; a regular expression that is none.
pub(super) fn lengthened(function: &Function, given: &[ColumnarValue]) -> Result<ArrayRef> {
    within(MADE_BYTES_MAX, function, given)
}

fn within(bytes_max: usize, function: &Function, given: &[ColumnarValue]) -> Result<ArrayRef> {
    let arguments = given.iter().map(Argument::read).collect::<Result<Vec<_>>>()?;
    let row_count = arguments.iter().find(|one| !one.is_one).map_or(1, |one| one.texts.len());
    let mut texts = StringBuilder::new();
    let mut row = Row { text: String::new(), bytes_left: bytes_max, steps_left: STEPS_MAX };
    let (mut regex, mut given) = (Compiled::default(), Vec::new());
    let template = match function {
        Function::Template(source) => Some(read_template(source)?),
        _ => None,
    };
    for number in 0..row_count {
        given.clear();
        given.extend(arguments.iter().map(|one| one.of(number)));
        let is_made = match &template {
            Some(template) => row.fill(template, &given)?,
            None => row.make(function, &given, &mut regex)?,
        };
        texts.append_option(is_made.then_some(row.text.as_str()));
        row.text.clear();
    }
    Ok(Arc::new(texts.finish()))
}

fn read_template(source: &str) -> Result<Template> {
    Template::read(source).map_err(|wrong| plan_datafusion_err!("{}", wrong.why))
}

/// The expression that was used last: as a rule all rows have the same.
#[derive(Default)]
struct Compiled(Option<(String, String, Regex)>);

impl Compiled {
    /// An expression with the letters that change it.
    fn of(&mut self, source: &str, letters: &str) -> Result<&Regex> {
        let known = self.0.take().filter(|(own, with, _)| own == source && with == letters);
        let found = match known {
            Some(found) => found,
            None => {
                let changed = match letters {
                    "" => Regex::new(source),
                    letters => Regex::new(&format!("(?{letters}){source}")),
                };
                let regex = changed.map_err(|error| plan_datafusion_err!("{error}"))?;
                (source.to_owned(), letters.to_owned(), regex)
            }
        };
        Ok(&self.0.insert(found).2)
    }
}

/// The text of one row, and what is left for it and those behind it.
struct Row {
    text: String,
    bytes_left: usize,
    steps_left: u64,
}

impl Row {
    /// Makes the text of a row out of what the function is given; false when there is none.
    fn make(
        &mut self,
        function: &Function,
        given: &[Option<&str>],
        regex: &mut Compiled,
    ) -> Result<bool> {
        match (function, given) {
            (Function::Concat, pieces) => {
                pieces.iter().flatten().try_for_each(|piece| self.add(piece))?;
            }
            (Function::ConcatWs, [Some(between), pieces @ ..]) => {
                for (at, piece) in pieces.iter().flatten().enumerate() {
                    if at > 0 {
                        self.add(between)?;
                    }
                    self.add(piece)?;
                }
            }
            (Function::Joined, [Some(first), Some(second)]) => {
                self.add(first)?;
                self.add(second)?;
            }
            (Function::Replace, [Some(text), Some(what), Some(by)]) => {
                self.replaced(text, what, by)?;
            }
            (Function::ReplaceRegex(source), [Some(text), Some(by)]) => {
                self.replaced_matches(text, regex.of(source, "")?, by, usize::MAX)?;
            }
            (Function::RegexpReplace, [Some(text), Some(source), Some(by)]) => {
                self.replaced_matches(text, regex.of(source, "")?, by, 1)?;
            }
            (Function::RegexpReplace, [Some(text), Some(source), Some(by), Some(letters)]) => {
                let most = if letters.contains('g') { usize::MAX } else { 1 };
                let regex = regex.of(source, &letters.replace('g', ""))?;
                self.replaced_matches(text, regex, by, most)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Fills a template; false where that cannot be done with what is given.
    fn fill(&mut self, template: &Template, given: &[Option<&str>]) -> Result<bool> {
        match template.fill(given, self.bytes_left, &mut self.steps_left) {
            Ok(text) => self.add(&text)?,
            Err(Unfilled::Unfit) => return Ok(false),
            Err(Unfilled::TooLong) => return Err(too_much()),
            Err(Unfilled::TooManySteps) => {
                return exec_err!("a template goes through too many values of one batch of rows");
            }
        }
        Ok(true)
    }

    fn add(&mut self, piece: &str) -> Result<()> {
        self.has_room(piece.len())?;
        self.bytes_left -= piece.len();
        self.text.push_str(piece);
        Ok(())
    }

    fn has_room(&self, bytes: usize) -> Result<()> {
        if bytes <= self.bytes_left {
            return Ok(());
        }
        Err(too_much())
    }

    /// Nothing is found everywhere: it is left alone.
    fn replaced(&mut self, text: &str, what: &str, by: &str) -> Result<()> {
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once(what).filter(|_| !what.is_empty()) {
            self.add(before)?;
            self.add(by)?;
            rest = behind;
        }
        self.add(rest)
    }

    /// Replaces the first `most` matches.
    fn replaced_matches(&mut self, text: &str, regex: &Regex, by: &str, most: usize) -> Result<()> {
        let by = match by.contains('\\') {
            true => GROUP.replace_all(by, "$${$1}"),
            false => Cow::Borrowed(by),
        };
        let groups = by.matches('$').count();
        let (mut end, mut piece) = (0, String::new());
        if groups == 0 {
            for found in regex.find_iter(text).take(most) {
                self.add(text.get(end..found.start()).unwrap_or_default())?;
                self.add(&by)?;
                end = found.end();
            }
        } else {
            for found in regex.captures_iter(text).take(most) {
                let Some(whole) = found.get(0) else { continue };
                self.add(text.get(end..whole.start()).unwrap_or_default())?;
                // No group is longer than the match.
                self.has_room(whole.len().saturating_mul(groups).saturating_add(by.len()))?;
                piece.clear();
                found.expand(&by, &mut piece);
                self.add(&piece)?;
                end = whole.end();
            }
        }
        self.add(text.get(end..).unwrap_or_default())
    }
}

fn too_much() -> DataFusionError {
    resources_datafusion_err!("a function makes too much text of one batch of rows")
}

#[cfg(test)]
mod tests {
    use datafusion::common::ScalarValue;

    use super::*;

    fn texts(texts: &[Option<&str>]) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(StringArray::from(texts.to_vec())))
    }

    fn one(text: &str) -> ColumnarValue {
        ColumnarValue::Scalar(ScalarValue::from(text))
    }

    fn regex(source: &str) -> Function {
        Function::ReplaceRegex(source.to_owned())
    }

    #[track_caller]
    fn check(function: &Function, given: &[ColumnarValue], expected: &[Option<&str>]) {
        let made = lengthened(function, given).unwrap();
        assert_eq!(made.as_string::<i32>(), &StringArray::from(expected.to_vec()), "{function:?}");
    }

    #[test]
    fn texts_are_put_together_and_replaced_as_ever() {
        let some = || texts(&[Some("a1b22"), None, Some("")]);
        check(&Function::Concat, &[some(), one("-")], &[Some("a1b22-"), Some("-"), Some("-")]);
        check(&Function::Concat, &[one("a"), one("b")], &[Some("ab")]);
        check(
            &Function::Replace,
            &[some(), one("2"), one("xy")],
            &[Some("a1bxyxy"), None, Some("")],
        );
        check(&Function::Replace, &[some(), one(""), one("x")], &[Some("a1b22"), None, Some("")]);
        check(&regex("[0-9]+"), &[some(), one("#")], &[Some("a#b#"), None, Some("")]);
        check(&regex("x*"), &[some(), one("-")], &[Some("-a-1-b-2-2-"), None, Some("-")]);
        for by in ["<$1>", "<\\1>"] {
            check(&regex("([0-9])+"), &[some(), one(by)], &[Some("a<1>b<2>"), None, Some("")]);
        }
        check(&Function::Joined, &[some(), one("-")], &[Some("a1b22-"), None, Some("-")]);
        let pieces = [one(", "), some(), one("x"), texts(&[None, None, Some("y")])];
        check(&Function::ConcatWs, &pieces, &[Some("a1b22, x"), Some("x"), Some(", x, y")]);
        let nothing = [texts(&[None]), one("x")];
        check(&Function::ConcatWs, &nothing, &[None]);
        let replace = |more: &[&str]| {
            let more = more.iter().map(|text| one(text));
            let given: Vec<ColumnarValue> = [some()].into_iter().chain(more).collect();
            let made = lengthened(&Function::RegexpReplace, &given).unwrap();
            made.as_string::<i32>().value(0).to_owned()
        };
        assert_eq!(replace(&["[0-9]", "#"]), "a#b22");
        assert_eq!(replace(&["[0-9]", "#", "g"]), "a#b##");
        assert_eq!(replace(&["(B)", "<\\1>", "i"]), "a1<b>22");
        assert_eq!(replace(&["[A-Z]", "", "gi"]), "122");
        let sources = texts(&[Some("1"), Some("x"), None]);
        let by_row = [texts(&[Some("11"), Some("xx"), Some("z")]), sources, one("-")];
        check(&Function::RegexpReplace, &by_row, &[Some("-1"), Some("-x"), None]);
        assert!(lengthened(&Function::RegexpReplace, &[one("a"), one("("), one("")]).is_err());
    }

    #[test]
    fn templates_are_filled_row_by_row() {
        let template = Function::Template("{{.a | ToUpper}}-{{.b}}".to_owned());
        let given = [texts(&[Some("x"), None, Some("z")]), one("y")];
        check(&template, &given, &[Some("X-y"), Some("-y"), Some("Z-y")]);
        let long = Function::Template(r#"{{.a}}{{repeat 1000 "x"}}"#.to_owned());
        let failed = within(2_500, &long, &given).unwrap_err();
        assert!(matches!(failed, DataFusionError::ResourcesExhausted(_)), "{failed}");
        assert!(lengthened(&Function::Template("{{".to_owned()), &[one("a")]).is_err());
        // Where a value is none that can be gone through, there is no text.
        let list = Function::Template("{{range (fromJson .a).l}}<{{.}}>{{end}}".to_owned());
        let given = [texts(&[Some(r#"{"l":[1,2]}"#), Some(r#"{"l":3}"#), None])];
        check(&list, &given, &[Some("<1><2>"), None, Some("")]);
        let endless = Function::Template("{{range 1000000000}}{{end}}".to_owned());
        let failed = lengthened(&endless, &[one("a")]).unwrap_err();
        assert!(matches!(failed, DataFusionError::Execution(_)), "{failed}");
    }

    #[test]
    fn what_is_made_of_a_batch_has_a_bound() {
        let long = "e".repeat(100);
        let rows = || texts(&[Some(long.as_str()); 6]);
        let groups = "$0".repeat(11);
        for (function, given) in [
            (Function::Concat, vec![rows(), rows()]),
            (Function::Joined, vec![rows(), rows()]),
            (Function::ConcatWs, vec![one("-"), rows(), one(&long[20..])]),
            (Function::RegexpReplace, vec![rows(), one("e"), one("ee"), one("g")]),
            (Function::Replace, vec![rows(), one("e"), one("ee")]),
            (regex("e"), vec![rows(), one("ee")]),
            (regex("e+"), vec![texts(&[Some(long.as_str())]), one(&groups)]),
        ] {
            assert!(within(1_200, &function, &given).is_ok(), "{function:?}");
            let refused = within(1_000, &function, &given).unwrap_err();
            let is_too_much = matches!(refused, DataFusionError::ResourcesExhausted(_));
            assert!(is_too_much, "{function:?}: {refused}");
        }
    }
}
