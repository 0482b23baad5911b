//! What stays over a restart of the agent, and what is cleaned up.

use std::collections::BTreeSet;

use ring_runtime::RuntimeErrorKind;
use ring_runtime_vm::net::{Network, NetworkConfig};
use ring_types::{Protocol, StartFailure};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::ports::greet;
use crate::world::{config, guest, host, instance, ip, name, output, port};

fn taps() -> usize {
    ip("-o link show").lines().filter(|line| line.contains(": rvm-")).count()
}

#[test]
fn an_agent_that_is_started_again_finds_everything_as_it_was() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let ports = [port(8080, 80, Protocol::Tcp)];
        let network = Network::new(config(dir.path())).unwrap();
        let one = guest(&network, instance(1), "shop", &ports).await;
        greet(&one.space, 80, "hello").await;
        network.forward(instance(1)).await.unwrap();
        assert_eq!(network.attach(instance(1), &name("shop"), &ports).await.unwrap(), one.given, "attached twice is the same");
        // As much as is left of an agent that is killed.
        drop(network);
        crate::world::until("the port is free", || async { TcpStream::connect("127.0.0.1:8080").await.is_err() }).await;

        let network = Network::new(config(dir.path())).unwrap();
        assert_eq!(network.leftovers().await, [instance(1)]);
        assert_eq!(network.adopt(instance(1)).await.unwrap(), one.given);
        assert_eq!(network.adopt(instance(1)).await.unwrap(), one.given);
        let mut text = String::new();
        TcpStream::connect("127.0.0.1:8080").await.unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        assert_eq!(network.clean(&BTreeSet::from([instance(1)])).await.unwrap(), 0);
        assert_eq!(network.adopt(instance(2)).await.unwrap_err().kind, RuntimeErrorKind::NotFound);

        ip(&format!("link del {}", one.given.tap));
        let gone = network.adopt(instance(1)).await.unwrap_err();
        assert!(gone.message.contains(&one.given.tap), "{gone}");
        network.detach(instance(1)).await.unwrap();
        assert_eq!((network.leftovers().await, taps()), (Vec::new(), 0));
    });
}

#[test]
fn what_nobody_has_is_cleaned_up() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        ip("tuntap add other0 mode tap");
        let before = output("iptables -S 2>/dev/null || true");
        let network = Network::new(config(dir.path())).unwrap();
        for number in 1..=4 {
            network.attach(instance(number), &name("shop"), &[]).await.unwrap();
        }
        drop(network);
        // A record that never reached the disk, and one that was cut off.
        std::fs::remove_file(dir.path().join("net").join(instance(1).to_string())).unwrap();
        std::fs::write(dir.path().join("net").join(instance(2).to_string()), "{").unwrap();
        let network = Network::new(config(dir.path())).unwrap();
        assert_eq!(network.clean(&BTreeSet::from([instance(3)])).await.unwrap(), 3);
        assert_eq!((network.leftovers().await, taps()), (vec![instance(3)], 1));
        assert_eq!(network.clean(&BTreeSet::new()).await.unwrap(), 1);
        assert_eq!(taps(), 0);
        assert_eq!(output("iptables -S 2>/dev/null || true"), before);
        ip("link show other0");
    });
}

#[test]
fn a_range_that_the_host_uses_is_not_taken() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        ip("link add d0 type veth peer name d1");
        ip("link set d0 up");
        ip("link set d1 up");
        ip("addr add 10.214.7.1/24 dev d0");
        ip("route add 10.87.0.0/20 dev d0");
        let network = Network::new(config(dir.path())).unwrap();
        let given = network.attach(instance(1), &name("shop"), &[]).await.unwrap();
        assert!(given.guest.to_string().starts_with("172.26."), "{}", given.guest);
        network.detach(instance(1)).await.unwrap();

        let wanted = NetworkConfig { range: Some("10.87.8.0/24".parse().unwrap()), ..config(dir.path()) };
        let refused = Network::new(wanted).unwrap().attach(instance(2), &name("shop"), &[]).await.unwrap_err();
        assert_eq!(refused.kind, RuntimeErrorKind::Start(StartFailure::Network));
        assert!(refused.message.contains("10.87.8.0/24") && refused.message.contains("10.87.0.0/20"), "{refused}");
        let wrong = NetworkConfig { range: Some("8.8.8.0/24".parse().unwrap()), ..config(dir.path()) };
        assert!(Network::new(wrong).unwrap_err().message.contains("8.8.8.0/24"));
        assert_eq!(taps(), 0);
    });
}

#[test]
fn a_full_range_says_so_and_part_of_it_that_came_into_use_is_left_alone() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let small = NetworkConfig { range: Some("10.9.9.0/28".parse().unwrap()), ..config(dir.path()) };
        let network = Network::new(small).unwrap();
        network.attach(instance(1), &name("shop"), &[]).await.unwrap();
        ip("link add d0 type veth peer name d1");
        ip("link set d0 up");
        ip("addr add 10.9.9.9/30 dev d0");
        for number in 2..=3 {
            let given = network.attach(instance(number), &name("shop"), &[]).await.unwrap();
            assert_ne!(given.guest.to_string(), "10.9.9.10/30");
        }
        let full = network.attach(instance(4), &name("shop"), &[]).await.unwrap_err();
        assert!(full.message.contains("10.9.9.0/28 is full"), "{full}");
        assert_eq!(taps(), 3);
        for number in 1..=3 {
            network.detach(instance(number)).await.unwrap();
        }
    });
}

#[test]
fn forwarding_stays_on_for_others_that_came_since() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let forwards = || output("cat /proc/sys/net/ipv4/ip_forward").trim() == "1";
        let network = Network::new(config(dir.path())).unwrap();
        network.attach(instance(1), &name("shop"), &[]).await.unwrap();
        ip("tuntap add other0 mode tap");
        network.detach(instance(1)).await.unwrap();
        assert!(forwards(), "somebody else may need it");
        ip("link del other0");
        let network = Network::new(config(dir.path())).unwrap();
        network.clean(&BTreeSet::new()).await.unwrap();
        assert!(!forwards(), "nobody does any more");
        assert_eq!(std::fs::read_dir(dir.path().join("net")).unwrap().count(), 0);
    });
}

#[test]
fn two_hundred_lives_leave_nothing() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let network = Network::new(config(dir.path())).unwrap();
        network.attach(instance(0), &name("shop"), &[]).await.unwrap();
        let (before, begun) = (files(), std::time::Instant::now());
        for number in 1..=200 {
            let ports = [port(7000, 80, Protocol::Tcp), port(7000, 53, Protocol::Udp)];
            network.attach(instance(number), &name("shop"), &ports).await.unwrap();
            network.forward(instance(number)).await.unwrap();
            network.detach(instance(number)).await.unwrap();
        }
        println!("a life of a network: {:?}", begun.elapsed() / 200);
        assert_eq!(taps(), 1);
        // Other tests of this process open files of their own meanwhile.
        assert!(files() < before + 100, "{} files were open, and {} are", before, files());
        network.detach(instance(0)).await.unwrap();
        assert_eq!(std::fs::read_dir(dir.path().join("net")).unwrap().count(), 0);
    });
}
