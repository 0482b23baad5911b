//! Fuzzes messages of an agent, and what becomes of them in the state.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ring_fuzz::session(data));
