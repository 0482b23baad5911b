//! Channels to the other members. Each purpose has one of its own, so that a heartbeat never queues behind a snapshot.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ring_proto::raft::v1 as wire;
use ring_proto::raft::v1::raft_service_client::RaftServiceClient;
use ring_state::LEVEL;
use ring_types::{ClusterGeneration, ClusterId, Level, MemberId};
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::lock::Mutex;
use crate::outgoing::Hurry;
use crate::types::Metrics;
use crate::view::View;
use crate::{ConnectError, MemberLevel, MissingMember, PeerConnector};

/// Largest message either side takes: an entry at its limit and what goes with it.
pub(crate) const MESSAGE_LIMIT: usize = 16 << 20;
/// How long a member has to answer when it is only asked whether it is there.
const PING: Duration = Duration::from_millis(700);

const CLUSTER: &str = "ring-cluster";
/// Left out in the first generation.
const GENERATION: &str = "ring-generation";
const FROM: &str = "ring-from";
const TO: &str = "ring-to";

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Entries.
    Append,
    /// Heartbeats, votes, transfers.
    Control,
    /// Snapshots.
    Snapshot,
    /// What is forwarded to the leader.
    Forward,
}

pub(crate) type Client = RaftServiceClient<Channel>;

/// The other members, as this one reaches them.
pub(crate) struct Peers {
    me: MemberId,
    cluster: ClusterId,
    generation: ClusterGeneration,
    connector: Arc<dyn PeerConnector>,
    channels: Mutex<HashMap<(u64, Lane), (String, Channel)>>,
    /// The record of the members, as this one has it.
    view: Arc<View>,
    /// Where members were found that are not where the record has them.
    found: Mutex<HashMap<u64, String>>,
    pub(crate) hurry: Arc<Hurry>,
}

impl Peers {
    pub(crate) fn new(
        me: MemberId,
        (cluster, generation): (ClusterId, ClusterGeneration),
        connector: Arc<dyn PeerConnector>,
        view: Arc<View>,
    ) -> Arc<Self> {
        let (channels, found) = (Mutex::default(), Mutex::default());
        Arc::new(Self { me, cluster, generation, connector, channels, view, found, hurry: Hurry::new() })
    }

    /// Where a member is: where it was found, else as the record has it, which follows those that move. The membership keeps
    /// `joined_at`, which it had at first.
    pub(crate) fn whereabouts(&self, member: u64, joined_at: &str) -> String {
        if let Some(found) = self.found.lock().get(&member) {
            return found.clone();
        }
        let state = self.view.state();
        state.member(MemberId(member)).map_or_else(|| joined_at.to_owned(), |known| known.address.clone())
    }

    /// Remembers where a member answers, until it does not any more.
    pub(crate) fn found_at(&self, member: u64, address: &str) {
        self.found.lock().insert(member, address.to_owned());
    }

    pub(crate) async fn client(&self, to: u64, joined_at: &str, lane: Lane) -> Result<Client, ConnectError> {
        let address = self.whereabouts(to, joined_at);
        let known = self.channels.lock().get(&(to, lane)).filter(|(at, _)| *at == address).map(|(_, channel)| channel.clone());
        let channel = if let Some(channel) = known {
            channel
        } else {
            let connected = self.connector.connect(MemberId(to), &address).await;
            let channel = connected.inspect_err(|_| self.lost_at(to, &address))?;
            self.channels.lock().insert((to, lane), (address, channel.clone()));
            channel
        };
        Ok(Client::new(channel).max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT))
    }

    fn lost_at(&self, member: u64, address: &str) {
        let mut found = self.found.lock();
        if found.get(&member).is_some_and(|at| at == address) {
            found.remove(&member);
        }
    }

    /// Dials anew next time: the member may be elsewhere, or its certificate another one.
    pub(crate) fn forget(&self, to: u64, lane: Lane) {
        self.channels.lock().remove(&(to, lane));
    }

    pub(crate) fn forget_all(&self) {
        self.channels.lock().clear();
    }

    /// A message with the addresses on its envelope.
    pub(crate) fn address<T>(&self, to: u64, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let mut put = |name: &'static str, value: String| {
            if let Ok(value) = value.parse() {
                request.metadata_mut().insert(name, value);
            }
        };
        put(CLUSTER, self.cluster.to_string());
        if self.generation != ClusterGeneration::FIRST {
            put(GENERATION, self.generation.to_string());
        }
        put(FROM, self.me.to_string());
        put(TO, to.to_string());
        request
    }

    /// Reads the envelope of a message that came in: it has to be for this member, from one of its cluster.
    pub(crate) fn accept(&self, envelope: &MetadataMap) -> Result<MemberId, Status> {
        let get = |name: &str| envelope.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let refuse = |message: String| Err(Status::failed_precondition(message));
        if get(CLUSTER) != self.cluster.to_string() {
            return refuse(format!("this control node belongs to cluster {}, not to {}", self.cluster, get(CLUSTER)));
        }
        let generation = match get(GENERATION) {
            "" => Ok(ClusterGeneration::FIRST),
            text => text.parse(),
        };
        if generation != Ok(self.generation) {
            return refuse(format!(
                "the cluster was begun anew: this control node is of its generation {}, control node {} of {}",
                self.generation,
                get(FROM),
                generation.map_or_else(|_| get(GENERATION).to_owned(), |other| other.to_string())
            ));
        }
        if get(TO) != self.me.to_string() {
            return refuse(format!("this is control node {}, not {}", self.me, get(TO)));
        }
        let from = get(FROM).parse().map_err(|_| Status::invalid_argument("the caller does not say who it is"))?;
        Ok(MemberId(from))
    }

    /// Voters that do not answer.
    pub(crate) async fn missing(&self, metrics: &Metrics) -> Vec<MissingMember> {
        let membership = &metrics.membership_config;
        let others = membership.voter_ids().filter(|id| *id != self.me.0);
        let probes = others.filter_map(|id| membership.get_node(&id).map(|peer| (id, peer.clone()))).map(async |(id, peer)| {
            let silent = self.ping(id, &peer.address).await.is_none();
            let address = self.whereabouts(id, &peer.address);
            silent.then_some(MissingMember { id: MemberId(id), name: peer.name, address })
        });
        join_all(probes).await.into_iter().flatten().collect()
    }

    /// The level each member speaks, learners too; None of one that does not answer.
    pub(crate) async fn levels(&self, metrics: &Metrics) -> Vec<MemberLevel> {
        let members = metrics.membership_config.nodes().map(async |(id, peer)| {
            let speaks = if *id == self.me.0 { Some(LEVEL) } else { self.ping(*id, &peer.address).await };
            MemberLevel { id: MemberId(*id), name: peer.name.clone(), speaks }
        });
        join_all(members).await
    }

    /// The level a member speaks; None when it does not answer in time.
    async fn ping(&self, id: u64, address: &str) -> Option<Level> {
        let asked = async {
            let mut client = self.client(id, address, Lane::Control).await.ok()?;
            let answer = client.ping(self.address(id, wire::PingRequest {})).await.ok()?;
            Some(Level::of(answer.into_inner().level))
        };
        timeout(PING, asked).await.ok().flatten()
    }
}

/// Whether a call that failed has certainly not reached the other side.
pub(crate) fn never_arrived(status: &Status) -> bool {
    if status.code() == Code::FailedPrecondition {
        return true;
    }
    let mut source = Error::source(status);
    while let Some(error) = source {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        let refused = matches!(
            kind,
            Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable)
        );
        if refused || error.downcast_ref::<ConnectError>().is_some() {
            return true;
        }
        source = error.source();
    }
    false
}
