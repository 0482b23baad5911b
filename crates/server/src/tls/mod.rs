//! Connections between hosts: mutual TLS from the first byte. What this host shows can be replaced while it runs; new
//! connections use the new certificate; old ones stay, until the authority of theirs is dropped.

mod accept;
mod api;
mod dial;
mod explain;
mod host;
mod renew;

pub use accept::{Peer, PeerStream, accept};
pub(crate) use api::{ApiTls, LOOK_EVERY, OwnFiles, Signer, keep_signed, keep_up};
pub use dial::{DialError, Dialer, dial_pinned};
pub(crate) use explain::explain;
pub use host::HostTls;
pub use renew::{Renewal, renew_forever, renew_now};
