//! Health checks of the instances that run here: probing, what it adds up to, and what was seen lately.
//!
//! [`Prober`] is the small asynchronous shell around the pure [`checks`]. What changes goes to the instance's task, which
//! reports it; single results stay here, in a [`History`] that is asked for on demand.

mod checks;
mod history;
mod probe;
mod prober;

pub(crate) use history::{History, ProbeResult};
pub(crate) use probe::Subject;
pub(crate) use prober::Prober;
