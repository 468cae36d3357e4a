//! LogQL → our plan: the selection becomes a filter, stages become pipes.

use model::level::Level;
use model::query::{FieldTest, Filter, TextMatch};

use super::ast::{Compare, Log, Piece, Stage, Test, Tests, Value};
use crate::language::{Expr, Extraction, Format, Operator, Pipe};

/// The column of a line that was written anew; no field is called so.
pub(super) const LINE: &str = "\u{1}line";

/// A query's lines in our plan.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    pub(super) filter: Vec<Filter>,
    pub(super) pipes: Vec<Pipe>,
    /// The line is not the message any more.
    pub(super) rewritten: bool,
    /// Colours are taken out of lines.
    pub(super) plain: bool,
    /// Labels that are not shown, and those that alone are.
    pub(super) dropped: Vec<String>,
    pub(super) kept: Option<Vec<String>>,
    parsed: bool,
}

/// The names that a label may have with us: signs that labels cannot have are written `_`.
pub(super) fn names(label: &str) -> Vec<String> {
    match label {
        "level" | "detected_level" => vec!["level".to_owned()],
        // So Loki calls whose a stream is where several tenants are asked for.
        "__tenant_id__" => vec!["tenant".to_owned()],
        "service_name" => ["service_name", "service", "service.name"].map(str::to_owned).to_vec(),
        label => {
            let mut names = vec![label.to_owned()];
            if label.contains('_') {
                names.push(label.replace('_', "."));
            }
            names
        }
    }
}

/// A label's value of a row, as text.
pub(super) fn value(label: &str) -> Expr {
    let text = |name: String| Expr::Call("text", vec![Expr::Column(name)]);
    let mut all: Vec<Expr> = names(label).into_iter().map(text).collect();
    match all.len() {
        1 => all.swap_remove(0),
        _ => Expr::Call("coalesce", all),
    }
}

impl Lowered {
    /// Lowers a selection and its stages.
    pub(super) fn of(log: &Log) -> Self {
        let mut lowered = Self::default();
        lowered.filter.extend(log.selector.iter().map(selected));
        for stage in &log.stages {
            lowered.stage(stage);
        }
        lowered
    }

    /// All that its records pass.
    pub(super) fn filter(&self) -> Filter {
        match self.filter.as_slice() {
            [] => Filter::All,
            [one] => one.clone(),
            parts => Filter::And(parts.to_vec()),
        }
    }

    fn line(&self) -> Expr {
        Expr::Column(if self.rewritten { LINE } else { "message" }.to_owned())
    }

    fn stage(&mut self, stage: &Stage) {
        match stage {
            Stage::Line { like, not, texts } => self.lines(*like, *not, texts),
            Stage::Json | Stage::Unpack | Stage::Logfmt => {
                let format = if *stage == Stage::Logfmt { Format::Logfmt } else { Format::Json };
                let from = if self.rewritten { LINE } else { "message" }.to_owned();
                self.pipes.push(Pipe::Parse { format, from });
                self.parsed = true;
                if *stage == Stage::Unpack {
                    // What was packed stands in `_entry`.
                    let entry = Expr::Column("_entry".to_owned());
                    let line = Expr::Call("coalesce", vec![entry, self.line()]);
                    self.pipes.push(Pipe::Eval(vec![(LINE.to_owned(), line)]));
                    self.rewritten = true;
                    self.dropped.push("_entry".to_owned());
                }
            }
            Stage::Regexp(source) => self.extract(Extraction::Regex(source.clone())),
            Stage::Pattern(pattern) => self.extract(Extraction::Pattern(pattern.clone())),
            Stage::Labels(tests) => match (tests, self.parsed) {
                (Tests::One(test @ Test { value: Value::Text(_), .. }), false) => {
                    self.filter.push(selected(test));
                }
                (tests, _) => self.pipes.push(Pipe::Where(condition(tests))),
            },
            Stage::LineFormat(pieces) => {
                let line = self.written(pieces);
                self.pipes.push(Pipe::Eval(vec![(LINE.to_owned(), line)]));
                self.rewritten = true;
            }
            Stage::LabelFormat(formats) => {
                for (name, pieces) in formats {
                    let value = self.written(pieces);
                    let name = if ["id", "index", "message", "level", "timestamp"]
                        .contains(&name.as_str())
                    {
                        format!("{name}_")
                    } else {
                        name.clone()
                    };
                    if let [Piece::Label(from)] = pieces.as_slice() {
                        self.dropped.push(from.clone());
                    }
                    self.pipes.push(Pipe::Eval(vec![(name, value)]));
                }
                self.parsed = true;
            }
            Stage::Drop(names) => self.dropped.extend(names.iter().cloned()),
            Stage::Keep(names) => self.kept = Some(names.clone()),
            Stage::Decolorize => self.plain = true,
        }
    }

    fn extract(&mut self, pattern: Extraction) {
        let from = if self.rewritten { LINE } else { "message" }.to_owned();
        self.pipes.push(Pipe::Extract { from, pattern });
        self.parsed = true;
    }

    fn lines(&mut self, like: bool, not: bool, texts: &[String]) {
        let source = |text: &String| if like { text.clone() } else { regex::escape(text) };
        if self.rewritten {
            let test = |text: &String| Expr::Like(Box::new(self.line()), source(text));
            let any = texts.iter().map(test).reduce(|a, b| binary(Operator::Or, a, b));
            let any = any.unwrap_or(Expr::Bool(true));
            self.pipes.push(Pipe::Where(if not { Expr::Not(Box::new(any)) } else { any }));
            return;
        }
        let one = |text: &String| match text.is_empty() {
            true => Filter::All,
            false => field("message", FieldTest::Matches(TextMatch::Regex(source(text)))),
        };
        let mut parts: Vec<Filter> = texts.iter().map(one).collect();
        let any = if parts.len() == 1 { parts.swap_remove(0) } else { Filter::Or(parts) };
        self.filter.push(if not { Filter::Not(Box::new(any)) } else { any });
    }

    /// The text of a template.
    fn written(&self, pieces: &[Piece]) -> Expr {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => Expr::Text(text.clone()),
            Piece::Label(label) => {
                Expr::Call("coalesce", vec![value(label), Expr::Text(String::new())])
            }
            Piece::Line => self.line(),
        };
        Expr::Call("concat", pieces.iter().map(piece).collect())
    }
}

fn field(name: &str, test: FieldTest) -> Filter {
    Filter::Field { name: name.to_owned(), test }
}

/// The text of one of the names is exactly this, or matches as a whole; no value is an empty text.
fn selected(test: &Test) -> Filter {
    let Value::Text(text) = &test.value else { return Filter::All };
    let not = matches!(test.compare, Compare::NotEqual | Compare::NotLike);
    let like = matches!(test.compare, Compare::Like | Compare::NotLike);
    let source = match like {
        true => format!(r"\A(?:{text})\z"),
        false => format!(r"\A{}\z", regex::escape(text)),
    };
    let holds_empty = regex::Regex::new(&source).is_ok_and(|regex| regex.is_match(""));
    let one = |name: &String| match (name.as_str(), like, Level::from_word(text)) {
        ("level", false, Some(level)) => {
            field("level", FieldTest::Matches(TextMatch::Phrase(level.name().to_owned())))
        }
        _ => field(name, FieldTest::Matches(TextMatch::Regex(source.clone()))),
    };
    let names = names(&test.name);
    let mut parts: Vec<Filter> = names.iter().map(one).collect();
    if holds_empty {
        let exists = names.iter().map(|name| field(name, FieldTest::Exists)).collect();
        parts.push(Filter::Not(Box::new(Filter::Or(exists))));
    }
    let any = if parts.len() == 1 { parts.swap_remove(0) } else { Filter::Or(parts) };
    if not { Filter::Not(Box::new(any)) } else { any }
}

fn binary(operator: Operator, a: Expr, b: Expr) -> Expr {
    Expr::Binary(operator, Box::new(a), Box::new(b))
}

fn condition(tests: &Tests) -> Expr {
    match tests {
        Tests::And(a, b) => binary(Operator::And, condition(a), condition(b)),
        Tests::Or(a, b) => binary(Operator::Or, condition(a), condition(b)),
        Tests::One(test) => tested(test),
    }
}

fn tested(test: &Test) -> Expr {
    let mut columns: Vec<Expr> = names(&test.name).into_iter().map(Expr::Column).collect();
    let column = match columns.len() {
        1 => columns.swap_remove(0),
        _ => value(&test.name),
    };
    let text = || Expr::Call("coalesce", vec![value(&test.name), Expr::Text(String::new())]);
    let literal = match &test.value {
        Value::Text(source) => {
            let source = match test.compare {
                Compare::Like | Compare::NotLike => format!(r"\A(?:{source})\z"),
                _ => format!(r"\A{}\z", regex::escape(source)),
            };
            let like = Expr::Like(Box::new(text()), source);
            return match test.compare {
                Compare::NotEqual | Compare::NotLike => Expr::Not(Box::new(like)),
                _ => like,
            };
        }
        Value::Number(number) => Expr::Float(*number),
        Value::Duration(nanos) => {
            // Texts such as `1.5s` as seconds, numbers in the unit that the name ends in.
            let seconds = Expr::Call("seconds", vec![column]);
            return compared(test.compare, seconds, Expr::Float(nanos / 1e9));
        }
        Value::Size(bytes) => return compared(test.compare, column, Expr::Size(*bytes)),
    };
    compared(test.compare, Expr::Call("number", vec![column]), literal)
}

fn compared(compare: Compare, left: Expr, right: Expr) -> Expr {
    let operator = match compare {
        Compare::Less => Operator::Less,
        Compare::LessEqual => Operator::LessEqual,
        Compare::Greater => Operator::Greater,
        Compare::GreaterEqual => Operator::GreaterEqual,
        Compare::NotEqual | Compare::NotLike => Operator::NotEqual,
        Compare::Equal | Compare::Like => Operator::Equal,
    };
    binary(operator, left, right)
}
