//! Runtime trait.
