//! Any bytes as a spool.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _left = shipper::probe::spool(bytes);
});
