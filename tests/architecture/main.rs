//! The walls of `docs/architecture.md`, as far as a machine can see them.
#![allow(missing_docs, clippy::unwrap_used)]

mod sources;

mod edges;
mod locks;
mod purity;
mod routes;
mod size;
mod words;
