//! Waiting for deployments: polls until each is where it should be, whatever control nodes do meanwhile.

use std::time::Duration;

use ring_api::client::{Client, ClientError};
use ring_api::model::Deployment;
use ring_api::query::{DeploymentQuery, LogQuery};
use ring_types::{DeploymentId, DeploymentStatus, Kind};
use tokio::time::{Instant, sleep, timeout};

use crate::error::CliError;
use crate::output::{Board, note};
use crate::resolve::Named;
use crate::time::took;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// It left `pending` and `creating`.
    Started,
    /// A job completed; a worker runs and is ready with every replica, and nothing of it is being updated.
    Done,
    /// It has this status.
    Status(DeploymentStatus),
}

/// How far a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    NotYet,
    Reached,
    /// It is somewhere from where it does not get there.
    Missed,
}

/// A wait for some deployments.
pub(crate) struct Wait<'a> {
    pub(crate) client: &'a Client,
    pub(crate) until: Until,
    pub(crate) timeout: Option<Duration>,
}

/// First pause between two looks; grows to the longest.
pub(super) const PAUSE: Duration = Duration::from_millis(10);
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long no control node may serve before waiting is given up.
pub(super) const OUTAGE: Duration = Duration::from_mins(2);

/// Log lines shown of one that failed.
const LAST_LINES: u32 = 20;

/// Up to so many are asked for one by one; more, in one list.
const FEW: usize = 4;

type Watched = (DeploymentId, String);

impl Wait<'_> {
    /// Waits for all of them. Returns each as it was when it got there; one that misses ends the wait at once.
    ///
    /// # Errors
    /// [`CliError::Failed`], [`CliError::TimedOut`], [`CliError::Interrupted`] (Ctrl-C), or what the API says.
    pub(crate) async fn run(&self, watched: Vec<Watched>) -> Result<Vec<Deployment>, CliError> {
        let mut board = Board::start();
        let limit = self.timeout.unwrap_or(Duration::MAX);
        let mut open = watched;
        let mut reached = Vec::new();
        let result = tokio::select! {
            result = timeout(limit, self.poll(&mut open, &mut reached, &mut board)) => result,
            _ = tokio::signal::ctrl_c() => return Err(CliError::Interrupted),
        };
        drop(board);
        match result {
            Ok(done) => done.map(|()| reached),
            Err(_) => Err(CliError::TimedOut(self.still_open(&open))),
        }
    }

    fn still_open(&self, open: &[Watched]) -> String {
        let names: Vec<_> = open.iter().map(|(_, name)| format!("'{name}'")).collect();
        let after = self.timeout.map(|limit| took(limit.into())).unwrap_or_default();
        let wanted = match self.until {
            Until::Started => "started".to_owned(),
            Until::Done => "done".to_owned(),
            Until::Status(status) => status.to_string(),
        };
        format!("after {after} not {wanted}: {}", names.join(", "))
    }

    async fn poll(&self, open: &mut Vec<Watched>, reached: &mut Vec<Deployment>, board: &mut Board) -> Result<(), CliError> {
        let mut pause = PAUSE;
        let mut last_answer = Instant::now();
        let mut said = String::new();
        loop {
            match self.look(open).await {
                Ok(found) => {
                    last_answer = Instant::now();
                    self.sort(&found, open, reached, board).await?;
                    tell(&found, open, board, &mut said);
                }
                Err(error) if error.retryable() && last_answer.elapsed() < OUTAGE => board.say(error.to_string()),
                Err(error) => return Err(error.into()),
            }
            if open.is_empty() {
                return Ok(());
            }
            sleep(pause).await;
            pause = pause.mul_f32(1.5).min(LONGEST_PAUSE);
        }
    }

    /// The open ones as they are now; one that is gone is missing.
    async fn look(&self, open: &[Watched]) -> Result<Vec<Deployment>, ClientError> {
        if open.len() <= FEW {
            let mut found = Vec::new();
            for (id, _) in open {
                match self.client.deployment(*id).await {
                    Ok(deployment) => found.push(deployment),
                    Err(error) if error.status() == Some(404) => {}
                    Err(error) => return Err(error),
                }
            }
            return Ok(found);
        }
        let namespace = |name: &String| name.split_once('/').map(|(namespace, _)| namespace.to_owned());
        let mut namespaces: Vec<_> = open.iter().filter_map(|(_, name)| namespace(name)).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        let mut all = self.client.deployments(&DeploymentQuery { namespaces, ..Default::default() }).await?;
        all.retain(|deployment| open.iter().any(|(id, _)| *id == deployment.id));
        Ok(all)
    }

    /// Moves what got there out of `open`.
    async fn sort(
        &self,
        found: &[Deployment],
        open: &mut Vec<Watched>,
        reached: &mut Vec<Deployment>,
        board: &mut Board,
    ) -> Result<(), CliError> {
        let width = width(open);
        for (id, name) in std::mem::take(open) {
            let Some(deployment) = found.iter().find(|deployment| deployment.id == id) else {
                if self.until == Until::Status(DeploymentStatus::Deleted) || self.until == Until::Started {
                    board.end(&name, &format!("{name:<width$}  deleted"), self.until != Until::Started);
                    continue;
                }
                let message = format!("deployment '{name}' was deleted");
                return Err(CliError::Failed { message, details: Vec::new(), hint: None });
            };
            match judge(self.until, deployment) {
                Verdict::Reached => {
                    board.end(&name, &last_line(deployment, width), is_well(deployment.status));
                    reached.push(deployment.clone());
                }
                Verdict::NotYet => open.push((id, name)),
                Verdict::Missed => {
                    board.end(&name, &last_line(deployment, width), false);
                    return Err(explain(self.client, deployment).await.into());
                }
            }
        }
        Ok(())
    }
}

/// Why something is not well, and what to do.
pub(crate) struct Explanation {
    message: String,
    /// The last it wrote.
    lines: Vec<String>,
    hint: String,
}

impl Explanation {
    /// As one warning.
    pub(crate) fn warning(&self) -> String {
        let lines: Vec<_> = self.lines.iter().map(|line| format!("\n  {line}")).collect();
        format!("{}{}\nhint: {}", self.message, lines.concat(), self.hint)
    }
}

impl From<Explanation> for CliError {
    fn from(explanation: Explanation) -> Self {
        let Explanation { message, lines, hint } = explanation;
        Self::Failed { message, details: lines, hint: Some(hint) }
    }
}

/// What happened to a deployment, with the last it wrote.
pub(crate) async fn explain(client: &Client, deployment: &Deployment) -> Explanation {
    let query = LogQuery { tail: Some(LAST_LINES), ..LogQuery::default() };
    // Logs help, but their absence (nothing started, its node is gone) does not change what happened.
    let (lines, _) = client.logs(deployment.id, &query).await.unwrap_or_default();
    let surplus = lines.len().saturating_sub(LAST_LINES as usize);
    Explanation {
        message: format!("deployment '{}' {}", deployment.full_name(), summary(deployment)),
        lines: lines.into_iter().skip(surplus).map(|line| line.line).collect(),
        hint: hint(deployment),
    }
}

/// It got where it was to get.
pub(crate) const fn is_well(status: DeploymentStatus) -> bool {
    matches!(status, DeploymentStatus::Running | DeploymentStatus::Completed)
}

/// Room for the longest name.
fn width(open: &[Watched]) -> usize {
    open.iter().map(|(_, name)| name.chars().count()).max().unwrap_or(0)
}

/// Where a deployment is, in columns: name, status, replicas, nodes; and why it is not further.
fn line(deployment: &Deployment, width: usize) -> String {
    let name = deployment.full_name();
    let ready = deployment.ready_replicas.unwrap_or(deployment.replicas);
    let replicas = match deployment.kind {
        Kind::Worker => format!("{ready}/{}", deployment.desired_replicas),
        Kind::Job => String::new(),
    };
    let why = deployment.message.iter().cloned();
    let rest = Some(deployment.nodes().join(",")).filter(|nodes| !nodes.is_empty()).into_iter().chain(why);
    let text = format!("{name:<width$}  {:<9}  {replicas:>5}  {}", deployment.status, rest.collect::<Vec<_>>().join("  "));
    text.trim_end().to_owned()
}

/// The line that stays.
fn last_line(deployment: &Deployment, width: usize) -> String {
    if deployment.kind == Kind::Worker && is_well(deployment.status) {
        return line(deployment, width);
    }
    // What went wrong is told at length below.
    let told = if is_well(deployment.status) { summary(deployment) } else { deployment.status.to_string() };
    format!("{:<width$}  {told}", deployment.full_name())
}

/// Says on a terminal what is going on; anywhere else why something waits, once.
fn tell(found: &[Deployment], open: &[Watched], board: &mut Board, said: &mut String) {
    let width = width(open);
    let waiting = found.iter().filter(|deployment| open.iter().any(|(id, _)| *id == deployment.id));
    let mut reasons = Vec::new();
    for deployment in waiting {
        board.show(&deployment.full_name(), line(deployment, width));
        if let Some(message) = deployment.message.as_deref().filter(|_| deployment.status == DeploymentStatus::Pending) {
            reasons.push(format!("{} waits: {message}", deployment.full_name()));
        }
    }
    board.shown();
    let reasons = reasons.join("\n");
    if !reasons.is_empty() && reasons != *said && !board.is_seen() {
        note(&reasons);
        *said = reasons;
    }
}

/// It waits for something that will not come by itself: what it depends on has failed. Or it does not exist, which somebody
/// else may be about to change.
fn waits_in_vain(deployment: &Deployment, or_missing: bool) -> bool {
    let reason = deployment.reason.as_deref();
    deployment.status == DeploymentStatus::Pending
        && (reason == Some("dependency_failed") || (or_missing && reason == Some("dependency_missing")))
}

fn judge(until: Until, deployment: &Deployment) -> Verdict {
    use DeploymentStatus::{Completed, Creating, Deleted, Pending, Running};
    let status = deployment.status;
    match until {
        Until::Started => match status {
            Pending if waits_in_vain(deployment, true) => Verdict::Reached,
            Pending | Creating => Verdict::NotYet,
            _ => Verdict::Reached,
        },
        Until::Done if waits_in_vain(deployment, false) => Verdict::Missed,
        Until::Done => match (deployment.kind, status) {
            (Kind::Job, Completed) => Verdict::Reached,
            (Kind::Worker, _) if deployment.is_ready() => Verdict::Reached,
            (_, Pending | Creating | Running) => Verdict::NotYet,
            _ => Verdict::Missed,
        },
        Until::Status(wanted) if wanted == status => Verdict::Reached,
        Until::Status(_) if status.is_final() || status == Deleted => Verdict::Missed,
        Until::Status(_) => Verdict::NotYet,
    }
}

/// Status, and what is known of how it came to it: `failed: exit code 7 after 3.2s on host-1`.
pub(crate) fn summary(deployment: &Deployment) -> String {
    let mut parts = Vec::new();
    if let Some(exit) = &deployment.exit_status {
        match (exit.signal, exit.code) {
            (Some(signal), _) if exit.oom_killed => parts.push(format!("out of memory, ended by signal {signal}")),
            (Some(signal), code) => {
                let shell = code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
                parts.push(format!("ended by signal {signal}{shell}"));
            }
            (None, Some(code)) => parts.push(format!("exit code {code}")),
            (None, None) => parts.extend(exit.reason.clone()),
        }
        if let (Some(start), Some(end)) = (exit.started_at, exit.finished_at) {
            parts.push(format!("after {}", took(end.since(start))));
        }
        parts.extend(exit.node.as_ref().map(|node| format!("on {node}")));
    }
    let facts = parts.join(" ");
    let reason = deployment.reason.as_deref().filter(|reason| !facts.contains(reason));
    let why = if is_well(deployment.status) {
        None
    } else {
        deployment.message.as_deref().filter(|message| !repeats(message, deployment)).or(reason)
    };
    let told: Vec<_> = [Some(facts.as_str()).filter(|facts| !facts.is_empty()), why].into_iter().flatten().collect();
    if told.is_empty() { deployment.status.to_string() } else { format!("{}: {}", deployment.status, told.join("; ")) }
}

/// It says no more than the exit status does.
fn repeats(message: &str, deployment: &Deployment) -> bool {
    let code = deployment.exit_status.as_ref().filter(|exit| exit.signal.is_none()).and_then(|exit| exit.code);
    code.is_some_and(|code| message == format!("exited with code {code}"))
}

fn hint(deployment: &Deployment) -> String {
    let id = deployment.id;
    match deployment.status {
        DeploymentStatus::Pending if waits_in_vain(deployment, true) => {
            "it goes on by itself when what it depends on is applied again and gets there".to_owned()
        }
        DeploymentStatus::ImagePullBackOff => {
            format!("check the name '{}' and the credentials under config:", deployment.image)
        }
        DeploymentStatus::ConfigError => {
            "create what it refers to with: ring secret create; see what there is with: ring secret list".to_owned()
        }
        DeploymentStatus::InsufficientResources => "see what the nodes have with: ring node list -o wide".to_owned(),
        DeploymentStatus::Failed | DeploymentStatus::CrashLoopBackOff => {
            format!("all it wrote: ring deployment logs {id}")
        }
        _ => format!("what happened: ring deployment events {id}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::samples::{job, worker};

    #[test]
    fn a_job_is_done_when_it_completed() {
        let mut job = job();
        for (status, verdict) in [
            (DeploymentStatus::Pending, Verdict::NotYet),
            (DeploymentStatus::Running, Verdict::NotYet),
            (DeploymentStatus::Completed, Verdict::Reached),
            (DeploymentStatus::Failed, Verdict::Missed),
            (DeploymentStatus::ImagePullBackOff, Verdict::Missed),
            (DeploymentStatus::InsufficientResources, Verdict::Missed),
        ] {
            job.status = status;
            assert_eq!(judge(Until::Done, &job), verdict, "{status}");
        }
    }

    #[test]
    fn a_worker_is_done_when_every_replica_runs_and_is_ready() {
        let mut worker = worker();
        worker.status = DeploymentStatus::Running;
        worker.replicas = worker.desired_replicas - 1;
        assert_eq!(judge(Until::Done, &worker), Verdict::NotYet);
        worker.replicas = worker.desired_replicas;
        assert_eq!(judge(Until::Done, &worker), Verdict::Reached, "a server that does not know of readiness");
        worker.ready_replicas = Some(worker.desired_replicas - 1);
        assert_eq!(judge(Until::Done, &worker), Verdict::NotYet, "it runs, and is not ready");
        worker.ready_replicas = Some(worker.desired_replicas);
        assert_eq!(judge(Until::Done, &worker), Verdict::Reached);
        worker.conditions = vec![ring_types::Condition::RollingOut];
        assert_eq!(judge(Until::Done, &worker), Verdict::NotYet, "what it takes the place of is still there");
        worker.status = DeploymentStatus::Failed;
        assert_eq!(judge(Until::Done, &worker), Verdict::Missed);
    }

    #[test]
    fn a_start_is_leaving_pending_and_creating_or_not_fitting_anywhere() {
        let mut job = job();
        for (status, verdict) in [
            (DeploymentStatus::Pending, Verdict::NotYet),
            (DeploymentStatus::Creating, Verdict::NotYet),
            (DeploymentStatus::Running, Verdict::Reached),
            (DeploymentStatus::InsufficientResources, Verdict::Reached),
            (DeploymentStatus::ImagePullBackOff, Verdict::Reached),
        ] {
            job.status = status;
            assert_eq!(judge(Until::Started, &job), verdict, "{status}");
        }
    }

    #[test]
    fn what_waits_for_something_that_failed_is_not_waited_for() {
        let mut worker = worker();
        worker.status = DeploymentStatus::Pending;
        for (reason, started, done) in [
            ("dependency_waiting", Verdict::NotYet, Verdict::NotYet),
            ("dependency_missing", Verdict::Reached, Verdict::NotYet),
            ("dependency_failed", Verdict::Reached, Verdict::Missed),
        ] {
            worker.reason = Some(reason.to_owned());
            assert_eq!((judge(Until::Started, &worker), judge(Until::Done, &worker)), (started, done), "{reason}");
        }
    }

    #[test]
    fn another_final_status_misses_the_wanted_one() {
        let mut job = job();
        job.status = DeploymentStatus::Completed;
        assert_eq!(judge(Until::Status(DeploymentStatus::Running), &job), Verdict::Missed);
        assert_eq!(judge(Until::Status(DeploymentStatus::Completed), &job), Verdict::Reached);
        job.status = DeploymentStatus::ImagePullBackOff;
        assert_eq!(judge(Until::Status(DeploymentStatus::Running), &job), Verdict::NotYet);
    }

    #[test]
    fn a_line_of_the_live_view_has_columns() {
        assert_eq!(line(&worker(), 18), "production/api      running      2/3  host-1,host-2");
        let mut waits = worker();
        waits.status = DeploymentStatus::Pending;
        waits.instances = Vec::new();
        waits.message = Some("no node takes 3 of its instances now".to_owned());
        assert_eq!(line(&waits, 14), "production/api  pending      2/3  no node takes 3 of its instances now");
        assert_eq!(last_line(&job(), 20), "production/migrate    failed");
        let done = Deployment { status: DeploymentStatus::Completed, ..job() };
        assert!(last_line(&done, 0).starts_with("production/migrate  completed: exit code"), "{}", last_line(&done, 0));
    }

    #[test]
    fn a_summary_tells_how_it_ended() {
        let mut job = job();
        assert_eq!(summary(&job), "failed: exit code 7 after 3.2s on host-1");
        let exit = job.exit_status.as_mut().unwrap();
        (exit.code, exit.signal, exit.oom_killed) = (Some(137), Some(9), true);
        assert_eq!(summary(&job), "failed: out of memory, ended by signal 9 after 3.2s on host-1");
        let exit = job.exit_status.as_mut().unwrap();
        (exit.code, exit.signal, exit.oom_killed, exit.started_at) = (None, None, false, None);
        exit.reason = Some("node_lost".into());
        job.reason = Some("node_lost".into());
        assert_eq!(summary(&job), "failed: node_lost on host-1");
    }
}
