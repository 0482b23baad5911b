//! Files and functions stay small. What is over the line stands in a list with its size, and the list only shrinks.

use std::collections::BTreeMap;

use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::sources::{root, rust};

const MAX_FILE: usize = 500;
const MAX_FUNCTION: usize = 70;

/// `path` or `path::function`, white space, lines. The reason stands beside the code.
fn exceptions() -> BTreeMap<String, usize> {
    let text = std::fs::read_to_string(root().join("tests/architecture/size-exceptions.txt")).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty());
    lines
        .map(|line| {
            let (what, size) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not an exception: {line}"));
            (what.trim().to_owned(), size.parse().unwrap())
        })
        .collect()
}

struct Functions<'a> {
    path: &'a str,
    found: Vec<(String, usize)>,
}

impl Functions<'_> {
    fn note(&mut self, name: &syn::Ident, block: &syn::Block) {
        let span = block.span();
        let lines = span.end().line - span.start().line + 1;
        self.found.push((format!("{}::{name}", self.path), lines));
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.note(&item.sig.ident, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.note(&item.sig.ident, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
}

#[test]
fn files_and_functions_stay_small() {
    let allowed = exceptions();
    let mut over = BTreeMap::new();
    for source in rust("crates").into_iter().chain(rust("tests")) {
        let lines = source.text.lines().count();
        if lines > MAX_FILE {
            over.insert(source.path.clone(), lines);
        }
        let file = syn::parse_file(&source.text).unwrap_or_else(|e| panic!("{}: {e}", source.path));
        let mut functions = Functions { path: &source.path, found: Vec::new() };
        functions.visit_file(&file);
        over.extend(functions.found.into_iter().filter(|(_, lines)| *lines > MAX_FUNCTION));
    }
    let mut faults = Vec::new();
    for (what, lines) in &over {
        match allowed.get(what) {
            None => faults.push(format!("{what} has {lines} lines: make it smaller")),
            Some(limit) if lines > limit => faults.push(format!("{what} grew from {limit} to {lines} lines")),
            Some(_) => {}
        }
    }
    faults.extend(
        allowed.keys().filter(|what| !over.contains_key(*what)).map(|what| format!("{what} is small now: take it off the list")),
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
