//! Every output form of every object.

use ring_api::manifest::Node as Tree;
use ring_api::model::{
    ClusterStatus, Config, Delivery, DeploymentEvent, HealthCheckResult, JoinToken, Member, Namespace, Node, Secret, Token, User,
    Volume, Webhook,
};
use serde::de::DeserializeOwned;

use super::{ListView, ObjectView, Row, Screen, View};
use crate::commands::samples::{job, worker};
use crate::format::Format;

fn read<T: DeserializeOwned>(yaml: &str) -> T {
    serde_json::from_value(Tree::from_yaml(yaml).unwrap().to_json()).unwrap()
}

fn table<T: Row>(items: Vec<T>, format: Format) -> String {
    ListView(items).render(format, Screen::default()).unwrap()
}

fn both<T: Row + DeserializeOwned>(yaml: &str) -> String {
    format!("{}\n\n{}", table::<T>(read(yaml), Format::Table), table::<T>(read(yaml), Format::Wide))
}

const ID: &str = "1a2b0000-0000-7000-8000-000000000001";

#[test]
fn deployments() {
    insta::assert_snapshot!(table(vec![job(), worker()], Format::Table));
    insta::assert_snapshot!(table(vec![job(), worker()], Format::Wide));
    insta::assert_snapshot!(table(vec![job()], Format::Json));
    insta::assert_snapshot!(table(vec![job()], Format::Yaml));
    insta::assert_snapshot!(ObjectView(job()).render(Format::Table, Screen::default()).unwrap());
}

#[test]
fn a_narrow_terminal_gets_short_lines() {
    let narrow = ListView(vec![worker()]).render(Format::Table, Screen { colour: false, width: Some(90) }).unwrap();
    assert!(narrow.lines().all(|line| line.chars().count() <= 90), "{narrow}");
    assert!(narrow.contains("Name") && !narrow.contains("Updated"), "{narrow}");
}

#[test]
fn a_wide_list_fits_a_terminal_of_a_hundred_columns() {
    let wide = ListView(vec![worker(), job()]).render(Format::Wide, Screen { colour: false, width: Some(100) }).unwrap();
    assert!(wide.lines().all(|line| line.chars().count() <= 100), "{wide}");
    assert!(wide.contains("Node(s)") && wide.contains("Status"), "{wide}");
}

#[test]
fn health_checks_and_what_fails() {
    let results = format!(
        "[{{id: a, deployment_id: {ID}, instance: {ID}, node: host-2, check: null, check_type: null, status: unreachable,
           message: its node is not connected, created_at: null, started_at: null, finished_at: null}},
          {{id: b, deployment_id: {ID}, instance: {ID}, node: host-1, check: 1, check_type: command, status: timeout,
           message: no answer within 5s, created_at: '2026-04-12T13:20:05Z', started_at: '2026-04-12T13:20:00Z',
           finished_at: '2026-04-12T13:20:05Z'}},
          {{id: c, deployment_id: {ID}, instance: {ID}, node: host-1, check: 0, check_type: tcp, status: success,
           message: connected, created_at: '2026-04-12T13:20:00.001Z', started_at: '2026-04-12T13:20:00Z',
           finished_at: '2026-04-12T13:20:00.001Z'}}]"
    );
    insta::assert_snapshot!(both::<HealthCheckResult>(&results));
    insta::assert_snapshot!(ObjectView(worker().instances).render(Format::Yaml, Screen::default()).unwrap());
    insta::assert_snapshot!(ObjectView(worker()).render(Format::Table, Screen::default()).unwrap());
}

#[test]
fn an_empty_list_has_its_header_and_is_an_empty_array() {
    assert_eq!(table::<Namespace>(Vec::new(), Format::Table), "Name  Created  Deployments");
    assert_eq!(table::<Namespace>(Vec::new(), Format::Json), "[]");
}

#[test]
fn colour_is_only_for_those_who_want_it() {
    assert!(!table(vec![job()], Format::Table).contains('\u{1b}'));
    let coloured = ListView(vec![job()]).render(Format::Table, Screen { colour: true, width: None }).unwrap();
    assert!(
        coloured.contains('\u{1b}') && !coloured.contains(" \u{1b}[39m\n") && !coloured.ends_with(" \u{1b}[39m"),
        "{coloured}"
    );
}

#[test]
fn nodes_and_members() {
    let nodes = format!(
        "[{{id: {ID}, name: host-1, status: ready, schedulable: true, labels: {{zone: z1}}, capacity: {{cpu: '4', memory: 8Gi}},
           reserved: {{cpu: 500m, memory: 512Mi}}, instances: 2, hostname: h, platform: linux/x86_64, agent_version: 0.1.0,
           address: 10.0.0.1, runtimes: [{{kind: process, version: '1', problem: null}},
           {{kind: docker, version: '', problem: no socket}}]}}]"
    );
    insta::assert_snapshot!(both::<Node>(&nodes));
    let members = "[{id: 1, name: control-1, address: '10.0.0.1:3031', api_address: '10.0.0.1:3030', role: voter, leader: true,
                     reachable: true, last_log: 90, lag: 0},
                    {id: 2, name: control-2, address: '10.0.0.2:3031', role: learner, leader: false}]";
    insta::assert_snapshot!(both::<Member>(members));
    let status = format!(
        "{{id: {ID}, member: 2, leader: 1, members: {members}, quorum: true, nodes: {{total: 3, ready: 2}}, revision: 90,
          state_digest: abc123}}"
    );
    let status: ClusterStatus = read(&status);
    insta::assert_snapshot!(ObjectView(&status).render(Format::Yaml, Screen::default()).unwrap());
    insta::assert_snapshot!(crate::commands::cluster::status_view(status).render(Format::Table, Screen::default()).unwrap());
}

#[test]
fn webhooks_and_deliveries() {
    let time = "'2026-04-12T13:20:00Z'";
    let webhooks = format!(
        "[{{id: {ID}, url: 'https://receiver.example/ring', events: [deployment.*, cluster.leader_changed], created_by: admin,
           created_at: {time}, delivered: 12, delivered_at: {time}, pending: 2, dead: 1, dropped: 0}}]"
    );
    let deployment = format!("{{type: deployment, id: {ID}, namespace: shop, name: web}}");
    let deliveries = format!(
        "[{{id: {ID}, number: 77, state: dead, kind: deployment.scaled, at: {time}, object: {deployment}, attempts: 20,
           failed_at: {time}, error: 'answered 500 Internal Server Error'}},
          {{id: 2a2b0000-0000-5000-8000-000000000001, number: 78, state: pending, kind: cluster.leader_changed, at: {time},
           object: {{type: cluster, id: {ID}}}, attempts: 0, next_at: {time}}}]"
    );
    insta::assert_snapshot!(format!("{}\n\n{}", both::<Webhook>(&webhooks), both::<Delivery>(&deliveries)));
}

#[test]
fn small_objects() {
    let time = "'2026-04-12T13:20:00Z'";
    let of = |fields: &str| format!("[{{id: {ID}, created_at: {time}, {fields}}}]");
    let tables = [
        both::<Namespace>(&format!("[{{name: production, created_at: {time}, deployments: 3, secrets: 2, volumes: 1}}]")),
        both::<Secret>(&of("namespace: production, name: database-url")),
        both::<Config>(&of("namespace: production, name: nginx, data: {nginx.conf: x, mime.types: y}")),
        both::<Volume>(&of("namespace: production, name: data, driver: local, node: node-2, used_by: [db], labels: {team: a}")),
        both::<Volume>(&of("namespace: production, name: films, driver: nfs, source: 'files:/films'")),
        both::<User>(&of("username: admin, role: admin")),
        both::<Token>(&of("name: ci, user: admin, scopes: ['deployments:write'], namespaces: [production]")),
        both::<JoinToken>(&of("role: agent, uses_left: 2")),
        both::<DeploymentEvent>(&format!(
            "[{{id: 3, deployment_id: {ID}, timestamp: {time}, level: warning, kind: exited, message: 'code 7', node: host-1}}]"
        )),
    ];
    insta::assert_snapshot!(tables.join("\n\n"));
}
