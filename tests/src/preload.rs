//! Libraries in C that are loaded before a node's program and give it another disk or clock. Each node has a
//! file or folder of its own, by which its library is told what to do, or tells what it did.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A library, for any number of nodes.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    folder: PathBuf,
    name: &'static str,
    variable: &'static str,
}

/// A library before one node.
#[derive(Debug, Clone)]
pub struct Preload {
    library: PathBuf,
    /// The variable that names what is the node's.
    variable: &'static str,
    own: PathBuf,
}

impl Library {
    /// Builds it below a folder, from its name, its source and the variable that it reads.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn build(folder: &Path, name: &'static str, source: &str, variable: &'static str) -> Self {
        let (text, path) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.so")));
        std::fs::write(&text, source).unwrap();
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&path, &text]).status();
        assert!(built.is_ok_and(|status| status.success()), "cc builds {name}.c");
        Self { path, folder: folder.to_owned(), name, variable }
    }

    /// What is a node's own; nothing is there yet.
    #[must_use]
    pub fn own(&self, number: usize) -> PathBuf {
        self.folder.join(format!("{}{number}", self.name))
    }

    /// The library before a node.
    #[must_use]
    pub fn before(&self, number: usize) -> Preload {
        let (library, variable) = (self.path.clone(), self.variable);
        Preload { library, variable, own: self.own(number) }
    }
}

/// The command by which a program is started that has these libraries.
#[must_use]
pub fn command(preloads: &[Preload]) -> Vec<String> {
    let libraries = preloads.iter().map(|one| one.library.display().to_string());
    let libraries = libraries.collect::<Vec<_>>().join(":");
    let variables = preloads.iter().map(|one| format!("{}={}", one.variable, one.own.display()));
    let first = ["env".to_owned(), format!("LD_PRELOAD={libraries}")];
    first.into_iter().chain(variables).collect()
}
