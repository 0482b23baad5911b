//! Why a host does not become, or stay, a part of the cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use ring_store::StoreError;
use ring_types::MemberId;

use crate::pki::{PkiError, TokenTextError};
use crate::services::EnrolError;
use crate::tls::DialError;

/// What goes wrong with a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory already belongs to a cluster.
    #[error("{} belongs to a cluster already (as '{name}'): start it with `ring server start` or `ring agent start`, or use another --data-dir", dir.display())]
    Joined {
        /// The directory.
        dir: PathBuf,
        /// What the host is called there.
        name: String,
    },
    /// The data directory belongs to no cluster.
    #[error("{} belongs to no cluster yet: join one with `ring cluster join`", .0.display())]
    NotJoined(PathBuf),
    /// The data directory is that of an agent.
    #[error("{} is the data directory of an agent: this takes that of a control node", .0.display())]
    NotControl(PathBuf),
    /// No account has that name.
    #[error("user '{0}' not found")]
    NoUser(String),
    /// The host joined as something else.
    #[error("this host joined as {has}, not as {wanted}: use `{instead}`")]
    OtherRole {
        /// What it is.
        has: &'static str,
        /// What was wanted of it.
        wanted: &'static str,
        /// What to type.
        instead: &'static str,
    },
    /// The making of a cluster was interrupted.
    #[error("{} has the beginnings of a cluster whose making was interrupted: remove the directory and begin again", .0.display())]
    HalfMade(PathBuf),
    /// The join token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenTextError),
    /// The cluster refused this host.
    #[error("the cluster refused this host: {0}")]
    Refused(String),
    /// No control node could be asked.
    #[error("no control node could be asked: {0}")]
    Unreachable(String),
    /// A control node could not be dialled.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The name of the host is not one.
    #[error("the name '{name}' {why}: give another with --name")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: ring_types::NameError,
    },
    /// A port cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The address this host would have for others is not one.
    #[error("the address of this host cannot be told: {0}; give it with --advertise")]
    Advertise(String),
    /// There is no secret key.
    #[error("there is no secret key: set RING_SECRET_KEY, or put the file back to {}", .0.display())]
    NoSecretKey(PathBuf),
    /// The secret key is another cluster's.
    #[error("the secret key of this host is not that of its cluster: set RING_SECRET_KEY to the right one, or put the file back to {}", .0.display())]
    WrongSecretKey(PathBuf),
    /// Certificates and keys.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Admission of this host's own agent.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
    /// The store does not open, or has failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The cluster has removed this control node: to start it again would change nothing.
    #[error("control node {id} ('{name}') was removed from its cluster ({says}): it ends; what runs on this host goes on")]
    Removed {
        /// Its id.
        id: MemberId,
        /// What it was called.
        name: String,
        /// How this is known.
        says: String,
    },
    /// A snapshot cannot be restored.
    #[error(transparent)]
    Backup(#[from] ring_store::BackupError),
    /// The secret key does not open what is in a snapshot.
    #[error("the secret key is not that of the cluster the snapshot is of: nothing was written")]
    SnapshotKey,
    /// A control node cannot become the cluster by itself.
    #[error("control node {id} cannot be what is left of its cluster: {why}")]
    NoSurvivor {
        /// Its id.
        id: MemberId,
        /// Why.
        why: &'static str,
    },
    /// A part of the node ended by itself.
    #[error("{0} ended by itself")]
    Ended(&'static str),
    /// The cluster gave an answer nobody understands.
    #[error("the cluster gave an unexpected answer: {0}")]
    Answer(String),
    /// The certificate of the REST API cannot be used.
    #[error("the certificate of the REST API cannot be used: look at server.tls in the configuration")]
    ApiCertificate(#[source] PkiError),
    /// A password could not be hashed.
    #[error("the password cannot be used: {0}")]
    Password(String),
}
