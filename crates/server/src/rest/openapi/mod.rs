//! The description of the API, generated from its handlers and types.

use ring_api::{model, problem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

mod reference;
mod rules;

pub use reference::rest_reference;
use rules::Rules;

use super::routes::{
    apply, audit, authority, cluster, configs, deployments, events, exec, health_checks, join_tokens, keys, login, logs, meta,
    metrics, namespaces, nodes, rebalance, secrets, snapshot, succession, tokens, users, volumes, webhooks,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "ring", description = "Workloads on one host or many. Every control node answers every request."),
    paths(
        deployments::list, apply::apply, deployments::one, deployments::remove, deployments::instances, succession::restart,
        succession::rollback, logs::logs, events::events, exec::exec, health_checks::health_checks, metrics::metrics,
        secrets::list, secrets::put, secrets::one, secrets::remove, keys::progress, keys::rotate,
        configs::list, configs::create, configs::one, configs::replace, configs::remove,
        volumes::list, volumes::create, volumes::one, volumes::remove,
        namespaces::list, namespaces::create, namespaces::one, namespaces::remove, namespaces::prune, audit::namespace,
        login::login, login::logout,
        users::list, users::create, users::me, users::one, users::update, users::remove,
        tokens::list, tokens::create, tokens::one, tokens::revoke, tokens::rotate,
        webhooks::list, webhooks::create, webhooks::one, webhooks::remove, webhooks::test, webhooks::deliveries,
        webhooks::redeliver, webhooks::redeliver_all,
        nodes::own, nodes::list, nodes::one, nodes::change, nodes::remove, rebalance::look, rebalance::begin,
        audit::cluster, authority::rotate, snapshot::save, cluster::status, cluster::members, cluster::promote, cluster::remove, cluster::transfer,
        join_tokens::list, join_tokens::create, join_tokens::revoke,
        meta::healthz, meta::readyz, meta::metrics, meta::openapi, meta::error_entry,
    ),
    components(schemas(
        problem::Problem, model::Deployment, model::Instance, model::ExitStatus, model::LogLine, model::DeploymentEvent,
        model::HealthCheckResult, model::DeploymentMetrics, ring_api::exec::Control,
        model::Secret, model::Config, model::Volume, model::Namespace, model::User, model::Token, model::Node, model::Member,
        model::ClusterStatus, model::JoinToken, model::ApplyReply, model::PlanReply, model::ApplyRequest, model::Health, model::Done, model::AuditEntry, model::Rebalance,
        model::Webhook, model::Delivery, model::Redelivered, model::HookPayload,
    )),
    modifiers(&Bearer, &Rules),
    security(("bearer" = []))
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi.components.get_or_insert_with(Default::default).add_security_scheme("bearer", scheme);
    }
}

/// The description.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Description::openapi()
}

#[cfg(test)]
mod tests {
    use super::super::auth::ROUTES;
    use super::*;

    #[test]
    fn every_route_is_described_and_nothing_else() {
        let document = serde_json::to_value(document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let mut described: Vec<_> = paths
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |m| format!("{} {path}", m.to_uppercase())))
            .collect();
        let mut routes: Vec<_> = ROUTES.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
        described.sort();
        routes.sort();
        assert_eq!(described, routes);
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{method} {path} has no sentence");
            }
        }
    }
}
