//! What the leader does beside replicating: it watches the store, asks the planner what is to be done, and proposes that.
//!
//! The controllers run on every control node and act only while it leads. They decide nothing themselves and remember
//! nothing that matters: what they hold in memory (which deployments are dirty, when to look again, which nodes were heard
//! of) is a cache that a new leader builds anew. A wake-up carries no decision, so starting, going on and starting again
//! after an election are one path.

mod authority;
mod clock;
mod cluster;
mod contacts;
mod deliveries;
mod herald;
mod keys;
mod leases;
mod levels;
mod loads;
mod options;
mod placement;
mod queue;
mod removal;
mod scaling;
mod supervise;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use cluster::Cluster;
pub use contacts::{Contacts, Sighting};
pub use deliveries::{Attempt, Deliver, DeliveryOptions, NotTaken};
pub use keys::Sealer;
pub use options::ControllerOptions;
use ring_store::Store;

/// The controllers of a control node. Dropping it stops them.
#[derive(Debug)]
pub struct Controllers {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Controllers {
    /// Starts them; each acts while `store` leads. `contacts` is what the server writes signs of life into, `sealer` has the
    /// keys of rotations, `deliverer` makes the deliveries to webhooks.
    pub fn start(
        store: Store,
        contacts: Contacts,
        sealer: Arc<dyn Sealer>,
        deliverer: Arc<dyn Deliver>,
        options: ControllerOptions,
    ) -> Self {
        let mut controllers = Self::over(store.clone(), contacts, sealer, options.clone());
        controllers.tell(store, deliverer, options);
        controllers
    }

    fn over<C: Cluster>(cluster: C, contacts: Contacts, sealer: Arc<dyn Sealer>, options: ControllerOptions) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let planner = placement::Planner::new(options.clone());
        tasks.spawn(supervise::while_leading("planner", cluster.clone(), stop.clone(), planner));
        let scaling = scaling::Scaling::new(contacts.clone(), options.clone());
        tasks.spawn(supervise::while_leading("scaling", cluster.clone(), stop.clone(), scaling));
        let rotation = keys::Rotation::new(sealer, options.clone());
        tasks.spawn(supervise::while_leading("keys", cluster.clone(), stop.clone(), rotation));
        tasks.spawn(supervise::while_leading("authority", cluster.clone(), stop.clone(), authority::Phases));
        if !options.hold_level {
            tasks.spawn(supervise::while_leading("levels", cluster.clone(), stop.clone(), levels::Levels));
        }
        if let Some(removal) = options.remove_dead_after.map(removal::Removal::new) {
            tasks.spawn(supervise::while_leading("removal", cluster.clone(), stop.clone(), removal));
        }
        let leases = leases::Leases::new(contacts, options);
        tasks.spawn(supervise::while_leading("leases", cluster, stop.clone(), leases));
        Self { stop, tasks }
    }

    /// Starts those that tell others of what happens.
    fn tell<C: Cluster>(&mut self, cluster: C, deliverer: Arc<dyn Deliver>, options: ControllerOptions) {
        let herald = herald::Herald(options.clone());
        self.tasks.spawn(supervise::while_leading("herald", cluster.clone(), self.stop.clone(), herald));
        let deliveries = deliveries::Deliveries::new(deliverer, options);
        self.tasks.spawn(supervise::while_leading("deliveries", cluster, self.stop.clone(), deliveries));
    }

    /// Stops them and waits until they have stopped.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
