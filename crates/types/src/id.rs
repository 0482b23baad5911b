//! Identities. Nothing here makes one: whoever builds a command brings the id, so that replaying a log gives the same ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    )*};
}

uuid_id! {
    /// A cluster: made once, by `ring cluster init` or the first start of a single host.
    ClusterId;
    /// One deployment record. A replaced deployment has a new id; identity for people is `(namespace, name)`.
    DeploymentId;
    /// One instance: one execution of a workload on one node, never started twice.
    InstanceId;
    /// A host that runs work.
    NodeId;
    /// A secret.
    SecretId;
    /// A config.
    ConfigId;
    /// A named volume.
    VolumeId;
    /// A webhook.
    WebhookId;
    /// One delivery to a webhook; the same over its retries.
    DeliveryId;
    /// An account.
    UserId;
    /// An API token or a login session.
    TokenId;
    /// A token that admits a host into the cluster.
    JoinTokenId;
    /// A request of a client; the same id twice is the same request, applied once. [`RequestId::NONE`] is never deduplicated.
    RequestId;
}

impl RequestId {
    /// "No id": the command is idempotent by its own nature and need not be remembered.
    pub const NONE: Self = Self(Uuid::nil());
}

impl DeliveryId {
    /// The delivery of the event of this number to a webhook. A function of the two, so that it need not be kept.
    pub fn of(webhook: WebhookId, number: u64) -> Self {
        Self(Uuid::new_v5(&webhook.0, &number.to_be_bytes()))
    }
}

macro_rules! counter {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl $name {
            /// The one after this.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    )*};
}

counter! {
    /// A control node in the Raft group. Given out by the log, never used twice.
    MemberId;
    /// One registration of an agent: an agent that registers again, or whose node was declared lost, gets a higher one, and
    /// claims that carry an older one are refused.
    Epoch;
    /// Version of what is sent to an agent about one instance; only grows.
    Generation;
    /// One data key of a cluster; the highest is in use. 0 is the cluster's secret key itself, which sealed values before there
    /// were data keys.
    KeyId;
    /// The log index that last wrote an object, and the position of a reader in the history of the state.
    Revision;
}
