//! What `json` and `logfmt` take out of lines where names are given: `json user="request.user.name", id`.

use super::ast::Stage;
use super::parse::{Parser, Wrong};

impl Parser<'_> {
    /// The stage behind its word.
    pub(super) fn taken_apart(&mut self, word: &str) -> Result<Stage, Wrong> {
        if self.is("-") {
            return Err(self.wrong(&format!("{word} takes no options here")));
        }
        let is_logfmt = word == "logfmt";
        let mut labels = Vec::new();
        while self.word().is_some_and(|word| word != "offset") {
            self.joined()?;
            let label = self.name()?;
            let path = match (self.eat("="), is_logfmt) {
                (false, _) => vec![label.clone()],
                (true, true) => vec![self.text()?],
                (true, false) => {
                    let text = self.text()?;
                    path(&text).ok_or_else(|| {
                        self.wrong(&format!("{text} is no path: a.b, a[0], a[\"b c\"]"))
                    })?
                }
            };
            labels.push((label, path));
            if !self.eat(",") {
                break;
            }
        }
        Ok(match (labels.is_empty(), is_logfmt) {
            (true, true) => Stage::Logfmt,
            (true, false) => Stage::Json,
            (false, is_logfmt) => Stage::Members { is_logfmt, labels },
        })
    }
}

/// The names and numbers of a path, from the outermost on.
fn path(text: &str) -> Option<Vec<String>> {
    let (mut steps, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('[') {
            let (step, behind) = inside.split_once(']')?;
            let is_number = !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit());
            let name = step.strip_prefix('"').and_then(|step| step.strip_suffix('"'));
            steps.push(name.or(is_number.then_some(step))?.to_owned());
            rest = behind;
            continue;
        }
        let name = match rest.strip_prefix('.') {
            Some(name) if !steps.is_empty() => name,
            None if steps.is_empty() => rest,
            _ => return None,
        };
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (step, behind) = name.split_at(end);
        let is_name = |c: char| c.is_alphanumeric() || "_-@$".contains(c);
        if step.is_empty() || !step.chars().all(is_name) {
            return None;
        }
        steps.push(step.to_owned());
        rest = behind;
    }
    (!steps.is_empty()).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_members() {
        for (text, expected) in [
            ("a", vec!["a"]),
            ("request.user.name", vec!["request", "user", "name"]),
            (r#"headers["User-Agent"]"#, vec!["headers", "User-Agent"]),
            (r#"["a b"].c[10].d"#, vec!["a b", "c", "10", "d"]),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(path(text), Some(expected), "{text}");
        }
        for text in ["", ".a", "a..b", "a.", "a[", "a[]", "a[x]", "a b"] {
            assert_eq!(path(text), None, "{text}");
        }
    }
}
