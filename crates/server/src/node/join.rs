//! Entering a cluster with a token.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ring_proto::cluster::v1::join_service_client::JoinServiceClient;
use ring_proto::cluster::v1::{JoinReply, JoinRequest, JoinRole as WireRole};
use ring_state::{JoinRole, LEVEL};
use ring_types::{ClusterGeneration, ClusterId, MemberId, NodeId, RequestId};
use tonic::Code;
use uuid::Uuid;

use super::NodeError;
use super::host::{address_towards, api_address, api_listen, cluster_listen, name};
use super::running::Ports;
use crate::pki::{HostFiles, HostRecord, Identity, JoinTokenText, MemberRecord, PendingJoin, SecretKey, certificate_from_pem};
use crate::tls::dial_pinned;

/// Longest wait for the answer of one control node; an election may be under way.
const ANSWER: Duration = Duration::from_secs(20);

/// How a host wants to join.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// Where this host keeps everything.
    pub data_dir: PathBuf,
    /// Control nodes to ask, one after the other.
    pub addresses: Vec<String>,
    /// The token.
    pub token: String,
    /// As what.
    pub role: JoinRole,
    /// Name of this host; its own when left out.
    pub name: Option<String>,
    /// Where others reach its cluster port; the address it has towards the cluster when left out.
    pub advertise: Option<SocketAddr>,
    /// Where its REST API listens.
    pub api_listen: Option<SocketAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// A control node that runs work too.
    pub with_agent: bool,
}

/// Joins; afterwards the files of the data directory are all the host needs.
///
/// # Errors
/// [`NodeError`] when the token is not good for this, or no control node can be asked.
pub async fn join(options: &JoinOptions) -> Result<HostRecord, NodeError> {
    let token: JoinTokenText = options.token.parse()?;
    token.require(options.role)?;
    let files = HostFiles::new(&options.data_dir);
    if let Some(record) = files.record()? {
        return Err(NodeError::Joined { dir: options.data_dir.clone(), name: record.name });
    }
    files.create_dirs()?;
    let addresses: Vec<_> = options.addresses.iter().map(|a| with_port(a)).collect();
    let towards = addresses.first().ok_or_else(|| NodeError::Unreachable("no address was given".to_owned()))?;
    let advertise = match (options.role, options.advertise) {
        (_, Some(advertise)) => advertise,
        (JoinRole::Agent, None) => SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0),
        (JoinRole::Control, None) => SocketAddr::new(address_towards(towards)?, ring_api::CLUSTER_PORT),
    };
    if options.role == JoinRole::Control {
        // A port that is taken is better known before an admission is used up.
        drop(Ports::bind(cluster_listen(advertise), api_listen(options.api_listen, advertise)).await?);
    }
    let pending = pending(&files, &token)?;
    let request = request(options, &token, &pending, &files, advertise)?;
    let reply = ask(&addresses, &token, &request).await?;
    keep(options, &files, &pending, reply, advertise)
}

/// A host name or an IP; port 3031 when none is written.
fn with_port(address: &str) -> String {
    let address = address.trim();
    if let Ok(ip) = address.parse::<std::net::IpAddr>() {
        return SocketAddr::new(ip, ring_api::CLUSTER_PORT).to_string();
    }
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { address.to_owned() } else { format!("{address}:{}", ring_api::CLUSTER_PORT) }
}

/// Goes on with a join that was begun with the same token, else begins one.
fn pending(files: &HostFiles, token: &JoinTokenText) -> Result<PendingJoin, NodeError> {
    let id = token.id.to_string();
    if let Some(pending) = files.pending()?.filter(|pending| pending.token == id) {
        return Ok(pending);
    }
    let pending = PendingJoin { request: RequestId(Uuid::new_v4()), node: NodeId(Uuid::new_v4()), token: id };
    files.write_pending(&pending)?;
    Ok(pending)
}

fn request(
    options: &JoinOptions,
    token: &JoinTokenText,
    pending: &PendingJoin,
    files: &HostFiles,
    advertise: SocketAddr,
) -> Result<JoinRequest, NodeError> {
    let control = options.role == JoinRole::Control;
    let api_listen = api_listen(options.api_listen, advertise);
    Ok(JoinRequest {
        token_id: token.id.to_string(),
        token_secret: token.secret(),
        role: if control { WireRole::Control } else { WireRole::Agent }.into(),
        name: name(options.name.as_deref())?.to_string(),
        node_id: pending.node.to_string(),
        csr_pem: files.key()?.request()?,
        address: if control { advertise.to_string() } else { String::new() },
        api_address: if control { api_address(api_listen, advertise) } else { String::new() },
        labels: options.labels.clone(),
        with_agent: control && options.with_agent,
        request_id: pending.request.to_string(),
        level: LEVEL.0,
    })
}

/// Asks one control node after the other; a refusal ends it, for all would say the same.
async fn ask(addresses: &[String], token: &JoinTokenText, request: &JoinRequest) -> Result<JoinReply, NodeError> {
    let mut failures = Vec::new();
    for address in addresses {
        let channel = match dial_pinned(address, token.authority).await {
            Ok(channel) => channel,
            Err(error) => {
                failures.push(error.to_string());
                continue;
            }
        };
        let asking = async { JoinServiceClient::new(channel).join(request.clone()).await };
        match tokio::time::timeout(ANSWER, asking).await {
            Ok(Ok(reply)) => return Ok(reply.into_inner()),
            Ok(Err(status)) => match status.code() {
                Code::PermissionDenied | Code::InvalidArgument | Code::AlreadyExists => {
                    return Err(NodeError::Refused(status.message().to_owned()));
                }
                _ => failures.push(format!("{address}: {}", status.message())),
            },
            Err(_) => failures.push(format!("{address}: no answer in time")),
        }
    }
    Err(NodeError::Unreachable(failures.join("; ")))
}

fn keep(
    options: &JoinOptions,
    files: &HostFiles,
    pending: &PendingJoin,
    reply: JoinReply,
    advertise: SocketAddr,
) -> Result<HostRecord, NodeError> {
    let cluster: ClusterId = reply.cluster_id.parse().map_err(|_| NodeError::Answer("no cluster id".to_owned()))?;
    let named = Identity::of(&certificate_from_pem(&reply.certificate_pem)?)?;
    if named.cluster != cluster || named.node.is_some_and(|node| node != pending.node) {
        return Err(NodeError::Answer("the certificate names somebody else".to_owned()));
    }
    let api_listen = api_listen(options.api_listen, advertise);
    let member = (options.role == JoinRole::Control).then(|| MemberRecord {
        id: MemberId(reply.member_id),
        name: reply.member_name.clone(),
        address: advertise.to_string(),
        api_address: api_address(api_listen, advertise),
        api_listen,
    });
    if member.is_some() {
        files.write_secret_key(&SecretKey::from_bytes(&reply.secret_key).map_err(crate::pki::PkiError::from)?)?;
    }
    files.write_certificates(&reply.certificate_pem, &reply.ca_pem)?;
    let record = HostRecord {
        cluster,
        generation: ClusterGeneration(reply.generation),
        name: if reply.node_name.is_empty() { reply.member_name } else { reply.node_name },
        node: named.node,
        member,
        control_addresses: reply.control_addresses,
        labels: options.labels.clone(),
    };
    files.write_record(&record)?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_the_cluster_is_filled_in() {
        assert_eq!(with_port("10.0.0.1"), "10.0.0.1:3031");
        assert_eq!(with_port("10.0.0.1:99"), "10.0.0.1:99");
        assert_eq!(with_port("control-1"), "control-1:3031");
        assert_eq!(with_port("2001:db8::1"), "[2001:db8::1]:3031");
    }
}
