//! The line of a bulk that says what is done with the document behind it.

use std::borrow::Cow;

use model::error::Kind;
use platform::http::ApiError;
use serde::Deserialize;

/// What is done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    Index,
    Update,
    Delete,
}

impl Operation {
    const ALL: [(&'static str, Self); 4] = [
        ("create", Self::Create),
        ("index", Self::Index),
        ("update", Self::Update),
        ("delete", Self::Delete),
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Index => "index",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// The document that is meant.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Target<'a> {
    pub(super) index: Option<Cow<'a, str>>,
    pub(super) id: Option<Cow<'a, str>>,
}

/// What a line says; `number` is its place in the bulk, for the refusal.
pub(super) fn action(line: &[u8], number: usize) -> Result<(Operation, Target<'_>), ApiError> {
    quick(line).map_or_else(|| of_any(line, number), Ok)
}

/// A line as nearly all clients write it: one action with texts without escapes for `_index` and `_id`.
/// `None` is no refusal: the line is read by who knows all of JSON.
fn quick(line: &[u8]) -> Option<(Operation, Target<'_>)> {
    let mut rest = Rest(line);
    rest.sign(b'{')?;
    let name = rest.text()?;
    let (_, operation) = Operation::ALL.into_iter().find(|(known, _)| *known == name)?;
    rest.sign(b':')?;
    rest.sign(b'{')?;
    let mut target = Target::default();
    if rest.sign(b'}').is_none() {
        loop {
            let member = match rest.text()? {
                "_index" => &mut target.index,
                "_id" => &mut target.id,
                _ => return None,
            };
            rest.sign(b':')?;
            if member.replace(Cow::Borrowed(rest.text()?)).is_some() {
                return None;
            }
            if rest.sign(b',').is_none() {
                rest.sign(b'}')?;
                break;
            }
        }
    }
    rest.sign(b'}')?;
    rest.0.is_empty().then_some((operation, target))
}

/// What is left of a line.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Takes a sign and the spaces around it; nothing where another one is next.
    fn sign(&mut self, sign: u8) -> Option<()> {
        let (first, rest) = behind_spaces(self.0).split_first()?;
        if *first != sign {
            return None;
        }
        self.0 = behind_spaces(rest);
        Some(())
    }

    /// Takes a text in which nothing is escaped.
    fn text(&mut self) -> Option<&'a str> {
        let inner = self.0.strip_prefix(b"\"")?;
        let end = inner.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
        let (text, rest) = inner.split_at_checked(end)?;
        self.0 = rest.strip_prefix(b"\"")?;
        std::str::from_utf8(text).ok()
    }
}

/// Without what JSON takes for spaces.
fn behind_spaces(bytes: &[u8]) -> &[u8] {
    let is_more = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes.iter().position(is_more).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

/// An action of a bulk. What stands beside the action is of no concern.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with create, index, update or delete")]
struct Action<'a> {
    #[serde(borrow)]
    create: Option<Told<'a>>,
    index: Option<Told<'a>>,
    update: Option<Told<'a>>,
    delete: Option<Told<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "an object with _index and _id")]
struct Told<'a> {
    #[serde(borrow)]
    _index: Option<Cow<'a, str>>,
    _id: Option<serde_json::Value>,
    op_type: Option<serde_json::Value>,
}

impl Told<'_> {
    /// What `index` means here: with `op_type` it may be `create` by another name.
    fn operation(&self) -> Operation {
        match self.op_type.as_ref().and_then(serde_json::Value::as_str) {
            Some("create") => Operation::Create,
            _ => Operation::Index,
        }
    }
}

impl<'a> From<Told<'a>> for Target<'a> {
    fn from(told: Told<'a>) -> Self {
        let id = match told._id {
            None | Some(serde_json::Value::Null) => None,
            Some(serde_json::Value::String(id)) => Some(Cow::Owned(id)),
            Some(other) => Some(Cow::Owned(other.to_string())),
        };
        Self { index: told._index, id }
    }
}

/// What a line of any JSON says.
fn of_any(line: &[u8], number: usize) -> Result<(Operation, Target<'_>), ApiError> {
    let malformed = |words: String| ApiError::new(Kind::Invalid, words);
    let action: Action<'_> = serde_json::from_slice(line).map_err(|error| {
        malformed(format!("Malformed action/metadata line [{number}]: {error}"))
    })?;
    match action {
        Action { create: Some(told), .. } => Ok((Operation::Create, told.into())),
        Action { index: Some(told), .. } => Ok((told.operation(), told.into())),
        Action { update: Some(told), .. } => Ok((Operation::Update, told.into())),
        Action { delete: Some(told), .. } => Ok((Operation::Delete, told.into())),
        Action { .. } => Err(malformed(format!(
            "Malformed action/metadata line [{number}], expected one of create, index, update or delete"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_lines_are_read_quickly() {
        for (line, operation, index, id) in [
            (r#"{"create":{}}"#, Operation::Create, None, None),
            (r#"{"index":{"_index":"a"}}"#, Operation::Index, Some("a"), None),
            (
                r#"{ "create" : { "_id" : "7", "_index" : "é" } }"#,
                Operation::Create,
                Some("é"),
                Some("7"),
            ),
            (r#"{"delete":{"_id":"7"}}"#, Operation::Delete, None, Some("7")),
        ] {
            let target = Target { index: index.map(Cow::Borrowed), id: id.map(Cow::Borrowed) };
            assert_eq!(quick(line.as_bytes()), Some((operation, target)), "{line}");
        }
        for line in [
            r#"{"index":{"_id":7}}"#,
            r#"{"index":{"_id":"a\n"}}"#,
            r#"{"index":{"_id":"a","_id":"b"}}"#,
            r#"{"index":{"_index":"a","pipeline":null},"attempts":0}"#,
            r#"{"index":{}} x"#,
            r#"{"index":{"_index":"a",}}"#,
            "{\"index\":{\"_id\":\"a\tb\"}}",
        ] {
            assert_eq!(quick(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn other_lines_are_read_as_well() {
        let line = br#"{"index":{"_index":"a","pipeline":null,"_id":7},"attempts":0}"#;
        let (operation, target) = action(line, 1).unwrap();
        let expected = Target { index: Some("a".into()), id: Some("7".into()) };
        assert_eq!((operation, target), (Operation::Index, expected));
        assert!(action(b"{}", 3).unwrap_err().detail.message.contains("[3]"));
        let message = action(br#"{"index":"a"}"#, 1).unwrap_err().detail.message;
        assert!(message.contains("expected an object with _index and _id"), "{message}");
        for (kind, operation) in [
            (r#""create""#, Operation::Create),
            (r#""index""#, Operation::Index),
            ("null", Operation::Index),
            ("7", Operation::Index),
        ] {
            let line = format!(r#"{{"index":{{"_id":"a","op_type":{kind}}}}}"#);
            assert_eq!(action(line.as_bytes(), 1).unwrap().0, operation, "{kind}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

        /// What is read quickly is what is read slowly.
        #[test]
        fn both_ways_agree(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("{".to_owned()), Just("}".to_owned()), Just(":".to_owned()), Just(",".to_owned()),
                    Just(" ".to_owned()), Just("{\"index\":{\"_id\":\"1\"".to_owned()),
                    Just("\"create\"".to_owned()), Just("\"_index\":\"a\"".to_owned()), Just("}}".to_owned()),
                    Just("\"_id\":".to_owned()), Just("\"\\u0041\"".to_owned()), any::<char>().prop_map(String::from),
                ],
                0..9,
            ),
        ) {
            let line = parts.concat();
            if let Some(read) = quick(line.as_bytes()) {
                prop_assert_eq!(read, of_any(line.as_bytes(), 1).unwrap());
            }
        }
    }
}
