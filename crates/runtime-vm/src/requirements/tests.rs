//! What is said of hosts.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn wanted(dir: &Path) -> Wanted {
    let mut wanted = Wanted::from(&VmConfig { binary: dir.join("cloud-hypervisor"), ..VmConfig::new(dir) });
    wanted.shares.program = Some(dir.join("none"));
    wanted
}

fn program_that_says(path: &Path, words: &str) {
    std::fs::write(path, format!("#!/bin/sh\necho '{words}'\n")).expect("a script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a program");
}

fn of<'a>(all: &'a [Requirement], name: &str) -> &'a Requirement {
    all.iter().find(|one| one.name == name).expect("it was looked at")
}

#[tokio::test]
async fn a_host_without_anything_is_told_what_and_how() {
    let dir = tempfile::tempdir().unwrap();
    let all = requirements(&wanted(dir.path())).await;
    let obstacle = obstacle(&all).unwrap();
    assert!(obstacle.contains("cloud-hypervisor") && obstacle.contains("binary_path"), "{obstacle}");
    for name in ["kernel", "firmware", "virtiofsd"] {
        let problem = of(&all, name).problem().unwrap();
        assert!(problem.starts_with(name), "{problem}");
        assert!(missing(&all).contains(&format!("no {name}")));
    }
    assert!(of(&all, "kernel").remedy.contains("kernel_path"));
    assert!(of(&all, "firmware").remedy.contains("firmware_path"));
}

#[tokio::test]
async fn a_program_is_judged_by_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let wanted = wanted(dir.path());
    program_that_says(&wanted.binary, "cloud-hypervisor v53.0-3-gabcdef");
    let all = requirements(&wanted).await;
    assert_eq!(of(&all, "cloud-hypervisor").found, Ok("53.0-3-gabcdef".to_owned()));
    program_that_says(&wanted.binary, "something else");
    assert!(of(&requirements(&wanted).await, "cloud-hypervisor").problem().unwrap().contains("something else"));
}

#[tokio::test]
async fn a_kernel_is_known_by_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vmlinuz");
    let wanted = Wanted { kernel: Some(path.clone()), ..wanted(dir.path()) };
    let found = |content: &[u8]| {
        std::fs::write(&path, content).expect("a file");
        kernel::kernel(&wanted).found
    };
    assert!(found(b"\x7fELF\x02").unwrap().contains("vmlinux"));
    let mut compressed = vec![0; 0x300];
    compressed[0x202..0x206].copy_from_slice(b"HdrS");
    assert!(found(&compressed).unwrap().contains("bzImage"));
    assert!(found(b"no kernel").unwrap_err().contains("no kernel"));
    assert!(found(b"").unwrap_err().contains("empty"));
    std::fs::remove_file(&path).unwrap();
    assert!(kernel::kernel(&wanted).found.is_err());
}

#[tokio::test]
async fn what_the_configuration_names_is_a_fault_when_it_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let bare = Wanted { shares: SharesConfig::new(nowhere.clone()), ..wanted(dir.path()) };
    let all = requirements(&bare).await;
    assert!(all.iter().all(|one| !one.configured), "nothing is named: {all:?}");
    assert!(!all.iter().any(|one| one.name == "kernel modules"));
    let named = Wanted {
        kernel: Some(nowhere.clone()),
        firmware: Some(nowhere.clone()),
        modules: vec![nowhere.clone()],
        ..wanted(dir.path())
    };
    let all = requirements(&named).await;
    for name in ["kernel", "firmware", "virtiofsd"] {
        assert!(of(&all, name).configured && of(&all, name).found.is_err(), "{name}");
    }
    let modules = of(&all, "kernel modules").problem().unwrap();
    assert!(modules.contains("nowhere") && modules.contains("kernel_modules"), "{modules}");
}

#[tokio::test]
async fn guests_without_a_network_need_none_of_what_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let named = |all: &[Requirement]| all.iter().map(|one| one.name).collect::<Vec<_>>();
    let with = named(&requirements(&wanted(dir.path())).await);
    let without = named(&requirements(&Wanted { network: false, ..wanted(dir.path()) }).await);
    let gone: Vec<_> = with.iter().filter(|name| !without.contains(name)).copied().collect();
    assert_eq!(gone, ["/dev/net/tun", "packet filter", "ip_forward"]);
}
