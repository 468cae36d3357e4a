//! Small documents that people or programs leave with the catalog: by kind and name, such as the
//! settings of an index or a saved view. What is in them is known to who stores them.

use redb::ReadableDatabase as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::catalog::{Answer, Catalog, CatalogError, Command, DOCUMENTS, storage};

/// A family of documents, each with a name of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentKind {
    /// Settings of an index, by its name.
    Index,
    /// Views that everybody may see, by id.
    View,
    /// What shippers reported last, by id.
    Shipper,
    /// Settings that shippers fetch.
    ShipperSettings,
    /// What clients of the Elasticsearch API leave: templates, policies, pipelines, by path.
    Elastic,
    /// Other names of indexes ([`crate::aliases`]), as `name/index`.
    Alias,
}

impl DocumentKind {
    /// As it is stored.
    fn key(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::View => "view",
            Self::Shipper => "shipper",
            Self::ShipperSettings => "shipper-settings",
            Self::Elastic => "elastic",
            Self::Alias => "alias",
        }
    }
}

fn damaged(kind: DocumentKind, name: &str) -> impl FnOnce(serde_json::Error) -> CatalogError {
    let key = format!("{} {name}", kind.key());
    move |source| CatalogError::Damaged { key, source }
}

impl Catalog {
    /// All documents of a kind, by name.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn documents<T: DeserializeOwned>(
        &self,
        kind: DocumentKind,
    ) -> Result<Vec<(String, T)>, CatalogError> {
        self.documents_below(kind, "")
    }

    /// The documents of a kind whose names begin so, by name.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn documents_below<T: DeserializeOwned>(
        &self,
        kind: DocumentKind,
        beginning: &str,
    ) -> Result<Vec<(String, T)>, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let table = read.open_table(DOCUMENTS).map_err(storage)?;
        let mut documents = Vec::new();
        for entry in table.range((kind.key(), beginning)..).map_err(storage)? {
            let (key, value) = entry.map_err(storage)?;
            let (family, name) = key.value();
            if family != kind.key() || !name.starts_with(beginning) {
                break;
            }
            let document = serde_json::from_slice(value.value()).map_err(damaged(kind, name))?;
            documents.push((name.to_owned(), document));
        }
        Ok(documents)
    }

    /// The document of that name.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn document<T: DeserializeOwned>(
        &self,
        kind: DocumentKind,
        name: &str,
    ) -> Result<Option<T>, CatalogError> {
        let read = self.database.begin_read().map_err(storage)?;
        let table = read.open_table(DOCUMENTS).map_err(storage)?;
        let value = table.get((kind.key(), name)).map_err(storage)?;
        let read = |bytes: &[u8]| serde_json::from_slice(bytes).map_err(damaged(kind, name));
        value.map(|value| read(value.value())).transpose()
    }

    /// Stores a document in the place of the one of that name. Durable when it returns.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn put_document<T: Serialize>(
        &self,
        kind: DocumentKind,
        name: &str,
        document: &T,
    ) -> Result<(), CatalogError> {
        let value = serde_json::to_string(document).map_err(damaged(kind, name))?;
        let (kind, name) = (kind.key().to_owned(), name.to_owned());
        self.execute(Command::PutDocument { kind, name, value }).map(drop)
    }

    /// Removes a document. Whether there was one.
    ///
    /// # Errors
    /// [`CatalogError`].
    pub fn remove_document(&self, kind: DocumentKind, name: &str) -> Result<bool, CatalogError> {
        let (kind, name) = (kind.key().to_owned(), name.to_owned());
        Ok(self.execute(Command::RemoveDocument { kind, name })? == Answer::Was(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_kept_by_kind_and_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.redb");
        let catalog = Catalog::open(&path).unwrap();
        catalog.put_document(DocumentKind::Index, "a", &1).unwrap();
        catalog.put_document(DocumentKind::View, "a", &2).unwrap();
        catalog.put_document(DocumentKind::Index, "b", &3).unwrap();
        catalog.put_document(DocumentKind::Index, "b", &4).unwrap();
        drop(catalog);
        let catalog = Catalog::open(&path).unwrap();
        let of = |kind| catalog.documents::<u32>(kind).unwrap();
        assert_eq!(of(DocumentKind::Index), [("a".to_owned(), 1), ("b".to_owned(), 4)]);
        assert_eq!(of(DocumentKind::View), [("a".to_owned(), 2)]);
        assert_eq!(of(DocumentKind::Shipper), []);
        assert_eq!(catalog.document::<u32>(DocumentKind::Index, "b").unwrap(), Some(4));
        assert!(catalog.remove_document(DocumentKind::Index, "b").unwrap());
        assert!(!catalog.remove_document(DocumentKind::Index, "b").unwrap());
        assert_eq!(catalog.document::<u32>(DocumentKind::Index, "b").unwrap(), None);
        let wrong = catalog.document::<String>(DocumentKind::View, "a");
        assert!(matches!(wrong, Err(CatalogError::Damaged { key, .. }) if key == "view a"));
    }
}
