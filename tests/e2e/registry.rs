//! A private registry on loopback of the host that pulls: every source of credentials, and what is said when it is wrong.

use std::path::Path;

use ring_testkit::cluster::Options;
use ring_testkit::lab::{IMAGE, Lab};
use ring_testkit::work::{IN_TIME, Runtime, job, manifest};
use ring_testkit::{Cluster, Process, command, report, wait};
use serde_json::{Value, json};

use crate::three;

/// In the network of the host, on loopback, where no certificate is asked for.
const SERVER: &str = "127.0.0.1:5000";
const IMAGE_THERE: &str = "127.0.0.1:5000/team/app:1";
const PASSWORD: &str = "p?>~~>?s w:rd";

/// A registry that wants to know who asks, with one image.
struct Registry {
    cluster: Cluster,
    lab: Lab,
    _server: Process,
}

impl Registry {
    fn start(name: &str) -> Option<Self> {
        if !["docker-registry", "htpasswd"].iter().all(|program| Path::new("/usr/bin").join(program).exists()) {
            report::skipped(name, "there is no docker-registry or no htpasswd here");
            return None;
        }
        let (lab, cluster) = three::start(Lab::builder(name).docker_hosts(["a1"]), &["a1"], &Options::default())?;
        let dir = lab.dir().join("registry");
        std::fs::create_dir(&dir).unwrap();
        let users = command::run(command::command("htpasswd", ["-nbB", "ann", PASSWORD])).unwrap().ok().unwrap();
        std::fs::write(dir.join("users"), users).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {d}/images}}}}\n\
             http: {{addr: \"{SERVER}\"}}\nauth: {{htpasswd: {{realm: test, path: {d}/users}}}}\n",
            d = dir.display()
        );
        let file = dir.join("config.yml");
        std::fs::write(&file, config).unwrap();
        let host = lab.host("a1");
        let serve = host.command("docker-registry", ["serve", file.to_str().unwrap()]);
        let registry = Self { _server: host.spawn("registry", serve).unwrap(), cluster, lab };
        let login = ["login", "--username", "ann", "--password", PASSWORD, SERVER];
        wait::until(IN_TIME, "the registry", || registry.client(&login).is_ok()).unwrap();
        registry.lab.docker("a1").ok(["tag", IMAGE, IMAGE_THERE]).unwrap();
        registry.client(&["push", IMAGE_THERE]).unwrap();
        registry.forget();
        Some(registry)
    }

    /// The client's directory, which is nobody's home.
    fn client_dir(&self) -> String {
        self.lab.dir().join("registry/client").display().to_string()
    }

    fn client(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let dir = self.client_dir();
        self.lab.docker("a1").ok(["--config", &dir].iter().chain(arguments))
    }

    /// Takes the image away from the host, so that the next one has to be pulled.
    fn forget(&self) {
        self.lab.docker("a1").ok(["rmi", "--force", IMAGE_THERE]).unwrap();
    }

    fn apply(&self, name: &str, config: &Value) -> String {
        let mut one = job(name, Runtime::Docker, "echo pulled");
        one["image"] = IMAGE_THERE.into();
        one["config"] = config.clone();
        one["restart"] = json!({ "backoff": "200ms", "max_backoff": "1s" });
        self.cluster.apply(&manifest([one])).unwrap().remove(0)
    }

    fn secret(&self, name: &str, value: &str) {
        self.cluster.cli().ok(["secret", "create", name, "-n", "test", "-v", value]).unwrap();
    }
}

#[test]
fn a_private_image_is_had_with_a_password_of_its_manifest_or_of_a_secret() {
    let Some(registry) = Registry::start("registry") else { return };
    registry.secret("plain", &json!({ "username": "ann", "password": PASSWORD }).to_string());
    let file = std::fs::read_to_string(Path::new(&registry.client_dir()).join("config.json")).unwrap();
    registry.secret("docker", &file);
    let sources = [
        ("inline", json!({ "username": "ann", "password": PASSWORD })),
        ("of-server", json!({ "server": SERVER, "username": "ann", "password": PASSWORD })),
        ("plain", json!({ "image_pull_secret": "plain" })),
        ("docker", json!({ "image_pull_secret": "docker" })),
    ];
    for (name, config) in sources {
        let id = registry.apply(name, &config);
        registry.cluster.wait_status(&id, "completed").unwrap();
        let shown = registry.cluster.deployment(&id).unwrap().to_string();
        assert!(!shown.contains(PASSWORD), "{shown}");
        registry.forget();
    }
}

#[test]
fn wrong_credentials_are_told_apart_and_heal() {
    let Some(registry) = Registry::start("registry-wrong") else { return };
    let refused = registry.apply("refused", &json!({ "username": "ann", "password": "wrong-word" }));
    let shown = registry.cluster.wait_status(&refused, "image_pull_back_off").unwrap();
    assert!(shown["message"].as_str().unwrap().contains("check registry and credentials"), "{shown}");
    assert!(!shown.to_string().contains("wrong-word"), "{shown}");
    let right = registry.apply("refused", &json!({ "username": "ann", "password": PASSWORD }));
    assert_ne!(right, refused, "another password is another deployment");
    registry.cluster.wait_status(&right, "completed").unwrap();
    registry.forget();

    registry.secret("broken", "hush-hush");
    let broken = registry.apply("broken", &json!({ "image_pull_secret": "broken" }));
    let shown = registry.cluster.wait_status(&broken, "config_error").unwrap();
    let message = shown["message"].as_str().unwrap();
    assert!(message.contains("secret 'broken' in namespace 'test' is not JSON") && !message.contains("hush"), "{message}");
    registry.secret("broken", &json!({ "username": "ann", "password": PASSWORD }).to_string());
    registry.cluster.wait_status(&broken, "completed").unwrap();
}
