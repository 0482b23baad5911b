//! What waits for what: an index of the names deployments wait for, and circles in it.

use std::collections::{BTreeMap, BTreeSet};

use ring_types::{DeploymentId, DeploymentSpec, Name};

use crate::State;
use crate::state::uuid_from;

impl State {
    /// Deployments that name this one as something they wait for.
    pub fn dependents_of<'s>(&'s self, namespace: &Name, name: &Name) -> impl Iterator<Item = DeploymentId> + use<'s> {
        let id = |bytes| DeploymentId(uuid_from(bytes));
        let key = |bytes| (namespace.clone(), name.to_string(), id(bytes));
        self.dependents.range(key(0)..=key(u128::MAX)).map(|(.., id)| *id)
    }
}

type Key = (Name, String);

/// Names, each of which waits for the next and the last for the first, once `specs` stand for their names; empty when there
/// is no such circle. What does not depend on anything costs nothing.
pub fn dependency_circle<'s>(state: &State, specs: impl Iterator<Item = &'s DeploymentSpec>) -> Vec<String> {
    let all: BTreeMap<Key, &DeploymentSpec> = specs.map(|spec| ((spec.namespace.clone(), spec.name.to_string()), spec)).collect();
    let begin = all.iter().filter(|(_, spec)| !spec.depends_on.is_empty()).map(|(key, _)| key.clone());
    let mut graph = reachable(state, &all, begin.collect());
    // What waits for nothing that is left is taken away until nothing more goes.
    loop {
        let free: Vec<Key> =
            graph.iter().filter(|(_, next)| !next.iter().any(|to| graph.contains_key(to))).map(|(k, _)| k.clone()).collect();
        if free.is_empty() {
            break;
        }
        graph.retain(|key, _| !free.contains(key));
    }
    walk(&graph)
}

/// What waits for what, from these names on.
fn reachable(state: &State, specs: &BTreeMap<Key, &DeploymentSpec>, mut open: Vec<Key>) -> BTreeMap<Key, BTreeSet<Key>> {
    let mut graph = BTreeMap::new();
    while let Some(key) = open.pop() {
        if graph.contains_key(&key) {
            continue;
        }
        let stands = || Name::new(&key.1).ok().and_then(|name| state.deployment_named(&key.0, &name)).map(|d| &*d.spec);
        let spec = specs.get(&key).copied().or_else(stands);
        let next: BTreeSet<Key> =
            spec.iter().flat_map(|spec| &spec.depends_on).map(|d| (key.0.clone(), d.deployment.clone())).collect();
        open.extend(next.iter().cloned());
        graph.insert(key, next);
    }
    graph
}

/// Follows the arrows of a graph in which each leads on, until a name comes again.
fn walk(graph: &BTreeMap<Key, BTreeSet<Key>>) -> Vec<String> {
    let mut path: Vec<&Key> = Vec::new();
    let mut here = graph.keys().next();
    while let Some(key) = here {
        if let Some(first) = path.iter().position(|known| *known == key) {
            return path[first..].iter().map(|(_, name)| name.clone()).collect();
        }
        path.push(key);
        here = graph.get(key).and_then(|next| next.iter().find(|to| graph.contains_key(*to)));
    }
    Vec::new()
}
