//! The level of the cluster is raised when every control node speaks a higher one.

use std::time::Duration;

use async_trait::async_trait;
use ring_state::{Command, LEVEL};
use ring_store::{MemberLevel, ProposeError};
use ring_types::Level;
use tokio::time::sleep;

use crate::cluster::Cluster;
use crate::supervise::Controller;

/// Between two looks, as long as there is something to raise.
const LOOK: Duration = Duration::from_secs(2);

/// Raises the level.
#[derive(Clone)]
pub(crate) struct Levels;

/// The highest level all of them speak; None when one does not say.
fn common(members: &[MemberLevel]) -> Option<Level> {
    members.iter().map(|member| member.speaks).min().flatten()
}

/// Raises the level if it can be.
async fn look(cluster: &impl Cluster) -> Result<(), ProposeError> {
    let level = common(&cluster.levels().await).map(|level| level.min(LEVEL));
    if let Some(level) = level.filter(|level| *level > cluster.local().level()) {
        cluster.propose(Command::RaiseLevel { level }).await?;
        tracing::info!(%level, "every control node speaks it: the cluster is at this level now");
    }
    Ok(())
}

#[async_trait]
impl<C: Cluster> Controller<C> for Levels {
    async fn lead(self, cluster: C) {
        while cluster.local().level() < LEVEL {
            match look(&cluster).await {
                Ok(()) => sleep(LOOK).await,
                Err(ProposeError::Shutdown | ProposeError::Storage(_)) => return,
                Err(error) => {
                    tracing::warn!(%error, "the level was not raised; trying again");
                    sleep(LOOK).await;
                }
            }
        }
        // Its work is done for as long as this release runs.
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use ring_types::MemberId;

    use super::*;
    use crate::tests::fake::Fake;

    fn speaking(levels: &[Option<u32>]) -> Vec<MemberLevel> {
        let one =
            |(id, level): (u64, &Option<u32>)| MemberLevel { id: MemberId(id), name: format!("c{id}"), speaks: level.map(Level) };
        (1..).zip(levels).map(one).collect()
    }

    #[test]
    fn the_level_is_what_all_speak_and_unknown_while_one_is_silent() {
        assert_eq!(common(&speaking(&[Some(2), Some(1), Some(3)])), Some(Level(1)));
        assert_eq!(common(&speaking(&[Some(2), Some(3)])), Some(Level(2)));
        assert_eq!(common(&speaking(&[Some(2), None])), None);
        assert_eq!(common(&[]), None);
    }

    #[tokio::test]
    async fn it_is_raised_once_the_last_one_is_replaced() {
        let fake = Fake::with_nodes(0);
        let ours = Some(LEVEL.0);
        for held_back in [&[ours, Some(1), ours], &[ours, None, ours]] {
            fake.set_levels(speaking(held_back));
            look(&fake).await.unwrap();
            assert_eq!((fake.state().level(), fake.proposals()), (Level::FIRST, 0));
        }
        fake.set_levels(speaking(&[ours, Some(LEVEL.0 + 5), ours]));
        for _ in 0..2 {
            look(&fake).await.unwrap();
            assert_eq!((fake.state().level(), fake.proposals()), (LEVEL, 1));
        }
    }
}
