//! The node side of ring: runs what the control plane assigns to this host, once, and tells how it ended.

pub mod desired;
pub mod next;
pub mod record;

pub use desired::{Assignment, Desired, Distrust};
pub use next::{Claim, Durability, Facts, Step, Volatile, next};
pub use record::{Phase, Record};
