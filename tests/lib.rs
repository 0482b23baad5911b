//! The tests that cross crates; one binary per folder.
