//! Tests of the planner against the real state machine: plan, apply, and see what comes of it.

mod affected;
mod jobs;
mod nodes;
mod placement;
mod properties;
mod workers;
mod world;
