//! The replicated store: commands go in, are agreed on by the control nodes, written to disk and applied; views of the state
//! come out. The only crate that names openraft and rocksdb.
//!
//! What is acknowledged is on the disks of a quorum. A storage error ends the store ([`Store::failed`]): it does not linger.

mod access;
mod anew;
mod applied;
mod attempt;
mod backup;
mod codec;
mod config;
mod disk;
mod error;
mod failpoint;
mod failure;
mod flush;
mod forward;
#[cfg(test)]
mod hostile;
mod identity;
mod lock;
mod log;
mod machine;
mod mark;
mod members;
mod network;
mod outgoing;
mod peers;
mod propose;
mod read;
mod replica;
mod service;
mod snapshot;
mod status;
mod store;
#[cfg(test)]
mod suite;
mod tail;
mod time;
mod types;
mod view;
mod watch;

pub use anew::{Survivor, restore_backup};
pub use backup::{BACKUP_SUM, Backup, BackupError, BackupSummary, inspect_backup, read_backup};
pub use config::{Compaction, ConnectError, PeerConnector, StoreConfig, Timing};
pub use error::{MemberError, MissingMember, ProposeError, ReadError, StoreError};
pub use failpoint::FAILPOINTS;
pub use service::{PeerMember, RaftEndpoint};
pub use status::{Identity, Leadership, MemberLevel, PeerStatus, StoreStatus};
pub use store::{Committed, Store};
pub use time::wall;
pub use watch::{CHANGES_KEPT, Change, Changes, Update, Watch};
