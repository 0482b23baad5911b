//! Who a certificate says its holder is.

use ring_types::{ClusterId, MemberId, NodeId, Timestamp};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::PkiError;

/// What a certificate of a cluster names: at least one of member and node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Which cluster.
    pub cluster: ClusterId,
    /// The control node it is.
    pub member: Option<MemberId>,
    /// The host that runs work it is.
    pub node: Option<NodeId>,
}

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From.
    pub not_before: Timestamp,
    /// To.
    pub not_after: Timestamp,
}

impl Validity {
    /// When it is time for a new one: two thirds of its life are over.
    pub fn renew_at(&self) -> Timestamp {
        let life = self.not_after.0 - self.not_before.0;
        Timestamp(self.not_before.0 + life / 3 * 2)
    }
}

impl Identity {
    /// The names that go into a certificate.
    pub fn names(&self) -> Vec<String> {
        let member = self.member.map(|id| format!("ring://{}/member/{id}", self.cluster));
        let node = self.node.map(|id| format!("ring://{}/node/{id}", self.cluster));
        member.into_iter().chain(node).collect()
    }

    /// Reads the names of a certificate.
    ///
    /// # Errors
    /// [`PkiError::NoIdentity`] when it has none of ours, or names of two clusters.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, PkiError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| PkiError::malformed("a certificate", e))?;
        let names = parsed.subject_alternative_name().map_err(|e| PkiError::malformed("a certificate's names", e))?;
        let names = names.into_iter().flat_map(|extension| extension.value.general_names.iter());
        let uris = names.filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        Self::from_names(uris)
    }

    fn from_names<'a>(uris: impl Iterator<Item = &'a str>) -> Result<Self, PkiError> {
        let mut found: Option<Self> = None;
        for uri in uris {
            let one = Self::from_name(uri).ok_or(PkiError::NoIdentity)?;
            let whole = found.get_or_insert(Self { member: None, node: None, ..one });
            if whole.cluster != one.cluster {
                return Err(PkiError::NoIdentity);
            }
            whole.member = whole.member.or(one.member);
            whole.node = whole.node.or(one.node);
        }
        found.ok_or(PkiError::NoIdentity)
    }

    fn from_name(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("ring://")?.split('/');
        let (cluster, role, id) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()?);
        let nobody = Self { cluster, member: None, node: None };
        match (role, parts.next()) {
            ("member", None) => Some(Self { member: Some(MemberId(id.parse().ok()?)), ..nobody }),
            ("node", None) => Some(Self { node: Some(id.parse().ok()?), ..nobody }),
            _ => None,
        }
    }

    /// The validity of a certificate.
    ///
    /// # Errors
    /// [`PkiError::Malformed`] when it is not one.
    pub fn validity(certificate: &CertificateDer<'_>) -> Result<Validity, PkiError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| PkiError::malformed("a certificate", e))?;
        let millis = |seconds: i64| Timestamp(seconds.saturating_mul(1000));
        let validity = parsed.validity();
        Ok(Validity { not_before: millis(validity.not_before.timestamp()), not_after: millis(validity.not_after.timestamp()) })
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.member, self.node) {
            (Some(member), _) => write!(f, "member {member}"),
            (None, Some(node)) => write!(f, "node {node}"),
            (None, None) => f.write_str("nobody"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(n: u128) -> ClusterId {
        ClusterId(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn names_read_back_as_written() {
        let node = NodeId(uuid::Uuid::from_u128(7));
        for (member, node) in [(Some(MemberId(3)), None), (None, Some(node)), (Some(MemberId(3)), Some(node))] {
            let identity = Identity { cluster: cluster(1), member, node };
            let names = identity.names();
            assert_eq!(Identity::from_names(names.iter().map(String::as_str)).unwrap(), identity);
        }
    }

    #[test]
    fn names_of_two_clusters_or_of_no_kind_are_refused() {
        let one = Identity { cluster: cluster(1), member: Some(MemberId(1)), node: None }.names();
        let two = Identity { cluster: cluster(2), member: Some(MemberId(2)), node: None }.names();
        let both = [one[0].as_str(), two[0].as_str()];
        assert!(Identity::from_names(both.into_iter()).is_err());
        for bad in ["https://example.org", "ring://x/member/1", "ring://00000000-0000-0000-0000-000000000001/king/1"] {
            assert!(Identity::from_names([bad].into_iter()).is_err(), "{bad}");
        }
        assert!(Identity::from_names(std::iter::empty()).is_err());
    }
}
