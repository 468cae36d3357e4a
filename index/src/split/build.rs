//! Building a split: rows in order go in as they come, two finished objects come out.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use model::partition::PartitionId;
use model::split::{ObjectSum, SplitId, SplitMeta};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use platform::disk;
use platform::objects::Objects;

use super::arrivals::Arrivals;
use super::body::PIECE_BYTES;
use super::bundle::BundleWriter;
use super::gathered::Gathered;
use super::late::Late;
use super::packing::Packing;
use super::sketch::Sketches;
use super::stored::{IngestTimes, Unit, store, stored_column, stored_schema, to_stored};
use super::sums::Sums;
use super::templates::TemplateKey;
use super::typed::{Form, Forms};
use super::{body_name, bundle_name};

/// Rows of a column that are packed at a time where it is written apart from others: those of a page.
const PACKED_ROWS: usize = 1 << 14;

/// Why a split was not built. Nothing is left but, where the store failed, objects that nobody knows
/// of.
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
    Body(#[from] ParquetError),
    /// The word index cannot be written.
    #[error("the word index cannot be written")]
    Words(#[from] tantivy::TantivyError),
    /// Files cannot be written: the disk is full, or broken.
    #[error("files cannot be written")]
    Io(#[from] io::Error),
    /// The work broke off; our mistake.
    #[error("{0}")]
    Broken(String),
    /// The node stops, or another one indexes the partition: nothing is wrong with the rows.
    #[error("it was to stop")]
    Stopped,
}

/// Where a split's rows are from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Its name to be.
    pub(crate) id: SplitId,
    /// The index.
    pub(crate) index: String,
    /// The partition.
    pub(crate) partition: PartitionId,
    /// How often its rows have been merged.
    pub(crate) merges: u32,
    /// The last deletion whose records are not among its rows.
    pub(crate) deletions: u64,
    /// How it is packed.
    pub(crate) packing: Packing,
    /// Whether columns of fields may have types of their own in the body, which every node has to read.
    pub(crate) may_type: bool,
}

/// Some rows in row order, and the number of each one's template.
pub(crate) struct Piece {
    pub(crate) rows: RecordBatch,
    pub(crate) templates: Vec<u32>,
}

/// What a split is built from.
pub(crate) struct Source<'a, I> {
    /// The columns of the rows.
    pub(crate) schema: SchemaRef,
    /// The unit that holds all timestamps.
    pub(crate) unit: Unit,
    /// The stored forms that hold all values of columns.
    pub(crate) forms: Forms,
    /// The templates, in order.
    pub(crate) templates: Vec<TemplateKey>,
    /// When the records were accepted.
    pub(crate) ingest: IngestTimes,
    /// What their timestamps tell of their offsets.
    pub(crate) arrivals: Arrivals,
    /// What is known of the values of columns.
    pub(crate) sketches: Sketches,
    /// What is known of all rows.
    pub(crate) sums: Sums,
    /// The columns that the rows come without.
    pub(crate) late: Late<'a>,
    /// The rows.
    pub(crate) pieces: I,
}

impl<'a, I> Source<'a, I> {
    /// The same with its rows as something makes them of these.
    pub(crate) fn with<J>(self, make: impl FnOnce(I) -> J) -> Source<'a, J> {
        let Self { schema, unit, forms, templates, ingest, arrivals, sketches, sums, late, pieces } =
            self;
        let pieces = make(pieces);
        Source { schema, unit, forms, templates, ingest, arrivals, sketches, sums, late, pieces }
    }
}

/// Builds a split in a folder for work in progress, and puts its objects: what is given back is its
/// entry for the catalog, which nobody knows of yet. `None` when there are no rows.
///
/// Memory: one row group's compressed pages and a page of each column that is written with others, one
/// column of all rows, the distinct tokens of the split with four bytes for each block that has one,
/// tantivy's own buffers.
///
/// # Errors
/// [`BuildError`].
pub(crate) fn build(
    origin: Origin,
    source: Source<'_, impl Iterator<Item = Result<Piece, BuildError>>>,
    work: &Path,
    objects: &Objects,
) -> Result<Option<SplitMeta>, BuildError> {
    let _left = Leftover(work);
    disk::create_dir_all(work)?;
    let (body, index) = (work.join("body.parquet"), work.join("index.bundle"));
    let file = Pieces::new(File::create(&body)?);
    let forms = if origin.may_type { source.forms } else { Forms::default() };
    let schema = stored_schema(&source.schema, source.unit, &forms);
    let typed = is_typed(&schema)?;
    let together = schema.fields().len() - source.late.columns().len();
    let properties = origin.packing.properties(&schema, &source.sketches, together)?;
    let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))?;
    let columns = (&*source.schema, source.templates.as_slice());
    let mut gathered = Gathered::new(columns, &source.arrivals, source.sums);
    let written = match source.late.columns() {
        [] => by_rows(writer, source.pieces, &schema, &mut gathered)?,
        _ => by_columns(writer, (source.pieces, &source.late), &schema, &mut gathered)?,
    };
    if gathered.is_empty() {
        return Ok(None);
    }
    let pieces = written.finish()?;
    let out = io::BufWriter::new(File::create(&index)?);
    let mut bundle = BundleWriter::new(out, origin.packing, typed);
    bundle.add_packed("sketches", &source.sketches.encode())?;
    let meta = gathered.finish(origin, (&source.ingest, &source.arrivals), &pieces, bundle)?;
    let meta = SplitMeta { typed, ..meta };
    objects.put_file(&body_name(&meta.id), &body)?;
    objects.put_file(&bundle_name(&meta.id), &index)?;
    Ok(Some(meta))
}

/// Whether a column of a stored schema has another type than in memory.
fn is_typed(schema: &Schema) -> Result<bool, ArrowError> {
    for field in schema.fields() {
        if Form::of_stored(field)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes a body, all of its columns at a time.
fn by_rows(
    mut writer: ArrowWriter<Pieces>,
    pieces: impl Iterator<Item = Result<Piece, BuildError>>,
    schema: &SchemaRef,
    gathered: &mut Gathered<'_>,
) -> Result<Pieces, BuildError> {
    for piece in pieces {
        let piece = piece?;
        writer.write(&to_stored(&piece.rows, schema)?)?;
        gathered.add(&piece);
    }
    Ok(writer.into_inner()?)
}

/// Writes a body of one row group: the columns that rows have with them, then, each in its turn, those
/// that come late. Of a column that is done only its packed pages are left.
fn by_columns(
    writer: ArrowWriter<Pieces>,
    (mut pieces, late): (impl Iterator<Item = Result<Piece, BuildError>>, &Late<'_>),
    schema: &Schema,
    gathered: &mut Gathered<'_>,
) -> Result<Pieces, BuildError> {
    let (mut file, _) = writer.into_serialized_writer()?;
    let properties = Arc::clone(file.properties());
    // Those of columns that come late are made in their turn: each takes a hundred kilobytes and more.
    let of_rows = |field: &Arc<Field>| match late.place(field.name()) {
        Some(_) => Ok(None),
        None => column_writer(field, &properties).map(Some),
    };
    let mut writers =
        schema.fields().iter().map(of_rows).collect::<Result<Vec<_>, ParquetError>>()?;
    for piece in pieces.by_ref() {
        let piece = piece?;
        for (writer, field) in writers.iter_mut().zip(schema.fields()) {
            if let Some(writer) = writer {
                write(writer, field, &stored_column(&piece.rows, field)?)?;
            }
        }
        gathered.add(&piece);
    }
    if gathered.is_empty() {
        return Ok(file.into_inner()?);
    }
    let mut group = file.next_row_group()?;
    for (writer, field) in writers.into_iter().zip(schema.fields()) {
        let mut writer = match writer {
            Some(writer) => writer,
            None => column_writer(field, &properties)?,
        };
        if let Some(at) = late.place(field.name()) {
            let mut go_on = || pieces.next().transpose().map(drop);
            go_on()?;
            let column = late.column(at)?;
            gathered.add_late(at, field, &column);
            write_whole(&mut writer, field, &column, go_on)?;
        }
        writer.close()?.append_to_row_group(&mut group)?;
    }
    group.close()?;
    Ok(file.into_inner()?)
}

/// The writer of one column of a body with such properties.
fn column_writer(
    field: &Arc<Field>,
    properties: &WriterPropertiesPtr,
) -> Result<ArrowColumnWriter, ParquetError> {
    let schema = Arc::new(Schema::new(vec![Arc::clone(field)]));
    let columns = ArrowSchemaConverter::new().convert(&schema)?;
    let file =
        SerializedFileWriter::new(io::sink(), columns.root_schema_ptr(), properties.clone())?;
    let writers = ArrowRowGroupWriterFactory::new(&file, schema).create_column_writers(0)?;
    let none = || ParquetError::General("a column without a writer".to_owned());
    writers.into_iter().next().ok_or_else(none)
}

/// Writes a column of all rows, some at a time: who gives the rows may have to stop meanwhile, and to
/// pack a long one small takes longer than a node has for that.
fn write_whole(
    writer: &mut ArrowColumnWriter,
    field: &Field,
    column: &ArrayRef,
    mut go_on: impl FnMut() -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    for from in (0..column.len()).step_by(PACKED_ROWS) {
        go_on()?;
        let some = column.slice(from, PACKED_ROWS.min(column.len() - from));
        write(writer, field, &store(field, &some)?)?;
    }
    Ok(())
}

fn write(
    writer: &mut ArrowColumnWriter,
    field: &Field,
    column: &ArrayRef,
) -> Result<(), ParquetError> {
    compute_leaves(field, column)?.iter().try_for_each(|leaf| writer.write(leaf))
}

/// The folder of a build, which goes with it however it ends: a failed one is begun anew elsewhere,
/// and on a full disk its files take the room that is wanted.
struct Leftover<'a>(&'a Path);

impl Drop for Leftover<'_> {
    fn drop(&mut self) {
        if let Err(error) = disk::remove_dir_all(self.0) {
            let folder = self.0.display();
            tracing::warn!(%error, %folder, "work in progress could not be removed; the next start does");
        }
    }
}

/// Writes a file and remembers the checksum of each piece, and of all.
struct Pieces {
    file: io::BufWriter<File>,
    crcs: Vec<u32>,
    crc: u32,
    sum: ObjectSum,
}

/// A file that is written and synced.
pub(super) struct Finished {
    pub(super) sum: ObjectSum,
    pub(super) crcs: Vec<u32>,
}

impl Pieces {
    fn new(file: File) -> Self {
        Self {
            file: io::BufWriter::with_capacity(1 << 18, file),
            crcs: Vec::new(),
            crc: 0,
            sum: ObjectSum { bytes: 0, crc32c: 0 },
        }
    }

    fn finish(mut self) -> io::Result<Finished> {
        if !self.sum.bytes.is_multiple_of(PIECE_BYTES) {
            self.crcs.push(self.crc);
        }
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(Finished { sum: self.sum, crcs: self.crcs })
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let filled = self.sum.bytes % PIECE_BYTES;
        let room = usize::try_from(PIECE_BYTES - filled).unwrap_or(usize::MAX);
        let bytes = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
        self.file.write_all(bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.sum.crc32c = crc32c::crc32c_append(self.sum.crc32c, bytes);
        self.sum.bytes += bytes.len() as u64;
        if self.sum.bytes.is_multiple_of(PIECE_BYTES) {
            self.crcs.push(self.crc);
            self.crc = 0;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
