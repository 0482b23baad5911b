//! Clusters of real processes on hosts of their own, under load and under faults of every kind; what clients saw is judged.
//!
//! `RING_FAULT_SEED` repeats the plan of a run, `RING_FAULT_MINUTES` makes a long one, `RING_FAULT_KINDS` (names, comma
//! separated) picks kinds; see `docs/reference/faults.md`. Where the lab cannot run each test prints `SKIPPED: …`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clients;
mod clock;
mod hosts;
mod inject;
mod jobs;
mod kinds;
mod load;
mod power;
mod run;
mod soak;
mod workers;
