//! An agent that is about to stop has its node emptied.

use ring_proto::agent::v1::{LeaveReply, LeaveRequest};
use ring_state::{AuditNote, AuditedCommand, Command, NodeUpdate, Reply, State};
use ring_types::{NodeId, RequestId, Span};

use super::claims::state_at;
use super::service::SessionContext;

/// Begins to empty the node, unless that has begun, and says how much is left.
pub(super) async fn leave(context: &SessionContext, node: NodeId, request: &LeaveRequest) -> LeaveReply {
    match begin(context, node, Span(request.within_ms)).await {
        Ok(state) => {
            let left = state.instances_on(node).filter(|instance| instance.state.is_live()).count();
            LeaveReply { left: u32::try_from(left).unwrap_or(u32::MAX), ..LeaveReply::default() }
        }
        Err(reply) => reply,
    }
}

async fn begin(context: &SessionContext, node: NodeId, within: Span) -> Result<State, LeaveReply> {
    let undecided = |error: String| LeaveReply { error, ..LeaveReply::default() };
    let state = context.store.local();
    if state.node(node).is_some_and(|known| known.drain.is_some()) {
        return Ok(state);
    }
    let served_by = state.member(context.store.status().id).map(|member| member.name.to_string()).unwrap_or_default();
    let update = NodeUpdate { drain: Some(within), until_return: true, ..NodeUpdate::of(node) };
    let note = AuditNote::unattended("node.update", "server.agent.drain_on_stop", served_by);
    let command = Command::Audited(Box::new(AuditedCommand { note, command: Box::new(Command::UpdateNode(update)) }));
    let done = context.store.propose(RequestId::NONE, command).await.map_err(|e| undecided(e.to_string()))?;
    if let Reply::Refused(refusal) = done.reply {
        return Err(LeaveReply { refused: refusal.message, ..LeaveReply::default() });
    }
    state_at(&context.store, done.revision).await.ok_or_else(|| undecided("this control node is stopping".to_owned()))
}
