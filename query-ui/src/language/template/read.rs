//! Reads templates: texts, blocks and the variables that they declare.

use super::{Case, Expr, Name, Piece, Range, Template, Wrong};

/// Brackets, blocks and functions inside each other.
pub(super) const DEPTH_MAX: usize = 64;
/// Variables of one template: each may hold a value of its greatest size.
const VARIABLES_MAX: usize = 32;

/// Reads a template.
pub(super) fn read(text: &str) -> Result<Template, Wrong> {
    let mut reader = Reader {
        text,
        at: 0,
        names: Vec::new(),
        regexes: 0,
        scope: Vec::new(),
        variables: 0,
        dots: 0,
        loops: 0,
    };
    let (pieces, end) = reader.pieces(0)?;
    match end {
        End::Text => Ok(Template { pieces, names: reader.names, variables: reader.variables }),
        End::Closed | End::Else | End::ElseCase { .. } => {
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
    /// `else if` or `else with`, before its value.
    ElseCase {
        is_with: bool,
    },
}

/// Variables that a block declares or sets, before it is known to what.
#[derive(Debug, Default)]
struct Given<'a> {
    names: Vec<(usize, &'a str)>,
    /// They are new.
    is_new: bool,
}

/// A template on its way.
pub(super) struct Reader<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
    pub(super) names: Vec<Name>,
    /// How many regular expressions there are.
    pub(super) regexes: usize,
    /// The variables that can be named here, with their places.
    scope: Vec<(&'a str, usize)>,
    /// How many variables there are.
    variables: usize,
    /// How many blocks around have a dot of their own.
    pub(super) dots: usize,
    /// How many of them go round.
    loops: usize,
}

pub(super) fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl<'a> Reader<'a> {
    pub(super) fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    pub(super) fn wrong(&self, why: impl Into<String>) -> Wrong {
        Wrong { at: self.at, why: why.into() }
    }

    pub(super) fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    pub(super) fn eat(&mut self, sign: &str) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }

    /// The word that begins here.
    pub(super) fn word(&self) -> &'a str {
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
                self.comment()?;
                continue;
            }
            match self.word() {
                "end" => {
                    self.at += "end".len();
                    self.close()?;
                    return Ok((pieces, End::Closed));
                }
                "else" => return Ok((pieces, self.otherwise()?)),
                _ => pieces.push(self.action(depth)?),
            }
        }
    }

    fn comment(&mut self) -> Result<(), Wrong> {
        let Some((comment, _)) = self.rest().split_once("*/") else {
            return Err(self.wrong("a comment is not closed: */"));
        };
        self.at += comment.len() + "*/".len();
        self.close()
    }

    /// What stands between `{{` and `}}`; of a block, all of it to its `end`.
    fn action(&mut self, depth: usize) -> Result<Piece, Wrong> {
        let word = self.word();
        match word {
            "if" | "with" => {
                self.at += word.len();
                self.branch(depth, word == "with")
            }
            "range" => {
                self.at += word.len();
                self.range(depth)
            }
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(self.wrong(format!("{word} stands inside {{{{range}}}}")));
                }
                self.at += word.len();
                self.close()?;
                Ok(if word == "break" { Piece::Break } else { Piece::Continue })
            }
            _ => {
                let given = self.given(1)?;
                let value = self.pipeline(depth)?;
                let piece = match self.place(given)?.first() {
                    Some(variable) => Piece::Set(*variable, value),
                    None => Piece::Value(value),
                };
                self.close()?;
                Ok(piece)
            }
        }
    }

    /// `else`, or `else if` and `else with` before their value.
    fn otherwise(&mut self) -> Result<End, Wrong> {
        self.at += "else".len();
        self.skip_space();
        let word = self.word();
        if matches!(word, "if" | "with") {
            self.at += word.len();
            return Ok(End::ElseCase { is_with: word == "with" });
        }
        self.close()?;
        Ok(End::Else)
    }

    /// `if` or `with` behind its word, to its `end`.
    fn branch(&mut self, depth: usize, mut is_with: bool) -> Result<Piece, Wrong> {
        let known = self.scope.len();
        let mut cases = Vec::new();
        let otherwise = loop {
            let given = self.given(1)?;
            let value = self.pipeline(depth)?;
            let variable = self.place(given)?.first().copied();
            self.close()?;
            self.dots += usize::from(is_with);
            let (inside, end) = self.inside(depth)?;
            self.dots -= usize::from(is_with);
            cases.push(Case { value, variable, is_with, inside });
            match end {
                End::ElseCase { is_with: next } => is_with = next,
                end => break self.behind_else(end, depth)?,
            }
        };
        self.scope.truncate(known);
        Ok(Piece::If { cases, otherwise })
    }

    /// `range` behind its word, to its `end`.
    fn range(&mut self, depth: usize) -> Result<Piece, Wrong> {
        let known = self.scope.len();
        let given = self.given(2)?;
        let over = self.pipeline(depth)?;
        let (key, element) = match self.place(given)?.as_slice() {
            [] => (None, None),
            [element] => (None, Some(*element)),
            [key, element, ..] => (Some(*key), Some(*element)),
        };
        self.close()?;
        (self.dots, self.loops) = (self.dots + 1, self.loops + 1);
        let (inside, end) = self.inside(depth)?;
        (self.dots, self.loops) = (self.dots - 1, self.loops - 1);
        let otherwise = self.behind_else(end, depth)?;
        self.scope.truncate(known);
        Ok(Piece::Range(Box::new(Range { over, key, element, inside, otherwise })))
    }

    /// The pieces of a block: what they declare is theirs.
    fn inside(&mut self, depth: usize) -> Result<(Vec<Piece>, End), Wrong> {
        let known = self.scope.len();
        let found = self.pieces(depth + 1)?;
        self.scope.truncate(known);
        Ok(found)
    }

    /// What a block says for when nothing of it holds, to its `end`.
    fn behind_else(&mut self, end: End, depth: usize) -> Result<Vec<Piece>, Wrong> {
        match end {
            End::Closed => Ok(Vec::new()),
            End::Else => {
                let (otherwise, end) = self.inside(depth)?;
                match end {
                    End::Closed => Ok(otherwise),
                    _ => Err(self.wrong("expected {{end}} behind {{else}}")),
                }
            }
            End::ElseCase { .. } => Err(self.wrong("a {{range}} has {{else}} alone")),
            End::Text => Err(self.wrong("an {{if}}, {{with}} or {{range}} has no {{end}}")),
        }
    }

    /// `$a :=`, `$a, $b :=` or the same with `=`, up to so many variables. Nothing where a value begins.
    fn given(&mut self, most: usize) -> Result<Given<'a>, Wrong> {
        let (before, mut given) = (self.at, Given::default());
        loop {
            self.skip_space();
            let at = self.at;
            if !self.eat("$") {
                break;
            }
            let name = self.word();
            self.at += name.len();
            given.names.push((at, name));
            self.skip_space();
            given.is_new = self.eat(":=");
            if given.is_new || self.eat("=") {
                let nameless = given.names.iter().find(|(_, name)| name.is_empty());
                return match nameless.map(|(at, _)| *at) {
                    Some(at) => Err(unnamed(at)),
                    None => Ok(given),
                };
            }
            if given.names.len() == most || !self.eat(",") {
                break;
            }
        }
        self.at = before;
        Ok(Given::default())
    }

    /// The places of variables, which can be named from here on.
    fn place(&mut self, given: Given<'a>) -> Result<Vec<usize>, Wrong> {
        let mut places = Vec::new();
        for (at, name) in given.names {
            if !given.is_new {
                places.push(self.variable(at, name)?);
                continue;
            }
            if self.variables == VARIABLES_MAX {
                let why = format!("a template has at most {VARIABLES_MAX} variables");
                return Err(Wrong { at, why });
            }
            places.push(self.variables);
            self.scope.push((name, self.variables));
            self.variables += 1;
        }
        Ok(places)
    }

    /// The place of a variable that was declared before.
    pub(super) fn variable(&self, at: usize, name: &str) -> Result<usize, Wrong> {
        let known = self.scope.iter().rev().find(|(known, _)| *known == name);
        match known {
            Some((_, place)) => Ok(*place),
            None if name.is_empty() => Err(unnamed(at)),
            None => Err(Wrong { at, why: format!("a template has no variable ${name} here") }),
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

    pub(super) fn name(&mut self, name: Name) -> Expr {
        let known = self.names.iter().position(|known| *known == name);
        Expr::Name(known.unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        }))
    }
}

fn unnamed(at: usize) -> Wrong {
    Wrong { at, why: "expected a variable or $.label behind $ in a template".to_owned() }
}
