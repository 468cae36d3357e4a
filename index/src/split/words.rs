//! The word index: a tantivy index of one segment with one document per template. Its one field holds
//! the distinct words of the template's fixed texts, folded.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem::Finder;
use tantivy::directory::{Directory as _, RamDirectory};
use tantivy::index::SegmentComponent;
use tantivy::postings::InvertedIndexSerializer;
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::{
    DocSet as _, Index, InvertedIndexReader, Searcher, TERMINATED, TantivyDocument, TantivyError,
    Term,
};

use super::gather::Gatherer;
use super::tokens::Part;

/// The field of the index.
const FIELD: &str = "word";
/// Memory that tantivy plans with while it writes documents; ours are empty.
const WRITER_BYTES: usize = 15 << 20;

/// Writes the words of a gatherer whose units are templates; gives the index's files.
///
/// Tantivy's own writer would give the same index for three times the CPU.
pub(super) fn write(gatherer: Gatherer) -> tantivy::Result<Vec<(String, Bytes)>> {
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
    for _ in 0..gatherer.unit_count() {
        writer.add_document(TantivyDocument::new())?;
    }
    let index = writer.finalize()?;
    write_terms(gatherer, &index, &directory, field)?;
    files(&index, &directory)
}

/// Puts the terms in the place of those of the empty documents.
fn write_terms(
    gatherer: Gatherer,
    index: &Index,
    directory: &RamDirectory,
    field: Field,
) -> tantivy::Result<()> {
    let mut segments = index.searchable_segments()?;
    let segment = segments
        .pop()
        .ok_or_else(|| TantivyError::InternalError("an index without segment".to_owned()))?;
    for part in [SegmentComponent::Terms, SegmentComponent::Postings, SegmentComponent::Positions] {
        let path = segment.relative_path(part);
        if directory.exists(&path)? {
            directory.delete(&path).map_err(|error| {
                TantivyError::InternalError(format!("a file cannot be replaced: {error}"))
            })?;
        }
    }
    let mut serializer = InvertedIndexSerializer::open(&segment)?;
    let mut terms = serializer.new_field(field, 0, None)?;
    gatherer.give(|word, templates| {
        terms.new_term(word, u32::try_from(templates.len()).unwrap_or(u32::MAX), false)?;
        templates.iter().for_each(|template| terms.write_doc(*template, 1, &[]));
        terms.close_term()
    })?;
    terms.close()?;
    Ok(serializer.close()?)
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

/// An open word index.
#[derive(Debug)]
pub(super) struct Words {
    field: Field,
    searcher: Searcher,
}

impl Words {
    /// Opens the index from its files.
    pub(super) fn open(files: &[(String, Bytes)]) -> tantivy::Result<Self> {
        let directory = RamDirectory::create();
        for (name, bytes) in files {
            directory.atomic_write(Path::new(name), bytes)?;
        }
        let index = Index::open(directory)?;
        let field = index.schema().get_field(FIELD)?;
        let reader = index
            .reader_builder()
            .reload_policy(tantivy::ReloadPolicy::Manual)
            .num_warming_threads(0)
            .try_into()?;
        Ok(Self { field, searcher: reader.searcher() })
    }

    fn inverted(&self) -> tantivy::Result<Option<Arc<InvertedIndexReader>>> {
        let segment = self.searcher.segment_readers().first();
        segment.map(|segment| segment.inverted_index(self.field)).transpose()
    }

    /// The templates that have a word, ascending.
    pub(super) fn templates(&self, word: &str) -> tantivy::Result<Vec<u32>> {
        let Some(inverted) = self.inverted()? else { return Ok(Vec::new()) };
        let term = Term::from_field_text(self.field, word);
        let mut found = Vec::new();
        if let Some(mut postings) = inverted.read_postings(&term, IndexRecordOption::Basic)? {
            while postings.doc() != TERMINATED {
                found.push(postings.doc());
                postings.advance();
            }
        }
        Ok(found)
    }

    /// The templates that have a word with such a part, ascending.
    pub(super) fn templates_with_part(&self, text: &str, part: Part) -> tantivy::Result<Vec<u32>> {
        let Some(inverted) = self.inverted()? else { return Ok(Vec::new()) };
        let start = if part == Part::Start { text } else { "" };
        let mut stream = inverted.terms().range().ge(start).into_stream()?;
        let finder = Finder::new(text);
        let mut found = Vec::new();
        while stream.advance() {
            let word = stream.key();
            if part == Part::Start && !word.starts_with(text.as_bytes()) {
                break;
            }
            if finder.find(word).is_some() {
                let info = stream.value().clone();
                let mut postings =
                    inverted.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
                while postings.doc() != TERMINATED {
                    found.push(postings.doc());
                    postings.advance();
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}
