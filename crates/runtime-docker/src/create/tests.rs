//! Tests of what is asked of the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use ring_types::{Cpu, Generation, Kind, Memory, Name, Protocol, RuntimeKind, Span};

use super::*;

pub(crate) fn workload() -> Workload {
    let name = |text| Name::new(text).unwrap();
    let mut spec = DeploymentSpec::new(name("shop"), name("api"), Kind::Worker, RuntimeKind::Docker, "app:1");
    spec.labels.insert("team".to_owned(), "blue".to_owned());
    Workload {
        instance: "01890000-0000-7000-8000-0000deadbeef".parse().unwrap(),
        deployment: "00000000-0000-0000-0000-000000000002".parse().unwrap(),
        generation: Generation(7),
        spec: Arc::new(spec),
        environment: BTreeMap::from([("A".to_owned(), "1=2".to_owned())]),
        files: Vec::new(),
        registry: None,
    }
}

fn made(change: impl FnOnce(&mut DeploymentSpec)) -> ContainerCreateBody {
    let mut workload = workload();
    change(Arc::make_mut(&mut workload.spec));
    container(&workload, None, Vec::new())
}

#[test]
fn a_plain_workload_has_our_marks_and_the_images_own_command() {
    let body = made(|_| {});
    let labels = body.labels.unwrap();
    let expected = [
        ("ring_deployment", "00000000-0000-0000-0000-000000000002"),
        ("ring_instance", "01890000-0000-7000-8000-0000deadbeef"),
        ("ring_generation", "7"),
        ("team", "blue"),
    ];
    assert_eq!(labels.len(), expected.len());
    for (name, value) in expected {
        assert_eq!(labels[name], value);
    }
    assert_eq!(marks::container_name(&workload()), "shop_api_deadbeef");
    assert_eq!(body.cmd, None);
    assert_eq!(body.user, None);
    assert_eq!(body.env.unwrap(), ["A=1=2"]);
    assert_eq!(body.stop_timeout, Some(10));
    let host = body.host_config.unwrap();
    assert_eq!(host.network_mode.as_deref(), Some("ring_shop"));
    assert_eq!((host.memory, host.memory_swap, host.nano_cpus), (None, None, None));
    let networks = body.networking_config.unwrap().endpoints_config.unwrap();
    assert_eq!(networks["ring_shop"].aliases.as_deref().unwrap(), ["api"]);
}

#[test]
fn our_labels_win_over_the_workloads() {
    let body = made(|spec| {
        spec.labels.insert("ring_instance".to_owned(), "stolen".to_owned());
    });
    assert_eq!(body.labels.unwrap()["ring_instance"], "01890000-0000-7000-8000-0000deadbeef");
}

#[test]
fn the_command_replaces_the_images_command_and_not_its_entry_point() {
    let body = made(|spec| spec.command = vec!["npm".to_owned(), "test".to_owned()]);
    assert_eq!(body.cmd.unwrap(), ["npm", "test"]);
    assert_eq!(body.entrypoint, None);
}

#[test]
fn limits_are_in_the_engines_units_and_allow_no_swap() {
    let body = made(|spec| {
        (spec.resources.limits.cpu, spec.resources.limits.memory) = (Some(Cpu(1500)), Some(Memory(64 << 20)));
        spec.stop_grace = Span(1500);
    });
    assert_eq!(body.stop_timeout, Some(2));
    let host = body.host_config.unwrap();
    assert_eq!((host.nano_cpus, host.memory, host.memory_swap), (Some(1_500_000_000), Some(64 << 20), Some(64 << 20)));
}

#[test]
fn ports_are_published_where_they_are_asked_for() {
    let port = |published, protocol| Port { published, target: 53, host_ip: "127.0.0.1".to_owned(), protocol };
    let body = made(|spec| spec.ports = vec![port(5353, Protocol::Udp), port(5354, Protocol::Udp), port(53, Protocol::Tcp)]);
    let bindings = body.host_config.unwrap().port_bindings.unwrap();
    let udp = bindings["53/udp"].as_ref().unwrap();
    assert_eq!(udp.iter().filter_map(|b| b.host_port.as_deref()).collect::<Vec<_>>(), ["5353", "5354"]);
    assert_eq!(udp[0].host_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(bindings["53/tcp"].as_ref().unwrap().len(), 1);
}

#[test]
fn the_hosts_network_needs_no_endpoint() {
    let body = made(|spec| spec.network = NetworkMode::Host);
    assert_eq!(body.networking_config, None);
    assert_eq!(body.host_config.unwrap().network_mode.as_deref(), Some("host"));
}

#[test]
fn users_are_written_as_the_engine_reads_them() {
    let of = |id, group| user(UserConfig { id, group, privileged: false });
    assert_eq!(of(Some(5), None).as_deref(), Some("5"));
    assert_eq!(of(Some(5), Some(6)).as_deref(), Some("5:6"));
    assert_eq!(of(None, Some(6)).as_deref(), Some("0:6"));
}

#[test]
fn refusals_of_the_engine_are_sorted_by_what_they_say() {
    let cases = [
        ("No such image: app:1", StartFailure::ImageNotFound),
        (
            "driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated",
            StartFailure::Network,
        ),
        (
            "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network",
            StartFailure::Network,
        ),
        ("invalid mount config for type \"bind\": bind source path does not exist: /srv", StartFailure::FileSystem),
        ("Minimum memory limit allowed is 6MB", StartFailure::Create),
    ];
    for (message, expected) in cases {
        assert_eq!(cause(message), expected, "{message}");
    }
}
