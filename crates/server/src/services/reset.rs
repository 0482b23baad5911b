//! A new password for an account, given by whoever has the data directory of a control node: its certificate and key are there, and
//! with them the whole state. It needs no account, so that it works when every password is lost.

use std::net::SocketAddr;

use argon2::password_hash::PasswordHash;
use ring_proto::cluster::v1::{ResetPasswordReply, ResetPasswordRequest};
use ring_state::{AuditNote, AuditedCommand, Command, Reply, State, UserUpdate};
use ring_store::Store;
use ring_types::{MemberId, Name};
use tonic::Status;

use crate::ids;

/// Gives an account the password of the request and ends its sessions and tokens. `by` is whose certificate the caller has.
pub(super) async fn reset(
    store: &Store,
    by: MemberId,
    from: SocketAddr,
    request: &ResetPasswordRequest,
) -> Result<ResetPasswordReply, Status> {
    let hash = PasswordHash::new(&request.password_hash).map_err(|_| Status::invalid_argument("not a password hash"))?;
    if hash.algorithm != argon2::ARGON2ID_IDENT {
        return Err(Status::invalid_argument("not an argon2id hash"));
    }
    let state = store.read().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let named = Name::new(&request.username).ok().and_then(|name| state.user_named(&name).cloned());
    let user = named.ok_or_else(|| Status::not_found(format!("user '{}' not found", request.username)))?;
    let update = UserUpdate { id: user.id, username: None, password_hash: Some(request.password_hash.clone()), role: None };
    let audited = AuditedCommand { note: note(&state, store, by, from), command: Box::new(Command::UpdateUser(update)) };
    let done = store.propose(ids::fresh(), Command::Audited(Box::new(audited))).await;
    match done.map_err(|error| Status::unavailable(error.to_string()))?.reply {
        Reply::Refused(refusal) => Err(Status::failed_precondition(refusal.message)),
        _ => Ok(ResetPasswordReply {}),
    }
}

/// No account did it: the record names the host. No account is called like that, as names have no spaces.
fn note(state: &State, store: &Store, by: MemberId, from: SocketAddr) -> AuditNote {
    let name = |id: MemberId| state.member(id).map_or_else(|| id.to_string(), |member| member.name.to_string());
    AuditNote {
        user: format!("host {}", name(by)),
        address: from.ip().to_canonical().to_string(),
        ..AuditNote::unattended("user.reset_password", "", name(store.status().id))
    }
}
