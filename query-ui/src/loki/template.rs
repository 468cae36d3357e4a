//! Templates of `line_format` and `label_format`: text with `{{.label}}` and `{{__line__}}`.

use super::ast::Piece;

/// The pieces of a template.
pub(super) fn template(text: &str) -> Result<Vec<Piece>, String> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, behind)) = rest.split_once("{{") {
        let Some((inside, after)) = behind.split_once("}}") else {
            return Err("a template's {{ is not closed".to_owned());
        };
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let name = inside.trim().trim_matches('-').trim();
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.')
        };
        match name.strip_prefix('.') {
            _ if name == "__line__" => pieces.push(Piece::Line),
            Some(label) if is_name(label) => pieces.push(Piece::Label(label.to_owned())),
            _ => {
                return Err(format!(
                    "a template takes {{{{.label}}}} and {{{{__line__}}}}, not {{{{{name}}}}}"
                ));
            }
        }
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}
