//! Aliases: other names of indexes, as clients of the Elasticsearch API keep them. Each pair of
//! an alias and an index is a document of its own, so that two changes at once do not undo each
//! other.

use std::collections::{BTreeMap, BTreeSet};

use model::stream::IndexName;
use serde::{Deserialize, Serialize};

use crate::catalog::{Catalog, CatalogError};
use crate::documents::DocumentKind;

/// Pairs of an alias and an index that are kept.
pub const ALIASES_MAX: usize = 4_096;

/// What is kept of an alias and one of its indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Alias {
    /// Whether what is written to the alias goes to this index; unsaid, it does where the alias
    /// has no other index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_write_index: Option<bool>,
}

/// All aliases: the indexes of each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aliases(BTreeMap<String, BTreeMap<String, Alias>>);

/// Where what is written to a name goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The name is no alias.
    AsNamed,
    /// To this index.
    To(String),
    /// The alias has several indexes, and none is said to be written.
    Unsaid,
}

/// Why changes are not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There would be more pairs than are kept.
    #[error("at most {ALIASES_MAX} pairs of an alias and an index are kept: remove some")]
    TooMany,
    /// An alias would be written to several indexes.
    #[error("alias [{0}] has more than one write index")]
    Writers(String),
}

/// One change of aliases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The alias names the index from now on.
    Add {
        /// The alias.
        alias: String,
        /// The index.
        index: String,
        /// What is kept of both.
        kept: Alias,
    },
    /// It does no more.
    Remove {
        /// The alias.
        alias: String,
        /// The index.
        index: String,
    },
}

impl Aliases {
    /// The indexes of an alias; none when there is no such alias.
    #[must_use]
    pub fn indexes(&self, alias: &str) -> BTreeSet<&str> {
        let members = self.0.get(alias).into_iter().flat_map(BTreeMap::keys);
        members.map(String::as_str).collect()
    }

    /// The names of all aliases.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The aliases of an index.
    pub fn of<'a>(&'a self, index: &'a str) -> impl Iterator<Item = (&'a str, Alias)> {
        self.0.iter().filter_map(move |(name, members)| Some((name.as_str(), *members.get(index)?)))
    }

    fn gather(pairs: Vec<(String, Alias)>) -> Self {
        let mut aliases = Self::default();
        for (key, kept) in pairs {
            // Neither part has a slash in it.
            if let Some((alias, index)) = key.split_once('/') {
                aliases.0.entry(alias.to_owned()).or_default().insert(index.to_owned(), kept);
            }
        }
        aliases
    }

    /// These as they are after changes.
    fn after(&self, changes: &[Change]) -> Result<Self, Refused> {
        let mut aliases = self.clone();
        for change in changes {
            match change {
                Change::Add { alias, index, kept } => {
                    aliases.0.entry(alias.clone()).or_default().insert(index.clone(), *kept);
                }
                Change::Remove { alias, index } => {
                    if let Some(members) = aliases.0.get_mut(alias) {
                        members.remove(index);
                    }
                }
            }
        }
        let writers = |members: &BTreeMap<String, Alias>| {
            members.values().filter(|kept| kept.is_write_index == Some(true)).count()
        };
        if let Some((alias, _)) = aliases.0.iter().find(|(_, members)| writers(members) > 1) {
            return Err(Refused::Writers(alias.clone()));
        }
        match aliases.0.values().map(BTreeMap::len).sum::<usize>() > ALIASES_MAX {
            true => Err(Refused::TooMany),
            false => Ok(aliases),
        }
    }

    fn written(&self, name: &str) -> Written {
        let Some(members) = self.0.get(name) else { return Written::AsNamed };
        let said = members.iter().find(|(_, kept)| kept.is_write_index == Some(true));
        match (said, members.len()) {
            (Some((index, _)), _) => Written::To(index.clone()),
            (None, 1) => match members.first_key_value() {
                Some((index, Alias { is_write_index: None })) => Written::To(index.clone()),
                _ => Written::Unsaid,
            },
            _ => Written::Unsaid,
        }
    }
}

impl Catalog {
    /// All aliases.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn aliases(&self) -> Result<Aliases, CatalogError> {
        self.documents(DocumentKind::Alias).map(Aliases::gather)
    }

    /// Where what is written to a name goes.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn written(&self, name: &str) -> Result<Written, CatalogError> {
        if name.contains('/') {
            return Ok(Written::AsNamed);
        }
        let pairs = self.documents_below(DocumentKind::Alias, &format!("{name}/"))?;
        Ok(Aliases::gather(pairs).written(name))
    }

    /// Makes changes, one behind the other, or says why none is made.
    ///
    /// # Errors
    /// [`CatalogError`]: those before it are made.
    pub fn change_aliases(&self, changes: &[Change]) -> Result<Result<(), Refused>, CatalogError> {
        if let Err(refused) = self.aliases()?.after(changes) {
            return Ok(Err(refused));
        }
        for change in changes {
            match change {
                Change::Add { alias, index, kept } => {
                    let key = format!("{alias}/{index}");
                    self.put_document(DocumentKind::Alias, &key, kept)?;
                }
                Change::Remove { alias, index } => {
                    self.remove_document(DocumentKind::Alias, &format!("{alias}/{index}"))?;
                }
            }
        }
        Ok(Ok(()))
    }
}

/// Whether a name may be an alias: it is then free of what separates names.
#[must_use]
pub fn is_name(alias: &str) -> bool {
    IndexName::new(alias).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(alias: &str, index: &str, is_write_index: Option<bool>) -> Change {
        let kept = Alias { is_write_index };
        Change::Add { alias: alias.to_owned(), index: index.to_owned(), kept }
    }

    #[test]
    fn an_alias_names_indexes_and_one_of_them_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        let to = |index: &str| Written::To(index.to_owned());
        assert_eq!(catalog.written("all").unwrap(), Written::AsNamed);
        let change = |changes: &[Change]| catalog.change_aliases(changes).unwrap();
        assert_eq!(change(&[add("all", "a", None), add("al", "x", None)]), Ok(()));
        assert_eq!(catalog.written("all").unwrap(), to("a"));
        assert_eq!(change(&[add("all", "b", None)]), Ok(()));
        assert_eq!(catalog.written("all").unwrap(), Written::Unsaid);
        assert_eq!(change(&[add("all", "b", Some(true))]), Ok(()));
        let second = [add("all", "a", Some(true))];
        assert_eq!(change(&second), Err(Refused::Writers("all".to_owned())));
        assert_eq!(catalog.written("all").unwrap(), to("b"));
        let aliases = catalog.aliases().unwrap();
        assert_eq!(aliases.names().collect::<Vec<_>>(), ["al", "all"]);
        assert_eq!(aliases.indexes("all"), BTreeSet::from(["a", "b"]));
        assert_eq!(aliases.of("a").count(), 1);
        let remove =
            |index: &str| Change::Remove { alias: "all".to_owned(), index: index.to_owned() };
        assert_eq!(change(&[remove("a"), remove("b")]), Ok(()));
        assert_eq!(catalog.written("all").unwrap(), Written::AsNamed);
        assert_eq!(catalog.written("al").unwrap(), to("x"));
    }

    #[test]
    fn more_than_the_bound_is_refused_whole() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.redb")).unwrap();
        let many: Vec<Change> =
            (0..=ALIASES_MAX).map(|nth| add("all", &format!("i{nth}"), None)).collect();
        assert_eq!(catalog.change_aliases(&many).unwrap(), Err(Refused::TooMany));
        assert_eq!(catalog.aliases().unwrap(), Aliases::default());
    }
}
