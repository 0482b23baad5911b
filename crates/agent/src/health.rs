//! Health checks of the instances that run here.

mod history;

pub(crate) use history::{History, ProbeResult};
