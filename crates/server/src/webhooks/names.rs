//! What names of receivers stand for, judged at the moment of the connection: the address that is judged is the one that is
//! dialled, so that a name cannot stand for one address when it is checked and for another when it is used.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::target::may_reach;

/// Looks names up.
#[async_trait]
pub(super) trait Names: Send + Sync + 'static {
    /// The addresses a name stands for now.
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// As this host does for every program.
pub(super) struct System;

#[async_trait]
impl Names for System {
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0)).await?.map(|found| found.ip()).collect())
    }
}

/// Gives out only addresses that may be reached.
pub(super) struct Guarded {
    pub(super) names: Arc<dyn Names>,
    pub(super) allow_local: bool,
}

/// None of the addresses may be reached.
#[derive(Debug, thiserror::Error)]
#[error("'{name}': {why}")]
struct NotReached {
    name: String,
    why: String,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, allow_local) = (self.names.clone(), self.allow_local);
        Box::pin(async move {
            let found = names.lookup(name.as_str()).await?;
            let mut why = "it stands for no address".to_owned();
            let mut good = Vec::new();
            for address in found {
                match may_reach(address, allow_local) {
                    // The port is that of the address that was asked for.
                    Ok(()) => good.push(SocketAddr::new(address, 0)),
                    Err(refused) => why = refused,
                }
            }
            if good.is_empty() {
                return Err(NotReached { name: name.as_str().to_owned(), why }.into());
            }
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}
