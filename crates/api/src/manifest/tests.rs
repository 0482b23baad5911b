//! Whole manifests, from text to specification.

use ring_types::{CheckKind, Cpu, EnvValue, Kind, Memory, NetworkMode, OnNodeLoss, Permission, RuntimeKind, Span, Violation};

use super::*;

fn read(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::from_tree(&Node::from_yaml(text)?)
}

fn violations(text: &str) -> Vec<Violation> {
    match read(text) {
        Err(ManifestError::Invalid(found)) => found,
        other => panic!("no violations but {other:?}"),
    }
}

const JOB: &str = r#"
deployments:
  migrate:
    name: migrate
    namespace: production
    runtime: docker
    kind: job
    image: "myapp:v1.2.3"
    command: ["npm", "run", "migrate"]
"#;

#[test]
fn a_minimal_job() {
    let manifest = read(JOB).unwrap();
    let spec = &manifest.deployments[0].spec;
    assert_eq!((spec.kind, spec.runtime, spec.image.as_str()), (Kind::Job, RuntimeKind::Docker, "myapp:v1.2.3"));
    assert_eq!(spec.command, ["npm", "run", "migrate"]);
    assert_eq!(spec.on_node_loss, OnNodeLoss::Fail);
    assert!(manifest.deployments[0].warnings.is_empty());
}

#[test]
fn every_lenient_form_is_taken() {
    let text = r#"
deployments:
  web:
    name: web
    namespace: ns
    image: web:1.10
    command: sh -c 'echo "a b"'
    replicas: "2"
    environment: {PORT: 8080, DEBUG: true, VERSION: 1.10, KEY: {secretRef: key}, NOTHING: ~}
    labels: [{team: a}, {tier: 1}]
    ports: [{published: 80, target: "8080"}]
    volumes:
      - {type: config, source: c, destination: /c, key: k, permission: rw}
      - {type: bind, source: /x, destination: /x, permission: ro}
    resources: {limits: {cpu: 2, memory: 4Gi}, requests: {cpu: 0.5, memory: 1024}}
    health_checks: [{type: http, url: "http://localhost:8080/health", interval: 10s, timeout: 5s}]
    network: {mode: bridge}
    stop_grace: 1m30s
"#;
    let manifest = read(text).unwrap();
    let entry = &manifest.deployments[0];
    let spec = &entry.spec;
    assert_eq!(spec.command, ["sh", "-c", "echo \"a b\""]);
    assert_eq!(spec.replicas, 2);
    let env: Vec<_> = spec.environment.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
    let plain = |text: &str| EnvValue::Plain(text.into());
    assert_eq!(
        env,
        [
            ("DEBUG", plain("true")),
            ("KEY", EnvValue::Secret("key".into())),
            ("NOTHING", plain("")),
            ("PORT", plain("8080")),
            ("VERSION", plain("1.10")),
        ]
    );
    assert_eq!(spec.labels["tier"], "1");
    assert_eq!((spec.ports[0].target, spec.ports[0].host_ip.as_str()), (8080, "0.0.0.0"));
    assert_eq!((spec.volumes[0].permission, spec.volumes[1].permission), (Permission::ReadOnly, Permission::ReadOnly));
    assert_eq!(entry.warnings.len(), 1);
    assert_eq!((spec.resources.limits.cpu, spec.resources.limits.memory), (Some(Cpu(2000)), Some(Memory(4 << 30))));
    assert_eq!((spec.resources.requests.cpu, spec.resources.requests.memory), (Some(Cpu(500)), Some(Memory(1024))));
    assert!(matches!(&spec.health_checks[0].kind, CheckKind::Http { .. }));
    assert_eq!((spec.health_checks[0].threshold, spec.network), (3, NetworkMode::Bridge));
    assert_eq!(spec.stop_grace, Span(90_000));
}

#[test]
fn yaml_and_the_json_sent_for_it_mean_the_same() {
    let text = "deployments: {a: {name: a, namespace: n, image: 'a:1', environment: {V: 1.10, W: 0x1F, B: false}}}";
    let tree = Node::from_yaml(text).unwrap();
    let sent = serde_json::to_vec(&tree.to_json()).unwrap();
    assert_eq!(Manifest::from_json(&sent).unwrap(), Manifest::from_tree(&tree).unwrap());
}

#[test]
fn ten_mistakes_give_ten_violations() {
    let text = r#"
deployments:
  web:
    name: -web
    imgae: web:1
    image: "web 1"
    runtime: dokcer
    replicas: many
    environment: {1A: x}
    ports:
      - {published: 80, target: 70000}
    resources: {limits: {cpu: lots}}
    health_checks: [{type: https, url: x}]
    timeout: 10
"#;
    let found = violations(text);
    let shown: Vec<_> = found.iter().map(|v| format!("{} [{}] {}", v.property_path, v.code, v.message)).collect();
    insta::assert_snapshot!(shown.join("\n"));
    assert_eq!(found.len(), 11);
}

#[test]
fn an_unknown_field_names_its_line_and_the_nearest() {
    let found = violations(&JOB.replace("command:", "comand:"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].property_path, "deployments.migrate.comand");
    assert_eq!(found[0].message, "unknown field 'comand'; did you mean 'command'? (line 9)");
    let found = violations("deployment: {}\ndeployments: {}\n");
    assert_eq!(found[0].message, "unknown field 'deployment'; did you mean 'deployments'? (line 1)");
    assert_eq!(found[0].property_path, "deployment");
}

#[test]
fn a_job_with_replicas_is_accepted_with_a_warning() {
    let manifest = read(&format!("{JOB}    replicas: 4\n")).unwrap();
    assert_eq!(manifest.deployments[0].spec.replicas, 1);
    assert_eq!(manifest.deployments[0].warnings, ["a job runs one instance; replicas: 4 is not used"]);
}

#[test]
fn one_identity_twice_and_circles_are_mistakes() {
    let text = r"
deployments:
  a: {name: a, namespace: n, image: x, depends_on: [{deployment: b}]}
  b: {name: b, namespace: n, image: x, depends_on: [{deployment: a}]}
  c: {name: c, namespace: n, image: x, depends_on: [{deployment: gone}]}
  d: {name: c, namespace: n, image: x}
";
    let codes: Vec<_> = violations(text).into_iter().map(|v| (v.property_path, v.code)).collect();
    assert_eq!(
        codes,
        [
            ("deployments.d.name".to_owned(), "deployment.name.duplicate".to_owned()),
            ("deployments.a.depends_on".to_owned(), "deployment.depends_on.cycle".to_owned()),
            ("deployments.b.depends_on".to_owned(), "deployment.depends_on.cycle".to_owned()),
        ]
    );
}

#[test]
fn a_single_deployment_is_a_manifest() {
    let manifest = Manifest::from_json(br#"{"name": "a", "namespace": "n", "image": "x"}"#).unwrap();
    assert_eq!((manifest.deployments.len(), manifest.deployments[0].label.as_str()), (1, "a"));
}

#[test]
fn an_empty_manifest_says_what_is_wanted() {
    assert_eq!(violations("namespaces: {}")[0].message, "a manifest needs deployments");
    assert_eq!(violations("")[0].message, "a map is wanted here, not nothing (line 1)");
}

#[test]
fn the_registry_password_is_kept_apart() {
    let text = "deployments: {a: {name: a, namespace: n, image: x, config: {username: u, password: p}}}";
    let manifest = read(text).unwrap();
    assert_eq!(manifest.deployments[0].registry_password.as_deref(), Some("p"));
    assert!(!format!("{manifest:?}").contains("\"p\""));
}

#[test]
fn files_of_configs_become_data() {
    let text = "configs: {c: {namespace: n, name: c, data: '{\"a\": {\"x\": 1}}', files: {b: b.txt}}}\ndeployments: {}";
    let mut tree = Node::from_yaml(text).unwrap();
    take_in_files(&mut tree, |path, interpolate| Ok(format!("{path} {interpolate}"))).unwrap();
    let manifest = Manifest::from_tree(&tree).unwrap();
    assert_eq!(manifest.configs[0].data["a"], r#"{"x":1}"#);
    assert_eq!(manifest.configs[0].data["b"], "b.txt false");
}

#[test]
fn a_key_in_data_and_in_files_is_a_mistake() {
    let text = "configs: {c: {namespace: n, name: c, data: {b: x}, files: {b: b.txt}}}\ndeployments: {}";
    let mut tree = Node::from_yaml(text).unwrap();
    let found = take_in_files(&mut tree, |_, _| Ok(String::new())).unwrap_err();
    assert_eq!(found[0].code, "config.files.duplicate");
    assert_eq!(violations("configs: {c: {namespace: n, name: c}}\ndeployments: {}")[0].code, "config.data.required");
}

#[test]
fn namespaces_may_be_bare() {
    let manifest = read("namespaces: {a: , b: {name: c}}\ndeployments: {}").unwrap();
    let names: Vec<_> = manifest.namespaces.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
}
