//! Libraries in C that are loaded before a node's program and give it another disk or clock.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A library, and the variable by which it is told what to do.
#[derive(Debug, Clone)]
pub struct Preload {
    /// The library.
    pub library: PathBuf,
    /// The variable.
    pub variable: &'static str,
    /// The file or folder that it names.
    pub value: PathBuf,
}

/// Builds a library from its source, in a folder.
///
/// # Panics
/// There is no C compiler.
#[must_use]
pub fn library(folder: &Path, name: &str, source: &str) -> PathBuf {
    let (text, library) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
    std::fs::write(&text, source).unwrap();
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &text]).status();
    assert!(built.is_ok_and(|status| status.success()), "cc builds {name}.c");
    library
}

/// The command by which a program is started that has these libraries.
#[must_use]
pub fn command(preloads: &[Preload]) -> Vec<String> {
    let libraries = preloads.iter().map(|one| one.library.display().to_string());
    let libraries = libraries.collect::<Vec<_>>().join(":");
    let variables = preloads.iter().map(|one| format!("{}={}", one.variable, one.value.display()));
    let first = ["env".to_owned(), format!("LD_PRELOAD={libraries}")];
    first.into_iter().chain(variables).collect()
}
