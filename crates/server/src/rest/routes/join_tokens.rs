//! Tokens that admit hosts.

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{self, Changed, CreateJoinToken, Done};
use ring_state::{Command, JoinToken};
use ring_types::Rule;
use ring_types::{JoinTokenId, Revision, Span, Timestamp};

use crate::clock;
use crate::pki::JoinTokenText;
use crate::rest::App;
use crate::rest::body::{Body, Id, Json};
use crate::rest::error::{ApiError, Result};
use crate::rest::read::View;
use crate::rest::view;
use crate::rest::write::Request;

/// How long a token is good when nothing is said.
const LIFE: Span = Span::seconds(24 * 3600);

/// Join tokens, without their secrets.
#[utoipa::path(get, path = "/cluster/tokens", tag = "cluster", responses((status = 200, body = Vec<model::JoinToken>)))]
pub(in crate::rest) async fn list(view: View) -> Json<Vec<model::JoinToken>> {
    let now = clock::now();
    let good = view.state.join_tokens().filter(|t| !t.revoked && t.expires_at > now && t.uses_left > 0);
    let mut tokens: Vec<_> = good.map(|t| view::join_token(t)).collect();
    tokens.sort_by_key(|t| (t.created_at, t.id));
    Json(tokens)
}

/// Makes a token that admits hosts; the reply has it in clear, once, with the command to type there.
#[utoipa::path(post, path = "/cluster/tokens", tag = "cluster", request_body = CreateJoinToken,
    responses((status = 200, body = model::JoinToken)))]
pub(in crate::rest) async fn create(
    Shared(app): Shared<App>,
    view: View,
    request: Request,
    Body(body): Body<CreateJoinToken>,
) -> Result<Json<Changed<model::JoinToken>>> {
    if body.uses == Some(0) {
        return Err(ApiError::violation("uses", "join_token.uses", Rule::Zero, "uses must be at least 1"));
    }
    let text = app.admission.token(&view.state, view::join_role_of(body.role), request.0)?;
    let command = Command::CreateJoinToken(record(&text, body.uses, body.expires_in));
    let (done, state) = app.commit_and_see(&request, command).await?;
    let made = state.join_token(text.id).ok_or_else(|| ApiError::not_found(ErrorCode::JoinTokenNotFound, text.id))?;
    let object = model::JoinToken {
        join_command: Some(join_command(&text, &crate::services::control_addresses(&state))),
        token: Some(text.to_string()),
        ..view::join_token(made)
    };
    Ok(Json(Changed { object, revision: done.revision.0 }))
}

/// What the state keeps of a token.
pub(crate) fn record(text: &JoinTokenText, uses: Option<u32>, life: Option<Span>) -> JoinToken {
    JoinToken {
        id: text.id,
        hash: text.hash(),
        role: text.role,
        uses_left: uses.unwrap_or(u32::MAX),
        expires_at: clock::now() + life.unwrap_or(LIFE),
        revoked: false,
        created_at: Timestamp(0),
        version: Revision(0),
    }
}

/// What is typed on a host that is to join.
pub(crate) fn join_command(text: &JoinTokenText, addresses: &[String]) -> String {
    let role = view::join_role(text.role);
    format!("ring cluster join {} --role {role} --token {text}", addresses.join(","))
}

/// Takes a join token back.
#[utoipa::path(delete, path = "/cluster/tokens/{id}", tag = "cluster", params(("id" = String, Path)),
    responses((status = 200, body = Done)))]
pub(in crate::rest) async fn revoke(Shared(app): Shared<App>, request: Request, Id(id): Id<JoinTokenId>) -> Result<Json<Done>> {
    let done = app.commit(&request, Command::RevokeJoinToken { id }).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}
