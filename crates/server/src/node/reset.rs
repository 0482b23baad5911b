//! Giving an account a new password with nothing but the data directory of a control node.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ring_proto::cluster::v1::ResetPasswordRequest;
use ring_proto::cluster::v1::control_service_client::ControlServiceClient;
use tonic::Code;
use zeroize::Zeroizing;

use super::NodeError;
use super::init::made_up_password;
use crate::pki::{Expect, HostFiles};
use crate::rest::hash_password;
use crate::tls::{Dialer, HostTls};

/// Longest wait for the answer of one control node; an election may be under way.
const ANSWER: Duration = Duration::from_secs(20);

/// Gives the account of that name a new password, a random one when none is given, and ends its sessions and tokens. The one that was
/// made up comes back. A control node has to run: the one of this host, else any other of the cluster.
///
/// # Errors
/// [`NodeError`] when the directory is not that of a control node or cannot be read, there is no such account, or no control node
/// can be asked.
pub async fn reset_password(
    data_dir: &Path,
    username: &str,
    password: Option<Zeroizing<String>>,
) -> Result<Option<Zeroizing<String>>, NodeError> {
    let files = HostFiles::new(data_dir);
    let record = files.record()?.ok_or_else(|| NodeError::NotJoined(data_dir.to_owned()))?;
    let member = record.member.ok_or_else(|| NodeError::NotControl(data_dir.to_owned()))?;
    let made_up = password.is_none();
    let password = password.unwrap_or_else(made_up_password);
    let password_hash = hash_password(&password).map_err(NodeError::Password)?;
    let dialer = Dialer::new(Arc::new(HostTls::load(&files)?));
    let request = ResetPasswordRequest { username: username.to_owned(), password_hash };
    let own = std::iter::once((member.address.as_str(), Expect::Member(member.id)));
    let others = record.control_addresses.iter().filter(|address| **address != member.address);
    let mut failures = Vec::new();
    for (address, expect) in own.chain(others.map(|address| (address.as_str(), Expect::AnyMember))) {
        let asked = tokio::time::timeout(ANSWER, ask(&dialer, address, expect, request.clone())).await;
        match asked.unwrap_or_else(|_| Err(NodeError::Unreachable(format!("{address} does not answer")))) {
            Ok(()) => return Ok(made_up.then_some(password)),
            Err(NodeError::Unreachable(why)) => failures.push(why),
            Err(error) => return Err(error),
        }
    }
    Err(NodeError::Unreachable(failures.join("; ")))
}

async fn ask(dialer: &Dialer, address: &str, expect: Expect, request: ResetPasswordRequest) -> Result<(), NodeError> {
    let username = request.username.clone();
    let channel = dialer.dial(address, expect).await.map_err(|error| NodeError::Unreachable(error.to_string()))?;
    let answer = ControlServiceClient::new(channel).reset_password(request).await;
    answer.map(drop).map_err(|status| match status.code() {
        Code::NotFound => NodeError::NoUser(username),
        Code::Unavailable | Code::Unknown | Code::Unimplemented => {
            NodeError::Unreachable(format!("{address}: {}", status.message()))
        }
        _ => NodeError::Refused(status.message().to_owned()),
    })
}
