//! Any bytes as a file, made into batches in every way that can be set.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _count = shipper::probe::file(bytes);
});
