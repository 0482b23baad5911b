//! Commands on their way to the member that leads. What comes while others are on their way goes in one message.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ring_proto::raft::v1 as wire;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::ProposeError;
use crate::attempt::Failed;
use crate::lock::Mutex;
use crate::peers::{Client, Peers};
use crate::types::Peer;

/// Commands that may wait to be sent to one member; more have to wait before that.
const QUEUE: usize = 1024;
/// Messages that may wait for their answers.
const OPEN: usize = 2;
/// Commands in one message, and about how many bytes of them when there are several.
const COMMANDS: usize = 256;
const BYTES: usize = 4 << 20;

type Answer = Result<wire::ProposeReply, Failed<ProposeError>>;

/// A command that is to be sent.
struct Forward {
    message: wire::ProposeRequest,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

/// The queues to the members that have led so far.
pub(crate) struct Forwarder {
    peers: Arc<Peers>,
    queues: Mutex<BTreeMap<(u64, String), mpsc::Sender<Forward>>>,
}

impl Forwarder {
    pub(crate) fn new(peers: Arc<Peers>) -> Self {
        Self { peers, queues: Mutex::default() }
    }

    /// Has the member `id` propose a command.
    pub(crate) async fn send(&self, (id, peer): (u64, &Peer), message: wire::ProposeRequest, deadline: Instant) -> Answer {
        let queue = self.queue(id, peer);
        let (answer, answered) = oneshot::channel();
        // What never came into the queue was never sent.
        let queued = timeout_at(deadline, queue.send(Forward { message, deadline, answer })).await;
        queued.map_err(|_| Failed::Again)?.map_err(|_| Failed::Again)?;
        let answered = timeout_at(deadline, answered).await;
        answered.map_err(|_| Failed::Uncertain)?.unwrap_or(Err(Failed::Uncertain))
    }

    /// The same in a message of its own, before what is queued: no other command waits for this one's answer.
    pub(crate) async fn send_alone(&self, leader: (u64, &Peer), message: wire::ProposeRequest, deadline: Instant) -> Answer {
        one(&self.peers, leader, message, deadline).await
    }

    fn queue(&self, id: u64, peer: &Peer) -> mpsc::Sender<Forward> {
        let start = || {
            let (sender, queue) = mpsc::channel(QUEUE);
            tokio::spawn(run(Arc::clone(&self.peers), (id, peer.clone()), queue));
            sender
        };
        self.queues.lock().entry((id, peer.address.clone())).or_insert_with(start).clone()
    }
}

/// Sends what is queued for one member, until the queue is closed.
async fn run(peers: Arc<Peers>, to: (u64, Peer), mut queue: mpsc::Receiver<Forward>) {
    let (open, to) = (Arc::new(Semaphore::new(OPEN)), Arc::new(to));
    let (mut waiting, mut came) = (VecDeque::new(), Vec::new());
    while let Ok(slot) = Arc::clone(&open).acquire_owned().await {
        if waiting.is_empty() && queue.recv_many(&mut came, COMMANDS).await == 0 {
            return;
        }
        waiting.extend(came.drain(..));
        let (batch, peers, to) = (next_batch(&mut waiting), Arc::clone(&peers), Arc::clone(&to));
        tokio::spawn(async move {
            deliver(&peers, &to, batch).await;
            drop(slot);
        });
    }
}

/// The next commands that go together. Who does not wait any more is passed over.
fn next_batch(waiting: &mut VecDeque<Forward>) -> Vec<Forward> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(next) = waiting.pop_front() {
        if next.answer.is_closed() {
            continue;
        }
        bytes += next.message.command.len();
        if bytes > BYTES && !batch.is_empty() {
            waiting.push_front(next);
            break;
        }
        batch.push(next);
    }
    batch
}

async fn deliver(peers: &Peers, (id, peer): &(u64, Peer), batch: Vec<Forward>) {
    let Some(deadline) = batch.iter().map(|forward| forward.deadline).max() else { return };
    let (messages, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|forward| (forward.message, forward.answer)).unzip();
    let mut replies = match call(peers, (*id, peer), messages, deadline).await {
        Ok(replies) => replies.into_iter().map(Ok).collect::<VecDeque<_>>(),
        Err(Failed::Again) => answers.iter().map(|_| Err(Failed::Again)).collect(),
        Err(Failed::Uncertain | Failed::Final(_)) => VecDeque::new(),
    };
    for answer in answers {
        // Who does not wait any more needs no answer.
        let _ = answer.send(replies.pop_front().unwrap_or(Err(Failed::Uncertain)));
    }
}

async fn call(
    peers: &Peers,
    leader: (u64, &Peer),
    mut messages: Vec<wire::ProposeRequest>,
    deadline: Instant,
) -> Result<Vec<wire::ProposeReply>, Failed<ProposeError>> {
    if messages.len() == 1
        && let Some(message) = messages.pop()
    {
        return one(peers, leader, message, deadline).await.map(|reply| vec![reply]);
    }
    let call = |mut client: Client, request| async move { client.propose_many(request).await };
    let message = wire::ProposeManyRequest { requests: messages };
    Ok(peers.call_leader(leader, message, deadline, call).await?.replies)
}

async fn one(peers: &Peers, leader: (u64, &Peer), message: wire::ProposeRequest, deadline: Instant) -> Answer {
    let call = |mut client: Client, request| async move { client.propose(request).await };
    peers.call_leader(leader, message, deadline, call).await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn forward(size: usize) -> (Forward, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let message = wire::ProposeRequest { request: Bytes::new(), command: vec![0; size].into(), hops: 1 };
        (Forward { message, deadline: Instant::now(), answer }, answered)
    }

    #[test]
    fn a_message_has_a_size() {
        let (forwards, _answered): (VecDeque<_>, Vec<_>) = [BYTES + 1, 10, BYTES, 10, 10].map(forward).into_iter().unzip();
        let mut waiting = forwards;
        let sizes: Vec<usize> = std::iter::from_fn(|| Some(next_batch(&mut waiting).len()).filter(|n| *n > 0)).collect();
        assert_eq!(sizes, [1, 1, 1, 2], "one at least, though it is larger");
    }

    #[test]
    fn who_has_given_up_is_not_sent() {
        let (forwards, mut answered): (VecDeque<_>, VecDeque<_>) = [1, 2, 3].map(forward).into_iter().unzip();
        let mut waiting = forwards;
        drop(answered.remove(1));
        let sizes: Vec<usize> = next_batch(&mut waiting).iter().map(|f| f.message.command.len()).collect();
        assert_eq!(sizes, [1, 3]);
    }
}
