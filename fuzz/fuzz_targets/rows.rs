//! Fuzzes rows as they are stored, and the state they make.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ring_fuzz::rows(data));
