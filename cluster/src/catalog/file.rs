//! The catalog's file: made in an empty data directory, compared with its checksums whenever it is opened,
//! and never made anew in the place of one that is damaged or gone.

use std::io::ErrorKind;
use std::path::Path;

use redb::{Database, DatabaseError, StorageError};

use super::{Catalog, CatalogError, storage};

/// Its file in a data directory.
pub(super) const FILE: &str = "catalog.redb";
/// What is made there after it: where one of these is, it was there.
const MADE_LATER: [&str; 4] = ["meta", "objects", "queue", "replicas"];
/// Bytes of memory for redb's page cache; its own default is a gigabyte.
const CACHE_BYTES: usize = 16 << 20;

impl Catalog {
    /// Opens the catalog of a data directory, made in an empty one. Where it is gone and the rest is not,
    /// an empty one would pass for it, and what it does not know would be swept away.
    ///
    /// # Errors
    /// [`CatalogError::Broken`], [`CatalogError::Storage`].
    pub fn open_in(folder: &Path) -> Result<Self, CatalogError> {
        let path = folder.join(FILE);
        let bytes = path.metadata().map_or(0, |file| file.len());
        if bytes == 0 && MADE_LATER.iter().any(|name| folder.join(name).exists()) {
            return Err(broken(&path, "it is empty or gone, and what it knew of is there"));
        }
        let catalog = Self::open(&path)?;
        if bytes == 0 {
            let synced = platform::disk::sync_dir(folder);
            synced.map_err(|error| storage(StorageError::from(error)))?;
        }
        Ok(catalog)
    }

    /// Opens the catalog, made when it is not there. All of it is read and compared with its checksums:
    /// a page that a disk damaged is found now, not when somebody needs it.
    ///
    /// # Errors
    /// [`CatalogError::Broken`], [`CatalogError::Storage`].
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        let mut settings = Database::builder();
        settings.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        Self::of(settings.create(path).map_err(|error| not_opened(path, error))?)
    }
}

fn broken(path: &Path, why: &str) -> CatalogError {
    CatalogError::Broken { file: path.display().to_string(), why: why.to_owned() }
}

/// Why the file is not opened: it is damaged, or the system does not let us.
fn not_opened(path: &Path, error: DatabaseError) -> CatalogError {
    let is_damaged = match &error {
        // A file of another version is none of ours.
        DatabaseError::UpgradeRequired(_) | DatabaseError::Storage(StorageError::Corrupted(_)) => {
            true
        }
        DatabaseError::Storage(StorageError::Io(io)) => {
            matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof)
        }
        _ => false,
    };
    if is_damaged { broken(path, &error.to_string()) } else { storage(error) }
}
