//! Questions of the control plane, each answered once by a task of its own: one that takes long holds up no other.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use ring_proto::agent::v1::question::About;
use ring_proto::agent::v1::{self as wire, AgentMessage, Answer, Question, agent_message::Message, answer};
use ring_runtime::{Runtime, RuntimeErrorKind};
use ring_types::InstanceId;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::context::Context;
use crate::health::ProbeResult;
use crate::instances::Instances;
use crate::stats::Usage;

/// Questions of one session that are being answered.
const MOST: usize = 64;
/// Longest wait for what a runtime has to say.
const PATIENCE: Duration = Duration::from_secs(8);

/// The questions of a session; they end with it.
pub(super) struct Questions {
    context: Arc<Context>,
    instances: Arc<Instances>,
    out: mpsc::Sender<AgentMessage>,
    open: BTreeMap<u64, AbortHandle>,
}

/// Why there is no answer.
struct NoAnswer {
    error: String,
    not_found: bool,
}

impl Questions {
    /// Questions whose answers go to `out`.
    pub(super) fn new(context: Arc<Context>, instances: Arc<Instances>, out: mpsc::Sender<AgentMessage>) -> Self {
        Self { context, instances, out, open: BTreeMap::new() }
    }

    /// Takes a question. Gives the answer when there can be none.
    pub(super) fn ask(&mut self, question: Question) -> Option<Message> {
        self.open.retain(|_, task| !task.is_finished());
        let stream = question.stream;
        if self.open.len() >= MOST {
            let error = format!("this node answers {MOST} questions already");
            return Some(reply(stream, Err(NoAnswer { error, not_found: false })));
        }
        let (context, instances, out) = (Arc::clone(&self.context), Arc::clone(&self.instances), self.out.clone());
        let task = tokio::spawn(async move {
            let answering = AssertUnwindSafe(answer(&context, &instances, &question)).catch_unwind().await;
            let failed = || Err(NoAnswer { error: "answering it failed".into(), not_found: false });
            let message = Some(reply(stream, answering.unwrap_or_else(|_| failed())));
            // Nobody to tell: the session is over.
            let _ = out.send(AgentMessage { message }).await;
        });
        self.open.insert(stream, task.abort_handle());
        None
    }

    /// Nobody waits for the answer any more.
    pub(super) fn cancel(&mut self, stream: u64) {
        if let Some(task) = self.open.remove(&stream) {
            task.abort();
        }
    }
}

impl Drop for Questions {
    fn drop(&mut self) {
        for task in self.open.values() {
            task.abort();
        }
    }
}

fn reply(stream: u64, answer: Result<answer::About, NoAnswer>) -> Message {
    Message::Answer(match answer {
        Ok(about) => Answer { stream, about: Some(about), ..Answer::default() },
        Err(NoAnswer { error, not_found }) => Answer { stream, error, not_found, about: None },
    })
}

async fn answer(context: &Context, instances: &Instances, question: &Question) -> Result<answer::About, NoAnswer> {
    let not_here = || NoAnswer { error: format!("instance {} is not on this node", question.instance_id), not_found: true };
    let instance = super::wire::instance(&question.instance_id).map_err(|_| not_here())?;
    match &question.about {
        Some(About::HealthHistory(wanted)) => {
            let history = instances.history_of(instance).ok_or_else(not_here)?;
            let results = history.last(wanted.limit as usize).into_iter().map(probe).collect();
            Ok(answer::About::Probes(wire::ProbeResults { results }))
        }
        Some(About::Stats(_)) => {
            let runtime = instances.runtime_of(instance).ok_or_else(not_here)?;
            Ok(answer::About::Stats(stats(measure(context, &*runtime, instance).await?)))
        }
        None => Err(NoAnswer { error: "this agent does not know the question".into(), not_found: false }),
    }
}

async fn measure(context: &Context, runtime: &dyn Runtime, instance: InstanceId) -> Result<Usage, NoAnswer> {
    let silent = |_| NoAnswer { error: format!("the {} runtime does not answer", runtime.kind()), not_found: false };
    let measured = timeout(PATIENCE, context.stats.measure(runtime, instance)).await.map_err(silent)?;
    measured.map_err(|error| NoAnswer { not_found: error.kind == RuntimeErrorKind::NotFound, error: error.message })
}

fn probe(result: ProbeResult) -> wire::ProbeResult {
    let ProbeResult { at, check, healthy, took, message, late } = result;
    wire::ProbeResult { at_ms: at.0, check, healthy, took_ms: took.0, message, late }
}

fn stats(usage: Usage) -> wire::InstanceStats {
    let Usage { stats, cpu_millis } = usage;
    wire::InstanceStats {
        at_ms: stats.at.0,
        cpu_time_us: stats.cpu_time_us,
        cpu_millis,
        memory_bytes: stats.memory.0,
        memory_limit_bytes: stats.memory_limit.map(|limit| limit.0),
        network_received: stats.network_received,
        network_sent: stats.network_sent,
        block_read: stats.block_read,
        block_written: stats.block_written,
        processes: stats.processes,
    }
}
