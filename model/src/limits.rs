//! Every bound that shapes bytes on disk or on the wire, with its unit and its reason.

/// Bytes of one record's message; longer lines are cut and marked by who frames them.
/// Four times the "megabyte line" people really meet.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of one batch before compression. One megabyte amortises a round trip; a single
/// record of the greatest size must still fit.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Bytes at which a producer closes a batch.
pub const BATCH_BYTES_TARGET: usize = 1 << 20;
/// Records in one batch.
pub const BATCH_RECORDS_MAX: usize = 65_536;
/// Distinct field columns (name and type) in one batch.
pub const BATCH_FIELDS_MAX: usize = 16_384;
/// Fields of one record; more make the record poison (kept as text).
pub const RECORD_FIELDS_MAX: usize = 4_096;
/// Nesting depth of a structured record; deeper makes the record poison (kept as text).
pub const RECORD_DEPTH_MAX: usize = 32;
/// Bytes of a field name.
pub const FIELD_NAME_BYTES_MAX: usize = 512;
/// Labels of one stream.
pub const LABELS_MAX: usize = 64;
/// Bytes of a label's name or value.
pub const LABEL_BYTES_MAX: usize = 4_096;
/// Bytes of an index name.
pub const INDEX_NAME_BYTES_MAX: usize = 128;
/// Bytes of one queue segment file. A sealed segment is the unit of trimming.
pub const SEGMENT_BYTES_MAX: usize = 64 << 20;
/// Bytes of one decompressed ingest request.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Bytes of a token in the split's index; of longer ones the beginning is indexed, the rest verified.
pub const TOKEN_BYTES_MAX: usize = 128;
/// Rows of one block: the unit to which the split's token index points.
pub const BLOCK_ROWS: usize = 1_024;
/// Bytes of a query's text.
pub const QUERY_BYTES_MAX: usize = 64 << 10;
/// Nesting depth of a query.
pub const QUERY_DEPTH_MAX: usize = 64;

// A batch must hold at least one record of the greatest size beside its fields.
const _: () = assert!(BATCH_BYTES_MAX >= 2 * MESSAGE_BYTES_MAX);
// A sealed segment must hold several whole batches.
const _: () = assert!(SEGMENT_BYTES_MAX >= 4 * BATCH_BYTES_MAX);
