//! What control nodes and joining hosts ask each other, and who may ask it.

mod control;
mod dismissal;
mod enrol;
mod guard;
mod join;
mod membership;
mod peers;
mod pulse;
mod reset;

pub use control::ControlApi;
pub(crate) use control::error_of;
pub(crate) use dismissal::Dismissal;
pub use enrol::{Admission, EnrolError};
pub(crate) use enrol::{control_addresses, decides_trust, members, trusted};
pub use guard::Guard;
pub use join::JoinApi;
pub use membership::ClusterApi;
pub use peers::Peers;
pub use pulse::{ContactSink, Pulse};
