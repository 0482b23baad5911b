//! Every manifest of the job guide applies as it is written.

use crate::support::Control;
use ring_api::manifest::{Node, Variables, interpolate};

const MINIMAL: &str = r#"
deployments:
  migrate:
    name: migrate
    namespace: production
    runtime: docker
    kind: job
    image: "myapp:v1.2.3"
    command: ["npm", "run", "migrate"]
"#;

const ENVIRONMENT: &str = r#"
deployments:
  migrate-v123:
    name: migrate-v123
    namespace: production
    runtime: docker
    kind: job
    image: "myapp:v1.2.3"
    command: ["npm", "run", "migrate"]
    environment:
      LOG_LEVEL: "info"
      DATABASE_URL:
        secretRef: "database-url"
"#;

const UNIQUE: &str = r#"
deployments:
  test-${BUILD_ID}:
    name: test-${BUILD_ID}
    namespace: ci
    runtime: docker
    kind: job
    image: "myapp:${COMMIT_SHA}"
    command: ["npm", "test"]
"#;

const RELEASE: &str = r#"
deployments:
  migrate-v1-2-3:
    name: migrate-v1-2-3
    namespace: production
    runtime: docker
    kind: job
    image: "myapp:v1.2.3"
    command: ["npm", "run", "migrate"]
    environment:
      DATABASE_URL:
        secretRef: "database-url"
  api:
    name: api
    namespace: production
    runtime: docker
    image: "myapp:v1.2.3"
    replicas: 3
    environment:
      DATABASE_URL:
        secretRef: "database-url"
    health_checks:
      - type: http
        url: "http://localhost:8080/health"
        interval: "10s"
        timeout: "5s"
        threshold: 3
        on_failure: restart
"#;

const BACKFILL: &str = r#"
deployments:
  backfill-orders-2026-04-15:
    name: backfill-orders-2026-04-15
    namespace: data-jobs
    runtime: docker
    kind: job
    image: "data-tools:v0.4.1"
    command: ["python", "backfill.py", "--from", "2026-01-01", "--to", "2026-04-01"]
    environment:
      DATABASE_URL:
        secretRef: "warehouse-url"
    resources:
      limits:
        cpu: "2"
        memory: "4Gi"
"#;

const FOUR: &str = r#"
deployments:
  many:
    name: many
    namespace: production
    runtime: docker
    kind: job
    replicas: 4
    image: "myapp:v1.2.3"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_manifest_of_the_guide_applies() {
    let control = Control::first().await;
    let admin = control.admin().await;
    let variables = Variables::from_pairs([("BUILD_ID", "42"), ("COMMIT_SHA", "abc")]);
    let mut names = Vec::new();
    for text in [MINIMAL, ENVIRONMENT, UNIQUE, RELEASE, BACKFILL, FOUR] {
        let mut tree = Node::from_yaml(text).unwrap();
        assert!(interpolate(&mut tree, &variables, true).violations.is_empty());
        let reply = admin.post("/deployments", &tree.to_json()).await.expect(200);
        for one in reply["deployments"].as_array().unwrap() {
            assert_eq!(one["outcome"], "created", "{one}");
            names.push(one["name"].as_str().unwrap().to_owned());
        }
    }
    assert!(names.contains(&"test-42".to_owned()), "{names:?}");
    let many = admin.get("/deployments?name=many").await.expect(200);
    assert_eq!(many[0]["desired_replicas"], 1);
    let jobs = admin.get("/deployments?kind=job&namespace[]=production").await.expect(200);
    assert_eq!(jobs.as_array().unwrap().len(), 4);
    control.stop().await;
}
