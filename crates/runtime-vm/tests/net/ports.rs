//! Published ports.

use std::net::Ipv4Addr;

use ring_runtime::RuntimeErrorKind;
use ring_runtime_vm::net::Network;
use ring_types::{Protocol, StartFailure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::world::{Space, config, guest, host, instance, port, until};

/// Says the same to everybody.
pub(crate) async fn greet(space: &Space, port: u16, words: &'static str) {
    space
        .run(move || async move {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.expect("a free port");
            tokio::spawn(async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let _ = client.write_all(words.as_bytes()).await;
                }
            });
        })
        .await;
}

/// Hears a client to its end, and only then gives it all back.
async fn echo_after_the_end(space: &Space, port: u16) {
    space
        .run(move || async move {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.expect("a free port");
            tokio::spawn(async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        let mut heard = Vec::new();
                        client.read_to_end(&mut heard).await?;
                        client.write_all(&heard).await
                    });
                }
            });
        })
        .await;
}

#[test]
fn what_ends_one_way_goes_on_the_other() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::new(config(dir.path())).unwrap();
        let one = guest(&network, instance(1), "shop", &[port(8080, 80, Protocol::Tcp)]).await;
        echo_after_the_end(&one.space, 80).await;
        network.forward(instance(1)).await.unwrap();
        let said: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut client = TcpStream::connect("127.0.0.1:8080").await.unwrap();
        client.write_all(&said).await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert!(heard == said, "{} bytes came back of {}", heard.len(), said.len());
        drop(client);
        until("the connection is over", || async { network.counters(instance(1)).await[0].open == 0 }).await;
        let counted = network.counters(instance(1)).await.remove(0);
        assert_eq!((counted.accepted, counted.refused), (1, 0));
        assert_eq!((counted.received, counted.sent), (3_000_000, 3_000_000));
        let traffic = network.traffic(instance(1)).await.unwrap().unwrap();
        assert!(traffic.received > 3_000_000 && traffic.sent > 3_000_000, "{traffic:?}");
        network.detach(instance(1)).await.unwrap();
        assert_eq!(network.traffic(instance(1)).await.unwrap(), None);
    });
}

#[test]
fn a_thousand_connections_at_once() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::new(config(dir.path())).unwrap();
        let one = guest(&network, instance(1), "shop", &[port(8080, 80, Protocol::Tcp)]).await;
        echo_after_the_end(&one.space, 80).await;
        network.forward(instance(1)).await.unwrap();
        let begun = std::time::Instant::now();
        let mut open = Vec::new();
        for number in 0..1000_u32 {
            let mut client = TcpStream::connect("127.0.0.1:8080").await.unwrap();
            client.write_all(&number.to_be_bytes()).await.unwrap();
            open.push((number, client));
        }
        until("all are open", || async { network.counters(instance(1)).await[0].open == 1000 }).await;
        let mut all = JoinSet::new();
        for (number, mut client) in open {
            all.spawn(async move {
                client.shutdown().await?;
                let mut heard = Vec::new();
                client.read_to_end(&mut heard).await?;
                std::io::Result::Ok(heard == number.to_be_bytes())
            });
        }
        assert!(all.join_all().await.into_iter().all(|done| done.is_ok_and(|same| same)));
        println!("a thousand connections: {:?}", begun.elapsed());
        until("all are over", || async { network.counters(instance(1)).await[0].open == 0 }).await;
        network.detach(instance(1)).await.unwrap();
    });
}

#[test]
fn a_guest_that_does_not_listen_resets_the_client() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::new(config(dir.path())).unwrap();
        let _one = guest(&network, instance(1), "shop", &[port(8080, 80, Protocol::Tcp)]).await;
        network.forward(instance(1)).await.unwrap();
        let mut client = TcpStream::connect("127.0.0.1:8080").await.unwrap();
        let error = client.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(network.counters(instance(1)).await[0].refused, 1);
        network.detach(instance(1)).await.unwrap();
    });
}

#[test]
fn a_port_that_is_taken_is_named_and_the_others_stay_free() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::new(config(dir.path())).unwrap();
        let ports = [port(8080, 80, Protocol::Tcp), port(8081, 81, Protocol::Udp)];
        let taken = UdpSocket::bind("127.0.0.1:8081").await.unwrap();
        network.attach(instance(1), &crate::world::name("shop"), &ports).await.unwrap();
        let error = network.forward(instance(1)).await.unwrap_err();
        assert_eq!(error.kind, RuntimeErrorKind::Start(StartFailure::Network));
        assert!(error.message.contains("127.0.0.1:8081/udp") && error.message.contains("taken"), "{error}");
        until("the other is free", || async { TcpListener::bind("127.0.0.1:8080").await.is_ok() }).await;
        drop(taken);
        network.forward(instance(1)).await.unwrap();
        network.forward(instance(1)).await.unwrap();
        assert!(TcpListener::bind("127.0.0.1:8080").await.is_err());

        let mut absent = port(8082, 80, Protocol::Tcp);
        absent.host_ip = "198.51.100.1".to_owned();
        network.attach(instance(2), &crate::world::name("shop"), &[absent]).await.unwrap();
        let error = network.forward(instance(2)).await.unwrap_err();
        assert!(error.message.contains("198.51.100.1:8082/tcp") && error.message.contains("host_ip"), "{error}");
        for number in [1, 2] {
            network.detach(instance(number)).await.unwrap();
        }
        until("the tcp port is free", || async { TcpListener::bind("127.0.0.1:8080").await.is_ok() }).await;
        until("the udp port is free", || async { UdpSocket::bind("127.0.0.1:8081").await.is_ok() }).await;
    });
}

#[test]
fn datagrams_find_back_and_silent_clients_are_forgotten() {
    host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::new(config(dir.path())).unwrap();
        let one = guest(&network, instance(1), "shop", &[port(5353, 53, Protocol::Udp)]).await;
        network.forward(instance(1)).await.unwrap();
        let to = "127.0.0.1:5353";
        // Nobody listens yet: that must not spoil what comes later.
        let early = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        early.send_to(b"early", to).await.unwrap();
        until("it went to the guest", || async { network.counters(instance(1)).await[0].received == 5 }).await;
        one.space
            .run(|| async {
                let socket = UdpSocket::bind("0.0.0.0:53").await.expect("a free port");
                tokio::spawn(async move {
                    let mut buffer = vec![0; 65_535];
                    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                        let _ = socket.send_to(&buffer[..length], from).await;
                    }
                });
            })
            .await;
        let mut clients = JoinSet::new();
        for number in 0..100_u32 {
            clients.spawn(async move {
                let client = UdpSocket::bind("127.0.0.1:0").await?;
                let mut buffer = [0; 2000];
                // A datagram may be lost on the way, as everywhere.
                for _ in 0..20 {
                    client.send_to(&number.to_be_bytes().repeat(300), to).await?;
                    let wait = std::time::Duration::from_millis(500);
                    if let Ok(heard) = tokio::time::timeout(wait, client.recv(&mut buffer)).await {
                        return Ok(buffer[..heard?] == number.to_be_bytes().repeat(300));
                    }
                }
                std::io::Result::Ok(false)
            });
        }
        assert!(clients.join_all().await.into_iter().all(|done| done.is_ok_and(|same| same)));
        let counted = network.counters(instance(1)).await.remove(0);
        assert!(counted.accepted >= 101, "{counted:?}");
        until("the silent are forgotten", || async { network.counters(instance(1)).await[0].open == 0 }).await;
        early.send_to(b"again", to).await.unwrap();
        let mut buffer = [0; 16];
        let heard = tokio::time::timeout(crate::world::DEADLINE, early.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(&buffer[..heard], b"again");
        network.detach(instance(1)).await.unwrap();
    });
}
