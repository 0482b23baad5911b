//! How the controllers behave.

use std::time::Duration;

use ring_planner::{AutoscaleOptions, LeaseOptions};

use crate::DeliveryOptions;

/// How the controllers behave.
#[derive(Clone, Debug)]
pub struct ControllerOptions {
    /// How long silence of a node is borne.
    pub leases: LeaseOptions,
    /// When a load counts, and how soon one change of scale follows another.
    pub autoscale: AutoscaleOptions,
    /// How deliveries to webhooks are made.
    pub deliveries: DeliveryOptions,
    /// Everything is looked at this often, whether it changed or not.
    pub sweep_every: Duration,
    /// A voting control node that does not answer the leader for so long is taken out of the cluster; None: never.
    pub remove_dead_after: Option<Duration>,
    /// The level of the cluster stays as it is, so that the release before can be gone back to.
    pub hold_level: bool,
    /// Pause after a proposal that was not committed.
    pub retry_after: Duration,
}

impl Default for ControllerOptions {
    fn default() -> Self {
        Self {
            leases: LeaseOptions::default(),
            autoscale: AutoscaleOptions::default(),
            deliveries: DeliveryOptions::default(),
            sweep_every: Duration::from_secs(30),
            remove_dead_after: None,
            hold_level: false,
            retry_after: Duration::from_millis(200),
        }
    }
}
