//! Fuzzes messages to an agent.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ring_fuzz::orders(data));
