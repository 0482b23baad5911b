//! The ledger on a real file system.

use std::fs;

use ring_types::{InstanceId, NodeId};
use uuid::Uuid;

use super::file::LedgerFile;
use super::{Ledger, LedgerError};
use crate::next::Durability;
use crate::next::cases::record;
use crate::record::Phase;

const NODE: NodeId = NodeId(Uuid::from_u128(9));

fn instance(n: u128) -> InstanceId {
    InstanceId(Uuid::from_u128(n))
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (ledger, found) = Ledger::open(dir.path(), NODE).unwrap();
    assert!(found.is_empty());
    ledger.write(instance(1), record(Phase::Claiming), Durability::Fsync).await.unwrap();
    ledger.write(instance(2), record(Phase::Exited), Durability::Fsync).await.unwrap();
    ledger.write(instance(1), record(Phase::Started), Durability::Lazy).await.unwrap();
    ledger.write(instance(3), record(Phase::Claiming), Durability::Fsync).await.unwrap();
    ledger.forget(instance(3)).await.unwrap();
    drop(ledger);
    let records = reopen(dir.path());
    assert_eq!(records.len(), 2);
    assert_eq!(records[&instance(1)], record(Phase::Started));
    assert_eq!(records[&instance(2)], record(Phase::Exited));
}

/// The writer closes the file a moment after the last handle is dropped.
fn reopen(dir: &std::path::Path) -> std::collections::BTreeMap<InstanceId, crate::Record> {
    loop {
        match Ledger::open(dir, NODE) {
            Ok((_, records)) => return records,
            Err(LedgerError::InUse(_)) => std::thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_file_torn_at_any_byte_keeps_every_whole_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let mut ends = Vec::new();
    let mut file = LedgerFile::open(dir.path(), NODE).unwrap();
    ends.push(fs::metadata(&path).unwrap().len() as usize);
    for n in 1..=3 {
        file.append(vec![(instance(n), Some(record(Phase::Starting))), (instance(n + 10), None)], false).unwrap();
        ends.push(fs::metadata(&path).unwrap().len() as usize);
    }
    drop(file);
    let whole = fs::read(&path).unwrap();
    for length in ends[0]..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut file = LedgerFile::open(dir.path(), NODE).unwrap();
        let batches = ends.iter().filter(|end| **end <= length).count() - 1;
        assert_eq!(file.records().len(), batches, "torn at {length}");
        // And it goes on from there.
        file.append(vec![(instance(99), Some(record(Phase::Claiming)))], false).unwrap();
        drop(file);
        assert_eq!(LedgerFile::open(dir.path(), NODE).unwrap().records().len(), batches + 1);
    }
}

#[test]
fn a_flipped_bit_in_the_last_batch_is_a_torn_batch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger");
    let mut file = LedgerFile::open(dir.path(), NODE).unwrap();
    file.append(vec![(instance(1), Some(record(Phase::Starting)))], true).unwrap();
    file.append(vec![(instance(1), Some(record(Phase::Exited)))], true).unwrap();
    drop(file);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let file = LedgerFile::open(dir.path(), NODE).unwrap();
    assert_eq!(file.records()[&instance(1)].phase, Phase::Starting);
}

#[test]
fn the_file_does_not_grow_with_history() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = LedgerFile::open(dir.path(), NODE).unwrap();
    for _ in 0..5_000 {
        file.append(vec![(instance(1), Some(record(Phase::Started)))], false).unwrap();
    }
    assert!(fs::metadata(dir.path().join("ledger")).unwrap().len() < 300 * 1024);
    drop(file);
    assert_eq!(LedgerFile::open(dir.path(), NODE).unwrap().records()[&instance(1)], record(Phase::Started));
}

#[test]
fn a_rewrite_that_was_not_finished_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = LedgerFile::open(dir.path(), NODE).unwrap();
    file.append(vec![(instance(1), Some(record(Phase::Started)))], true).unwrap();
    drop(file);
    fs::write(dir.path().join("ledger.new"), b"half").unwrap();
    assert_eq!(LedgerFile::open(dir.path(), NODE).unwrap().records().len(), 1);
}

#[test]
fn a_second_agent_and_another_node_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = LedgerFile::open(dir.path(), NODE).unwrap();
    assert!(matches!(LedgerFile::open(dir.path(), NODE), Err(LedgerError::InUse(_))));
    drop(file);
    let other = NodeId(Uuid::from_u128(10));
    assert!(matches!(LedgerFile::open(dir.path(), other), Err(LedgerError::Stranger { .. })));
    fs::write(dir.path().join("ledger"), b"something else").unwrap();
    assert!(matches!(LedgerFile::open(dir.path(), NODE), Err(LedgerError::Format { .. })));
}

#[test]
fn after_a_failed_write_the_file_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = LedgerFile::open(dir.path(), NODE).unwrap();
    file.append(vec![(instance(1), Some(record(Phase::Claiming)))], true).unwrap();
    file.fail_next();
    assert!(file.append(vec![(instance(1), Some(record(Phase::Starting)))], true).is_err());
    assert_eq!(file.records()[&instance(1)].phase, Phase::Claiming);
    file.append(vec![(instance(1), Some(record(Phase::Exited)))], true).unwrap();
    drop(file);
    assert_eq!(LedgerFile::open(dir.path(), NODE).unwrap().records()[&instance(1)].phase, Phase::Exited);
}
