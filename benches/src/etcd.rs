//! Three etcd processes on loopback and its two clients: the gRPC API, and the JSON gateway in front of it.
//!
//! Messages: `etcd/api/etcdserverpb/rpc.proto`, the few fields a write needs.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Method;
use ring_testkit::http::Request;
use ring_testkit::ports;
use ring_testkit::{Process, command, wait};
use serde_json::{Value, json};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

use crate::connection::Connection;
use crate::load::Writer;

const PROGRAM: &str = "etcd";
const START_DEADLINE: Duration = Duration::from_secs(30);
/// gRPC connections a load of many clients shares, as etcd's own benchmark does with `--conns=100`.
const MAX_CHANNELS: usize = 100;
/// The store may grow to this: the default of 2 GB could be reached by many rounds, and nothing is compacted meanwhile.
const QUOTA_BYTES: u64 = 8 << 30;

/// Three members; dropping it ends them.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Process>,
    clients: Vec<SocketAddr>,
    _dir: tempfile::TempDir,
}

impl Etcd {
    /// The version of the installed etcd; an error when there is none.
    pub fn version() -> Result<String> {
        let printed =
            command::run(command::command(PROGRAM, ["--version"])).context("etcd is not installed (etcd-server)")?.ok()?;
        Ok(printed.lines().next().unwrap_or_default().trim_start_matches("etcd Version: ").to_owned())
    }

    /// Starts three members with fresh directories beside those of ring and waits until they answer. `peer_tls` encrypts
    /// what they say to each other, as ring always does.
    pub fn start(peer_tls: bool) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("ring-etcd-").tempdir()?;
        let ports = ports::free(6)?;
        let peer = |index: usize| format!("{}://127.0.0.1:{}", if peer_tls { "https" } else { "http" }, ports[index]);
        let initial = (0..3).map(|index| format!("e{index}={}", peer(index))).collect::<Vec<_>>().join(",");
        let mut members = Vec::new();
        for index in 0..3 {
            let name = format!("e{index}");
            let client = format!("http://127.0.0.1:{}", ports[3 + index]);
            let mut etcd = command::command(PROGRAM, ["--name", &name, "--initial-cluster", &initial]);
            etcd.arg("--data-dir").arg(dir.path().join(&name));
            etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
            etcd.args(["--listen-peer-urls", &peer(index), "--initial-advertise-peer-urls", &peer(index)]);
            etcd.args(["--quota-backend-bytes", &QUOTA_BYTES.to_string(), "--logger=zap", "--log-level=warn"]);
            if peer_tls {
                etcd.arg("--peer-auto-tls");
            }
            members.push(Process::spawn(&name, etcd, &dir.path().join(format!("{name}.log")))?);
        }
        let clients = ports[3..].iter().map(|&port| SocketAddr::from(([127, 0, 0, 1], port))).collect();
        let etcd = Self { members, clients, _dir: dir };
        etcd.leader().with_context(|| etcd.members.iter().map(Process::tail).collect::<Vec<_>>().join("\n"))?;
        Ok(etcd)
    }

    /// Client addresses of all members.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.clients
    }

    /// Process ids of all members.
    pub fn pids(&self) -> Vec<i32> {
        self.members.iter().map(Process::pid).collect()
    }

    /// Waits until every member names the same leader; that leader's client address.
    pub fn leader(&self) -> Result<SocketAddr> {
        wait::eventually(START_DEADLINE, "etcd to have a leader", || {
            let answers = self.clients.iter().map(|at| status(*at)).collect::<Result<Vec<_>>>()?;
            let leader = answers[0]["leader"].as_str().context("no leader")?;
            ensure!(leader != "0" && answers.iter().all(|answer| answer["leader"] == leader), "no agreement: {answers:?}");
            Ok(answers.iter().position(|answer| answer["header"]["member_id"] == leader).map(|index| self.clients[index]))
        })
    }
}

fn status(at: SocketAddr) -> Result<Value> {
    Request::new("POST", format!("http://{at}/v3/maintenance/status")).json(&json!({})).send()?.json()
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "1")]
    cluster_id: u64,
    #[prost(uint64, tag = "2")]
    member_id: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
    #[prost(uint64, tag = "4")]
    raft_term: u64,
}

/// A client of the gRPC API.
#[derive(Debug)]
pub struct GrpcWriter {
    client: tonic::client::Grpc<Channel>,
    key: String,
}

impl GrpcWriter {
    /// Clients with a key each, spread over `addresses`; up to a hundred connections between them.
    pub async fn many(addresses: &[SocketAddr], clients: usize) -> Result<Vec<Self>> {
        let mut channels = Vec::new();
        for number in 0..clients.min(MAX_CHANNELS) {
            let address = addresses[number % addresses.len()];
            channels.push(Endpoint::from_shared(format!("http://{address}"))?.tcp_nodelay(true).connect().await?);
        }
        let client = |number: usize| tonic::client::Grpc::new(channels[number % channels.len()].clone());
        Ok((0..clients).map(|number| Self { client: client(number), key: key(number) }).collect())
    }
}

impl Writer for GrpcWriter {
    async fn write(&mut self, value: &str) -> Result<()> {
        let request = PutRequest { key: self.key.clone().into_bytes(), value: value.as_bytes().to_vec() };
        self.client.ready().await?;
        let codec = tonic_prost::ProstCodec::<PutRequest, PutResponse>::default();
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let answer = self.client.unary(tonic::Request::new(request), path, codec).await?.into_inner();
        let header: ResponseHeader = answer.header.context("an answer without a header")?;
        ensure!(header.revision > 0, "no revision");
        Ok(())
    }
}

/// A client of the JSON gateway, with a connection of its own.
#[derive(Debug)]
pub struct JsonWriter {
    address: SocketAddr,
    connection: Option<Connection>,
    key: String,
}

impl JsonWriter {
    /// Clients with a key and a connection each, spread over `addresses`.
    pub async fn many(addresses: &[SocketAddr], clients: usize) -> Result<Vec<Self>> {
        let mut writers = Vec::with_capacity(clients);
        for number in 0..clients {
            let address = addresses[number % addresses.len()];
            let connection = Some(Connection::open(address).await?);
            writers.push(Self { address, connection, key: BASE64_STANDARD.encode(key(number)) });
        }
        Ok(writers)
    }
}

impl Writer for JsonWriter {
    async fn write(&mut self, value: &str) -> Result<()> {
        let body = json!({ "key": self.key, "value": BASE64_STANDARD.encode(value) }).to_string();
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address).await?,
        };
        let answer = connection.send(Method::POST, "/v3/kv/put", body).await?;
        self.connection = Some(connection);
        answer.success()
    }
}

fn key(number: usize) -> String {
    format!("figures/c{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn both_clients_write_to_every_member() {
        if let Err(error) = Etcd::version() {
            return ring_testkit::report::skipped("both_clients_write_to_every_member", &format!("{error:#}"));
        }
        let etcd = tokio::task::spawn_blocking(|| Etcd::start(false)).await.unwrap().unwrap();
        for mut client in GrpcWriter::many(etcd.addresses(), 3).await.unwrap() {
            client.write("over gRPC").await.unwrap();
        }
        for mut client in JsonWriter::many(etcd.addresses(), 3).await.unwrap() {
            client.write("as JSON").await.unwrap();
            client.write("on the same connection").await.unwrap();
        }
    }
}
