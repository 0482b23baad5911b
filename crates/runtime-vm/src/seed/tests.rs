//! Seed disks, read back as a guest reads them.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use fatfs::{FileSystem, FsOptions};
use serde_json::Value;

use super::*;

/// What no form may spoil.
const NASTY: &str = "a 'b' \"c\" \\ $HOME `id` #x: - {y} \u{fc} %s";

fn seed() -> Seed {
    let mount = |tag: &str, path: &str, destination: &str, read_only| ring_guest::Mount {
        tag: tag.to_owned(),
        path: path.to_owned(),
        destination: destination.to_owned(),
        read_only,
    };
    let file = |destination: &str, content: &'static str| MountedFile {
        destination: destination.to_owned(),
        content: content.into(),
        secret: true,
    };
    Seed {
        instance: "01890000-0000-7000-8000-0000deadbeef".parse().expect("an id"),
        hostname: "web-1: #".to_owned(),
        environment: BTreeMap::from([
            ("NASTY".to_owned(), NASTY.to_owned()),
            ("LINES".to_owned(), "one\ntwo".to_owned()),
            ("TOKEN".to_owned(), "s3cr3t-of-the-environment".to_owned()),
        ]),
        files: vec![file("/mnt/app/it's secret", "s3cr3t-of-a-file"), file("/mnt/app/other", "")],
        mounts: vec![mount("ring1", "", "/mnt/data/inner", true), mount("ring0", "", "/mnt/data", false)],
        network: Some(Attached {
            tap: "rvm-0001-0001".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            guest: "10.214.0.6/30".parse().expect("a network"),
            gateway: "10.214.0.5".parse().expect("an address"),
            dns: vec!["192.0.2.53".parse().expect("an address")],
            search: vec!["a.example".to_owned()],
            mtu: 1400,
        }),
    }
}

async fn written(dir: &Path) -> PathBuf {
    Seeds::new(Some(dir.to_owned())).write(seed()).await.expect("it is written")
}

/// The files of a volume, by a reader that knows only FAT.
fn read(path: &Path, name: &str) -> String {
    let file = std::fs::File::open(path).expect("the disk");
    // The reader wants to write, too; what it writes goes nowhere.
    let volume = FileSystem::new(ReadOnly(file), FsOptions::new()).expect("a FAT volume");
    assert_eq!(volume.volume_label(), "CIDATA");
    let mut text = String::new();
    volume.root_dir().open_file(name).expect("the file").read_to_string(&mut text).expect("text");
    text
}

struct ReadOnly(std::fs::File);

impl io::Read for ReadOnly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl io::Write for ReadOnly {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl io::Seek for ReadOnly {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

#[tokio::test]
async fn a_seed_disk_says_what_it_was_told_and_user_data_has_no_secret() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = written(dir.path()).await;
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let parsed = |name: &str| serde_yaml::from_str::<Value>(&read(&path, name)).unwrap();
    let meta = parsed("meta-data");
    assert_eq!(meta["instance-id"], "01890000-0000-7000-8000-0000deadbeef");
    assert_eq!(meta["local-hostname"], "web-1: #");
    let network = parsed("network-config");
    let ethernet = &network["ethernets"]["ring0"];
    assert_eq!((&network["version"], &ethernet["mtu"]), (&Value::from(2), &Value::from(1400)));
    assert_eq!(ethernet["match"]["macaddress"], "02:00:00:00:00:01");
    assert_eq!(ethernet["addresses"][0], "10.214.0.6/30");
    assert_eq!((&ethernet["routes"][0]["to"], &ethernet["routes"][0]["via"]), (&"0.0.0.0/0".into(), &"10.214.0.5".into()));
    assert_eq!((&ethernet["nameservers"]["addresses"][0], &ethernet["dhcp4"]), (&"192.0.2.53".into(), &false.into()));
    let user = read(&path, "user-data");
    assert!(user.starts_with("#cloud-config\n"));
    let user: Value = serde_yaml::from_str(&user).unwrap();
    assert_eq!(user["bootcmd"][0][2], script::BOOT);
    for name in ["user-data", "meta-data", "network-config", "ring-setup.sh"] {
        assert!(!read(&path, name).contains("s3cr3t"), "{name}");
    }
    assert!(read(&path, "ring-environment").contains("TOKEN=\"s3cr3t-of-the-environment\"\n"));
    assert_eq!(read(&path, "ring-file-0"), "s3cr3t-of-a-file");
}

#[tokio::test]
async fn other_tools_read_it_too() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = written(dir.path()).await;
    if Command::new("mdir").arg("--version").output().is_err() {
        println!("NOT RUN: mtools is not installed");
        return;
    }
    let run = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).arg("-i").arg(&path).args(arguments).output().unwrap();
        assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    assert!(run("mlabel", &["-s", "::"]).contains("CIDATA"));
    assert_eq!(run("mtype", &["::ring-file-0"]), "s3cr3t-of-a-file");
    assert_eq!(run("mtype", &["::user-data"]), read(&path, "user-data"));
    if Command::new("fsck.vfat").arg("--help").output().is_ok() {
        let checked = Command::new("fsck.vfat").arg("-n").arg(&path).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    }
}

#[tokio::test]
async fn disks_come_go_and_are_written_again() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let seeds = Seeds::new(Some(dir.path().to_owned()));
    let large = MountedFile { destination: "/x".to_owned(), content: vec![7; 3 << 20].into(), secret: true };
    for files in [Vec::new(), vec![large; 5]] {
        seeds.write(Seed { files, ..seed() }).await.unwrap();
    }
    assert_eq!(seeds.leftovers(), [seed().instance]);
    let bad = Seed { environment: BTreeMap::from([("A".to_owned(), "s3cr3t\0".to_owned())]), ..seed() };
    let refused = seeds.write(bad).await.unwrap_err();
    assert!(refused.message.contains("'A'") && !refused.message.contains("s3cr3t"), "{refused}");
    seeds.remove(seed().instance).await.unwrap();
    seeds.remove(seed().instance).await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Runs the script of a seed in a mount namespace where `/run`, `/etc` and `/mnt` are empty and `mount` only takes binds.
#[tokio::test]
async fn the_script_puts_everything_in_its_place_and_a_second_run_changes_nothing() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    for (name, content) in files(&seed()).unwrap() {
        let path = dir.path().join("disk").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let script = r#"
        set -e
        for place in /run /etc /mnt; do mount -t tmpfs tmpfs $place; done
        mkdir -p /run/ring/seed /etc/profile.d /run/bin
        cp -r "$1"/. /run/ring/seed
        printf 'LANG="C"' > /etc/environment
        real=$(command -v mount)
        printf '#!/bin/sh\n[ "$1" = --bind ] && exec %s "$@"\necho "$*" >> /run/asked\nexec %s -t tmpfs tmpfs "$6"\n' $real $real > /run/bin/mount
        chmod +x /run/bin/mount
        PATH=/run/bin:$PATH
        cp /etc/environment /run/original
        for round in 1 2; do sh /run/ring/seed/ring-setup.sh; done
        cat /run/asked
        echo ==
        cat "/mnt/app/it's secret"
        echo ==
        grep -c TOKEN /etc/environment
        grep LANG /etc/environment
        stat -c %a /etc/environment "/mnt/app/it's secret" /run/ring/kept
        echo ==
        . /etc/profile.d/ring.sh
        printf %s "$NASTY"
        echo ==
        printf %s "$LINES"
        echo ==
        umount /etc/environment
        cat /etc/environment
    "#;
    let run = Command::new("unshare").args(["--mount", "sh", "-c", script, "sh"]).arg(dir.path().join("disk")).output();
    let Ok(done) = run.filter_namespaces() else { return };
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let parts: Vec<&str> = said.split("==\n").collect();
    assert_eq!(parts[0], "-t virtiofs -o rw ring0 /mnt/data\n-t virtiofs -o ro ring1 /mnt/data/inner\n");
    assert_eq!(parts[1], "s3cr3t-of-a-file");
    assert_eq!(parts[2], "1\nLANG=\"C\"\n644\n444\n711\n");
    assert_eq!((parts[3], parts[4]), (NASTY, "one\ntwo"));
    assert_eq!(parts[5], "LANG=\"C\"", "the image's own file is as it was");
}

trait Namespaces {
    fn filter_namespaces(self) -> io::Result<std::process::Output>;
}

impl Namespaces for io::Result<std::process::Output> {
    /// Says so where no mount namespace can be made.
    fn filter_namespaces(self) -> Self {
        let refused = match self {
            Ok(done) if !String::from_utf8_lossy(&done.stderr).contains("unshare failed") => return Ok(done),
            Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        println!("NOT RUN: no mount namespace can be made here: {refused}");
        Err(io::Error::other(refused))
    }
}
