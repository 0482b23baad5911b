//! Fuzzes constraints, and the filters of queries.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ring_fuzz::selectors(data));
