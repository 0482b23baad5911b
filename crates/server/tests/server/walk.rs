//! Every route with every role and every scope, and with nothing to show: what becomes of it is compared with what the
//! specification says, not with what the program thinks.

mod expected;
mod world;

use std::collections::BTreeMap;

use expected::{Need, Outcome, Who, outcome, scopes};
use reqwest::Method;
use ring_state::Role;
use ring_types::Timestamp;
use serde_json::{Value, json};
use world::{ELSEWHERE, HERE, Route, World};

use crate::support::{Answer, Api, Control, eventually, job};

/// What is wrong with an answer; None when it is as it should be.
fn wrong(expected: Outcome, who: &Who, route: &Route, answer: &Answer) -> Option<String> {
    let (status, code) = (answer.status, answer.code());
    let told = match expected {
        Outcome::Forbidden => status == 403 && code == "auth.forbidden",
        Outcome::Unseen => status == 404 && code.ends_with(".not_found") && !code.starts_with("route."),
        Outcome::Through => {
            let refused = matches!(status, 401 | 403 | 405) || status >= 500 || code.starts_with("route.");
            !refused && (route.method != "GET" || usual(who, route) == status)
        }
    };
    (!told).then(|| format!("{} {}: {expected:?}, and the answer is {status} {code} {}", route.method, route.path, answer.body))
}

/// The status of a read that may be made, of what is there.
fn usual(who: &Who, route: &Route) -> u16 {
    match route.path.as_str() {
        "/deployments/{id}/exec" => 409,                  // Nothing runs it.
        "/node/get" => 404,                               // This control node runs no work.
        "/tokens/{id}" if who.role != Role::Admin => 404, // It is an admin's, and each sees its own.
        _ => 200,
    }
}

/// A token of every role with every single scope, bound to no namespace and to another one; and a session of every role.
async fn callers(world: &World) -> Vec<(Who, Api)> {
    let mut callers = Vec::new();
    for (name, role) in [("viewer", Role::Viewer), ("operator", Role::Operator), ("admin2", Role::Admin)] {
        let user = world.user(name, role).await;
        let all: Vec<Vec<String>> = scopes().into_iter().map(|scope| vec![scope]).collect();
        let mut kinds: Vec<(Vec<String>, Vec<&'static str>)> = vec![(vec![], vec![]), (vec!["admin".to_owned()], vec![HERE])];
        kinds.extend(all.iter().map(|scopes| (scopes.clone(), vec![])));
        kinds.extend(all.iter().map(|scopes| (scopes.clone(), vec![ELSEWHERE])));
        for (scopes, namespaces) in kinds {
            let who = Who { role, scopes, namespaces };
            let (_, api) = world.token(user, &who, None).await;
            callers.push((who, api));
        }
    }
    callers
}

/// A call of a caller, who gives up its token by a logout that succeeds.
async fn called(world: &World, (who, api): &(Who, Api), route: &Route, query: &str, through: bool) -> Answer {
    if route.path != "/logout" {
        return world.call(api, route, query, through).await;
    }
    let user = world.user(&format!("leaves{}", uuid::Uuid::new_v4()), who.role).await;
    let (_, leaving) = world.token(user, who, None).await;
    world.call(&leaving, route, query, through).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_through_whom_the_specification_says_and_nobody_else() {
    let world = World::start().await;
    let routes = world.routes().await;
    assert!(routes.len() > 60, "{}", routes.len());
    for route in &routes {
        let wanted = Need::of(&route.method, &route.path).permission();
        assert_eq!(route.permission, wanted, "{} {}: if that is meant, say so in walk/expected.rs", route.method, route.path);
    }
    let callers = callers(&world).await;
    let (mut faults, mut calls) = (Vec::new(), BTreeMap::new());
    // First what is refused: nothing of it may change anything.
    let before = world.everything().await;
    for through in [false, true] {
        for caller in &callers {
            for route in &routes {
                let wanted = outcome(&caller.0, &route.method, &route.path, HERE);
                if (wanted == Outcome::Through) != through {
                    continue;
                }
                for query in route.queries() {
                    *calls.entry(format!("{wanted:?}")).or_insert(0) += 1;
                    let answer = called(&world, caller, route, query, through).await;
                    let fault = wrong(wanted, &caller.0, route, &answer);
                    faults.extend(fault.map(|fault| format!("{:?}: {fault}", caller.0)));
                }
            }
        }
        if !through {
            assert_eq!(world.everything().await, before, "what was refused has changed something");
        }
    }
    assert!(faults.is_empty(), "{} of {calls:?}:\n{}", faults.len(), faults.join("\n"));
    assert!(calls["Forbidden"] > 3000 && calls["Through"] > 1000 && calls["Unseen"] > 50, "{calls:?}");
    world.control.stop().await;
}

/// Callers that prove nothing, each with what is wrong with it.
async fn strangers(world: &World) -> Vec<(&'static str, Api)> {
    let everything = Who { role: Role::Admin, scopes: vec!["admin".to_owned()], namespaces: Vec::new() };
    let user = world.user("somebody", Role::Admin).await;
    let anonymous = world.control.anonymous();
    let (_, expired) = world.token(user, &everything, Some(Timestamp(1))).await;
    let (id, revoked) = world.token(user, &everything, None).await;
    world.admin.delete(&format!("/tokens/{id}")).await.expect(200);
    let (id, rotated) = world.token(user, &everything, None).await;
    rotated.get("/users/me").await.expect(200);
    let new = world.admin.post(&format!("/tokens/{id}/rotate"), &json!({})).await.expect(200);
    anonymous.with_token(new["token"].as_str().unwrap()).get("/users/me").await.expect(200);
    let session = Who { scopes: Vec::new(), ..everything.clone() };
    let (_, over) = world.token(user, &session, None).await;
    over.send(Method::POST, "/logout", None, &[]).await.expect(200);
    let gone = world.user("gone", Role::Admin).await;
    let (_, deleted) = world.token(gone, &everything, None).await;
    world.admin.delete(&format!("/users/{gone}")).await.expect(200);
    vec![
        ("no token", anonymous.clone()),
        ("an unknown token", anonymous.with_token("ring_pat_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("an empty token", anonymous.with_token("")),
        ("an expired token", expired),
        ("a revoked token", revoked),
        ("the secret a token had before", rotated),
        ("a session that was given up", over),
        ("a token of an account that is gone", deleted),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_proves_nothing_reaches_nothing() {
    let world = World::start().await;
    let strangers = strangers(&world).await;
    let before = world.everything().await;
    let mut faults = Vec::new();
    for route in world.routes().await.iter().filter(|route| Need::of(&route.method, &route.path) != Need::Open) {
        for (what, api) in &strangers {
            for query in route.queries() {
                let answer = world.call(api, route, query, false).await;
                if (answer.status, answer.code()) != (401, "auth.required") {
                    faults.push(format!("{what}: {} {}: {} {}", route.method, route.path, answer.status, answer.body));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!(world.everything().await, before);
    world.control.stop().await;
}

/// Every namespace that is named anywhere in a reply.
fn namespaces(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| namespaces(item, found)),
        Value::Object(map) => {
            found.extend(map.get("namespace").and_then(Value::as_str).map(str::to_owned));
            map.values().for_each(|value| namespaces(value, found));
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_a_bound_token_what_is_in_its_namespaces() {
    let world = World::start().await;
    let user = world.user("bound", Role::Admin).await;
    let who = Who { role: Role::Admin, scopes: vec!["admin".to_owned()], namespaces: vec![HERE] };
    let (_, bound) = world.token(user, &who, None).await;
    for kind in ["deployments", "secrets", "configs", "volumes"] {
        let listed = bound.get(&format!("/{kind}")).await.expect(200);
        assert_eq!((listed.as_array().unwrap().len(), &listed[0]["namespace"]), (1, &json!(HERE)), "{kind}");
        let asked = bound.get(&format!("/{kind}?namespace[]={ELSEWHERE}")).await.expect(200);
        assert_eq!(asked, json!([]), "{kind}");
        assert_eq!(world.admin.get(&format!("/{kind}")).await.expect(200).as_array().unwrap().len(), 2, "{kind}");
    }
    let spaces = bound.get("/namespaces").await.expect(200);
    assert_eq!((spaces.as_array().unwrap().len(), &spaces[0]["name"]), (1, &json!(HERE)));
    // Whatever else can be read without a name in it shows nothing of elsewhere either.
    for route in world.routes().await.iter().filter(|route| route.method == "GET" && !route.path.contains('{')) {
        let answer = world.call(&bound, route, "", true).await;
        let mut named = Vec::new();
        namespaces(&answer.body, &mut named);
        assert!(named.iter().all(|name| name == HERE), "GET {}: {}", route.path, answer.body);
    }
    world.control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_secret_it_was_begun_with() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let id = admin.post("/deployments", &job("ns", "one")).await.expect(200)["deployments"][0]["id"].clone();
    let token = admin.post("/tokens", &json!({ "name": "ci", "scopes": ["deployments:read"] })).await.expect(200);
    let reader = control.anonymous().with_token(token["token"].as_str().unwrap());
    let path = format!("/deployments/{}/events?follow=true", id.as_str().unwrap());
    let mut stream = reader.open(&path).await;
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("created"), "it has begun");
    admin.post(&format!("/tokens/{}/rotate", token["id"].as_str().unwrap()), &json!({})).await.expect(200);
    let rest = async { while stream.chunk().await.unwrap().is_some() {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), rest).await.expect("the stream ends");
    eventually("it cannot be taken up again", async || reader.get(&path).await.status == 401).await;
    control.stop().await;
}
