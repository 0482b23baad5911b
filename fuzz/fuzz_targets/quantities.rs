//! Fuzzes amounts, durations, times, names and ids.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ring_fuzz::quantities(data));
