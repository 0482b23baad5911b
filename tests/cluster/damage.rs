//! Flipped bits and cut files in the data of a stopped control node: refused with a message or without any effect, never served.

use std::fs;
use std::path::{Path, PathBuf};

use ring_testkit::flags::{self, Role};
use ring_testkit::work::{IN_TIME, new_key};
use ring_testkit::{Cluster, RingNode, report, wait};
use serde_json::json;

/// Places in a file that are damaged, one after another.
const PLACES: u64 = 3;

/// Removes everything in the data directory of a node.
fn emptied(node: &RingNode) {
    fs::remove_dir_all(node.data_dir()).unwrap();
    fs::create_dir(node.data_dir()).unwrap();
}

/// Copies a directory, replacing what is there.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn put_back(node: &RingNode, whole: &Path) {
    emptied(node);
    copy(whole, node.data_dir());
}

/// Writes until there is something in every kind of file, and stops all control nodes; keeps the last one's data.
fn stopped(cluster: &Cluster, kept: &Path) {
    let node = cluster.control(2);
    for n in 0..60 {
        let body = json!({ "namespace": "test", "name": format!("c{n}"), "data": { "k": format!("{n:02000}") } });
        let answer = cluster.post(n % 3, "/configs", &body, &new_key()).unwrap();
        assert!(answer.status < 300, "{}", answer.body);
        if n == 30 {
            // A start writes what is in the log of the database into tables.
            node.stop().unwrap();
            node.start().unwrap();
            node.wait_ready().unwrap();
        }
    }
    cluster.wait_same_state().unwrap();
    for node in cluster.controls() {
        node.stop().unwrap();
    }
    copy(node.data_dir(), kept);
}

/// The files of a kind, the largest first.
fn files(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, kind));
        } else if path.file_name().is_some_and(|name| name.to_string_lossy().contains(kind)) {
            found.push(path);
        }
    }
    found.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    found
}

/// Starts the last node alone: revision and digest of the state it serves, or what it said when it refused. It does not run any
/// more when this returns.
fn alone(cluster: &Cluster, what: &str) -> Result<(u64, String), String> {
    let node = cluster.control(2);
    node.start().unwrap();
    let came_up = wait::eventually(IN_TIME, what, || {
        if let Some(status) = node.exited()? {
            return Ok(Some(Err(status)));
        }
        Ok(cluster.status_of(2).ok().map(Ok))
    });
    match came_up.unwrap_or_else(|error| panic!("{what}: {error:#}\n{}", node.tail())) {
        Err(status) => {
            let said = node.tail();
            assert!(!status.success() && status.code().is_some(), "{what}: it ended with {status}\n{said}");
            let advice = said.contains("is damaged") && said.contains("join it again");
            assert!(advice || said.contains("belongs to member"), "{what}: what is wrong, and what to do? {said}");
            Err(said)
        }
        Ok(status) => {
            let (revision, digest) = flags::digest_in(&status).unwrap();
            let served = (revision, digest.to_owned());
            node.kill9().unwrap();
            Ok(served)
        }
    }
}

/// Damages one file after another of a kind, at several places; how often that was refused, and how often it was tried.
fn damage(cluster: &Cluster, whole: &Path, had: &(u64, String), (kind, most): (&str, usize)) -> (usize, usize) {
    let node = cluster.control(2);
    let (mut refused, mut tried) = (0, 0);
    for file in files(&whole.join("store"), kind).into_iter().take(most) {
        let (length, inside) = (file.metadata().unwrap().len(), file.strip_prefix(whole).unwrap());
        let places = (0..PLACES).map(|n| length * (2 * n + 1) / (2 * PLACES));
        for (place, cut) in places.flat_map(|place| [(place, false), (place, true)]) {
            put_back(node, whole);
            let mut bytes = fs::read(&file).unwrap();
            if cut {
                bytes.truncate(place as usize);
            } else {
                bytes[place as usize] ^= 0x10;
            }
            fs::write(node.data_dir().join(inside), bytes).unwrap();
            let how = if cut { "cut at" } else { "a bit flipped in" };
            let what = format!("{} of {length} bytes, {how} byte {place}", inside.display());
            tried += 1;
            match alone(cluster, &what) {
                Err(_) => refused += 1,
                Ok(served) => assert_eq!(served, *had, "{what}: it serves something else\n{}", node.tail()),
            }
        }
    }
    (refused, tried)
}

#[test]
fn damaged_data_is_refused_or_harmless_and_never_served() {
    let cluster = Cluster::loopback(3, 0).unwrap();
    let kept = tempfile::tempdir().unwrap();
    let whole = kept.path().join("whole");
    stopped(&cluster, &whole);
    let node = cluster.control(2);
    let had = alone(&cluster, "undamaged").unwrap();
    let mut told = Vec::new();
    for kind in [(".log", 1), (".sst", 3), ("MANIFEST", 1), ("CURRENT", 1), ("identity", 1)] {
        let (refused, tried) = damage(&cluster, &whole, &had, kind);
        told.push(format!("{}: {refused} of {tried} refused", kind.0));
        assert!(refused > 0, "{}: nothing was noticed in {tried} tries", kind.0);
    }
    report::line(&format!("damaged files of a control node: {}; what was not refused served what it had", told.join(", ")));

    // What it had is given up: it joins as a new one.
    emptied(node);
    for other in [0, 1] {
        cluster.control(other).start().unwrap();
    }
    cluster.control(0).wait_ready().unwrap();
    cluster.cli_to(0).ok(["cluster", "remove", node.name()]).unwrap();
    let members = [0, 1].map(|index| cluster.control(index).cluster_address());
    node.join(&members, &cluster.join_token(Role::Control).unwrap()).unwrap();
    node.wait_ready().unwrap();
    cluster.wait_voters().unwrap();
    cluster.wait_same_state().unwrap();
}
