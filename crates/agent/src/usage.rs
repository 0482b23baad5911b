//! Load of the instances whose deployment scales with it: measured here, sent with the heartbeats, kept by the leader alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use ring_proto::agent::v1::InstanceUsage;
use ring_runtime::Runtime;
use ring_types::InstanceId;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::context::Context;
use crate::instances::Instances;

/// Longest wait for one measure.
const PATIENCE: Duration = Duration::from_secs(4);
/// Measures under way at a time.
const TOGETHER: usize = 64;

/// Measures that were not sent yet, the newest of each instance.
#[derive(Debug, Default)]
pub(crate) struct Unsent(Mutex<BTreeMap<InstanceId, InstanceUsage>>);

impl Unsent {
    /// What there is to send; afterwards there is nothing.
    pub(crate) fn take(&self) -> Vec<InstanceUsage> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    fn put(&self, instance: InstanceId, usage: InstanceUsage) {
        self.lock().insert(instance, usage);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, InstanceUsage>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures again and again. Never returns. What cannot be measured is not told: the leader takes nothing for idle.
pub(crate) async fn keep_measuring(context: Arc<Context>, instances: Arc<Instances>) -> String {
    let mut ticks = interval(context.timing.measure);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let wanted = stream::iter(instances.scaling());
        wanted.for_each_concurrent(TOGETHER, |(instance, runtime)| measure(&context, instance, runtime)).await;
    }
}

async fn measure(context: &Context, instance: InstanceId, runtime: Arc<dyn Runtime>) {
    match timeout(PATIENCE, context.stats.measure(&*runtime, instance)).await {
        Ok(Ok(usage)) => {
            let (cpu_millis, memory_bytes) = (usage.cpu_millis, usage.stats.memory.0);
            context.unsent.put(instance, InstanceUsage { instance_id: instance.to_string(), cpu_millis, memory_bytes });
        }
        Ok(Err(error)) => tracing::debug!(%instance, %error, "its load was not measured"),
        Err(_) => tracing::debug!(%instance, "its load was not measured in time"),
    }
}
