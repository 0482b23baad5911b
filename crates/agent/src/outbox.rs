//! What waits to be sent to the control plane: claims asked for, and reports until they are committed.
//!
//! It holds at most one claim and one report an instance, so it is bounded by what this node runs; a session that ends
//! takes nothing with it. A report that replaces one says all that one said and was not committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ring_state::InstanceReport;
use ring_types::{InstanceId, InstanceState};
use tokio::sync::Notify;

/// Claims or reports of one message.
const BATCH: usize = 256;

/// The outbox of the agent.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    claims: BTreeSet<InstanceId>,
    /// In the order they were made.
    reports: BTreeMap<u64, InstanceReport>,
    /// Where the report of an instance is.
    report_of: BTreeMap<InstanceId, u64>,
    last: u64,
}

/// Reports that are under way.
#[derive(Debug, Default)]
pub(crate) struct ReportBatch {
    pub(crate) reports: Vec<InstanceReport>,
    numbers: Vec<u64>,
}

impl Outbox {
    /// Asks for the claim of an instance, until it is answered.
    pub(crate) fn ask_claim(&self, instance: InstanceId) {
        self.waiting().claims.insert(instance);
        self.changed.notify_one();
    }

    /// The claim is answered, or not wanted any more.
    pub(crate) fn drop_claim(&self, instance: InstanceId) {
        self.waiting().claims.remove(&instance);
    }

    /// Queues a report. It takes the place of an earlier one of the same instance, and what that said beside.
    pub(crate) fn report(&self, mut report: InstanceReport) {
        let mut waiting = self.waiting();
        waiting.last += 1;
        let number = waiting.last;
        if let Some(place) = waiting.report_of.insert(report.instance, number)
            && let Some(earlier) = waiting.reports.remove(&place)
        {
            complete(&mut report, earlier);
        }
        waiting.reports.insert(number, report);
        drop(waiting);
        self.changed.notify_one();
    }

    /// Forgets what waits for an instance that is not this node's any more.
    pub(crate) fn forget(&self, instance: InstanceId) {
        let mut waiting = self.waiting();
        waiting.claims.remove(&instance);
        if let Some(number) = waiting.report_of.remove(&instance) {
            waiting.reports.remove(&number);
        }
    }

    /// The claims to send next; they stay until they are answered.
    pub(crate) fn claims(&self) -> Vec<InstanceId> {
        self.waiting().claims.iter().take(BATCH).copied().collect()
    }

    /// The reports to send next, oldest first; they stay until [`Outbox::committed`].
    pub(crate) fn reports(&self) -> ReportBatch {
        let waiting = self.waiting();
        let (numbers, reports) = waiting.reports.iter().take(BATCH).map(|(number, report)| (*number, report.clone())).unzip();
        ReportBatch { reports, numbers }
    }

    /// These reports are committed: they go, but for those a newer one has replaced meanwhile. Says what was told.
    pub(crate) fn committed(&self, batch: ReportBatch) -> Vec<(InstanceId, InstanceState)> {
        let mut waiting = self.waiting();
        for (number, report) in batch.numbers.iter().zip(&batch.reports) {
            if waiting.reports.remove(number).is_some() {
                waiting.report_of.remove(&report.instance);
            }
        }
        batch.reports.iter().map(|report| (report.instance, report.state)).collect()
    }

    /// Returns when something was put in since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds what an earlier report said and this one does not.
fn complete(report: &mut InstanceReport, earlier: InstanceReport) {
    let InstanceReport { instance: _, state, address, image_digest, started_at, exit, health, cut_off: _ } = earlier;
    report.state = report.state.max(state);
    report.address = report.address.take().or(address);
    report.image_digest = report.image_digest.take().or(image_digest);
    report.started_at = report.started_at.or(started_at);
    report.exit = report.exit.take().or(exit);
    report.health = report.health.take().or(health);
}

#[cfg(test)]
mod tests {
    use ring_types::Health;
    use uuid::Uuid;

    use super::*;

    fn report(n: u128, state: InstanceState) -> InstanceReport {
        let instance = InstanceId(Uuid::from_u128(n));
        InstanceReport::of(instance, state)
    }

    #[test]
    fn reports_leave_in_order_and_only_once_committed() {
        let outbox = Outbox::default();
        for n in [3, 1, 2] {
            outbox.report(report(n, InstanceState::Running));
        }
        let batch = outbox.reports();
        let order: Vec<_> = batch.reports.iter().map(|report| report.instance.0.as_u128()).collect();
        assert_eq!(order, [3, 1, 2]);
        assert_eq!(outbox.reports().reports.len(), 3, "sent is not committed");
        outbox.committed(batch);
        assert_eq!(outbox.reports().reports, []);
    }

    #[test]
    fn a_newer_report_survives_the_commit_of_an_older_one() {
        let outbox = Outbox::default();
        outbox.report(report(1, InstanceState::Running));
        let batch = outbox.reports();
        outbox.report(report(1, InstanceState::Exited));
        outbox.committed(batch);
        assert_eq!(outbox.reports().reports, [report(1, InstanceState::Exited)]);
    }

    #[test]
    fn a_later_report_keeps_what_was_not_committed_of_the_one_before() {
        let outbox = Outbox::default();
        let health = |ready| Some(Health { ready, failing: Vec::new() });
        let first = InstanceReport { address: Some("10.0.0.1".into()), ..report(1, InstanceState::Running) };
        outbox.report(InstanceReport { health: health(false), ..first.clone() });
        outbox.report(InstanceReport { health: health(true), ..report(1, InstanceState::Running) });
        let both = InstanceReport { health: health(true), ..first };
        assert_eq!(outbox.reports().reports, std::slice::from_ref(&both), "the latest health, and the address");
        let batch = outbox.reports();
        outbox.report(report(1, InstanceState::Exited));
        outbox.committed(batch);
        let last = InstanceReport { state: InstanceState::Exited, ..both };
        assert_eq!(outbox.reports().reports, [last], "the state does not take the health with it");
    }
}
