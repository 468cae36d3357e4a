//! Building a split: rows in order go in as they come, two finished objects come out.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use model::limits::BLOCK_ROWS;
use model::partition::{Offset, PartitionId};
use model::split::{FieldStat, ObjectSum, SplitId, SplitMeta, SplitSums};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use platform::disk;
use platform::objects::Objects;

use super::body::PIECE_BYTES;
use super::bundle::BundleWriter;
use super::gather::Gatherer;
use super::indexed::Indexed;
use super::lex::{always_varies, each_slot, fixed_texts};
use super::newest::NewestFinder;
use super::offsets::{self, Arrivals};
use super::patterns::PatternFinder;
use super::present::PresentFinder;
use super::sketch::Sketches;
use super::spans::SpanFinder;
use super::statistics::{BlockTimes, Minutes};
use super::stored::{IngestTimes, Unit, stored_schema, to_stored};
use super::templates::{Template, TemplateKey, Templates};
use super::values::ValueCounter;
use super::{body_name, bundle_name, tokens, words};
use crate::columns::{Values, numbers, times};
use crate::rest;
use crate::schema::{FieldColumnId, REST};
use crate::several::{FieldTally, tally_fields};

/// Rows of one row group. One per split keeps dictionaries whole.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// Bytes of a page before compression.
const PAGE_BYTES: usize = 256 << 10;
/// Rows of a page.
const PAGE_ROWS: usize = 16_384;
/// Bytes of the dictionary of a column of which nothing is known, before it is given up.
const DICTIONARY_BYTES: usize = 256 << 10;
/// Bytes of the pages of all columns: while splits are written and merged they are in memory.
const PAGES_BYTES: usize = 16 << 20;

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
    Body(#[from] parquet::errors::ParquetError),
    /// The word index cannot be written.
    #[error("the word index cannot be written")]
    Words(#[from] tantivy::TantivyError),
    /// Files cannot be written: the disk is full, or broken.
    #[error("files cannot be written")]
    Io(#[from] io::Error),
    /// The work broke off; our mistake.
    #[error("{0}")]
    Broken(String),
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
}

/// Some rows in row order, and the number of each one's template.
pub(crate) struct Piece {
    pub(crate) rows: RecordBatch,
    pub(crate) templates: Vec<u32>,
}

/// What a split is built from.
pub(crate) struct Source<I> {
    /// The columns of the rows.
    pub(crate) schema: SchemaRef,
    /// The unit that holds all timestamps.
    pub(crate) unit: Unit,
    /// The templates, in order.
    pub(crate) templates: Vec<TemplateKey>,
    /// When the records were accepted.
    pub(crate) ingest: IngestTimes,
    /// What their timestamps tell of their offsets.
    pub(crate) arrivals: Arrivals,
    /// What is known of the values of columns.
    pub(crate) sketches: Sketches,
    /// The rows.
    pub(crate) pieces: I,
}

/// Builds a split in a folder for work in progress, and puts its objects: what is given back is its
/// entry for the catalog, which nobody knows of yet. `None` when there are no rows.
///
/// Memory: one row group's compressed pages, the distinct tokens of the split with four bytes for
/// each block that has one, tantivy's own buffers.
///
/// # Errors
/// [`BuildError`].
pub(crate) fn build(
    origin: Origin,
    source: Source<impl Iterator<Item = Result<Piece, BuildError>>>,
    work: &Path,
    objects: &Objects,
) -> Result<Option<SplitMeta>, BuildError> {
    let _left = Leftover(work);
    disk::create_dir_all(work)?;
    let (body, index) = (work.join("body.parquet"), work.join("index.bundle"));
    let file = Pieces::new(File::create(&body)?);
    let schema = stored_schema(&source.schema, source.unit);
    let properties = properties(&schema, &source.sketches)?;
    let mut writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))?;
    let mut gathered = Gathered::new(&source.templates, &source.arrivals);
    for piece in source.pieces {
        let piece = piece?;
        writer.write(&to_stored(&piece.rows, &schema, source.unit)?)?;
        gathered.add(&piece)?;
    }
    if gathered.rows == 0 {
        return Ok(None);
    }
    let pieces = writer.into_inner()?.finish()?;
    let mut bundle = BundleWriter::new(io::BufWriter::new(File::create(&index)?));
    bundle.add_packed("sketches", &source.sketches.encode())?;
    let meta = gathered.finish(origin, (&source.ingest, &source.arrivals), &pieces, bundle)?;
    objects.put_file(&body_name(&meta.id), &body)?;
    objects.put_file(&bundle_name(&meta.id), &index)?;
    Ok(Some(meta))
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

fn properties(schema: &Schema, sketches: &Sketches) -> Result<WriterProperties, BuildError> {
    let share = PAGES_BYTES / schema.fields().len().max(1);
    let mut properties = WriterProperties::builder()
        .set_created_by("sawlog".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_size_limit(share.clamp(PAGE_BYTES / 16, PAGE_BYTES))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(BLOCK_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_column_dictionary_enabled(ColumnPath::from("message"), false)
        .set_column_statistics_enabled(ColumnPath::from("message"), EnabledStatistics::None)
        .set_column_statistics_enabled(ColumnPath::from(REST), EnabledStatistics::None);
    let time = ColumnPath::from("timestamp");
    properties = properties
        .set_column_dictionary_enabled(time.clone(), false)
        .set_column_encoding(time, Encoding::DELTA_BINARY_PACKED);
    Ok(sketches.apply(schema, properties).build())
}

/// What is gathered of the rows while they are written.
struct Gathered<'a> {
    keys: &'a [TemplateKey],
    /// The tokens that vary, by block.
    tokens: Gatherer,
    /// The templates met so far.
    templates: Vec<Template>,
    /// The number of the last of them.
    current: Option<u32>,
    rows: u32,
    blocks: BlockTimes,
    minutes: Minutes,
    values: ValueCounter,
    spans: SpanFinder,
    newest: NewestFinder,
    patterns: PatternFinder,
    present: PresentFinder,
    fields: HashMap<FieldColumnId, FieldTally>,
    offsets: offsets::Writer<'a>,
    offset_span: (u64, u64),
    ingest_last: i64,
    raw_bytes: u64,
}

impl<'a> Gathered<'a> {
    fn new(keys: &'a [TemplateKey], arrivals: &'a Arrivals) -> Self {
        Self {
            keys,
            tokens: Gatherer::default(),
            templates: Vec::new(),
            current: None,
            rows: 0,
            blocks: BlockTimes::default(),
            minutes: Minutes::default(),
            values: ValueCounter::default(),
            spans: SpanFinder::default(),
            newest: NewestFinder::default(),
            patterns: PatternFinder::default(),
            present: PresentFinder::default(),
            fields: HashMap::new(),
            offsets: offsets::Writer::new(arrivals),
            offset_span: (u64::MAX, 0),
            ingest_last: i64::MIN,
            raw_bytes: 0,
        }
    }

    fn add(&mut self, piece: &Piece) -> Result<(), BuildError> {
        let rows = &piece.rows;
        tally_fields(rows, &mut self.fields);
        self.values.add(rows);
        self.spans.add(rows);
        let template = |row: usize| self.keys.get(*piece.templates.get(row)? as usize);
        self.present.add(rows, |row| template(row).map_or("", |key| key.service.as_str()));
        self.raw_bytes += raw_bytes(rows);
        for offset in numbers(rows, "offset").into_iter().flat_map(|all| all.values().iter()) {
            self.offset_span = (self.offset_span.0.min(*offset), self.offset_span.1.max(*offset));
        }
        for time in times(rows, "ingest_time").into_iter().flat_map(|all| all.values().iter()) {
            self.ingest_last = self.ingest_last.max(*time);
        }
        let columns = Indexed::of(rows);
        // Blocks are counted from the split's first row, across the pieces it comes in.
        let mut at = 0;
        while at < rows.num_rows() {
            let filled = self.rows as usize % BLOCK_ROWS;
            let end = (at + BLOCK_ROWS - filled).min(rows.num_rows());
            self.add_part(&columns, piece, at, end);
            if (self.rows as usize).is_multiple_of(BLOCK_ROWS) {
                self.tokens.end_unit();
            }
            at = end;
        }
        Ok(())
    }

    /// Rows `from..to` of a piece, all of one block.
    fn add_part(&mut self, columns: &Indexed<'_>, piece: &Piece, from: usize, to: usize) {
        for row in from..to {
            let time = columns.times.map_or(0, |times| times.value(row));
            let number = piece.templates.get(row).copied().unwrap_or(0);
            self.add_row(number, time);
            let offset = columns.offsets.map_or(0, |offsets| offsets.value(row));
            self.newest.add(self.rows - 1, time, offset);
            self.offsets.add(offset, time);
            self.minutes.add(time, columns.levels.get(row).copied().unwrap_or_default());
            let template = self.keys.get(number as usize).and_then(TemplateKey::fixed);
            if let Values::Text(messages) = columns.messages {
                let (message, mut is_told) = (messages.value(row), template.is_some());
                each_slot(message, template, |token| {
                    is_told = is_told && always_varies(token.as_bytes());
                    self.tokens.add(token);
                });
                self.patterns.add(self.templates.len().saturating_sub(1), message, is_told, time);
            }
        }
        for values in &columns.fields {
            self.tokens.add_values(values, from..to);
        }
        for row in from..to {
            let Some(text) = columns.rest.text(row) else { continue };
            for (_, value) in rest::values(&text) {
                self.tokens.add_text(&value.to_text());
            }
        }
    }

    fn add_row(&mut self, number: u32, time: i64) {
        if self.current != Some(number) {
            let key = self.keys.get(number as usize).cloned().unwrap_or_else(TemplateKey::loose);
            let rows = self.rows..self.rows;
            self.templates.push(Template { key, rows, time_first: time, time_last: time });
            self.current = Some(number);
        }
        self.blocks.add(self.rows, time);
        self.rows += 1;
        if let Some(template) = self.templates.last_mut() {
            template.rows.end = self.rows;
            template.time_first = template.time_first.min(time);
            template.time_last = template.time_last.max(time);
        }
    }

    fn finish(
        mut self,
        origin: Origin,
        (ingest, arrivals): (&IngestTimes, &'a Arrivals),
        pieces: &Finished,
        mut bundle: BundleWriter<io::BufWriter<File>>,
    ) -> Result<SplitMeta, BuildError> {
        if !(self.rows as usize).is_multiple_of(BLOCK_ROWS) {
            self.tokens.end_unit();
        }
        let templates = Templates(std::mem::take(&mut self.templates));
        for (name, bytes) in word_index(&templates)? {
            bundle.add(format!("words/{name}"), &bytes)?;
        }
        bundle.add_packed("templates", &templates.encode())?;
        let patterns = std::mem::take(&mut self.patterns).finish();
        bundle.add_packed("patterns", &patterns.encode(&templates))?;
        bundle.begin("tokens");
        let tokens = std::mem::take(&mut self.tokens);
        let pages = tokens::write(tokens, |page| bundle.append(page))?;
        bundle.add_packed("tokens.index", &pages)?;
        bundle.add_packed("blocks", &self.blocks.encode())?;
        bundle.add_packed("minutes", &self.minutes.encode())?;
        let values = std::mem::take(&mut self.values).finish();
        bundle.add_packed("values", &values.encode())?;
        bundle.add_packed("spans", &std::mem::take(&mut self.spans).finish().encode())?;
        let newest = std::mem::take(&mut self.newest).finish(self.rows);
        bundle.add_packed("newest", &newest.encode())?;
        let present = std::mem::take(&mut self.present).finish();
        bundle.add_packed("present", &present.encode())?;
        bundle.add_packed("ingest", &ingest.encode())?;
        bundle.add_packed("arrivals", &arrivals.encode())?;
        let offsets = std::mem::replace(&mut self.offsets, offsets::Writer::new(arrivals));
        let (pages, index) = offsets.finish();
        bundle.add("offsets", &pages)?;
        bundle.add_packed("offsets.index", &index)?;
        let fields = serde_json::to_vec(&field_stats(std::mem::take(&mut self.fields)));
        bundle.add_packed("fields", &fields.map_err(io::Error::other)?)?;
        let crcs: Vec<u8> = pieces.crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect();
        bundle.add("pieces", &crcs)?;
        let meta = self.meta(origin);
        let rows = (BLOCK_ROWS as u64, meta.row_count);
        let (file, bundle) = bundle.finish(pieces.sum.bytes, PIECE_BYTES, rows)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let stored_bytes = pieces.sum.bytes + bundle.bytes;
        let sums = Some(SplitSums { body: pieces.sum, bundle });
        Ok(SplitMeta { stored_bytes, sums, ..meta })
    }

    fn meta(&self, origin: Origin) -> SplitMeta {
        let (time_first, time_last) = self.blocks.span();
        SplitMeta {
            id: origin.id,
            index: origin.index,
            partition: origin.partition,
            offset_first: Offset(self.offset_span.0),
            offset_last: Offset(self.offset_span.1),
            row_count: u64::from(self.rows),
            time_first,
            time_last,
            ingest_last: self.ingest_last,
            level_counts: self.minutes.level_counts(),
            stored_bytes: 0,
            raw_bytes: self.raw_bytes,
            merges: origin.merges,
            deletions: origin.deletions,
            copies: Vec::new(),
            sums: None,
        }
    }
}

fn word_index(templates: &Templates) -> tantivy::Result<Vec<(String, bytes::Bytes)>> {
    let mut gatherer = Gatherer::default();
    for template in &templates.0 {
        let texts = template.key.fixed().into_iter().flat_map(fixed_texts);
        texts.for_each(|text| gatherer.add_text(text));
        gatherer.end_unit();
    }
    words::write(gatherer)
}

fn field_stats(tallies: HashMap<FieldColumnId, FieldTally>) -> Vec<FieldStat> {
    let mut fields: Vec<FieldStat> =
        tallies.into_iter().map(|(id, tally)| tally.stat(id)).collect();
    fields.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
    fields
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

/// Writes a file and remembers the checksum of each piece, and of all.
struct Pieces {
    file: io::BufWriter<File>,
    crcs: Vec<u32>,
    crc: u32,
    sum: ObjectSum,
}

/// A file that is written and synced.
struct Finished {
    sum: ObjectSum,
    crcs: Vec<u32>,
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
