//! Labels of pushed streams: as they are written, and as they name a stream here.

use model::level::Level;
use model::limits::LABEL_BYTES_MAX;
use model::stream::{IndexName, Labels, LabelsError, RESERVED};
use model::text::cut;
use platform::http::ApiError;

use crate::doors::parcel::{self, Parcel};

/// The label that keeps the tenant of `X-Scope-OrgID`.
const TENANT: &str = "tenant";
/// The label that stands for labels which cannot be labels here: the beginning of their text.
pub(super) const UNREAD: &str = "_unread_labels";

/// What a stream's labels say.
pub(super) struct Named {
    /// The stream here.
    pub(super) stream: parcel::Stream,
    /// The level of its lines.
    pub(super) level: Option<Level>,
    /// Why its labels are not labels here: its lines say so.
    pub(super) poison: Option<String>,
}

/// The stream of these labels. The label `level` becomes the level of its lines; names that every
/// record has of itself are set apart. Labels that cannot be read or are over a bound shall not cost
/// their lines, nor those the lines of others.
pub(super) fn named(
    parcel: &mut Parcel,
    written: &Written,
    tenant: Option<&str>,
) -> Result<Named, ApiError> {
    let mut level = None;
    let chosen = match written {
        Written::Pairs(pairs) => chosen(pairs, tenant, &mut level).map_err(|e| e.to_string()),
        Written::Unread(_) => Err("its labels cannot be read".to_owned()),
    };
    let (labels, poison) = match chosen {
        Ok(labels) => (labels, None),
        Err(reason) => {
            let pair = (UNREAD.to_owned(), cut(&written.text(), LABEL_BYTES_MAX).to_owned());
            let tenant =
                tenant.map(|tenant| (TENANT.to_owned(), cut(tenant, LABEL_BYTES_MAX).to_owned()));
            // Two names that differ, values within the bound: they can always be labels.
            let labels = Labels::new(std::iter::once(pair).chain(tenant).collect());
            (labels.unwrap_or_default(), Some(reason))
        }
    };
    Ok(Named { stream: parcel.stream(IndexName::default(), labels)?, level, poison })
}

fn chosen(
    pairs: &[(String, String)],
    tenant: Option<&str>,
    level: &mut Option<Level>,
) -> Result<Labels, LabelsError> {
    let mut labels = Vec::with_capacity(pairs.len() + 1);
    for (name, value) in pairs {
        if let "level" | "detected_level" | "severity" = name.as_str() {
            *level = level.or(Level::from_word(value));
        }
        // A level that is known is in the level; the rest keeps its text.
        if name == "level" && level.is_some() || value.is_empty() {
            continue;
        }
        // Whose a stream is its sender says in the header alone.
        let is_taken = RESERVED.contains(&name.as_str()) || name == TENANT && tenant.is_some();
        let name = if is_taken { format!("label_{name}") } else { name.clone() };
        labels.push((name, value.clone()));
    }
    if let Some(tenant) = tenant {
        labels.push((TENANT.to_owned(), tenant.to_owned()));
    }
    Labels::new(labels)
}

/// A stream's labels as they came.
pub(super) enum Written {
    /// Names and values.
    Pairs(Vec<(String, String)>),
    /// What cannot be read as such.
    Unread(String),
}

impl Written {
    /// Reads `{a="b", c="d\n"}`.
    pub(super) fn read(text: &str) -> Self {
        pairs(text).map_or_else(|| Self::Unread(text.to_owned()), Self::Pairs)
    }

    /// The labels as they are written, as far as a label keeps them.
    fn text(&self) -> String {
        let pairs = match self {
            Self::Unread(text) => return cut(text, LABEL_BYTES_MAX).to_owned(),
            Self::Pairs(pairs) => pairs,
        };
        let mut text = "{".to_owned();
        for (name, value) in pairs {
            if text.len() > LABEL_BYTES_MAX {
                break;
            }
            let separator = if text.len() > 1 { "," } else { "" };
            let value = serde_json::Value::from(cut(value, LABEL_BYTES_MAX));
            text.push_str(&format!("{separator}{}={value}", cut(name, LABEL_BYTES_MAX)));
        }
        text.push('}');
        text
    }
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let mut pairs = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return after.trim().is_empty().then_some(pairs);
        }
        let (name, after) = rest.split_once('=')?;
        let quoted = after.trim_start();
        // Go's quoting is JSON's but for a few escapes that labels do not have.
        let mut values = serde_json::Deserializer::from_str(quoted).into_iter::<String>();
        let value = values.next()?.ok()?;
        rest = quoted.get(values.byte_offset()..)?.trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        pairs.push((name.trim().to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_as_they_are_quoted() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs("{}"), Some(vec![]));
        assert_eq!(pairs(r#"{a="1",b = "x, y}"}"#), Some(vec![pair("a", "1"), pair("b", "x, y}")]));
        for bad in ["", "{", "{a}", "{a=1}", r#"{a="1"} x"#, r#"{a="1"#] {
            assert_eq!(pairs(bad), None, "{bad}");
        }
    }

    #[test]
    fn labels_over_a_bound_are_written_down_as_far_as_they_fit() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let few = Written::Pairs(vec![pair("a", "x\"y"), pair("b", "")]);
        assert_eq!(few.text(), r#"{a="x\"y",b=""}"#);
        let many = (0..100_000).map(|n| pair(&format!("n{n}"), &"v".repeat(99))).collect();
        let text = Written::Pairs(many).text();
        assert!(text.len() > LABEL_BYTES_MAX && text.len() < 2 * LABEL_BYTES_MAX, "{}", text.len());
    }
}
