//! Patterns with braces that hold slashes, such as `/srv/{a,b/c}/*.log` → those without that they stand for.

/// Patterns that one may stand for.
pub(crate) const PATTERNS_MAX: usize = 256;

/// The patterns that one stands for: itself, unless it has a brace that holds a slash. `None` when there
/// are more than [`PATTERNS_MAX`].
pub(crate) fn spread(text: &str) -> Option<Vec<String>> {
    let (mut open, mut done) = (vec![text.to_owned()], Vec::new());
    while let Some(text) = open.pop() {
        let Some(brace) = Brace::first(&text) else {
            done.push(text);
            continue;
        };
        // The last is taken first: their order is that in which they are written.
        open.extend(brace.choices.iter().rev().map(|it| [brace.before, it, brace.behind].concat()));
        if open.len() + done.len() > PATTERNS_MAX {
            return None;
        }
    }
    Some(done)
}

/// A brace that holds a slash, and what stands around it.
struct Brace<'a> {
    before: &'a str,
    choices: Vec<&'a str>,
    behind: &'a str,
}

impl<'a> Brace<'a> {
    /// The first one that is in no other, if the braces of the pattern are well formed: what is wrong
    /// with others whoever reads them tells.
    fn first(text: &'a str) -> Option<Self> {
        let (mut depth, mut start, mut slash) = (0_usize, 0, false);
        let mut cuts = Vec::new();
        let mut places = text.char_indices();
        while let Some((at, c)) = places.next() {
            match c {
                '\\' => {
                    places.next();
                }
                '[' => skip_class(&mut places)?,
                '{' => {
                    if depth == 0 {
                        (start, slash) = (at, false);
                        cuts.clear();
                    }
                    depth += 1;
                }
                ',' if depth == 1 => cuts.push(at),
                '/' if depth > 0 => slash = true,
                '}' => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 && slash {
                        cuts.push(at);
                        return Self::cut(text, start, &cuts);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The choices end at the `cuts`, the last of them where the brace does.
    fn cut(text: &'a str, start: usize, cuts: &[usize]) -> Option<Self> {
        let mut from = start + 1;
        let mut choices = Vec::new();
        for cut in cuts {
            choices.push(text.get(from..*cut)?);
            from = cut + 1;
        }
        Some(Self { before: text.get(..start)?, choices, behind: text.get(from..)? })
    }
}

/// Passes a class of characters, whose `[` was read: a bracket that stands first in it is one of them.
fn skip_class(places: &mut std::str::CharIndices<'_>) -> Option<()> {
    let (_, mut c) = places.next()?;
    if matches!(c, '!' | '^') {
        (_, c) = places.next()?;
    }
    if c == ']' {
        (_, c) = places.next()?;
    }
    while c != ']' {
        (_, c) = places.next()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(spread(text).unwrap(), expected, "{text}");
    }

    #[test]
    fn a_brace_with_a_slash_is_several_patterns() {
        check("/a/{b,c}/*", &["/a/{b,c}/*"]);
        check("/a/{b,c/d}/*", &["/a/b/*", "/a/c/d/*"]);
        check("/a{,/b}", &["/a", "/a/b"]);
        check("/{a,b/{c,d/e}}/f", &["/a/f", "/b/c/f", "/b/d/e/f"]);
        check("/{a,{b,c}/d}", &["/a", "/{b,c}/d"]);
        check("/{x,y}/{a,b/c}", &["/{x,y}/a", "/{x,y}/b/c"]);
    }

    #[test]
    fn what_is_no_brace_is_left_as_it_is() {
        for text in
            ["/a/\\{b,c/d\\}", "/a/[{]b,c/d}", "/a/{b,c/d", "/a}b/{c", "/a/[{", "/[]{]/{a,b}"]
        {
            check(text, &[text]);
        }
        check("/[!]/{]{a,b/c}", &["/[!]/{]a", "/[!]/{]b/c"]);
    }

    #[test]
    fn one_pattern_does_not_stand_for_very_many() {
        let of = |count: usize| spread(&"{a/,b/}".repeat(count)).map(|all| all.len());
        assert_eq!((of(8), of(9), of(40)), (Some(PATTERNS_MAX), None, None));
    }
}
