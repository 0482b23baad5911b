//! What can go wrong, and for whom.

use std::fmt;
use std::path::PathBuf;

use ring_types::{ClusterId, Level, MemberId};

/// The store itself cannot work: it does not open, or it has stopped for good.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the directory open.
    #[error("{path} is in use by another process: stop the other ring server, or give this one its own data directory")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The directory belongs to another cluster or member.
    #[error(
        "{path} belongs to member {found_member} of cluster {found_cluster}, not to member {member} of cluster {cluster}: \
         start with the data directory of this host, or with an empty one"
    )]
    Stranger {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        found_cluster: ClusterId,
        /// Whose it is.
        found_member: MemberId,
        /// Who wanted it.
        cluster: ClusterId,
        /// Who wanted it.
        member: MemberId,
    },
    /// The directory was written by a release with another format.
    #[error("{path} has data format {found}, this release reads {expected}: use the release that wrote it")]
    Format {
        /// The directory.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What this release reads.
        expected: u32,
    },
    /// The cluster has gone on to what this release does not understand.
    #[error(
        "the cluster is at level {level}, and this release of ring speaks up to level {spoken}: start this control node with \
         the release the others run; {path} is left as it is"
    )]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Level of the cluster.
        level: Level,
        /// Highest level of this release.
        spoken: Level,
    },
    /// A cluster is to be made in a directory that has one.
    #[error("{path} already has a cluster: use an empty directory to make a new one")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The data is damaged.
    #[error(
        "the data in {path} is damaged: {cause}. Keep a copy, remove this control node from the cluster, and join it again \
         with an empty data directory"
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
    /// The disk refused.
    #[error("cannot {action} {path}: {cause}")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// Replication stopped after a storage error or a fault of its own.
    #[error("replication has stopped: {cause}")]
    Raft {
        /// Why.
        cause: String,
    },
    /// The configuration makes no sense.
    #[error("store configuration: {cause}")]
    Config {
        /// Why.
        cause: String,
    },
    /// The first entry of the cluster could not be written.
    #[error("the cluster could not be initialised: {cause}")]
    Bootstrap {
        /// Why.
        cause: String,
    },
    /// It was shut down.
    #[error("the store was shut down")]
    Shutdown,
}

/// A member that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingMember {
    /// Its id.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Its cluster port.
    pub address: String,
}

impl fmt::Display for MissingMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.address)
    }
}

fn listed(missing: &[MissingMember]) -> String {
    if missing.is_empty() {
        return "no leader was elected in time".to_owned();
    }
    let names: Vec<_> = missing.iter().map(ToString::to_string).collect();
    format!("no answer from {}", names.join(", "))
}

/// A command was not committed, or nobody knows whether it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// Too few members answer, so nothing was accepted. The command has no effect.
    #[error("the cluster has no quorum: {}", listed(missing))]
    NoQuorum {
        /// Those that do not answer.
        missing: Vec<MissingMember>,
    },
    /// It was sent, and no answer came in time: it may yet be applied. The same request id again gives its answer.
    #[error("no answer in time, the change may still happen{}: ask again with the same request id",
        if missing.is_empty() { String::new() } else { format!(" ({})", listed(missing)) })]
    Unknown {
        /// Members that do not answer.
        missing: Vec<MissingMember>,
    },
    /// It is larger than an entry may be.
    #[error("the command has {size} bytes, at most {limit} are possible")]
    TooLarge {
        /// Its size.
        size: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The store is being shut down.
    #[error("this control node is shutting down")]
    Shutdown,
    /// The store failed; the process has to exit.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

/// A linearizable read was not possible.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// Too few members answer to know what is current.
    #[error("the cluster has no quorum: {}", listed(missing))]
    NoQuorum {
        /// Those that do not answer.
        missing: Vec<MissingMember>,
    },
    /// The store is being shut down.
    #[error("this control node is shutting down")]
    Shutdown,
    /// The store failed; the process has to exit.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

/// The membership was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MemberError {
    /// Too few members answer.
    #[error("the cluster has no quorum: {}", listed(missing))]
    NoQuorum {
        /// Those that do not answer.
        missing: Vec<MissingMember>,
    },
    /// Another change is under way.
    #[error("another change of the membership is under way: try again when it is done")]
    Busy,
    /// It is not a member.
    #[error("control node {0} is not a member")]
    NotMember(MemberId),
    /// It has not caught up with the log yet.
    #[error("control node {id} is {behind} entries behind: promote it when it has caught up")]
    Behind {
        /// Which.
        id: MemberId,
        /// How many entries it lacks.
        behind: u64,
    },
    /// Of those that would vote too few answer: after the change nothing could be written.
    #[error("{0}")]
    LosesQuorum(String),
    /// The change would leave no voter, or makes no sense for another reason.
    #[error("{0}")]
    Invalid(String),
    /// No answer came in time; the change may still happen.
    #[error("no answer in time, the change may still happen: look at the cluster status")]
    Unknown,
    /// The store is being shut down.
    #[error("this control node is shutting down")]
    Shutdown,
    /// The store failed; the process has to exit.
    #[error(transparent)]
    Storage(#[from] StoreError),
}
