//! What is gathered of a split's rows while its body is written, and the sections that it becomes. What
//! neighbours share is looked up once for them: rows come by template, and in the order of time.

use std::fs::File;
use std::io;
use std::ops::Range;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use model::limits::BLOCK_ROWS;
use model::partition::Offset;
use model::split::{FieldStat, SplitMeta, SplitSums};

use super::arrivals::Arrivals;
use super::body::PIECE_BYTES;
use super::build::{BuildError, Finished, Origin, Piece};
use super::bundle::BundleWriter;
use super::coding::is_same;
use super::gather::Gatherer;
use super::indexed::Indexed;
use super::lex::{always_varies, each_slot, fixed_texts};
use super::newest::NewestFinder;
use super::offsets;
use super::patterns::{PatternFinder, PatternSums};
use super::present::PresentFinder;
use super::senders::SenderCounter;
use super::spans::SpanFinder;
use super::statistics::{BlockTimes, Minutes};
use super::stored::IngestTimes;
use super::sums::Sums;
use super::templates::{Template, TemplateKey, Templates};
use super::values::ValueCounter;
use super::{tokens, words};
use crate::columns::{Values, numbers, times};
use crate::rest;
use crate::schema::FieldColumnId;
use crate::several::{FieldCounter, Tallies};

/// What is gathered of the rows of a split.
pub(super) struct Gathered<'a> {
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
    /// The minutes of all rows are known before they come.
    has_minutes: bool,
    senders: SenderCounter,
    values: ValueCounter,
    spans: SpanFinder,
    newest: NewestFinder,
    patterns: PatternFinder,
    known_patterns: PatternSums,
    present: PresentFinder,
    fields: Fields,
    offsets: offsets::Writer<'a>,
    offset_span: (u64, u64),
    ingest_last: i64,
    raw_bytes: u64,
}

/// How many rows have each field.
enum Fields {
    Known(Tallies),
    Counted(FieldCounter),
}

impl<'a> Gathered<'a> {
    /// Of rows with these columns and these templates, of all of which something is known.
    pub(super) fn new(
        (columns, keys): (&Schema, &'a [TemplateKey]),
        arrivals: &'a Arrivals,
        sums: Sums,
    ) -> Self {
        let Sums { minutes, fields, values, patterns: known_patterns, senders } = sums;
        let counted = || Fields::Counted(FieldCounter::new(columns));
        Self {
            keys,
            tokens: Gatherer::default(),
            templates: Vec::new(),
            current: None,
            rows: 0,
            blocks: BlockTimes::default(),
            has_minutes: minutes.is_some(),
            minutes: minutes.unwrap_or_default(),
            senders,
            values: ValueCounter::new(columns, values),
            spans: SpanFinder::default(),
            newest: NewestFinder::default(),
            patterns: PatternFinder::default(),
            known_patterns,
            present: PresentFinder::default(),
            fields: fields.map_or_else(counted, Fields::Known),
            offsets: offsets::Writer::new(arrivals),
            offset_span: (u64::MAX, 0),
            ingest_last: i64::MIN,
            raw_bytes: 0,
        }
    }

    /// Whether no row came.
    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Looks at the next rows.
    pub(super) fn add(&mut self, piece: &Piece) {
        let rows = &piece.rows;
        if let Fields::Counted(counter) = &mut self.fields {
            counter.add(rows);
        }
        self.values.add(rows);
        self.spans.add(rows);
        let key = |number: &u32| self.keys.get(*number as usize);
        let service =
            |run: &[u32]| run.first().and_then(key).map_or("", |key| key.service.as_str());
        let runs = piece.templates.chunk_by(|one, other| one == other);
        self.present.add(rows, runs.map(|run| (run.len(), service(run))));
        self.raw_bytes += raw_bytes(rows);
        for offset in numbers(rows, "offset").into_iter().flat_map(|all| all.values().iter()) {
            self.offset_span = (self.offset_span.0.min(*offset), self.offset_span.1.max(*offset));
        }
        for time in times(rows, "ingest_time").into_iter().flat_map(|all| all.values().iter()) {
            self.ingest_last = self.ingest_last.max(*time);
        }
        let columns = Indexed::of(rows);
        self.senders.add(rows, &columns);
        // Blocks are counted from the split's first row, across the pieces it comes in.
        let mut at = 0;
        while at < rows.num_rows() {
            let filled = self.rows as usize % BLOCK_ROWS;
            let end = (at + BLOCK_ROWS - filled).min(rows.num_rows());
            self.add_part(&columns, piece, at..end);
            if (self.rows as usize).is_multiple_of(BLOCK_ROWS) {
                self.tokens.end_unit();
            }
            at = end;
        }
    }

    /// Some rows of a piece, all of one block.
    fn add_part(&mut self, columns: &Indexed<'_>, piece: &Piece, part: Range<usize>) {
        let templates = piece.templates.get(part.clone()).unwrap_or_default();
        let mut at = part.start;
        for run in templates.chunk_by(|one, other| one == other) {
            let Some(number) = run.first() else { continue };
            self.add_run(columns, *number, at..at + run.len());
            at += run.len();
        }
        for values in &columns.fields {
            self.tokens.add_values(values, part.clone());
        }
        for row in part {
            let Some(text) = columns.rest.text(row) else { continue };
            let values = rest::values(&text);
            if let Fields::Counted(counter) = &mut self.fields {
                counter.add_rest(&piece.rows, row, &values);
            }
            values.iter().for_each(|(_, value)| self.tokens.add_text(&value.to_text()));
        }
    }

    /// Rows of one template.
    fn add_run(&mut self, columns: &Indexed<'_>, number: u32, rows: Range<usize>) {
        let times: &[i64] = columns.times.map_or(&[], |times| times.values());
        let times = times.get(rows.clone()).unwrap_or_default();
        let offsets: &[u64] = columns.offsets.map_or(&[], |offsets| offsets.values());
        let offsets = offsets.get(rows.clone()).unwrap_or_default();
        let first = self.rows;
        self.begin(number, times);
        for ((row, time), offset) in (first..).zip(times).zip(offsets) {
            self.newest.add(row, *time, *offset);
            self.offsets.add(*offset, *time);
        }
        if !self.has_minutes {
            self.minutes.add(times, columns.levels.get(rows.clone()).unwrap_or_default());
        }
        let Values::Text(messages) = columns.messages else { return };
        let template = self.keys.get(number as usize).and_then(TemplateKey::fixed);
        let mut before = Before::default();
        for (row, time) in rows.zip(times) {
            let message = messages.value(row);
            before.begin();
            if !self.patterns.is_looking() {
                each_slot(message, template, |token| {
                    if before.is_new(token) {
                        self.tokens.add(token);
                    }
                });
                continue;
            }
            let mut is_told = template.is_some();
            each_slot(message, template, |token| {
                is_told = is_told && always_varies(token.as_bytes());
                if before.is_new(token) {
                    self.tokens.add(token);
                }
            });
            self.patterns.add(message, is_told, *time);
        }
    }

    /// Goes on with rows of a template, all of one block.
    fn begin(&mut self, number: u32, times: &[i64]) {
        let wider = |(first, last): (i64, i64), time: &i64| (first.min(*time), last.max(*time));
        let (first, last) = times.iter().fold((i64::MAX, i64::MIN), wider);
        if self.current != Some(number) {
            let key = self.keys.get(number as usize).cloned().unwrap_or_else(TemplateKey::loose);
            let rows = self.rows..self.rows;
            self.templates.push(Template { key, rows, time_first: first, time_last: last });
            self.current = Some(number);
            self.patterns.begin(self.known_patterns.take(number));
        }
        self.blocks.add(self.rows, (first, last));
        self.rows = self.rows.saturating_add(u32::try_from(times.len()).unwrap_or(u32::MAX));
        if let Some(template) = self.templates.last_mut() {
            template.rows.end = self.rows;
            template.time_first = template.time_first.min(first);
            template.time_last = template.time_last.max(last);
        }
    }

    /// Ends the last block.
    fn end_rows(&mut self) {
        if (self.tokens.unit_count() as usize) * BLOCK_ROWS < self.rows as usize {
            self.tokens.end_unit();
        }
    }

    /// Looks at a column of all rows, which came without it: the one at this place.
    pub(super) fn add_late(&mut self, at: usize, field: &Field, column: &ArrayRef) {
        self.end_rows();
        self.values.add_column(at, column);
        self.spans.add_column(field.name(), column);
        self.present.add_column(field.name(), column);
        self.raw_bytes += raw_bytes_of(field, column);
        let values = Values::of(column);
        for (block, from) in (0_u32..).zip((0..column.len()).step_by(BLOCK_ROWS)) {
            self.tokens.go_to(block);
            self.tokens.add_values(&values, from..(from + BLOCK_ROWS).min(column.len()));
            self.tokens.end_unit();
        }
    }

    /// Writes the sections, and what the catalog is to know.
    ///
    /// # Errors
    /// [`BuildError`] when they cannot be written.
    pub(super) fn finish(
        mut self,
        origin: Origin,
        (ingest, arrivals): (&IngestTimes, &Arrivals),
        pieces: &Finished,
        mut bundle: BundleWriter<io::BufWriter<File>>,
    ) -> Result<SplitMeta, BuildError> {
        self.end_rows();
        let (packing, meta) = (origin.packing, self.meta(origin));
        let templates = Templates(self.templates);
        for (name, bytes) in word_index(&templates)? {
            bundle.add(format!("words/{name}"), &bytes)?;
        }
        bundle.add_packed("templates", &templates.encode())?;
        let counts = templates.0.iter().map(|template| template.rows.end - template.rows.start);
        let patterns = self.patterns.finish(counts);
        bundle.add_packed("patterns", &patterns.encode(&templates))?;
        bundle.begin("tokens");
        let pages = tokens::write(self.tokens, packing, |page| bundle.append(page))?;
        bundle.add_packed("tokens.index", &pages)?;
        bundle.add_packed("blocks", &self.blocks.encode())?;
        bundle.add_packed("minutes", &self.minutes.encode())?;
        if let Some(senders) = self.senders.finish(self.rows) {
            bundle.add_packed("senders", &senders.encode())?;
        }
        bundle.add_packed("values", &self.values.finish().encode())?;
        bundle.add_packed("spans", &self.spans.finish().encode())?;
        bundle.add_packed("newest", &self.newest.finish(self.rows).encode())?;
        bundle.add_packed("present", &self.present.finish().encode())?;
        bundle.add_packed("ingest", &ingest.encode())?;
        bundle.add_packed("arrivals", &arrivals.encode())?;
        let (pages, index) = self.offsets.finish();
        bundle.add("offsets", &pages)?;
        bundle.add_packed("offsets.index", &index)?;
        let fields = serde_json::to_vec(&self.fields.into_stats());
        bundle.add_packed("fields", &fields.map_err(io::Error::other)?)?;
        let crcs: Vec<u8> = pieces.crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect();
        bundle.add("pieces", &crcs)?;
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
            cold: origin.packing.is_cold(),
            typed: false,
        }
    }
}

/// The tokens of the row before: those of one template mostly have the same date, and a part of the time.
#[derive(Default)]
struct Before<'a> {
    tokens: Vec<&'a str>,
    at: usize,
}

impl<'a> Before<'a> {
    /// The tokens of the next row follow.
    fn begin(&mut self) {
        self.at = 0;
    }

    /// Whether the row before had another token in the place of this one.
    fn is_new(&mut self, token: &'a str) -> bool {
        let known = self.tokens.get_mut(self.at);
        self.at += 1;
        match known {
            Some(known) if is_same(known, token) => false,
            Some(known) => {
                *known = token;
                true
            }
            None => {
                self.tokens.push(token);
                true
            }
        }
    }
}

impl Fields {
    /// As a split says it.
    fn into_stats(self) -> Vec<FieldStat> {
        let tallies = match self {
            Self::Known(tallies) => tallies,
            Self::Counted(counter) => counter.finish(),
        };
        let mut fields: Vec<FieldStat> =
            tallies.into_iter().map(|(id, tally)| tally.stat(id)).collect();
        fields.sort_by(|a, b| (&a.name, a.kind, a.label).cmp(&(&b.name, b.kind, b.label)));
        fields
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

/// Bytes of the rows' messages and fields' values.
fn raw_bytes(rows: &RecordBatch) -> u64 {
    let columns = rows.schema_ref().fields().iter().zip(rows.columns());
    columns.map(|(field, column)| raw_bytes_of(field, column)).sum()
}

fn raw_bytes_of(field: &Field, column: &ArrayRef) -> u64 {
    let is_counted = field.name() == "message"
        || field.name() == "_rest"
        || FieldColumnId::of(field).is_some_and(|id| id.kind.is_some());
    if !is_counted {
        return 0;
    }
    match Values::of(column) {
        Values::Text(texts) => {
            let offsets = texts.value_offsets();
            let ends = offsets.first().zip(offsets.last());
            ends.map_or(0, |(first, last)| u64::from((last - first).unsigned_abs()))
        }
        _ => 8 * (column.len() - column.null_count()) as u64,
    }
}
