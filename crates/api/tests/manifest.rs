//! The manifest as the interface describes it: every field by itself, every refusal by itself and all in one reply.
#![allow(missing_docs, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use ring_api::manifest::{ConfigEntry, DeploymentEntry, Manifest, ManifestError, Node, SECTIONS, Section, take_in_files};
use ring_types::{
    Autoscale, CheckAction, CheckKind, Cpu, Dependency, DependencyCondition, EnvValue, Kind, Memory, NetworkMode, OnNodeLoss,
    Permission, Protocol, PullPolicy, RuntimeKind, Span, Spread, Violation, VolumeDriver, VolumeKind,
};
use serde_json::Value;

fn read(text: &str) -> Manifest {
    let tree = Node::from_yaml(text).unwrap();
    Manifest::from_tree(&tree).unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

fn deployment(fields: &str) -> DeploymentEntry {
    let identity = "name: w, namespace: n, image: 'i:1'";
    let fields = if fields.is_empty() { String::new() } else { format!(", {fields}") };
    read(&format!("deployments: {{w: {{{identity}{fields}}}}}")).deployments.remove(0)
}

fn config(fields: &str) -> ConfigEntry {
    let text = format!("configs: {{c: {{name: c, namespace: n, {fields}}}}}\ndeployments: {{}}");
    read(&text).configs.remove(0)
}

/// Section and field, what is written, and whether it was understood.
type Row = (&'static str, &'static str, &'static str, fn(&DeploymentEntry) -> bool);

const CHECK: &str = "health_checks: [{type: http, url: 'http://localhost/h', interval: 7s, timeout: 250ms, threshold: 4, \
                     on_failure: stop, readiness: true, min_healthy_time: 1m, start_period: 2h}]";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("Deployment", "name", "", |d| d.spec.name.as_str() == "w"),
    ("Deployment", "namespace", "", |d| d.spec.namespace.as_str() == "n"),
    ("Deployment", "image", "", |d| d.spec.image == "i:1"),
    ("Deployment", "runtime", "", |d| d.spec.runtime == RuntimeKind::Docker),
    ("Deployment", "runtime", "runtime: podman", |d| d.spec.runtime == RuntimeKind::Podman),
    ("Deployment", "runtime", "runtime: cloud-hypervisor", |d| d.spec.runtime == RuntimeKind::CloudHypervisor),
    ("Deployment", "runtime", "runtime: process, command: [x]", |d| d.spec.runtime == RuntimeKind::Process),
    ("Deployment", "kind", "", |d| d.spec.kind == Kind::Worker),
    ("Deployment", "kind", "kind: job", |d| d.spec.kind == Kind::Job),
    ("Deployment", "replicas", "", |d| d.spec.replicas == 1),
    ("Deployment", "replicas", "replicas: 3", |d| d.spec.replicas == 3),
    ("Deployment", "replicas", "kind: job, replicas: 3", |d| d.spec.wanted() == 1 && d.warnings.len() == 1),
    ("Deployment", "command", "", |d| d.spec.command.is_empty()),
    ("Deployment", "command", "command: [a, 'b c', 1]", |d| d.spec.command == ["a", "b c", "1"]),
    ("Deployment", "command", "command: \"sh -c 'a b'\"", |d| d.spec.command == ["sh", "-c", "a b"]),
    ("Deployment", "environment", "environment: {A: x, B_2: 1.10, _C: true}", |d| {
        let plain = |name: &str| match &d.spec.environment[name] { EnvValue::Plain(text) => text.clone(), EnvValue::Secret(_) => String::new() };
        (plain("A"), plain("B_2"), plain("_C")) == ("x".into(), "1.10".into(), "true".into())
    }),
    ("Secret reference", "secretRef", "environment: {A: {secretRef: s}}", |d| d.spec.environment["A"] == EnvValue::Secret("s".into())),
    ("Deployment", "ports", "", |d| d.spec.ports.is_empty()),
    ("Port", "published", "ports: [{published: 80, target: 81}]", |d| d.spec.ports[0].published == 80),
    ("Port", "target", "ports: [{published: 80, target: 81}]", |d| d.spec.ports[0].target == 81),
    ("Port", "host_ip", "ports: [{published: 80, target: 81}]", |d| d.spec.ports[0].host_ip == "0.0.0.0"),
    ("Port", "host_ip", "ports: [{published: 80, target: 81, host_ip: 127.0.0.1}]", |d| d.spec.ports[0].host_ip == "127.0.0.1"),
    ("Port", "protocol", "ports: [{published: 80, target: 81}]", |d| d.spec.ports[0].protocol == Protocol::Tcp),
    ("Port", "protocol", "ports: [{published: 80, target: 80}, {published: 80, target: 80, protocol: udp}]", |d| d.spec.ports[1].protocol == Protocol::Udp),
    ("Deployment", "volumes", "", |d| d.spec.volumes.is_empty()),
    ("Mount", "type", "volumes: [{type: bind, source: /a, destination: /b}]", |d| d.spec.volumes[0].kind == VolumeKind::Bind),
    ("Mount", "type", "volumes: [{type: volume, source: a, destination: /b}]", |d| d.spec.volumes[0].kind == VolumeKind::Volume),
    ("Mount", "type", "volumes: [{type: config, source: a, key: k, destination: /b}]", |d| d.spec.volumes[0].kind == VolumeKind::Config),
    ("Mount", "type", "volumes: [{type: secret, source: a, destination: /b}]", |d| d.spec.volumes[0].kind == VolumeKind::Secret),
    ("Mount", "source", "volumes: [{type: volume, source: a, destination: /b}]", |d| d.spec.volumes[0].object().unwrap().as_str() == "a"),
    ("Mount", "source", "volumes: [{type: volume, destination: /b}]", |d| d.spec.volumes[0].object().is_none() && d.spec.volumes[0].source.is_empty()),
    ("Mount", "source", "volumes: [{type: volume, driver: nfs, source: 'files:/srv/x', destination: /b}]", |d| d.spec.volumes[0].export() == Some("files:/srv/x")),
    ("Mount", "destination", "volumes: [{type: volume, destination: /b}]", |d| d.spec.volumes[0].destination == "/b"),
    ("Mount", "key", "volumes: [{type: config, source: a, key: k.conf, destination: /b}]", |d| d.spec.volumes[0].key.as_deref() == Some("k.conf")),
    ("Mount", "key", "volumes: [{type: secret, source: a, key: k, destination: /b}]", |d| d.warnings.len() == 1),
    ("Mount", "driver", "volumes: [{type: volume, source: a, destination: /b}]", |d| d.spec.volumes[0].driver == VolumeDriver::Local),
    ("Mount", "driver", "volumes: [{type: volume, source: a, driver: nfs, destination: /b}]", |d| d.spec.volumes[0].driver == VolumeDriver::Nfs),
    ("Mount", "permission", "volumes: [{type: volume, source: a, destination: /b}]", |d| d.spec.volumes[0].permission == Permission::ReadWrite),
    ("Mount", "permission", "replicas: 3, volumes: [{type: volume, source: a, destination: /b, permission: ro}]", |d| d.spec.volumes[0].permission == Permission::ReadOnly),
    ("Mount", "permission", "volumes: [{type: config, source: a, key: k, destination: /b}]", |d| d.spec.volumes[0].permission == Permission::ReadOnly && d.warnings.is_empty()),
    ("Mount", "permission", "volumes: [{type: secret, source: a, destination: /b, permission: rw}]", |d| d.spec.volumes[0].permission == Permission::ReadOnly && d.warnings.len() == 1),
    ("Deployment", "labels", "labels: {a: b, c: 1}", |d| d.spec.labels["a"] == "b" && d.spec.labels["c"] == "1"),
    ("Deployment", "labels", "labels: [{a: b}, {c: 1}]", |d| d.spec.labels["a"] == "b" && d.spec.labels["c"] == "1"),
    ("Deployment", "resources", "", |d| d.spec.resources.limits.cpu.is_none() && d.spec.resources.requests.memory.is_none()),
    ("Resources", "limits", "resources: {limits: {cpu: 1, memory: 1Gi}}", |d| d.spec.resources.reserved() == (Cpu(1000), Memory(1 << 30))),
    ("Resources", "requests", "resources: {limits: {cpu: 1}, requests: {cpu: 500m}}", |d| d.spec.resources.reserved().0 == Cpu(500)),
    ("Amounts", "cpu", "resources: {limits: {cpu: '1'}, requests: {cpu: 0.5}}", |d| (d.spec.resources.limits.cpu, d.spec.resources.requests.cpu) == (Some(Cpu(1000)), Some(Cpu(500)))),
    ("Amounts", "memory", "resources: {limits: {memory: 64M}, requests: {memory: 1024}}", |d| (d.spec.resources.limits.memory, d.spec.resources.requests.memory) == (Some(Memory(64_000_000)), Some(Memory(1024)))),
    ("Amounts", "memory", "resources: {limits: {memory: 1Gi}, requests: {memory: 2Ki}}", |d| (d.spec.resources.limits.memory, d.spec.resources.requests.memory) == (Some(Memory(1 << 30)), Some(Memory(2048)))),
    ("Amounts", "memory", "resources: {limits: {memory: 3G}, requests: {memory: 5Mi}}", |d| (d.spec.resources.limits.memory, d.spec.resources.requests.memory) == (Some(Memory(3_000_000_000)), Some(Memory(5 << 20)))),
    ("Deployment", "health_checks", "", |d| d.spec.health_checks.is_empty()),
    ("Health check", "type", "health_checks: [{type: tcp, port: 1}]", |d| d.spec.health_checks[0].kind == CheckKind::Tcp { port: 1 }),
    ("Health check", "port", "health_checks: [{type: tcp, port: 65535}]", |d| d.spec.health_checks[0].kind == CheckKind::Tcp { port: 65535 }),
    ("Health check", "url", CHECK, |d| matches!(&d.spec.health_checks[0].kind, CheckKind::Http { url } if url == "http://localhost/h")),
    ("Health check", "command", "health_checks: [{type: command, command: 'test -e /x'}]", |d| matches!(&d.spec.health_checks[0].kind, CheckKind::Command { command } if command == "test -e /x")),
    ("Health check", "interval", CHECK, |d| d.spec.health_checks[0].interval == Span::seconds(7)),
    ("Health check", "timeout", CHECK, |d| d.spec.health_checks[0].timeout == Span(250)),
    ("Health check", "threshold", CHECK, |d| d.spec.health_checks[0].threshold == 4),
    ("Health check", "threshold", "health_checks: [{type: tcp, port: 1}]", |d| d.spec.health_checks[0].threshold == 3),
    ("Health check", "on_failure", CHECK, |d| d.spec.health_checks[0].on_failure == CheckAction::Stop),
    ("Health check", "on_failure", "health_checks: [{type: tcp, port: 1}, {type: tcp, port: 2, on_failure: alert}]", |d| (d.spec.health_checks[0].on_failure, d.spec.health_checks[1].on_failure) == (CheckAction::Restart, CheckAction::Alert)),
    ("Health check", "readiness", CHECK, |d| d.spec.health_checks[0].readiness),
    ("Health check", "readiness", "health_checks: [{type: tcp, port: 1}]", |d| !d.spec.health_checks[0].readiness),
    ("Health check", "min_healthy_time", CHECK, |d| d.spec.health_checks[0].min_healthy_time == Span::seconds(60)),
    ("Health check", "min_healthy_time", "health_checks: [{type: tcp, port: 1}]", |d| d.spec.health_checks[0].min_healthy_time == Span::seconds(10)),
    ("Health check", "start_period", CHECK, |d| d.spec.health_checks[0].start_period == Span::seconds(7200)),
    ("Health check", "start_period", "health_checks: [{type: tcp, port: 1}]", |d| d.spec.health_checks[0].start_period == Span::ZERO),
    ("Deployment", "config", "", |d| d.spec.config == ring_types::ImageConfig::default() && d.registry_password.is_none()),
    ("Image and user", "image_pull_policy", "", |d| d.spec.config.image_pull_policy == PullPolicy::Always),
    ("Image and user", "image_pull_policy", "config: {image_pull_policy: IfNotPresent}", |d| d.spec.config.image_pull_policy == PullPolicy::IfNotPresent),
    ("Image and user", "image_pull_policy", "config: {image_pull_policy: Never}", |d| d.spec.config.image_pull_policy == PullPolicy::Never),
    ("Image and user", "server", "config: {server: r.example, username: u, password: p}", |d| d.spec.config.server.as_deref() == Some("r.example")),
    ("Image and user", "username", "config: {username: u, password: p}", |d| d.spec.config.username.as_deref() == Some("u")),
    ("Image and user", "password", "config: {username: u, password: p}", |d| d.registry_password.as_deref() == Some("p") && !format!("{:?}", d.spec).contains("\"p\"")),
    ("Image and user", "use_host_auth", "config: {use_host_auth: true}", |d| d.spec.config.use_host_auth),
    ("Image and user", "image_pull_secret", "config: {image_pull_secret: s}", |d| d.spec.config.image_pull_secret.as_deref() == Some("s")),
    ("Image and user", "user", "config: {user: {}}", |d| d.spec.config.user == ring_types::UserConfig::default()),
    ("User", "id", "config: {user: {id: 0}}", |d| d.spec.config.user.id == Some(0)),
    ("User", "group", "config: {user: {group: 50}}", |d| d.spec.config.user.group == Some(50)),
    ("User", "privileged", "config: {user: {privileged: true}}", |d| d.spec.config.user.privileged),
    ("Deployment", "network", "", |d| d.spec.network == NetworkMode::Bridge),
    ("Network", "mode", "network: {mode: host}", |d| d.spec.network == NetworkMode::Host),
    ("Deployment", "autoscale", "", |d| d.spec.autoscale.is_none()),
    ("Autoscale", "min", "autoscale: {min: 1, max: 3, target_cpu: 70}", |d| d.spec.autoscale == Some(Autoscale { min: 1, max: 3, target_cpu: 70 })),
    ("Autoscale", "max", "autoscale: {min: 2, max: 2, target_cpu: 1}", |d| d.spec.autoscale.unwrap().max == 2),
    ("Autoscale", "target_cpu", "autoscale: {min: 2, max: 2, target_cpu: 99}", |d| d.spec.autoscale.unwrap().target_cpu == 99),
    ("Deployment", "placement", "", |d| d.spec.placement.spread == Spread::Node && d.spec.placement.nodes.is_empty()),
    ("Placement", "nodes", "placement: {nodes: [a, b]}", |d| d.spec.placement.nodes == ["a", "b"]),
    ("Placement", "constraints", "placement: {constraints: ['zone==eu', 'disk != hdd']}", |d| {
        let shown: Vec<_> = d.spec.placement.constraints.iter().map(ToString::to_string).collect();
        shown == ["zone==eu", "disk!=hdd"]
    }),
    ("Placement", "spread", "placement: {spread: zone}", |d| d.spec.placement.spread == Spread::Label("zone".into())),
    ("Placement", "max_per_node", "placement: {max_per_node: 2}", |d| d.spec.placement.max_per_node == Some(2)),
    ("Deployment", "restart", "", |d| (d.spec.restart.max, d.spec.restart.backoff, d.spec.restart.max_backoff) == (5, Span::seconds(1), Span::seconds(60))),
    ("Restart", "max", "restart: {max: 9}", |d| d.spec.restart.max == 9),
    ("Restart", "backoff", "restart: {backoff: 2s}", |d| d.spec.restart.backoff == Span::seconds(2)),
    ("Restart", "max_backoff", "restart: {max_backoff: 5m}", |d| d.spec.restart.max_backoff == Span::seconds(300)),
    ("Deployment", "timeout", "kind: job, timeout: 90s", |d| d.spec.timeout == Some(Span::seconds(90))),
    ("Deployment", "retries", "kind: job, retries: 2", |d| d.spec.retries == 2),
    ("Deployment", "depends_on", "", |d| d.spec.depends_on.is_empty()),
    ("Dependency", "deployment", "depends_on: [{deployment: db}]", |d| d.spec.depends_on == [Dependency { deployment: "db".into(), condition: DependencyCondition::Completed }]),
    ("Dependency", "condition", "depends_on: [{deployment: db, condition: running}]", |d| d.spec.depends_on[0].condition == DependencyCondition::Running),
    ("Deployment", "on_node_loss", "", |d| d.spec.on_node_loss == OnNodeLoss::Reschedule),
    ("Deployment", "on_node_loss", "kind: job", |d| d.spec.on_node_loss == OnNodeLoss::Fail),
    ("Deployment", "on_node_loss", "on_node_loss: wait", |d| d.spec.on_node_loss == OnNodeLoss::Wait),
    ("Deployment", "stop_grace", "", |d| d.spec.stop_grace == Span::seconds(10)),
    ("Deployment", "stop_grace", "stop_grace: 1m30s", |d| d.spec.stop_grace == Span::seconds(90)),
    ("Deployment", "stop_on_disconnect", "", |d| d.spec.stop_on_disconnect.is_none()),
    ("Deployment", "stop_on_disconnect", "stop_on_disconnect: 30s", |d| d.spec.stop_on_disconnect == Some(Span::seconds(30))),
];

#[test]
fn every_field_of_a_deployment_means_what_the_interface_says() {
    for (section, field, written, understood) in ROWS {
        assert!(understood(&deployment(written)), "{section}.{field}: {written}");
    }
}

#[test]
fn every_field_has_a_row() {
    let tested: BTreeSet<_> = ROWS.iter().map(|(section, field, ..)| (*section, *field)).collect();
    let elsewhere = ["Manifest", "Namespace", "Config"];
    for section in SECTIONS.iter().filter(|section| !elsewhere.contains(&section.title)) {
        for field in section.fields {
            assert!(tested.contains(&(section.title, field.name)), "{}.{} has no row", section.title, field.name);
        }
    }
}

/// A manifest in which `field` is written where the fields of `section` belong.
fn with_stray(section: &Section, field: &str) -> String {
    let inside = match section.title {
        "Manifest" => return format!("deployments: {{}}\n{field}: 1"),
        "Namespace" => return format!("namespaces: {{a: {{{field}: 1}}}}\ndeployments: {{}}"),
        "Config" => return format!("configs: {{a: {{name: a, namespace: n, data: {{}}, {field}: 1}}}}\ndeployments: {{}}"),
        "Deployment" => format!("{field}: 1"),
        "Secret reference" => format!("environment: {{A: {{secretRef: s, {field}: 1}}}}"),
        "Port" => format!("ports: [{{published: 80, target: 80, {field}: 1}}]"),
        "Mount" => format!("volumes: [{{type: volume, destination: /d, {field}: 1}}]"),
        "Resources" => format!("resources: {{{field}: 1}}"),
        "Amounts" => format!("resources: {{limits: {{{field}: 1}}}}"),
        "Health check" => format!("health_checks: [{{type: tcp, port: 1, {field}: 1}}]"),
        "Image and user" => format!("config: {{{field}: 1}}"),
        "User" => format!("config: {{user: {{{field}: 1}}}}"),
        "Network" => format!("network: {{{field}: 1}}"),
        "Autoscale" => format!("autoscale: {{min: 1, max: 1, target_cpu: 50, {field}: 1}}"),
        "Placement" => format!("placement: {{{field}: 1}}"),
        "Restart" => format!("restart: {{{field}: 1}}"),
        "Dependency" => format!("depends_on: [{{deployment: x, {field}: 1}}]"),
        other => panic!("no place for a field of {other}"),
    };
    format!("deployments:\n  w:\n    name: w\n    namespace: n\n    image: i\n    {inside}\n")
}

fn violations(text: &str) -> Vec<Violation> {
    match Manifest::from_tree(&Node::from_yaml(text).unwrap()) {
        Err(ManifestError::Invalid(found)) => found,
        other => panic!("{text} gives no violation but {other:?}"),
    }
}

#[test]
fn an_unknown_field_is_named_with_its_line_and_the_nearest_one_everywhere() {
    for section in SECTIONS {
        let last = section.fields.last().unwrap().name;
        let stray = format!("{last}x");
        let text = with_stray(section, &stray);
        let found = violations(&text);
        let line = text.lines().position(|line| line.contains(&stray)).unwrap() + 1;
        assert_eq!(found.len(), 1, "{}: {found:?}", section.title);
        assert_eq!(
            found[0].message,
            format!("unknown field '{stray}'; did you mean '{last}'? (line {line})"),
            "{}",
            section.title
        );
        assert!(found[0].code.ends_with(".unknown_field"), "{}", found[0].code);
    }
}

#[test]
fn a_config_is_data_as_a_map_or_as_json_with_labels_in_both_forms() {
    let map = config("data: {a: x, b: 1.10, c: true, d: {e: [1]}}, labels: {team: a}");
    assert_eq!((&*map.data["a"], &*map.data["b"], &*map.data["c"], &*map.data["d"]), ("x", "1.10", "true", "{\"e\":[1]}"));
    assert_eq!(map.labels["team"], "a");
    let json = config(r#"data: '{"site.conf": "server { listen 80; }"}', labels: [{team: a}, {tier: 1}]"#);
    assert_eq!(json.data["site.conf"], "server { listen 80; }");
    assert_eq!((&*json.labels["team"], &*json.labels["tier"]), ("a", "1"));
}

#[test]
fn what_is_no_config_says_so() {
    for (fields, code) in [
        ("name: c", "config.data.required"),
        ("name: c, data: 'x: y'", "config.data.invalid"),
        ("name: c, data: '[1]'", "config.data.invalid"),
        ("name: c, data: [1]", "config.data.type"),
        ("name: a/b, data: {}", "config.name.invalid"),
        ("data: {}", "config.name.required"),
        ("name: c, files: {a: a.txt}", "config.files.not_inlined"),
    ] {
        let found = violations(&format!("configs: {{c: {{namespace: n, {fields}}}}}\ndeployments: {{}}"));
        assert_eq!((found.len(), found[0].code.as_str()), (1, code), "{fields}: {found:?}");
    }
}

#[test]
fn files_join_data_and_the_same_key_in_both_is_named() {
    let take = |text: &str| {
        let mut tree = Node::from_yaml(text).unwrap();
        let files = take_in_files(&mut tree, |path, interpolate| match path {
            "gone" => Err("cannot read 'gone'".to_owned()),
            path => Ok(format!("{path} {interpolate}")),
        });
        files.map(|()| Manifest::from_tree(&tree).unwrap().configs.remove(0).data)
    };
    let in_config = |fields: &str| format!("configs:\n  c:\n    name: c\n    namespace: n\n    {fields}\ndeployments: {{}}");
    let data = take(&in_config("files: {a: ./a.txt}\n    data: {b: x}")).unwrap();
    assert_eq!((&*data["a"], &*data["b"]), ("./a.txt false", "x"));
    let data = take(&in_config("files: {a: a.txt}\n    data: '{\"b\": \"x\"}'\n    interpolate: true")).unwrap();
    assert_eq!((&*data["a"], &*data["b"]), ("a.txt true", "x"));
    let found = take(&in_config("files: {a: a.txt, b: gone}\n    data: {a: x}")).unwrap_err();
    let said: Vec<_> = found.iter().map(|v| (v.property_path.as_str(), v.message.as_str())).collect();
    assert_eq!(
        said,
        [
            ("configs.c.files.b", "cannot read 'gone' (line 5)"),
            ("configs.c.files.a", "the key 'a' is both in data and in files (line 5)")
        ]
    );
}

fn rejected() -> Vec<Value> {
    serde_json::from_str(include_str!("../testdata/rejected.json")).unwrap()
}

/// The deployment of a case.
fn of_case(i: usize, case: &Value) -> (String, Value) {
    let label = format!("d{i}");
    let mut fields = serde_json::json!({ "name": label, "namespace": "n", "image": "i:1" });
    fields.as_object_mut().unwrap().extend(case["fields"].as_object().unwrap().clone());
    (label, fields)
}

#[test]
fn every_rejection_is_one_violation_with_its_code_and_place() {
    for (i, case) in rejected().iter().enumerate().filter(|(_, case)| case["where"] != "server") {
        let (label, fields) = of_case(i, case);
        let manifest = serde_json::json!({ "deployments": { (&*label): fields } }).to_string();
        let (_, found) = Manifest::check_json(manifest.as_bytes()).unwrap();
        let seen: Vec<_> = found.iter().map(|v| (v.property_path.clone(), v.code.clone())).collect();
        let path = format!("deployments.{label}.{}", case["path"].as_str().unwrap());
        assert_eq!(seen, [(path, case["code"].as_str().unwrap().to_owned())], "{}", case["name"]);
        assert!(!found[0].message.is_empty());
    }
}

#[test]
fn all_rejections_come_at_once() {
    let cases = rejected();
    let cases: Vec<_> = cases.iter().enumerate().filter(|(_, case)| case["where"] != "server").collect();
    let deployments: serde_json::Map<_, _> = cases.iter().map(|(i, case)| of_case(*i, case)).collect();
    let manifest = serde_json::json!({ "deployments": deployments }).to_string();
    let Err(ManifestError::Invalid(found)) = Manifest::from_json(manifest.as_bytes()) else { panic!("taken") };
    assert_eq!(found.len(), cases.len(), "{found:#?}");
}
