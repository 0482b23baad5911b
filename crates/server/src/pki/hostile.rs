//! What a host that wants to join sends, and what is pasted on it: texts and certificates that nobody of ours made are refused, and
//! end nothing.

use std::time::Duration;

use proptest::prelude::*;
use ring_state::JoinRole;
use ring_types::{ClusterId, JoinTokenId, NodeId};
use rustls_pki_types::CertificateDer;

use super::{Authority, CertificateRequest, Fingerprint, HostKey, Identity, JoinTokenText, certificate_from_pem};

const CLUSTER: ClusterId = ClusterId(uuid::Uuid::from_u128(7));

fn damaged(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5);
    let changed = (Just(good), changes, any::<prop::sample::Index>()).prop_map(|(mut bytes, changes, cut)| {
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes.truncate(cut.index(3 * bytes.len()));
        bytes
    });
    prop_oneof![4 => changed, 1 => proptest::collection::vec(any::<u8>(), 0..200)]
}

fn text(good: String) -> impl Strategy<Value = String> {
    damaged(good.into_bytes()).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn token() -> String {
    let authority = Fingerprint::of(&CertificateDer::from(vec![1, 2, 3]));
    JoinTokenText::new(JoinRole::Agent, JoinTokenId(uuid::Uuid::from_u128(5)), [7; 32], authority).to_string()
}

fn authority() -> Authority {
    Authority::create(CLUSTER).unwrap()
}

fn identity() -> Identity {
    Identity { cluster: CLUSTER, member: None, node: Some(NodeId(uuid::Uuid::from_u128(9))) }
}

fn sign(authority: &Authority, csr_pem: &str) -> Result<String, super::PkiError> {
    let request = CertificateRequest { csr_pem, identity: identity(), addresses: Vec::new(), lifetime: Duration::from_mins(1) };
    authority.sign(&request)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_text_is_a_join_token_or_is_not(text in text(token())) {
        if let Ok(token) = text.parse::<JoinTokenText>() {
            prop_assert_eq!(token.to_string().parse(), Ok(token));
        }
    }
}

#[test]
fn requests_keys_and_certificates_are_read_or_refused() {
    let authority = authority();
    let csr = HostKey::generate().unwrap().request().unwrap();
    let certificate = sign(&authority, &csr).unwrap();
    let der = certificate_from_pem(&certificate).unwrap();
    assert_eq!(Identity::of(&der).unwrap(), identity());
    let config = ProptestConfig { cases: 1000, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let all = (text(csr), text(certificate), damaged(der.to_vec()), text(HostKey::generate().unwrap().to_pem()));
    let tried = runner.run(&all, |(csr, certificate, der, key)| {
        // Whatever is signed is for whom the authority says, not for whom the request says.
        if let Ok(signed) = sign(&authority, &csr) {
            let signed = certificate_from_pem(&signed).map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(Identity::of(&signed).ok(), Some(identity()));
        }
        if let Ok(read) = certificate_from_pem(&certificate) {
            let _ = (Identity::of(&read), Identity::validity(&read), Fingerprint::of(&read));
        }
        let der = CertificateDer::from(der);
        let _ = (Identity::of(&der), Identity::validity(&der), HostKey::from_pem(&key).is_ok());
        Ok(())
    });
    tried.unwrap();
}
