//! The verbs of a fake runtime.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use ring_types::{InstanceId, Outcome, RuntimeKind, RuntimeReport, Span};
use tokio::sync::broadcast::error::RecvError;

use super::exec;
use super::script::{FakeCall, FakeScript, FakeStart};
use super::{FakeRuntime, World};
use crate::{
    ExecRequest, ExecSession, Found, Hint, InstanceStats, LogLine, LogRequest, NativeHealth, Observed, Prepared, Runtime,
    RuntimeError, RuntimeErrorKind, Workload,
};

fn not_found(instance: InstanceId) -> RuntimeError {
    RuntimeError::new(RuntimeErrorKind::NotFound, format!("instance {instance} is not there"))
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn kind(&self) -> RuntimeKind {
        self.kind
    }

    async fn probe(&self) -> RuntimeReport {
        let mut world = self.world();
        let problem = world.enter(FakeCall::Probe).err().map(|error| error.message);
        RuntimeReport { kind: self.kind, version: "fake".to_owned(), problem }
    }

    async fn prepare(&self, workload: &Workload) -> Result<Prepared, RuntimeError> {
        let instance = workload.instance;
        self.enter(FakeCall::Prepare(instance))?;
        self.wait(|world| !world.script(instance).hold_prepare || world.released.contains(&instance)).await;
        let mut world = self.world();
        if let Some(error) = world.next_prepare_error(instance) {
            return Err(error);
        }
        world.create(workload);
        let image_digest = world.script(instance).image_digest.clone();
        drop(world);
        self.wake(Some(Hint::Instance(instance)));
        Ok(Prepared { image_digest })
    }

    async fn start(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        self.enter(FakeCall::Start(instance))?;
        self.wait(|world| !world.script(instance).hold_start || world.released.contains(&instance)).await;
        let result = start(&mut self.world(), instance);
        self.wake(Some(Hint::Instance(instance)));
        result
    }

    async fn inspect(&self, instance: InstanceId) -> Result<Observed, RuntimeError> {
        self.enter(FakeCall::Inspect(instance))?;
        self.wait(|world| !world.script(instance).hold_inspect || world.released.contains(&instance)).await;
        Ok(self.world().observed(instance))
    }

    async fn list(&self) -> Result<Vec<Found>, RuntimeError> {
        let mut world = self.world();
        world.enter(FakeCall::List)?;
        let found = world.instances.iter().map(|(instance, found)| Found {
            instance: *instance,
            deployment: found.deployment,
            runtime: self.kind,
            observed: found.observed.clone(),
        });
        Ok(found.collect())
    }

    async fn stop(&self, instance: InstanceId, grace: Span) -> Result<(), RuntimeError> {
        self.enter(FakeCall::Stop(instance, grace))?;
        let ignores_term = self.world().script(instance).ignores_term;
        let running = |world: &World| matches!(world.observed(instance), Observed::Running { .. });
        if ignores_term && running(&self.world()) {
            // Ends early when the test ends the instance by itself.
            let _ = tokio::time::timeout(grace.duration(), self.wait(|world| !running(world))).await;
        }
        let signal = if ignores_term { 9 } else { 15 };
        if self.world().end(instance, Outcome::Signal { signal, oom_killed: false }) {
            self.wake(Some(Hint::Instance(instance)));
        }
        Ok(())
    }

    async fn remove(&self, instance: InstanceId) -> Result<(), RuntimeError> {
        self.enter(FakeCall::Remove(instance))?;
        let mut world = self.world();
        if matches!(world.observed(instance), Observed::Running { .. }) {
            return Err(RuntimeError::new(RuntimeErrorKind::Other, format!("instance {instance} runs")));
        }
        world.instances.remove(&instance);
        drop(world);
        self.wake(Some(Hint::Instance(instance)));
        Ok(())
    }

    fn hints(&self) -> BoxStream<'static, Hint> {
        let hints = stream::unfold(self.hints.subscribe(), |mut hints| async move {
            match hints.recv().await {
                Ok(hint) => Some((hint, hints)),
                Err(RecvError::Lagged(_)) => Some((Hint::Everything, hints)),
                Err(RecvError::Closed) => None,
            }
        });
        stream::once(async { Hint::Everything }).chain(hints).boxed()
    }

    async fn logs(
        &self,
        instance: InstanceId,
        request: LogRequest,
    ) -> Result<BoxStream<'static, Result<LogLine, RuntimeError>>, RuntimeError> {
        self.enter(FakeCall::Logs(instance))?;
        let all = self.world().instances.get(&instance).ok_or_else(|| not_found(instance))?.lines.len();
        let first = request.tail.map_or(0, |tail| all.saturating_sub(usize::try_from(tail).unwrap_or(usize::MAX)));
        let end = if request.follow { usize::MAX } else { all };
        let lines = stream::unfold((self.clone(), first), move |(runtime, at)| async move {
            let line = if at < end { runtime.line(instance, at, request.follow).await } else { None };
            line.map(|line| (line, (runtime, at + 1)))
        });
        let wanted = move |line: &LogLine| request.since.is_none_or(|since| line.at >= since);
        Ok(lines.filter(move |line| futures::future::ready(wanted(line))).map(Ok).boxed())
    }

    async fn exec(&self, instance: InstanceId, _request: ExecRequest) -> Result<ExecSession, RuntimeError> {
        let script = self.running(FakeCall::Exec(instance), instance)?;
        exec::session(self.clone(), instance, script.exec).await
    }

    async fn health(&self, instance: InstanceId) -> Result<Option<NativeHealth>, RuntimeError> {
        Ok(self.running(FakeCall::Health(instance), instance)?.health)
    }

    async fn stats(&self, instance: InstanceId) -> Result<InstanceStats, RuntimeError> {
        let script = self.running(FakeCall::Stats(instance), instance)?;
        let none = || RuntimeError::new(RuntimeErrorKind::Other, "the fake runtime was not told what it uses");
        script.stats.ok_or_else(none)
    }
}

impl FakeRuntime {
    /// The script of an instance, which has to run.
    fn running(&self, call: FakeCall, instance: InstanceId) -> Result<FakeScript, RuntimeError> {
        self.enter(call)?;
        let world = self.world();
        match world.observed(instance) {
            Observed::Running { .. } => Ok(world.script(instance).clone()),
            _ => Err(not_found(instance)),
        }
    }

    fn enter(&self, call: FakeCall) -> Result<(), RuntimeError> {
        let entered = self.world().enter(call);
        self.wake(None);
        entered
    }

    /// Line number `at`; when following, waits for it as long as it can still come.
    async fn line(&self, instance: InstanceId, at: usize, follow: bool) -> Option<LogLine> {
        let has = |world: &World| world.instances.get(&instance).is_some_and(|found| found.lines.len() > at);
        let over = |world: &World| matches!(world.observed(instance), Observed::Absent | Observed::Exited { .. });
        if follow {
            self.wait(|world| has(world) || over(world)).await;
        }
        self.world().instances.get(&instance).and_then(|found| found.lines.get(at).cloned())
    }
}

fn start(world: &mut World, instance: InstanceId) -> Result<(), RuntimeError> {
    match world.observed(instance) {
        Observed::Absent => return Err(not_found(instance)),
        Observed::Running { .. } | Observed::Exited { .. } => return Ok(()),
        Observed::Created => {}
    }
    match world.script(instance).start.clone() {
        FakeStart::Runs => world.run(instance),
        FakeStart::Ends(outcome) => {
            world.run(instance);
            world.end(instance, outcome);
        }
        FakeStart::Fails(error) => return Err(error),
        FakeStart::RunsReplyLost(error) => {
            world.run(instance);
            return Err(error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
