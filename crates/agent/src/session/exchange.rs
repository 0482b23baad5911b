//! What is said in one session after the welcome: heartbeats, assignments, claims, reports, log streams.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use futures::stream::{PollNext, select_with_strategy};
use ring_proto::Wire as _;
use ring_proto::agent::v1::{
    AgentMessage, ClaimReply, ClaimRequest, ControlMessage, Heartbeat, NodeInfoUpdate, ReportReply, ReportRequest,
    agent_message::Message as Ours, control_message::Message as Theirs,
};
use ring_runtime::Runtime;
use ring_types::{InstanceId, NodeInfo};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_stream::StreamExt as _;
use tonic::Streaming;

use super::addresses::Addresses;
use super::exec::Execs;
use super::questions::Questions;
use super::streams::Streams;
use super::{End, Open, logs, wire};
use crate::config::ControlConnector;
use crate::contact::{SinceBoot, since_boot};
use crate::context::Context;
use crate::instances::Instances;
use crate::leave;
use crate::outbox::ReportBatch;

/// Heartbeats without an answer that end a session.
const MISSED: u64 = 3;
/// What was refused for now is sent again after this.
const RESEND: Duration = Duration::from_millis(500);
/// Bounds of the heartbeat interval a control node may ask for.
const HEARTBEAT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(30));

/// One session after its welcome.
pub(super) struct Exchange {
    context: Arc<Context>,
    instances: Arc<Instances>,
    info: watch::Receiver<NodeInfo>,
    connector: Arc<dyn ControlConnector>,
    outgoing: mpsc::Sender<AgentMessage>,
    logs: Streams,
    execs: Execs,
    questions: Questions,
    epoch: u64,
    beat: Duration,
    /// Heartbeats sent, and the newest one answered.
    beats: (u64, u64),
    /// When those that are not answered yet were sent.
    sent: VecDeque<SinceBoot>,
    sequence: u64,
    claim: Turn<Vec<InstanceId>>,
    report: Turn<ReportBatch>,
}

/// Claims and reports take turns: one message is under way at a time, so that reports stay in order.
struct Turn<T> {
    under_way: Option<(u64, T, Instant)>,
    not_before: Option<Instant>,
}

impl<T> Turn<T> {
    const fn new() -> Self {
        Self { under_way: None, not_before: None }
    }

    fn is_free(&self) -> bool {
        self.under_way.is_none() && self.not_before.is_none_or(|at| at <= Instant::now())
    }

    fn begin(&mut self, sequence: u64, what: T, patience: Duration) {
        (self.under_way, self.not_before) = (Some((sequence, what, Instant::now() + patience)), None);
    }

    /// What was answered; None for an answer nobody waits for.
    fn answered(&mut self, sequence: u64) -> Option<T> {
        let (_, what, _) = self.under_way.take_if(|(number, ..)| *number == sequence)?;
        Some(what)
    }

    fn again_later(&mut self) {
        self.not_before = Some(Instant::now() + RESEND);
    }

    fn is_overdue(&self) -> bool {
        self.under_way.as_ref().is_some_and(|(_, _, deadline)| *deadline <= Instant::now())
    }
}

/// Both streams, `first` whenever it has something.
pub(super) fn prefer<T>(first: impl Stream<Item = T>, second: impl Stream<Item = T>) -> impl Stream<Item = T> {
    select_with_strategy(first, second, |(): &mut ()| PollNext::Left)
}

impl Exchange {
    /// Goes on from a welcome.
    pub(super) fn new(context: Arc<Context>, instances: Arc<Instances>, open: &Open, info: watch::Receiver<NodeInfo>) -> Self {
        let beat = Duration::from_millis(open.welcome.heartbeat_interval_ms).clamp(HEARTBEAT.0, HEARTBEAT.1);
        let questions = Questions::new(Arc::clone(&context), Arc::clone(&instances), open.logs.clone());
        Self {
            context,
            instances,
            info,
            connector: Arc::clone(&open.connector),
            outgoing: open.outgoing.clone(),
            logs: logs::streams(open.logs.clone()),
            execs: Execs::new(open.logs.clone()),
            questions,
            epoch: open.welcome.epoch,
            beat,
            beats: (0, 0),
            sent: VecDeque::new(),
            sequence: 0,
            claim: Turn::new(),
            report: Turn::new(),
        }
    }

    /// Talks until the session ends.
    pub(super) async fn run(mut self, mut inbound: Streaming<ControlMessage>, addresses: &mut Addresses) -> End {
        let mut ticks = interval(self.beat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let context = Arc::clone(&self.context);
        let mut info = self.info.clone();
        let mut leaving = None;
        loop {
            let result = tokio::select! {
                message = inbound.next() => self.hear(message, addresses),
                _ = ticks.tick() => self.tick(),
                () = context.outbox.changed() => Ok(()),
                () = context.leave.wanted(), if leaving.is_none() => {
                    leaving = Some(Instant::now());
                    Ok(())
                }
                () = leave::turn(leaving) => {
                    leaving = Some(Instant::now() + leave::ASK);
                    context.leave.request().map_or(Ok(()), |request| self.send(Ours::Leave(request)))
                }
                Ok(()) = info.changed() => {
                    let info = Some(info.borrow_and_update().to_wire());
                    self.send(Ours::Info(NodeInfoUpdate { info }))
                }
            };
            if let Err(end) = result.and_then(|()| self.send_waiting()) {
                return end;
            }
        }
    }

    fn send(&self, message: Ours) -> Result<(), End> {
        let sent = self.outgoing.try_send(AgentMessage { message: Some(message) });
        sent.map_err(|_| End::Lost("the control node does not read".into()))
    }

    /// Sends the answer to something that cannot begin.
    fn answer(&self, answer: Option<AgentMessage>) -> Result<(), End> {
        answer.and_then(|answer| answer.message).map_or(Ok(()), |message| self.send(message))
    }

    fn runtime_of(&self, instance: &str) -> Option<Arc<dyn Runtime>> {
        wire::instance(instance).ok().and_then(|id| self.instances.runtime_of(id))
    }

    fn tick(&mut self) -> Result<(), End> {
        if self.beats.0 - self.beats.1 >= MISSED {
            return Err(End::Lost(format!("{MISSED} heartbeats without an answer")));
        }
        if self.claim.is_overdue() || self.report.is_overdue() {
            return Err(End::Lost("a claim or report was not answered".into()));
        }
        if self.instances.mind_contact()
            && let Err(error) = self.context.contact.keep()
        {
            tracing::warn!(%error, "the last contact is not kept: after a restart of the agent it counts from then");
        }
        self.beats.0 += 1;
        self.sent.push_back(since_boot());
        self.send(Ours::Heartbeat(Heartbeat { sequence: self.beats.0, usage: self.context.unsent.take() }))
    }

    /// Sends the claims and reports that wait, when it is their turn.
    fn send_waiting(&mut self) -> Result<(), End> {
        let patience = self.context.timing.answer_timeout;
        if self.claim.is_free() {
            let claims = self.context.outbox.claims();
            if !claims.is_empty() {
                self.sequence += 1;
                let instance_ids = claims.iter().map(ToString::to_string).collect();
                self.send(Ours::Claim(ClaimRequest { sequence: self.sequence, epoch: self.epoch, instance_ids }))?;
                self.claim.begin(self.sequence, claims, patience);
            }
        }
        if self.report.is_free() {
            let batch = self.context.outbox.reports();
            if !batch.reports.is_empty() {
                self.sequence += 1;
                let reports = batch.reports.iter().map(ring_proto::Wire::to_wire).collect();
                self.send(Ours::Report(ReportRequest { sequence: self.sequence, reports }))?;
                self.report.begin(self.sequence, batch, patience);
            }
        }
        Ok(())
    }

    fn hear(&mut self, message: Option<Result<ControlMessage, tonic::Status>>, addresses: &mut Addresses) -> Result<(), End> {
        let message = match message {
            Some(Ok(message)) => message.message,
            Some(Err(status)) => return Err(End::Lost(format!("{}: {}", status.code(), status.message()))),
            None => return Err(End::Lost("the control node ended it".into())),
        };
        match message {
            Some(Theirs::Heartbeat(reply)) => self.heard(reply.sequence),
            Some(Theirs::Assignments(message)) => {
                let assigned = wire::assigned(message).map_err(|why| End::Lost(format!("unreadable assignments: {why}")))?;
                tracing::debug!(revision = %assigned.revision, complete = assigned.complete, named = assigned.named.len(), "assignments");
                self.instances.assign(assigned);
            }
            Some(Theirs::Claim(reply)) => self.claim_answered(reply),
            Some(Theirs::Report(reply)) => self.report_answered(&reply),
            Some(Theirs::Leave(reply)) => self.context.leave.answered(reply),
            Some(Theirs::LogStart(start)) => {
                let runtime = self.runtime_of(&start.instance_id);
                let answer = logs::start(&mut self.logs, runtime, &start);
                self.answer(answer)?;
            }
            Some(Theirs::ExecStart(start)) => {
                let runtime = self.runtime_of(&start.instance_id);
                let answer = self.execs.start(runtime, start);
                self.answer(answer)?;
            }
            Some(Theirs::ExecInput(input)) => {
                let answer = self.execs.input(input);
                self.answer(answer)?;
            }
            Some(Theirs::Question(question)) => {
                if let Some(answer) = self.questions.ask(question) {
                    self.send(answer)?;
                }
            }
            Some(Theirs::Authorities(now)) => self.connector.authorities(&now.fingerprints, now.confirm),
            Some(Theirs::ControlNodes(nodes)) => addresses.learn(&nodes.addresses),
            Some(Theirs::LogCredit(credit)) => {
                self.logs.credit(credit.stream, credit.messages);
                self.execs.credit(credit.stream, credit.messages);
            }
            Some(Theirs::StreamCancel(cancel)) => {
                self.logs.cancel(cancel.stream);
                self.execs.cancel(cancel.stream);
                self.questions.cancel(cancel.stream);
            }
            Some(Theirs::Goodbye(goodbye)) if goodbye.fatal => return Err(End::Dismissed(goodbye.reason)),
            Some(Theirs::Goodbye(goodbye)) => return Err(End::Lost(format!("goodbye: {}", goodbye.reason))),
            // A second welcome says nothing new; an empty message is one of a later release.
            Some(Theirs::Welcome(_)) | None => {}
        }
        Ok(())
    }

    /// A heartbeat was answered, and with it those before.
    fn heard(&mut self, sequence: u64) {
        while self.beats.1 < sequence.min(self.beats.0) {
            self.beats.1 += 1;
            if let Some(sent) = self.sent.pop_front() {
                self.context.contact.heard(sent);
            }
        }
    }

    fn claim_answered(&mut self, reply: ClaimReply) {
        let Some(mut asked) = self.claim.answered(reply.sequence) else { return };
        if !reply.error.is_empty() {
            tracing::warn!(error = reply.error, "a claim was not decided, asking again");
            self.claim.again_later();
            return;
        }
        for result in reply.results {
            let Ok(instance) = wire::instance(&result.instance_id) else { continue };
            asked.retain(|waiting| *waiting != instance);
            self.context.outbox.drop_claim(instance);
            self.instances.claimed(instance, wire::claim_answer(result));
        }
        if !asked.is_empty() {
            self.claim.again_later();
        }
    }

    fn report_answered(&mut self, reply: &ReportReply) {
        let Some(batch) = self.report.answered(reply.sequence) else { return };
        if !reply.error.is_empty() {
            tracing::warn!(error = reply.error, "a report was not committed, sending it again");
            self.report.again_later();
            return;
        }
        if !reply.refused.is_empty() {
            tracing::error!(code = reply.refused, "a report was about instances that are not this node's, and was passed over");
        }
        for (instance, state) in self.context.outbox.committed(batch) {
            self.instances.acknowledged(instance, state);
        }
    }
}
