//! Ids made from a request's id, so that the same request makes the same objects on every control node.

use ring_types::RequestId;
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// An id for `what` of a request.
pub(crate) fn derived(request: RequestId, what: &str) -> Uuid {
    hashed(&[b"object", request.0.as_bytes(), what.as_bytes()])
}

/// A request's id from what names it.
pub(crate) fn request(parts: &[&[u8]]) -> RequestId {
    let parts: Vec<_> = std::iter::once(b"request".as_slice()).chain(parts.iter().copied()).collect();
    RequestId(hashed(&parts))
}

/// A request nobody repeats.
pub(crate) fn fresh() -> RequestId {
    RequestId(Uuid::new_v4())
}

fn hashed(parts: &[&[u8]]) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_makes_the_same_ids_and_others_do_not() {
        let one = request(&[b"user", b"key"]);
        assert_eq!(one, request(&[b"user", b"key"]));
        assert_ne!(one, request(&[b"userk", b"ey"]));
        assert_eq!(derived(one, "a"), derived(one, "a"));
        assert_ne!(derived(one, "a"), derived(one, "b"));
        assert_ne!(fresh(), fresh());
    }
}
