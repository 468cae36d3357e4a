//! Any bytes as a file of lines, in every format.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _count = shipper::probe::lines(bytes);
});
