//! LogQL → our plan: the selection becomes a filter, stages become pipes.

use std::collections::BTreeSet;

use model::query::{FieldTest, Filter, TextMatch};
use model::stream::RESERVED;

use super::asked;
use super::ast::{Log, Piece, Stage, Test, Tests, Value};
use super::filters::selected;
use crate::language::template::Name;
use crate::language::{Expr, Extraction, Format, Operator, PATTERN, Pipe};

/// The column of a line that was written anew; no field is called so.
pub(super) const LINE: &str = "\u{1}line";

/// The signs that colour a line on a terminal, with the letter that ends each.
const COLOURS: &str = r"\x1b\[[^A-Za-z]*(?:[A-Za-z]|\z)";

/// What lines say of themselves that could not be taken apart: what kind of failure, and which.
pub(super) const ERRORS: [&str; 2] = ["__error__", "__error_details__"];

/// Signs `_` in a label up to which each may stand for a dash, or for a dot, whatever the others are. Of a label with
/// more of them, names whose first signs are dots are looked for.
const DASHES_MAX: usize = 2;
const DOTS_MAX: usize = 5;
/// Names that are looked for at most.
const SPELLINGS_MAX: usize = 32;

/// Whether lines that could not be taken apart say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Errors {
    /// Nobody asks.
    #[default]
    Unasked,
    /// The query asks; no stage has said anything yet.
    Asked,
    /// A stage may have said it.
    Told,
}

/// A query's lines in our plan.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    pub(super) filter: Vec<Filter>,
    pub(super) pipes: Vec<Pipe>,
    /// The line is not the message any more.
    pub(super) rewritten: bool,
    /// Labels that are not shown, and those that alone are.
    pub(super) dropped: Vec<String>,
    pub(super) kept: Option<Vec<String>>,
    parsed: bool,
    errors: Errors,
    /// Labels that lines lost, and those that alone they kept, since the last stage that took some out of them.
    gone: Vec<String>,
    left: Option<Vec<String>>,
    /// Labels that lines lost before: what stages took out of them since then is theirs, nothing else.
    pub(super) lost: Vec<String>,
    /// What lines kept of all that they had before stages took more out of them.
    pub(super) only: Option<Only>,
    /// All labels that the query names.
    named: BTreeSet<String>,
}

/// What is left of lines behind `keep`, when more is taken out of them.
#[derive(Debug)]
pub(super) struct Only {
    pub(super) labels: Vec<String>,
    /// So many structures were parsed before: of these too nothing else is left.
    pub(super) parses: usize,
}

/// The names that a label may have with us: signs that labels cannot have are written `_`.
pub(super) fn names(label: &str) -> Vec<String> {
    match label {
        "level" | "detected_level" => vec!["level".to_owned()],
        // So Loki calls whose a stream is where several tenants are asked for.
        "__tenant_id__" => vec!["tenant".to_owned()],
        "service_name" => ["service_name", "service", "service.name"].map(str::to_owned).to_vec(),
        // What records have of themselves is none of their labels: where one is called so, it is kept as this.
        own if RESERVED.contains(&own) => {
            let mut names = vec![format!("fields.{own}"), format!("label_{own}")];
            if own == "index" {
                names.push(own.to_owned());
            }
            names
        }
        made_up if made_up.starts_with("__") => vec![made_up.to_owned()],
        label => spellings(label),
    }
}

/// The names of which a label may be made, itself first.
fn spellings(label: &str) -> Vec<String> {
    let inner = label.trim_start_matches('_');
    let mut parts = inner.split('_');
    let first = parts.next().unwrap_or_default();
    let first = format!("{}{first}", label.strip_suffix(inner).unwrap_or_default());
    let parts: Vec<&str> = parts.collect();
    if parts.len() > DOTS_MAX {
        let spelled = |dots: usize| {
            let sign = |at: usize| if at < dots { '.' } else { '_' };
            let mut name = first.clone();
            for (at, part) in parts.iter().enumerate() {
                name.push(sign(at));
                name.push_str(part);
            }
            name
        };
        return (0..=parts.len()).take(SPELLINGS_MAX).map(spelled).collect();
    }
    let signs: &[char] = if parts.len() > DASHES_MAX { &['_', '.'] } else { &['_', '.', '-'] };
    let mut names = vec![first];
    for part in parts {
        let mut longer = Vec::with_capacity(names.len() * signs.len());
        for name in &names {
            longer.extend(signs.iter().map(|sign| format!("{name}{sign}{part}")));
        }
        names = longer;
    }
    names
}

impl Lowered {
    /// Lowers a selection and its stages.
    pub(super) fn of(log: &Log) -> Self {
        Self::with(log, &[])
    }

    /// The same where these labels are asked for behind it.
    pub(super) fn with(log: &Log, asked: &[String]) -> Self {
        let is_error = |name: &String| ERRORS.contains(&name.as_str());
        let is_asked = asked.iter().chain(&asked::asked(&log.stages)).any(is_error);
        let errors = if is_asked { Errors::Asked } else { Errors::Unasked };
        let mut named = asked::named(&log.stages);
        named.extend(asked.iter().cloned());
        let mut lowered = Self { errors, named, ..Self::default() };
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

    /// A label's value of a row behind all stages so far, as text.
    pub(super) fn value(&self, label: &str) -> Expr {
        let text = |name: String| Expr::Call("text", vec![Expr::Column(name)]);
        let mut all: Vec<Expr> = self.names(label).into_iter().map(text).collect();
        match all.len() {
            0 => Expr::Text(String::new()),
            1 => all.swap_remove(0),
            _ => Expr::Call("coalesce", all),
        }
    }

    /// The names of the columns that may have a label.
    pub(super) fn names(&self, label: &str) -> Vec<String> {
        if self.is_gone(label) {
            return Vec::new();
        }
        let mut all = names(label);
        // The level that a stage wrote, else the record's.
        if label == "level" && self.parsed {
            all.insert(0, column_of(label));
        }
        if self.lost.iter().any(|lost| lost == label) {
            all.retain(|name| !is_own(name));
        }
        all
    }

    /// Lines have this label no more.
    fn is_gone(&self, label: &str) -> bool {
        let is = |name: &String| name == label;
        // What could not be taken apart is told whatever is kept.
        let is_left = |left: &Vec<String>| left.iter().any(is) || ERRORS.contains(&label);
        self.gone.iter().any(is) || self.left.as_ref().is_some_and(|left| !is_left(left))
    }

    /// Before a stage takes labels out of lines: those that are gone may be among them, but what records have of
    /// them does not come back.
    fn lets_go(&mut self) {
        self.lets_go_of_others();
        let columns = self.gone.iter().flat_map(|label| {
            let mut columns = names(label);
            columns.push(column_of(label));
            columns
        });
        let mut columns: Vec<String> = columns.filter(|name| !is_own(name)).collect();
        columns.sort();
        columns.dedup();
        if !columns.is_empty() {
            self.pipes.push(Pipe::Drop(columns));
        }
        self.dropped.retain(|label| !self.gone.contains(label));
        self.lost.append(&mut self.gone);
        self.parsed = true;
    }

    /// The same of labels that were not kept: those that the query names are gone, of the others lines show none.
    fn lets_go_of_others(&mut self) {
        let Some(labels) = self.left.take() else { return };
        let others = self.named.iter().filter(|label| {
            !labels.contains(label)
                && !self.gone.contains(label)
                && !ERRORS.contains(&label.as_str())
        });
        let others: Vec<String> = others.cloned().collect();
        self.gone.extend(others);
        let parses = self.pipes.iter().filter(|pipe| matches!(pipe, Pipe::Parse { .. })).count();
        self.only = Some(Only { labels, parses });
        self.kept = None;
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
                self.lets_go();
                self.pipes.push(Pipe::Parse { format, from });
                if format == Format::Json {
                    self.says_errors();
                }
                if *stage == Stage::Unpack {
                    // What was packed stands in `_entry`.
                    let entry = Expr::Column("_entry".to_owned());
                    let line = Expr::Call("coalesce", vec![entry, self.line()]);
                    self.pipes.push(Pipe::Eval(vec![(LINE.to_owned(), line)]));
                    self.rewritten = true;
                    self.dropped.push("_entry".to_owned());
                }
            }
            Stage::Members { is_logfmt, labels } => self.members(*is_logfmt, labels),
            Stage::Regexp(source) => {
                self.extract(Extraction::Regex(renamed(source, &["(?P", "(?"])));
            }
            Stage::Pattern(pattern) => self.extract(Extraction::Pattern(renamed(pattern, &[""]))),
            Stage::Labels(tests) => match tests {
                Tests::One(test @ Test { value: Value::Text(_), .. })
                    if !self.parsed && !self.is_gone(&test.name) =>
                {
                    self.filter.push(selected(test));
                }
                tests => {
                    let condition = self.condition(tests);
                    self.pipes.push(Pipe::Where(condition));
                }
            },
            Stage::LineFormat(pieces) => {
                let line = self.written(pieces, &self.line());
                self.pipes.push(Pipe::Eval(vec![(LINE.to_owned(), line)]));
                self.rewritten = true;
            }
            Stage::LabelFormat(formats) => self.formats(formats),
            Stage::Drop(names) => {
                self.dropped.extend(names.iter().cloned());
                self.gone.extend(names.iter().cloned());
            }
            Stage::Keep(names) => {
                // What was not kept before is not there to be kept.
                let is_there = |name: &&String| !self.is_gone(name);
                let left: Vec<String> = names.iter().filter(is_there).cloned().collect();
                self.kept = Some(left.clone());
                self.left = Some(left);
            }
            Stage::Decolorize => {
                let texts = [COLOURS, ""].map(|text| Expr::Text(text.to_owned()));
                let line = std::iter::once(self.line()).chain(texts).collect();
                let line = Expr::Call("replace_regex", line);
                self.pipes.push(Pipe::Eval(vec![(LINE.to_owned(), line)]));
                self.rewritten = true;
            }
        }
    }

    fn formats(&mut self, formats: &[(String, Vec<Piece>)]) {
        for (label, pieces) in formats {
            let value = self.written(pieces, &self.value(label));
            let name = column_of(label);
            self.is_back(label);
            if let [Piece::Label(from)] = pieces.as_slice()
                && from != label
            {
                self.dropped.push(from.clone());
                self.gone.push(from.clone());
            }
            self.pipes.push(Pipe::Eval(vec![(name, value)]));
        }
        self.parsed = true;
    }

    /// A stage gives lines this label, whatever took it away before.
    fn is_back(&mut self, label: &str) {
        self.dropped.retain(|dropped| dropped != label);
        self.gone.retain(|gone| gone != label);
        for names in [&mut self.kept, &mut self.left].into_iter().flatten() {
            names.push(label.to_owned());
        }
    }

    /// Labels out of places of a line.
    fn members(&mut self, is_logfmt: bool, labels: &[(String, Vec<String>)]) {
        self.lets_go();
        let function = if is_logfmt { "logfmt_member" } else { "json_member" };
        let one = |(label, path): &(String, Vec<String>)| {
            let path = path.iter().cloned().map(Expr::Text);
            let arguments = std::iter::once(self.line()).chain(path).collect();
            // A line without such a member keeps the label that it has.
            let found = vec![Expr::Call(function, arguments), self.value(label)];
            (column_of(label), Expr::Call("coalesce", found))
        };
        let columns = labels.iter().map(one).collect();
        self.pipes.push(Pipe::Eval(columns));
        labels.iter().for_each(|(label, _)| self.is_back(label));
        if !is_logfmt {
            self.says_errors();
        }
    }

    /// Where the query asks for that, a line that is no JSON says so.
    fn says_errors(&mut self) {
        if self.errors == Errors::Unasked {
            return;
        }
        let is_told = self.errors == Errors::Told;
        let is_json = Expr::Exists(Box::new(Expr::Call("json_member", vec![self.line()])));
        let is_none = Expr::Not(Box::new(is_json));
        let said = |(name, text): (&str, &str)| {
            let mut choice = vec![is_none.clone(), Expr::Text(text.to_owned())];
            choice.extend(is_told.then(|| Expr::Column(name.to_owned())));
            (name.to_owned(), Expr::Call("if", choice))
        };
        let texts = ["JSONParserErr", "the line holds no JSON object"];
        let columns = ERRORS.into_iter().zip(texts).map(said).collect();
        self.pipes.push(Pipe::Eval(columns));
        self.errors = Errors::Told;
    }

    fn extract(&mut self, pattern: Extraction) {
        let from = if self.rewritten { LINE } else { "message" }.to_owned();
        self.lets_go();
        self.pipes.push(Pipe::Extract { from, pattern });
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

    /// The text of a template; where it cannot be filled, what was there before.
    fn written(&self, pieces: &[Piece], before: &Expr) -> Expr {
        let asked = |name: &Name| match name {
            Name::Label(label) => {
                Expr::Call("coalesce", vec![self.value(label), Expr::Text(String::new())])
            }
            Name::Line => self.line(),
            Name::Time => Expr::Column("timestamp".to_owned()),
        };
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => Expr::Text(text.clone()),
            Piece::Label(label) => asked(&Name::Label(label.clone())),
            Piece::Line => self.line(),
            // One that asks nothing of a line is asked for the line all the same: it is filled row by row.
            Piece::Filled { source, names } => {
                let mut arguments = vec![Expr::Text(source.clone())];
                arguments.extend(names.iter().map(asked));
                arguments.extend(names.is_empty().then(|| self.line()));
                let filled = Expr::Call("template", arguments);
                Expr::Call("coalesce", vec![filled, before.clone()])
            }
        };
        Expr::Call("concat", pieces.iter().map(piece).collect())
    }
}

/// Whether every record has that of itself, and cannot lose it.
fn is_own(name: &str) -> bool {
    name == PATTERN || RESERVED.contains(&name)
}

/// The column of a label that a stage writes: it hides nothing that a record has of itself.
fn column_of(label: &str) -> String {
    match label {
        own if RESERVED.contains(&own) => format!("fields.{own}"),
        label => label.to_owned(),
    }
}

/// What takes a line apart, with names that hide nothing which a record has of itself: they stand in `<>` behind one
/// of these beginnings.
fn renamed(source: &str, beginnings: &[&str]) -> String {
    let mut source = source.to_owned();
    for own in RESERVED {
        for begin in beginnings {
            source = source.replace(&format!("{begin}<{own}>"), &format!("{begin}<fields.{own}>"));
        }
    }
    source
}

pub(super) fn field(name: &str, test: FieldTest) -> Filter {
    Filter::Field { name: name.to_owned(), test }
}

pub(super) fn binary(operator: Operator, a: Expr, b: Expr) -> Expr {
    Expr::Binary(operator, Box::new(a), Box::new(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_few_spellings() {
        #[track_caller]
        fn check(label: &str, expected: &[&str]) {
            assert_eq!(names(label), expected);
        }
        check("user", &["user"]);
        check("user_agent", &["user_agent", "user.agent", "user-agent"]);
        check("_kept", &["_kept"]);
        check("_a_b", &["_a_b", "_a.b", "_a-b"]);
        check("__error__", &["__error__"]);
        check("_", &["_"]);
        check("id", &["fields.id", "label_id"]);
        check("index", &["fields.index", "label_index", "index"]);
        let four = names("k8s_pod_start_time");
        assert!(four.contains(&"k8s.pod.start_time".to_owned()), "{four:?}");
        assert_eq!((four.first().map(String::as_str), four.len()), (Some("k8s_pod_start_time"), 8));
        assert_eq!(names("a_b_c_d_e_f").len(), SPELLINGS_MAX);
        let many = names("a_b_c_d_e_f_g");
        assert_eq!((many.len(), many.last().map(String::as_str)), (7, Some("a.b.c.d.e.f.g")));
        assert_eq!(names(&"_a".repeat(1_000)).len(), SPELLINGS_MAX);
    }

    #[test]
    fn names_of_records_are_not_hidden_by_pieces_of_lines() {
        let pattern = "<timestamp> <id2> <level> <message>";
        let expected = "<fields.timestamp> <id2> <fields.level> <fields.message>";
        assert_eq!(renamed(pattern, &[""]), expected);
        let regex = r"(?P<id>\d+) <id> (?<index>.)";
        let expected = r"(?P<fields.id>\d+) <id> (?<fields.index>.)";
        assert_eq!(renamed(regex, &["(?P", "(?"]), expected);
        assert!(regex::Regex::new(expected).is_ok());
    }
}
