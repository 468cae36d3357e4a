//! Of which stream a file is, and what is done to the lines of that.

use std::path::Path;
use std::sync::Arc;

use super::Shipper;
use super::between::text;
use super::table::{Generation, Tracked};
use crate::discover::Seen;
use crate::recipe::Recipe;
use crate::rotation::unrotated;

impl Shipper {
    /// The stream of a file that is met there: its path; of one that was rotated before it was met, the path
    /// that it had before, when that is followed as well and a file stands there or is known: so the rules of
    /// that are its own. What only looks like rotated files, as the numbered outputs of a job do, are streams
    /// of their own.
    pub(super) fn stream_of(&self, path: &Path) -> String {
        let own = text(path);
        let before = unrotated(&own);
        if before == own {
            return own;
        }
        let followed = self.patterns.matches(Path::new(before));
        let is_there = || Seen::surely_at(Path::new(before), true).is_some();
        match followed && (is_there() || self.table.knows_stream(before)) {
            true => before.to_owned(),
            false => own,
        }
    }

    /// Whether what is met is no renamed file of that stream, for all that is known: of the file nothing was
    /// read, it is not open, and its inode stands at a path of another stream.
    pub(super) fn is_of_another_stream(&self, file: &Tracked, seen: &Seen) -> bool {
        let unseen = matches!(file.generation, Generation::Unseen { .. });
        let closed = file.hand.as_ref().is_some_and(|hand| hand.file.is_none());
        let first = self.renamed.get(&seen.path).unwrap_or(&seen.path);
        let may_tell = unseen && closed && seen.matches && !file.recipe.spooled;
        may_tell && self.stream_of(first) != file.checkpoint.source
    }

    /// What is done to the lines of a stream: as its first path says, which it may have been
    /// renamed from.
    pub(super) fn recipe(&self, stream: &Path, path: &Path) -> Arc<Recipe> {
        let source = self.patterns.source_of(stream).or_else(|| self.patterns.source_of(path));
        let recipe = self.recipes.get(source.unwrap_or(0)).cloned();
        recipe.unwrap_or_default()
    }
}
