//! A certificate of the operator's own, from files; read again when they change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use super::ApiTls;
use crate::pki::PkiError;

/// Between two looks at the files.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnFiles {
    /// PEM, the chain behind it.
    pub(crate) certificate: PathBuf,
    /// PEM.
    pub(crate) key: PathBuf,
}

/// What was in them.
type Content = (Vec<u8>, Vec<u8>);

impl OwnFiles {
    /// Shows what is in them.
    ///
    /// # Errors
    /// [`PkiError`] when a file cannot be read, is something else, or the key is another one's.
    pub(crate) fn open(&self) -> Result<ApiTls, PkiError> {
        let (chain, key) = parsed(&self.read()?)?;
        ApiTls::new(chain, key)
    }

    fn read(&self) -> Result<Content, PkiError> {
        Ok((read(&self.certificate)?, read(&self.key)?))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, PkiError> {
    std::fs::read(path).map_err(|source| PkiError::File { action: "read", path: path.to_owned(), source })
}

fn parsed((certificate, key): &Content) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|e| PkiError::malformed("server.tls.certificate", e))?;
    if chain.is_empty() {
        return Err(PkiError::malformed("server.tls.certificate", "the file has no certificate in PEM"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| PkiError::malformed("server.tls.key", e))?;
    Ok((chain, key))
}

/// Shows what the files have, also after they change, until this control node stops: `every` so often they are looked at. What cannot be used is told and left.
pub(crate) async fn keep_up(tls: Arc<ApiTls>, files: OwnFiles, every: Duration, stop: CancellationToken) {
    let mut shown = files.read().ok();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        // One file after the other is written: what does not fit together is looked at again.
        let found = files.read().ok();
        if found == shown {
            continue;
        }
        let Some(content) = &found else { continue };
        match parsed(content).and_then(|(chain, key)| tls.replace(chain, key)) {
            Ok(()) => {
                tracing::info!("the REST API shows the new certificate of {}", files.certificate.display());
                shown = found;
            }
            Err(error) => tracing::warn!(
                "the new certificate in {} cannot be used, the old one is shown on: {}",
                files.certificate.display(),
                reason(&error)
            ),
        }
    }
}

fn reason(error: &PkiError) -> String {
    use std::error::Error as _;
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, CertificateRequest, HostKey, Identity};

    fn pair(dir: &Path) -> OwnFiles {
        let cluster = ring_types::ClusterId(uuid::Uuid::nil());
        let (authority, key) = (Authority::create(cluster).unwrap(), HostKey::generate().unwrap());
        let identity = Identity { cluster, member: Some(ring_types::MemberId(1)), node: None };
        let csr = key.request().unwrap();
        let request = CertificateRequest { csr_pem: &csr, identity, addresses: vec![], lifetime: Duration::from_hours(1) };
        let chain = format!("{}{}", authority.sign(&request).unwrap(), authority.certificate_pem());
        let files = OwnFiles { certificate: dir.join("c.pem"), key: dir.join("k.pem") };
        std::fs::write(&files.certificate, chain).unwrap();
        std::fs::write(&files.key, key.to_pem()).unwrap();
        files
    }

    #[test]
    fn a_pair_is_read_and_what_is_none_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = pair(dir.path());
        assert!(files.open().is_ok());
        std::fs::write(&files.key, HostKey::generate().unwrap().to_pem()).unwrap();
        let refused = files.open().err().unwrap();
        assert!(matches!(refused, PkiError::Tls(_)), "{refused}");
        std::fs::write(&files.certificate, "").unwrap();
        let refused = files.open().err().unwrap().to_string();
        assert!(refused.contains("server.tls.certificate"), "{refused}");
        std::fs::remove_file(&files.key).unwrap();
        assert!(files.open().err().unwrap().to_string().contains("k.pem"));
    }

    #[tokio::test]
    async fn new_files_are_shown_without_a_restart_and_broken_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = pair(dir.path());
        let tls = Arc::new(files.open().unwrap());
        let leaf = |tls: &ApiTls| tls.shown.0.load().cert[0].clone();
        let first = leaf(&tls);
        let (every, stop) = (Duration::from_millis(10), CancellationToken::new());
        let keeping = tokio::spawn(keep_up(tls.clone(), files.clone(), every, stop.clone()));
        // They are looked at many times meanwhile.
        std::fs::write(&files.key, "nothing").unwrap();
        tokio::time::sleep(every * 20).await;
        assert_eq!(leaf(&tls), first);
        pair(dir.path());
        let changed = async {
            while leaf(&tls) == first {
                tokio::time::sleep(every).await;
            }
        };
        tokio::time::timeout(LOOK_EVERY, changed).await.unwrap();
        stop.cancel();
        keeping.await.unwrap();
    }
}
