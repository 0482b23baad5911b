//! What must not be on a path a user can reach, and links of the documentation.

use crate::sources::{root, rust};

#[test]
fn nothing_is_left_for_later() {
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("unimple", "mented!"), concat!("to", "do!(")];
    for source in rust("crates").into_iter().chain(rust("tests")) {
        for (i, text) in source.text.lines().enumerate() {
            let found = words.iter().find(|word| text.contains(**word));
            assert!(found.is_none(), "{}:{} has {}", source.path, i + 1, found.unwrap());
        }
    }
}

#[test]
fn every_module_says_what_it_owns() {
    for source in rust("crates").into_iter().filter(|s| s.path.contains("/src/")) {
        assert!(source.text.starts_with("//!"), "{} does not open with `//!`", source.path);
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut pages = vec![root().join("README.md")];
    pages_below(&root().join("docs"), &mut pages);
    pages_below(&root().join("cluster"), &mut pages);
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            assert!(page.parent().unwrap().join(file).exists(), "{}: the link to {target} leads nowhere", page.display());
        }
    }
}

fn pages_below(folder: &std::path::Path, pages: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages_below(&path, pages);
        } else if path.extension().is_some_and(|e| e == "md") {
            pages.push(path);
        }
    }
}

/// A table of faults names the tests that show what it promises.
#[test]
fn every_test_the_table_of_faults_names_is_there() {
    let page = std::fs::read_to_string(root().join("docs/reference/faults.md")).unwrap();
    let sources: Vec<_> = rust("crates").into_iter().chain(rust("tests")).collect();
    let mut named = 0;
    let is_name =
        |text: &&str| text.contains('_') && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    for name in page.split('`').skip(1).step_by(2).filter(is_name).filter(|name| name.len() > 20) {
        named += 1;
        let start = format!("fn {name}(");
        assert!(sources.iter().any(|source| source.text.contains(&start)), "docs/reference/faults.md: there is no test {name}");
    }
    assert!(named > 30, "only {named} tests are named");
}
