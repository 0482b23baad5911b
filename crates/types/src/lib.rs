//! The vocabulary of ring.
