//! Control nodes that come and go.

use ring_agent::AgentError;
use ring_proto::agent::v1::{Goodbye, control_message::Message};
use ring_types::{InstanceState, Outcome};

use crate::host::{Host, job};
use crate::plane::Plane;

#[tokio::test]
async fn a_control_node_that_falls_silent_is_left_for_another() {
    let mut host = Host::new().await;
    let other = Plane::start(job()).await;
    host.addresses.push(other.address.to_string());
    host.plane.state().faults.silent = true;
    host.start();
    host.plane.wait("a session with the silent one", |state| state.sessions > 0).await;
    other.wait("a session with the other one", |state| state.sessions > 0).await;
}

#[tokio::test]
async fn a_goodbye_is_followed_by_another_session() {
    let host = Host::connected().await;
    host.plane.push(Message::Goodbye(Goodbye { reason: "no leader".into(), fatal: false }));
    host.plane.wait("another session", |state| state.sessions >= 2).await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
}

#[tokio::test]
async fn a_node_that_is_not_wanted_ends_and_says_so() {
    let mut host = Host::connected().await;
    let instance = host.plane.assign(1);
    host.plane.reaches(instance, InstanceState::Running).await;
    host.plane.push(Message::Goodbye(Goodbye { reason: "the node was removed".into(), fatal: true }));
    let error = host.ends().await;
    assert!(matches!(&error, AgentError::Dismissed(why) if why == "the node was removed"), "{error}");
    assert_eq!(host.runtime.starts(instance), 1);
}

#[tokio::test]
async fn an_end_while_disconnected_is_told_in_the_next_session() {
    let host = Host::connected().await;
    let instances: Vec<_> = (1..=5).map(|number| host.plane.assign(number)).collect();
    for instance in &instances {
        host.plane.reaches(*instance, InstanceState::Running).await;
    }
    host.plane.close();
    for (code, instance) in instances.iter().enumerate() {
        host.runtime.finish(*instance, Outcome::Code(code as i32));
    }
    host.plane.open();
    for (code, instance) in instances.iter().enumerate() {
        host.plane.reaches(*instance, InstanceState::Exited).await;
        assert_eq!(host.plane.known(*instance).outcome, Some(Outcome::Code(code as i32)));
    }
}

#[tokio::test]
async fn the_node_says_what_it_is_and_what_changed() {
    let host = Host::connected().await;
    let first = host.plane.state().infos[0].clone();
    assert_eq!(first.labels["zone"], "a");
    assert!(first.capacity.memory.0 > 0 && first.capacity.cpu.0 >= 1000, "{:?}", first.capacity);
    assert!(first.platform.contains('/') && !first.hostname.is_empty() && !first.agent_version.is_empty());
    assert_eq!(first.runtimes[0].problem, None);
    host.runtime.set_problem(Some("socket is gone"));
    let told = |problem: Option<&'static str>| {
        host.plane.wait("news of the runtime", move |state| {
            state.infos.len() > 1 && state.infos.last().unwrap().runtimes[0].problem.as_deref() == problem
        })
    };
    told(Some("socket is gone")).await;
    host.runtime.set_problem(None);
    told(None).await;
    assert_eq!(host.plane.state().infos.len(), 3, "told when it changed, not otherwise");
}

#[tokio::test]
async fn a_second_agent_on_the_same_directory_is_refused() {
    let host = Host::connected().await;
    let error = ring_agent::Ledger::open(host.dir.path(), crate::host::NODE).unwrap_err();
    assert!(matches!(error, ring_agent::LedgerError::InUse(_)), "{error}");
}
