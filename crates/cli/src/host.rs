//! What only the drivers know of this host: the program that contains them says how they are asked.

use std::fmt;
use std::path::Path;

use futures::future::BoxFuture;

use crate::config::RuntimeSection;

/// One thing that a driver looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Short, such as `/dev/kvm`.
    pub name: String,
    /// What was found; or what is wrong, what does not work without it, and how to get it.
    pub found: Result<String, String>,
    /// Where the runtime is enabled its lack is a failure. Else only some workloads need it.
    pub needed: bool,
}

/// The drivers, as far as they can say what they need of a host.
pub trait HostChecks: fmt::Debug + Sync {
    /// Everything micro-VMs need, on the host as it is configured and with a node's data in `data_dir`. In an order in which one
    /// would see to it. Takes at most a few seconds, and changes nothing.
    fn micro_vms<'a>(&'a self, section: &'a RuntimeSection, data_dir: &'a Path) -> BoxFuture<'a, Vec<Finding>>;
}
