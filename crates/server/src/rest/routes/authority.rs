//! Rotation of the cluster's certificate authority.

use axum::extract::State as Shared;
use ring_api::errors::ErrorCode;
use ring_api::model::{AuthorityPhase, AuthorityRotation, Done};
use ring_api::query;
use ring_state::{CaPhase, CaStep, Command, NewCa, State};

use crate::pki::{Authority, PkiError, TrustStore};
use crate::rest::App;
use crate::rest::body::Json;
use crate::rest::error::{ApiError, Result};
use crate::rest::read::Query;
use crate::rest::write::Request;

/// Hosts named in one reply.
const NAMED: usize = 100;

/// Makes a new authority. Every host learns it, gets a certificate of it, and then the present one is dropped, while everything
/// goes on. With `force` the phase of a rotation under way ends without the hosts it waits for, which have to join again.
#[utoipa::path(post, path = "/cluster/ca/rotate", tag = "cluster", params(("force" = Option<bool>, Query)),
    responses((status = 200, body = Done), (status = 409, body = ring_api::problem::Problem)))]
pub(in crate::rest) async fn rotate(Shared(app): Shared<App>, request: Request, Query(query): Query) -> Result<Json<Done>> {
    let command = if query::flag(&query, "force")? {
        // Which phase ends depends on what is there, and this node's own copy may be behind.
        let state = app.store.read().await?;
        let rotation = state
            .ca_rotation()
            .ok_or_else(|| ApiError::new(ErrorCode::ObjectConflict, "no rotation of the authority is under way"))?;
        Command::StepCa(CaStep { rotation: rotation.id, phase: rotation.phase, force: true })
    } else {
        let next = Authority::create(app.cluster).map_err(ApiError::internal)?;
        let key_sealed = next.seal_key(&app.secret).map_err(ApiError::internal)?;
        Command::RotateCa(NewCa { certificate: next.certificate_pem().to_owned(), key_sealed })
    };
    let done = app.commit(&request, command).await?;
    Ok(Json(Done { revision: done.revision.0 }))
}

/// The fingerprint of the authority that signs, and the rotation under way.
pub(super) fn shown(state: &State) -> Result<(String, Option<AuthorityRotation>)> {
    let fingerprint = |pem: &str| Ok::<_, PkiError>(TrustStore::from_pem(pem)?.fingerprints()[0].to_string());
    let signing = state.signing_authority().map(|(certificate, _)| fingerprint(certificate)).transpose();
    let signing = signing.map_err(ApiError::internal)?.unwrap_or_default();
    let Some(rotation) = state.ca_rotation() else { return Ok((signing, None)) };
    let (members, nodes) = state.ca_missing();
    let members = members.iter().filter_map(|id| state.member(*id)).map(|member| member.name.to_string());
    let nodes = nodes.iter().filter_map(|id| state.node(*id)).map(|node| node.name.to_string());
    let missing: Vec<_> = members.chain(nodes).collect();
    let shown = AuthorityRotation {
        phase: match rotation.phase {
            CaPhase::Trust => AuthorityPhase::Trust,
            CaPhase::Renew => AuthorityPhase::Renew,
        },
        next: fingerprint(&rotation.certificate).map_err(ApiError::internal)?,
        started_at: rotation.started_at,
        missing_count: missing.len() as u64,
        missing: missing.into_iter().take(NAMED).collect(),
    };
    Ok((signing, Some(shown)))
}
