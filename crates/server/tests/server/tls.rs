//! The cluster port itself: who gets through the handshake, and what who does not is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Control, eventually, join_options};
use ring_proto::cluster::v1::RenewRequest;
use ring_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use ring_server::JoinRole;
use ring_server::node::{Settings, join};
use ring_server::pki::{Authority, CertificateRequest, Expect, HostFiles, HostKey, Identity};
use ring_server::tls::{Dialer, HostTls};
use ring_types::{ClusterId, MemberId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A host with a certificate of `authority` that believes `trusted`.
fn host(authority: &Authority, identity: Identity, trusted: &str) -> Dialer {
    let key = HostKey::generate().unwrap();
    let csr = key.request().unwrap();
    let request = CertificateRequest { csr_pem: &csr, identity, addresses: vec![], lifetime: Duration::from_mins(1) };
    let certificate = authority.sign(&request).unwrap();
    Dialer::new(Arc::new(HostTls::new(key, &certificate, trusted).unwrap()))
}

/// The host of a control node that runs.
fn own(control: &Control) -> (Dialer, ClusterId) {
    let tls = HostTls::load(&HostFiles::new(control.dir.path())).unwrap();
    let cluster = tls.identity().unwrap().cluster;
    (Dialer::new(Arc::new(tls)), cluster)
}

async fn renew(dialer: &Dialer, address: SocketAddr) -> Result<(), String> {
    let channel = dialer.dial(&address.to_string(), Expect::AnyMember).await.map_err(|e| e.to_string())?;
    let request = RenewRequest { csr_pem: HostKey::generate().unwrap().request().unwrap() };
    let reply = ClusterServiceClient::new(channel).renew(request).await;
    reply.map(drop).map_err(|status| format!("{status:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_of_another_authority_is_refused_on_both_sides() {
    let control = Control::first().await;
    let (_, cluster) = own(&control);
    let identity = Identity { cluster, member: Some(MemberId(1)), node: None };
    // It believes another authority, and does not believe the server.
    let foreign = Authority::create(cluster).unwrap();
    let dialer = host(&foreign, identity, foreign.certificate_pem());
    let refused = renew(&dialer, control.cluster).await.unwrap_err();
    assert!(refused.contains("another authority"), "{refused}");
    // It believes the right one, and the server does not believe it.
    let foreign = Authority::create(ClusterId(uuid::Uuid::nil())).unwrap();
    let (_, right) = HostFiles::new(control.dir.path()).certificates().unwrap();
    let dialer = host(&foreign, identity, &right);
    // It is refused each time; a connection that breaks before the alert is read does not say why, the next one does.
    let reason = "it refused this host's certificate: another authority signed it";
    let told = async { while !renew(&dialer, control.cluster).await.unwrap_err().contains(reason) {} };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("the reason is told");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_to_be_the_member_that_was_meant() {
    let control = Control::first().await;
    let (dialer, _) = own(&control);
    let address = control.cluster.to_string();
    assert!(dialer.dial(&address, Expect::Member(MemberId(1))).await.is_ok());
    let wrong = dialer.dial(&address, Expect::Member(MemberId(2))).await.unwrap_err().to_string();
    assert!(wrong.contains("member 2 was meant, but member 1 answered"), "{wrong}");
    renew(&dialer, control.cluster).await.unwrap();
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_certificate_opens_nothing_of_the_control_nodes() {
    let control = Control::first().await;
    control.ready().await;
    let dir = tempfile::tempdir().unwrap();
    join(&join_options(dir.path(), &control.token(JoinRole::Agent), JoinRole::Agent, "a", &[control.cluster])).await.unwrap();
    let dialer = Dialer::new(Arc::new(HostTls::load(&HostFiles::new(dir.path())).unwrap()));
    let channel = dialer.dial(&control.cluster.to_string(), Expect::AnyMember).await.unwrap();
    let mut raft = ring_proto::raft::v1::raft_service_client::RaftServiceClient::new(channel.clone());
    let refused = raft.ping(ring_proto::raft::v1::PingRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused:?}");
    let mut peers = ring_proto::cluster::v1::control_service_client::ControlServiceClient::new(channel);
    let refused = peers.locate(ring_proto::cluster::v1::LocateRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused:?}");
    let wanted = ring_proto::cluster::v1::ResetPasswordRequest { username: "admin".into(), ..Default::default() };
    let refused = peers.reset_password(wanted).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused:?}");
    renew(&dialer, control.cluster).await.unwrap();
    // Removed, it gets no new certificate.
    let admin = control.admin().await;
    let node = admin.get("/nodes").await.expect(200)[0]["id"].as_str().unwrap().to_owned();
    admin.delete(&format!("/nodes/{node}")).await.expect(200);
    let refused = renew(&dialer, control.cluster).await.unwrap_err();
    assert!(refused.contains("removed"), "{refused}");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_reset_to_what_is_a_hash_and_nothing_else() {
    let control = Control::first().await;
    control.ready().await;
    let (dialer, _) = own(&control);
    let channel = dialer.dial(&control.cluster.to_string(), Expect::AnyMember).await.unwrap();
    let mut peers = ring_proto::cluster::v1::control_service_client::ControlServiceClient::new(channel);
    for hash in ["", "clear text", "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let wanted = ring_proto::cluster::v1::ResetPasswordRequest { username: "admin".into(), password_hash: hash.into() };
        let refused = peers.reset_password(wanted).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{hash}: {refused:?}");
    }
    control.admin().await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_gets_a_plain_answer() {
    let control = Control::first().await;
    let mut tcp = TcpStream::connect(control.cluster).await.unwrap();
    tcp.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut text = String::new();
    tcp.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("HTTP/1.1 400") && text.contains("speaks TLS"), "{text}");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_before_it_ends() {
    let settings = Settings { certificate_lifetime: Duration::from_secs(6), ..Settings::default() };
    let control = Control::first_with(settings).await;
    let files = HostFiles::new(control.dir.path());
    let (first, _) = files.certificates().unwrap();
    eventually("a new certificate", async || files.certificates().unwrap().0 != first).await;
    let (dialer, _) = own(&control);
    renew(&dialer, control.cluster).await.unwrap();
    control.stop().await;
}
