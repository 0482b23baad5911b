//! `ring cluster snapshot inspect`, `ring cluster snapshot restore` and `ring cluster recover`

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use ring_cli::output::{data, failure_message, note};
use ring_cli::{ClusterRecover, Exit, NodeSettings, SnapshotInspect, SnapshotReport, SnapshotRestore};
use ring_server::node::{
    BackupSummary, NodeError, Recovery, RecoveryPlan, RestoreOptions, Restored, inspect_backup, restore as restore_cluster,
};

use super::options::{prepared_key, settings as node_settings};
use super::reset::with_source;

/// What goes wrong here, and what to do about it.
type Failed = (String, Option<&'static str>);

fn ended(result: Result<(), Failed>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((message, hint)) => failure_message(&message, hint, Exit::General),
    }
}

fn failed(error: &NodeError) -> Failed {
    let hint = match error {
        NodeError::Backup(_) => Some("take another snapshot: this one is of no use"),
        NodeError::SnapshotKey => Some("put the key the cluster was made with into RING_SECRET_KEY, or the file secret-key"),
        NodeError::NoSecretKey(_) => Some("put the secret key of the cluster there, or into RING_SECRET_KEY"),
        NodeError::Joined { .. } | NodeError::HalfMade(_) => {
            Some("use a host, or a data directory, that has nothing of a cluster yet")
        }
        NodeError::NotJoined(_) | NodeError::NotControl(_) => {
            Some("run it on the host of a control node, with the --data-dir it was started with")
        }
        _ => None,
    };
    (with_source(error), hint)
}

/// Checks a snapshot and shows what it is of.
pub(super) fn inspect(args: &SnapshotInspect) -> ExitCode {
    let shown = inspect_backup(&args.file).map_err(|error| failed(&error.into()));
    ended(shown.and_then(|summary| args.show(&report(&summary)).map_err(|error| (error.to_string(), None))))
}

fn report(summary: &BackupSummary) -> SnapshotReport {
    SnapshotReport {
        format: summary.format,
        cluster: summary.cluster.to_string(),
        generation: summary.generation.to_string(),
        created_at: summary.created_at.to_string(),
        release: summary.release.clone(),
        log_index: summary.index,
        log_term: summary.term,
        revision: summary.revision.0,
        bytes: summary.bytes,
        sha256: hex::encode(summary.sha256),
        counts: summary.counts.iter().map(|(table, count)| (table.word(), *count)).collect(),
    }
}

/// Makes a cluster of this host from a snapshot.
pub(super) fn restore(settings: &NodeSettings, args: &SnapshotRestore) -> ExitCode {
    ended(restored(settings, args).map(|restored| {
        let Restored { summary, generation, member } = restored;
        note(&format!(
            "Cluster {} is restored as of {} (log index {}), and goes on under generation {generation} with this host as control \
             node {} at {}.",
            summary.cluster, summary.created_at, summary.index, member.id, member.address
        ));
        note("Control nodes of the generation before are refused: empty their data directories and join them anew.");
        note("Next: ring server start");
    }))
}

fn restored(settings: &NodeSettings, args: &SnapshotRestore) -> Result<Restored, Failed> {
    let plain = |error: anyhow::Error| (format!("{error:#}"), None);
    let node = node_settings(settings).map_err(plain)?;
    let options = RestoreOptions {
        file: args.file.clone(),
        data_dir: settings.paths.data_dir.clone(),
        name: args.name.clone(),
        advertise: args.advertise,
        api_listen: args.api_listen,
        labels: args.labels.iter().cloned().collect(),
        with_agent: !args.no_agent,
        secret_key: node.secret_key,
        prepared_key: prepared_key(settings).map_err(plain)?,
        certificate_lifetime: node.certificate_lifetime,
    };
    restore_cluster(&options).map_err(|error| failed(&error))
}

/// Goes on with this control node alone.
pub(super) fn recover(settings: &NodeSettings, args: &ClusterRecover) -> ExitCode {
    ended(recovered(settings, args))
}

fn recovered(settings: &NodeSettings, args: &ClusterRecover) -> Result<(), Failed> {
    let recovery = Recovery::open(&settings.paths.data_dir).map_err(|error| failed(&error))?;
    let plan = recovery.plan();
    for line in told(&plan) {
        if args.dry_run {
            data(&line).map_err(|error| (error.to_string(), None))?;
        } else {
            note(&line);
        }
    }
    if args.dry_run {
        return Ok(());
    }
    if confirmation(args)?.trim() != plan.cluster.to_string() {
        let hint = "give the id of the cluster as it stands above";
        return Err(("that is not the id of this cluster: nothing was changed".to_owned(), Some(hint)));
    }
    let generation = recovery.run().map_err(|error| failed(&error))?;
    note(&format!("The cluster goes on under generation {generation} with this control node alone. Next: ring server start"));
    note("Then join others to it; one that was given up needs an empty data directory first.");
    Ok(())
}

fn told(plan: &RecoveryPlan) -> Vec<String> {
    let (id, name) = &plan.survivor;
    let mut lines = vec![
        format!("Cluster {}, generation {}.", plan.cluster, plan.generation),
        format!("Control node {id} ({name}) is to be all that is left of it."),
        format!("Its last entry: index {}, term {}, {}. What was written after that is lost.", plan.index, plan.term, plan.at),
        "Given up for good, running or not; each ends when it hears of this, and has to join anew:".to_owned(),
    ];
    lines.extend(plan.given_up.iter().map(|(id, name, address)| format!("  control node {id} ({name}) at {address}")));
    lines
}

fn confirmation(args: &ClusterRecover) -> Result<String, Failed> {
    if let Some(id) = &args.yes_i_know {
        return Ok(id.clone());
    }
    let input = io::stdin();
    if !input.is_terminal() {
        let hint = "run it on a terminal, or say --yes-i-know CLUSTER-ID";
        return Err(("this asks before it gives anything up, and there is nobody to ask".to_owned(), Some(hint)));
    }
    note("To do this, type the id of the cluster:");
    let mut line = String::new();
    input.lock().read_line(&mut line).map_err(|error| (format!("cannot read the answer: {error}"), None))?;
    Ok(line)
}
