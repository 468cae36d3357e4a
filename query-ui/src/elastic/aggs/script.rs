//! The arithmetic of `bucket_script`: `params.all == 0 ? 0 : params.errors / params.all * 100`.

/// Bytes of a script.
const SCRIPT_BYTES_MAX: usize = 1_024;
/// Brackets and signs inside each other.
const DEPTH_MAX: usize = 32;

/// Signs by which two numbers come to a number.
const ARITHMETIC: [&str; 5] = ["+", "-", "*", "/", "%"];

/// Arithmetic of figures.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Script {
    /// A number.
    Number(f64),
    /// The figure of that place.
    Figure(usize),
    /// With the other sign.
    Negative(Box<Self>),
    /// Two of them joined by a sign.
    Joined(Box<Self>, &'static str, Box<Self>),
    /// A comparison, what it is where that holds, and what it is else.
    Choice(Box<[Self; 3]>),
}

impl Script {
    /// Reads a script; `find` knows what `params.NAME` is. What is not arithmetic is told.
    pub(super) fn read(source: &str, find: &dyn Fn(&str) -> Option<Self>) -> Result<Self, String> {
        if source.len() > SCRIPT_BYTES_MAX {
            return Err(format!("it is over {SCRIPT_BYTES_MAX} bytes"));
        }
        let source = source.trim();
        let source = source.strip_prefix("return ").unwrap_or(source);
        let mut reader = Reader { rest: source.strip_suffix(';').unwrap_or(source), find };
        let script = reader.choice(0)?;
        match reader.rest.trim_start() {
            "" => script.only(Sort::Number),
            rest => Err(format!("[{rest}] is no arithmetic of [params]")),
        }
    }

    /// What it comes to; no finite number where it divides by zero.
    pub(super) fn of(&self, figures: &[f64]) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Figure(place) => figures.get(*place).copied().unwrap_or(f64::NAN),
            Self::Negative(inner) => -inner.of(figures),
            Self::Joined(left, sign, right) => {
                let (left, right) = (left.of(figures), right.of(figures));
                match *sign {
                    "+" => left + right,
                    "-" => left - right,
                    "*" => left * right,
                    "/" => left / right,
                    "%" => left % right,
                    sign => f64::from(u8::from(holds(left, sign, right))),
                }
            }
            Self::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                if condition.of(figures) > 0.0 { yes.of(figures) } else { no.of(figures) }
            }
        }
    }

    /// Itself, if it is of that sort.
    fn only(self, wanted: Sort) -> Result<Self, String> {
        let sort = match &self {
            Self::Joined(_, sign, _) if !ARITHMETIC.contains(sign) => Sort::Truth,
            _ => Sort::Number,
        };
        match wanted {
            _ if sort == wanted => Ok(self),
            Sort::Number => Err("a comparison is no number".to_owned()),
            Sort::Truth => Err("[?], [&&] and [||] want comparisons before them".to_owned()),
        }
    }
}

/// What something comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Number,
    /// Whether it holds.
    Truth,
}

/// Whether a comparison holds; one that holds is 1 for others.
fn holds(left: f64, sign: &str, right: f64) -> bool {
    match sign {
        "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        "&&" => left > 0.0 && right > 0.0,
        _ => left > 0.0 || right > 0.0,
    }
}

struct Reader<'a> {
    rest: &'a str,
    find: &'a dyn Fn(&str) -> Option<Script>,
}

impl<'a> Reader<'a> {
    /// One of these signs, if it comes next; of two that begin alike the longer stands first.
    fn sign(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        self.rest = self.rest.trim_start();
        let (sign, rest) =
            signs.iter().find_map(|sign| Some((*sign, self.rest.strip_prefix(*sign)?)))?;
        self.rest = rest;
        Some(sign)
    }

    /// What comes next of such characters.
    fn word(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c: char| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    /// `a < b ? 1 : 2`, or what is no choice.
    fn choice(&mut self, depth: usize) -> Result<Script, String> {
        if depth > DEPTH_MAX {
            return Err(format!("there are more than {DEPTH_MAX} brackets inside each other"));
        }
        let condition = self.any(depth)?;
        if self.sign(&["?"]).is_none() {
            return Ok(condition);
        }
        let condition = condition.only(Sort::Truth)?;
        let yes = self.choice(depth + 1)?.only(Sort::Number)?;
        if self.sign(&[":"]).is_none() {
            return Err("a [?] has no [:]".to_owned());
        }
        let no = self.choice(depth + 1)?.only(Sort::Number)?;
        Ok(Script::Choice(Box::new([condition, yes, no])))
    }

    fn any(&mut self, depth: usize) -> Result<Script, String> {
        self.joined(&["||"], Sort::Truth, |reader| reader.every(depth))
    }

    fn every(&mut self, depth: usize) -> Result<Script, String> {
        self.joined(&["&&"], Sort::Truth, |reader| reader.compared(depth))
    }

    fn compared(&mut self, depth: usize) -> Result<Script, String> {
        let signs = ["==", "!=", "<=", ">=", "<", ">"];
        self.joined(&signs, Sort::Number, |reader| reader.sum(depth))
    }

    fn sum(&mut self, depth: usize) -> Result<Script, String> {
        self.joined(&["+", "-"], Sort::Number, |reader| reader.product(depth))
    }

    fn product(&mut self, depth: usize) -> Result<Script, String> {
        self.joined(&["*", "/", "%"], Sort::Number, |reader| reader.one(depth))
    }

    /// Parts with such signs between them, from left to right: all of them comparisons, or numbers.
    fn joined(
        &mut self,
        signs: &[&'static str],
        sort: Sort,
        part: impl Fn(&mut Self) -> Result<Script, String>,
    ) -> Result<Script, String> {
        let mut left = part(self)?;
        while let Some(sign) = self.sign(signs) {
            let right = part(self)?.only(sort)?;
            left = Script::Joined(Box::new(left.only(sort)?), sign, Box::new(right));
        }
        Ok(left)
    }

    fn one(&mut self, depth: usize) -> Result<Script, String> {
        if depth > DEPTH_MAX {
            return Err(format!("there are more than {DEPTH_MAX} brackets inside each other"));
        }
        match self.sign(&["-", "+", "("]) {
            Some("-") => {
                return Ok(Script::Negative(Box::new(self.one(depth + 1)?.only(Sort::Number)?)));
            }
            Some("+") => return self.one(depth + 1)?.only(Sort::Number),
            Some(_) => {
                let inner = self.choice(depth + 1)?;
                return match self.sign(&[")"]) {
                    Some(_) => Ok(inner),
                    None => Err("a bracket is not closed".to_owned()),
                };
            }
            None => {}
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return self.number();
        }
        let refused = format!("[{}] is no arithmetic of [params]", self.rest);
        let Some(rest) = self.rest.strip_prefix("params.") else { return Err(refused) };
        self.rest = rest;
        let name = self.word(|c| c.is_alphanumeric() || c == '_');
        // A call or a member is none of the figures.
        if name.is_empty() || self.rest.starts_with(['.', '(', '[']) {
            return Err(refused);
        }
        (self.find)(name).ok_or_else(|| format!("[buckets_path] has no [{name}]"))
    }

    fn number(&mut self) -> Result<Script, String> {
        let start = self.rest;
        let is_digit = |c: char| c.is_ascii_digit();
        self.word(|c| is_digit(c) || c == '.');
        let exponent = self.rest.strip_prefix(['e', 'E']);
        let digits = exponent.map(|rest| rest.strip_prefix(['+', '-']).unwrap_or(rest));
        if let Some(digits) = digits.filter(|digits| digits.starts_with(is_digit)) {
            self.rest = digits;
            self.word(is_digit);
        }
        let text = start.get(..start.len() - self.rest.len()).unwrap_or_default();
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        number.map(Script::Number).ok_or_else(|| format!("[{text}] is no number"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `params.a` is the first figure and `params.b` the second.
    fn read(source: &str) -> Result<Script, String> {
        Script::read(source, &|name| match name {
            "a" => Some(Script::Figure(0)),
            "b" => Some(Script::Figure(1)),
            _ => None,
        })
    }

    #[test]
    fn arithmetic_is_that_of_school() {
        for (source, expected) in [
            ("params.a / params.b", 3.5),
            ("params.a-params.b", 5.0),
            ("1 + params.a * 2", 15.0),
            ("(1 + params.a) * -2", -16.0),
            ("params.a % 4 - 1", 2.0),
            ("10 - 4 - 3;", 3.0),
            ("100 / 10 / 2", 5.0),
            (" +.5e1 * params.b ", 10.0),
            ("--params.a", 7.0),
            ("params.b == 0 ? 0 : params.a / params.b", 3.5),
            ("return (params.a > 7 || params.b <= 2 && params.a != 3) ? 1 : -1;", 1.0),
            ("params.a < 7 ? 1 : params.a >= 7 ? 2 + 1 : 4", 3.0),
            ("(params.a > params.b ? params.a : params.b) * 2", 14.0),
        ] {
            let script = read(source).unwrap_or_else(|error| panic!("{source}: {error}"));
            assert!((script.of(&[7.0, 2.0]) - expected).abs() < 1e-12, "{source}");
        }
        let by_zero = read("params.a / (params.b - 2)").unwrap();
        assert!(!by_zero.of(&[7.0, 2.0]).is_finite());
    }

    #[test]
    fn what_is_no_arithmetic_is_told() {
        for (source, word) in [
            ("", "no arithmetic"),
            ("params.c", "[c]"),
            ("a + b", "no arithmetic"),
            ("params.a > 1", "no number"),
            ("(params.a > 1) + 1", "no number"),
            ("-(params.a > 1)", "no number"),
            ("1 < params.a < 3", "no number"),
            ("params.a ? 1 : 0", "comparisons"),
            ("params.a && params.b > 1 ? 1 : 0", "comparisons"),
            ("params.a > 1 ? 1", "[:]"),
            ("params.a > 1 ? 1 : params.b > 1", "no number"),
            ("params.a = 1", "no arithmetic"),
            ("Math.max(params.a, 1)", "no arithmetic"),
            ("params.a.length()", "no arithmetic"),
            ("params.a(1)", "no arithmetic"),
            ("(params.a", "bracket"),
            ("params.a params.b", "no arithmetic"),
            ("1.2.3", "no number"),
            ("params.a; params.b", "no arithmetic"),
        ] {
            let error = read(source).expect_err(source);
            assert!(error.contains(word), "{source}: {error}");
        }
        assert!(read(&"(".repeat(100)).is_err());
        assert!(read(&"1+".repeat(2_000)).is_err());
        assert!(read(&"1<2?1:".repeat(100)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_answered(source in "[-+*/%().;?:<=&|ab0-9e parms]{0,40}|.{0,40}") {
            if let Ok(script) = read(&source) {
                script.of(&[1.0, 2.0]);
            }
        }
    }
}
