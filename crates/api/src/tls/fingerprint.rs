//! SHA-256 of a certificate: what a join token and a context pin.

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// SHA-256 of a certificate's DER bytes. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the SHA-256 fingerprint of a certificate: 64 hexadecimal digits are wanted")]
pub struct FingerprintError(pub(crate) String);

impl Fingerprint {
    /// The fingerprint of `certificate`.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate.as_ref()).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    /// With or without the colons other tools write.
    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let digits: String = text.trim().chars().filter(|&c| c != ':').collect();
        let mut bytes = [0; 32];
        let fail = |_| FingerprintError(text.chars().take(100).collect());
        hex::decode_to_slice(digits.strip_prefix("sha256").unwrap_or(&digits), &mut bytes).map_err(fail)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_other_tools_write_it() {
        let fingerprint = Fingerprint::of(&CertificateDer::from(vec![1, 2, 3]));
        let text = fingerprint.to_string();
        assert_eq!(text, "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81");
        let pairs: Vec<_> = text.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
        for written in [text.clone(), format!(" {text}\n"), pairs.join(":"), format!("sha256:{text}")] {
            assert_eq!(written.parse(), Ok(fingerprint), "{written}");
        }
        for wrong in ["", "03", &text[1..], &format!("{text}00"), &text.replace('0', "g")] {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
