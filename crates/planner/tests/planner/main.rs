//! Tests of the planner against the real state machine: plan, apply, and see what comes of it.

// Helpers of tests may fail by panicking, as the tests themselves.
#![allow(clippy::unwrap_used, clippy::needless_for_each)]

mod affected;
mod attempts;
mod autoscale;
mod carried;
mod dependencies;
mod drains;
mod health;
mod jobs;
mod lonely;
mod nodes;
mod placement;
mod plans;
mod previews;
mod properties;
mod rebalances;
mod rollout_properties;
mod rollouts;
mod room;
mod statuses;
mod successions;
mod workers;
mod world;
