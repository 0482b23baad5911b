//! openraft's values as messages, and entries as they stand in the log.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use prost::Message;
use ring_proto::raft::v1 as wire;

use crate::types::{Encoded, Entry, LogId, Membership, Peer, StoredMembership, Vote, log_id};

/// Version of a stored entry's frame: this byte, a CRC-32 of index and message, the message.
const ENTRY_VERSION: u8 = 1;
const FRAME: usize = 5;

/// Why bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    /// A message lacks a field.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// Not the message it should be.
    #[error("{what} cannot be read: {cause}")]
    Malformed { what: &'static str, cause: String },
    /// Written by a later release.
    #[error("{what} has version {found}, this release reads {expected}")]
    Version { what: &'static str, found: u8, expected: u8 },
    /// The bytes have changed since they were written.
    #[error("log entry {index} does not match its checksum")]
    Checksum { index: u64 },
}

impl CodecError {
    pub(crate) fn malformed(what: &'static str, cause: impl ToString) -> Self {
        Self::Malformed { what, cause: cause.to_string() }
    }
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

pub(crate) fn decode<M: Message + Default>(what: &'static str, bytes: impl bytes::Buf) -> Result<M, CodecError> {
    M::decode(bytes).map_err(|e| CodecError::malformed(what, e))
}

pub(crate) fn log_id_to(id: &LogId) -> wire::LogId {
    wire::LogId { term: id.leader_id.term, index: id.index }
}

pub(crate) fn log_id_from(id: wire::LogId) -> LogId {
    log_id(id.term, id.index)
}

pub(crate) fn vote_to(vote: &Vote) -> wire::Vote {
    wire::Vote { term: vote.leader_id.term, member: vote.leader_id.voted_for, committed: vote.committed }
}

pub(crate) fn vote_from(vote: Option<wire::Vote>) -> Result<Vote, CodecError> {
    let vote = vote.ok_or(CodecError::Missing("vote"))?;
    Ok(if vote.committed { Vote::new_committed(vote.term, vote.member) } else { Vote::new(vote.term, vote.member) })
}

fn membership_to(membership: &Membership) -> wire::Membership {
    let configs = membership.get_joint_config().iter();
    let peer = |(id, peer): (&u64, &Peer)| (*id, wire::Peer { name: peer.name.clone(), address: peer.address.clone() });
    wire::Membership {
        configs: configs.map(|set| wire::Voters { members: set.iter().copied().collect() }).collect(),
        peers: membership.nodes().map(peer).collect(),
    }
}

fn membership_from(membership: wire::Membership) -> Result<Membership, CodecError> {
    let configs = membership.configs.into_iter().map(|set| set.members.into_iter().collect::<BTreeSet<_>>()).collect();
    let peers = membership.peers.into_iter().map(|(id, p)| (id, Peer { name: p.name, address: p.address }));
    let peers: BTreeMap<u64, Peer> = peers.collect();
    let empty = peers.is_empty();
    match Membership::new(configs, peers) {
        Ok(membership) => Ok(membership),
        // What a member has before it was ever told about one.
        Err(_) if empty => Ok(Membership::default()),
        Err(error) => Err(CodecError::malformed("membership", error)),
    }
}

pub(crate) fn stored_membership_to(stored: &StoredMembership) -> wire::StoredMembership {
    wire::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to),
        membership: Some(membership_to(stored.membership())),
    }
}

pub(crate) fn stored_membership_from(stored: Option<wire::StoredMembership>) -> Result<StoredMembership, CodecError> {
    let stored = stored.unwrap_or_default();
    let membership = membership_from(stored.membership.unwrap_or_default())?;
    Ok(StoredMembership::new(stored.log_id.map(log_id_from), membership))
}

pub(crate) fn entry_to(entry: &Entry) -> wire::LogEntry {
    let payload = match &entry.payload {
        EntryPayload::Blank => None,
        EntryPayload::Normal(command) => Some(wire::log_entry::Payload::Command(command.0.clone())),
        EntryPayload::Membership(m) => Some(wire::log_entry::Payload::Membership(membership_to(m))),
    };
    wire::LogEntry { log_id: Some(log_id_to(&entry.log_id)), payload }
}

pub(crate) fn entry_from(entry: wire::LogEntry) -> Result<Entry, CodecError> {
    let id = log_id_from(entry.log_id.ok_or(CodecError::Missing("log entry's position"))?);
    let payload = match entry.payload {
        None => EntryPayload::Blank,
        Some(wire::log_entry::Payload::Command(command)) => EntryPayload::Normal(Encoded(command)),
        Some(wire::log_entry::Payload::Membership(m)) => EntryPayload::Membership(membership_from(m)?),
    };
    Ok(Entry::new(id, payload))
}

fn checksum(index: u64, message: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&index.to_be_bytes());
    crc.update(message);
    crc.finalize()
}

/// An entry as it stands in the log.
pub(crate) fn frame_entry(entry: &Entry) -> Vec<u8> {
    let message = entry_to(entry);
    let mut frame = Vec::with_capacity(FRAME + message.encoded_len());
    frame.extend_from_slice(&[ENTRY_VERSION, 0, 0, 0, 0]);
    message.encode_raw(&mut frame);
    let crc = checksum(entry.log_id.index, &frame[FRAME..]);
    frame[1..FRAME].copy_from_slice(&crc.to_le_bytes());
    frame
}

/// A frame that fits any message, also one that is no entry.
#[cfg(test)]
pub(crate) fn frame_bytes(index: u64, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![ENTRY_VERSION];
    frame.extend(checksum(index, message).to_le_bytes());
    frame.extend(message);
    frame
}

/// The entry that stands in the log under `index`.
pub(crate) fn unframe_entry(index: u64, frame: Bytes) -> Result<Entry, CodecError> {
    let short = || CodecError::malformed("log entry", "too short");
    let (&version, rest) = frame.split_first().ok_or_else(short)?;
    if version != ENTRY_VERSION {
        return Err(CodecError::Version { what: "log entry", found: version, expected: ENTRY_VERSION });
    }
    let (crc, message) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    if checksum(index, message) != u32::from_le_bytes(*crc) {
        return Err(CodecError::Checksum { index });
    }
    let entry = entry_from(decode("log entry", frame.slice(FRAME..))?)?;
    if entry.log_id.index == index { Ok(entry) } else { Err(CodecError::malformed("log entry", "it has another index")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry::new(log_id(3, 7), EntryPayload::Normal(Encoded(Bytes::from_static(b"command"))))
    }

    #[test]
    fn an_entry_reads_back() {
        let members = Membership::new(
            vec![BTreeSet::from([1]), BTreeSet::from([1, 2])],
            BTreeMap::from([1, 2].map(|id| (id, Peer { name: format!("c{id}"), address: format!("host{id}:3031") }))),
        );
        for payload in [entry().payload, EntryPayload::Blank, EntryPayload::Membership(members.unwrap())] {
            let entry = Entry::new(log_id(3, 7), payload);
            assert_eq!(unframe_entry(7, frame_entry(&entry).into()).unwrap(), entry);
        }
    }

    /// Frozen: what this release wrote, every later one reads.
    #[test]
    fn the_stored_form_stays() {
        let golden = "0157a6180b0a04080310071207636f6d6d616e64";
        assert_eq!(hex::encode(frame_entry(&entry())), golden);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let frame = frame_entry(&entry());
        for bit in 0..frame.len() * 8 {
            let mut bad = frame.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(unframe_entry(7, bad.into()).is_err(), "bit {bit}");
        }
        assert!(unframe_entry(8, frame.into()).is_err(), "under another index");
    }
}
