//! Scaling by load: how many instances a deployment needs for its processors to be used as much as it aims at.
//!
//! The same sum as elsewhere in the field: the load of all instances together, divided by what one is to carry. What was
//! not measured is never taken for idle: for growing it counts as no load, for shrinking as all it may carry, so that a gap
//! in the figures can only keep the number as it is.

use std::collections::{BTreeMap, BTreeSet};

use ring_state::{Action, Deployment, State};
use ring_types::{Autoscale, Cpu, Goal, InstanceId, InstanceState, Kind, NodeId, Resources, Span, Timestamp};

/// What one instance used lately, as its node measured it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The node that says so.
    pub node: NodeId,
    /// Processors in use, over the measurements taken together.
    pub cpu: Cpu,
    /// How many measurements.
    pub samples: u32,
    /// When the last was taken, by the leader's clock.
    pub at: Timestamp,
}

/// When a load counts, and how soon one change follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoscaleOptions {
    /// Shortest time from a change, or from the beginning, to more instances.
    pub up_after: Span,
    /// Shortest time from a change, or from the beginning, to fewer.
    pub down_after: Span,
    /// A load whose last measurement is older counts as not measured.
    pub stale_after: Span,
    /// Measurements of an instance that are needed before they count.
    pub samples: u32,
}

impl Default for AutoscaleOptions {
    fn default() -> Self {
        Self { up_after: Span::seconds(30), down_after: Span::seconds(300), stale_after: Span::seconds(20), samples: 3 }
    }
}

/// Share of the target, in percent, by which a load may be off before anything is changed.
const DEAD_BAND: u64 = 10;

/// What is to change: for each deployment whose instances `loads` tells of, at most one action. Its cost depends on those.
pub fn autoscale(state: &State, loads: &BTreeMap<InstanceId, Load>, now: Timestamp, options: &AutoscaleOptions) -> Vec<Action> {
    let known = loads.keys().filter_map(|id| state.instance(*id)).map(|instance| instance.deployment);
    let deployments: BTreeSet<_> = known.collect();
    let found = deployments.into_iter().filter_map(|id| state.deployment(id));
    found.filter_map(|deployment| decide(state, deployment, loads, now, options)).collect()
}

fn decide(
    state: &State,
    deployment: &Deployment,
    loads: &BTreeMap<InstanceId, Load>,
    now: Timestamp,
    options: &AutoscaleOptions,
) -> Option<Action> {
    let spec = &deployment.spec;
    // During a rolling update the number stays: each half of it has a part of the load only.
    let updating = deployment.is_rolling_out() || state.child_of(deployment).is_some();
    let scales = spec.kind == Kind::Worker && !deployment.deleting && !deployment.status.is_final() && !updating;
    let bounds = spec.autoscale.filter(|_| scales)?;
    let fresh = |load: &&Load| load.samples >= options.samples && load.at + options.stale_after >= now;
    let runs = state.instances_of(deployment.id).filter(|i| i.state == InstanceState::Running && i.goal == Goal::Run);
    let measured = runs.filter_map(|i| loads.get(&i.id).filter(fresh).filter(|load| load.node == i.node));
    let (mut total, mut count) = (0_u64, 0_u64);
    for load in measured {
        total = total.saturating_add(load.cpu.0);
        count += 1;
    }
    let wanted = deployment.wanted();
    let each = Share::of(&spec.resources, &bounds);
    let replicas = bounds.within(each.needed(total, count, u64::from(wanted))?);
    let since = deployment.scale.and_then(|scale| scale.at).unwrap_or(deployment.created_at);
    let pause = if replicas > wanted { options.up_after } else { options.down_after };
    (replicas != wanted && since + pause <= now).then(|| {
        let message = each.message(total, count, &bounds, wanted, replicas);
        Action::Autoscale { deployment: deployment.id, from: wanted, replicas, message }
    })
}

/// What one instance is measured by, in thousandths of a processor.
struct Share {
    /// What it asks for.
    whole: u64,
    /// What it is to carry.
    target: u64,
}

impl Share {
    /// Of the request, else of the limit, else of one processor.
    fn of(resources: &Resources, bounds: &Autoscale) -> Self {
        let whole = resources.requests.cpu.or(resources.limits.cpu).filter(|cpu| cpu.0 > 0).unwrap_or(Cpu(1000)).0;
        Self { whole, target: (whole.saturating_mul(u64::from(bounds.target_cpu)) / 100).max(1) }
    }

    /// How many instances the load needs, of which `count` of `wanted` were measured with `total` together; None when it is
    /// near enough to the target, or too little is known.
    fn needed(&self, total: u64, count: u64, wanted: u64) -> Option<u32> {
        if count == 0 {
            return None;
        }
        let (carried, unknown) = (wanted.saturating_mul(self.target), wanted.saturating_sub(count));
        let at_most = total.saturating_add(unknown.saturating_mul(self.target));
        let number = |load: u64| u32::try_from(load.div_ceil(self.target)).unwrap_or(u32::MAX);
        if total.saturating_mul(100) > carried.saturating_mul(100 + DEAD_BAND) {
            Some(number(total))
        } else {
            let idle = at_most.saturating_mul(100) < carried.saturating_mul(100 - DEAD_BAND);
            idle.then(|| number(at_most))
        }
    }

    fn message(&self, total: u64, count: u64, bounds: &Autoscale, from: u32, to: u32) -> String {
        let percent = total.saturating_mul(100) / self.whole.saturating_mul(count).max(1);
        format!("replicas {from} to {to}: cpu at {percent} % of {}, target {} %", Cpu(self.whole), bounds.target_cpu)
    }
}
