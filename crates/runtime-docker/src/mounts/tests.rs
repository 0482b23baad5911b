//! Tests of what is mounted.

use std::sync::Arc;

use ring_runtime::MountedFile;

use super::*;
use crate::create::tests::workload;

fn volume(kind: VolumeKind, source: &str, destination: &str) -> Volume {
    Volume {
        kind,
        source: source.to_owned(),
        destination: destination.to_owned(),
        key: None,
        driver: VolumeDriver::Local,
        permission: Permission::ReadOnly,
    }
}

fn with(volumes: Vec<Volume>) -> Workload {
    let mut workload = workload();
    Arc::make_mut(&mut workload.spec).volumes = volumes;
    workload
}

#[test]
fn each_kind_is_mounted_as_the_table_says() {
    let mut workload = with(vec![
        volume(VolumeKind::Bind, "/srv", "/data"),
        volume(VolumeKind::Volume, "pages", "/pages"),
        volume(VolumeKind::Volume, "", "/scratch"),
        volume(VolumeKind::Secret, "key", "/run/key"),
    ]);
    Arc::make_mut(&mut workload.spec).volumes[2].permission = Permission::ReadWrite;
    workload.files = vec![MountedFile { destination: "/run/key".to_owned(), content: "k".into(), secret: true }];
    let made = mounts(&workload, &["/run/ring-files/1/0".into()]).unwrap();
    let told: Vec<_> = made.iter().map(|m| (m.typ.unwrap(), m.source.as_deref(), m.read_only.unwrap())).collect();
    let expected = [
        (MountType::BIND, Some("/srv"), true),
        (MountType::VOLUME, Some("ring_shop_pages"), true),
        (MountType::VOLUME, None, false),
        (MountType::BIND, Some("/run/ring-files/1/0"), true),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_file_that_did_not_come_is_a_missing_config() {
    let refused = mounts(&with(vec![volume(VolumeKind::Config, "app", "/etc/app")]), &[]).unwrap_err();
    assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::Config));
    assert!(refused.message.contains("config 'app'"), "{refused}");
}

#[test]
fn a_named_volume_says_whose_it_is() {
    let namespace = Name::new("shop").unwrap();
    let request = request(&namespace, &volume(VolumeKind::Volume, "pages", "/pages")).unwrap().unwrap();
    let labels = request.labels.unwrap();
    assert_eq!((labels["ring_namespace"].as_str(), labels["ring_volume"].as_str()), ("shop", "pages"));
    assert_eq!(request.driver.as_deref(), Some("local"));
}

#[test]
fn a_path_of_a_file_server_is_mounted_by_the_engine() {
    let mut shared = volume(VolumeKind::Volume, "files.lan:/export/shop", "/shared");
    shared.driver = VolumeDriver::Nfs;
    let namespace = Name::new("shop").unwrap();
    let reading = request(&namespace, &shared).unwrap().unwrap();
    let options = reading.driver_opts.unwrap();
    assert_eq!(options["type"], "nfs");
    assert_eq!(options["o"], "addr=files.lan,ro,nfsvers=4");
    assert_eq!(options["device"], ":/export/shop");
    shared.permission = Permission::ReadWrite;
    let writing = request(&namespace, &shared).unwrap().unwrap();
    assert_ne!(reading.name, writing.name);
    assert!(writing.name.unwrap().starts_with("ring_shop_nfs_"));
    for wrong in ["", "files", "files:export", ":/export"] {
        shared.source = wrong.to_owned();
        let refused = request(&namespace, &shared).unwrap_err();
        assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::FileSystem), "{wrong}");
    }
}

#[test]
fn a_path_that_is_not_there_is_named_with_its_node() {
    let workload = with(vec![volume(VolumeKind::Bind, "/srv", "/a"), volume(VolumeKind::Bind, "/srv/pages", "/b")]);
    let docker = "invalid mount config for type \"bind\": bind source path does not exist: /srv/pages";
    let told = missing_path(&workload, docker, "h1").unwrap();
    assert!(told.contains("'/srv/pages' at '/b'") && told.contains("node 'h1'"), "{told}");
    assert_eq!(missing_path(&workload, "no space left on device", "h1"), None);
}
