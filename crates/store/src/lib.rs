//! The replicated store: commands go in, are agreed on by the control nodes, written to disk and applied; views of the state
//! come out. The only crate that names openraft and rocksdb.
//!
//! What is acknowledged is on the disks of a quorum. A storage error ends the store ([`Store::failed`]): it does not linger.

mod config;
mod error;
mod status;
mod store;
mod watch;

pub use config::{Compaction, ConnectError, PeerConnector, StoreConfig, Timing};
pub use error::{MemberError, MissingMember, ProposeError, ReadError, StoreError};
pub use status::{Identity, Leadership, PeerStatus, StoreStatus};
pub use store::{Committed, Store};
pub use watch::{CHANGES_KEPT, Change, Changes, Update, Watch};
