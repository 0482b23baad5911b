//! Workloads in micro-VMs of Cloud Hypervisor.
//!
//! Each instance is a VMM process of its own, which outlives the agent; it is found again by record files (see [`layout`]).
//!
//! | `image` | what is booted | its end |
//! |---|---|---|
//! | an OCI image | the host's kernel and our init, the image's file system read-only under an overlay in memory | the workload's own exit status, told by the init over vsock and kept until the host has it on its disk |
//! | an absolute path | a copy of the raw disk image, by the host's firmware or kernel | shut down from inside: code 0; everything else: unknown |
//!
//! # Started once
//!
//! A VM can be made and taken away again as often as it takes. The workload of an OCI image is executed when its guest is told to,
//! and before that the host writes down which run of the guest's kernel that is. Only that one is ever told, and it executes once
//! however often it is told. A disk image is executed by booting it, and that is written down before.
//!
//! # What an end means here
//!
//! An exit status comes from the guest or not at all. A guest that is reset, a kernel that panics, a VMM that is gone: the end is
//! unknown, and its log says what was seen. A guest that we had to end ourselves ended by signal 9.
//!
//! Under systemd the agent's unit needs `KillMode=process`, as stopping it would otherwise kill the VMMs.

mod admission;
mod adopt;
mod api;
mod config;
mod console;
mod disk;
mod driver;
mod events;
mod exec;
mod find;
mod holes;
pub mod image;
mod inside;
mod journal;
mod keeper;
mod layout;
mod leftovers;
mod link;
mod logs;
mod machine;
mod machine_config;
pub mod net;
mod observe;
mod open;
mod order;
mod prepare;
mod probe;
mod record;
pub mod requirements;
mod roots;
pub mod seed;
mod settings;
pub mod shares;
mod spawn;
mod start;
mod stop;
mod vault;
mod vmm;
mod wiring;

pub use config::{BINARY, DEFAULT_CPUS, DEFAULT_MEMORY, Host, LEAST_MEMORY, Patience, Seccomp, SeccompError, VmConfig};
pub use driver::VmRuntime;
pub use keeper::keeper_main;
pub use roots::{RootImage, Roots};
pub use settings::{SettingError, Settings};
