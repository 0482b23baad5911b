//! Fuzzes variables in texts, and files of variables.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ring_fuzz::interpolation(data));
