//! The manifests people find in the documentation, each as it is printed, and those of this repository.

mod support;

use support::{Home, finish};

/// The manifests of the guide "Run a job", by name.
const GUIDE: &[(&str, &str, &[&str])] = &[
    (
        "minimal",
        r#"deployments:
  migrate:
    name: migrate
    namespace: production
    runtime: docker
    kind: job
    image: "myapp:v1.2.3"
    command: ["npm", "run", "migrate"]
"#,
        &["production/migrate"],
    ),
    (
        "secrets",
        r#"deployments:
  migrate-v123:
    name: migrate-v123
    namespace: production
    runtime: docker
    kind: job
    image: "myapp:v1.2.3"
    command: ["npm", "run", "migrate"]
    environment:
      LOG_LEVEL: "info"
      DATABASE_URL:
        secretRef: "database-url"
"#,
        &["production/migrate-v123"],
    ),
    (
        "unique name per run",
        r#"deployments:
  test-${BUILD_ID}:
    name: test-${BUILD_ID}
    namespace: ci
    runtime: docker
    kind: job
    image: "myapp:${COMMIT_SHA}"
    command: ["npm", "test"]
"#,
        &["ci/test-17"],
    ),
    (
        "release",
        r#"# release.yaml
deployments:
  migrate-v1-2-3:
    name: migrate-v1-2-3
    namespace: production
    runtime: docker
    kind: job
    image: "myapp:v1.2.3"
    command: ["npm", "run", "migrate"]
    environment:
      DATABASE_URL:
        secretRef: "database-url"

  api:
    name: api
    namespace: production
    runtime: docker
    image: "myapp:v1.2.3"
    replicas: 3
    environment:
      DATABASE_URL:
        secretRef: "database-url"
    health_checks:
      - type: http
        url: "http://localhost:8080/health"
        interval: "10s"
        timeout: "5s"
        threshold: 3
        on_failure: restart
"#,
        &["production/migrate-v1-2-3", "production/api"],
    ),
    (
        "backfill",
        r#"deployments:
  backfill-orders-2026-04-15:
    name: backfill-orders-2026-04-15
    namespace: data-jobs
    runtime: docker
    kind: job
    image: "data-tools:v0.4.1"
    command: ["python", "backfill.py", "--from", "2026-01-01", "--to", "2026-04-01"]
    environment:
      DATABASE_URL:
        secretRef: "warehouse-url"
    resources:
      limits:
        cpu: "2"
        memory: "4Gi"
"#,
        &["data-jobs/backfill-orders-2026-04-15"],
    ),
];

fn dry_run(home: &Home, file: &str) -> support::Ran {
    let mut command = home.command("127.0.0.1:1", &["apply", "--dry-run", "-f", file]);
    command.env("BUILD_ID", "17").env("COMMIT_SHA", "abc123");
    finish(command)
}

#[test]
fn every_manifest_of_the_guide_is_taken_as_it_is_printed() {
    let home = Home::new();
    for (name, text, deployments) in GUIDE {
        let file = home.file("manifest.yaml", text);
        let ran = dry_run(&home, &file);
        let lines: Vec<_> = deployments.iter().map(|d| format!("deployment {d} valid (dry run)")).collect();
        assert_eq!((ran.code, ran.out.trim_end(), ran.err.as_str()), (0, &*lines.join("\n"), ""), "{name}");
    }
}

#[test]
fn without_its_variables_the_unique_name_is_an_error_that_names_them() {
    let home = Home::new();
    let (_, text, _) = GUIDE[2];
    let file = home.file("manifest.yaml", text);
    let ran = finish(home.command("127.0.0.1:1", &["apply", "--dry-run", "-f", &file]));
    assert_eq!(ran.code, 1);
    for (variable, line) in [("BUILD_ID", 2), ("BUILD_ID", 3), ("COMMIT_SHA", 7)] {
        assert!(ran.err.contains(&format!("variable '{variable}' is not set (line {line})")), "{}", ran.err);
    }
}

#[test]
fn every_manifest_of_this_repository_is_valid() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../cluster/manifests");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let home = Home::new();
    let yaml = files.iter().filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    let mut count = 0;
    for path in yaml {
        let ran = dry_run(&home, &path.display().to_string());
        assert_eq!(ran.code, 0, "{}: {}", path.display(), ran.err);
        count += 1;
    }
    assert!(count > 0, "no manifest in {folder}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_before_anything_is_sent() {
    let text = include_str!("../../api/testdata/rejected.json");
    let cases: Vec<serde_json::Value> = serde_json::from_str(text).unwrap();
    let cases: Vec<_> = cases.iter().filter(|case| case["where"] != "server").collect();
    let mut deployments = serde_json::Map::new();
    for (i, case) in cases.iter().enumerate() {
        let mut one = serde_json::json!({ "name": format!("d{i}"), "namespace": "ns", "image": "i:1" });
        one.as_object_mut().unwrap().extend(case["fields"].as_object().unwrap().clone());
        deployments.insert(format!("d{i}"), one);
    }
    let home = Home::new();
    let file = home.file("manifest.json", &serde_json::json!({ "deployments": deployments }).to_string());
    let ran = dry_run(&home, &file);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains(&format!("{} mistakes", cases.len())), "{}", ran.err);
    for (i, case) in cases.iter().enumerate() {
        let path = format!("deployments.d{i}.{}", case["path"].as_str().unwrap());
        assert!(ran.err.contains(&path), "{}: {path} is not in {}", case["name"], ran.err);
    }
}
