//! Making a cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use ring_state::{Bootstrap, Command, JoinRole, Reply};
use ring_store::{Store, StoreConfig};
use ring_types::{ClusterGeneration, ClusterId, KeyId, MemberId, Name, NodeId, UserId};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::host::{Settings, api_address, api_listen, cluster_listen, name, store_dir};
use super::running::{Ports, Wiring};
use super::{ControlNode, NodeError};
use crate::pki::{Authority, CertificateRequest, HostFiles, HostRecord, Identity, MemberRecord, PkiError, SecretKey};
use crate::rest::{hash_password, join_command, join_token_record};
use crate::services::{Admission, control_addresses};
use crate::tls::HostTls;
use crate::{ids, keys};

/// What a new cluster is to be.
#[derive(Clone, Debug)]
pub struct InitOptions {
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
    /// Password of the first account; a random one when left out.
    pub admin_password: Option<Zeroizing<String>>,
    /// A key that was made before, for a cluster that has none yet.
    pub prepared_key: Option<SecretKey>,
    /// How its parts are set.
    pub settings: Settings,
}

/// What is said once, when a cluster was made.
#[derive(Debug)]
pub struct FirstWords {
    /// The password of `admin`, when it was made up.
    pub admin_password: Option<Zeroizing<String>>,
    /// What to type on a host that is to be a control node.
    pub join_control: String,
    /// What to type on a host that is to run work.
    pub join_agent: String,
}

/// The first control node is member 1.
const FIRST: MemberId = MemberId(1);

/// Makes a cluster of this host, running.
///
/// # Errors
/// [`NodeError`] when the host is in one already, a port is taken, or the disk refuses.
pub async fn init(options: InitOptions) -> Result<(ControlNode, FirstWords), NodeError> {
    options.settings.api.check()?;
    let files = HostFiles::new(&options.data_dir);
    if let Some(record) = files.record()? {
        return Err(NodeError::Joined { dir: options.data_dir, name: record.name });
    }
    if Store::exists(&store_dir(&options.data_dir))?.is_some() {
        return Err(NodeError::HalfMade(options.data_dir));
    }
    let name = name(options.name.as_deref())?;
    let api_listen = api_listen(options.api_listen, options.advertise);
    let ports = Ports::bind(cluster_listen(options.advertise), api_listen).await?;
    files.create_dirs()?;
    let secret = choose_key(&options, &files)?;
    let record = record(&options, &name, api_listen);
    let bootstrap = certify(&options, &files, &record, &secret)?;
    let (bootstrap, password) = with_admin(bootstrap, options.admin_password.clone())?;
    let tls = HostTls::load(&files)?;
    let wiring = Wiring::new(record.clone(), files.clone(), secret, tls, options.settings.clone());
    let mut config = store_config(&options.data_dir, &record);
    (config.timing, config.compaction) = (options.settings.timing, options.settings.compaction);
    let store = Store::create(config, wiring.connector(), Command::Bootstrap(bootstrap)).await?;
    let admission = wiring.admission(&store);
    if let Some(node) = record.node {
        admission.enrol_beside(FIRST, node, &name, &options.labels).await?;
    }
    let first = FirstWords {
        admin_password: password,
        join_control: make_token(&store, &admission, JoinRole::Control).await?,
        join_agent: make_token(&store, &admission, JoinRole::Agent).await?,
    };
    files.write_record(&record)?;
    let node = wiring.start(store, ports)?;
    Ok((node, first))
}

fn choose_key(options: &InitOptions, files: &HostFiles) -> Result<SecretKey, NodeError> {
    let given = options.settings.secret_key.clone();
    let known = given.map_or_else(|| files.secret_key(), |key| Ok(Some(key)))?;
    let key = known.or_else(|| options.prepared_key.clone()).unwrap_or_else(SecretKey::generate);
    if options.settings.secret_key.is_none() {
        files.write_secret_key(&key)?;
    }
    Ok(key)
}

fn record(options: &InitOptions, name: &Name, api_listen: SocketAddr) -> HostRecord {
    let member = MemberRecord {
        id: FIRST,
        name: name.to_string(),
        address: options.advertise.to_string(),
        api_address: api_address(api_listen, options.advertise),
        api_listen,
    };
    HostRecord {
        cluster: ClusterId(Uuid::new_v4()),
        generation: ClusterGeneration::FIRST,
        name: name.to_string(),
        node: options.with_agent.then(|| NodeId(Uuid::new_v4())),
        member: Some(member),
        control_addresses: vec![options.advertise.to_string()],
        labels: options.labels.clone(),
    }
}

/// Makes the authority and this host's certificate; what of it the state is to keep.
fn certify(options: &InitOptions, files: &HostFiles, record: &HostRecord, secret: &SecretKey) -> Result<Bootstrap, NodeError> {
    let authority = Authority::create(record.cluster)?;
    let csr = files.key()?.request()?;
    let request = CertificateRequest {
        csr_pem: &csr,
        identity: Identity { cluster: record.cluster, member: Some(FIRST), node: record.node },
        addresses: vec![options.advertise.ip()],
        lifetime: options.settings.certificate_lifetime,
    };
    files.write_certificates(&authority.sign(&request)?, authority.certificate_pem())?;
    let member_name = Name::new(&record.name).map_err(|why| NodeError::Name { name: record.name.clone(), why })?;
    Ok(Bootstrap {
        cluster: record.cluster,
        ca_certificate: authority.certificate_pem().to_owned(),
        ca_key_sealed: authority.seal_key(secret)?,
        data_key_sealed: keys::new_data_key(secret, record.cluster, KeyId(1)).map_err(PkiError::from)?,
        member_name,
        address: options.advertise.to_string(),
        api_address: record.member.as_ref().map(|m| m.api_address.clone()).unwrap_or_default(),
        admin: UserId(Uuid::new_v4()),
        admin_password_hash: String::new(),
        level: ring_state::LEVEL,
    })
}

/// Sets the first password; the one that was made up comes back.
fn with_admin(
    bootstrap: Bootstrap,
    given: Option<Zeroizing<String>>,
) -> Result<(Bootstrap, Option<Zeroizing<String>>), NodeError> {
    let made_up = given.is_none();
    let password = given.unwrap_or_else(made_up_password);
    let admin_password_hash = hash_password(&password).map_err(NodeError::Password)?;
    Ok((Bootstrap { admin_password_hash, ..bootstrap }, made_up.then_some(password)))
}

/// A password nobody chose: 96 random bits.
pub(super) fn made_up_password() -> Zeroizing<String> {
    Zeroizing::new(hex::encode(rand::random::<[u8; 12]>()))
}

pub(super) fn store_config(data_dir: &std::path::Path, record: &HostRecord) -> StoreConfig {
    let member = record.member.as_ref();
    let (id, address) = member.map_or((FIRST, ""), |m| (m.id, m.address.as_str()));
    let name = member.map_or(record.name.as_str(), |m| m.name.as_str());
    StoreConfig { generation: record.generation, ..StoreConfig::new(store_dir(data_dir), record.cluster, id, name, address) }
}

async fn make_token(store: &Store, admission: &Admission, role: JoinRole) -> Result<String, NodeError> {
    let state = store.local();
    let request = ids::fresh();
    let text = admission.token(&state, role, request)?;
    let command = Command::CreateJoinToken(join_token_record(&text, None, None));
    let done = store.propose(request, command).await.map_err(|e| NodeError::Answer(e.to_string()))?;
    match done.reply {
        Reply::Refused(refusal) => Err(NodeError::Answer(refusal.message)),
        _ => Ok(join_command(&text, &control_addresses(&state))),
    }
}
