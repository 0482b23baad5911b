//! Fuzzes messages between control nodes, and the frames of snapshots.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ring_fuzz::raft(data));
