//! Directories of the host that a guest sees, over virtiofs.
