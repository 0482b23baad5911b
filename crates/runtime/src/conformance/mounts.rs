//! Mounts of every type. The destinations are below the directory the test gives, as the process runtime has no file system of
//! its own to put them in.

use std::path::Path;
use std::sync::Arc;

use ring_types::{InstanceId, Outcome, Permission, StartFailure, Volume, VolumeDriver, VolumeKind};

use super::exec::run;
use super::{FOLLOW, Make, clear, finish, launch, outcome, printed, texts};
use crate::{MountedFile, Runtime, RuntimeErrorKind, Workload};

/// Every case, one after another. `dir` is a directory of the host that everybody can read, and the engine sees.
pub async fn check(runtime: &dyn Runtime, make: Make<'_>, dir: &Path) {
    binds(runtime, make, dir).await;
    a_bind_of_nothing(runtime, make, dir).await;
    named_volumes(runtime, make, dir).await;
    anonymous_volumes(runtime, make, dir).await;
    files(runtime, make, dir).await;
    files_that_did_not_come(runtime, make, dir).await;
    commands_see_the_mounts(runtime, make, dir).await;
}

/// A mount of `source` at `destination`.
pub fn volume(kind: VolumeKind, source: &str, destination: &Path, permission: Permission) -> Volume {
    Volume {
        kind,
        source: source.to_owned(),
        destination: destination.display().to_string(),
        key: (kind == VolumeKind::Config).then(|| "key".to_owned()),
        driver: VolumeDriver::Local,
        permission,
    }
}

fn with(make: Make<'_>, script: &str, volumes: Vec<Volume>) -> Workload {
    let mut workload = make(&["sh", "-c", script]);
    Arc::make_mut(&mut workload.spec).volumes = volumes;
    workload
}

/// What it printed, when it ended with 0.
async fn printed_by(runtime: &dyn Runtime, workload: &Workload) -> Vec<String> {
    launch(runtime, workload).await;
    assert_eq!(outcome(runtime, workload.instance).await, Outcome::Code(0));
    let told = texts(runtime, workload.instance, FOLLOW).await;
    clear(runtime, workload.instance).await;
    told
}

/// A directory of the host, written through, and one that can only be read.
pub async fn binds(runtime: &dyn Runtime, make: Make<'_>, dir: &Path) {
    let (source, rw, ro) = (dir.join("source"), dir.join("rw"), dir.join("ro"));
    std::fs::create_dir_all(&source).expect("a directory");
    std::fs::write(source.join("there"), "before\n").expect("a file");
    let from = source.display().to_string();
    let script = format!(
        "cat {ro}/there; echo after > {rw}/there; cat {ro}/there; (echo x > {ro}/there) 2>/dev/null && echo written; true",
        ro = ro.display(),
        rw = rw.display()
    );
    let volumes = vec![
        volume(VolumeKind::Bind, &from, &rw, Permission::ReadWrite),
        volume(VolumeKind::Bind, &from, &ro, Permission::ReadOnly),
    ];
    assert_eq!(printed_by(runtime, &with(make, &script, volumes)).await, ["before", "after"]);
    assert_eq!(std::fs::read_to_string(source.join("there")).expect("a file"), "after\n");
}

/// A path that is not there is named, and nothing is made in its place.
pub async fn a_bind_of_nothing(runtime: &dyn Runtime, make: Make<'_>, dir: &Path) {
    let source = dir.join("nothing-is-here");
    let from = source.display().to_string();
    let workload = with(make, "true", vec![volume(VolumeKind::Bind, &from, &dir.join("at"), Permission::ReadWrite)]);
    let refused = runtime.prepare(&workload).await.expect_err("a path that is not there was mounted");
    assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::FileSystem), "{refused}");
    assert!(refused.message.contains(&from) && refused.message.contains("node"), "{refused}");
    assert!(!source.exists(), "a directory was made in place of a missing one");
    clear(runtime, workload.instance).await;
}

/// What one instance writes into a named volume the next one reads; another namespace has another volume of the name.
pub async fn named_volumes(runtime: &dyn Runtime, make: Make<'_>, dir: &Path) {
    let at = dir.join("volume");
    let fresh = with(make, "true", Vec::new()).instance;
    let name = format!("pages-{}", tail(fresh));
    let mounted = |permission| vec![volume(VolumeKind::Volume, &name, &at, permission)];
    let writing = format!("echo kept > {}/page", at.display());
    let reading = format!("cat {at}/page; (echo x > {at}/page) 2>/dev/null && echo written; true", at = at.display());
    assert_eq!(printed_by(runtime, &with(make, &writing, mounted(Permission::ReadWrite))).await, [""; 0]);
    assert_eq!(printed_by(runtime, &with(make, &reading, mounted(Permission::ReadOnly))).await, ["kept"]);
    let mut stranger = with(make, &format!("ls {}", at.display()), mounted(Permission::ReadOnly));
    Arc::make_mut(&mut stranger.spec).namespace = ring_types::Name::new("another").expect("a name");
    assert_eq!(printed_by(runtime, &stranger).await, [""; 0]);
}

fn tail(instance: InstanceId) -> String {
    let id = instance.to_string();
    id[id.len() - 12..].to_owned()
}

/// A volume without a name is empty, writable, and nobody else's.
pub async fn anonymous_volumes(runtime: &dyn Runtime, make: Make<'_>, dir: &Path) {
    let at = dir.join("scratch");
    let mounted = || vec![volume(VolumeKind::Volume, "", &at, Permission::ReadWrite)];
    let script = format!("ls {at}; echo mine > {at}/page; cat {at}/page", at = at.display());
    for _ in 0..2 {
        assert_eq!(printed_by(runtime, &with(make, &script, mounted())).await, ["mine"]);
    }
}

/// Configs and secrets are files that whoever the instance runs as can read and nobody can write.
pub async fn files(runtime: &dyn Runtime, make: Make<'_>, dir: &Path) {
    let (config, secret) = (dir.join("etc/app/app.conf"), dir.join("etc/app/key"));
    let script = format!(
        "cat {c} {s}; (echo x > {c}) 2>/dev/null && echo written; (echo x > {s}) 2>/dev/null && echo written; true",
        c = config.display(),
        s = secret.display()
    );
    for user in [None, Some(65534)] {
        let mut workload = with_files(make, &script, &config, &secret);
        Arc::make_mut(&mut workload.spec).config.user.id = user;
        assert_eq!(printed_by(runtime, &workload).await, ["port = 1", "hunter-2"], "as {user:?}");
    }
}

/// A workload with a config and a secret.
pub fn with_files(make: Make<'_>, script: &str, config: &Path, secret: &Path) -> Workload {
    let volumes = vec![
        volume(VolumeKind::Config, "app", config, Permission::ReadOnly),
        volume(VolumeKind::Secret, "key", secret, Permission::ReadOnly),
    ];
    let mut workload = with(make, script, volumes);
    let file = |at: &Path, content: &'static str, secret| MountedFile {
        destination: at.display().to_string(),
        content: content.into(),
        secret,
    };
    workload.files = vec![file(config, "port = 1\n", false), file(secret, "hunter-2\n", true)];
    workload
}

/// A mount whose content is missing is an error of configuration, before anything is made.
pub async fn files_that_did_not_come(runtime: &dyn Runtime, make: Make<'_>, dir: &Path) {
    let volumes = vec![volume(VolumeKind::Secret, "key", &dir.join("missing-key"), Permission::ReadOnly)];
    let workload = with(make, "true", volumes);
    let refused = runtime.prepare(&workload).await.expect_err("a secret that is not there was mounted");
    assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::Config), "{refused}");
    assert!(refused.message.contains("secret 'key'"), "{refused}");
    clear(runtime, workload.instance).await;
}

/// A command run in an instance sees what the instance sees.
pub async fn commands_see_the_mounts(runtime: &dyn Runtime, make: Make<'_>, dir: &Path) {
    let (config, secret) = (dir.join("exec/app.conf"), dir.join("exec/key"));
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.05; done";
    let workload = with_files(make, script, &config, &secret);
    launch(runtime, &workload).await;
    printed(runtime, workload.instance, "ready").await;
    let (out, err, code) = run(runtime, workload.instance, &["cat", &secret.display().to_string()]).await;
    assert_eq!((out.as_str(), err.as_str(), code), ("hunter-2\n", "", 0));
    finish(runtime, &workload).await;
}
