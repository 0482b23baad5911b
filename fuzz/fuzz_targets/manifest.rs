//! Fuzzes a manifest from its text to specifications, and the JSON that is sent of it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ring_fuzz::manifest(data));
