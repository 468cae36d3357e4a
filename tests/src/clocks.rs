//! Clocks that leap, one of each node.

use std::path::{Path, PathBuf};

use crate::preload::{self, Preload};

/// Clocks whose time of the calendar can be set; time that only counts on is the machine's.
#[derive(Debug)]
pub struct Clocks {
    library: PathBuf,
    folder: PathBuf,
}

impl Clocks {
    /// Builds what makes them leap, below a folder.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let library = preload::library(folder, "leaping_clock", include_str!("leaping_clock.c"));
        Self { library, folder: folder.to_owned() }
    }

    /// The command by which a node is started that is to get such a clock.
    #[must_use]
    pub fn command(&self, number: usize) -> Vec<String> {
        let (library, value) = (self.library.clone(), self.file(number));
        preload::command(&[Preload { library, variable: "CLOCK_AHEAD_S", value }])
    }

    /// A node's clock is so many seconds ahead of the machine's from now on.
    ///
    /// # Panics
    /// It cannot be said.
    pub fn set(&self, number: usize, ahead_s: i64) {
        let (file, new) = (self.file(number), self.folder.join("clock.new"));
        // In one step: half a number is another one.
        std::fs::write(&new, ahead_s.to_string()).unwrap();
        std::fs::rename(&new, &file).unwrap();
    }

    fn file(&self, number: usize) -> PathBuf {
        self.folder.join(format!("clock{number}"))
    }
}
