//! Patterns → files: which paths match, and walking the folders where matches can be.

use std::collections::HashSet;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::braces;
use crate::doubt::is_doubt;
use crate::identity::FileId;
use crate::rotation::compressed;

/// Folders below each other that are walked.
const DEPTH_MAX: usize = 64;

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// It is written wrong.
    #[error("{pattern:?} is no pattern of files")]
    Glob {
        /// As it was written.
        pattern: String,
        /// What is wrong with it.
        #[source]
        source: globset::Error,
    },
    /// Its braces that hold a slash stand for too many patterns: write several.
    #[error("{pattern:?} stands for more than {} patterns of files", braces::PATTERNS_MAX)]
    TooMany {
        /// As it was written.
        pattern: String,
    },
}

#[derive(Debug)]
enum Step {
    Literal(String),
    Glob(GlobMatcher),
    AnyDepth,
}

#[derive(Debug)]
struct Pattern {
    whole: GlobMatcher,
    steps: Vec<Step>,
    /// The folder below which all matches are.
    base: PathBuf,
}

/// Which files are followed.
#[derive(Debug)]
pub(crate) struct Patterns(Vec<SourcePatterns>);

/// The patterns of one source.
#[derive(Debug)]
struct SourcePatterns {
    includes: Vec<Pattern>,
    excludes: Vec<GlobMatcher>,
}

/// A file, as a walk came by.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: PathBuf,
    pub(crate) id: FileId,
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified_ns: i64,
    /// Whether a pattern names it; if not, it is a file known from before under another name.
    pub(crate) matches: bool,
}

impl Seen {
    /// Looks at a path, following links. `None` when no regular file is there.
    ///
    /// # Errors
    /// As the system says; then nobody knows what is there.
    pub(crate) fn at(path: &Path, matches: bool) -> io::Result<Option<Self>> {
        let metadata = match std::fs::metadata(path) {
            Err(error) if is_doubt(&error) => return Err(error),
            metadata => metadata.ok().filter(Metadata::is_file),
        };
        Ok(metadata.map(|metadata| Self::of(path, &metadata, matches)))
    }

    /// The same where it does not matter why it is not seen.
    pub(crate) fn surely_at(path: &Path, matches: bool) -> Option<Self> {
        Self::at(path, matches).ok().flatten()
    }

    fn of(path: &Path, metadata: &Metadata, matches: bool) -> Self {
        Self {
            path: path.to_owned(),
            id: FileId::of(metadata),
            size: metadata.len(),
            modified_ns: modified_ns(metadata),
            matches,
        }
    }
}

/// When the content last changed, nanoseconds since 1970.
pub(crate) fn modified_ns(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

impl Patterns {
    /// Checks the patterns of sources, what each includes and excludes; relative ones start at
    /// the current folder.
    ///
    /// # Errors
    /// Names the pattern that is none.
    pub(crate) fn new<'a>(
        sources: impl Iterator<Item = (&'a [String], &'a [String])>,
    ) -> Result<Self, PatternError> {
        let source = |(includes, excludes): (&[String], &[String])| -> Result<_, PatternError> {
            let excludes =
                excludes.iter().map(|text| glob(&absolute(text))).collect::<Result<_, _>>()?;
            let mut patterns = Vec::new();
            for text in includes {
                let spread = braces::spread(text)
                    .ok_or_else(|| PatternError::TooMany { pattern: text.clone() })?;
                for text in &spread {
                    patterns.push(Pattern::new(text)?);
                }
            }
            Ok(SourcePatterns { includes: patterns, excludes })
        };
        Ok(Self(sources.map(source).collect::<Result<_, _>>()?))
    }

    /// The first source that follows a file of that path.
    pub(crate) fn source_of(&self, path: &Path) -> Option<usize> {
        if compressed(path) {
            return None;
        }
        self.0.iter().position(|source| {
            source.includes.iter().any(|pattern| pattern.whole.is_match(path))
                && !source.excludes.iter().any(|exclude| exclude.is_match(path))
        })
    }

    /// What the patterns that include say.
    pub(crate) fn texts(&self) -> Vec<String> {
        let includes = self.0.iter().flat_map(|source| &source.includes);
        includes.map(|pattern| pattern.whole.glob().glob().to_owned()).collect()
    }

    /// Whether a file of that path is followed.
    pub(crate) fn matches(&self, path: &Path) -> bool {
        self.source_of(path).is_some()
    }

    /// Whether a followed file can be anywhere below that folder.
    pub(crate) fn reach_into(&self, folder: &Path) -> bool {
        let names: Vec<&str> = names(folder).collect();
        self.0.iter().any(|source| {
            source.includes.iter().any(|pattern| reaches(&pattern.steps, &names))
                && !source.excludes.iter().any(|exclude| exclude.is_match(folder))
        })
    }

    /// The folders where walks begin: for each pattern the lowest one that surely holds all its
    /// matches, or as much of its path as exists by now.
    pub(crate) fn roots(&self) -> Vec<PathBuf> {
        let mut roots: Vec<PathBuf> = Vec::new();
        for pattern in self.0.iter().flat_map(|source| &source.includes) {
            let existing = pattern.base.ancestors().find(|folder| folder.is_dir());
            let root = existing.unwrap_or(Path::new("/")).to_owned();
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        roots
    }

    /// Walks a folder and those below it: calls `enter` on each before it is listed, and gives
    /// all followed files, and those others whose inode is `known`. What could not be looked at just
    /// now is told to `failed`.
    pub(crate) fn walk(
        &self,
        root: &Path,
        known: &HashSet<u64>,
        enter: &mut dyn FnMut(&Path),
        failed: &mut dyn FnMut(io::Error),
    ) -> Vec<Seen> {
        let mut found = Vec::new();
        let mut been = HashSet::new();
        let mut open = vec![(root.to_owned(), 0)];
        while let Some((folder, depth)) = open.pop() {
            let metadata = match std::fs::metadata(&folder) {
                Ok(metadata) => metadata,
                Err(error) => {
                    failed(error);
                    continue;
                }
            };
            if !been.insert(FileId::of(&metadata)) {
                continue;
            }
            enter(&folder);
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    tracing::debug!(folder = %folder.display(), %error, "cannot list the folder");
                    failed(error);
                    continue;
                }
            };
            for entry in entries {
                match entry.and_then(|entry| self.look_at(&entry, known)) {
                    Ok(There::Folder(path)) if depth < DEPTH_MAX => open.push((path, depth + 1)),
                    Ok(There::File(seen)) => found.push(seen),
                    Ok(_) => {}
                    Err(error) => failed(error),
                }
            }
        }
        found
    }

    fn look_at(&self, entry: &DirEntry, known: &HashSet<u64>) -> io::Result<There> {
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() || (kind.is_symlink() && path.is_dir()) {
            return Ok(match self.reach_into(&path) {
                true => There::Folder(path),
                false => There::Nothing,
            });
        }
        let matches = self.matches(&path);
        if !matches && !known.contains(&entry.ino()) {
            return Ok(There::Nothing);
        }
        Ok(Seen::at(&path, matches)?.map_or(There::Nothing, There::File))
    }
}

/// What a walk comes by.
enum There {
    /// It may hold files that are followed.
    Folder(PathBuf),
    File(Seen),
    Nothing,
}

impl Pattern {
    fn new(text: &str) -> Result<Self, PatternError> {
        let text = absolute(text);
        // Who wrote it knows all of it, not what is between two slashes.
        let whole = glob(&text)?;
        let glob_of = |part: &str| glob_named(part, &text);
        let mut steps = Vec::new();
        let mut base = PathBuf::from("/");
        let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        for (at, part) in parts.iter().enumerate() {
            let step = match *part {
                "**" => Step::AnyDepth,
                part if part.contains(['*', '?', '[', '{', '\\']) => Step::Glob(glob_of(part)?),
                part => Step::Literal(part.to_owned()),
            };
            let literal = matches!(step, Step::Literal(_));
            if literal && steps.len() == at && at + 1 < parts.len() && all_literal(&steps) {
                base.push(part);
            }
            steps.push(step);
        }
        Ok(Self { whole, steps, base })
    }
}

fn all_literal(steps: &[Step]) -> bool {
    steps.iter().all(|step| matches!(step, Step::Literal(_)))
}

/// Whether the steps can match something below a folder of these names.
fn reaches(steps: &[Step], names: &[&str]) -> bool {
    let Some((name, names_below)) = names.split_first() else { return !steps.is_empty() };
    match steps.split_first() {
        None => false,
        Some((Step::AnyDepth, _)) => true,
        Some((Step::Literal(text), below)) => text == name && reaches(below, names_below),
        Some((Step::Glob(matcher), below)) => matcher.is_match(name) && reaches(below, names_below),
    }
}

fn names(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => name.to_str(),
        _ => None,
    })
}

fn absolute(text: &str) -> String {
    if text.starts_with('/') {
        return text.to_owned();
    }
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    format!("{}/{}", here.to_string_lossy().trim_end_matches('/'), text.trim_start_matches("./"))
}

fn glob(text: &str) -> Result<GlobMatcher, PatternError> {
    glob_named(text, text)
}

/// The matcher of a part of a pattern.
fn glob_named(text: &str, pattern: &str) -> Result<GlobMatcher, PatternError> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(true)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|source| PatternError::Glob { pattern: pattern.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests make files as programs do")]

    use super::*;

    fn patterns(includes: &[&str], excludes: &[&str]) -> Patterns {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        Patterns::new(std::iter::once((&*owned(includes), &*owned(excludes)))).unwrap()
    }

    #[track_caller]
    fn check(include: &str, path: &str, expected: bool) {
        assert_eq!(patterns(&[include], &[]).matches(Path::new(path)), expected, "{path}");
    }

    #[test]
    fn stars_stay_in_a_folder_and_two_stars_do_not() {
        check("/var/log/*.log", "/var/log/a.log", true);
        check("/var/log/*.log", "/var/log/x/a.log", false);
        check("/var/log/**/*.log", "/var/log/a.log", true);
        check("/var/log/**/*.log", "/var/log/x/y/a.log", true);
        check("/var/log/**", "/var/log/x/syslog", true);
        check("/var/log/{a,b}?.log", "/var/log/b1.log", true);
        check("/var/log/**", "/var/log/syslog.2.gz", false);
    }

    #[test]
    fn a_brace_may_hold_folders() {
        let include = "/srv/{a,b/c}/*.log";
        check(include, "/srv/a/1.log", true);
        check(include, "/srv/b/c/1.log", true);
        check(include, "/srv/b/1.log", false);
        check("{/srv/x,/opt/{y,z/w}}/{1,2}.log", "/opt/z/w/2.log", true);
        let found = patterns(&[include], &["/srv/{b/c,d}/no*"]);
        assert!(!found.matches(Path::new("/srv/b/c/not.log")));
        assert!(found.reach_into(Path::new("/srv/b")) && !found.reach_into(Path::new("/srv/c")));
        let many = format!("/srv/{}x", "{a/,b/}".repeat(9));
        let error = PatternError::from_text(&many).unwrap();
        assert!(error.to_string().contains("more than 256 patterns"), "{error}");
    }

    #[test]
    fn what_cannot_be_looked_at_is_not_taken_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("loop");
        std::os::unix::fs::symlink(&path, &path).unwrap();
        for path in [&path, &folder.path().join("none"), &folder.path().join("loop/none")] {
            assert!(Seen::at(path, true).unwrap().is_none(), "{}", path.display());
        }
        // ENAMETOOLONG is an answer of no kind.
        assert!(Seen::at(&folder.path().join("n".repeat(300)), true).is_err());
    }

    #[test]
    fn folders_without_possible_matches_are_not_entered() {
        let patterns =
            patterns(&["/var/log/*/x/*.log", "/srv/**/a.log"], &["/srv/skip/**", "/srv/skip"]);
        for (folder, expected) in [
            ("/var", true),
            ("/var/log/app", true),
            ("/var/log/app/x", true),
            ("/var/log/app/y", false),
            ("/usr", false),
            ("/srv/a/b/c", true),
            ("/srv/skip", false),
        ] {
            assert_eq!(patterns.reach_into(Path::new(folder)), expected, "{folder}");
        }
        let wrong = PatternError::from_text("/srv/a[/*.log").map(|error| error.to_string());
        assert_eq!(wrong.as_deref(), Some("\"/srv/a[/*.log\" is no pattern of files"));
    }

    impl PatternError {
        fn from_text(text: &str) -> Option<Self> {
            let includes = [text.to_owned()];
            Patterns::new(std::iter::once((includes.as_slice(), [].as_slice()))).err()
        }
    }

    #[test]
    fn a_walk_finds_matches_and_known_files_once() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink(root, root.join("a/loop")).unwrap();
        for name in ["a/1.log", "a/b/2.log", "3.log", "3.txt", "a/4.log.gz"] {
            std::fs::write(root.join(name), name).unwrap();
        }
        let include = format!("{}/**/*.log", root.display());
        let known = HashSet::from([std::fs::metadata(root.join("3.txt")).unwrap().ino()]);
        let mut entered = Vec::new();
        let patterns = patterns(&[&include], &[]);
        assert_eq!(patterns.roots(), [root]);
        let mut found: Vec<_> = patterns
            .walk(root, &known, &mut |folder| entered.push(folder.to_owned()), &mut |error| {
                panic!("{error}")
            })
            .into_iter()
            .map(|seen| (seen.path.strip_prefix(root).unwrap().to_owned(), seen.matches))
            .collect();
        found.sort();
        let expected = [("3.log", true), ("3.txt", false), ("a/1.log", true), ("a/b/2.log", true)];
        assert_eq!(found, expected.map(|(path, matches)| (PathBuf::from(path), matches)));
        assert_eq!(entered.len(), 3);
    }

    #[test]
    fn a_walk_starts_at_what_exists() {
        let folder = tempfile::tempdir().unwrap();
        let include = format!("{}/later/still/*.log", folder.path().display());
        assert_eq!(patterns(&[&include], &[]).roots(), [folder.path()]);
    }
}
