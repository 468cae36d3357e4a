//! Columns of fields that are stored in other types than they have in memory: fractions as decimals of one
//! scale, texts that are times of one shape as timestamps. They take fewer bytes so, who reads the body
//! without us sees what they are, and what is read comes back bit for bit.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, Decimal128Array, Float64Array, Int64Array, PrimitiveArray,
    StringArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    ArrowTimestampType, DataType, Decimal128Type, Field, Float64Type, Schema, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use model::record::FieldType;

use super::shape::{Count, Scribe, Shape};
use crate::columns::Values;
use crate::schema::{FieldColumnId, field_type};

/// What a column's texts look like, in its metadata: the text of the moment 0.
const STORED: &str = "sawlog.stored";
/// Digits of a decimal at most: so many come back whatever they are.
const DIGITS_MAX: u8 = 15;
/// The least number of more digits.
const BEHIND_MAX: f64 = 1e15;
/// Digits behind the point at most.
const SCALE_MAX: u8 = 9;
/// What is added and taken away again leaves the nearest whole number of those below 2^51.
const WHOLE: f64 = 6_755_399_441_055_744.0;

/// The stored form of a column that has another type in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Numbers of so many digits, of them so many behind the point.
    Decimal { digits: u8, scale: u8 },
    /// Times.
    Time(Times),
}

/// Times of one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times(Shape);

/// The columns of fields that may have another stored form, each with the one that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Forms(HashMap<FieldColumnId, Option<Form>>);

/// The column of a field that may have another form.
fn typed(field: &Field) -> Option<FieldColumnId> {
    let has_forms =
        |id: &FieldColumnId| matches!(id.kind, Some(FieldType::Float | FieldType::Text));
    FieldColumnId::of(field).filter(has_forms)
}

impl Forms {
    /// Of rows in parts with the columns of one schema: each value is looked at.
    pub(crate) fn of(schema: &Schema, parts: &[RecordBatch]) -> Self {
        let form = |at: usize, id: &FieldColumnId| {
            let columns = parts.iter().filter_map(|part| part.columns().get(at));
            let columns = columns.filter(|column| column.null_count() < column.len());
            match id.kind {
                Some(FieldType::Float) => decimal_of(columns),
                _ => times_of(columns),
            }
        };
        let fields = schema.fields().iter().enumerate();
        let known = fields.filter_map(|(at, field)| {
            let id = typed(field)?;
            let form = form(at, &id);
            Some((id, form))
        });
        Self(known.collect())
    }

    /// Those of a stored schema.
    ///
    /// # Errors
    /// When it has one that is not known.
    pub(crate) fn of_stored(schema: &Schema) -> Result<Self, ArrowError> {
        let mut forms = HashMap::new();
        for field in schema.fields() {
            if let Some(id) = typed(field) {
                forms.insert(id, Form::of_stored(field)?);
            }
        }
        Ok(Self(forms))
    }

    /// Of splits that become one: forms that hold what those of all of them hold.
    pub(crate) fn joined(all: impl IntoIterator<Item = Self>) -> Self {
        let mut forms: HashMap<FieldColumnId, Option<Form>> = HashMap::new();
        for (id, form) in all.into_iter().flat_map(|one| one.0) {
            let joined = |known: &mut Option<Form>| {
                *known = known.zip(form).and_then(|(known, form)| known.join(form));
            };
            forms.entry(id).and_modify(joined).or_insert(form);
        }
        Self(forms)
    }

    /// The field of a column as it is stored.
    pub(super) fn stored(&self, field: &Arc<Field>) -> Arc<Field> {
        let form = typed(field).and_then(|id| self.0.get(&id).copied().flatten());
        form.map_or_else(|| field.clone(), |form| Arc::new(form.stored(field)))
    }
}

impl Form {
    /// That of a stored column; `None` of one that is stored as it is.
    ///
    /// # Errors
    /// When it is not known.
    pub(crate) fn of_stored(field: &Field) -> Result<Option<Self>, ArrowError> {
        let unknown = || {
            let what = format!("a column {} of {}", field.name(), field.data_type());
            ArrowError::SchemaError(what)
        };
        let kind = || FieldColumnId::of(field).and_then(|id| id.kind);
        match field.data_type() {
            DataType::Decimal128(digits, scale) => {
                let scale = u8::try_from(*scale).ok().filter(|scale| *scale <= SCALE_MAX);
                let is_ours = *digits <= DIGITS_MAX && kind() == Some(FieldType::Float);
                let scale = scale.filter(|_| is_ours).ok_or_else(unknown)?;
                Ok(Some(Self::Decimal { digits: *digits, scale }))
            }
            DataType::Timestamp(..) if kind() == Some(FieldType::Text) => {
                let example = field.metadata().get(STORED).and_then(|text| Shape::read(text));
                let form = example.map(|(shape, _)| Self::Time(Times(shape)));
                let form = form.filter(|form| form.data_type() == *field.data_type());
                form.map(Some).ok_or_else(unknown)
            }
            _ => Ok(None),
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Decimal { digits, scale } => {
                DataType::Decimal128(digits, i8::try_from(scale).unwrap_or_default())
            }
            Self::Time(Times(shape)) => {
                let unit = match shape.count() {
                    Count::Milli => TimeUnit::Millisecond,
                    Count::Micro => TimeUnit::Microsecond,
                    Count::Nano => TimeUnit::Nanosecond,
                };
                DataType::Timestamp(unit, Some("UTC".into()))
            }
        }
    }

    /// One that holds what both hold.
    fn join(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Decimal { digits, scale }, Self::Decimal { digits: more, scale: finer }) => {
                let before = digits.saturating_sub(scale).max(more.saturating_sub(finer));
                let scale = scale.max(finer);
                let digits = before + scale;
                (digits <= DIGITS_MAX).then_some(Self::Decimal { digits, scale })
            }
            (Self::Time(own), Self::Time(others)) => (own == others).then_some(self),
            _ => None,
        }
    }

    fn stored(self, field: &Field) -> Field {
        let mut metadata = field.metadata().clone();
        if let Self::Time(Times(shape)) = self {
            metadata.extend(shape.text(0).map(|example| (STORED.to_owned(), example)));
        }
        field.clone().with_data_type(self.data_type()).with_metadata(metadata)
    }

    /// The column's field as it is in memory.
    pub(super) fn in_memory(self, field: &Field) -> Field {
        let mut metadata = field.metadata().clone();
        metadata.remove(STORED);
        let kind = match self {
            Self::Decimal { .. } => FieldType::Float,
            Self::Time(_) => FieldType::Text,
        };
        field.clone().with_data_type(field_type(kind)).with_metadata(metadata)
    }

    /// A column as it is stored.
    ///
    /// # Errors
    /// When a value has no such form: our mistake.
    pub(super) fn store(self, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let wrong = || ArrowError::ComputeError(format!("a value that is no {self:?}"));
        match (self, Values::of(column)) {
            (Self::Decimal { digits, scale }, Values::Float(numbers)) => {
                let numbers = decimals(numbers, scale).ok_or_else(wrong)?;
                let scale = i8::try_from(scale).map_err(|_| wrong())?;
                Ok(Arc::new(numbers.with_precision_and_scale(digits, scale)?))
            }
            (Self::Time(times), Values::Text(texts)) => times.store(texts).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }

    /// A stored column as it was.
    ///
    /// # Errors
    /// When it has a value that cannot have been stored so.
    pub(super) fn restore(self, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let wrong = || ArrowError::CastError(format!("a value that is no {self:?}"));
        match self {
            Self::Decimal { scale, .. } => {
                let power = power_of(scale);
                let column = column.as_primitive_opt::<Decimal128Type>().ok_or_else(wrong)?;
                Ok(Arc::new(column.unary::<_, Float64Type>(|number| fraction(number, power))))
            }
            Self::Time(times) => times.restore(column)?.ok_or_else(wrong),
        }
    }

    /// The number that a whole number of a decimal column is.
    pub(super) fn number(self, stored: i64) -> Option<f64> {
        match self {
            Self::Decimal { scale, .. } => Some(fraction(stored.into(), power_of(scale))),
            Self::Time(_) => None,
        }
    }

    /// The text that a moment of a column of times is.
    pub(super) fn text(self, stored: i64) -> Option<String> {
        match self {
            Self::Decimal { .. } => None,
            Self::Time(Times(shape)) => shape.text(stored),
        }
    }

    /// Bytes of each of its texts.
    pub(super) fn text_bytes(self) -> u64 {
        match self {
            Self::Decimal { .. } => 0,
            Self::Time(Times(shape)) => shape.bytes() as u64,
        }
    }
}

fn power_of(scale: u8) -> f64 {
    10_f64.powi(i32::from(scale))
}

/// Both are exact, so this is the float next to the decimal.
#[expect(clippy::cast_precision_loss, reason = "ours have fifteen digits at most")]
fn fraction(number: i128, power: f64) -> f64 {
    // A conversion of 128 bits is a call.
    i64::try_from(number).unwrap_or_default() as f64 / power
}

/// The whole number that a number is at a scale; `None` where it would not come back from it.
fn scaled(number: f64, power: f64) -> Option<i64> {
    let near = (number * power + WHOLE) - WHOLE;
    let comes_back = near.abs() < BEHIND_MAX && (near / power).to_bits() == number.to_bits();
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and of fifteen digits")]
    comes_back.then_some(near as i64)
}

/// Looks at the numbers of a column with their rows, until one is not what it is to be. Whether all are.
fn each_number(numbers: &Float64Array, mut is_so: impl FnMut(usize, f64) -> bool) -> bool {
    let number = |row: usize| numbers.values().get(row).is_none_or(|number| is_so(row, *number));
    match numbers.nulls() {
        // Most rows of a wide split have no value.
        Some(nulls) => nulls.valid_indices().all(number),
        None => (0..numbers.len()).all(number),
    }
}

/// What is known of the decimals that numbers are.
struct Decimals {
    scale: u8,
    power: f64,
    /// The greatest of them as whole numbers at that scale.
    most: u64,
}

impl Decimals {
    /// Whether a number is one too.
    fn add(&mut self, number: f64) -> bool {
        loop {
            match scaled(number, self.power) {
                Some(own) => {
                    self.most = self.most.max(own.unsigned_abs());
                    return true;
                }
                None if self.scale == SCALE_MAX => return false,
                None => {
                    self.scale += 1;
                    self.power = power_of(self.scale);
                    self.most = self.most.saturating_mul(10);
                }
            }
        }
    }
}

/// The decimals that all numbers of a column are.
fn decimal_of<'a>(columns: impl Iterator<Item = &'a ArrayRef>) -> Option<Form> {
    let mut known = Decimals { scale: 0, power: 1.0, most: 0 };
    let mut is_some = false;
    for column in columns {
        let Values::Float(numbers) = Values::of(column) else { return None };
        if !each_number(numbers, |_, number| known.add(number)) {
            return None;
        }
        is_some = true;
    }
    let digits = known.most.checked_ilog10().map_or(1, |digits| digits + 1);
    let (digits, scale) = (u8::try_from(digits).ok()?.max(known.scale), known.scale);
    (is_some && digits <= DIGITS_MAX).then_some(Form::Decimal { digits, scale })
}

fn decimals(numbers: &Float64Array, scale: u8) -> Option<Decimal128Array> {
    let (power, mut values) = (power_of(scale), vec![0_i128; numbers.len()]);
    let are_all = each_number(numbers, |row, number| {
        let own = scaled(number, power).zip(values.get_mut(row));
        own.map(|(own, value)| *value = own.into()).is_some()
    });
    are_all.then(|| Decimal128Array::new(values.into(), numbers.nulls().cloned()))
}

/// The times that all texts of a column are.
fn times_of<'a>(columns: impl Iterator<Item = &'a ArrayRef>) -> Option<Form> {
    let mut known: Option<Shape> = None;
    for column in columns {
        let Values::Text(texts) = Values::of(column) else { return None };
        for text in texts.iter().flatten() {
            let (shape, _) = Shape::read(text)?;
            if *known.get_or_insert(shape) != shape {
                return None;
            }
        }
    }
    known.map(|shape| Form::Time(Times(shape)))
}

impl Times {
    fn store(self, texts: &StringArray) -> Option<ArrayRef> {
        let moment = |text: Option<&str>| match text {
            None => Some(0),
            Some(text) => {
                Shape::read(text).filter(|(shape, _)| *shape == self.0).map(|read| read.1)
            }
        };
        let moments: Vec<i64> = texts.iter().map(moment).collect::<Option<_>>()?;
        let moments = Int64Array::new(moments.into(), texts.nulls().cloned());
        Some(match self.0.count() {
            Count::Milli => timestamps::<TimestampMillisecondType>(&moments),
            Count::Micro => timestamps::<TimestampMicrosecondType>(&moments),
            Count::Nano => timestamps::<TimestampNanosecondType>(&moments),
        })
    }

    /// `None` where a moment has no text.
    fn restore(self, column: &ArrayRef) -> Result<Option<ArrayRef>, ArrowError> {
        let moments = match self.0.count() {
            Count::Milli => moments::<TimestampMillisecondType>(column),
            Count::Micro => moments::<TimestampMicrosecondType>(column),
            Count::Nano => moments::<TimestampNanosecondType>(column),
        };
        let Some(moments) = moments else { return Ok(None) };
        let count = moments.len() - moments.null_count();
        let mut bytes = Vec::with_capacity(count * self.0.bytes());
        let mut scribe = Scribe::new(self.0);
        for moment in moments.iter().flatten() {
            if scribe.write(moment, &mut bytes).is_none() {
                return Ok(None);
            }
        }
        let length = |row: usize| if moments.is_null(row) { 0 } else { self.0.bytes() };
        let ends = OffsetBuffer::from_lengths((0..moments.len()).map(length));
        let texts = StringArray::try_new(ends, bytes.into(), moments.nulls().cloned())?;
        Ok(Some(Arc::new(texts)))
    }
}

fn timestamps<T: ArrowTimestampType>(moments: &Int64Array) -> ArrayRef {
    let (values, nulls) = (moments.values().clone(), moments.nulls().cloned());
    Arc::new(PrimitiveArray::<T>::new(values, nulls).with_timezone("UTC"))
}

fn moments<T: ArrowTimestampType>(column: &ArrayRef) -> Option<Int64Array> {
    let column = column.as_primitive_opt::<T>()?;
    Some(Int64Array::new(column.values().clone(), column.nulls().cloned()))
}
