//! Damaged data: a torn end is what a power cut leaves and is taken; an end that was on disk and is gone, or a changed byte in the
//! middle, is refused, and said.

#![allow(clippy::unwrap_used)] // It is test code, but not all of it in test functions.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Member, Plain, compaction, has, namespace, request};
use ring_state::State;
use ring_store::{Store, StoreConfig, StoreError};

const WRITES: usize = 300;

/// A stopped store with everything in its write-ahead log.
async fn written(dir: PathBuf) -> StoreConfig {
    let member = Member::start(1, dir, |_| {}).await;
    for n in 0..WRITES {
        member.store.propose(request(n as u128 + 1), namespace(&format!("ns-{n}"))).await.unwrap();
    }
    member.stop().await;
    member.config.clone()
}

fn copied(config: &StoreConfig, to: &Path) -> StoreConfig {
    for folder in ["", "db", "snapshots"] {
        fs::create_dir_all(to.join(folder)).unwrap();
        for entry in fs::read_dir(config.data_dir.join(folder)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), to.join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    StoreConfig { data_dir: to.to_owned(), ..config.clone() }
}

fn wal(config: &StoreConfig) -> PathBuf {
    let files = fs::read_dir(config.data_dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let logs = files.filter(|path| path.extension().is_some_and(|e| e == "log"));
    logs.max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

fn count(state: &State) -> usize {
    (0..WRITES).take_while(|n| has(state, &format!("ns-{n}"))).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_is_taken() {
    let root = tempfile::tempdir().unwrap();
    let config = written(root.path().join("data")).await;
    for (n, torn) in [1_u64, 7, 100, 5000].into_iter().enumerate() {
        let copy = copied(&config, &root.path().join(format!("copy-{n}")));
        let wal = wal(&copy);
        let length = wal.metadata().unwrap().len();
        fs::File::options().write(true).open(&wal).unwrap().set_len(length - torn).unwrap();
        // A power cut that tears off an end was there before anybody knew that it is on disk.
        fs::remove_file(copy.data_dir.join("synced")).unwrap();
        let store = Store::open(copy, Arc::new(Plain)).await.unwrap();
        let state = store.read().await.unwrap();
        let (kept, all) = (count(&state), state.namespaces().filter(|n| n.name.as_str().starts_with("ns-")).count());
        assert_eq!(kept, all, "what is left has no hole");
        assert!(kept > WRITES / 2, "only the end is gone: {kept}");
        store.propose(request(9999), namespace("later")).await.unwrap();
        store.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_was_on_disk_and_is_gone_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let config = written(root.path().join("data")).await;
    for (n, gone) in [1_u64, 100, 5000].into_iter().enumerate() {
        let copy = copied(&config, &root.path().join(format!("copy-{n}")));
        let wal = wal(&copy);
        let length = wal.metadata().unwrap().len();
        fs::File::options().write(true).open(&wal).unwrap().set_len(length - gone).unwrap();
        let refused = Store::open(copy, Arc::new(Plain)).await.err();
        let Some(error @ StoreError::Damaged { .. }) = refused else { panic!("{gone} bytes: {refused:?}") };
        assert!(error.to_string().contains("its end is missing"), "{error}");
    }
    let store = Store::open(copied(&config, &root.path().join("whole")), Arc::new(Plain)).await.unwrap();
    assert_eq!(count(&store.read().await.unwrap()), WRITES);
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_gone_is_not_made_anew() {
    let root = tempfile::tempdir().unwrap();
    let config = written(root.path().join("data")).await;
    for (n, file) in ["db/CURRENT", "db"].into_iter().enumerate() {
        let copy = copied(&config, &root.path().join(format!("copy-{n}")));
        let path = copy.data_dir.join(file);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        let refused = Store::open(copy, Arc::new(Plain)).await.err();
        assert!(matches!(refused, Some(StoreError::Damaged { .. })), "{file}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_in_the_middle_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let config = written(root.path().join("data")).await;
    for (n, part) in [4, 2].into_iter().enumerate() {
        let copy = copied(&config, &root.path().join(format!("copy-{n}")));
        let wal = wal(&copy);
        let mut bytes = fs::read(&wal).unwrap();
        let middle = bytes.len() / part;
        bytes[middle] ^= 0x40;
        fs::write(&wal, bytes).unwrap();
        let refused = Store::open(copy, Arc::new(Plain)).await.err();
        let Some(error @ StoreError::Damaged { .. }) = refused else { panic!("{refused:?}") };
        let message = error.to_string();
        assert!(message.contains("is damaged") && message.contains("join it again"), "{message}");
    }
}

/// Of the log too, of which a start needs only the end: a member must not find out when another one asks for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_in_a_table_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let config = written(root.path().join("data")).await;
    // A start writes what is in the write-ahead log into tables.
    Store::open(config.clone(), Arc::new(Plain)).await.unwrap().shutdown().await;
    let tables = fs::read_dir(config.data_dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let mut tables: Vec<_> = tables.filter(|path| path.extension().is_some_and(|e| e == "sst")).collect();
    tables.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    assert!(tables.len() > 1, "one of the rows and one of the log: {tables:?}");
    // Entries and rows stand in the front of each; behind them are the index and what describes the table.
    for (n, (table, tenths)) in tables.iter().take(2).flat_map(|table| [1, 3, 5].map(|tenths| (table, tenths))).enumerate() {
        let copy = copied(&config, &root.path().join(format!("copy-{n}")));
        let path = copy.data_dir.join("db").join(table.file_name().unwrap());
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() * tenths / 10;
        bytes[at] ^= 0x10;
        fs::write(&path, bytes).unwrap();
        let refused = Store::open(copy, Arc::new(Plain)).await.err();
        let Some(error @ StoreError::Damaged { .. }) = refused else { panic!("{} at {at}: {refused:?}", path.display()) };
        assert!(error.to_string().contains("join it again"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_made_again() {
    let root = tempfile::tempdir().unwrap();
    let member = Member::start(1, root.path().join("data"), compaction(50, 5)).await;
    let mut n = 0;
    while member.store.status().snapshot == 0 {
        member.store.propose(request(n + 1), namespace(&format!("ns-{n}"))).await.unwrap();
        n += 1;
        assert!(n < 10_000, "no snapshot is taken");
    }
    member.stop().await;
    let folder = member.dir.join("snapshots");
    let path = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let store = Store::open(member.config.clone(), Arc::new(Plain)).await.unwrap();
    assert!(has(&store.read().await.unwrap(), &format!("ns-{}", n - 1)), "the rows do not depend on it");
    store.shutdown().await;
}
