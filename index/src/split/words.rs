//! Asking the word index which blocks may hold rows that pass a filter: never too few.

use std::path::Path;

use bytes::Bytes;
use model::limits::TOKEN_BYTES_MAX;
use model::query::{Bound, FieldTest, Filter, TextMatch};
use model::text::{cut, fold_text, tokens};
use tantivy::directory::{Directory as _, RamDirectory};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{Index, InvertedIndexReader, Searcher, TERMINATED, Term};

use super::terms::FIELD;
use crate::columns::Number;

/// Terms that a pattern is expanded to; of more, every block is a candidate.
const EXPANSION_MAX: usize = 4_096;

/// A set of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blocks(Vec<bool>);

impl Blocks {
    pub(super) fn all(count: usize) -> Self {
        Self(vec![true; count])
    }

    fn none(count: usize) -> Self {
        Self(vec![false; count])
    }

    fn and(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
        self
    }

    fn or(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
        self
    }

    /// Keeps the blocks for which the test holds.
    pub(super) fn keep(&mut self, test: impl Fn(usize) -> bool) {
        self.0.iter_mut().enumerate().for_each(|(at, block)| *block = *block && test(at));
    }

    /// Their numbers, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().filter(|(_, inside)| **inside).map(|(at, _)| at)
    }
}

/// The word index of an open split.
#[derive(Debug)]
pub(super) struct Words {
    field: Field,
    searcher: Searcher,
    block_count: usize,
}

struct Searching<'a> {
    words: &'a Words,
    inverted: std::sync::Arc<InvertedIndexReader>,
}

impl Words {
    /// Opens the index from its files.
    pub(super) fn open(files: &[(String, Bytes)], block_count: usize) -> tantivy::Result<Self> {
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
        Ok(Self { field, searcher: reader.searcher(), block_count })
    }

    /// The blocks that may hold a row which passes: never too few.
    pub(super) fn candidates(&self, filter: &Filter) -> tantivy::Result<Blocks> {
        let Some(segment) = self.searcher.segment_readers().first() else {
            return Ok(Blocks::all(self.block_count));
        };
        Searching { words: self, inverted: segment.inverted_index(self.field)? }.filter(filter)
    }
}

impl Searching<'_> {
    fn filter(&self, filter: &Filter) -> tantivy::Result<Blocks> {
        let all = || Blocks::all(self.words.block_count);
        Ok(match filter {
            Filter::All | Filter::Not(_) => all(),
            Filter::And(parts) => {
                let mut blocks = all();
                for part in parts {
                    blocks = blocks.and(&self.filter(part)?);
                }
                blocks
            }
            Filter::Or(parts) => {
                let mut blocks = Blocks::none(self.words.block_count);
                for part in parts {
                    blocks = blocks.or(&self.filter(part)?);
                }
                blocks
            }
            Filter::Text(text) => self.text(text)?,
            Filter::Field { name, test } => match (name.as_str(), test) {
                ("timestamp" | "ingest_time" | "level" | "index" | "id", _) => all(),
                // A field or the message. The name may be a label's too, whose values are not
                // indexed: the caller asks for all blocks then.
                (_, FieldTest::Matches(text)) => self.value(text)?,
                (_, FieldTest::Between { from, to })
                    if *from == Bound::Open && *to == Bound::Open =>
                {
                    all()
                }
                _ => all(),
            },
        })
    }

    /// Values that match as text, or are numbers equal to it: `1.50` finds 1.5.
    fn value(&self, text: &TextMatch) -> tantivy::Result<Blocks> {
        let mut blocks = self.text(text)?;
        let TextMatch::Phrase(phrase) = text else { return Ok(blocks) };
        for text in Number::read(phrase).map(Number::texts).unwrap_or_default() {
            blocks = blocks.or(&self.phrase(&text)?);
        }
        Ok(blocks)
    }

    fn text(&self, text: &TextMatch) -> tantivy::Result<Blocks> {
        match text {
            TextMatch::Phrase(phrase) => self.phrase(phrase),
            TextMatch::Pattern { parts, open_start, open_end } => {
                self.pattern(parts, *open_start, *open_end)
            }
        }
    }

    /// A phrase stands free, so each of its tokens is a whole token of the row.
    fn phrase(&self, phrase: &str) -> tantivy::Result<Blocks> {
        let folded = fold_text(phrase);
        let mut blocks = Blocks::all(self.words.block_count);
        for token in tokens(&folded) {
            blocks = blocks.and(&self.token(token)?);
        }
        Ok(blocks)
    }

    fn token(&self, token: &str) -> tantivy::Result<Blocks> {
        let term = Term::from_field_text(self.words.field, cut(token, TOKEN_BYTES_MAX));
        let mut blocks = Blocks::none(self.words.block_count);
        if let Some(mut postings) = self.inverted.read_postings(&term, IndexRecordOption::Basic)? {
            self.mark(&mut postings, &mut blocks);
        }
        Ok(blocks)
    }

    fn mark(&self, postings: &mut impl tantivy::DocSet, blocks: &mut Blocks) {
        let mut document = postings.doc();
        while document != TERMINATED {
            if let Some(block) = blocks.0.get_mut(document as usize) {
                *block = true;
            }
            document = postings.advance();
        }
    }

    /// Tokens inside a part are whole, unless they touch a star or an open end: of those, the
    /// dictionary is asked for tokens that contain them.
    fn pattern(
        &self,
        parts: &[String],
        open_start: bool,
        open_end: bool,
    ) -> tantivy::Result<Blocks> {
        let mut blocks = Blocks::all(self.words.block_count);
        for (at, part) in parts.iter().enumerate() {
            let folded = fold_text(part);
            let touches_left = at > 0 || open_start;
            let touches_right = at + 1 < parts.len() || open_end;
            let found: Vec<&str> = tokens(&folded).collect();
            for (nth, token) in found.iter().enumerate() {
                let cut_left = touches_left && nth == 0 && folded.starts_with(token);
                let cut_right = touches_right && nth + 1 == found.len() && folded.ends_with(token);
                let here = match (cut_left, cut_right) {
                    (false, false) => self.token(token)?,
                    (left, _) if token.len() >= TOKEN_BYTES_MAX || left && token.len() < 2 => {
                        continue;
                    }
                    (left, _) => self.containing(token, left)?,
                };
                blocks = blocks.and(&here);
            }
        }
        Ok(blocks)
    }

    /// Blocks with a token that begins with the text, or has it anywhere.
    fn containing(&self, text: &str, anywhere: bool) -> tantivy::Result<Blocks> {
        let dictionary = self.inverted.terms();
        let start = if anywhere { "" } else { text };
        let mut stream = dictionary.range().ge(start).into_stream()?;
        let finder = memchr::memmem::Finder::new(text);
        let mut blocks = Blocks::none(self.words.block_count);
        let mut expansions = 0;
        while stream.advance() {
            let key = stream.key();
            if !anywhere && !key.starts_with(text.as_bytes()) {
                break;
            }
            // A token that was cut may have the text behind the cut.
            let may = key.len() + 4 > TOKEN_BYTES_MAX || finder.find(key).is_some();
            if may {
                expansions += 1;
                if expansions > EXPANSION_MAX {
                    return Ok(Blocks::all(self.words.block_count));
                }
                let info = stream.value().clone();
                let mut postings =
                    self.inverted.read_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
                self.mark(&mut postings, &mut blocks);
            }
        }
        Ok(blocks)
    }
}
