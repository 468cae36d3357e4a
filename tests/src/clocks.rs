//! Clocks that leap, one of each node.

use std::path::Path;

use crate::preload::{Library, Preload};

/// Clocks whose time of the calendar can be set; time that only counts on is the machine's.
#[derive(Debug)]
pub struct Clocks(Library);

impl Clocks {
    /// Builds what makes them leap, below a folder.
    ///
    /// # Panics
    /// There is no C compiler.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        let source = include_str!("leaping_clock.c");
        Self(Library::build(folder, "leaping_clock", source, "CLOCK_AHEAD_S"))
    }

    /// What is loaded before a node that is to get such a clock.
    #[must_use]
    pub fn preload(&self, number: usize) -> Preload {
        self.0.before(number)
    }

    /// A node's clock is so many seconds ahead of the machine's from now on.
    ///
    /// # Panics
    /// It cannot be said.
    pub fn set(&self, number: usize, ahead_s: i64) {
        let file = self.0.own(number);
        let new = file.with_extension("new");
        // In one step: half a number is another one.
        std::fs::write(&new, ahead_s.to_string()).unwrap();
        std::fs::rename(&new, &file).unwrap();
    }
}
