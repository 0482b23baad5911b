//! REST model and manifest.
