//! Fuzzes entries of the log, read and applied.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ring_fuzz::commands(data));
