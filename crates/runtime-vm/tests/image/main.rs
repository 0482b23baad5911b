//! From images in a registry or an engine to root file systems.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "all of this is test code, which clippy sees only in test functions"
)]

mod engine;
#[path = "../common/loud.rs"]
mod loud;
mod registry;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use registry::{Image, Registry, image};
use ring_runtime::{RegistryLogin, RuntimeErrorKind, Workload};
use ring_runtime_vm::image::{EngineAt, Images, ImagesConfig};
use ring_runtime_vm::{RootImage, Roots};
use ring_types::{DeploymentSpec, Generation, Kind, Name, PullPolicy, RuntimeKind, StartFailure};
use serde_json::json;

const ABSENT: RuntimeErrorKind = RuntimeErrorKind::Start(StartFailure::ImageNotFound);
const NOT_FETCHED: RuntimeErrorKind = RuntimeErrorKind::Start(StartFailure::ImagePull);
const NOT_MADE: RuntimeErrorKind = RuntimeErrorKind::Start(StartFailure::FileSystem);

pub(crate) fn workload(image: &str, policy: PullPolicy, password: Option<&str>) -> Workload {
    let name = |text| Name::new(text).unwrap();
    let mut spec = DeploymentSpec::new(name("shop"), name("job"), Kind::Job, RuntimeKind::CloudHypervisor, image);
    spec.config.image_pull_policy = policy;
    Workload {
        instance: "00000000-0000-0000-0000-000000000002".parse().unwrap(),
        deployment: "00000000-0000-0000-0000-000000000001".parse().unwrap(),
        generation: Generation(1),
        spec: Arc::new(spec),
        environment: BTreeMap::new(),
        files: Vec::new(),
        registry: password.map(|password| RegistryLogin {
            server: None,
            username: "ann".to_owned(),
            password: password.to_owned(),
        }),
    }
}

/// What debugfs, which needs no rights, sees in a file system.
pub(crate) fn debugfs(root: &RootImage, request: &str) -> String {
    let output = Command::new("/sbin/debugfs").args(["-R", request]).arg(&root.disk).stderr(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

struct Place {
    dir: tempfile::TempDir,
    registry: Registry,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), registry: Registry::start() }
    }

    /// With an engine that is not there.
    fn images(&self) -> Images {
        let engine = EngineAt::Address("/no/such/docker.sock".to_owned());
        Images::new(ImagesConfig { engine, largest: 10 << 20, ..ImagesConfig::new(self.dir.path().join("images")) })
    }

    fn job(&self, tag: &str, policy: PullPolicy, password: Option<&str>) -> Workload {
        workload(&format!("{}/team/app:{tag}", self.registry.address), policy, password)
    }

    /// Nothing half made is there.
    fn is_tidy(&self) -> bool {
        let Ok(making) = std::fs::read_dir(self.dir.path().join("images/making")) else { return true };
        making.count() == 0
    }
}

fn app() -> Image {
    let run = json!({"Entrypoint": ["/bin/app"], "Cmd": ["--serve"], "Env": ["A=1"], "User": "ann", "WorkingDir": "/srv",
        "StopSignal": "SIGQUIT"});
    image(
        &run,
        &[&[("bin/app", "first"), ("etc/old", "x")], &[("etc/.wh.old", ""), ("bin/app", "second"), ("deep/er/file", "y")]],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_a_registry_becomes_a_file_system_once() {
    let place = Place::new();
    let app = app();
    let told = place.registry.put("team/app", "1", &app);
    let images = place.images();
    let job = place.job("1", PullPolicy::Always, None);
    let all = join_all((0..8).map(|_| images.ensure(&job))).await;
    let roots: Vec<RootImage> = all.into_iter().map(Result::unwrap).collect();
    assert!(roots.iter().all(|root| *root == roots[0]));
    assert_eq!(place.registry.layers_asked(&app), 2, "layers were fetched more than once");
    let root = &roots[0];
    assert_eq!(root.digest, told);
    assert_eq!((root.entrypoint.as_slice(), root.cmd.as_slice()), (&["/bin/app".to_owned()][..], &["--serve".to_owned()][..]));
    assert_eq!((root.user.as_deref(), root.working_dir.as_deref()), (Some("ann"), Some("/srv")));
    assert_eq!((root.env.as_slice(), root.stop_signal.as_deref()), (&["A=1".to_owned()][..], Some("SIGQUIT")));
    assert_eq!((debugfs(root, "cat /bin/app"), debugfs(root, "cat /deep/er/file")), ("second".to_owned(), "y".to_owned()));
    assert_eq!(debugfs(root, "cat /etc/old"), "");
    let about = debugfs(root, "stat /bin/app");
    assert!(about.contains("Mode:  0755"), "{about}");
    if rustix::process::geteuid().is_root() {
        assert!(about.contains("User:  1000") && about.contains("Group:   100"), "{about}");
    }
    assert!(debugfs(root, "stat /").contains("Mode:  0755"), "the root cannot be entered by everybody");
    assert!(place.is_tidy());
    // By another agent, under another name, by its digest: it is the same.
    let before = place.registry.state().asked.len();
    let later = place.images();
    let cached = later.ensure(&place.job("1", PullPolicy::IfNotPresent, None)).await.unwrap();
    assert_eq!((&cached, place.registry.state().asked.len()), (root, before), "a registry was asked for what is there");
    place.registry.put("team/app", "2", &app);
    assert_eq!(later.ensure(&place.job("2", PullPolicy::IfNotPresent, None)).await.unwrap().disk, root.disk);
    let exact = workload(&format!("{}/team/app@{told}", place.registry.address), PullPolicy::Always, None);
    assert_eq!(later.ensure(&exact).await.unwrap(), *root);
    assert_eq!(place.registry.layers_asked(&app), 2);
}

#[tokio::test]
async fn policies_are_kept() {
    let place = Place::new();
    place.registry.put("team/app", "1", &app());
    let images = place.images();
    let refused = |job| {
        let images = &images;
        async move {
            let error = images.ensure(&job).await.unwrap_err();
            (error.kind, error.message)
        }
    };
    let (kind, told) = refused(place.job("1", PullPolicy::Never, None)).await;
    assert_eq!(kind, ABSENT, "{told}");
    assert!(told.contains("pull policy is Never") && told.contains("team/app:1"), "{told}");
    assert_eq!(place.registry.state().asked.len(), 0);
    let (kind, told) = refused(place.job("none", PullPolicy::Always, None)).await;
    assert_eq!(kind, ABSENT, "{told}");
    let (kind, told) = refused(workload("Not A Name", PullPolicy::Always, None)).await;
    assert_eq!(kind, ABSENT, "{told}");
    let first = images.ensure(&place.job("1", PullPolicy::IfNotPresent, None)).await.unwrap();
    // The name leads to another image by now: only Always looks.
    place.registry.put("team/app", "1", &image(&json!({}), &[&[("new", "new")]]));
    assert_eq!(images.ensure(&place.job("1", PullPolicy::IfNotPresent, None)).await.unwrap(), first);
    assert_eq!(images.ensure(&place.job("1", PullPolicy::Never, None)).await.unwrap(), first);
    let second = images.ensure(&place.job("1", PullPolicy::Always, None)).await.unwrap();
    assert_eq!((second.disk == first.disk, debugfs(&second, "cat /new").as_str()), (false, "new"));
    // It is gone from the registry: as one that was built here.
    place.registry.state().manifests.clear();
    assert_eq!(images.ensure(&place.job("1", PullPolicy::Always, None)).await.unwrap(), second);
    // Nobody is there.
    let nobody = workload("127.0.0.1:1/team/app:1", PullPolicy::Always, None);
    let (kind, told) = refused(nobody).await;
    assert_eq!(kind, NOT_FETCHED, "{told}");
    assert!(told.to_ascii_lowercase().contains("refused"), "{told}");
}

#[tokio::test]
async fn a_login_is_asked_for() {
    let place = Place::new();
    place.registry.put("team/app", "1", &app());
    place.registry.state().login = Some("ann:s3cret".to_owned());
    let images = place.images();
    let error = images.ensure(&place.job("1", PullPolicy::Always, None)).await.unwrap_err();
    assert_eq!(error.kind, NOT_FETCHED);
    assert!(error.message.contains("wants a login"), "{error}");
    let error = images.ensure(&place.job("1", PullPolicy::Always, Some("wr0ng"))).await.unwrap_err();
    assert_eq!(error.kind, NOT_FETCHED);
    assert!(error.message.contains("does not accept the login of 'ann'") && !error.message.contains("wr0ng"), "{error}");
    let root = images.ensure(&place.job("1", PullPolicy::Always, Some("s3cret"))).await.unwrap();
    // It is there now. Who was refused is refused; who did not say who he is has what the host has.
    let error = images.ensure(&place.job("1", PullPolicy::Always, Some("wr0ng"))).await.unwrap_err();
    assert_eq!(error.kind, NOT_FETCHED);
    assert_eq!(images.ensure(&place.job("1", PullPolicy::Always, None)).await.unwrap(), root);
    let mut job = place.job("1", PullPolicy::Always, None);
    Arc::make_mut(&mut job.spec).config.use_host_auth = true;
    let logins = place.dir.path().join("config.json");
    let config = ImagesConfig { logins: Some(logins.clone()), ..ImagesConfig::new(place.dir.path().join("others")) };
    let others = Images::new(ImagesConfig { engine: EngineAt::None, ..config });
    let error = others.ensure(&job).await.unwrap_err();
    assert!(error.message.contains("docker login"), "{error}");
    let auths = json!({"auths": {&place.registry.address: {"username": "ann", "password": "s3cret"}}});
    std::fs::write(logins, auths.to_string()).unwrap();
    assert_eq!(others.ensure(&job).await.unwrap().digest, root.digest);
}

#[tokio::test]
async fn what_is_not_what_it_says_is_not_used() {
    let place = Place::new();
    let images = place.images();
    let failed = async |tag: &str| images.ensure(&place.job(tag, PullPolicy::Always, None)).await.unwrap_err();
    // Bytes that are not those of the digest.
    let mut changed = app();
    let layer = changed.layers[0].clone();
    changed.blobs.get_mut(&layer).unwrap()[20] ^= 1;
    place.registry.put("team/app", "changed", &changed);
    assert_eq!(failed("changed").await.kind, NOT_FETCHED);
    // A layer of another image, well formed and with the right digest.
    let (own, other) = (app(), image(&json!({}), &[&[("evil", "evil")], &[("evil", "evil")]]));
    let manifest = String::from_utf8(own.manifest.clone()).unwrap();
    let (from, to) = (&own.layers[0], &other.layers[0]);
    let sized = |image: &Image, layer: &String| {
        format!(
            "\"digest\":\"{layer}\",\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"size\":{}",
            image.blobs[layer].len()
        )
    };
    let swapped = manifest.replace(&sized(&own, from), &sized(&other, to));
    assert_ne!(swapped, manifest);
    let mut blobs = own.blobs.clone();
    blobs.extend(other.blobs);
    place.registry.put("team/app", "swapped", &Image { manifest: swapped.into_bytes(), blobs, layers: Vec::new() });
    let error = failed("swapped").await;
    assert_eq!(error.kind, NOT_MADE);
    assert!(error.message.contains("the image says"), "{error}");
    // More than fits.
    let large = "x".repeat(11 << 20);
    place.registry.put("team/app", "large", &image(&json!({}), &[&[("large", &large)]]));
    let error = failed("large").await;
    assert_eq!(error.kind, NOT_MADE);
    assert!(error.message.contains("'large'"), "{error}");
    // Another machine's.
    let mut foreign = app();
    let config = foreign.blobs.values().find(|blob| blob.first() == Some(&b'{')).unwrap().clone();
    let text = String::from_utf8(config.clone()).unwrap();
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let other = text.replace(arch, "s390x").into_bytes();
    let manifest = String::from_utf8(foreign.manifest).unwrap();
    let manifest = manifest.replace(&registry::digest(&config), &registry::digest(&other));
    foreign.manifest = manifest.replace(&format!("\"size\":{}", config.len()), &format!("\"size\":{}", other.len())).into_bytes();
    foreign.blobs.insert(registry::digest(&other), other);
    place.registry.put("team/app", "foreign", &foreign);
    let error = failed("foreign").await;
    assert!(error.message.contains("linux/s390x"), "{error}");
    assert!(place.is_tidy());
}

/// In a process of its own, as only its environment says where certificates are.
#[test]
fn a_host_without_certificates_is_told_what_to_install() {
    let name = "a_host_without_certificates_is_told_what_to_install";
    if std::env::var_os("SSL_CERT_FILE").is_none_or(|file| file != "/no/such/file") {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args([name, "--exact"]).env("SSL_CERT_FILE", "/no/such/file").env("SSL_CERT_DIR", "/no/such/directory");
        let output = again.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let place = Place::new();
    place.registry.put("team/app", "1", &app());
    let (images, job) = (place.images(), place.job("1", PullPolicy::Always, None));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(images.ensure(&job)).unwrap_err();
    assert_eq!(error.kind, NOT_FETCHED);
    assert!(error.message.contains("ca-certificates") && error.message.contains("team/app:1"), "{error}");
}

#[tokio::test]
async fn what_nobody_waits_for_ends_and_leaves_nothing() {
    let place = Place::new();
    let app = app();
    place.registry.put("team/app", "1", &app);
    place.registry.state().held = true;
    let images = place.images();
    let job = place.job("1", PullPolicy::Always, None);
    {
        let asking = images.ensure(&job);
        tokio::select! {
            done = asking => panic!("a layer that does not come was had: {done:?}"),
            () = asked(&place.registry, &app.layers[0]) => {}
        }
    }
    assert!(place.is_tidy(), "something is still being made");
    place.registry.release();
    images.ensure(&job).await.unwrap();
    assert!(place.is_tidy());
}

/// Returns when a layer has been asked for.
async fn asked(registry: &Registry, layer: &str) {
    let begun = Instant::now();
    while !registry.state().asked.iter().any(|path| path.ends_with(layer)) {
        assert!(begun.elapsed() < Duration::from_mins(1), "nobody asked for the layer");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn what_is_not_used_goes() {
    let place = Place::new();
    place.registry.put("team/app", "1", &app());
    let images = place.images();
    let job = place.job("1", PullPolicy::IfNotPresent, None);
    let root = images.ensure(&job).await.unwrap();
    assert_eq!(images.clean(&HashSet::new(), Duration::from_hours(1)).await.unwrap(), 0);
    assert_eq!(images.clean(&HashSet::from([root.disk.clone()]), Duration::ZERO).await.unwrap(), 0);
    assert_eq!(images.clean(&HashSet::new(), Duration::ZERO).await.unwrap(), 1);
    assert!(!root.disk.exists() && place.is_tidy());
    let again = images.ensure(&job).await.unwrap();
    assert!(Path::new(&again.disk).exists());
}
