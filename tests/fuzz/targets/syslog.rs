//! Any bytes as a connection of syslog, in pieces of any size.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|given: (u8, &[u8])| {
    let (size, bytes) = given;
    let _count = shipper::probe::syslog(bytes, usize::from(size));
});
