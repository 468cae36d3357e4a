//! Any text as a settings file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _usable = shipper::probe::settings(text);
});
