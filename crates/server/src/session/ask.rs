//! Questions to agents: what a node alone knows of its instances, asked for on demand through any control node.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ring_proto::agent::v1::control_message::Message;
use ring_proto::agent::v1::question::{About, HealthHistory, Stats};
use ring_proto::agent::v1::{Answer, InstanceStats, ProbeResult, Question, StreamEnd, answer};
use ring_proto::cluster::v1::AskRequest;
use ring_types::{InstanceId, NodeId};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use tonic::Status;

use super::Hub;
use super::hub::{Closed, Line};
use super::locate::Locator;
use crate::services::Peers;

/// Longest wait for an answer; an agent whose runtime hangs answers before.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How much later the control node that asks for another gives up.
pub(super) const FORWARDED: Duration = Duration::from_secs(1);
/// Questions one agent has open; more wait for their turn, within the same time.
const OPEN: usize = 32;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Its node has no session with any control node that answers.
    #[error("its node is not connected")]
    NotConnected,
    /// The node does not have the instance any more.
    #[error("its node does not have it any more")]
    NotFound,
    /// The node says why it has no answer.
    #[error("its node says: {0}")]
    Refused(String),
    /// The way to it broke; the same question again may be answered.
    #[error("its node could not be asked: {0}")]
    Interrupted(String),
    /// No answer in time.
    #[error("its node did not answer within {} seconds", PATIENCE.as_secs())]
    TimedOut,
}

impl From<Closed> for AskError {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::NotHere => Self::NotConnected,
            Closed::Busy => Self::Interrupted("its session is busy".to_owned()),
        }
    }
}

impl From<&AskError> for Status {
    fn from(error: &AskError) -> Self {
        let message = error.to_string();
        match error {
            AskError::NotConnected => Self::failed_precondition(message),
            AskError::NotFound => Self::not_found(message),
            AskError::Refused(why) => Self::aborted(why.clone()),
            AskError::Interrupted(why) => Self::unavailable(why.clone()),
            AskError::TimedOut => Self::deadline_exceeded(message),
        }
    }
}

impl From<Status> for AskError {
    fn from(status: Status) -> Self {
        match status.code() {
            tonic::Code::FailedPrecondition => Self::NotConnected,
            tonic::Code::NotFound => Self::NotFound,
            tonic::Code::Aborted => Self::Refused(status.message().to_owned()),
            tonic::Code::DeadlineExceeded => Self::TimedOut,
            _ => Self::Interrupted(status.message().to_owned()),
        }
    }
}

/// Asks the agent of any node of the cluster. Copies are the same.
#[derive(Clone)]
pub struct Agents {
    hub: Hub,
    locator: Locator,
}

impl Agents {
    /// Looks in the sessions here first, then asks the other control nodes.
    pub fn new(hub: Hub, peers: Peers) -> Self {
        Self { hub, locator: Locator::new(peers) }
    }

    /// The last `limit` probes of the health checks of an instance, oldest first; 0: all that `node` keeps.
    ///
    /// # Errors
    /// [`AskError`] when its node cannot be asked or has no answer.
    pub async fn health_history(&self, node: NodeId, instance: InstanceId, limit: u32) -> Result<Vec<ProbeResult>, AskError> {
        match self.ask(node, instance, About::HealthHistory(HealthHistory { limit })).await? {
            answer::About::Probes(probes) => Ok(probes.results),
            answer::About::Stats(_) => Err(other_answer()),
        }
    }

    /// What an instance uses now. Takes about a second when its node has not measured it lately: a rate needs two measures.
    ///
    /// # Errors
    /// [`AskError`] when its node cannot be asked or has no answer.
    pub async fn stats(&self, node: NodeId, instance: InstanceId) -> Result<InstanceStats, AskError> {
        match self.ask(node, instance, About::Stats(Stats {})).await? {
            answer::About::Stats(stats) => Ok(stats),
            answer::About::Probes(_) => Err(other_answer()),
        }
    }

    async fn ask(&self, node: NodeId, instance: InstanceId, about: About) -> Result<answer::About, AskError> {
        let question = Question { stream: 0, instance_id: instance.to_string(), about: Some(about) };
        let answer = if self.hub.connected(node) {
            self.hub.ask(node, question).await?
        } else {
            within(PATIENCE + FORWARDED, self.forward(node, question)).await?
        };
        match answer.about {
            _ if answer.not_found => Err(AskError::NotFound),
            _ if !answer.error.is_empty() => Err(AskError::Refused(answer.error)),
            Some(about) => Ok(about),
            None => Err(other_answer()),
        }
    }

    async fn forward(&self, node: NodeId, question: Question) -> Result<Answer, AskError> {
        let member = self.locator.find(node).await.ok_or(AskError::NotConnected)?;
        let mut client = self.locator.client(member).await.map_err(|error| AskError::Interrupted(error.to_string()))?;
        let request = AskRequest { node_id: node.to_string(), question: Some(question) };
        Ok(client.ask(request).await?.into_inner())
    }
}

/// An agent of another release.
fn other_answer() -> AskError {
    AskError::Refused("something that is no answer to the question; its agent is of another release".to_owned())
}

pub(super) async fn within<T>(patience: Duration, asking: impl Future<Output = Result<T, AskError>>) -> Result<T, AskError> {
    timeout(patience, asking).await.unwrap_or(Err(AskError::TimedOut))
}

/// The questions one session has open.
pub(super) struct Open {
    turns: Arc<Semaphore>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
}

impl Default for Open {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(OPEN)), waiting: Mutex::default() }
    }
}

impl Open {
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Answer>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An agent's answer. One that nobody waits for any more goes nowhere.
    pub(super) fn answer(&self, answer: Answer) {
        if let Some(asker) = self.waiting().remove(&answer.stream) {
            let _ = asker.send(answer);
        }
    }

    /// An agent that does not know the question ends its stream. True when it was a question.
    pub(super) fn end(&self, end: &StreamEnd) -> bool {
        let Some(asker) = self.waiting().remove(&end.stream) else { return false };
        let answer = Answer { stream: end.stream, error: end.error.clone(), not_found: end.not_found, ..Answer::default() };
        let _ = asker.send(answer);
        true
    }
}

/// Takes a question back when nobody waits for its answer any more.
struct Asked {
    line: Weak<Line>,
    stream: u64,
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(line) = self.line.upgrade() else { return };
        if line.open.waiting().remove(&self.stream).is_some() {
            line.cancel(self.stream);
        }
    }
}

/// Asks over one session. Its end ends the wait, so the session itself is not held on to.
pub(super) async fn ask(line: Weak<Line>, stream: u64, question: Question) -> Result<Answer, AskError> {
    within(PATIENCE, async {
        let ended = || AskError::Interrupted("the session of its node ended".to_owned());
        let turns = line.upgrade().ok_or_else(ended)?.open.turns.clone();
        let _turn = turns.acquire_owned().await.map_err(|_| ended())?;
        let (asker, answer) = oneshot::channel();
        let out = {
            let line = line.upgrade().ok_or_else(ended)?;
            line.open.waiting().insert(stream, asker);
            line.outgoing()
        };
        let _asked = Asked { line, stream };
        let message = ring_proto::agent::v1::ControlMessage { message: Some(Message::Question(Question { stream, ..question })) };
        out.send(Ok(message)).await.map_err(|_| ended())?;
        drop(out);
        answer.await.map_err(|_| ended())
    })
    .await
}
