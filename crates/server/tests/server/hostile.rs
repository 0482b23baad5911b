//! An agent that was taken over: its certificate is good, and it says whatever it likes. It gets nothing that is not its own,
//! changes nothing that is not its own, and costs the cluster neither its leader nor its writes.

use std::sync::Arc;
use std::time::Duration;

use crate::host::{Host, deployment, instance};
use crate::support::{Api, Control, eventually, job, join_options};
use ring_proto::Wire;
use ring_proto::agent::v1::agent_message::Message as Said;
use ring_proto::agent::v1::agent_service_client::AgentServiceClient;
use ring_proto::agent::v1::control_message::Message as Heard;
use ring_proto::agent::v1::{
    AgentMessage, ClaimRequest, ClaimResult, ControlMessage, Goodbye, Heartbeat, Hello, LogOutput, ReportReply, ReportRequest,
    Welcome,
};
use ring_proto::cluster::v1::cluster_service_client::ClusterServiceClient;
use ring_proto::cluster::v1::control_service_client::ControlServiceClient;
use ring_proto::cluster::v1::{
    AskRequest, ContactsRequest, ExecRequest, LocateRequest, LogsRequest, PromoteRequest, RenewRequest,
};
use ring_proto::raft::v1::raft_service_client::RaftServiceClient;
use ring_runtime::{FakeScript, FakeStart};
use ring_server::JoinRole;
use ring_server::node::join;
use ring_server::pki::{Expect, HostFiles, HostKey, Identity};
use ring_server::tls::{Dialer, HostTls, dial_pinned};
use ring_state::InstanceReport;
use ring_types::{
    ExitStatus, InstanceId, InstanceState, MemberId, NodeId, NodeInfo, Outcome, RuntimeKind, RuntimeReport, Timestamp,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(30);

/// A host that joined, without an agent: the test speaks for it.
struct Captured {
    _dir: TempDir,
    dialer: Dialer,
    identity: Identity,
    node: NodeId,
    address: String,
}

/// One session of it.
struct Session {
    say: mpsc::Sender<AgentMessage>,
    hear: Streaming<ControlMessage>,
}

impl Captured {
    async fn join(control: &Control) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = join_options(dir.path(), &control.token(JoinRole::Agent), JoinRole::Agent, "evil", &[control.cluster]);
        let node = join(&options).await.unwrap().node.unwrap();
        let tls = Arc::new(HostTls::load(&HostFiles::new(dir.path())).unwrap());
        let identity = tls.identity().unwrap();
        Self { _dir: dir, dialer: Dialer::new(tls), identity, node, address: control.cluster.to_string() }
    }

    async fn channel(&self) -> Channel {
        self.dialer.dial(&self.address, Expect::AnyMember).await.unwrap()
    }

    async fn session(&self) -> Session {
        Session::over(self.channel().await).await.unwrap()
    }

    fn hello(node: NodeId) -> Said {
        let runtimes = vec![RuntimeReport { kind: RuntimeKind::Process, version: String::new(), problem: None }];
        let info = NodeInfo { runtimes, ..NodeInfo::default() };
        let boot_id = Uuid::new_v4().to_string();
        Said::Hello(Hello { node_id: node.to_string(), boot_id, info: Some(info.to_wire()) })
    }

    /// A session that was let in.
    async fn enter(&self) -> (Session, Welcome) {
        let mut session = self.session().await;
        session.say(Captured::hello(self.node)).await;
        let welcome = session.until(|heard| if let Heard::Welcome(welcome) = heard { Some(welcome) } else { None }).await;
        (session, welcome)
    }
}

impl Session {
    async fn over(channel: Channel) -> Result<Self, Status> {
        let (say, said) = mpsc::channel(64);
        // A message of the largest size is for the other side to refuse.
        let mut client = AgentServiceClient::new(channel).max_encoding_message_size(usize::MAX);
        let hear = client.session(ReceiverStream::new(said)).await?.into_inner();
        Ok(Self { say, hear })
    }

    async fn say(&self, message: Said) {
        // Who is cut off cannot say any more, which is what some of the tests are about.
        let _ = self.say.send(AgentMessage { message: Some(message) }).await;
    }

    /// The first message that is one of those wanted.
    async fn until<T>(&mut self, wanted: impl Fn(Heard) -> Option<T>) -> T {
        let hearing = async {
            loop {
                let message = self.hear.message().await.unwrap().expect("the session ended");
                if let Some(found) = message.message.and_then(&wanted) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, hearing).await.expect("not heard in time")
    }

    async fn claim(&mut self, epoch: u64, instances: &[InstanceId]) -> Vec<ClaimResult> {
        let instance_ids = instances.iter().map(ToString::to_string).collect();
        self.say(Said::Claim(ClaimRequest { sequence: 1, epoch, instance_ids })).await;
        self.until(|heard| if let Heard::Claim(reply) = heard { Some(reply.results) } else { None }).await
    }

    async fn reported(&mut self, reports: &[InstanceReport]) -> ReportReply {
        let reports = reports.iter().map(Wire::to_wire).collect();
        self.say(Said::Report(ReportRequest { sequence: 1, reports })).await;
        self.until(|heard| if let Heard::Report(reply) = heard { Some(reply) } else { None }).await
    }

    async fn goodbye(&mut self) -> Goodbye {
        self.until(|heard| if let Heard::Goodbye(goodbye) = heard { Some(goodbye) } else { None }).await
    }

    /// How it ends: the code of the error; None when it is closed in good order.
    async fn end(&mut self) -> Option<Code> {
        let ending = async {
            loop {
                match self.hear.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(status) => return Some(status.code()),
                }
            }
        };
        tokio::time::timeout(PATIENCE, ending).await.expect("it goes on")
    }
}

/// What it would say of an instance to pass it off as done.
fn ended(instance: InstanceId) -> InstanceReport {
    let exit = ExitStatus {
        outcome: Outcome::Code(0),
        started_at: Some(Timestamp(1)),
        finished_at: Timestamp(2),
        node: NodeId(Uuid::nil()),
    };
    InstanceReport {
        address: Some("10.6.6.6".to_owned()),
        started_at: Some(Timestamp(1)),
        exit: Some(exit),
        ..InstanceReport::of(instance, InstanceState::Exited)
    }
}

/// A cluster with an honest agent that runs a job with a secret.
async fn victim(control: &Control) -> (Api, Host, InstanceId) {
    let admin = control.admin().await;
    let host = Host::join("a1", control).await;
    admin.post("/secrets", &json!({ "namespace": "ns", "name": "s", "value": "hush" })).await.expect(200);
    admin.post("/deployments", &with_secret("j", "a1")).await.expect(200);
    eventually("running", async || deployment(&admin, "j").await["status"] == "running").await;
    let running = instance(&deployment(&admin, "j").await);
    (admin, host, running)
}

fn with_secret(name: &str, node: &str) -> Value {
    let mut manifest = job("ns", name);
    manifest["deployments"][name]["environment"] = json!({ "S": { "secretRef": "s" } });
    manifest["deployments"][name]["placement"] = json!({ "nodes": [node] });
    manifest
}

/// Nothing that was tried has changed what runs, and the cluster takes writes as before.
async fn unharmed(admin: &Api, running: InstanceId) {
    let shown = deployment(admin, "j").await;
    assert_eq!((&shown["status"], instance(&shown)), (&json!("running"), running), "{shown}");
    assert_ne!(shown["instances"][0]["address"], "10.6.6.6");
    let name = format!("after-{}", Uuid::new_v4().simple());
    let namespace = json!({ "name": name });
    let write = admin.post("/namespaces", &namespace);
    tokio::time::timeout(Duration::from_mins(1), write).await.expect("no write goes through").expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_claims_and_learns_what_is_bound_to_it_and_nothing_else() {
    let control = Control::first().await;
    let (admin, host, running) = victim(&control).await;
    let evil = Captured::join(&control).await;
    let (mut session, welcome) = evil.enter().await;
    // Bound to it: granted, with the secret it needs.
    admin.post("/deployments", &with_secret("own", "evil")).await.expect(200);
    eventually("it is bound", async || deployment(&admin, "own").await["instances"][0]["id"].is_string()).await;
    let own = instance(&deployment(&admin, "own").await);
    // One that waits on the other node, claimed before the agent there has it.
    host.runtime.script_default(FakeScript { start: FakeStart::Runs, ..FakeScript::default() });
    let strange = InstanceId(Uuid::new_v4());
    for epoch in [welcome.epoch, welcome.epoch + 1, 0, u64::MAX] {
        for result in session.claim(epoch, &[running, strange]).await {
            assert!(!result.granted, "{result:?}");
            assert!(result.secret_environment.is_empty() && result.files.is_empty() && result.registry.is_none(), "{result:?}");
        }
    }
    let refused = session.claim(welcome.epoch + 1, &[own]).await;
    assert!(!refused[0].granted && refused[0].secret_environment.is_empty());
    let granted = session.claim(welcome.epoch, &[own]).await;
    assert!(granted[0].granted && granted[0].secret_environment["S"] == "hush");
    // What it was granted is worth nothing to a later registration's past: the old epoch is over.
    let (mut again, later) = evil.enter().await;
    assert!(later.epoch > welcome.epoch);
    let replayed = again.claim(welcome.epoch, &[own]).await;
    assert!(!replayed[0].granted && replayed[0].secret_environment.is_empty());
    assert_eq!(session.end().await, None, "the first session is closed");
    unharmed(&admin, running).await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_of_others_changes_nothing() {
    let control = Control::first().await;
    let (admin, host, running) = victim(&control).await;
    let evil = Captured::join(&control).await;
    let (mut session, _) = evil.enter().await;
    // Passed over for good, and said so; of an instance nobody knows any more it may have been right.
    let said = session.reported(&[ended(running), ended(InstanceId(Uuid::new_v4()))]).await;
    assert_eq!((said.error.as_str(), said.refused.as_str()), ("", "report.not_yours"));
    let said = session.reported(&[ended(InstanceId(Uuid::new_v4()))]).await;
    assert_eq!((said.error.as_str(), said.refused.as_str()), ("", ""));
    let figures = admin.get("/metrics").await.expect(200);
    assert!(figures.as_str().unwrap().contains("\nring_agent_reports_refused_total 1\n"), "{figures}");
    let garbage = ring_proto::state::v1::InstanceReport { instance: vec![1; 3], ..Default::default() };
    session.say(Said::Report(ReportRequest { sequence: 2, reports: vec![garbage] })).await;
    let error = session.until(|heard| if let Heard::Report(reply) = heard { Some(reply.error) } else { None }).await;
    assert!(error.contains("instance"), "{error}");
    unharmed(&admin, running).await;
    // Nor can it speak as another node, though it knows its name.
    let nodes = admin.get("/nodes").await.expect(200);
    let honest = nodes.as_array().unwrap().iter().find(|node| node["name"] == "a1").unwrap();
    let mut other = evil.session().await;
    other.say(Captured::hello(honest["id"].as_str().unwrap().parse().unwrap())).await;
    let goodbye = other.goodbye().await;
    assert!(goodbye.reason.contains("the certificate belongs to node"), "{goodbye:?}");
    let mut rude = evil.session().await;
    rude.say(Said::Heartbeat(Heartbeat::default())).await;
    assert_eq!(rude.goodbye().await.reason, "the first message has to be a hello");
    host.runtime.finish(running, Outcome::Code(7));
    eventually("its own end", async || deployment(&admin, "j").await["exit_status"]["code"] == 7).await;
    control.stop().await;
}

/// A certificate request that asks to be somebody.
fn request_as(wanted: Identity) -> String {
    let mut params = rcgen::CertificateParams::default();
    let names = wanted.names().into_iter().map(|name| rcgen::SanType::URI(name.try_into().unwrap()));
    params.subject_alt_names = names.collect();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn denied<T>(what: &str, answer: Result<T, Status>) {
    let status = answer.err().unwrap_or_else(|| panic!("{what} was answered"));
    assert_eq!(status.code(), Code::PermissionDenied, "{what}: {status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_control_nodes_are_closed_to_it() {
    let control = Control::first().await;
    let (admin, _host, running) = victim(&control).await;
    let evil = Captured::join(&control).await;
    let channel = evil.channel().await;
    let mut raft = RaftServiceClient::new(channel.clone());
    denied("append", raft.append(ring_proto::raft::v1::AppendRequest::default()).await);
    denied("append stream", raft.append_stream(tokio_stream::empty()).await);
    denied("vote", raft.vote(ring_proto::raft::v1::VoteRequest::default()).await);
    denied("pre-vote", raft.pre_vote(ring_proto::raft::v1::VoteRequest::default()).await);
    denied("transfer", raft.transfer_leader(ring_proto::raft::v1::TransferRequest::default()).await);
    denied("snapshot", raft.snapshot(tokio_stream::empty()).await);
    denied("propose", raft.propose(ring_proto::raft::v1::ProposeRequest::default()).await);
    denied("propose many", raft.propose_many(ring_proto::raft::v1::ProposeManyRequest::default()).await);
    denied("members", raft.change_members(ring_proto::raft::v1::ChangeMembersRequest::default()).await);
    denied("read", raft.read_index(ring_proto::raft::v1::ReadIndexRequest::default()).await);
    let mut peers = ControlServiceClient::new(channel.clone());
    denied("contacts", peers.contacts(ContactsRequest::default()).await);
    denied("locate", peers.locate(LocateRequest::default()).await);
    denied("logs", peers.logs(LogsRequest::default()).await);
    denied("ask", peers.ask(AskRequest::default()).await);
    denied("exec", peers.exec(tokio_stream::once(ExecRequest::default())).await);
    let mut cluster = ClusterServiceClient::new(channel);
    denied("promote", cluster.promote(PromoteRequest::default()).await);
    // Its new certificate is for itself, whatever the request says.
    let wanted = Identity { member: Some(MemberId(1)), ..evil.identity };
    let renewed = cluster.renew(RenewRequest { csr_pem: request_as(wanted) }).await.unwrap().into_inner();
    let certificate = CertificateDer::from_pem_slice(renewed.certificate_pem.as_bytes()).unwrap();
    assert_eq!(Identity::of(&certificate).unwrap(), evil.identity);
    unharmed(&admin, running).await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_only_a_token_opens_anything() {
    let control = Control::first().await;
    control.ready().await;
    let token: ring_server::pki::JoinTokenText = control.token(JoinRole::Agent).parse().unwrap();
    let channel = dial_pinned(&control.cluster.to_string(), token.authority).await.unwrap();
    let refused = Session::over(channel.clone()).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    let refused = RaftServiceClient::new(channel.clone()).ping(ring_proto::raft::v1::PingRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    let refused = ClusterServiceClient::new(channel).renew(RenewRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated);
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_ends_its_session_and_nothing_else() {
    let control = Control::first().await;
    let (admin, _host, running) = victim(&control).await;
    let before = admin.get("/cluster").await.expect(200);
    let evil = Captured::join(&control).await;

    // A message beyond what is taken ends the stream.
    let (mut session, _) = evil.enter().await;
    let line = ring_proto::agent::v1::LogLine { line: vec![0; 16 << 20], ..Default::default() };
    session.say(Said::LogOutput(LogOutput { stream: 1, lines: vec![line] })).await;
    session.end().await;
    // Reports without end: those that wait are counted, and who goes on is cut off.
    let (mut session, _) = evil.enter().await;
    let say = session.say.clone();
    let flood = tokio::spawn(async move {
        let reports = vec![ended(running).to_wire(); 200];
        while say
            .send(AgentMessage { message: Some(Said::Report(ReportRequest { sequence: 1, reports: reports.clone() })) })
            .await
            .is_ok()
        {}
    });
    let goodbye = session.goodbye().await;
    assert_eq!(goodbye.reason, "too many requests wait to be committed");
    unharmed(&admin, running).await;
    drop(session);
    flood.await.unwrap();
    // Output nobody asked for goes nowhere, however much of it there is.
    let (session, _) = evil.enter().await;
    for stream in 0..5_000 {
        session.say(Said::LogOutput(LogOutput { stream, lines: Vec::new() })).await;
    }
    // Sessions by the hundred: one of a node stands.
    let channel = evil.channel().await;
    let mut held = Vec::new();
    for _ in 0..8 {
        let opening = (0..25).map(|_| tokio::time::timeout(PATIENCE, Session::over(channel.clone())));
        let opened: Vec<_> = futures::future::join_all(opening).await.into_iter().flatten().flatten().collect();
        for session in &opened {
            session.say(Captured::hello(evil.node)).await;
        }
        held.extend(opened);
        unharmed(&admin, running).await;
    }
    assert!(held.len() > 100, "only {} sessions were opened", held.len());
    drop(held);
    let after = admin.get("/cluster").await.expect(200);
    assert_eq!((&after["leader"], &after["quorum"]), (&before["leader"], &json!(true)), "{after}");
    unharmed(&admin, running).await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_node_is_out_at_once() {
    let control = Control::first().await;
    let (admin, _host, running) = victim(&control).await;
    let evil = Captured::join(&control).await;
    let (mut session, welcome) = evil.enter().await;
    let channel = evil.channel().await;
    admin.delete(&format!("/nodes/{}", evil.node)).await.expect(200);
    let goodbye = session.goodbye().await;
    assert!(goodbye.fatal && goodbye.reason.contains("removed"), "{goodbye:?}");
    session.end().await;
    // Over the connection it had, and over a new one.
    for channel in [channel, evil.channel().await] {
        let mut session = Session::over(channel.clone()).await.unwrap();
        session.say(Captured::hello(evil.node)).await;
        session
            .say(Said::Claim(ClaimRequest { sequence: 1, epoch: welcome.epoch, instance_ids: vec![running.to_string()] }))
            .await;
        let goodbye = session.goodbye().await;
        assert!(goodbye.fatal && goodbye.reason.contains("removed"), "{goodbye:?}");
        let csr_pem = HostKey::generate().unwrap().request().unwrap();
        denied("renew", ClusterServiceClient::new(channel).renew(RenewRequest { csr_pem }).await);
    }
    unharmed(&admin, running).await;
    control.stop().await;
}
