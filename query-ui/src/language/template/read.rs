//! Reads templates.

use model::query::REGEX_BYTES_MAX;
use regex::RegexBuilder;

use super::functions::{find, wants_regex};
use super::{Call, Expr, Name, Piece, Template, Wrong};

/// Brackets, branches and functions inside each other.
const DEPTH_MAX: usize = 64;
/// Regular expressions of one template.
const REGEXES_MAX: usize = 16;
/// What templates of Go have beside it, and we do not.
const REFUSED: [&str; 8] =
    ["range", "with", "define", "template", "block", "break", "continue", "nil"];

/// Reads a template.
pub(super) fn read(text: &str) -> Result<Template, Wrong> {
    let mut reader = Reader { text, at: 0, names: Vec::new(), regexes: 0 };
    let (pieces, end) = reader.pieces(0)?;
    match end {
        End::Text => Ok(Template { pieces, names: reader.names }),
        End::Closed | End::Else | End::ElseIf => {
            Err(reader.wrong("a template has {{else}} or {{end}} without {{if}}"))
        }
    }
}

/// What ended some pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Text,
    Closed,
    Else,
    ElseIf,
}

/// A template on its way.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    names: Vec<Name>,
    regexes: usize,
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong(&self, why: impl Into<String>) -> Wrong {
        Wrong { at: self.at, why: why.into() }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    /// The word that begins here.
    fn word(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        match rest.starts_with(|c: char| c.is_ascii_digit()) {
            true => "",
            false => rest.get(..end).unwrap_or_default(),
        }
    }

    fn pieces(&mut self, depth: usize) -> Result<(Vec<Piece>, End), Wrong> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("too many {{if}} inside each other"));
        }
        let mut pieces = Vec::new();
        loop {
            let Some((before, _)) = self.rest().split_once("{{") else {
                let rest = self.rest();
                self.at = self.text.len();
                pieces.extend((!rest.is_empty()).then(|| Piece::Text(rest.to_owned())));
                return Ok((pieces, End::Text));
            };
            self.at += before.len() + "{{".len();
            let trims = self
                .rest()
                .strip_prefix('-')
                .is_some_and(|rest| rest.starts_with([' ', '\t', '\n']));
            self.at += usize::from(trims);
            let before = if trims { before.trim_end() } else { before };
            pieces.extend((!before.is_empty()).then(|| Piece::Text(before.to_owned())));
            self.skip_space();
            if self.eat("/*") {
                let Some((comment, _)) = self.rest().split_once("*/") else {
                    return Err(self.wrong("a comment is not closed: */"));
                };
                self.at += comment.len() + "*/".len();
                self.close()?;
                continue;
            }
            match self.word() {
                "if" => {
                    self.at += "if".len();
                    pieces.push(self.branch(depth)?);
                }
                "end" => {
                    self.at += "end".len();
                    self.close()?;
                    return Ok((pieces, End::Closed));
                }
                "else" => return Ok((pieces, self.otherwise()?)),
                _ => {
                    let value = self.pipeline(depth)?;
                    self.close()?;
                    pieces.push(Piece::Value(value));
                }
            }
        }
    }

    /// `else`, or `else if` before its condition.
    fn otherwise(&mut self) -> Result<End, Wrong> {
        self.at += "else".len();
        self.skip_space();
        if self.word() == "if" {
            self.at += "if".len();
            return Ok(End::ElseIf);
        }
        self.close()?;
        Ok(End::Else)
    }

    /// `if` behind its word, to its `end`.
    fn branch(&mut self, depth: usize) -> Result<Piece, Wrong> {
        let mut cases = Vec::new();
        loop {
            let condition = self.pipeline(depth)?;
            self.close()?;
            let (pieces, end) = self.pieces(depth + 1)?;
            cases.push((condition, pieces));
            let otherwise = match end {
                End::ElseIf => continue,
                End::Closed => Vec::new(),
                End::Else => {
                    let (otherwise, end) = self.pieces(depth + 1)?;
                    if end != End::Closed {
                        return Err(self.wrong("expected {{end}} behind {{else}}"));
                    }
                    otherwise
                }
                End::Text => return Err(self.wrong("an {{if}} has no {{end}}")),
            };
            return Ok(Piece::If { cases, otherwise });
        }
    }

    /// `}}`, or `-}}`, which takes the space behind it away.
    fn close(&mut self) -> Result<(), Wrong> {
        self.skip_space();
        if self.eat("-}}") {
            self.skip_space();
            return Ok(());
        }
        match self.eat("}}") {
            true => Ok(()),
            false if self.rest().is_empty() => Err(self.wrong("a template's {{ is not closed")),
            false => Err(self.wrong("expected | or }} in a template")),
        }
    }

    /// Values, each given to the function behind it.
    fn pipeline(&mut self, depth: usize) -> Result<Expr, Wrong> {
        let mut value = self.command(None, depth)?;
        loop {
            self.skip_space();
            if !self.eat("|") {
                return Ok(value);
            }
            value = self.command(Some(value), depth)?;
        }
    }

    /// A function with its values, or one value.
    fn command(&mut self, piped: Option<Expr>, depth: usize) -> Result<Expr, Wrong> {
        self.skip_space();
        let (at, word) = (self.at, self.word());
        if matches!(word, "" | "true" | "false" | "__line__" | "__timestamp__") {
            let value = self.operand(depth)?;
            return match piped {
                None => Ok(value),
                Some(_) => {
                    Err(Wrong { at, why: "expected a function behind | in a template".to_owned() })
                }
            };
        }
        self.at += word.len();
        let mut arguments = Vec::new();
        while !self.is_over() {
            arguments.push(self.operand(depth)?);
        }
        arguments.extend(piped);
        self.call((at, word), arguments)
    }

    /// Whether a function has all its values.
    fn is_over(&mut self) -> bool {
        self.skip_space();
        let rest = self.rest();
        rest.is_empty() || ["|", ")", "}}", "-}}"].iter().any(|end| rest.starts_with(end))
    }

    fn operand(&mut self, depth: usize) -> Result<Expr, Wrong> {
        self.skip_space();
        let at = self.at;
        match self.rest().chars().next() {
            Some('(') => {
                if depth >= DEPTH_MAX {
                    return Err(self.wrong("too many brackets inside each other"));
                }
                self.at += 1;
                let value = self.pipeline(depth + 1)?;
                self.skip_space();
                match self.eat(")") {
                    true => Ok(value),
                    false => Err(self.wrong("expected ) in a template")),
                }
            }
            Some('.') => {
                self.at += 1;
                let rest = self.rest();
                let end = rest.find(|c| !is_part(c) && c != '.').unwrap_or(rest.len());
                let label = rest.get(..end).unwrap_or_default();
                if label.is_empty() {
                    return Err(Wrong {
                        at,
                        why: "expected a label behind . in a template".to_owned(),
                    });
                }
                self.at += end;
                Ok(self.name(Name::Label(label.to_owned())))
            }
            Some('"' | '`') => self.text().map(Expr::Text),
            Some('$') => Err(self.wrong("variables of templates are not supported")),
            Some(c) if c.is_ascii_digit() || c == '-' || c == '+' => self.number(),
            Some(c) if is_part(c) => {
                let word = self.word();
                self.at += word.len();
                match word {
                    "true" => Ok(Expr::Bool(true)),
                    "false" => Ok(Expr::Bool(false)),
                    "__line__" => Ok(self.name(Name::Line)),
                    "__timestamp__" => Ok(self.name(Name::Time)),
                    word => self.call((at, word), Vec::new()),
                }
            }
            None => Err(self.wrong("a template's {{ is not closed")),
            Some(_) => Err(self.wrong(
                "a template takes {{.label}}, {{__line__}}, texts, numbers and functions here",
            )),
        }
    }

    fn name(&mut self, name: Name) -> Expr {
        let known = self.names.iter().position(|known| *known == name);
        Expr::Name(known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        }))
    }

    fn number(&mut self) -> Result<Expr, Wrong> {
        let rest = self.rest();
        let is_number = |(at, c): (usize, char)| {
            c.is_ascii_alphanumeric() || c == '.' || c == '_' || (at == 0 && (c == '-' || c == '+'))
        };
        let end = rest.char_indices().find(|one| !is_number(*one)).map_or(rest.len(), |(at, _)| at);
        let digits = rest.get(..end).unwrap_or_default();
        let number = match (digits.parse(), digits.parse()) {
            (Ok(whole), _) => Expr::Int(whole),
            (Err(_), Ok(float)) => Expr::Float(float),
            (Err(_), Err(_)) => return Err(self.wrong(format!("{digits} is no number"))),
        };
        self.at += end;
        Ok(number)
    }

    /// A text in quotes.
    fn text(&mut self) -> Result<String, Wrong> {
        let open = self.wrong("a text in a template is not closed");
        let mut characters = self.rest().char_indices();
        let Some((_, quote)) = characters.next() else { return Err(open) };
        let mut text = String::new();
        while let Some((at, c)) = characters.next() {
            if c == quote {
                self.at += at + 1;
                return Ok(text);
            }
            if c != '\\' || quote == '`' {
                text.push(c);
                continue;
            }
            match characters.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, 't')) => text.push('\t'),
                Some((_, 'r')) => text.push('\r'),
                Some((_, c @ ('\\' | '"' | '\''))) => text.push(c),
                Some((at, other)) => {
                    let why = format!("\\{other} is not supported in a text of a template");
                    return Err(Wrong { at: self.at + at, why });
                }
                None => break,
            }
        }
        Err(open)
    }

    fn call(&mut self, (at, name): (usize, &str), arguments: Vec<Expr>) -> Result<Expr, Wrong> {
        let wrong = |why: String| Err(Wrong { at, why });
        let Some(known) = find(name) else {
            let what = if REFUSED.contains(&name) {
                "in a template"
            } else {
                "as a function of a template"
            };
            return wrong(format!("{name} is not supported {what}"));
        };
        if !(known.least..=known.most).contains(&arguments.len()) {
            let wants = match (known.least, known.most) {
                (least, most) if least == most => least.to_string(),
                (least, most) => format!("{least} to {most}"),
            };
            return wrong(format!(
                "{name} wants {wants} values in a template, not {}",
                arguments.len()
            ));
        }
        if arguments.iter().any(|argument| height(argument) >= DEPTH_MAX) {
            return wrong("too many functions inside each other".to_owned());
        }
        let mut regex = None;
        if wants_regex(name) {
            let Some(Expr::Text(source)) = arguments.first() else {
                return wrong(format!("{name} wants its expression in quotes"));
            };
            self.regexes += 1;
            if self.regexes > REGEXES_MAX {
                return wrong(format!("a template has at most {REGEXES_MAX} regular expressions"));
            }
            match RegexBuilder::new(source).size_limit(REGEX_BYTES_MAX).build() {
                Ok(built) => regex = Some(built),
                Err(_) => return wrong(format!("{source} cannot be used as a regular expression")),
            }
        }
        Ok(Expr::Call(Call { function: known.name, arguments, regex }))
    }
}

/// How many functions stand inside each other.
fn height(expr: &Expr) -> usize {
    match expr {
        Expr::Call(call) => 1 + call.arguments.iter().map(height).max().unwrap_or(0),
        _ => 0,
    }
}
