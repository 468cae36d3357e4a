//! Reads what stands in a template's brackets: values, functions with their values, pipes.

use model::query::REGEX_BYTES_MAX;
use regex::RegexBuilder;

use super::functions::{find, wants_regex};
use super::read::{DEPTH_MAX, Reader, is_part};
use super::{Call, Expr, Name, Wrong};

/// Regular expressions of one template.
const REGEXES_MAX: usize = 16;
/// What templates of Go have beside it, and we do not.
const REFUSED: [&str; 4] = ["define", "template", "block", "nil"];

impl<'a> Reader<'a> {
    /// Values, each given to the function behind it.
    pub(super) fn pipeline(&mut self, depth: usize) -> Result<Expr, Wrong> {
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
        if word == "index" && piped.is_none() && self.is_of_labels() {
            return self.label_at(depth);
        }
        let mut arguments = Vec::new();
        while !self.is_over() {
            arguments.push(self.operand(depth)?);
        }
        arguments.extend(piped);
        self.call((at, word), arguments)
    }

    /// Whether all labels stand here, as `.` or `$`, which is eaten.
    fn is_of_labels(&mut self) -> bool {
        let before = self.at;
        self.skip_space();
        let is_all = self.eat("$") || (self.dots == 0 && self.eat("."));
        let is_alone = self.rest().starts_with(char::is_whitespace);
        if !(is_all && is_alone) {
            self.at = before;
        }
        is_all && is_alone
    }

    /// The label whose name stands in quotes: it is asked for where the template is read.
    fn label_at(&mut self, depth: usize) -> Result<Expr, Wrong> {
        self.skip_space();
        let at = self.at;
        let operand = if self.is_over() { None } else { Some(self.operand(depth)?) };
        match operand {
            Some(Expr::Text(label)) if self.is_over() => Ok(self.name(Name::Label(label))),
            _ => Err(Wrong { at, why: "index of all labels wants one name in quotes".to_owned() }),
        }
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
            Some('(') => self.bracket(depth),
            Some('.') if self.dots > 0 => {
                let is_alone = !self.rest().chars().nth(1).is_some_and(is_part);
                match is_alone && self.eat(".") {
                    true => Ok(Expr::Dot),
                    false => self.members(Expr::Dot),
                }
            }
            Some('.') => self.label(at),
            Some('$') => {
                self.at += 1;
                if self.rest().starts_with('.') {
                    return self.label(at);
                }
                let name = self.word();
                let variable = self.variable(at, name)?;
                self.at += name.len();
                self.members(Expr::Variable(variable))
            }
            Some('"' | '`') => self.quoted().map(Expr::Text),
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

    fn bracket(&mut self, depth: usize) -> Result<Expr, Wrong> {
        if depth >= DEPTH_MAX {
            return Err(self.wrong("too many brackets inside each other"));
        }
        self.at += 1;
        let value = self.pipeline(depth + 1)?;
        self.skip_space();
        match self.eat(")") {
            true => self.members(value),
            false => Err(self.wrong("expected ) in a template")),
        }
    }

    /// A label behind its dot: the dots of its name are part of it.
    fn label(&mut self, at: usize) -> Result<Expr, Wrong> {
        let label = self.behind_dot();
        if label.is_empty() {
            return Err(Wrong { at, why: "expected a label behind . in a template".to_owned() });
        }
        Ok(self.name(Name::Label(label.to_owned())))
    }

    /// A value with the names behind it, each of a member of what stands before it.
    fn members(&mut self, of: Expr) -> Result<Expr, Wrong> {
        if !self.rest().starts_with('.') {
            return Ok(of);
        }
        let at = self.at;
        let names = self.behind_dot();
        let path: Vec<String> = names.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(Wrong { at, why: "expected a name behind . in a template".to_owned() });
        }
        Ok(Expr::Member { of: Box::new(of), path })
    }

    fn behind_dot(&mut self) -> &'a str {
        self.at += 1;
        let rest = self.rest();
        let end = rest.find(|c| !is_part(c) && c != '.').unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
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
    fn quoted(&mut self) -> Result<String, Wrong> {
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
        Expr::Member { of, .. } => height(of),
        _ => 0,
    }
}
