//! Rows of the state as bytes: what is written to disk, what a snapshot carries, and what the digest is taken of.

use std::sync::Arc;

use ring_state::{Row, RowKey, State, Table};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{Wire, WireError};

/// The bytes of a key, without its table. Keys of one table sort like their bytes.
pub fn encode_key(key: &RowKey) -> Vec<u8> {
    match key {
        RowKey::Meta | RowKey::Clock | RowKey::Leader | RowKey::CaRotation | RowKey::Level => Vec::new(),
        RowKey::Namespace(name) => name.as_str().as_bytes().to_vec(),
        RowKey::Deployment(id) => id_key(id.0),
        RowKey::Instance(id) => id_key(id.0),
        RowKey::Node(id) => id_key(id.0),
        RowKey::Secret(id) => id_key(id.0),
        RowKey::Config(id) => id_key(id.0),
        RowKey::Volume(id) => id_key(id.0),
        RowKey::User(id) => id_key(id.0),
        RowKey::Token(id) => id_key(id.0),
        RowKey::JoinToken(id) => id_key(id.0),
        RowKey::Member(id) => id.0.to_be_bytes().to_vec(),
        RowKey::Event(deployment, number) => [&deployment.0.into_bytes()[..], &number.to_be_bytes()].concat(),
        RowKey::DataKey(id) => id.0.to_be_bytes().to_vec(),
        RowKey::Request(revision) => revision.0.to_be_bytes().to_vec(),
        RowKey::Webhook(id) => id_key(id.0),
        RowKey::Delivery(webhook, number) => [&webhook.0.into_bytes()[..], &number.to_be_bytes()].concat(),
        RowKey::Audit(revision, part) => [&revision.0.to_be_bytes()[..], &part.to_be_bytes()].concat(),
    }
}

fn id_key(id: Uuid) -> Vec<u8> {
    id.into_bytes().to_vec()
}

/// The bytes of a row, without its key and table: the key is a part of what it says.
pub fn encode_row(row: &Row) -> Vec<u8> {
    match row {
        Row::Meta(o) => o.encode(),
        Row::Namespace(o) => o.encode(),
        Row::Deployment(o) => o.encode(),
        Row::Instance(o) => o.encode(),
        Row::Node(o) => o.encode(),
        Row::Secret(o) => o.encode(),
        Row::Config(o) => o.encode(),
        Row::Volume(o) => o.encode(),
        Row::User(o) => o.encode(),
        Row::Token(o) => o.encode(),
        Row::JoinToken(o) => o.encode(),
        Row::Member(o) => o.encode(),
        Row::Event(o) => o.encode(),
        Row::Request(o) => o.encode(),
        Row::Audit(o) => o.encode(),
        Row::Webhook(o) => o.encode(),
        Row::Delivery(o) => o.encode(),
        Row::Leader(o) => o.encode(),
        Row::DataKey(o) => o.encode(),
        Row::CaRotation(o) => o.encode(),
        Row::Level(o) => o.encode(),
        Row::Clock(o) => o.encode(),
    }
}

/// The row of some bytes that were stored in `table`.
///
/// # Errors
/// [`WireError`] when they are not a row of that table, or one this release cannot read.
pub fn decode_row(table: Table, bytes: &[u8]) -> Result<Row, WireError> {
    Ok(match table {
        Table::Meta => Row::Meta(decode(bytes)?),
        Table::Namespace => Row::Namespace(decode(bytes)?),
        Table::Deployment => Row::Deployment(decode(bytes)?),
        Table::Instance => Row::Instance(decode(bytes)?),
        Table::Node => Row::Node(decode(bytes)?),
        Table::Secret => Row::Secret(decode(bytes)?),
        Table::Config => Row::Config(decode(bytes)?),
        Table::Volume => Row::Volume(decode(bytes)?),
        Table::User => Row::User(decode(bytes)?),
        Table::Token => Row::Token(decode(bytes)?),
        Table::JoinToken => Row::JoinToken(decode(bytes)?),
        Table::Member => Row::Member(decode(bytes)?),
        Table::Event => Row::Event(decode(bytes)?),
        Table::Request => Row::Request(decode(bytes)?),
        Table::Audit => Row::Audit(decode(bytes)?),
        Table::Webhook => Row::Webhook(decode(bytes)?),
        Table::Delivery => Row::Delivery(decode(bytes)?),
        Table::Leader => Row::Leader(decode(bytes)?),
        Table::DataKey => Row::DataKey(decode(bytes)?),
        Table::CaRotation => Row::CaRotation(decode(bytes)?),
        Table::Level => Row::Level(Wire::decode(bytes)?),
        Table::Clock => Row::Clock(Wire::decode(bytes)?),
    })
}

fn decode<T: Wire>(bytes: &[u8]) -> Result<Arc<T>, WireError> {
    T::decode(bytes).map(Arc::new)
}

/// SHA-256 of everything in a state but its revision: two control nodes that applied the same entries have the same digest.
pub fn digest(state: &State) -> [u8; 32] {
    let mut hash = Sha256::new();
    for row in state.rows() {
        let key = row.key();
        hash.update([key.table() as u8]);
        for part in [encode_key(&key), encode_row(&row)] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use ring_state::{Clock, Namespace};
    use ring_types::{DeploymentId, Name, Revision, Timestamp};

    use super::*;

    fn state(revision: u64, names: &[&str], now: i64) -> State {
        let namespace =
            |name: &&str| Namespace { name: Name::new(name).unwrap(), created_at: Timestamp(1), version: Revision(1) };
        let rows = names.iter().map(|name| Row::Namespace(Arc::new(namespace(name))));
        let clock = Row::Clock(Clock { now: Timestamp(now), next_event: 1 });
        State::from_rows(Revision(revision), rows.chain([clock])).unwrap()
    }

    #[test]
    fn the_digest_is_of_the_rows_and_not_of_the_revision_or_their_order() {
        let digest_of = |revision, names: &[&str], now| digest(&state(revision, names, now));
        let one = digest_of(7, &["a", "b"], 5);
        assert_eq!(one, digest_of(8, &["b", "a"], 5));
        for other in
            [digest_of(7, &["a"], 5), digest_of(7, &["a", "c"], 5), digest_of(7, &["ab"], 5), digest_of(7, &["a", "b"], 6)]
        {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn the_digest_is_of_volumes_too() {
        let volume = |node: Option<u128>| ring_state::Volume {
            id: ring_types::VolumeId(Uuid::from_u128(1)),
            namespace: Name::new("shop").unwrap(),
            name: Name::new("data").unwrap(),
            driver: ring_types::VolumeDriver::Local,
            source: None,
            labels: std::collections::BTreeMap::new(),
            node: node.map(|node| ring_types::NodeId(Uuid::from_u128(node))),
            created_at: Timestamp(1),
            updated_at: Timestamp(1),
            version: Revision(1),
        };
        let of = |rows: Vec<Row>| digest(&State::from_rows(Revision(7), rows).unwrap());
        let with = |node| of(vec![Row::Volume(Arc::new(volume(node)))]);
        let (none, unbound, bound) = (of(Vec::new()), with(None), with(Some(2)));
        assert!(none != unbound && unbound != bound && none != bound);
        assert_eq!(with(Some(2)), bound);
    }

    #[test]
    fn keys_have_their_stated_bytes() {
        let id = DeploymentId(Uuid::from_bytes([7; 16]));
        let mut event = vec![7; 16];
        event.extend([0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(encode_key(&RowKey::Meta), b"");
        assert_eq!(encode_key(&RowKey::Namespace(Name::new("shop").unwrap())), b"shop");
        assert_eq!(encode_key(&RowKey::Deployment(id)), [7; 16]);
        assert_eq!(encode_key(&RowKey::Event(id, 258)), event);
        assert_eq!(encode_key(&RowKey::Request(Revision(258))), [0, 0, 0, 0, 0, 0, 1, 2]);
    }
}
