//! Fuzzes the body of an apply.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ring_fuzz::json(data));
