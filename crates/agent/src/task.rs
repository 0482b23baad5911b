//! The task of one instance: asks [`next`], does that one step, and again. Whatever it waits for, it waits for alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ring_runtime::{Observed, Runtime, RuntimeError, RuntimeErrorKind, Workload, now};
use ring_state::InstanceReport;
use ring_types::{DeploymentSpec, EnvValue, Goal, InstanceId, InstanceState, RuntimeKind, Span, StartFailure, VolumeDriver};

use crate::contact::since_boot;
use crate::context::{Context, pause};
use crate::desired::Desired;
use crate::health::{History, Prober, Subject};
use crate::ledger::LedgerError;
use crate::mailbox::{ClaimAnswer, Grant, Mailbox, News, short};
use crate::next::{Claim, Durability, Facts, Step, Volatile, next};
use crate::record::{Phase, Record};

/// A preparation that takes longer than this is told to the cluster, so that people see what is going on.
const SLOW_PREPARE: Duration = Duration::from_secs(2);
/// Preparing is given up after so many errors in a row that the runtime does not explain.
const PREPARE_TRIES: u32 = 5;

/// The task of one instance.
pub(crate) struct InstanceTask {
    context: Arc<Context>,
    instance: InstanceId,
    mailbox: Arc<Mailbox>,
    /// What its health checks saw, for whoever asks.
    history: Arc<History>,
    /// Probes its health while it runs and is wanted.
    prober: Option<Prober>,
    desired: Desired,
    record: Option<Record>,
    observed: Option<Observed>,
    volatile: Volatile,
    /// What came with the claim, from its grant to the start.
    granted: Grant,
    /// The step that fails, and how often in a row.
    failing: Option<(&'static str, u32)>,
}

/// A step that has to be tried again.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

impl InstanceTask {
    /// A task that begins with what the ledger has.
    pub(crate) fn new(
        context: Arc<Context>,
        instance: InstanceId,
        (mailbox, history): (Arc<Mailbox>, Arc<History>),
        record: Option<Record>,
    ) -> Self {
        Self {
            context,
            instance,
            mailbox,
            history,
            prober: None,
            desired: Desired::Unknown,
            record,
            observed: None,
            volatile: Volatile::default(),
            granted: Grant::default(),
            failing: None,
        }
    }

    /// Runs until nothing is left of the instance and its record is deleted. `finish` says whether nothing came up meanwhile.
    pub(crate) async fn run(mut self, finish: impl Fn() -> bool) {
        loop {
            if let Some(news) = self.mailbox.take() {
                self.absorb(news);
            }
            self.attend();
            let step = self.next();
            let name = name_of(&step);
            let result = match step {
                Step::Wait => {
                    self.wait(None).await;
                    continue;
                }
                Step::WaitFor(time) => {
                    self.wait(Some(time)).await;
                    continue;
                }
                Step::Forget => match self.forget().await {
                    Ok(()) if finish() => return,
                    result => result,
                },
                step => self.perform(step).await,
            };
            match result {
                Ok(()) if self.failing.is_some_and(|(failing, _)| failing == name) => self.failing = None,
                Ok(()) => {}
                Err(problem) => self.retry_later(name, &problem).await,
            }
        }
    }

    fn next(&self) -> Step {
        let since_boot = since_boot();
        next(&Facts {
            node: self.context.node,
            instance: self.instance,
            host_boot: &self.context.host_boot,
            desired: &self.desired,
            record: self.record.as_ref(),
            observed: self.observed.as_ref(),
            volatile: &self.volatile,
            now: now(),
            since_boot: since_boot.into(),
            silence: self.context.contact.silence(since_boot),
        })
    }

    /// Health is probed from when the process is seen alive until it has ended or is not wanted any more.
    fn attend(&mut self) {
        let wanted = match &self.desired {
            Desired::Assigned(assignment) if assignment.goal == Goal::Run => Some(&assignment.spec),
            _ => None,
        };
        let runs = self.record.as_ref().filter(|record| record.phase == Phase::Started);
        let Some((spec, record)) = wanted.filter(|spec| !spec.health_checks.is_empty()).zip(runs) else {
            self.prober = None;
            return;
        };
        if self.prober.is_some() {
            return;
        }
        if let (Some(Observed::Running { started_at, address }), Ok(runtime)) = (&self.observed, self.runtime()) {
            let (spec, address, started_at) = (Arc::clone(spec), address.clone(), *started_at);
            let subject = Subject { instance: self.instance, spec, runtime, address, started_at };
            let (history, mailbox) = (Arc::clone(&self.history), Arc::clone(&self.mailbox));
            self.prober = Some(Prober::start(subject, record.health.clone(), history, mailbox));
        }
    }

    fn absorb(&mut self, news: News) {
        if let Some(desired) = news.desired {
            self.desired = desired;
            self.remember_runtime();
            if matches!(&self.desired, Desired::Assigned(assignment) if assignment.goal > Goal::Run) {
                self.volatile.told.get_or_insert_with(|| since_boot().into());
            }
        }
        match news.claim {
            Some(ClaimAnswer::Granted(granted)) => {
                self.granted = granted;
                self.volatile.claim = Claim::Granted;
            }
            Some(ClaimAnswer::Unusable(message)) => self.volatile.claim = Claim::Unusable(message),
            Some(ClaimAnswer::Refused) => {
                self.volatile.claim = Claim::Refused((since_boot() + self.context.timing.refused_pause).into());
            }
            None => {}
        }
        match (&self.volatile.claim, news.session) {
            (Claim::Refused(_), Some(_)) | (Claim::Granted | Claim::Unusable(_), Some(true)) => self.volatile.claim = Claim::None,
            _ => {}
        }
        self.volatile.acknowledged = self.volatile.acknowledged.max(news.acknowledged);
        self.volatile.health = news.health.or(self.volatile.health.take());
        if news.look {
            self.observed = None;
            if let Some(prober) = &self.prober {
                prober.hurry();
            }
        }
    }

    fn remember_runtime(&self) {
        if let Some(kind) = self.kind() {
            self.mailbox.set_runtime(kind);
        }
    }

    fn kind(&self) -> Option<RuntimeKind> {
        let assigned = match &self.desired {
            Desired::Assigned(assignment) => Some(assignment.spec.runtime),
            Desired::Unknown | Desired::Gone => None,
        };
        self.record.as_ref().map(|record| record.runtime).or(assigned).or_else(|| self.mailbox.runtime())
    }

    fn runtime(&self) -> Result<Arc<dyn Runtime>, RuntimeError> {
        let found = self.kind().and_then(|kind| self.context.runtime(kind));
        found.ok_or_else(|| {
            let kind = self.kind().map_or("no", RuntimeKind::as_str);
            RuntimeError::new(RuntimeErrorKind::Unavailable, format!("this node is not set up for {kind} runtime"))
        })
    }

    async fn wait(&mut self, time: Option<Span>) {
        let longest = self.context.timing.sweep;
        let sleep = time.map_or(longest, |time| time.duration().min(longest));
        tokio::select! {
            news = self.mailbox.next() => self.absorb(news),
            () = tokio::time::sleep(sleep) => self.observed = None,
        }
    }

    async fn perform(&mut self, step: Step) -> Result<(), Problem> {
        match step {
            Step::Inspect => self.observed = Some(self.inspect().await?),
            Step::AskClaim => {
                self.context.outbox.ask_claim(self.instance);
                self.volatile.claim = Claim::Asked;
            }
            Step::Write(record, durability) => self.write(*record, durability).await?,
            Step::Prepare => self.prepare().await?,
            Step::Start => self.start().await?,
            Step::Stop(grace) => {
                let cut_off = self.record.as_ref().is_some_and(|record| record.cut_off);
                tracing::info!(instance = short(self.instance), %grace, cut_off, "stopping");
                self.observed = None;
                self.runtime()?.stop(self.instance, grace).await?;
            }
            Step::Remove => {
                self.observed = None;
                self.runtime()?.remove(self.instance).await?;
            }
            Step::Report(report) => self.report(*report),
            Step::Wait | Step::WaitFor(_) | Step::Forget => {}
        }
        Ok(())
    }

    async fn inspect(&self) -> Result<Observed, RuntimeError> {
        match self.runtime()?.inspect(self.instance).await {
            Err(error) if error.kind == RuntimeErrorKind::NotFound => Ok(Observed::Absent),
            other => other,
        }
    }

    async fn write(&mut self, record: Record, durability: Durability) -> Result<(), LedgerError> {
        self.context.ledger.write(self.instance, record.clone(), durability).await?;
        let before = self.record.as_ref().map(|record| record.phase);
        if before != Some(record.phase) {
            self.tell(&record);
        }
        if record.phase > Phase::Claimed {
            self.granted = Grant::default();
        }
        if record.phase >= Phase::Exited {
            self.context.outbox.drop_claim(self.instance);
        }
        self.record = Some(record);
        self.remember_runtime();
        Ok(())
    }

    fn tell(&self, record: &Record) {
        let instance = short(self.instance);
        match (record.phase, &record.exit) {
            (Phase::Claimed, _) => tracing::info!(instance, "claimed"),
            (Phase::Started, _) => tracing::info!(instance, address = record.address, "runs"),
            (Phase::Exited, Some(exit)) => tracing::info!(instance, outcome = ?exit.outcome, "ended"),
            (Phase::Removed, _) => tracing::info!(instance, "removed"),
            (phase, _) => tracing::debug!(instance, ?phase, "recorded"),
        }
    }

    fn report(&mut self, report: InstanceReport) {
        self.volatile.offered = self.volatile.offered.max(Some(report.state));
        self.volatile.offered_health = report.health.clone().or(self.volatile.offered_health.take());
        self.context.outbox.report(report);
    }

    /// Prepares, as long as it is wanted: news that make another step the right one cancel it.
    async fn prepare(&mut self) -> Result<(), Problem> {
        let Some(workload) = self.workload() else { return Ok(()) };
        let Ok(runtime) = self.runtime() else {
            let message = format!("this node is not set up for {} runtime", workload.spec.runtime);
            self.volatile.failure = Some((StartFailure::Create, message));
            return Ok(());
        };
        let mailbox = Arc::clone(&self.mailbox);
        let mut preparing = runtime.prepare(&workload);
        let mut slow = Box::pin(tokio::time::sleep(SLOW_PREPARE));
        let mut told = false;
        let result = loop {
            tokio::select! {
                result = &mut preparing => break result,
                () = &mut slow, if !told => {
                    told = true;
                    self.report_preparing();
                }
                news = mailbox.next() => {
                    self.absorb(news);
                    if !self.still_preparing().await {
                        return Ok(());
                    }
                }
            }
        };
        drop(preparing);
        self.observed = None;
        self.prepared(result)
    }

    fn prepared(&mut self, result: Result<ring_runtime::Prepared, RuntimeError>) -> Result<(), Problem> {
        match result {
            Ok(prepared) => self.volatile.prepared = Some(prepared),
            Err(RuntimeError { kind: RuntimeErrorKind::Start(cause), message }) => {
                self.volatile.failure = Some((cause, message));
            }
            Err(error) => {
                let tries = self.failing.map_or(0, |(_, times)| times) + 1;
                if error.kind != RuntimeErrorKind::Other || tries < PREPARE_TRIES {
                    return Err(error.into());
                }
                self.volatile.failure = Some((StartFailure::Other, error.message));
            }
        }
        Ok(())
    }

    async fn still_preparing(&mut self) -> bool {
        loop {
            match self.next() {
                Step::Prepare => return true,
                Step::Write(record, Durability::Lazy) => {
                    if self.write(*record, Durability::Lazy).await.is_err() {
                        // It is written when preparing is over.
                        return true;
                    }
                }
                _ => return false,
            }
        }
    }

    fn report_preparing(&mut self) {
        if self.volatile.offered.is_none() {
            self.report(InstanceReport::of(self.instance, InstanceState::Preparing));
        }
    }

    fn workload(&self) -> Option<Workload> {
        let Desired::Assigned(assignment) = &self.desired else { return None };
        let plain = assignment.spec.environment.iter().filter_map(|(name, value)| match value {
            EnvValue::Plain(text) => Some((name.clone(), text.clone())),
            EnvValue::Secret(_) => None,
        });
        let mut environment: BTreeMap<_, _> = plain.collect();
        environment.extend(self.granted.environment.clone());
        Some(Workload {
            instance: self.instance,
            deployment: assignment.deployment,
            generation: assignment.generation,
            spec: with_exports(&assignment.spec, &self.granted.exports),
            environment,
            files: self.granted.files.clone(),
            registry: self.granted.registry.clone(),
        })
    }

    async fn start(&mut self) -> Result<(), Problem> {
        self.observed = None;
        match self.runtime()?.start(self.instance).await {
            Err(RuntimeError { kind: RuntimeErrorKind::Start(cause), message }) => {
                self.volatile.failure = Some((cause, message));
            }
            // Looking at it again says what became of it.
            Err(RuntimeError { kind: RuntimeErrorKind::NotFound, .. }) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    async fn forget(&mut self) -> Result<(), Problem> {
        self.context.outbox.forget(self.instance);
        if self.record.is_some() {
            self.context.ledger.forget(self.instance).await?;
            self.record = None;
            tracing::info!(instance = short(self.instance), "forgotten");
        }
        Ok(())
    }

    /// Waits before the same step is tried again; a change of what is wanted, or a runtime that came back, ends the wait.
    async fn retry_later(&mut self, step: &'static str, problem: &Problem) {
        let times = match self.failing {
            Some((failing, times)) if failing == step => times + 1,
            _ => 1,
        };
        self.failing = Some((step, times));
        let delay = pause(times, self.context.timing.retry);
        let (instance, delay_ms) = (short(self.instance), delay.as_millis() as u64);
        if times == 1 {
            tracing::warn!(instance, step, %problem, "failed, is tried again");
        } else {
            tracing::debug!(instance, step, times, delay_ms, %problem, "failed again");
        }
        let deadline = tokio::time::Instant::now() + delay;
        while let Ok(news) = tokio::time::timeout_at(deadline, self.mailbox.next()).await {
            let worth_it = news.desired.is_some() || news.recovered;
            self.absorb(news);
            if worth_it {
                return;
            }
        }
    }
}

/// The specification with volumes on a file server as what they are: a driver knows no names of volumes that are elsewhere.
fn with_exports(spec: &Arc<DeploymentSpec>, exports: &BTreeMap<String, String>) -> Arc<DeploymentSpec> {
    if exports.is_empty() {
        return Arc::clone(spec);
    }
    let mut spec = DeploymentSpec::clone(spec);
    for volume in spec.volumes.iter_mut().filter(|volume| volume.object().is_some()) {
        if let Some(export) = exports.get(&volume.source) {
            volume.source.clone_from(export);
            volume.driver = VolumeDriver::Nfs;
        }
    }
    Arc::new(spec)
}

fn name_of(step: &Step) -> &'static str {
    match step {
        Step::Wait | Step::WaitFor(_) => "wait",
        Step::Inspect => "inspect",
        Step::AskClaim => "claim",
        Step::Write(..) => "write the ledger",
        Step::Prepare => "prepare",
        Step::Start => "start",
        Step::Stop(_) => "stop",
        Step::Remove => "remove",
        Step::Report(_) => "report",
        Step::Forget => "forget",
    }
}
