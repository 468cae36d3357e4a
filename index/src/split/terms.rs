//! Writing the word index: a tantivy index of one segment with one document per block of rows. Its
//! one field holds the block's distinct tokens, folded: of messages and of fields' values.

use arrow::array::{Array as _, RecordBatch};
use bytes::Bytes;
use hashbrown::HashTable;
use model::limits::TOKEN_BYTES_MAX;
use model::text::{cut, fold_text, is_word, tokens};
use tantivy::directory::{Directory as _, RamDirectory};
use tantivy::index::SegmentComponent;
use tantivy::postings::{FieldSerializer, InvertedIndexSerializer};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, TantivyDocument, TantivyError};
use xxhash_rust::xxh3::xxh3_64;

use crate::columns::Values;
use crate::rest;
use crate::schema::{FieldColumnId, REST};

/// The field of the index.
pub(super) const FIELD: &str = "token";
/// Memory that tantivy plans with while it writes documents; ours are empty.
const WRITER_BYTES: usize = 15 << 20;

/// Gathers the tokens of blocks and writes the index.
///
/// Memory: each distinct token once, and four bytes for each block that has it. Tantivy's own
/// writer gives the same index for three times the CPU.
pub(super) struct TermsBuilder {
    /// Numbers of terms by their hash.
    table: HashTable<u32>,
    terms: Vec<Gathered>,
    /// The terms' bytes.
    bytes: Vec<u8>,
    /// The terms of each block, block after block.
    postings: Vec<u32>,
    /// Where each block ends in `postings`.
    ends: Vec<usize>,
    scratch: Vec<u8>,
}

/// A term that was met.
struct Gathered {
    hash: u64,
    /// Its place in `bytes`.
    start: usize,
    end: usize,
    /// The last block that has it.
    block: usize,
    block_count: u32,
}

impl TermsBuilder {
    pub(super) fn new() -> Self {
        Self {
            table: HashTable::new(),
            terms: Vec::new(),
            bytes: Vec::new(),
            postings: Vec::new(),
            ends: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Adds rows to the block that is being gathered.
    pub(super) fn add(&mut self, rows: &RecordBatch) {
        let schema = rows.schema();
        for (field, column) in schema.fields().iter().zip(rows.columns()) {
            let is_own = FieldColumnId::of(field).is_some_and(|id| id.kind.is_some());
            if column.null_count() == column.len() {
                continue;
            }
            let values = Values::of(column);
            if is_own || field.name() == "message" {
                // Values often repeat from row to row.
                let mut last = None;
                for row in 0..rows.num_rows() {
                    let Some(text) = values.text(row) else { continue };
                    if last.as_ref() != Some(&text) {
                        self.add_text(&text);
                        last = Some(text);
                    }
                }
            } else if field.name() == REST {
                for row in 0..rows.num_rows() {
                    let text = values.text(row);
                    for (_, value) in text.as_deref().map(rest::values).unwrap_or_default() {
                        self.add_text(&value.to_text());
                    }
                }
            }
        }
    }

    fn add_text(&mut self, text: &str) {
        if text.is_ascii() {
            let mut folded = std::mem::take(&mut self.scratch);
            folded.clear();
            folded.extend_from_slice(text.as_bytes());
            folded.make_ascii_lowercase();
            for token in folded.split(|byte| !is_word(char::from(*byte))) {
                if !token.is_empty() {
                    self.add_token(token.get(..TOKEN_BYTES_MAX).unwrap_or(token));
                }
            }
            self.scratch = folded;
        } else {
            for token in tokens(&fold_text(text)) {
                self.add_token(cut(token, TOKEN_BYTES_MAX).as_bytes());
            }
        }
    }

    fn add_token(&mut self, token: &[u8]) {
        let hash = xxh3_64(token);
        let (terms, bytes) = (&mut self.terms, &mut self.bytes);
        let is_it = |number: &u32| {
            let term = terms.get(*number as usize);
            term.is_some_and(|term| {
                term.hash == hash && bytes.get(term.start..term.end) == Some(token)
            })
        };
        let block = self.ends.len();
        if let Some(number) = self.table.find(hash, is_it).copied() {
            if let Some(term) = terms.get_mut(number as usize).filter(|term| term.block != block) {
                term.block = block;
                term.block_count += 1;
                self.postings.push(number);
            }
            return;
        }
        let number = u32::try_from(terms.len()).expect("a split has far fewer than 2^32 tokens");
        let start = bytes.len();
        bytes.extend_from_slice(token);
        terms.push(Gathered { hash, start, end: bytes.len(), block, block_count: 1 });
        let hash_of = |number: &u32| terms.get(*number as usize).map_or(0, |term| term.hash);
        self.table.insert_unique(hash, number, hash_of);
        self.postings.push(number);
    }

    /// Ends the block.
    pub(super) fn end_block(&mut self) {
        self.ends.push(self.postings.len());
    }

    /// Writes the index and gives its files.
    pub(super) fn finish(self) -> tantivy::Result<Vec<(String, Bytes)>> {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        let options = TextOptions::default().set_indexing_options(indexing);
        let field = schema.add_text_field(FIELD, options);
        let directory = RamDirectory::create();
        let mut writer = Index::builder()
            .schema(schema.build())
            .single_segment_index_writer(directory.clone(), WRITER_BYTES)?;
        for _ in &self.ends {
            writer.add_document(TantivyDocument::new())?;
        }
        let index = writer.finalize()?;
        self.write_terms(&index, &directory, field)?;
        files(&index, &directory)
    }

    /// Puts the terms in the place of those of the empty documents.
    fn write_terms(
        self,
        index: &Index,
        directory: &RamDirectory,
        field: Field,
    ) -> tantivy::Result<()> {
        let mut segments = index.searchable_segments()?;
        let segment = segments
            .pop()
            .ok_or_else(|| TantivyError::InternalError("an index without segment".to_owned()))?;
        for part in
            [SegmentComponent::Terms, SegmentComponent::Postings, SegmentComponent::Positions]
        {
            let path = segment.relative_path(part);
            if directory.exists(&path)? {
                directory.delete(&path).map_err(|error| {
                    TantivyError::InternalError(format!("a file cannot be replaced: {error}"))
                })?;
            }
        }
        let mut serializer = InvertedIndexSerializer::open(&segment)?;
        let mut terms = serializer.new_field(field, 0, None)?;
        self.write_field(&mut terms)?;
        terms.close()?;
        Ok(serializer.close()?)
    }

    /// Terms in order, each with its blocks in order.
    fn write_field(self, out: &mut FieldSerializer<'_>) -> std::io::Result<()> {
        let mut at = 0;
        // Where each term's blocks are to stand.
        let mut places: Vec<usize> = Vec::with_capacity(self.terms.len());
        for term in &self.terms {
            places.push(at);
            at += term.block_count as usize;
        }
        let mut blocks = vec![0_u32; at];
        let mut from = 0;
        for (block, end) in (0_u32..).zip(&self.ends) {
            for number in self.postings.get(from..*end).unwrap_or_default() {
                let Some(place) = places.get_mut(*number as usize) else { continue };
                if let Some(slot) = blocks.get_mut(*place) {
                    *slot = block;
                }
                *place += 1;
            }
            from = *end;
        }
        let bytes_of = |term: &Gathered| self.bytes.get(term.start..term.end).unwrap_or_default();
        let mut order: Vec<(&[u8], u32, usize)> = self
            .terms
            .iter()
            .zip(places)
            .map(|(term, end)| (bytes_of(term), term.block_count, end))
            .collect();
        order.sort_unstable_by_key(|(bytes, _, _)| *bytes);
        for (bytes, count, end) in order {
            out.new_term(bytes, count, false)?;
            for block in blocks.get(end - count as usize..end).unwrap_or_default() {
                out.write_doc(*block, 1, &[]);
            }
            out.close_term()?;
        }
        Ok(())
    }
}

/// The files of an index, by name.
fn files(index: &Index, directory: &RamDirectory) -> tantivy::Result<Vec<(String, Bytes)>> {
    let mut files = Vec::new();
    for path in index.directory().list_managed_files() {
        if !directory.exists(&path)? {
            continue;
        }
        let name = path.display().to_string();
        let bytes = match name.as_str() {
            "meta.json" => directory.atomic_read(&path)?,
            _ => directory.open_read(&path)?.read_bytes()?.to_vec(),
        };
        files.push((name, bytes.into()));
    }
    files.sort();
    Ok(files)
}
