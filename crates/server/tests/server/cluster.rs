//! Several control nodes over real TLS on loopback: joining, refusing, losing a quorum.

use std::net::SocketAddr;

use crate::support::{Api, Control, eventually, job, join_options};
use reqwest::Method;
use ring_server::JoinRole;
use ring_server::node::{NodeError, join};
use serde_json::json;

async fn voters(api: &Api) -> usize {
    let members = api.get("/cluster/members?consistency=stale").await.expect(200);
    members.as_array().unwrap().iter().filter(|m| m["role"] == "voter").count()
}

async fn three() -> [Control; 3] {
    let first = Control::first().await;
    let token = first.token(JoinRole::Control);
    let second = Control::joined("c2", &token, &[first.cluster]).await;
    let third = Control::joined("c3", &token, &[first.cluster, second.cluster]).await;
    let admin = first.admin().await;
    eventually("three voters", async || voters(&admin).await == 3).await;
    [first, second, third]
}

#[tokio::test(flavor = "multi_thread")]
async fn three_control_nodes_answer_as_one_and_survive_one_another() {
    let [first, second, third] = three().await;
    let admin = first.admin().await;
    admin.post("/deployments", &job("ns", "one")).await.expect(200);
    for other in [&second, &third] {
        let listed = other.admin().await.get("/deployments").await.expect(200);
        assert_eq!(listed[0]["name"], "one", "read on another node right after the write");
        other.admin().await.post("/namespaces", &json!({ "name": format!("by-{}", other.api.port()) })).await.expect(200);
    }
    // The leader goes: the others go on, and it comes back.
    let (second_admin, kept) = (second.admin().await, first.stop().await);
    second_admin.post("/deployments", &job("ns", "two")).await.expect(200);
    let first = Control::again(kept).await;
    let listed = first.admin().await.get("/deployments").await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    for control in [first, second, third] {
        control.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_writes_fail_by_name_and_stale_reads_work() {
    let [first, second, third] = three().await;
    let admin = first.admin().await;
    admin.post("/deployments", &job("ns", "one")).await.expect(200);
    second.stop().await;
    third.stop().await;
    let refused = admin.post("/deployments", &job("ns", "two")).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    let missing = refused.body["missing"].to_string();
    assert!(missing.contains("c2") && missing.contains("c3"), "{}", refused.body);
    let stale = admin.get("/deployments?consistency=stale").await;
    assert!(stale.headers.contains_key("ring-stale-age"));
    assert_eq!(stale.expect(200)[0]["name"], "one");
    assert_eq!(admin.get("/deployments").await.status, 503);
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_good_for_stale_reads_at_once_everywhere() {
    let [first, second, third] = three().await;
    let admin = first.admin().await;
    for round in 0..20 {
        let wanted = json!({ "name": format!("t{round}"), "scopes": ["deployments:read"] });
        let made = admin.post("/tokens", &wanted).await.expect(200);
        for control in [&second, &third] {
            let fresh = control.anonymous().with_token(made["token"].as_str().unwrap());
            let read = fresh.get("/deployments?consistency=stale").await;
            assert!(read.headers.contains_key("ring-stale-age"), "{}", read.body);
            read.expect(200);
        }
    }
    let wrong = second.anonymous().with_token("ring_pat_of_nobody");
    assert_eq!(wrong.get("/deployments?consistency=stale").await.status, 401);
    first.stop().await;
    third.stop().await;
    let alone = wrong.get("/deployments?consistency=stale").await;
    assert!(alone.status == 401 && alone.body["detail"].to_string().contains("no newer copy"), "{}", alone.body);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_control_node_is_out() {
    let [first, second, third] = three().await;
    let admin = first.admin().await;
    let members = admin.get("/cluster/members").await.expect(200);
    let id = members.as_array().unwrap().iter().find(|m| m["name"] == "c3").unwrap()["id"].as_u64().unwrap();
    admin.delete(&format!("/cluster/members/{id}")).await.expect(200);
    eventually("two voters", async || voters(&admin).await == 2).await;
    assert_eq!(admin.delete(&format!("/cluster/members/{id}")).await.status, 404);
    admin.post("/cluster/transfer-leader", &json!({})).await.expect(200);
    for control in [third, first, second] {
        control.stop().await;
    }
}

async fn refusal(token: &str, role: JoinRole, members: &[SocketAddr]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut options = join_options(dir.path(), token, role, "x", members);
    options.advertise = Some(crate::support::free_address());
    options.api_listen = Some(crate::support::free_address());
    let error: NodeError = join(&options).await.unwrap_err();
    error.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_token_is_refused_in_its_own_words() {
    let first = Control::first().await;
    let admin = first.admin().await;
    let at = [first.cluster];
    let make = async |body| admin.post("/cluster/tokens", &body).await.expect(200);
    let text = |token: &serde_json::Value| token["token"].as_str().unwrap().to_owned();

    let agent = first.token(JoinRole::Agent);
    assert!(refusal(&agent, JoinRole::Control, &at).await.contains("cannot be used to join as a control node"));
    let lied = agent.replace("_agent_", "_control_");
    assert!(refusal(&lied, JoinRole::Control, &at).await.contains("admits agents only"));
    assert!(refusal("ring_pat_x", JoinRole::Agent, &at).await.contains("not a join token"));
    assert!(refusal(&agent[..agent.len() - 1], JoinRole::Agent, &at).await.contains("damaged or cut off"));

    let mut parts: Vec<_> = agent.split('_').collect();
    let other_secret = "0".repeat(48);
    parts[4] = &other_secret;
    assert!(refusal(&parts.join("_"), JoinRole::Agent, &at).await.contains("secret of the join token is wrong"));
    let nobody = uuid::Uuid::nil().simple().to_string();
    let mut parts: Vec<_> = agent.split('_').collect();
    parts[3] = &nobody;
    assert!(refusal(&parts.join("_"), JoinRole::Agent, &at).await.contains("not known to this cluster"));

    let expired = text(&make(json!({ "role": "agent", "expires_in": "0s" })).await);
    assert!(refusal(&expired, JoinRole::Agent, &at).await.contains("expired"));
    let once = text(&make(json!({ "role": "agent", "uses": 1 })).await);
    let dir = tempfile::tempdir().unwrap();
    join(&join_options(dir.path(), &once, JoinRole::Agent, "a", &at)).await.unwrap();
    assert!(refusal(&once, JoinRole::Agent, &at).await.contains("used up"));
    let taken_back = make(json!({ "role": "agent" })).await;
    admin.delete(&format!("/cluster/tokens/{}", taken_back["id"].as_str().unwrap())).await.expect(200);
    assert!(refusal(&text(&taken_back), JoinRole::Agent, &at).await.contains("revoked"));

    // Another cluster, under a token of this one: its authority is not the one the token names.
    let stranger = Control::first().await;
    assert!(refusal(&agent, JoinRole::Agent, &[stranger.cluster]).await.contains("no trust"));
    let listed = admin.get("/cluster/tokens").await.expect(200);
    assert!(!listed.to_string().contains("ring_join_"), "{listed}");
    stranger.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_whose_reply_was_lost_admits_once() {
    let first = Control::first().await;
    let admin = first.admin().await;
    let token = admin.post("/cluster/tokens", &json!({ "role": "agent", "uses": 1 })).await.expect(200);
    let token = token["token"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let options = join_options(dir.path(), token, JoinRole::Agent, "a", &[first.cluster]);
    let once = join(&options).await.unwrap();
    // As if the host had died before it wrote that it has joined: only what it wrote before the request is left.
    std::fs::remove_file(dir.path().join("identity/host.json")).unwrap();
    let pending = json!({ "request": once.node, "node": once.node, "token": "another token" });
    std::fs::write(dir.path().join("identity/join.json"), pending.to_string()).unwrap();
    assert!(join(&options).await.unwrap_err().to_string().contains("used up"), "another join is another admission");
    let nodes = admin.get("/nodes").await.expect(200);
    assert_eq!(nodes.as_array().unwrap().len(), 1);
    let joined = join(&join_options(dir.path(), token, JoinRole::Agent, "a", &[first.cluster])).await;
    assert!(joined.is_err());
    assert_eq!(admin.send(Method::GET, &format!("/nodes/{}", once.node.unwrap()), None, &[]).await.status, 200);
    first.stop().await;
}
