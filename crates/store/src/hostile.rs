//! Bytes that nobody of ours wrote: what is refused is refused with a reason, and never ends the program.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use ring_proto::raft::v1 as wire;
use ring_types::ClusterId;

use crate::codec;
use crate::snapshot::{SnapshotFile, frames, read_snapshot};

const CLUSTER: ClusterId = ClusterId(uuid::Uuid::from_u128(7));

/// A message with some of its bytes changed, or cut, or any bytes at all.
fn damaged(good: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let changed =
        (Just(good), proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), any::<prop::sample::Index>());
    let changed = changed.prop_map(|(mut bytes, changes, cut)| {
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes.truncate(cut.index(2 * bytes.len() + 1).max(bytes.len() / 2));
        bytes
    });
    prop_oneof![3 => changed, 1 => proptest::collection::vec(any::<u8>(), 0..80)]
}

fn membership() -> wire::Membership {
    let peer = wire::Peer { name: "c1".into(), address: "10.0.0.1:3031".into() };
    wire::Membership { configs: vec![wire::Voters { members: vec![1, 2] }], peers: [(1, peer.clone()), (2, peer)].into() }
}

fn entry() -> wire::LogEntry {
    let payload = Some(wire::log_entry::Payload::Membership(membership()));
    wire::LogEntry { log_id: Some(wire::LogId { term: 3, index: 7 }), payload }
}

fn append() -> wire::AppendRequest {
    let vote = Some(wire::Vote { term: 3, member: 1, committed: true });
    wire::AppendRequest { vote, entries: vec![entry(), entry()], ..wire::AppendRequest::default() }
}

fn header() -> wire::SnapshotFrame {
    let stored = wire::StoredMembership { log_id: Some(wire::LogId { term: 1, index: 1 }), membership: Some(membership()) };
    let header = wire::SnapshotHeader {
        format: 1,
        cluster: CLUSTER.0.as_bytes().to_vec().into(),
        last_log: None,
        membership: Some(stored),
        revision: 9,
        ..wire::SnapshotHeader::default()
    };
    wire::SnapshotFrame { frame: Some(wire::snapshot_frame::Frame::Header(header)) }
}

fn rows() -> wire::SnapshotFrame {
    let row = wire::SnapshotRow { key: vec![2, 110].into(), row: vec![10, 1, 110].into() };
    wire::SnapshotFrame { frame: Some(wire::snapshot_frame::Frame::Rows(wire::SnapshotRows { rows: vec![row.clone(), row] })) }
}

fn end() -> wire::SnapshotFrame {
    wire::SnapshotFrame { frame: Some(wire::snapshot_frame::Frame::End(wire::SnapshotEnd { rows: 2, checksum: 5 })) }
}

fn read(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, bytes).unwrap();
    let file = SnapshotFile::open(path).unwrap();
    read_snapshot(&file, CLUSTER, |key, row| crate::disk::read_row(key, row).map(drop)).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn an_entry_whose_checksum_is_right_may_still_be_none(message in damaged(entry().encode_to_vec())) {
        if let Ok(entry) = codec::unframe_entry(7, Bytes::from(codec::frame_bytes(7, &message))) {
            // What was read is written and read as the same.
            let again = codec::unframe_entry(7, codec::frame_entry(&entry).into());
            prop_assert_eq!(again, Ok(entry));
        }
    }

    #[test]
    fn what_another_control_node_sends_is_read_or_refused(message in damaged(append().encode_to_vec())) {
        if let Ok(request) = codec::decode::<wire::AppendRequest>("a request", message.as_slice()) {
            let _ = codec::vote_from(request.vote);
            for entry in request.entries {
                let _ = codec::entry_from(entry);
            }
        }
        if let Ok(request) = codec::decode::<wire::SnapshotHeader>("a header", message.as_slice()) {
            let _ = codec::stored_membership_from(request.membership);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn frames_of_which_one_is_damaged_are_no_snapshot(
        first in damaged(header().encode_to_vec()),
        second in damaged(rows().encode_to_vec()),
        last in damaged(end().encode_to_vec()),
    ) {
        // Each frame has its own checksum right, so it is decoded; the one of everything, in the end, is not.
        prop_assert!(!read(&frames(&[first, second, last])));
    }
}

#[test]
fn a_length_without_its_bytes_takes_no_more_than_a_frame_may_have() {
    let mut file = frames(&[]);
    file.extend(u32::MAX.to_le_bytes());
    file.extend([0; 4]);
    assert!(!read(&file));
    let file = frames(&[header().encode_to_vec()]);
    for cut in 0..file.len() {
        assert!(!read(&file[..cut]));
    }
}
