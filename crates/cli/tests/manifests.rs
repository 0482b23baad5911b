//! The manifests people find in the documentation, each as it is printed, and those of this repository.

mod support;

use ring_testkit::guide::{GUIDE, UNIQUE, VARIABLES};
use support::{Home, finish};

fn dry_run(home: &Home, file: &str) -> support::Ran {
    let mut command = home.command("127.0.0.1:1", &["apply", "--dry-run", "-f", file]);
    command.envs(VARIABLES);
    finish(command)
}

#[test]
fn every_manifest_of_the_guide_is_taken_as_it_is_printed() {
    let home = Home::new();
    for manifest in GUIDE {
        let ran = dry_run(&home, &manifest.path().display().to_string());
        let lines: Vec<_> = manifest.deployments.iter().map(|d| format!("deployment {d} valid (dry run)")).collect();
        assert_eq!((ran.code, ran.out.trim_end(), ran.err.as_str()), (0, &*lines.join("\n"), ""), "{}", manifest.file);
    }
}

#[test]
fn without_its_variables_the_unique_name_is_an_error_that_names_them() {
    let home = Home::new();
    let file = UNIQUE.path().display().to_string();
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
