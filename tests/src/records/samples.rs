//! Real lines as templates: what has a digit is a slot that is drawn anew.

use std::path::{Path, PathBuf};

/// Lines of one system, split into what stays and what is drawn.
#[derive(Debug, Clone, Default)]
pub(super) struct System {
    name: String,
    pub(super) lines: Vec<Vec<Part>>,
}

/// A part of a line.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Fixed(String),
    /// A token with a digit, as it was seen, and how it is drawn.
    Slot(String, Draw),
}

/// How a slot is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draw {
    /// As it was seen in the line.
    Seen,
    /// One of about a thousand values, few of them often.
    Skewed,
    /// Any of its shape.
    Any,
}

/// The systems whose lines the corpora are made from.
#[derive(Debug, Clone)]
pub struct Samples {
    pub(super) systems: Vec<System>,
}

impl Samples {
    /// Reads a folder of `NAME_2k.log` files (the LogHub samples), or the fixtures of this
    /// repository where it is absent. The second is which.
    ///
    /// # Panics
    /// Neither is there.
    #[must_use]
    pub fn read(folder: Option<&Path>) -> (Self, PathBuf) {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let folder = folder.filter(|folder| folder.is_dir()).unwrap_or(&fixtures);
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "log"));
        paths.sort();
        let systems = paths.iter().map(|path| {
            let stem = path.file_stem().unwrap().to_string_lossy();
            let name = stem.split('_').next().unwrap().to_lowercase();
            let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
            System { name, lines: text.lines().map(parts).collect() }
        });
        (Self { systems: systems.collect() }, folder.to_owned())
    }

    pub(super) fn services(&self) -> usize {
        self.systems.len()
    }

    pub(super) fn system(&self, stream: usize) -> &System {
        &self.systems[stream % self.systems.len()]
    }

    pub(super) fn service(&self, stream: usize) -> &str {
        &self.system(stream).name
    }
}

fn parts(line: &str) -> Vec<Part> {
    let (mut parts, mut fixed, mut rest) = (Vec::new(), String::new(), line);
    let mut number = 0_u64;
    while !rest.is_empty() {
        let word = |c: char| c.is_ascii_alphanumeric();
        let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
        let (token, after) = rest.split_at(end);
        if token.bytes().any(|byte| byte.is_ascii_digit()) {
            parts.push(Part::Fixed(std::mem::take(&mut fixed)));
            // Slots of one place are drawn alike in all lines of a system.
            number += 1;
            let draw = match (token.len(), number * 7 % 10) {
                (0..=2, _) | (_, 0..=3) => Draw::Seen,
                (3..=4, _) | (_, 4..=6) => Draw::Skewed,
                _ => Draw::Any,
            };
            parts.push(Part::Slot(token.to_owned(), draw));
        } else {
            fixed.push_str(token);
        }
        let next = after.chars().next();
        fixed.extend(next);
        rest = &after[next.map_or(0, char::len_utf8)..];
    }
    parts.push(Part::Fixed(fixed));
    parts
}
