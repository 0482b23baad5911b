//! Starting a container, at most once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use ring_runtime::{RuntimeError, RuntimeErrorKind};
use ring_types::InstanceId;
use tokio::time::timeout;

use crate::client::{Client, status, told};
use crate::create::cause;
use crate::driver::Containers;
use crate::state::{refused, was_started};

/// The caller is told that the engine hangs after this long; the request goes on.
const PATIENCE: Duration = Duration::from_mins(1);

/// The request itself is given up only when the engine must be gone.
const LONGEST: Duration = Duration::from_hours(1);

type Starting = Shared<BoxFuture<'static, Result<(), RuntimeError>>>;

/// The starts that are under way. A second call for an instance waits for the first: a request that was given up may still be
/// carried out, and sending another would execute a short workload twice.
#[derive(Default)]
pub(crate) struct Starts(Mutex<HashMap<InstanceId, Starting>>);

impl Starts {
    /// Starts an instance, or waits for the start that is under way.
    pub(crate) async fn start(self: &Arc<Self>, containers: &Arc<Containers>, instance: InstanceId) -> Result<(), RuntimeError> {
        let starting = self.under_way(containers, instance);
        timeout(PATIENCE, starting).await.unwrap_or_else(|_| {
            let message = format!("the engine has not answered the start of instance {instance} in time");
            Err(RuntimeError::new(RuntimeErrorKind::Unavailable, message))
        })
    }

    fn under_way(self: &Arc<Self>, containers: &Arc<Containers>, instance: InstanceId) -> Starting {
        let mut starts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || {
            let (starts, containers) = (Arc::clone(self), Arc::clone(containers));
            // A task of its own, so that it goes on when no caller waits any more.
            let task = tokio::spawn(async move {
                let done = once(&containers, instance).await;
                starts.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&instance);
                done
            });
            let lost = |error| Err(RuntimeError::new(RuntimeErrorKind::Other, format!("the start was lost: {error}")));
            async move { task.await.unwrap_or_else(lost) }.boxed().shared()
        };
        starts.entry(instance).or_insert_with(begin).clone()
    }
}

async fn once(containers: &Containers, instance: InstanceId) -> Result<(), RuntimeError> {
    let id = match containers.fresh(instance) {
        Some(id) => Some(id),
        None => not_started(containers, instance).await?,
    };
    let Some(id) = id else { return Ok(()) };
    let client: &Client = &containers.client;
    match client.ask_within(LONGEST, |docker| async move { docker.start_container(&id, None).await }).await? {
        Ok(()) => Ok(()),
        Err(error) if status(&error) == Some(404) && told(&error).contains("No such container") => Err(absent(instance)),
        Err(error) => {
            // What the engine keeps of it says whether something ran.
            let state = containers.inspect(instance).await?.and_then(|container| container.state).unwrap_or_default();
            if was_started(&state) || refused(&state).is_some() {
                return Ok(());
            }
            Err(client.error(RuntimeErrorKind::Start(cause(&told(&error))), "the engine did not start it", &error))
        }
    }
}

/// The container of an instance; None when it was started before.
async fn not_started(containers: &Containers, instance: InstanceId) -> Result<Option<String>, RuntimeError> {
    let container = containers.inspect(instance).await?.ok_or_else(|| absent(instance))?;
    let state = container.state.unwrap_or_default();
    Ok((!was_started(&state) && refused(&state).is_none()).then(|| container.id.unwrap_or_default()))
}

pub(crate) fn absent(instance: InstanceId) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::NotFound, format!("instance {instance} has no container"))
}
