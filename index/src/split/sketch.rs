//! Sketches of columns: how many values each has, how many different ones, how long. A Parquet
//! writer is told how to code a column before it sees a value; sketches tell, and are added up
//! when splits are merged.
//!
//! Different values are counted as by Flajolet, Fusy, Gandouet and Meunier, "HyperLogLog" (2007), with
//! 64 registers: about 13 % off.

use std::collections::BTreeMap;
use std::io;

use arrow::array::{Array as _, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use model::record::FieldType;
use parquet::basic::Encoding;
use parquet::file::properties::WriterPropertiesBuilder;
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::xxh3_64;

use super::coding::{Reader, is_same, malformed, put, put_bytes};
use crate::columns::Values;
use crate::schema::{FieldColumnId, REST};

/// Registers of a sketch.
const REGISTERS: usize = 64;
/// Bits of a hash that choose the register.
const REGISTER_BITS: u32 = 6;
/// Values below which a column is coded as the writer likes: it costs little either way.
const VALUES_MIN: u64 = if cfg!(test) { 4 } else { 1_024 };
/// Neighbours that are compared, in all.
const PAIRS_MAX: u64 = 4_096;
/// Bytes that texts and their neighbours begin with alike, on average, from which they are coded by that.
const SHARED_MIN: u64 = 4;
/// Bytes of a column's dictionary before it is given up.
const DICTIONARY_BYTES: u64 = 4 << 20;
/// Bytes of the dictionaries of all columns: while splits are written and merged they are in memory.
const DICTIONARIES_BYTES: u64 = 64 << 20;

/// What is known of the values of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sketch {
    values: u64,
    /// Bytes of all texts.
    bytes: u64,
    /// Neighbours that were compared, and the bytes that they begin with alike.
    pairs: u64,
    shared: u64,
    /// The longest run of zeros in the hashes of each register, and one.
    registers: [u8; REGISTERS],
}

impl Default for Sketch {
    fn default() -> Self {
        Self { values: 0, bytes: 0, pairs: 0, shared: 0, registers: [0; REGISTERS] }
    }
}

impl Sketch {
    fn add_hash(&mut self, hash: u64) {
        self.values += 1;
        let zeros = (hash >> REGISTER_BITS).trailing_zeros().min(u64::BITS - REGISTER_BITS);
        let run = u8::try_from(zeros + 1).unwrap_or(u8::MAX);
        let register = usize::try_from(hash).unwrap_or(usize::MAX) & (REGISTERS - 1);
        if let Some(register) = self.registers.get_mut(register) {
            *register = run.max(*register);
        }
    }

    fn add(&mut self, values: &Values<'_>) {
        match values {
            Values::Text(texts) => {
                let mut before: Option<(&str, u64)> = None;
                for text in texts.iter().flatten() {
                    // Neighbours often are the same.
                    let same = before.filter(|(before, _)| is_same(before, text));
                    let hash = same.map_or_else(|| xxh3_64(text.as_bytes()), |(_, hash)| hash);
                    self.add_hash(hash);
                    self.bytes += text.len() as u64;
                    if let Some((before, _)) = before.filter(|_| self.pairs < PAIRS_MAX) {
                        self.pairs += 1;
                        let alike = super::coding::shared(before.as_bytes(), text.as_bytes());
                        self.shared += alike as u64;
                    }
                    before = Some((text, hash));
                }
            }
            Values::Int(numbers) => {
                let numbers = numbers.iter().flatten();
                numbers.for_each(|number| self.add_hash(xxh3_64(&number.to_le_bytes())));
            }
            Values::Float(numbers) => {
                let numbers = numbers.iter().flatten();
                numbers.for_each(|number| self.add_hash(xxh3_64(&number.to_le_bytes())));
            }
            Values::Label(..) | Values::Bool(_) | Values::None => {}
        }
    }

    fn join(&mut self, other: &Self) {
        self.values += other.values;
        self.bytes += other.bytes;
        self.pairs += other.pairs;
        self.shared += other.shared;
        for (own, other) in self.registers.iter_mut().zip(other.registers) {
            *own = other.max(*own);
        }
    }

    /// About how many values differ.
    fn distinct(&self) -> u64 {
        let count = REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|run| (-f64::from(*run)).exp2()).sum();
        let estimate = 0.709 * count * count / sum;
        let unused = self.registers.iter().filter(|run| **run == 0).count();
        let estimate = match unused {
            1.. if estimate <= 2.5 * count => count * (count / unused as f64).ln(),
            _ => estimate,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, bounded by the number of values"
        )]
        (estimate.round() as u64).min(self.values)
    }

    /// How a column of such values is best coded: measured with columns of ids, paths, names, numbers and
    /// fractions, all packed with zstd-1 (docs/performance.md).
    fn coding(&self, kind: FieldType) -> Coding {
        let distinct = self.distinct();
        // Of so many values one is new at most where a dictionary pays.
        let repeats = |parts: u64, of: u64| distinct.saturating_mul(of) <= self.values * parts;
        match kind {
            FieldType::Text if repeats(2, 5) => {
                let mean = self.bytes / self.values.max(1);
                Coding::Dictionary { bytes: distinct.saturating_mul(mean + 4) }
            }
            FieldType::Text if self.shared >= SHARED_MIN * self.pairs => Coding::FrontCoded,
            FieldType::Text => Coding::Texts,
            FieldType::Int if repeats(1, 12) => Coding::Dictionary { bytes: distinct * 8 },
            FieldType::Float if repeats(1, 4) => Coding::Dictionary { bytes: distinct * 8 },
            FieldType::Int | FieldType::Float | FieldType::Bool => Coding::Plain,
        }
    }
}

/// How a column is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    /// Each value once, of so many bytes in all; rows by number.
    Dictionary { bytes: u64 },
    /// Without what a text and the one before it begin with alike.
    FrontCoded,
    /// Lengths apart from the texts.
    Texts,
    /// As they are.
    Plain,
}

/// The sketches of a split's columns: of its fields, and of `_rest`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sketches(BTreeMap<FieldColumnId, Sketch>);

/// The column of a field that may be coded in one way or another.
fn sketched(field: &Field) -> Option<FieldColumnId> {
    if field.name() == REST {
        return Some(FieldColumnId { name: REST.to_owned(), kind: Some(FieldType::Text) });
    }
    FieldColumnId::of(field).filter(|id| !matches!(id.kind, None | Some(FieldType::Bool)))
}

/// Whether a column's values are stored as whole numbers that stand for something else: decimals, moments.
fn is_typed(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Decimal128(..) | DataType::Timestamp(..))
}

/// By which rule a column is coded.
fn coded_kind(field: &Field, kind: FieldType) -> FieldType {
    if is_typed(field) { FieldType::Float } else { kind }
}

impl Sketches {
    /// Of rows in parts with the columns of one schema.
    pub(crate) fn of(schema: &Schema, parts: &[RecordBatch]) -> Self {
        let mut sketches = BTreeMap::new();
        for (at, field) in schema.fields().iter().enumerate() {
            let Some(id) = sketched(field) else { continue };
            let columns = parts.iter().filter_map(|part| part.columns().get(at));
            let mut sketch = Sketch::default();
            for column in columns.filter(|column| column.null_count() < column.len()) {
                sketch.add(&Values::of(column));
            }
            sketches.insert(id, sketch);
        }
        Self(sketches)
    }

    /// Of splits that become one. Those that were written without are unknown.
    pub(crate) fn joined<'a>(all: impl IntoIterator<Item = Option<&'a Self>>) -> Self {
        let mut sketches: BTreeMap<FieldColumnId, Sketch> = BTreeMap::new();
        for (id, sketch) in all.into_iter().flatten().flat_map(|one| &one.0) {
            sketches.entry(id.clone()).or_default().join(sketch);
        }
        Self(sketches)
    }

    /// Tells a writer how the columns of a schema are coded; those that are not known are as it likes.
    pub(super) fn apply(
        &self,
        schema: &Schema,
        mut properties: WriterPropertiesBuilder,
    ) -> WriterPropertiesBuilder {
        let fields = schema.fields().iter();
        let mut columns: Vec<(&str, bool, FieldType, Coding)> = fields
            .filter_map(|field| {
                let id = sketched(field)?;
                let sketch = self.0.get(&id).filter(|sketch| sketch.values >= VALUES_MIN)?;
                let kind = coded_kind(field, id.kind?);
                Some((field.name().as_str(), is_typed(field), kind, sketch.coding(kind)))
            })
            .collect();
        // The small dictionaries first: there are many of them.
        columns.sort_by_key(|(.., coding)| match coding {
            Coding::Dictionary { bytes } => *bytes,
            _ => 0,
        });
        let mut room = DICTIONARIES_BYTES;
        for (name, is_typed, kind, coding) in columns {
            let path = ColumnPath::from(name);
            let without = match (kind, coding) {
                // Objects begin alike, and have more alike behind that: zstd finds it where they are whole.
                _ if name == REST => Encoding::PLAIN,
                _ if is_typed => Encoding::DELTA_BINARY_PACKED,
                (FieldType::Text, Coding::FrontCoded) => Encoding::DELTA_BYTE_ARRAY,
                (FieldType::Text, _) => Encoding::DELTA_LENGTH_BYTE_ARRAY,
                _ => Encoding::PLAIN,
            };
            properties = properties.set_column_encoding(path.clone(), without);
            let bound = match coding {
                // What is estimated may be twice as much.
                Coding::Dictionary { bytes } => (bytes * 2 + (64 << 10)).min(DICTIONARY_BYTES),
                _ => 0,
            };
            let fits = matches!(coding, Coding::Dictionary { bytes } if bytes <= bound);
            if fits && bound <= room {
                room -= bound;
                let bound = usize::try_from(bound).unwrap_or(usize::MAX);
                properties = properties.set_column_dictionary_page_size_limit(path, bound);
            } else {
                properties = properties.set_column_dictionary_enabled(path, false);
            }
        }
        properties
    }

    /// The names of those columns of a schema that take most bytes, so many at most.
    pub(super) fn heaviest<'a>(&self, schema: &'a Schema, most: usize) -> Vec<&'a str> {
        let weight = |field: &Field| {
            let id = sketched(field)?;
            let sketch = self.0.get(&id)?;
            let kind = coded_kind(field, id.kind?);
            let bytes = if kind == FieldType::Text { sketch.bytes } else { 0 };
            Some(match sketch.coding(kind) {
                Coding::Dictionary { bytes } => bytes.saturating_add(sketch.values),
                _ => bytes.max(sketch.values.saturating_mul(8)),
            })
        };
        let fields = schema.fields().iter();
        let mut columns: Vec<(u64, &str)> =
            fields.filter_map(|field| Some((weight(field)?, field.name().as_str()))).collect();
        columns.sort_unstable_by(|left, right| right.cmp(left));
        columns.into_iter().take(most).map(|(_, name)| name).collect()
    }

    /// Bytes of the texts of a field's column; all there can be where nothing is known.
    pub(super) fn text_bytes(&self, id: &FieldColumnId) -> u64 {
        self.0.get(id).map_or(u64::MAX, |sketch| sketch.bytes)
    }

    /// The bytes of the section.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let known = || self.0.iter().filter(|(_, sketch)| sketch.values > 0);
        put(&mut out, known().count() as u64);
        for (id, sketch) in known() {
            put_bytes(&mut out, id.name.as_bytes());
            put_bytes(&mut out, id.kind.map_or("", FieldType::name).as_bytes());
            for number in [sketch.values, sketch.bytes, sketch.pairs, sketch.shared] {
                put(&mut out, number);
            }
            out.extend_from_slice(&sketch.registers);
        }
        out
    }

    /// Undoes [`Sketches::encode`].
    pub(super) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut reader = Reader(bytes);
        let mut sketches = BTreeMap::new();
        for _ in 0..reader.number()? {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| malformed());
            let (name, kind) = (text(reader.bytes()?)?, text(reader.bytes()?)?);
            let kind = FieldType::ALL.into_iter().find(|known| known.name() == kind);
            let mut number = || reader.number();
            let (values, bytes, pairs, shared) = (number()?, number()?, number()?, number()?);
            let registers = reader.take(REGISTERS)?.try_into().map_err(|_| malformed())?;
            let sketch = Sketch { values, bytes, pairs, shared, registers };
            sketches.insert(FieldColumnId { name, kind }, sketch);
        }
        Ok(Self(sketches))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use parquet::file::properties::WriterProperties;

    use super::*;
    use crate::schema;

    fn sketched_of(columns: Vec<(&str, FieldType, ArrayRef)>) -> (Arc<Schema>, Sketches) {
        let id = |(name, kind, _): &(&str, FieldType, ArrayRef)| FieldColumnId {
            name: (*name).to_owned(),
            kind: Some(*kind),
        };
        let ids: Vec<FieldColumnId> = columns.iter().map(id).collect();
        let schema = schema::schema(&ids);
        let own: Vec<Field> = schema
            .fields()
            .iter()
            .filter(|field| FieldColumnId::of(field).is_some())
            .map(|field| field.as_ref().clone())
            .collect();
        let own = Arc::new(Schema::new(own));
        let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
        let part = RecordBatch::try_new(own.clone(), arrays).unwrap();
        let sketches = Sketches::of(&own, &[part]);
        (own, sketches)
    }

    fn texts(value: impl Fn(u64) -> String) -> ArrayRef {
        Arc::new((0..5_000).map(|n| Some(value(n))).collect::<StringArray>())
    }

    fn coding_of(sketches: &Sketches, name: &str) -> Coding {
        let (id, sketch) = sketches.0.iter().find(|(id, _)| id.name == name).unwrap();
        sketch.coding(id.kind.unwrap())
    }

    #[test]
    fn columns_are_coded_by_what_they_hold() {
        let id = |n: u64| format!("{:016x}", xxh3_64(&n.to_le_bytes()));
        let numbers = |value: fn(i64) -> i64| -> ArrayRef {
            Arc::new((0..5_000).map(|n| Some(value(n))).collect::<Int64Array>())
        };
        let fractions: ArrayRef =
            Arc::new((0..5_000).map(|n| Some(f64::from(n) / 7.0)).collect::<Float64Array>());
        let (schema, sketches) = sketched_of(vec![
            ("span", FieldType::Text, texts(id)),
            ("trace", FieldType::Text, texts(|n| id(n / 5))),
            ("name", FieldType::Text, texts(|n| format!("name-{}", n % 40))),
            ("path", FieldType::Text, texts(|n| format!("/srv/shop/{n}"))),
            ("code", FieldType::Int, numbers(|n| 200 + n % 6)),
            ("size", FieldType::Int, numbers(|n| n * 977)),
            ("took", FieldType::Float, fractions),
        ]);
        let is_dictionary =
            |name: &str| matches!(coding_of(&sketches, name), Coding::Dictionary { .. });
        assert_eq!(coding_of(&sketches, "span"), Coding::Texts);
        assert_eq!(coding_of(&sketches, "path"), Coding::FrontCoded);
        assert_eq!(coding_of(&sketches, "size"), Coding::Plain);
        assert_eq!(coding_of(&sketches, "took"), Coding::Plain);
        assert!(["trace", "name", "code"].into_iter().all(is_dictionary));
        // By bytes as they are coded, not by how many values there are.
        assert_eq!(sketches.heaviest(&schema, 2), ["span", "path"]);
        assert_eq!(sketches.heaviest(&schema, 9).len(), 7);
    }

    #[test]
    fn what_has_no_column_is_kept_whole() {
        let object: ArrayRef = Arc::new(
            (0..5_000).map(|n| Some(format!("{{\"size\":{n}}}"))).collect::<StringArray>(),
        );
        let schema =
            Arc::new(Schema::new(vec![Field::new(REST, object.data_type().clone(), true)]));
        let part = RecordBatch::try_new(schema.clone(), vec![object]).unwrap();
        let sketches = Sketches::of(&schema, &[part]);
        let properties = sketches.apply(&schema, WriterProperties::builder()).build();
        assert_eq!(properties.encoding(&ColumnPath::from(REST)), Some(Encoding::PLAIN));
        assert!(!properties.dictionary_enabled(&ColumnPath::from(REST)));
    }

    #[test]
    fn what_differs_is_estimated_also_over_splits() {
        let of = |from: u64| {
            let column = texts(|n| format!("value {}", from + n % 2_000));
            sketched_of(vec![("a", FieldType::Text, column)]).1
        };
        let all = Sketches::joined([Some(&of(0)), None, Some(&of(1_000)), Some(&of(0))]);
        let sketch = all.0.values().next().unwrap();
        assert_eq!(sketch.values, 15_000);
        assert!((2_000..4_500).contains(&sketch.distinct()), "{}", sketch.distinct());
        assert_eq!(Sketches::decode(&all.encode()).unwrap(), all);
    }

    #[test]
    fn few_values_are_counted_as_they_are() {
        let column = texts(|n| (n % 3).to_string());
        let (_, sketches) = sketched_of(vec![("a", FieldType::Text, column)]);
        assert_eq!(sketches.0.values().next().unwrap().distinct(), 3);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            drop(Sketches::decode(&bytes));
        }
    }
}
