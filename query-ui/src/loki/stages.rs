//! Reads the stages of a pipeline.

use super::ast::{Measure, Piece, Stage, Tests};
use super::lex::Token;
use super::parse::{Parser, Wrong, regex_of};
use super::template::template;

/// What is unwrapped: a label, and what its text measures.
type Unwrap = (String, Measure);

/// Brackets inside each other.
const DEPTH_MAX: usize = 64;

/// What the texts of a line filter are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Regex,
    /// Patterns: `<_> took <_>`.
    Shape,
}

/// The regular expression of a pattern: `<_>` is some text, and where the pattern ends, the line does.
fn shape(pattern: &str) -> Result<String, &'static str> {
    if pattern.is_empty() {
        return Ok(r"\A\z".to_owned());
    }
    if pattern.contains("<_><_>") {
        return Err("two <_> stand side by side");
    }
    let is_name = |name: &str| {
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let mut parts = Vec::new();
    for part in pattern.split("<_>") {
        let mut inside = part.split('<').skip(1).filter_map(|rest| rest.split_once('>'));
        if inside.any(|(name, _)| is_name(name)) {
            return Err("a pattern of lines takes no names: <_>");
        }
        parts.push(regex::escape(part));
    }
    Ok(format!(r"(?s){}\z", parts.join(".+?")))
}

impl Parser<'_> {
    pub(super) fn stages(&mut self) -> Result<(Vec<Stage>, Option<Unwrap>), Wrong> {
        let (mut stages, mut unwrap) = (Vec::new(), None);
        loop {
            let (form, not) = match self.peek() {
                Some(Token::Sign("|=")) => (Form::Text, false),
                Some(Token::Sign("!=")) => (Form::Text, true),
                Some(Token::Sign("|~")) => (Form::Regex, false),
                Some(Token::Sign("!~")) => (Form::Regex, true),
                Some(Token::Sign("|>")) => (Form::Shape, false),
                Some(Token::Sign("!>")) => (Form::Shape, true),
                Some(Token::Sign("|")) => {
                    self.at += 1;
                    self.joined()?;
                    match self.stage()? {
                        Ok(stage) => stages.push(stage),
                        Err(found) => unwrap = Some(found),
                    }
                    continue;
                }
                _ => return Ok((stages, unwrap)),
            };
            // `!=` also joins two queries.
            if !matches!(self.tokens.get(self.at + 1), Some((_, Token::Text(_)))) {
                return Ok((stages, unwrap));
            }
            self.at += 1;
            self.joined()?;
            let mut texts = vec![self.text()?];
            while self.word() == Some("or")
                && matches!(self.tokens.get(self.at + 1), Some((_, Token::Text(_))))
            {
                self.at += 1;
                self.joined()?;
                texts.push(self.text()?);
            }
            stages.push(self.lines(form, not, texts)?);
        }
    }

    /// The lines that hold one of some texts, or none of them.
    fn lines(&self, form: Form, not: bool, mut texts: Vec<String>) -> Result<Stage, Wrong> {
        if form == Form::Shape {
            for text in &mut texts {
                *text = shape(text).map_err(|why| self.wrong(why))?;
            }
        }
        let like = form != Form::Text;
        for text in texts.iter().filter(|_| like) {
            regex_of(text).map_err(|why| self.wrong(&why))?;
        }
        Ok(Stage::Line { like, not, texts })
    }

    /// A stage, or what is unwrapped.
    fn stage(&mut self) -> Result<Result<Stage, Unwrap>, Wrong> {
        let Some(word) = self.word().map(str::to_owned) else {
            if self.is("(") {
                return Ok(Ok(Stage::Labels(self.tests(0)?)));
            }
            return Err(self.wrong("expected a stage: json, logfmt, a label"));
        };
        let before = self.at;
        self.at += 1;
        // A label may be called like a stage.
        let compares = matches!(
            self.peek(),
            Some(Token::Sign("=" | "==" | "!=" | "=~" | "!~" | "<" | "<=" | ">" | ">="))
        );
        if compares {
            self.at = before;
            return Ok(Ok(Stage::Labels(self.tests(0)?)));
        }
        Ok(Ok(match word.as_str() {
            "json" | "logfmt" => self.taken_apart(&word)?,
            "unpack" => Stage::Unpack,
            "decolorize" => Stage::Decolorize,
            "regexp" => {
                let source = self.text()?;
                let regex = regex_of(&source).map_err(|why| self.wrong(&why))?;
                if regex.capture_names().flatten().next().is_none() {
                    return Err(self.wrong("the expression wants a named group: (?P<name>…)"));
                }
                Stage::Regexp(source)
            }
            "pattern" => {
                let pattern = self.text()?;
                if !pattern.contains('<') {
                    return Err(self.wrong("the pattern wants a name: <name>"));
                }
                Stage::Pattern(pattern)
            }
            "line_format" => {
                let text = self.text()?;
                Stage::LineFormat(template(&text).map_err(|wrong| self.wrong_inside(&wrong))?)
            }
            "label_format" => {
                let mut formats = vec![self.label_format()?];
                while self.eat(",") {
                    self.joined()?;
                    formats.push(self.label_format()?);
                }
                Stage::LabelFormat(formats)
            }
            "drop" | "keep" => {
                let mut names = vec![self.name()?];
                while self.eat(",") {
                    names.push(self.name()?);
                }
                if word == "drop" { Stage::Drop(names) } else { Stage::Keep(names) }
            }
            "unwrap" => return self.unwrap().map(Err),
            other => {
                self.at = before;
                return Err(self.wrong(&format!("the stage {other} is not supported")));
            }
        }))
    }

    /// `name=other` or `name="template"`.
    fn label_format(&mut self) -> Result<(String, Vec<Piece>), Wrong> {
        let name = self.name()?;
        self.want("=")?;
        let pieces = match self.peek() {
            Some(Token::Text(_)) => {
                let text = self.text()?;
                template(&text).map_err(|wrong| self.wrong_inside(&wrong))?
            }
            _ => vec![Piece::Label(self.name()?)],
        };
        Ok((name, pieces))
    }

    /// `name`, `duration(name)` or `bytes(name)`.
    fn unwrap(&mut self) -> Result<Unwrap, Wrong> {
        let name = self.name()?;
        if !self.eat("(") {
            return Ok((name, Measure::Number));
        }
        let label = self.name()?;
        self.want(")")?;
        match name.as_str() {
            "duration" | "duration_seconds" => Ok((label, Measure::Seconds)),
            "bytes" => Ok((label, Measure::Bytes)),
            other => Err(self.wrong(&format!("unwrap {other}() is not supported"))),
        }
    }

    fn tests(&mut self, depth: usize) -> Result<Tests, Wrong> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("too many brackets inside each other"));
        }
        let mut left = self.both(depth)?;
        while self.eat_word("or") {
            self.joined()?;
            left = Tests::Or(Box::new(left), Box::new(self.both(depth)?));
        }
        Ok(left)
    }

    fn both(&mut self, depth: usize) -> Result<Tests, Wrong> {
        let mut left = self.single(depth)?;
        loop {
            let beside =
                matches!(self.peek(), Some(Token::Word(word)) if word != "or" && word != "and");
            if self.eat_word("and") || self.eat(",") || beside {
                self.joined()?;
                left = Tests::And(Box::new(left), Box::new(self.single(depth)?));
            } else {
                return Ok(left);
            }
        }
    }

    fn single(&mut self, depth: usize) -> Result<Tests, Wrong> {
        if self.eat("(") {
            let tests = self.tests(depth + 1)?;
            self.want(")")?;
            return Ok(tests);
        }
        self.test().map(Tests::One)
    }
}
