//! Every decision of ring.
