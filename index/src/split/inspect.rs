//! A split looked at from outside, without the catalog: for `sawlog split`.

use std::path::Path;
use std::sync::Arc;

use model::split::{SplitId, SplitMeta};
use platform::objects::Objects;

use super::bundle::{Bundle, UNTYPED_VERSION};
use super::lex::show;
use super::open::Split;
use super::pages::PageCache;
use super::{body_name, bundle_name};
use crate::scan::ScanError;

/// What a split is made of.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Its name.
    pub id: SplitId,
    /// Rows.
    pub row_count: u64,
    /// Whether it is packed small, for the last time.
    pub cold: bool,
    /// Earliest and latest timestamp, nanoseconds UTC.
    pub time: (i64, i64),
    /// Bytes of the body.
    pub body_bytes: u64,
    /// Columns of the body with their bytes as stored.
    pub columns: Vec<(String, u64)>,
    /// Bytes of the bundle.
    pub bundle_bytes: u64,
    /// Sections of the bundle with their bytes as stored.
    pub sections: Vec<(String, u64)>,
    /// Templates as people read them, with their rows; those with most rows first. Loose rows are
    /// not among them.
    pub templates: Vec<(String, u64)>,
    /// Rows without a template.
    pub loose_rows: u64,
}

/// Opens a split by its folder, `…/splits/ID`.
///
/// # Errors
/// [`ScanError::Corrupt`] names the object and what is wrong with it; a folder that holds no split
/// is one without a bundle.
pub fn open_folder(folder: &Path) -> Result<Split, ScanError> {
    let wrong = |what: String| ScanError::Corrupt { object: folder.display().to_string(), what };
    let folder = std::path::absolute(folder).map_err(|error| wrong(error.to_string()))?;
    let splits = folder.parent().filter(|parent| parent.ends_with("splits") && folder.is_dir());
    let (name, root) = folder
        .file_name()
        .zip(splits.and_then(Path::parent))
        .ok_or_else(|| wrong("it is no folder of a split: give …/splits/ID".to_owned()))?;
    let id = SplitId(name.to_string_lossy().into_owned());
    let objects = Objects::local(root).map_err(|error| wrong(error.to_string()))?;
    let name = bundle_name(&id);
    let bundle = Bundle::open(&objects, &name)
        .map_err(|error| ScanError::Corrupt { object: name.clone(), what: error.to_string() })?;
    let meta = SplitMeta {
        row_count: bundle.footer.row_count,
        cold: bundle.footer.cold,
        typed: bundle.footer.version > UNTYPED_VERSION,
        ..SplitMeta::named(id)
    };
    let mut split = Split::open(Arc::new(meta.clone()), &objects, &PageCache::none())?;
    let (time_first, time_last) = split.blocks()?.span();
    let level_counts = split.minutes()?.level_counts();
    split.meta = Arc::new(SplitMeta { time_first, time_last, level_counts, ..meta });
    Ok(split)
}

impl Split {
    /// Whether it is packed small, for the last time, as it says itself.
    pub(crate) fn is_cold(&self) -> bool {
        self.bundle.footer.cold
    }

    /// What it is made of.
    ///
    /// # Errors
    /// [`ScanError`] names the object and the part of it that is wrong.
    pub fn inspect(&self) -> Result<Inspection, ScanError> {
        let body = self.body()?;
        let mut columns: Vec<(String, u64)> = Vec::new();
        for group in body.parquet.metadata().row_groups() {
            for column in group.columns() {
                let (name, bytes) = (column.column_path().string(), column.compressed_size());
                let bytes = u64::try_from(bytes).unwrap_or(0);
                match columns.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, sum)) => *sum += bytes,
                    None => columns.push((name, bytes)),
                }
            }
        }
        let footer = &self.bundle.footer;
        let sections = footer.sections.iter().map(|entry| (entry.name.clone(), entry.bytes));
        let templates = self.templates()?;
        let rows = |range: &std::ops::Range<u32>| u64::from(range.end - range.start);
        let fixed = templates.0.iter().filter_map(|template| {
            template.key.fixed().map(|text| (show(text), rows(&template.rows)))
        });
        let mut shown: Vec<(String, u64)> = fixed.collect();
        shown.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(Inspection {
            id: self.meta.id.clone(),
            row_count: self.meta.row_count,
            cold: self.is_cold(),
            time: (self.meta.time_first, self.meta.time_last),
            body_bytes: self.size(&body_name(&self.meta.id))?,
            columns,
            bundle_bytes: self.size(&bundle_name(&self.meta.id))?,
            sections: sections.collect(),
            templates: shown,
            loose_rows: templates.loose_rows().count() as u64,
        })
    }

    /// Compares the body's length with what the bundle says: who reads it without us begins at its end.
    pub(super) fn check_length(&self) -> Result<(), ScanError> {
        let (object, expected) = (body_name(&self.meta.id), self.bundle.footer.body_bytes);
        match self.size(&object)? {
            bytes if bytes == expected => Ok(()),
            bytes => {
                let what = format!("it has {bytes} bytes instead of {expected}");
                Err(ScanError::Corrupt { object, what })
            }
        }
    }

    fn size(&self, name: &str) -> Result<u64, ScanError> {
        self.objects.size(name).map_err(|error| ScanError::Corrupt {
            object: name.to_owned(),
            what: error.to_string(),
        })
    }
}
