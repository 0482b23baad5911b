//! A route is added in two places, to the router and to the table of what routes need. One that is in the table alone is none; one
//! that is in the router alone is closed to everybody, and is found here before anybody wonders.

use std::collections::BTreeSet;

use syn::visit::Visit;

use crate::sources::{Source, rust};

/// Ways to add a handler that this would not see.
const HIDDEN: [&str; 7] = [".route_service(", ".nest(", ".nest_service(", ".fallback_service(", "any(", "on(", "MethodFilter"];

/// Methods and paths that are added to a router: `.route("/path", get(…).post(…))`.
#[derive(Default)]
struct Routed(BTreeSet<String>);

impl<'ast> Visit<'ast> for Routed {
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if call.method == "route" {
            let path = text(&call.args[0]).expect("the path of a route is written out");
            for method in methods(&call.args[1]) {
                assert!(self.0.insert(format!("{method} {path}")), "{method} {path} is added twice");
            }
        }
        syn::visit::visit_expr_method_call(self, call);
    }
}

fn text(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// The methods of `get(…).post(…)`.
fn methods(expression: &syn::Expr) -> Vec<String> {
    match expression {
        syn::Expr::Call(call) => match &*call.func {
            syn::Expr::Path(function) => vec![function.path.segments.last().unwrap().ident.to_string().to_uppercase()],
            _ => panic!("a route is made by a function that is named"),
        },
        syn::Expr::MethodCall(call) => {
            let mut found = methods(&call.receiver);
            found.push(call.method.to_string().to_uppercase());
            found
        }
        _ => panic!("a route is made by get, post, put, patch or delete"),
    }
}

/// `(Method::GET, "/path", …)` of the table.
#[derive(Default)]
struct Listed(BTreeSet<String>);

impl<'ast> Visit<'ast> for Listed {
    fn visit_expr_tuple(&mut self, tuple: &'ast syn::ExprTuple) {
        if let [syn::Expr::Path(method), path, _] = tuple.elems.iter().collect::<Vec<_>>()[..]
            && let Some(path) = text(path)
        {
            let method = &method.path.segments.last().unwrap().ident;
            assert!(self.0.insert(format!("{method} {path}")), "{method} {path} is listed twice");
        }
    }
}

fn parsed(source: &Source) -> syn::File {
    syn::parse_file(&source.text).unwrap_or_else(|e| panic!("{}: {e}", source.path))
}

#[test]
fn a_route_is_in_the_router_and_in_the_table() {
    let (mut routed, mut listed) = (Routed::default(), Listed::default());
    for source in rust("crates/server/src/rest") {
        if source.path.ends_with("rest/auth/table.rs") {
            listed.visit_file(&parsed(&source));
        }
        if source.path.ends_with("rest/router.rs") {
            for (line, text) in source.program() {
                let hidden = HIDDEN.iter().find(|way| text.contains(**way));
                assert!(hidden.is_none(), "{}:{line}: {} hides a route from this test", source.path, hidden.unwrap());
            }
            routed.visit_file(&parsed(&source));
        } else {
            assert!(!source.text.contains("Router::new()"), "{} makes a router of its own", source.path);
        }
    }
    assert!(routed.0.len() > 60, "{:?}", routed.0);
    assert_eq!(routed.0, listed.0, "routes of rest/router.rs and of rest/auth/table.rs");
}
