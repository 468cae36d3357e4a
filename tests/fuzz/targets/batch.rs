//! Any bytes as a batch.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _batch = model::codec::decode(bytes);
});
