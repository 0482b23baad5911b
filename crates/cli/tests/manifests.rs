//! The manifests people find in the documentation, each as it is printed, and those of this repository.

mod support;

use ring_testkit::guide::{GUIDE, UNIQUE, VARIABLES};
use support::{Home, finish};

fn dry_run(home: &Home, file: &str) -> support::Ran {
    let mut command = home.command("127.0.0.1:1", &["apply", "--dry-run", "--offline", "-f", file]);
    command.envs(VARIABLES);
    finish(command)
}

#[test]
fn every_manifest_of_the_guide_is_taken_as_it_is_printed() {
    let home = Home::new();
    for manifest in GUIDE {
        let ran = dry_run(&home, &manifest.path().display().to_string());
        let lines: Vec<_> = manifest.deployments.iter().map(|d| format!("deployment {d} valid (not sent)")).collect();
        assert_eq!((ran.code, ran.out.trim_end(), ran.err.as_str()), (0, &*lines.join("\n"), ""), "{}", manifest.file);
    }
}

#[test]
fn without_its_variables_the_unique_name_is_an_error_that_names_them() {
    let home = Home::new();
    let file = UNIQUE.path().display().to_string();
    let ran = finish(home.command("127.0.0.1:1", &["apply", "--dry-run", "--offline", "-f", &file]));
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
