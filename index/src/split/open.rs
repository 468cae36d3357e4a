//! An open split: its footer, and the sections and the body as they are asked for.

use std::io;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use model::limits::BLOCK_ROWS;
use model::split::{FieldStat, SplitMeta};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, RowSelection,
};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::file::metadata::PageIndexPolicy;
use platform::objects::Objects;

use super::arrivals::Arrivals;
use super::asked::not_read;
use super::body::{Body, PIECE_BYTES};
use super::bundle::{Bundle, SectionEntry};
use super::kept::Kept;
use super::newest::NewestRows;
use super::offsets::{OffsetReader, Offsets};
use super::pages::{KeptGroups, PageCache, SplitPages};
use super::patterns::Patterns;
use super::places::places;
use super::present::Present;
use super::rowset::RowSet;
use super::senders::Senders;
use super::sketch::Sketches;
use super::spans::Spans;
use super::statistics::{BlockTimes, Minutes};
use super::stored::{IngestTimes, Unit, moments, to_rows, with_arrival};
use super::templates::Templates;
use super::tokens::Tokens;
use super::typed::Forms;
use super::values::ValueCounts;
use super::widths::widths;
use super::words::Words;
use super::{body_name, bundle_name};
use crate::evaluate::Place;
use crate::scan::ScanError;
use crate::schema::{FieldColumnId, batch_rows_of, label_type};

/// So many times its bytes the section `senders` takes: a cell has two bytes there and eight in memory.
const SENDERS_TIMES: u64 = 5;

/// A split of which the footer is read; the rest is read when it is asked for, and kept.
#[derive(Debug)]
pub struct Split {
    pub(super) meta: Arc<SplitMeta>,
    pub(super) bundle: Bundle,
    pub(super) row_count: u32,
    body: Kept<OpenBody>,
    words: Kept<Words>,
    templates: Kept<Templates>,
    patterns: Kept<Patterns>,
    present: Kept<Present>,
    tokens: Kept<Tokens>,
    pub(super) blocks: Kept<BlockTimes>,
    minutes: Kept<Minutes>,
    pub(super) senders: Kept<Senders>,
    pub(super) values: Kept<ValueCounts>,
    pub(super) spans: Kept<Spans>,
    newest: Kept<NewestRows>,
    keyed: Kept<ArrowReaderMetadata>,
    ingest: Kept<IngestTimes>,
    offsets: Kept<Offsets>,
    pub(super) fields: Kept<Vec<FieldStat>>,
    pub(super) objects: Objects,
    pub(super) pages: SplitPages,
}

#[derive(Debug)]
pub(super) struct OpenBody {
    body: Body,
    pub(super) parquet: ArrowReaderMetadata,
    /// Bytes of a row's text in each column.
    widths: Vec<u64>,
}

impl Split {
    /// Opens a split: reads its footer and checks it. Pages are kept in the cache given.
    ///
    /// # Errors
    /// [`ScanError::Corrupt`] names the object and what is wrong with it.
    pub(crate) fn open(
        meta: Arc<SplitMeta>,
        objects: &Objects,
        pages: &PageCache,
    ) -> Result<Self, ScanError> {
        let name = bundle_name(&meta.id);
        if let Some(sums) = meta.sums {
            objects.expect_size(&name, sums.bundle.bytes);
            objects.expect_size(&body_name(&meta.id), sums.body.bytes);
        }
        let wrong = |what: String| ScanError::Corrupt { object: name.clone(), what };
        let bundle = Bundle::open(objects, &name).map_err(|error| not_read(&name, &error))?;
        let footer = &bundle.footer;
        let row_count = u32::try_from(footer.row_count).ok();
        let row_count = row_count.filter(|_| {
            footer.row_count == meta.row_count
                && footer.block_rows == BLOCK_ROWS as u64
                && footer.piece_bytes == PIECE_BYTES
        });
        let row_count =
            row_count.ok_or_else(|| wrong("it is not the one the catalog knows".to_owned()))?;
        Ok(Self {
            meta,
            bundle,
            row_count,
            body: Kept::default(),
            words: Kept::default(),
            templates: Kept::default(),
            patterns: Kept::default(),
            present: Kept::default(),
            tokens: Kept::default(),
            blocks: Kept::default(),
            minutes: Kept::default(),
            senders: Kept::default(),
            values: Kept::default(),
            spans: Kept::default(),
            newest: Kept::default(),
            keyed: Kept::default(),
            ingest: Kept::default(),
            offsets: Kept::default(),
            fields: Kept::default(),
            objects: objects.clone(),
            pages: pages.of_split(),
        })
    }

    /// What the catalog knows of it.
    #[must_use]
    pub fn meta(&self) -> &Arc<SplitMeta> {
        &self.meta
    }

    /// About how much memory it takes once everything in it was asked for. Pages of the token
    /// index and of the body are counted apart.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let kept = self
            .bundle
            .footer
            .sections
            .iter()
            .filter(|section| !["tokens", "offsets"].contains(&section.name.as_str()));
        let decoded = |section: &SectionEntry| {
            // Decoded sections take more than their bytes: of most twice as many.
            let times = if section.name == "senders" { SENDERS_TIMES } else { 2 };
            section.unpacked_bytes.unwrap_or(section.bytes).saturating_mul(times)
        };
        let bytes = kept.map(decoded).fold(0, u64::saturating_add);
        // The body's footer is in memory too.
        usize::try_from(bytes).unwrap_or(usize::MAX).saturating_add(16 << 10)
    }

    /// Its fields, labels included.
    ///
    /// # Errors
    /// [`ScanError::Corrupt`].
    pub fn fields(&self) -> Result<Arc<Vec<FieldStat>>, ScanError> {
        self.fields.get(|| {
            let bytes = self.section("fields")?;
            serde_json::from_slice(&bytes)
                .map_err(|error| self.wrong(format!("its section fields: {error}")))
        })
    }

    /// The same, if they were asked before: nobody is waited for.
    pub(crate) fn fields_at_hand(&self) -> Option<Arc<Vec<FieldStat>>> {
        self.fields.at_hand()
    }

    /// All rows, in row order, each with the number of its template; without the columns of fields that
    /// are left out.
    ///
    /// # Errors
    /// [`ScanError`].
    pub(crate) fn rows(
        &self,
        is_left: &dyn Fn(&FieldColumnId) -> bool,
    ) -> Result<impl Iterator<Item = Result<(RecordBatch, Vec<u32>), ScanError>> + use<>, ScanError>
    {
        let body = self.body()?;
        let (ingest, templates, offsets) = (self.ingest()?, self.templates()?, self.offsets()?);
        let fields = body.parquet.schema().fields().iter().enumerate();
        let is_read = |field: &Field| FieldColumnId::of(field).is_none_or(|id| !is_left(&id));
        let columns: Vec<usize> =
            fields.filter_map(|(at, field)| is_read(field).then_some(at)).collect();
        let name = body.body.name.clone();
        let (bundle, asked) = (self.bundle.name.clone(), self.bundle.asked.clone());
        let reader = self.reader(&body, &body.parquet, &columns, None)?;
        let (mut at, mut offsets) = (0_u32, OffsetReader::new(offsets));
        let mut numbers = (0_u32..)
            .zip(templates.0.iter().map(|template| template.rows.len()).collect::<Vec<_>>())
            .flat_map(|(number, count)| std::iter::repeat_n(number, count));
        Ok(reader.map(move |rows| {
            let rows = rows.and_then(|rows| to_rows(&rows));
            let rows = rows.map_err(|error| asked.wrong(&name, error.to_string()))?;
            let read = offsets.read(at.., moments(&rows));
            let read = read
                .map_err(|error| asked.wrong(&bundle, format!("its section offsets: {error}")))?;
            at = at.saturating_add(u32::try_from(rows.num_rows()).unwrap_or(u32::MAX));
            let rows = with_arrival(&rows, read, Some(&ingest))?;
            let templates = numbers.by_ref().take(rows.num_rows()).collect();
            Ok((rows, templates))
        }))
    }

    /// The unit its timestamps are stored in.
    pub(crate) fn unit(&self) -> Result<Unit, ScanError> {
        Ok(Unit::of_stored(self.body()?.parquet.schema()))
    }

    /// The forms its columns are stored in.
    pub(crate) fn forms(&self) -> Result<Forms, ScanError> {
        Forms::of_stored(self.body()?.parquet.schema()).map_err(|error| self.corrupt_body(&error))
    }

    /// Its templates, in row order.
    pub(crate) fn templates(&self) -> Result<Arc<Templates>, ScanError> {
        self.templates.get(|| {
            let decode = |bytes: &[u8]| Templates::decode(bytes, self.row_count);
            self.decode("templates", decode)
        })
    }

    /// The patterns of its templates; those without slots only in a split that was written before
    /// there were any.
    pub(super) fn patterns(&self) -> Result<Arc<Patterns>, ScanError> {
        self.patterns.get(|| {
            let templates = self.templates()?;
            match self.bundle.names("patterns").next() {
                Some(_) => self.decode("patterns", |bytes| Patterns::decode(bytes, &templates)),
                None => Ok(Patterns::of_templates(&templates)),
            }
        })
    }

    /// Which columns of fields have values, by service; nothing is known of a split that was
    /// written before that was kept.
    pub(super) fn present(&self) -> Result<Arc<Present>, ScanError> {
        self.present.get(|| match self.bundle.names("present").next() {
            Some(_) => self.decode("present", |bytes| Present::decode(bytes, self.row_count)),
            None => Ok(Present::default()),
        })
    }

    /// When its records were accepted.
    pub(crate) fn ingest(&self) -> Result<Arc<IngestTimes>, ScanError> {
        self.ingest.get(|| self.decode("ingest", IngestTimes::decode))
    }

    /// Its rows by minute and level.
    pub(crate) fn minutes(&self) -> Result<Arc<Minutes>, ScanError> {
        self.minutes.get(|| self.decode("minutes", Minutes::decode))
    }

    /// Its rows by minute, level and sender; nothing of senders where that was too much to keep, or
    /// in a split that was written before it was kept.
    pub(crate) fn senders(&self) -> Result<Arc<Senders>, ScanError> {
        self.senders.get(|| match self.bundle.names("senders").next() {
            Some(_) => self.decode("senders", |bytes| Senders::decode(bytes, self.row_count)),
            None => {
                self.pages.metrics().splits_senderless.inc();
                let minutes = self.minutes()?;
                Ok(Senders::of_minutes(&minutes))
            }
        })
    }

    /// The rows of columns' values; empty in a split that was written before they were counted.
    pub(super) fn values(&self) -> Result<Arc<ValueCounts>, ScanError> {
        self.values.get(|| match self.bundle.names("values").next() {
            Some(_) => self.decode("values", ValueCounts::decode),
            None => Ok(ValueCounts::default()),
        })
    }

    /// Its columns in spans; none in a split that was written before there were any.
    pub(super) fn spans(&self) -> Result<Arc<Spans>, ScanError> {
        self.spans.get(|| match self.bundle.names("spans").next() {
            Some(_) => self.decode("spans", |bytes| Spans::decode(bytes, self.row_count)),
            None => Ok(Spans::default()),
        })
    }

    /// Its newest rows; none in a split that was written before they were listed.
    pub(super) fn newest(&self) -> Result<Arc<NewestRows>, ScanError> {
        self.newest.get(|| match self.bundle.names("newest").next() {
            Some(_) => self.decode("newest", |bytes| NewestRows::decode(bytes, self.row_count)),
            None => Ok(NewestRows::default()),
        })
    }

    /// Reads every byte and compares what is known twice.
    ///
    /// # Errors
    /// [`ScanError`] names the object and the part of it that is wrong.
    pub fn check(&self) -> Result<(), ScanError> {
        let words = self.bundle.names("words/");
        for name in words.map(str::to_owned).collect::<Vec<_>>() {
            self.section(&name)?;
        }
        self.words()?;
        self.fields()?;
        self.section("tokens")?;
        self.section("offsets")?;
        self.values()?;
        self.spans()?;
        self.newest()?;
        self.patterns()?;
        self.present()?;
        self.sketches()?;
        let blocks = self.blocks()?;
        let read = self.tokens()?.check(blocks.len());
        read.map_err(|error| self.wrong(format!("its section tokens: {error}")))?;
        let minutes = self.minutes()?;
        if minutes.level_counts() != self.meta.level_counts {
            return Err(self.wrong("its minutes do not sum up to its levels".to_owned()));
        }
        if !self.senders()?.agrees(&minutes) {
            return Err(self.wrong("its senders do not sum up to its minutes".to_owned()));
        }
        let mut count = 0;
        for rows in self.rows(&|_| false)? {
            count += rows?.0.num_rows() as u64;
        }
        if count == self.meta.row_count {
            self.check_length()
        } else {
            Err(self.wrong(format!("the body has {count} rows")))
        }
    }

    pub(super) fn tokens(&self) -> Result<Arc<Tokens>, ScanError> {
        self.tokens.get(|| {
            let index = self.section("tokens.index")?;
            let (pages, _) =
                self.bundle.section("tokens").map_err(|e| self.wrong(e.to_string()))?;
            Tokens::open(&index, pages, self.pages.clone(), self.bundle.footer.version)
                .map_err(|error| self.wrong(format!("its section tokens.index: {error}")))
        })
    }

    /// Its offsets.
    pub(super) fn offsets(&self) -> Result<Arc<Offsets>, ScanError> {
        self.offsets.get(|| {
            let (arrivals, index) = (self.section("arrivals")?, self.section("offsets.index")?);
            let pages = self.bundle.section("offsets").map_err(|e| self.wrong(e.to_string()))?.0;
            Offsets::open(&arrivals, &index, pages, self.row_count)
                .map_err(|error| self.wrong(format!("its section offsets.index: {error}")))
        })
    }

    /// What its timestamps tell of its offsets.
    pub(crate) fn arrivals(&self) -> Result<Arrivals, ScanError> {
        Ok(self.offsets()?.arrivals.clone())
    }

    /// Sketches of its columns; none where it was written without.
    pub(crate) fn sketches(&self) -> Result<Option<Sketches>, ScanError> {
        match self.bundle.names("sketches").next() {
            None => Ok(None),
            Some(name) => self.decode(name, Sketches::decode).map(Some),
        }
    }

    pub(super) fn blocks(&self) -> Result<Arc<BlockTimes>, ScanError> {
        self.blocks.get(|| {
            let blocks: BlockTimes = self.decode("blocks", BlockTimes::decode)?;
            if blocks.len() == (self.row_count as usize).div_ceil(BLOCK_ROWS) {
                Ok(blocks)
            } else {
                Err(self.wrong("its section blocks is another split's".to_owned()))
            }
        })
    }

    pub(super) fn words(&self) -> Result<Arc<Words>, ScanError> {
        self.words.get(|| {
            let names = self.bundle.names("words/");
            let files = names.map(|name| {
                let file = name.trim_start_matches("words/").to_owned();
                Ok((file, self.section(name)?))
            });
            let files = files.collect::<Result<Vec<_>, ScanError>>()?;
            Words::open(&files).map_err(|error| self.wrong(format!("its word index: {error}")))
        })
    }

    fn section(&self, name: &str) -> Result<bytes::Bytes, ScanError> {
        self.bundle.read(name).map_err(|error| self.wrong(error.to_string()))
    }

    fn decode<T>(
        &self,
        name: &str,
        decode: impl FnOnce(&[u8]) -> io::Result<T>,
    ) -> Result<T, ScanError> {
        let bytes = self.section(name)?;
        decode(&bytes).map_err(|error| self.wrong(format!("its section {name}: {error}")))
    }

    pub(super) fn wrong(&self, what: String) -> ScanError {
        self.bundle.asked.wrong(&self.bundle.name, what)
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place { partition: self.meta.partition, index: &self.meta.index }
    }

    pub(super) fn corrupt_body(&self, error: &dyn std::error::Error) -> ScanError {
        self.bundle.asked.wrong(&body_name(&self.meta.id), error.to_string())
    }

    pub(super) fn body(&self) -> Result<Arc<OpenBody>, ScanError> {
        self.body.get(|| {
            let crcs = self.section("pieces")?;
            let crcs: Arc<[u32]> = crcs
                .chunks_exact(4)
                .filter_map(|bytes| bytes.first_chunk::<4>())
                .map(|bytes| u32::from_le_bytes(*bytes))
                .collect();
            let bytes = self.bundle.footer.body_bytes;
            let name = body_name(&self.meta.id).into();
            let asked = self.bundle.asked.clone();
            let body = Body { asked, name, bytes, crcs, shared: None };
            let options =
                ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
            let parquet = ArrowReaderMetadata::load(&body, options)
                .map_err(|error| self.corrupt_body(&error))?;
            let widths = widths(parquet.schema(), parquet.metadata());
            Ok(OpenBody { body, parquet, widths })
        })
    }

    /// How the body is read where texts with few values are wanted as keys of dictionaries.
    pub(super) fn keyed(&self, body: &OpenBody) -> Result<ArrowReaderMetadata, ScanError> {
        let read = || {
            let values = self.values()?;
            let field = |field: &FieldRef| match field.data_type() {
                DataType::Utf8 if values.of(field.name()).is_some() => {
                    Arc::new(field.as_ref().clone().with_data_type(label_type()))
                }
                _ => field.clone(),
            };
            let fields: Vec<FieldRef> = body.parquet.schema().fields().iter().map(field).collect();
            let options = ArrowReaderOptions::new().with_schema(Arc::new(Schema::new(fields)));
            ArrowReaderMetadata::try_new(body.parquet.metadata().clone(), options)
                .map_err(|error| self.corrupt_body(&error))
        };
        Ok(self.keyed.get(read)?.as_ref().clone())
    }

    /// Reads columns of rows, given by their places in the stored schema.
    pub(super) fn reader(
        &self,
        body: &OpenBody,
        parquet: &ArrowReaderMetadata,
        columns: &[usize],
        rows: Option<&RowSet>,
    ) -> Result<ParquetRecordBatchReader, ScanError> {
        let mask = ProjectionMask::roots(parquet.parquet_schema(), columns.iter().copied());
        let row_count = self.row_count as usize;
        if let Some(rows) = rows.filter(|_| self.objects.is_shared()) {
            let places = places(parquet.metadata(), columns, rows);
            body.body.asked.bring(&body.body.name, &places)?;
        }
        let selection = rows.map(|rows| {
            let ranges = rows.ranges().iter().map(|range| range.start as usize..range.end as usize);
            RowSelection::from_consecutive_ranges(ranges, row_count)
        });
        let hint = Some(parquet.schema().fields());
        let shared = body.body.sharing();
        let groups = KeptGroups { body: &shared, parquet, pages: &self.pages, row_count };
        parquet_to_arrow_field_levels(parquet.parquet_schema(), mask, hint)
            .and_then(|levels| {
                let width: u64 = columns.iter().filter_map(|at| body.widths.get(*at)).sum();
                let rows_max = batch_rows_of(columns.len(), width).min(row_count);
                ParquetRecordBatchReader::try_new_with_row_groups(
                    &levels, &groups, rows_max, selection,
                )
            })
            .map_err(|error| self.corrupt_body(&error))
    }
}
