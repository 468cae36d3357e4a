//! `printf` of templates: `%s %q %v %d %x %X %f %e %g %t %%`, with flags, width and precision.

use super::TooLong;
use super::fill::{Made, VALUE_BYTES_MAX};
use super::value::{Value, exponent, float_text};

/// Characters that a width or a precision may ask for.
const WIDTH_MAX: usize = 1_000;

/// How a value is written.
#[derive(Debug, Clone, Copy, Default)]
struct Form {
    left: bool,
    zeros: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
}

/// The text of a format with its values.
pub(super) fn printed(format: &str, given: &[Value<'_>]) -> Result<String, TooLong> {
    let mut made = Made::up_to(VALUE_BYTES_MAX);
    let (mut rest, mut given) = (format, given.iter());
    while let Some((before, behind)) = rest.split_once('%') {
        made.push(before)?;
        let (form, behind) = Form::read(behind);
        let mut verbs = behind.chars();
        let Some(verb) = verbs.next() else {
            made.push("%!(NOVERB)")?;
            return Ok(made.done());
        };
        rest = verbs.as_str();
        if verb == '%' {
            made.push("%")?;
            continue;
        }
        match given.next() {
            Some(value) => form.write(verb, value, &mut made)?,
            None => made.push(&format!("%!{verb}(MISSING)"))?,
        }
    }
    made.push(rest)?;
    Ok(made.done())
}

fn digits(text: &str) -> (usize, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (digits.parse().unwrap_or(0).min(WIDTH_MAX), rest)
}

impl Form {
    /// Flags, width and precision, and what stands behind them.
    fn read(text: &str) -> (Self, &str) {
        let (mut form, mut rest) = (Self::default(), text);
        while let Some(flag) = rest.chars().next().filter(|c| "-0+ #".contains(*c)) {
            form.left |= flag == '-';
            form.zeros |= flag == '0';
            form.plus |= flag == '+';
            rest = rest.get(1..).unwrap_or_default();
        }
        (form.width, rest) = digits(rest);
        if let Some(behind) = rest.strip_prefix('.') {
            let (precision, behind) = digits(behind);
            (form.precision, rest) = (Some(precision), behind);
        }
        (form, rest)
    }

    fn write(self, verb: char, value: &Value<'_>, made: &mut Made) -> Result<(), TooLong> {
        let Some(text) = self.shown(verb, value) else {
            let kind = match value {
                Value::Text(_) => "string",
                Value::Int(_) => "int",
                Value::Float(_) => "float64",
                Value::Bool(_) => "bool",
                Value::Time(_) => "time.Time",
                Value::List(_) => "[]interface {}",
                Value::Map(_) => "map[string]interface {}",
                Value::Nothing => return made.push(&format!("%!{verb}(<nil>)")),
            };
            return made.push(&format!("%!{verb}({kind}={})", value.shown()));
        };
        let missing = self.width.saturating_sub(text.chars().count());
        let is_number = !matches!(verb, 's' | 'q' | 'v' | 't');
        match (self.left, self.zeros && is_number) {
            (true, _) => {
                made.push(&text)?;
                made.fill(" ", missing)
            }
            (false, true) => {
                let bare = text.trim_start_matches(['-', '+']);
                made.push(text.get(..text.len() - bare.len()).unwrap_or_default())?;
                made.fill("0", missing)?;
                made.push(bare)
            }
            (false, false) => {
                made.fill(" ", missing)?;
                made.push(&text)
            }
        }
    }

    /// A value without its width; `None` where it cannot be written so. Labels are texts: one that is a
    /// number is written as such.
    fn shown(self, verb: char, value: &Value<'_>) -> Option<String> {
        let is_number = match value {
            Value::Text(text) => model::number::read_number(text).is_some(),
            value => value.number().is_some(),
        };
        let signed = |text: String| match self.plus && !text.starts_with('-') {
            true => format!("+{text}"),
            false => text,
        };
        let precision = self.precision.unwrap_or(6);
        match verb {
            's' if matches!(value, Value::Nothing) => None,
            'v' if matches!(value, Value::Nothing) => Some("<nil>".to_owned()),
            's' | 'v' => {
                let text = value.shown();
                Some(match self.precision {
                    Some(most) if verb == 's' => text.chars().take(most).collect(),
                    _ => text.into_owned(),
                })
            }
            'q' => Some(format!("{:?}", value.shown())),
            't' => matches!(value, Value::Bool(_)).then(|| value.shown().into_owned()),
            'x' | 'X' if matches!(value, Value::Text(_)) => {
                let hex: String = value.shown().bytes().map(|byte| format!("{byte:02x}")).collect();
                Some(if verb == 'X' { hex.to_uppercase() } else { hex })
            }
            _ if !is_number => None,
            'd' => Some(signed(value.int().to_string())),
            'x' => Some(signed(hexadecimal(value.int()))),
            'X' => Some(signed(hexadecimal(value.int()).to_uppercase())),
            'f' | 'F' => Some(signed(format!("{:.precision$}", value.float()))),
            'e' => Some(signed(exponent(&format!("{:.precision$e}", value.float())))),
            'g' => Some(signed(float_text(value.float()))),
            _ => None,
        }
    }
}

fn hexadecimal(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{:x}", number.unsigned_abs())
}
