//! Control node.
