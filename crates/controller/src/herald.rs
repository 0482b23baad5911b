//! A leader says once that it leads, so that a change of the lead is part of the state and webhooks are told of it.

use async_trait::async_trait;
use ring_state::{Command, HookCommand};
use ring_store::ProposeError;
use tokio::time::sleep;

use crate::ControllerOptions;
use crate::cluster::Cluster;
use crate::supervise::Controller;

/// Says so.
#[derive(Clone)]
pub(crate) struct Herald(pub(crate) ControllerOptions);

#[async_trait]
impl<C: Cluster> Controller<C> for Herald {
    async fn lead(self, cluster: C) {
        let now = *cluster.leadership().borrow();
        if let Some(member) = now.leader {
            let known = |cluster: &C| cluster.local().leader().is_some_and(|leader| leader.member == member);
            while !known(&cluster) {
                match cluster.propose(Command::Hook(HookCommand::NoteLeader { member, term: now.term })).await {
                    Err(ProposeError::Shutdown | ProposeError::Storage(_)) => return,
                    Err(error) => {
                        tracing::warn!(%error, "who leads was not committed; saying it again");
                        sleep(self.0.retry_after).await;
                    }
                    Ok(_) => break,
                }
            }
        }
        // There is nothing more to say in this term.
        std::future::pending::<()>().await;
    }
}
