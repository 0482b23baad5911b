//! What an agent asks to have committed: claims and reports, one entry for each batch.

use std::collections::BTreeMap;

use ring_proto::Wire;
use ring_proto::agent::v1::{ClaimReply, ClaimRequest, ClaimResult, ReportReply, ReportRequest};
use ring_state::{Command, InstanceReport, Reply, State};
use ring_store::Store;
use ring_types::{EnvValue, Epoch, InstanceId, NodeId, RequestId};

use super::service::SessionContext;
use crate::secrets;

/// Commits a claim and opens the secrets of what was granted.
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
    let result = |outcome: ring_state::ClaimOutcome| {
        let granted =
            ClaimResult { instance_id: outcome.instance.to_string(), granted: outcome.granted, ..ClaimResult::default() };
        if outcome.granted { with_secrets(context, &state, outcome.instance, granted) } else { granted }
    };
    Ok(outcomes.into_iter().map(result).collect())
}

fn with_secrets(context: &SessionContext, state: &State, instance: InstanceId, granted: ClaimResult) -> ClaimResult {
    match environment(context, state, instance) {
        Ok(secret_environment) => ClaimResult { secret_environment, ..granted },
        Err(config_error) => ClaimResult { config_error, ..granted },
    }
}

/// The variables of an instance that come from secrets, in clear.
fn environment(context: &SessionContext, state: &State, instance: InstanceId) -> Result<BTreeMap<String, String>, String> {
    let deployment = state.instance(instance).and_then(|i| state.deployment(i.deployment));
    let Some(deployment) = deployment else { return Ok(BTreeMap::new()) };
    let spec = &deployment.spec;
    let references = spec.environment.iter().filter_map(|(variable, value)| match value {
        EnvValue::Secret(name) => Some((variable, name)),
        EnvValue::Plain(_) => None,
    });
    references
        .map(|(variable, name)| {
            let clear = secrets::open(&context.secret, state, &spec.namespace, name)?;
            Ok((variable.clone(), clear))
        })
        .collect()
}

/// Commits what a node saw.
pub(super) async fn report(context: &SessionContext, node: NodeId, request: ReportRequest) -> ReportReply {
    let sequence = request.sequence;
    let error = commit(context, node, request).await.err().unwrap_or_default();
    ReportReply { sequence, error }
}

async fn commit(context: &SessionContext, node: NodeId, request: ReportRequest) -> Result<(), String> {
    let reports: Result<Vec<_>, _> = request.reports.into_iter().map(InstanceReport::from_wire).collect();
    let command = Command::Report { node, reports: reports.map_err(|e| e.to_string())? };
    let done = context.store.propose(RequestId::NONE, command).await.map_err(|e| e.to_string())?;
    match done.reply {
        Reply::Refused(refusal) => Err(refusal.message),
        _ => Ok(()),
    }
}

/// This node's state once it has the entry at `revision`; None when the store is shut down first.
pub(crate) async fn state_at(store: &Store, revision: ring_types::Revision) -> Option<State> {
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
