//! Changes: one request, one command, one log entry.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::Uri;
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use ring_api::IDEMPOTENCY_KEY;
use ring_api::errors::ErrorCode;
use ring_state::{AuditNote, AuditRecord, AuditedCommand, Command, RefusalCode, Reply, State};
use ring_store::Committed;
use ring_types::{Name, RequestId, Rule};

use super::App;
use super::audit;
use super::auth::Caller;
use super::error::{ApiError, Result};
use crate::ids;

/// Longest idempotency key, bytes.
const MAX_KEY: usize = 255;

/// Which request this is. With an `Idempotency-Key` the same key of the same caller on the same route is the same request.
/// The second is whose it is, for the audit record.
#[derive(Clone)]
pub(super) struct Request(pub(super) RequestId, pub(super) Arc<AuditNote>);

impl Request {
    /// A second command of the same request.
    pub(super) fn part(&self, what: &str) -> RequestId {
        RequestId(ids::derived(self.0, what))
    }
}

impl FromRequestParts<App> for Request {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self> {
        let note = audit::note_of(parts, &app.name);
        let Some(key) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(ids::fresh(), note)) };
        if key.is_empty() || key.len() > MAX_KEY {
            let detail = format!("Idempotency-Key must have 1 to {MAX_KEY} bytes");
            return Err(ApiError::new(ErrorCode::RequestIdempotencyKey, detail));
        }
        let user = parts.extensions.get::<Caller>().map(|caller| caller.user.id.0.into_bytes()).unwrap_or_default();
        let route = format!("{} {}", parts.method, route(&parts.uri));
        Ok(Self(ids::request(&[b"api", &user, route.as_bytes(), key.as_bytes()]), note))
    }
}

/// What is asked for, whichever control node was asked: over HTTP/2 and through proxies the target says which.
fn route(target: &Uri) -> &str {
    target.path_and_query().map_or("/", PathAndQuery::as_str)
}

impl App {
    /// Has a command committed, with its line of the audit record; a refusal is an error.
    pub(super) async fn commit(&self, Request(request, note): &Request, command: Command) -> Result<Committed> {
        let audited = AuditedCommand { note: AuditNote::clone(note), command: Box::new(command) };
        let done = self.store.propose(*request, Command::Audited(Box::new(audited))).await?;
        match done.reply {
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Ok(done),
        }
    }

    /// The same, and the state as it is afterwards.
    pub(super) async fn commit_and_see(&self, request: &Request, command: Command) -> Result<(Committed, State)> {
        let done = self.commit(request, command).await?;
        let state = self.see(&done).await?;
        Ok((done, state))
    }

    /// The state after what was committed.
    pub(super) async fn see(&self, done: &Committed) -> Result<State> {
        let state = crate::session::state_at(&self.store, done.revision).await;
        state.ok_or_else(|| ApiError::new(ErrorCode::ServerStopping, "this control node is stopping"))
    }

    /// Has a command committed that has sealed values in it. When the data key they are sealed with was rotated at the same
    /// moment, they are sealed once more from the state as it is by then.
    pub(super) async fn commit_sealed(
        &self,
        request: &Request,
        state: &State,
        build: impl Fn(&State) -> Result<Command>,
    ) -> Result<Committed> {
        let note = |command| AuditedCommand { note: AuditNote::clone(&request.1), command: Box::new(command) };
        let first = Command::Audited(Box::new(note(build(state)?)));
        let done = self.store.propose(request.0, first).await?;
        match done.reply {
            Reply::Refused(refusal) if refusal.code == RefusalCode::Stale => {
                let again = Request(request.part("sealed-again"), request.1.clone());
                let state = self.store.read().await?;
                self.commit(&again, build(&state)?).await
            }
            Reply::Refused(refusal) => Err(refusal.into()),
            _ => Ok(done),
        }
    }

    /// Has the line of a deed that is no command committed before it is done: what cannot be recorded is not done.
    pub(super) async fn record(&self, line: AuditRecord) -> Result<()> {
        self.store.propose(RequestId::NONE, Command::RecordAudit { records: vec![line] }).await?;
        Ok(())
    }
}

/// A name of a body.
pub(super) fn name(field: &str, text: &str) -> Result<Name> {
    Name::new(text).map_err(|e| ApiError::violation(field, field, Rule::Invalid, format!("{field} {e}")))
}
