//! Leader loops.
