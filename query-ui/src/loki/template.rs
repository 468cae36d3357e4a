//! Templates of `line_format` and `label_format`: where nothing is computed they are pieces of our own.

use super::ast::Piece;
use crate::language::template::{Name, Plain, Template, Wrong};

/// The pieces of a template.
///
/// # Errors
/// What is wrong with it, and where.
pub(super) fn template(text: &str) -> Result<Vec<Piece>, Wrong> {
    let template = Template::read(text)?;
    let piece = |plain: Plain| match plain {
        Plain::Text(text) => Piece::Text(text),
        Plain::Name(Name::Label(label)) => Piece::Label(label),
        Plain::Name(Name::Line | Name::Time) => Piece::Line,
    };
    Ok(match template.plain() {
        Some(plain) => plain.into_iter().map(piece).collect(),
        None => vec![Piece::Filled { source: text.to_owned(), names: template.names().to_vec() }],
    })
}
