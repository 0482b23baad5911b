//! Layers put over one another, and what no layer may do.

use std::os::unix::fs::MetadataExt;

use proptest::prelude::*;

use super::*;

/// An entry as somebody means it who keeps to no rules.
fn add(tar: &mut Vec<u8>, name: &str, kind: EntryType, content: &[u8], link: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    let fields = header.as_gnu_mut().unwrap();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn layer(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (name, kind, content) in entries {
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let (bytes, link) = if is_link { (&b""[..], *content) } else { (content.as_bytes(), "") };
        add(&mut tar, name, *kind, bytes, link);
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

const FILE: EntryType = EntryType::Regular;
const DIR: EntryType = EntryType::Directory;
const LINK: EntryType = EntryType::Symlink;
const SAME: EntryType = EntryType::Link;

struct Place {
    temp: tempfile::TempDir,
    tree: PathBuf,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::create_dir(temp.path().join("outside")).unwrap();
        fs::write(temp.path().join("outside/secret"), "secret").unwrap();
        Self { temp, tree }
    }

    fn unpack(&self, layers: &[Vec<u8>]) -> io::Result<()> {
        let mut unpacker = Unpacker::new(&self.tree, 1 << 20, Stop::default())?;
        for layer in layers {
            unpacker.layer(layer.as_slice())?;
        }
        unpacker.finish();
        Ok(())
    }

    /// Everything in the tree, sorted.
    fn names(&self) -> Vec<String> {
        let (mut names, mut open) = (Vec::new(), vec![self.tree.clone()]);
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                names.push(path.strip_prefix(&self.tree).unwrap().display().to_string());
                if fs::symlink_metadata(&path).unwrap().is_dir() {
                    open.push(path);
                }
            }
        }
        names.sort();
        names
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.tree.join(name)).unwrap()
    }

    fn outside_is_as_it_was(&self) -> bool {
        let names: Vec<_> =
            fs::read_dir(self.temp.path().join("outside")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        let beside = fs::read_dir(self.temp.path()).unwrap().count();
        let secret = fs::metadata(self.temp.path().join("outside/secret")).unwrap();
        names == ["secret"] && beside == 2 && secret.nlink() == 1 && secret.len() == 6
    }
}

#[test]
fn a_whiteout_takes_away_what_is_below() {
    let place = Place::new();
    let lower = layer(&[
        ("a/x", FILE, "1"),
        ("a/y", FILE, "1"),
        ("a/dir/", DIR, ""),
        ("a/dir/z", FILE, "1"),
        ("b/old", FILE, "1"),
        ("b/sub/old", FILE, "1"),
        ("c", FILE, "1"),
    ]);
    let upper = layer(&[
        ("a/.wh.x", FILE, ""),
        ("a/.wh.dir", FILE, ""),
        // What the layer itself has stays, whether it comes before the marker or after.
        ("b/new", FILE, "2"),
        ("b/sub/new", FILE, "2"),
        ("b/.wh..wh..opq", FILE, ""),
        ("b/last", FILE, "2"),
        (".wh.c", FILE, ""),
        (".wh.nothing", FILE, ""),
        ("none/.wh..wh..opq", FILE, ""),
    ]);
    place.unpack(&[lower, upper]).unwrap();
    assert_eq!(place.names(), ["a", "a/y", "b", "b/last", "b/new", "b/sub", "b/sub/new"]);
}

#[test]
fn a_later_layer_replaces_what_an_earlier_has() {
    let place = Place::new();
    let lower = layer(&[
        ("file", FILE, "1"),
        ("dir/x", FILE, "1"),
        ("kept/x", FILE, "1"),
        ("link", LINK, "kept"),
        ("to-file", LINK, "file"),
    ]);
    let upper = layer(&[
        ("file", DIR, ""),
        ("file/y", FILE, "2"),
        ("dir", FILE, "2"),
        ("kept/", DIR, ""),
        ("link", DIR, ""),
        ("to-file", FILE, "2"),
    ]);
    place.unpack(&[lower, upper]).unwrap();
    assert_eq!(place.names(), ["dir", "file", "file/y", "kept", "kept/x", "link", "to-file"]);
    assert_eq!((place.text("dir"), place.text("to-file")), ("2".to_owned(), "2".to_owned()));
}

#[test]
fn attributes_are_those_of_the_image() {
    let place = Place::new();
    let mut tar = layer(&[]);
    tar.clear();
    add(&mut tar, "dir", DIR, b"", "");
    add(&mut tar, "dir/file", FILE, b"x", "");
    add(&mut tar, "dir/same", SAME, b"", "dir/file");
    add(&mut tar, "fifo", EntryType::Fifo, b"", "");
    add(&mut tar, "null", EntryType::Char, b"", "");
    add(&mut tar, "sda", EntryType::Block, b"", "");
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o4755);
    header.set_path("su").unwrap();
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header.set_cksum();
    tar.extend_from_slice(header.as_bytes());
    tar.resize(tar.len() + 1024, 0);
    place.unpack(&[tar]).unwrap();
    assert_eq!(place.names(), ["dir", "dir/file", "dir/same", "fifo", "su"], "devices are a guest's own matter");
    let found = |name: &str| fs::symlink_metadata(place.tree.join(name)).unwrap();
    assert_eq!(found("su").mode() & 0o7777, 0o4755);
    assert_eq!((found("dir/file").ino(), found("dir/file").nlink()), (found("dir/same").ino(), 2));
    assert_eq!((found("dir").mtime(), found("dir/file").mtime()), (1_000_000_000, 1_000_000_000));
    if rustix::process::geteuid().is_root() {
        assert_eq!((found("dir").uid(), found("dir/file").uid(), found("dir/file").gid()), (7, 7, 8));
    }
}

#[test]
fn what_leads_out_leads_nowhere() {
    let refused = |layers: &[Vec<u8>]| {
        let place = Place::new();
        let error = place.unpack(layers).unwrap_err().to_string();
        assert!(place.outside_is_as_it_was(), "{error}");
        error
    };
    assert!(refused(&[layer(&[("../outside/x", FILE, "x")])]).contains("'../outside/x'"));
    assert!(refused(&[layer(&[("a/../../outside/x", FILE, "x")])]).contains("leads out"));
    assert!(refused(&[layer(&[("same", SAME, "../outside/secret")])]).contains("leads out"));
    assert!(refused(&[layer(&[("../.wh.outside", FILE, "")])]).contains("leads out"));

    let place = Place::new();
    let outside = place.temp.path().join("outside").display().to_string();
    let links =
        layer(&[("up", LINK, "../../../../../../../.."), ("abs", LINK, &outside), ("to-file", LINK, "../outside/secret")]);
    // All of these are inside, whatever the names say: the tree is the root.
    let inside = layer(&[
        (&format!("{}/here", &outside[1..]), FILE, "in the tree"),
        ("/absolute", FILE, "in the tree"),
        ("abs/.wh.secret", FILE, ""),
        ("abs/.wh..wh..opq", FILE, ""),
        ("up/file", FILE, "in the tree"),
        ("to-file", FILE, "replaced, not written through"),
    ]);
    place.unpack(&[links, inside]).unwrap();
    assert!(place.outside_is_as_it_was());
    assert_eq!((place.text("file"), place.text("absolute")), ("in the tree".to_owned(), "in the tree".to_owned()));
    assert_eq!(place.text("to-file"), "replaced, not written through");
}

#[test]
fn there_is_a_limit_and_a_way_to_stop() {
    let place = Place::new();
    let mut unpacker = Unpacker::new(&place.tree, 10, Stop::default()).unwrap();
    unpacker.layer(layer(&[("a", FILE, "123456")]).as_slice()).unwrap();
    let error = unpacker.layer(layer(&[("b", FILE, "123456")]).as_slice()).unwrap_err();
    assert!(error.to_string().contains("'b'") && error.kind() == io::ErrorKind::FileTooLarge, "{error}");
    let stop = Stop::default();
    let mut unpacker = Unpacker::new(&place.tree, 10, Arc::clone(&stop)).unwrap();
    stop.store(true, Ordering::Relaxed);
    assert_eq!(unpacker.layer(layer(&[("c", FILE, "1")]).as_slice()).unwrap_err().kind(), io::ErrorKind::Interrupted);
    assert!(!place.names().contains(&"c".to_owned()));
    assert!(place.unpack(&[b"this is no archive at all, but it is long enough".repeat(20)]).is_err());
}

fn name() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => Just("a"), 3 => Just("b"), 1 => Just(".."), 1 => Just("outside"), 1 => Just(".wh.a"), 1 => Just(".wh..wh..opq"),
        1 => Just("."), 1 => Just("")
    ];
    proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_image_says_nothing_outside_changes(
        entries in proptest::collection::vec((name(), 0..5_usize, name()), 1..12),
        split in any::<prop::sample::Index>(),
    ) {
        let place = Place::new();
        let kinds = [FILE, DIR, LINK, SAME, EntryType::Fifo];
        let entries: Vec<(&str, EntryType, &str)> =
            entries.iter().map(|(name, kind, link)| (name.as_str(), kinds[*kind], link.as_str())).collect();
        // What is refused is not the matter: the rest of the layers comes all the same.
        let (lower, upper) = entries.split_at(split.index(entries.len()));
        for entry in lower.iter().chain(upper) {
            let _ = place.unpack(&[layer(std::slice::from_ref(entry))]);
        }
        prop_assert!(place.outside_is_as_it_was());
    }
}
