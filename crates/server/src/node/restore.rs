//! A cluster from a snapshot, on a host that has none.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ring_state::{AuditNote, AuditedCommand, Command, EnrolNode, NewGeneration};
use ring_store::{Backup, BackupSummary, Store, read_backup, restore_backup};
use ring_types::{ClusterGeneration, MemberId, Name, NodeId};
use uuid::Uuid;

use super::NodeError;
use super::host::{api_address, api_listen, name, store_dir};
use super::init::store_config;
use crate::clock;
use crate::pki::{Authority, CertificateRequest, HostFiles, HostRecord, Identity, MemberRecord, PkiError, SecretKey};

/// What a host that takes over a cluster is to be.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The snapshot.
    pub file: PathBuf,
    /// Where this host keeps everything.
    pub data_dir: PathBuf,
    /// Name of this host; its own when left out.
    pub name: Option<String>,
    /// Where others reach the cluster port.
    pub advertise: SocketAddr,
    /// Where the REST API listens; port 3030 when left out.
    pub api_listen: Option<SocketAddr>,
    /// Labels of this host.
    pub labels: BTreeMap<String, String>,
    /// This host runs work too.
    pub with_agent: bool,
    /// The secret key of the environment; it wins over the one in the data directory.
    pub secret_key: Option<SecretKey>,
    /// A key that is used when there is no other.
    pub prepared_key: Option<SecretKey>,
    /// How long the host's certificate is good.
    pub certificate_lifetime: Duration,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Restored {
    /// Of what.
    pub summary: BackupSummary,
    /// The generation of the cluster from now on.
    pub generation: ClusterGeneration,
    /// The control node this host is.
    pub member: MemberRecord,
}

/// Makes a cluster of this one host from a snapshot. Everything is read and checked before anything is written; the control node is
/// started afterwards.
///
/// # Errors
/// [`NodeError`] when the host is in a cluster already, the snapshot is not whole, or the secret key is not that of the cluster.
pub fn restore(options: &RestoreOptions) -> Result<Restored, NodeError> {
    let files = HostFiles::new(&options.data_dir);
    if let Some(record) = files.record()? {
        return Err(NodeError::Joined { dir: options.data_dir.clone(), name: record.name });
    }
    if Store::exists(&store_dir(&options.data_dir))?.is_some() {
        return Err(NodeError::HalfMade(options.data_dir.clone()));
    }
    let name = name(options.name.as_deref())?;
    let backup = read_backup(&options.file)?;
    let (secret, from_file) = secret(options, &files)?;
    let authority = authority(&backup, &secret)?;
    let record = record(options, &backup, &name);
    let member = record.member.clone().ok_or_else(|| NodeError::Answer("no member".to_owned()))?;
    files.create_dirs()?;
    let request = CertificateRequest {
        csr_pem: &files.key()?.request()?,
        identity: Identity { cluster: record.cluster, member: Some(member.id), node: record.node },
        addresses: vec![options.advertise.ip()],
        lifetime: options.certificate_lifetime,
    };
    files.write_certificates(&authority.sign(&request)?, &backup.state.authorities().concat())?;
    if from_file {
        files.write_secret_key(&secret)?;
    }
    let commands = first_entries(&record, &member, &name);
    let (summary, generation) = (backup.summary.clone(), record.generation);
    restore_backup(&store_config(&options.data_dir, &record), backup, commands, clock::now())?;
    files.write_record(&record)?;
    Ok(Restored { summary, generation, member })
}

/// The key, and whether it is to be kept in the data directory.
fn secret(options: &RestoreOptions, files: &HostFiles) -> Result<(SecretKey, bool), NodeError> {
    if let Some(key) = &options.secret_key {
        return Ok((key.clone(), false));
    }
    let known = files.secret_key()?.or_else(|| options.prepared_key.clone());
    known.map(|key| (key, true)).ok_or_else(|| NodeError::NoSecretKey(files.secret_key_path()))
}

/// The authority that signs, which only the cluster's own secret key opens.
fn authority(backup: &Backup, secret: &SecretKey) -> Result<Authority, NodeError> {
    let (certificate, sealed) =
        backup.state.signing_authority().ok_or_else(|| NodeError::Answer("the snapshot has no authority".to_owned()))?;
    Authority::open(backup.summary.cluster, certificate, sealed, secret).map_err(|error| match error {
        PkiError::Seal(_) => NodeError::SnapshotKey,
        other => other.into(),
    })
}

fn record(options: &RestoreOptions, backup: &Backup, name: &Name) -> HostRecord {
    let api_listen = api_listen(options.api_listen, options.advertise);
    let member = MemberRecord {
        id: backup.state.next_generation_member(),
        name: name.to_string(),
        address: options.advertise.to_string(),
        api_address: api_address(api_listen, options.advertise),
        api_listen,
    };
    HostRecord {
        cluster: backup.summary.cluster,
        generation: backup.summary.generation.after(rand::random()),
        name: name.to_string(),
        node: options.with_agent.then(|| NodeId(Uuid::new_v4())),
        member: Some(member),
        control_addresses: vec![options.advertise.to_string()],
        labels: options.labels.clone(),
    }
}

/// What the generation begins with: itself, and the agent of this host.
fn first_entries(record: &HostRecord, member: &MemberRecord, name: &Name) -> Vec<Command> {
    let begin = begin("ring cluster snapshot restore", "cluster.restore", record.generation, member.id, name, member);
    let enrol = record.node.map(|node| {
        let labels = record.labels.clone();
        Command::EnrolNode(EnrolNode { token: None, node, name: name.clone(), member: Some(member.id), labels })
    });
    std::iter::once(begin).chain(enrol).collect()
}

/// The entry a generation begins with, and its line of the audit record.
pub(super) fn begin(
    by: &str,
    action: &str,
    generation: ClusterGeneration,
    id: MemberId,
    name: &Name,
    member: &MemberRecord,
) -> Command {
    let note = AuditNote::unattended(action, by, name.as_str());
    let wanted = NewGeneration {
        generation,
        member: id,
        name: name.clone(),
        address: member.address.clone(),
        api_address: member.api_address.clone(),
    };
    Command::Audited(Box::new(AuditedCommand { note, command: Box::new(Command::BeginGeneration(wanted)) }))
}
