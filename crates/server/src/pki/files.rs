//! What a host keeps of its membership: key, certificate, the authority's certificate, who it is, and on control nodes the
//! secret key. All of it readable by its owner only, each file replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring_types::{ClusterGeneration, ClusterId, MemberId, NodeId, RequestId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{HostKey, PkiError, SecretKey};

/// Addresses of control nodes that are kept.
const ADDRESSES: usize = 16;

/// Who this host is. Written last when a host joins: with it the host has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Which cluster it belongs to.
    pub cluster: ClusterId,
    /// Which generation of it, when it joined or began it; the state of a control node knows better.
    #[serde(default)]
    pub generation: ClusterGeneration,
    /// Name of its node, or of its member when it runs no work.
    pub name: String,
    /// Its identity as a host that runs work.
    pub node: Option<NodeId>,
    /// Its identity as a control node.
    pub member: Option<MemberRecord>,
    /// Cluster ports of control nodes, as they were known last.
    pub control_addresses: Vec<String>,
    /// Labels it joined with.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What a control node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its id in the quorum.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Its cluster port, as others reach it.
    pub address: String,
    /// Its REST API, as others reach it.
    pub api_address: String,
    /// Where its REST API listens.
    pub api_listen: SocketAddr,
}

/// A join that has begun: a repeated one goes on with the same key and ids, so that a lost reply admits nobody twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingJoin {
    /// The request.
    pub request: RequestId,
    /// The identity this host made for itself.
    pub node: NodeId,
    /// Which token it was begun with; another one begins anew.
    pub token: String,
}

/// The files of one data directory.
#[derive(Clone, Debug)]
pub struct HostFiles {
    data_dir: PathBuf,
}

impl HostFiles {
    /// Files under `data_dir`, which need not exist yet.
    pub fn new(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Makes the directories.
    ///
    /// # Errors
    /// When that is not allowed.
    pub fn create_dirs(&self) -> Result<(), PkiError> {
        let dir = self.data_dir.join("identity");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        made.map_err(|source| PkiError::File { action: "create", path: dir, source })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data_dir.join("identity").join(name)
    }

    /// Who this host is; None when it has not joined.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn record(&self) -> Result<Option<HostRecord>, PkiError> {
        read_json(&self.path("host.json"), "the host record")
    }

    /// Records who this host is.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_record(&self, record: &HostRecord) -> Result<(), PkiError> {
        write_json(&self.path("host.json"), record)?;
        remove(&self.path("join.json"))
    }

    /// Records where control nodes are now.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn write_addresses(&self, addresses: &[String]) -> Result<(), PkiError> {
        match self.record()? {
            Some(record) if record.control_addresses != addresses => {
                write_json(&self.path("host.json"), &HostRecord { control_addresses: addresses.to_vec(), ..record })
            }
            _ => Ok(()),
        }
    }

    /// Records where a control node was found, first of at most sixteen.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn remember_address(&self, address: &str) -> Result<(), PkiError> {
        let Some(record) = self.record()? else { return Ok(()) };
        if record.control_addresses.iter().any(|known| known == address) {
            return Ok(());
        }
        let known = record.control_addresses.into_iter();
        let addresses: Vec<_> = std::iter::once(address.to_owned()).chain(known).take(ADDRESSES).collect();
        self.write_addresses(&addresses)
    }

    /// A join that has begun.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn pending(&self) -> Result<Option<PendingJoin>, PkiError> {
        read_json(&self.path("join.json"), "the pending join")
    }

    /// Records that a join begins.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_pending(&self, pending: &PendingJoin) -> Result<(), PkiError> {
        write_json(&self.path("join.json"), pending)
    }

    /// The host's key; made when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn key(&self) -> Result<HostKey, PkiError> {
        let path = self.path("host.key");
        if let Some(pem) = read(&path)? {
            return HostKey::from_pem(&pem);
        }
        let key = HostKey::generate()?;
        write(&path, Zeroizing::new(key.to_pem()).as_bytes())?;
        Ok(key)
    }

    /// The host's certificate and the authority's.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn certificates(&self) -> Result<(String, String), PkiError> {
        let own = self.required("host.crt")?;
        let authority = self.required("ca.crt")?;
        Ok((own, authority))
    }

    /// Replaces the host's certificate and the authority's.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write_certificates(&self, own: &str, authority: &str) -> Result<(), PkiError> {
        write(&self.path("ca.crt"), authority.as_bytes())?;
        write(&self.path("host.crt"), own.as_bytes())
    }

    fn required(&self, name: &str) -> Result<String, PkiError> {
        let path = self.path(name);
        read(&path)?.ok_or_else(|| PkiError::File { action: "read", path, source: ErrorKind::NotFound.into() })
    }

    /// The secret key of the file; None when there is none.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn secret_key(&self) -> Result<Option<SecretKey>, PkiError> {
        let text = read(&self.secret_key_path())?;
        Ok(text.map(|text| SecretKey::from_base64(&Zeroizing::new(text))).transpose()?)
    }

    /// Keeps the secret key.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_secret_key(&self, key: &SecretKey) -> Result<(), PkiError> {
        write(&self.secret_key_path(), format!("{}\n", *key.to_base64()).as_bytes())
    }

    /// The file of the secret key.
    pub fn secret_key_path(&self) -> PathBuf {
        self.data_dir.join("secret-key")
    }
}

fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { action: "read", path: path.to_owned(), source }),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path, what: &'static str) -> Result<Option<T>, PkiError> {
    let text = read(path)?;
    text.map(|text| serde_json::from_str(&text).map_err(|e| PkiError::malformed(what, e))).transpose()
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), PkiError> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| PkiError::malformed("a record", e))?;
    write(path, &text)
}

fn remove(path: &Path) -> Result<(), PkiError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(PkiError::File { action: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Replaces a file as a whole: a crash leaves the old one or the new one.
fn write(path: &Path, content: &[u8]) -> Result<(), PkiError> {
    replace(path, content).map_err(|source| PkiError::File { action: "write", path: path.to_owned(), source })
}

fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let files = HostFiles::new(dir.path());
        files.create_dirs().unwrap();
        let first = files.key().unwrap().to_pem();
        assert_eq!(files.key().unwrap().to_pem(), first);
        let mode = std::fs::metadata(files.path("host.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_record_ends_a_pending_join() {
        let dir = tempfile::tempdir().unwrap();
        let files = HostFiles::new(dir.path());
        files.create_dirs().unwrap();
        assert_eq!(files.record().unwrap(), None);
        let id = uuid::Uuid::from_u128(1);
        let pending = PendingJoin { request: RequestId(id), node: NodeId(id), token: "t".into() };
        files.write_pending(&pending).unwrap();
        assert_eq!(files.pending().unwrap(), Some(pending));
        let record = HostRecord {
            generation: ClusterGeneration::FIRST,
            cluster: ClusterId(id),
            name: "n1".into(),
            node: Some(NodeId(id)),
            member: None,
            control_addresses: vec!["10.0.0.1:3031".into()],
            labels: BTreeMap::new(),
        };
        files.write_record(&record).unwrap();
        assert_eq!((files.record().unwrap(), files.pending().unwrap()), (Some(record), None));
    }

    #[test]
    fn addresses_that_answered_are_kept_and_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let files = HostFiles::new(dir.path());
        files.create_dirs().unwrap();
        files.remember_address("nobody has joined:1").unwrap();
        let id = uuid::Uuid::from_u128(1);
        let record = HostRecord {
            generation: ClusterGeneration::FIRST,
            cluster: ClusterId(id),
            name: "n1".into(),
            node: Some(NodeId(id)),
            member: None,
            control_addresses: vec!["10.0.0.1:3031".into()],
            labels: BTreeMap::new(),
        };
        files.write_record(&record).unwrap();
        for n in 0..20 {
            files.remember_address(&format!("10.0.0.2:{n}")).unwrap();
            files.remember_address(&format!("10.0.0.2:{n}")).unwrap();
        }
        let kept = files.record().unwrap().unwrap().control_addresses;
        assert_eq!((kept.len(), kept[0].as_str()), (ADDRESSES, "10.0.0.2:19"));
    }

    #[test]
    fn the_secret_key_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let files = HostFiles::new(dir.path());
        assert_eq!(files.secret_key().unwrap(), None);
        let key = SecretKey::generate();
        files.write_secret_key(&key).unwrap();
        assert_eq!(files.secret_key().unwrap(), Some(key));
    }
}
