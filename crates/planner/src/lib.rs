//! Every decision of the cluster: which instances should exist, where they run, what a deployment's status is, which nodes
//! count as lost.
//!
//! Pure: a function of the state and of `now`. No clock, no randomness, no I/O, no hash-ordered iteration. It runs on the
//! leader only and may change in any release; what it decides is written down as [`ring_state::Action`]s and checked again
//! when they are applied. Planning again after a plan was applied gives nothing more to do, but for what the plan itself has let
//! come about: something went that others waited for, a status others waited for changed, or a restart was counted.

mod affected;
mod autoscale;
mod before;
mod dependencies;
mod drain;
mod job;
mod leases;
mod output;
mod pause;
mod place;
mod preview;
mod rebalance;
mod reconcile;
mod references;
mod rollout;
mod room;
mod status;
mod text;
mod view;
mod worker;

use std::collections::{BTreeMap, BTreeSet};

use ring_state::{Action, State};
use ring_types::{DeploymentId, InstanceId, Timestamp};

pub use affected::{Waiting, affected};
pub use autoscale::{AutoscaleOptions, Load, autoscale};
pub use leases::{Contact, Judgement, LeaseOptions, judge_nodes};
use output::Output;
use place::Placer;
pub use preview::{Expected, Preview, preview};
pub use rebalance::{PlannedMove, rebalance};

/// Brings the identities of new instances: the planner has no randomness of its own.
pub trait IdSource {
    /// An identity never given out before.
    fn instance(&mut self) -> InstanceId;
}

/// What is to be done now, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order they are to be applied. At most [`ring_state::limits::ACTIONS_PER_PLAN`].
    pub actions: Vec<Action>,
    /// The earliest of `wakes`.
    pub wake_at: Option<Timestamp>,
    /// Deployments that have to be looked at again at a point in time although nothing changes until then.
    pub wakes: BTreeMap<DeploymentId, Timestamp>,
    /// Deployments that did not fit into this plan: plan them again when it is applied.
    pub remaining: BTreeSet<DeploymentId>,
}

/// When something is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Now, by the leader's clock.
    pub now: Timestamp,
    /// Since when the one that decides has led. What nodes had to say before that may still be on its way.
    pub leading_since: Timestamp,
}

/// Decides what the deployments in `dirty` need. Its cost depends on those alone, not on how much else there is.
pub fn plan(state: &State, dirty: &BTreeSet<DeploymentId>, when: Moment, ids: &mut dyn IdSource) -> Plan {
    let mut out = Output::default();
    let mut placer = Placer::new(state);
    let mut wakes = BTreeMap::new();
    let mut remaining = BTreeSet::new();
    for id in dirty {
        if out.is_full() {
            remaining.insert(*id);
            continue;
        }
        let Some(deployment) = state.deployment(*id) else { continue };
        out.begin();
        reconcile::reconcile(state, deployment, when, &mut placer, ids, &mut out);
        if let Some(at) = out.wake() {
            wakes.insert(*id, at);
        }
        if out.was_cut() {
            remaining.insert(*id);
        }
    }
    let wake_at = wakes.values().min().copied();
    Plan { actions: out.into_actions(), wake_at, wakes, remaining }
}
