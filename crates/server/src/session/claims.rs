//! What an agent asks to have committed: claims and reports, one entry for each batch.

use std::time::Instant;

use ring_proto::Wire;
use ring_proto::agent::v1::{ClaimReply, ClaimRequest, ClaimResult, ReportReply, ReportRequest};
use ring_state::{ClaimOutcome, Command, InstanceReport, REPORTS_SAY_EPOCH, Reply, State};
use ring_store::Store;
use ring_types::{Epoch, InstanceId, Level, NodeId, Outcome, RequestId, UnknownExit};

use super::provision;
use super::service::SessionContext;

/// Most bytes of one answer; an agent reads messages of up to 64 MiB.
const MOST_BYTES: usize = 32 << 20;
/// What an agent is told whose reports are about instances of other nodes.
const STRANGE: &str = "report.not_yours";

/// Commits a claim, and gives what was granted with what it needs.
pub(super) async fn claim(context: &SessionContext, node: NodeId, request: &ClaimRequest) -> ClaimReply {
    let answer = decide(context, node, request).await;
    let (results, error) = match answer {
        Ok(results) => (results, String::new()),
        Err(why) => (Vec::new(), why),
    };
    ClaimReply { sequence: request.sequence, results, error }
}

async fn decide(context: &SessionContext, node: NodeId, request: &ClaimRequest) -> Result<Vec<ClaimResult>, String> {
    let instances: Result<Vec<InstanceId>, _> = request.instance_ids.iter().map(|id| id.parse()).collect();
    let instances = instances.map_err(|_| "the claim has something that is not an instance id".to_owned())?;
    let command = Command::Claim { node, epoch: Epoch(request.epoch), instances };
    let done = context.store.propose(RequestId::NONE, command).await.map_err(|e| e.to_string())?;
    let outcomes = match done.reply {
        Reply::Claims(outcomes) => outcomes,
        Reply::Refused(refusal) => return Err(refusal.message),
        other => return Err(format!("unexpected answer {other:?}")),
    };
    let state = state_at(&context.store, done.revision).await.ok_or("this control node is stopping")?;
    Ok(answers(context, &state, outcomes))
}

/// Answers up to a size; the agent asks again for what is left out, and is granted it again.
fn answers(context: &SessionContext, state: &State, outcomes: Vec<ClaimOutcome>) -> Vec<ClaimResult> {
    let (mut results, mut bytes) = (Vec::with_capacity(outcomes.len()), 0);
    for ClaimOutcome { instance, granted } in outcomes {
        let result = ClaimResult { instance_id: instance.to_string(), granted, ..ClaimResult::default() };
        let result = if granted { provision::fill(&context.secret, state, instance, result) } else { result };
        bytes += provision::weight(&result);
        if bytes > MOST_BYTES && !results.is_empty() {
            break;
        }
        results.push(result);
    }
    results
}

/// Commits what a node saw. What it says of instances of other nodes is passed over, and it is told so.
pub(super) async fn report(context: &SessionContext, (node, epoch): (NodeId, Epoch), request: ReportRequest) -> ReportReply {
    let (sequence, mut refused) = (request.sequence, String::new());
    let error = match read(request) {
        Ok(mut reports) => {
            let level = context.store.local().level();
            if level == Level::FIRST {
                reports.iter_mut().for_each(as_before);
            }
            if pass_over_strange(context, node, &mut reports) {
                STRANGE.clone_into(&mut refused);
            }
            let epoch = (level >= REPORTS_SAY_EPOCH).then_some(epoch);
            commit(context, node, epoch, reports).await.err().unwrap_or_default()
        }
        Err(why) => why,
    };
    ReportReply { sequence, error, refused }
}

/// In the words of the first level, which has none for virtual machines.
fn as_before(report: &mut InstanceReport) {
    let outcome = report.exit.as_mut().map(|exit| &mut exit.outcome);
    if let Some(outcome) = outcome.filter(|outcome| **outcome == Outcome::Unknown(UnknownExit::VmLost)) {
        *outcome = Outcome::Unknown(UnknownExit::InstanceVanished);
    }
}

fn read(request: ReportRequest) -> Result<Vec<InstanceReport>, String> {
    let reports = request.reports.into_iter().map(InstanceReport::from_wire);
    reports.collect::<Result<_, _>>().map_err(|error| error.to_string())
}

/// Takes out what is about instances that are bound to other nodes. An instance stays on its node from first to last, so an agent
/// in good order never says anything of another's; of one that is not known any more it may.
fn pass_over_strange(context: &SessionContext, node: NodeId, reports: &mut Vec<InstanceReport>) -> bool {
    let (state, before) = (context.store.local(), reports.len());
    reports.retain(|report| state.instance(report.instance).is_none_or(|instance| instance.node == node));
    let strange = before - reports.len();
    if strange == 0 {
        return false;
    }
    if let Some(count) = context.refusals.strange(node, strange as u64, Instant::now()) {
        tracing::warn!(%node, count, "an agent reports about instances of other nodes, which changes nothing: look at that host");
    }
    true
}

async fn commit(
    context: &SessionContext,
    node: NodeId,
    epoch: Option<Epoch>,
    reports: Vec<InstanceReport>,
) -> Result<(), String> {
    if reports.is_empty() {
        return Ok(());
    }
    let command = Command::Report { node, epoch, reports };
    let done = context.store.propose(RequestId::NONE, command).await.map_err(|e| e.to_string())?;
    match done.reply {
        Reply::Refused(refusal) => Err(refusal.message),
        _ => Ok(()),
    }
}

/// This node's state once it has the entry at `revision`; None when the store is shut down first.
pub(crate) async fn state_at(store: &Store, revision: ring_types::Revision) -> Option<State> {
    let state = store.local();
    if state.revision() >= revision {
        return Some(state);
    }
    let mut watch = store.watch();
    let mut state = watch.state;
    while state.revision() < revision {
        state = match watch.changes.next().await? {
            ring_store::Update::Change(change) => change.state,
            ring_store::Update::Lagged { state } => state,
        };
    }
    Some(state)
}
