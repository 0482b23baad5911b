//! Every manifest of the job guide applies as it is written.

use crate::support::Control;
use ring_api::manifest::{Node, Variables, interpolate};
use ring_testkit::guide::{GUIDE, VARIABLES};

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
    let variables = Variables::from_pairs(VARIABLES);
    let mut names = Vec::new();
    for text in GUIDE.map(|manifest| manifest.text).into_iter().chain([FOUR]) {
        let mut tree = Node::from_yaml(text).unwrap();
        assert!(interpolate(&mut tree, &variables, true).violations.is_empty());
        let reply = admin.post("/deployments", &tree.to_json()).await.expect(200);
        for one in reply["deployments"].as_array().unwrap() {
            assert_eq!(one["outcome"], "created", "{one}");
            names.push(format!("{}/{}", one["namespace"].as_str().unwrap(), one["name"].as_str().unwrap()));
        }
    }
    let mut expected: Vec<_> =
        GUIDE.iter().flat_map(|manifest| manifest.deployments).copied().chain(["production/many"]).collect();
    names.sort();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let many = admin.get("/deployments?name=many").await.expect(200);
    assert_eq!(many[0]["desired_replicas"], 1);
    let jobs = admin.get("/deployments?kind=job&namespace[]=production").await.expect(200);
    assert_eq!(jobs.as_array().unwrap().len(), 4);
    control.stop().await;
}
