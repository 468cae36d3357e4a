//! Of which stream a file is, and what is done to the lines of that.

use std::path::Path;
use std::sync::Arc;

use super::Shipper;
use super::between::text;
use crate::discover::Seen;
use crate::recipe::Recipe;
use crate::rotation::unrotated;

impl Shipper {
    /// The stream of a file that is met there: its path; of one that was rotated before it was met, the path
    /// that it had before, when that is followed as well and a file stands there or is known. What only looks
    /// like rotated files, as the numbered outputs of a job do, are streams of their own.
    pub(super) fn stream_of(&self, path: &Path) -> String {
        let own = text(path);
        let before = unrotated(&own);
        if before == own {
            return own;
        }
        let source = |path: &Path| self.patterns.source_of(path);
        let followed = source(Path::new(before)).filter(|it| Some(*it) == source(path)).is_some();
        let is_there = || Seen::surely_at(Path::new(before), true).is_some();
        match followed && (is_there() || self.table.knows_stream(before)) {
            true => before.to_owned(),
            false => own,
        }
    }

    /// What is done to the lines of a stream: as its first path says, which it may have been
    /// renamed from.
    pub(super) fn recipe(&self, stream: &Path, path: &Path) -> Arc<Recipe> {
        let source = self.patterns.source_of(stream).or_else(|| self.patterns.source_of(path));
        let recipe = self.recipes.get(source.unwrap_or(0)).cloned();
        recipe.unwrap_or_default()
    }
}
