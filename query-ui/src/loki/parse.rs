//! Reads LogQL.

use super::ast::{
    By, Compare, Figure, Join, Log, Measure, Operator, Query, Range, Relabel, Test, Value,
};
use super::lex::{Token, tokens};
use super::series::whole;
use crate::language::template;

/// Bytes of a query.
const BYTES_MAX: usize = 64 << 10;
/// Brackets inside each other.
const DEPTH_MAX: usize = 64;
/// Parts that operators join, tests that `and` and `or` join, stages, and the labels that these write: each
/// stands inside the next.
const JOINED_MAX: usize = 256;

/// What is wrong with a query, in words.
pub(super) type Wrong = String;

/// Reads a query.
pub(super) fn parse(text: &str) -> Result<Query, Wrong> {
    if text.len() > BYTES_MAX {
        return Err(format!("a query has at most {BYTES_MAX} bytes"));
    }
    let tokens = tokens(text).map_err(|at| wrong(text, at, "this is nothing that a query has"))?;
    let mut parser = Parser { text, tokens: &tokens, at: 0, joined: 0 };
    let query = parser.binary(0, 0)?;
    match parser.peek() {
        None => Ok(query),
        Some(_) => Err(parser.wrong("expected the end of the query")),
    }
}

fn wrong(text: &str, at: usize, why: &str) -> Wrong {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |text| text.chars().count()) + 1;
    format!("parse error at line {line}, col {column}: {why}")
}

/// A query on its way, token by token.
pub(super) struct Parser<'a> {
    text: &'a str,
    pub(super) tokens: &'a [(usize, Token)],
    pub(super) at: usize,
    /// How many parts were joined to others.
    joined: usize,
}

const FIGURES: [(&str, Figure); 12] = [
    ("count_over_time", Figure::Count),
    ("rate", Figure::Rate),
    ("bytes_over_time", Figure::Bytes),
    ("bytes_rate", Figure::BytesRate),
    ("sum_over_time", Figure::Sum),
    ("avg_over_time", Figure::Avg),
    ("min_over_time", Figure::Min),
    ("max_over_time", Figure::Max),
    ("first_over_time", Figure::First),
    ("last_over_time", Figure::Last),
    ("quantile_over_time", Figure::Quantile),
    ("absent_over_time", Figure::Absent),
];

const JOINS: [(&str, Join); 7] = [
    ("sum", Join::Sum),
    ("min", Join::Min),
    ("max", Join::Max),
    ("avg", Join::Avg),
    ("count", Join::Count),
    ("topk", Join::Top),
    ("bottomk", Join::Bottom),
];

fn of<T: Copy>(known: &[(&str, T)], name: &str) -> Option<T> {
    known.iter().find(|(word, _)| *word == name).map(|(_, value)| *value)
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(_, token)| token)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    pub(super) fn wrong(&self, why: &str) -> Wrong {
        let at = self.tokens.get(self.at).map_or(self.text.len(), |(at, _)| *at);
        wrong(self.text, at, why)
    }

    /// What is wrong inside of the text that was just read.
    pub(super) fn wrong_inside(&self, inside: &template::Wrong) -> Wrong {
        let token = self.at.checked_sub(1).and_then(|last| self.tokens.get(last));
        // Behind the quote.
        let begin = token.map_or(self.text.len(), |(at, _)| at + 1);
        wrong(self.text, begin + inside.at, &inside.why)
    }

    pub(super) fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    pub(super) fn eat(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        self.at += usize::from(found);
        found
    }

    pub(super) fn want(&mut self, sign: &str) -> Result<(), Wrong> {
        if self.eat(sign) { Ok(()) } else { Err(self.wrong(&format!("expected {sign}"))) }
    }

    /// Joins one more part to what stands before it.
    pub(super) fn joined(&mut self) -> Result<(), Wrong> {
        self.joined += 1;
        match self.joined <= JOINED_MAX {
            true => Ok(()),
            false => Err(self.wrong(&format!("more than {JOINED_MAX} parts are joined"))),
        }
    }

    pub(super) fn word(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    pub(super) fn eat_word(&mut self, wanted: &str) -> bool {
        let found = self.word() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    pub(super) fn name(&mut self) -> Result<String, Wrong> {
        match self.word().map(str::to_owned) {
            Some(word) => {
                self.at += 1;
                Ok(word)
            }
            None => Err(self.wrong("expected a name")),
        }
    }

    pub(super) fn text(&mut self) -> Result<String, Wrong> {
        match self.peek() {
            Some(Token::Text(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.wrong("expected a text in quotes")),
        }
    }

    fn number(&mut self) -> Result<f64, Wrong> {
        let sign = if self.eat("-") { -1.0 } else { 1.0 };
        match self.next() {
            Some(Token::Number(number)) => Ok(sign * number),
            _ => {
                self.at -= 1;
                Err(self.wrong("expected a number"))
            }
        }
    }

    fn operator(&self) -> Option<(Operator, u8)> {
        Some(match self.peek()? {
            Token::Word(word) if word == "or" => (Operator::Or, 1),
            Token::Word(word) if word == "and" => (Operator::And, 2),
            Token::Word(word) if word == "unless" => (Operator::Unless, 2),
            Token::Sign("==") => (Operator::Equal, 3),
            Token::Sign("!=") => (Operator::NotEqual, 3),
            Token::Sign("<") => (Operator::Less, 3),
            Token::Sign("<=") => (Operator::LessEqual, 3),
            Token::Sign(">") => (Operator::Greater, 3),
            Token::Sign(">=") => (Operator::GreaterEqual, 3),
            Token::Sign("+") => (Operator::Add, 4),
            Token::Sign("-") => (Operator::Subtract, 4),
            Token::Sign("*") => (Operator::Multiply, 5),
            Token::Sign("/") => (Operator::Divide, 5),
            Token::Sign("%") => (Operator::Remainder, 5),
            Token::Sign("^") => (Operator::Power, 6),
            _ => return None,
        })
    }

    fn binary(&mut self, least: u8, depth: usize) -> Result<Query, Wrong> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("too many brackets inside each other"));
        }
        let mut left = self.one(depth)?;
        while let Some((operator, tight)) = self.operator().filter(|(_, tight)| *tight >= least) {
            self.at += 1;
            self.joined()?;
            let keeps = !self.eat_word("bool");
            if let Some(word @ ("on" | "ignoring" | "group_left" | "group_right")) = self.word() {
                return Err(self.wrong(&format!("{word} is not supported")));
            }
            let next = if operator == Operator::Power { tight } else { tight + 1 };
            let right = self.binary(next, depth + 1)?;
            if matches!(left, Query::Log(_)) || matches!(right, Query::Log(_)) {
                return Err(self.wrong("lines cannot be joined: count them first"));
            }
            let is_set = matches!(operator, Operator::Or | Operator::And | Operator::Unless);
            if is_set && (is_number(&left) || is_number(&right)) {
                return Err(self.wrong("and, or, unless join series, no numbers: vector(0)"));
            }
            left = Query::Binary { operator, keeps, left: Box::new(left), right: Box::new(right) };
        }
        Ok(left)
    }

    fn one(&mut self, depth: usize) -> Result<Query, Wrong> {
        match self.peek() {
            Some(Token::Sign("{")) => {
                let (log, unwrap) = self.log()?;
                if unwrap.is_some() {
                    return Err(
                        self.wrong("unwrap stands in a range: sum_over_time({…} | unwrap x [5m])")
                    );
                }
                Ok(Query::Log(log))
            }
            Some(Token::Sign("(")) => {
                self.at += 1;
                let query = self.binary(0, depth + 1)?;
                self.want(")")?;
                Ok(query)
            }
            Some(Token::Sign("-") | Token::Number(_)) => self.number().map(Query::Number),
            Some(Token::Word(word)) => {
                let word = word.clone();
                if word == "vector" {
                    self.at += 1;
                    self.want("(")?;
                    let number = self.number()?;
                    self.want(")")?;
                    return Ok(Query::Vector(number));
                }
                if word == "label_replace" {
                    self.at += 1;
                    return self.relabel(depth).map(Query::Relabel);
                }
                if let Some(figure) = of(&FIGURES, &word) {
                    self.at += 1;
                    return self.range(figure);
                }
                match of(&JOINS, &word) {
                    Some(operator) => {
                        self.at += 1;
                        self.join(operator, depth)
                    }
                    None => Err(self.wrong(&format!("the function {word} is not supported"))),
                }
            }
            _ => Err(self.wrong("expected {, a function or a number")),
        }
    }

    fn join(&mut self, operator: Join, depth: usize) -> Result<Query, Wrong> {
        let mut by = self.by()?;
        self.want("(")?;
        let most = match operator {
            Join::Top | Join::Bottom => {
                let most = self.number()?;
                self.want(",")?;
                Some(most)
            }
            _ => None,
        };
        let inner = self.binary(0, depth + 1)?;
        self.want(")")?;
        if by.is_none() {
            by = self.by()?;
        }
        if matches!(inner, Query::Log(_)) {
            return Err(
                self.wrong("lines cannot be added up: count them first, count_over_time({…}[5m])")
            );
        }
        Ok(Query::Join { operator, most, by, inner: Box::new(inner) })
    }

    /// `(series, "into", "by $1", "from", "expression")`.
    fn relabel(&mut self, depth: usize) -> Result<Relabel, Wrong> {
        self.want("(")?;
        let inner = self.binary(0, depth + 1)?;
        if matches!(inner, Query::Log(_)) {
            return Err(self.wrong("label_replace is for series: count lines first"));
        }
        self.want(",")?;
        let into = self.text()?;
        let first = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !into.starts_with(first) || !into.chars().all(|c| first(c) || c.is_ascii_digit()) {
            return Err(self.wrong(&format!("{into} cannot be a label")));
        }
        self.want(",")?;
        let by = self.text()?;
        self.want(",")?;
        let from = self.text()?;
        self.want(",")?;
        let matches = self.text()?;
        regex_of(&whole(&matches)).map_err(|why| self.wrong(&why))?;
        self.want(")")?;
        Ok(Relabel { inner: Box::new(inner), into, by, from, matches })
    }

    fn by(&mut self) -> Result<Option<By>, Wrong> {
        let without = match self.word() {
            Some("by") => false,
            Some("without") => true,
            _ => return Ok(None),
        };
        self.at += 1;
        self.want("(")?;
        let mut names = Vec::new();
        while !self.eat(")") {
            names.push(self.name()?);
            if !self.eat(",") && !self.is(")") {
                return Err(self.wrong("expected , or )"));
            }
        }
        Ok(Some(By { without, names }))
    }

    fn range(&mut self, figure: Figure) -> Result<Query, Wrong> {
        self.want("(")?;
        let mut quantile = 0.0;
        if figure == Figure::Quantile {
            quantile = self.number()?;
            self.want(",")?;
        }
        let bracketed = self.eat("(");
        let (mut log, mut unwrap) = self.log()?;
        if bracketed {
            self.want(")")?;
        }
        self.want("[")?;
        let span = self.duration()?;
        self.want("]")?;
        // Stages may stand behind the span as well.
        let (more, found) = self.stages()?;
        log.stages.extend(more);
        unwrap = unwrap.or(found);
        let mut offset = 0;
        if self.eat_word("offset") {
            let sign = if self.eat("-") { -1 } else { 1 };
            offset = sign * self.duration()?;
        }
        self.want(")")?;
        let by = self.by()?;
        let counts = matches!(figure, Figure::Count | Figure::Bytes | Figure::BytesRate);
        match (unwrap.is_some(), counts || figure == Figure::Rate) {
            (true, _) if counts => return Err(self.wrong("this function takes no unwrap")),
            _ if figure == Figure::Absent && by.is_some() => {
                return Err(self.wrong("absent_over_time takes neither by nor without"));
            }
            _ if figure == Figure::Absent => {}
            (false, false) => return Err(self.wrong("this function wants | unwrap name")),
            _ => {}
        }
        if span <= 0 || span % 1_000_000 != 0 {
            return Err(self.wrong("a range is of whole milliseconds, and not empty"));
        }
        Ok(Query::Range(Box::new(Range { figure, quantile, log, unwrap, span, offset, by })))
    }

    fn duration(&mut self) -> Result<i64, Wrong> {
        match self.next() {
            #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
            Some(Token::Duration(nanos)) if nanos < 9e18 => Ok(nanos as i64),
            _ => {
                self.at -= 1;
                Err(self.wrong("expected a span: 5m"))
            }
        }
    }

    fn log(&mut self) -> Result<(Log, Option<(String, Measure)>), Wrong> {
        self.want("{")?;
        let mut selector = Vec::new();
        while !self.eat("}") {
            let test = self.test()?;
            if !matches!(test.value, Value::Text(_)) {
                return Err(self.wrong("a label is compared with a text in quotes"));
            }
            selector.push(test);
            if !self.eat(",") && !self.is("}") {
                return Err(self.wrong("expected , or }"));
            }
        }
        let (stages, unwrap) = self.stages()?;
        Ok((Log { selector, stages }, unwrap))
    }

    pub(super) fn test(&mut self) -> Result<Test, Wrong> {
        let name = self.name()?;
        let compare = match self.next() {
            Some(Token::Sign("=" | "==")) => Compare::Equal,
            Some(Token::Sign("!=")) => Compare::NotEqual,
            Some(Token::Sign("=~")) => Compare::Like,
            Some(Token::Sign("!~")) => Compare::NotLike,
            Some(Token::Sign("<")) => Compare::Less,
            Some(Token::Sign("<=")) => Compare::LessEqual,
            Some(Token::Sign(">")) => Compare::Greater,
            Some(Token::Sign(">=")) => Compare::GreaterEqual,
            _ => {
                self.at -= 1;
                return Err(self.wrong("expected a comparison: = != =~ !~ < <= > >="));
            }
        };
        let negative = self.eat("-");
        let value = match self.next() {
            Some(Token::Text(text)) if !negative => Value::Text(text),
            Some(Token::Number(number)) => Value::Number(if negative { -number } else { number }),
            Some(Token::Duration(nanos)) => Value::Duration(if negative { -nanos } else { nanos }),
            Some(Token::Size(bytes)) if !negative => Value::Size(bytes),
            _ => {
                self.at -= 1;
                return Err(self.wrong("expected a value: \"text\", a number, 5ms, 10KB"));
            }
        };
        let likes = matches!(compare, Compare::Like | Compare::NotLike);
        match &value {
            Value::Text(source) if likes => {
                regex_of(source).map(drop).map_err(|why| self.wrong(&why))?
            }
            Value::Text(_) if matches!(compare, Compare::Equal | Compare::NotEqual) => {}
            Value::Text(_) => return Err(self.wrong("texts compare with = != =~ !~")),
            _ if likes => return Err(self.wrong("a regular expression is a text in quotes")),
            _ => {}
        }
        Ok(Test { name, compare, value })
    }
}

/// Whether a query is a number, also one that is computed.
fn is_number(query: &Query) -> bool {
    match query {
        Query::Number(_) => true,
        Query::Binary { left, right, .. } => is_number(left) && is_number(right),
        _ => false,
    }
}

/// A regular expression that can be used.
pub(super) fn regex_of(source: &str) -> Result<regex::Regex, Wrong> {
    let built = regex::RegexBuilder::new(source).size_limit(model::query::REGEX_BYTES_MAX).build();
    built.map_err(|error| {
        let text = error.to_string();
        let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        format!("this regular expression cannot be used: {why}")
    })
}
