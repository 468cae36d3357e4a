//! Building a split: rows in order go in as they come, two finished objects come out.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use model::level::Level;
use model::limits::BLOCK_ROWS;
use model::partition::{Offset, PartitionId};
use model::split::{FieldStat, SplitId, SplitMeta};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use platform::disk;
use platform::objects::Objects;

use super::body::PIECE_BYTES;
use super::bundle::{self, Footer};
use super::terms::TermsBuilder;
use super::{body_name, bundle_name};
use crate::columns::{Values, numbers, times};
use crate::scan::field_counts;
use crate::schema::FieldColumnId;

/// Rows of one row group. One per split keeps dictionaries whole.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// Bytes of a page before compression.
const PAGE_BYTES: usize = 256 << 10;
/// Rows of a page.
const PAGE_ROWS: usize = 8_192;
/// Bytes of a column's dictionary before it is given up.
const DICTIONARY_BYTES: usize = 2 << 20;

/// Why a split was not built. Nothing is left but files in the folder for work in progress.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Its rows could not be read.
    #[error("the rows cannot be read")]
    Rows(#[from] crate::scan::ScanError),
    /// Arrow refuses the rows; our mistake.
    #[error("rows do not fit their schema")]
    Arrow(#[from] ArrowError),
    /// The body cannot be written.
    #[error("the body cannot be written")]
    Body(#[from] parquet::errors::ParquetError),
    /// The word index cannot be written.
    #[error("the word index cannot be written")]
    Words(#[from] tantivy::TantivyError),
    /// Files cannot be written: the disk is full, or broken.
    #[error("files cannot be written")]
    Io(#[from] io::Error),
}

/// Where a split's rows are from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its name to be.
    pub id: SplitId,
    /// The index.
    pub index: String,
    /// The partition.
    pub partition: PartitionId,
    /// How often its rows have been merged.
    pub merges: u32,
}

/// What was built: its entry for the catalog. The objects are in place, but nobody knows of them.
pub type Built = SplitMeta;

/// Builds a split from rows that are in row order and have the given schema, in a folder for work
/// in progress, and puts its objects. `None` when there are no rows.
///
/// Memory: one row group's compressed pages, the tokens of a block, tantivy's own buffers.
///
/// # Errors
/// [`BuildError`].
pub fn build(
    origin: Origin,
    schema: &SchemaRef,
    rows: impl Iterator<Item = Result<RecordBatch, BuildError>>,
    work: &Path,
    objects: &Objects,
) -> Result<Option<Built>, BuildError> {
    disk::create_dir_all(work)?;
    let (body, index) = (work.join("body.parquet"), work.join("index.bundle"));
    let file = Pieces::new(File::create(&body)?);
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties()?))?;
    let mut gathered = Gathered::new();
    for rows in rows {
        let rows = rows?;
        writer.write(&rows)?;
        gathered.add(&rows)?;
    }
    if gathered.rows == 0 {
        disk::remove_dir_all(work)?;
        return Ok(None);
    }
    let pieces = writer.into_inner()?.finish()?;
    let (bundle, mut meta) = gathered.finish(origin, &pieces)?;
    let mut file = File::create(&index)?;
    file.write_all(&bundle)?;
    file.sync_all()?;
    meta.stored_bytes = pieces.bytes + bundle.len() as u64;
    objects.put_file(&body_name(&meta.id), &body)?;
    objects.put_file(&bundle_name(&meta.id), &index)?;
    disk::remove_dir_all(work)?;
    Ok(Some(meta))
}

fn properties() -> Result<WriterProperties, BuildError> {
    let mut properties = WriterProperties::builder()
        .set_created_by("sawlog".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(BLOCK_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_dictionary_enabled(ColumnPath::from("message"), false)
        .set_column_statistics_enabled(ColumnPath::from("message"), EnabledStatistics::None)
        .set_column_statistics_enabled(ColumnPath::from("_rest"), EnabledStatistics::None);
    for name in ["timestamp", "offset"] {
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from(name), false)
            .set_column_encoding(ColumnPath::from(name), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(properties.build())
}

/// What is gathered of the rows while they are written.
struct Gathered {
    terms: TermsBuilder,
    rows: u64,
    block_times: Vec<(i64, i64)>,
    fields: HashMap<FieldColumnId, u64>,
    offsets: (u64, u64),
    ingest_last: i64,
    levels: [u64; 7],
    raw_bytes: u64,
}

impl Gathered {
    fn new() -> Self {
        Self {
            terms: TermsBuilder::new(),
            rows: 0,
            block_times: Vec::new(),
            fields: HashMap::new(),
            offsets: (u64::MAX, 0),
            ingest_last: i64::MIN,
            levels: [0; 7],
            raw_bytes: 0,
        }
    }

    fn add(&mut self, rows: &RecordBatch) -> Result<(), BuildError> {
        field_counts(rows, &mut self.fields);
        self.raw_bytes += raw_bytes(rows);
        let levels = Values::named(rows, "level");
        let (offsets, ingest) = (numbers(rows, "offset"), times(rows, "ingest_time"));
        for row in 0..rows.num_rows() {
            let level =
                levels.text(row).and_then(|name| Level::from_word(&name)).unwrap_or_default();
            if let Some(count) = self.levels.get_mut(usize::from(level.number())) {
                *count += 1;
            }
            if let Some(offsets) = offsets {
                let offset = offsets.value(row);
                self.offsets = (self.offsets.0.min(offset), self.offsets.1.max(offset));
            }
            if let Some(ingest) = ingest {
                self.ingest_last = self.ingest_last.max(ingest.value(row));
            }
        }
        self.add_blocks(rows)
    }

    /// Blocks are counted from the split's first row, across the sets of rows it comes in.
    fn add_blocks(&mut self, rows: &RecordBatch) -> Result<(), BuildError> {
        let block_rows = BLOCK_ROWS as u64;
        let timestamps = times(rows, "timestamp");
        let mut at = 0;
        while at < rows.num_rows() {
            let room = usize::try_from(block_rows - self.rows % block_rows).unwrap_or(BLOCK_ROWS);
            let end = (at + room).min(rows.num_rows());
            if self.rows.is_multiple_of(block_rows) {
                if self.rows > 0 {
                    self.terms.end_block();
                }
                self.block_times.push((i64::MAX, i64::MIN));
            }
            if let (Some((first, last)), Some(timestamps)) =
                (self.block_times.last_mut(), timestamps)
            {
                for row in at..end {
                    let time = timestamps.value(row);
                    (*first, *last) = ((*first).min(time), (*last).max(time));
                }
            }
            self.terms.add(&rows.slice(at, end - at));
            self.rows += (end - at) as u64;
            at = end;
        }
        Ok(())
    }

    fn finish(
        mut self,
        origin: Origin,
        pieces: &Finished,
    ) -> Result<(Vec<u8>, SplitMeta), BuildError> {
        self.terms.end_block();
        let mut fields: Vec<FieldStat> = self
            .fields
            .into_iter()
            .map(|(id, count)| FieldStat {
                name: id.name,
                kind: id.kind.unwrap_or(model::record::FieldType::Text),
                label: id.kind.is_none(),
                count,
            })
            .collect();
        fields.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
        let fold =
            |(first, last): (i64, i64), block: &(i64, i64)| (first.min(block.0), last.max(block.1));
        let (time_first, time_last) = self.block_times.iter().fold((i64::MAX, i64::MIN), fold);
        let footer = Footer {
            body_bytes: pieces.bytes,
            piece_bytes: PIECE_BYTES,
            piece_crcs: pieces.crcs.clone(),
            block_rows: BLOCK_ROWS as u64,
            block_times: self.block_times,
            fields,
            ..Footer::default()
        };
        let meta = SplitMeta {
            id: origin.id,
            index: origin.index,
            partition: origin.partition,
            offset_first: Offset(self.offsets.0),
            offset_last: Offset(self.offsets.1),
            row_count: self.rows,
            time_first,
            time_last,
            ingest_last: self.ingest_last,
            level_counts: self.levels,
            stored_bytes: 0,
            raw_bytes: self.raw_bytes,
            merges: origin.merges,
        };
        Ok((bundle::encode(&self.terms.finish()?, footer), meta))
    }
}

/// Bytes of the rows' messages and fields' values.
pub(crate) fn raw_bytes(rows: &RecordBatch) -> u64 {
    let schema = rows.schema();
    let mut bytes = 0;
    for (field, column) in schema.fields().iter().zip(rows.columns()) {
        let counted = field.name() == "message"
            || field.name() == "_rest"
            || FieldColumnId::of(field).is_some_and(|id| id.kind.is_some());
        if counted {
            bytes += match Values::of(column) {
                Values::Text(texts) => {
                    let offsets = texts.value_offsets();
                    let ends = offsets.first().zip(offsets.last());
                    ends.map_or(0, |(first, last)| u64::from((last - first).unsigned_abs()))
                }
                _ => 8 * (column.len() - column.null_count()) as u64,
            };
        }
    }
    bytes
}

/// Writes a file and remembers the checksum of each piece.
struct Pieces {
    file: io::BufWriter<File>,
    crcs: Vec<u32>,
    crc: u32,
    bytes: u64,
}

/// A file that is written and synced.
struct Finished {
    bytes: u64,
    crcs: Vec<u32>,
}

impl Pieces {
    fn new(file: File) -> Self {
        Self {
            file: io::BufWriter::with_capacity(1 << 18, file),
            crcs: Vec::new(),
            crc: 0,
            bytes: 0,
        }
    }

    fn finish(mut self) -> io::Result<Finished> {
        if !self.bytes.is_multiple_of(PIECE_BYTES) {
            self.crcs.push(self.crc);
        }
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(Finished { bytes: self.bytes, crcs: self.crcs })
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = usize::try_from(PIECE_BYTES - self.bytes % PIECE_BYTES).unwrap_or(usize::MAX);
        let bytes = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
        self.file.write_all(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.bytes += bytes.len() as u64;
        if self.bytes.is_multiple_of(PIECE_BYTES) {
            self.crcs.push(self.crc);
            self.crc = 0;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
