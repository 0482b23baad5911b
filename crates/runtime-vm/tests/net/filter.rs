//! Who reaches whom.

use std::net::{Ipv4Addr, SocketAddr};

use ring_runtime_vm::net::{Network, NetworkConfig, PacketFilter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::world::{NEVER, Space, config, guest, host, instance, ip, output, outside};

/// Each filter there is here.
fn filters() -> Vec<PacketFilter> {
    let is_there = |program: &str| std::process::Command::new(program).arg("--version").output().is_ok();
    let all = [("iptables", PacketFilter::Iptables), ("nft", PacketFilter::Nft)];
    for (program, _) in all.iter().filter(|(program, _)| !is_there(program)) {
        crate::loud::skipped(&format!("with {program}: there is none here"));
    }
    all.into_iter().filter(|(program, _)| is_there(program)).map(|(_, filter)| filter).collect()
}

fn each(test: impl AsyncFnOnce(NetworkConfig) + Clone + Send + 'static) {
    for filter in filters() {
        let test = test.clone();
        host(move || async move {
            let dir = tempfile::tempdir().expect("a directory");
            test(NetworkConfig { filter: Some(filter), ..config(dir.path()) }).await;
        });
    }
}

/// Tells every client its address as it is seen there.
async fn mirror(space: &Space, port: u16) {
    space
        .run(move || async move {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.expect("a free port");
            tokio::spawn(async move {
                while let Ok((mut client, from)) = listener.accept().await {
                    let _ = client.write_all(from.ip().to_string().as_bytes()).await;
                }
            });
        })
        .await;
}

/// What a mirror says to somebody in this namespace; None when it is not reached.
async fn ask(space: &Space, from: Option<Ipv4Addr>, to: (Ipv4Addr, u16)) -> Option<String> {
    space
        .run(move || async move {
            let connect = async {
                let socket = TcpSocket::new_v4()?;
                if let Some(from) = from {
                    socket.bind(SocketAddr::from((from, 0)))?;
                }
                let mut stream = socket.connect(SocketAddr::from(to)).await?;
                let mut text = String::new();
                stream.read_to_string(&mut text).await?;
                std::io::Result::Ok(text)
            };
            timeout(NEVER, connect).await.ok()?.ok()
        })
        .await
}

#[test]
fn a_guest_goes_out_as_its_host_and_nobody_comes_in() {
    each(async |config| {
        let world = outside().await;
        let network = Network::new(config).unwrap();
        let one = guest(&network, instance(1), "shop", &[]).await;
        mirror(&world, 80).await;
        mirror(&one.space, 80).await;
        assert_eq!(ask(&one.space, None, (Ipv4Addr::new(192, 0, 2, 1), 80)).await.as_deref(), Some("192.0.2.2"));
        let address = one.address();
        world.run(move || async move { drop(ip(&format!("route add {address} via 192.0.2.2"))) }).await;
        assert_eq!(ask(&world, None, (address, 80)).await, None, "the outside reached a guest");
        network.detach(instance(1)).await.unwrap();
    });
}

#[test]
fn guests_of_a_namespace_reach_each_other_and_no_others() {
    each(async |config| {
        let network = Network::new(config).unwrap();
        let one = guest(&network, instance(1), "shop", &[]).await;
        let two = guest(&network, instance(2), "shop", &[]).await;
        let stranger = guest(&network, instance(3), "bank", &[]).await;
        for space in [&one.space, &two.space, &stranger.space] {
            mirror(space, 80).await;
        }
        let own = one.address().to_string();
        assert_eq!(ask(&one.space, None, (two.address(), 80)).await, Some(own), "the source is the guest's own");
        assert_eq!(ask(&one.space, None, (stranger.address(), 80)).await, None);
        assert_eq!(ask(&stranger.space, None, (one.address(), 80)).await, None);
        network.detach(instance(2)).await.unwrap();
        assert_eq!(ask(&one.space, None, (two.address(), 80)).await, None, "it is gone");
        for number in [1, 3] {
            network.detach(instance(number)).await.unwrap();
        }
    });
}

#[test]
fn a_guest_cannot_call_itself_another() {
    each(async |config| {
        let world = outside().await;
        let network = Network::new(config).unwrap();
        let one = guest(&network, instance(1), "shop", &[]).await;
        let two = guest(&network, instance(2), "shop", &[]).await;
        // The host itself listens, so that only what the packet filter says of the source is in the way.
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 81)).await.unwrap();
        let gateway = one.given.gateway;
        let stolen = two.address();
        one.space.run(move || async move { drop(ip(&format!("addr add {stolen}/32 dev eth0"))) }).await;
        let tries = one.space.run(move || async move {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(SocketAddr::from((stolen, 0))).unwrap();
            timeout(NEVER, socket.connect(SocketAddr::from((gateway, 81)))).await.is_ok_and(|done| done.is_ok())
        });
        assert!(!tries.await, "it was believed");
        let honest = one.space.run(move || async move { TcpStream::connect((gateway, 81)).await.is_ok() });
        assert!(honest.await, "its own address is accepted");
        drop((listener, world));
        for number in [1, 2] {
            network.detach(instance(number)).await.unwrap();
        }
    });
}

#[test]
fn the_host_does_not_become_a_router_between_its_own_networks() {
    each(async |config| {
        let world = outside().await;
        let inside = Space::new().expect("a namespace");
        ip("link add in0 type veth peer name eth0");
        ip(&format!("link set eth0 netns {}", inside.thread));
        ip("addr add 198.51.100.1/24 dev in0");
        ip("link set in0 up");
        inside
            .run(|| async {
                ip("addr add 198.51.100.2/24 dev eth0");
                ip("link set eth0 up");
                ip("route add default via 198.51.100.1");
            })
            .await;
        world.run(|| async { drop(ip("route add 198.51.100.0/24 via 192.0.2.2")) }).await;
        mirror(&world, 80).await;
        let to = (Ipv4Addr::new(192, 0, 2, 1), 80);
        let network = Network::new(config).unwrap();
        let one = guest(&network, instance(1), "shop", &[]).await;
        assert_eq!(output("cat /proc/sys/net/ipv4/ip_forward").trim(), "1");
        assert!(ask(&one.space, None, to).await.is_some(), "the guest goes out");
        assert_eq!(ask(&inside, None, to).await, None, "the host forwards for others");
        network.detach(instance(1)).await.unwrap();
        assert_eq!(output("cat /proc/sys/net/ipv4/ip_forward").trim(), "0");
    });
}

/// The whole packet filter, with neither counters nor comments of the time.
fn everything(filter: PacketFilter) -> String {
    match filter {
        PacketFilter::Iptables => output("iptables -S; iptables -t nat -S; iptables -t raw -S"),
        PacketFilter::Nft => output("nft list ruleset"),
    }
}

#[test]
fn with_the_last_guest_the_host_is_as_it_was() {
    each(async |config| {
        let filter = config.filter.expect("one is chosen");
        let _world = outside().await;
        let before = (everything(filter), ip("route show table all"), ip("link show"));
        let network = Network::new(config.clone()).unwrap();
        for number in 1..=3 {
            network.attach(instance(number), &crate::world::name(&format!("n{number}")), &[]).await.unwrap();
        }
        assert_ne!(everything(filter), before.0);
        for number in 1..=3 {
            network.detach(instance(number)).await.unwrap();
            network.detach(instance(number)).await.unwrap();
        }
        assert_eq!((everything(filter), ip("route show table all"), ip("link show")), before);
        assert_eq!(std::fs::read_dir(&config.dir).unwrap().count(), 0);
    });
}

#[test]
fn rules_that_somebody_flushed_are_made_again_and_others_are_left_alone() {
    host(|| async {
        if !filters().contains(&PacketFilter::Iptables) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        output("iptables -P FORWARD DROP; iptables -A FORWARD -i docker0 -j ACCEPT");
        let config = NetworkConfig { filter: Some(PacketFilter::Iptables), ..config(dir.path()) };
        let network = Network::new(config).unwrap();
        network.attach(instance(1), &crate::world::name("shop"), &[]).await.unwrap();
        let rules = output("iptables -S FORWARD");
        assert!(rules.lines().nth(1).is_some_and(|first| first.ends_with("-j RING-RVM")), "{rules}");
        output("iptables -F FORWARD");
        network.attach(instance(2), &crate::world::name("shop"), &[]).await.unwrap();
        assert_eq!(output("iptables -S FORWARD").matches("RING-RVM").count(), 1);
        output("iptables -A FORWARD -i docker0 -j ACCEPT");
        for number in [1, 2] {
            network.detach(instance(number)).await.unwrap();
        }
        assert_eq!(output("iptables -S FORWARD"), "-P FORWARD DROP\n-A FORWARD -i docker0 -j ACCEPT\n");
    });
}
