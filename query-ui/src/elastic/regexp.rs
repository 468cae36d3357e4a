//! Lucene's regular expressions.

use super::refusal::Refusal;

/// Lucene's regular expressions in the syntax of the regex crate; they match whole values.
pub(super) fn regexp(source: &str, flags: &str) -> Result<String, Refusal> {
    let plain = flags.eq_ignore_ascii_case("none");
    let (mut out, mut chars, mut in_class) = (String::new(), source.chars(), false);
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next) if next.is_alphanumeric() => out.extend(['\\', next]),
                Some(next) => out.push_str(&regex::escape(next.encode_utf8(&mut [0; 4]))),
                None => return Err(Refusal::argument("[regexp] ends with a \\")),
            },
            '[' => {
                // A bracket inside of a class is one.
                out.push_str(if in_class { "\\[" } else { "[" });
                in_class = true;
            }
            ']' => {
                in_class = false;
                out.push(']');
            }
            '&' if in_class => out.push_str("\\&"),
            '~' if in_class => out.push_str("\\~"),
            '~' | '&' | '@' | '#' | '<' | '"' if !in_class && !plain => {
                let reason =
                    format!("[regexp] does not support [{c}]: write \\{c} for the sign itself");
                return Err(Refusal::argument(reason));
            }
            // Ends are nothing special: a match is of the whole.
            '^' | '$' if !in_class => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    Ok(out)
}
