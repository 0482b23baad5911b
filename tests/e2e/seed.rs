//! The page "Run a job" on several hosts with Docker, from the first manifest to the last command.

use std::path::Path;

use ring_testkit::guide;
use ring_testkit::lab::{Docker, IMAGE, Lab};
use ring_testkit::work::IN_TIME;
use ring_testkit::{Cluster, RingCli, wait};
use serde_json::{Value, json};

use crate::script::{FOLLOW, RERUN, WATCH, script};
use crate::three;

/// Makes the page's images from the test image, with a program for its commands.
fn load_images(docker: &Docker, tags: &[&str]) {
    let npm = Path::new(env!("CARGO_MANIFEST_DIR")).join("seed/npm.sh");
    for tag in tags {
        let script = format!("cat > /bin/npm; chmod 755 /bin/npm; echo {tag} > /etc/commit");
        let mut make = docker.command(["run", "--interactive", "--name", "making", IMAGE, "sh", "-c", &script]);
        make.stdin(std::fs::File::open(&npm).unwrap());
        assert!(make.status().unwrap().success());
        docker.ok(["commit", "--change", r#"CMD ["npm", "start"]"#, "making", &format!("myapp:{tag}")]).unwrap();
        docker.ok(["rm", "making"]).unwrap();
    }
}

/// A job or worker of the list, by name.
fn named(ring: &RingCli, name: &str) -> Value {
    let list = ring.json(["deployment", "list", "-o", "json"]).unwrap();
    let found: Vec<&Value> = list.as_array().unwrap().iter().filter(|one| one["name"] == name).collect();
    assert_eq!(found.len(), 1, "{name} in {list}");
    found[0].clone()
}

/// The lab with the page's images, and a directory with its manifests as the page calls them.
fn start(name: &str) -> Option<(Lab, Cluster)> {
    let (lab, cluster) = three::with_docker(name)?;
    for host in ["a1", "a2"] {
        load_images(lab.docker(host), &["v1.2.3", "abc123"]);
    }
    for (file, name) in [("migrate-v123", "migrate"), ("test", "test"), ("release", "release")] {
        std::fs::copy(guide::folder().join(format!("{file}.yaml")), lab.dir().join(format!("{name}.yaml"))).unwrap();
    }
    Some((lab, cluster))
}

#[test]
fn a_migration_is_watched_followed_and_run_again() {
    let Some((lab, cluster)) = start("page-job") else { return };
    let ring = cluster.cli().clone();
    let secret = |value: &str| ring.ok(["secret", "create", "database-url", "-n", "production", "-v", value]).unwrap();
    secret("postgres://good");
    let done = script(&cluster.cli_to(0), lab.dir(), WATCH);
    assert!(done.success() && done.stdout.ends_with("migration ok\n"), "{}{}", done.stdout, done.stderr);
    let first = named(&ring, "migrate-v123");
    assert_eq!(first["exit_status"]["code"], 0);

    secret("postgres://broken");
    script(&cluster.cli_to(1), lab.dir(), RERUN).ok().unwrap();
    assert_ne!(named(&ring, "migrate-v123")["id"], first["id"]);
    let followed = script(&cluster.cli_to(2), lab.dir(), FOLLOW).ok().unwrap();
    assert_eq!(followed, "migrating postgres://broken");
    let failed = script(&cluster.cli_to(2), lab.dir(), WATCH);
    let said = "migration failed\nmigrating postgres://broken\n";
    assert!(failed.code == Some(1) && failed.stdout.ends_with(said), "{}{}", failed.stdout, failed.stderr);
    assert_eq!(named(&ring, "migrate-v123")["exit_status"]["code"], 3);

    for build in ["41", "42"] {
        let ring = ring.clone().env("BUILD_ID", build).env("COMMIT_SHA", "abc123").in_dir(lab.dir());
        ring.ok(["apply", "-f", "test.yaml", "--wait"]).unwrap();
        assert_eq!(ring.ok(["deployment", "logs", &format!("ci/test-{build}")]).unwrap(), "tested abc123");
    }
    ring.ok(["namespace", "prune", "ci"]).unwrap();
    let left = || ring.json(["deployment", "list", "-n", "ci", "-o", "json"]);
    wait::eventually(IN_TIME, "an empty namespace", || Ok((left()? == json!([])).then_some(()))).unwrap();
    for host in ["a1", "a2"] {
        let containers = || lab.docker(host).ok(["ps", "--all", "--format", "{{.Names}}"]);
        let gone = || Ok((!containers()?.contains("ci_test")).then_some(()));
        wait::eventually(IN_TIME, "the containers to go with their records", gone).unwrap();
    }
}

#[test]
fn a_release_brings_the_migration_and_the_application() {
    let Some((lab, cluster)) = start("page-release") else { return };
    let ring = cluster.cli().clone().in_dir(lab.dir());
    ring.ok(["secret", "create", "database-url", "-n", "production", "-v", "postgres://good"]).unwrap();
    ring.ok(["apply", "-f", "release.yaml"]).unwrap();
    let id = |name: &str| named(&ring, name)["id"].as_str().unwrap().to_owned();
    cluster.wait_status(&id("migrate-v1-2-3"), "completed").unwrap();
    let api = cluster.wait_deployment(&id("api"), "three replicas", |api| api["replicas"] == 3 && api["status"] == "running");
    let api = api.unwrap();
    let nodes: Vec<&str> = api["instances"].as_array().unwrap().iter().filter_map(|one| one["node"].as_str()).collect();
    assert!(nodes.len() == 3 && nodes.contains(&"a1") && nodes.contains(&"a2"), "spread over the hosts: {api}");

    // The container has the label, the name, the network and the alias that are promised.
    let docker = lab.docker("a1");
    let label = format!("label=ring_deployment={}", api["id"].as_str().unwrap());
    let container = docker.ok(["ps", "--filter", &label, "--format", "{{.Names}}"]).unwrap();
    let container = container.lines().next().unwrap();
    let tail = container.strip_prefix("production_api_").unwrap();
    assert!(tail.len() == 8 && tail.chars().all(|c| c.is_ascii_hexdigit()), "{container}");
    let page = ["run", "--rm", "--network", "ring_production", IMAGE, "wget", "-q", "-O", "-", "http://api:8080/health"];
    assert_eq!(docker.ok(page).unwrap(), "ok");
    let environment = docker.ok(["inspect", "--format", "{{json .Config.Env}}", container]).unwrap();
    assert!(environment.contains("DATABASE_URL=postgres://good"), "{environment}");

    ring.ok(["namespace", "prune", "production"]).unwrap();
    let names = || -> anyhow::Result<Vec<Value>> {
        let list = ring.json(["deployment", "list", "-o", "json"])?;
        Ok(list.as_array().unwrap().iter().map(|one| one["name"].clone()).collect())
    };
    wait::eventually(IN_TIME, "the migration to go", || Ok((names()? == ["api"]).then_some(()))).unwrap();
    ring.ok(["deployment", "delete", "production/api"]).unwrap();
    let running = || docker.ok(["ps", "--all", "--quiet", "--filter", &label]);
    wait::eventually(IN_TIME, "the containers to go", || Ok(running()?.is_empty().then_some(()))).unwrap();
}
