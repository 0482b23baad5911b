//! What holds for many routes is said once: who may call them, and the errors they share.

use axum::http::Method;
use utoipa::Modify;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::schema::AnyOfBuilder;
use utoipa::openapi::{Content, OpenApi, Ref, RefOr, Response, ResponseBuilder, Schema};

use super::super::auth::{Need, need};

/// Name of the permission in the description of an operation.
pub(super) const PERMISSION: &str = "x-ring-permission";

/// Adds to every operation what it needs, from the same table the check reads, and the errors that follow from its form.
pub(super) struct Rules;

impl Modify for Rules {
    fn modify(&self, openapi: &mut OpenApi) {
        openapi.components.iter_mut().flat_map(|all| all.schemas.values_mut()).for_each(either);
        for (path, item) in &mut openapi.paths.paths {
            for (method, operation) in operations(item) {
                let needed = need(&method, path).unwrap_or(Need::Nothing);
                let permission = needed.permission();
                operation.extensions = Some(ExtensionsBuilder::new().add(PERMISSION, permission).build());
                for status in errors(&method, path, needed) {
                    operation.responses.responses.entry(status.to_string()).or_insert_with(|| RefOr::T(problem(status)));
                }
                operation.responses.responses.values_mut().for_each(media_type);
            }
        }
    }
}

/// An object that is one of several may fit more than one of them: those that have every field of another.
fn either(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::OneOf(one)) = schema else { return };
    if one.discriminator.is_some() || !one.items.iter().all(|item| matches!(item, RefOr::Ref(_))) {
        return;
    }
    let any = one.items.drain(..).fold(AnyOfBuilder::new(), AnyOfBuilder::item);
    *schema = RefOr::T(Schema::AnyOf(any.description(one.description.take()).build()));
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let each = [
        (Method::GET, &mut item.get),
        (Method::POST, &mut item.post),
        (Method::PUT, &mut item.put),
        (Method::PATCH, &mut item.patch),
        (Method::DELETE, &mut item.delete),
    ];
    each.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// The errors a route can have because of what it is.
fn errors(method: &Method, path: &str, needed: Need) -> Vec<u16> {
    let mut found = vec![400, 429, 500, 503, 504];
    if path.contains('{') {
        found.push(404);
    }
    if !matches!(needed, Need::Nothing) {
        found.extend([401, 403, 404]);
    }
    if method != Method::GET {
        found.extend([408, 409, 413, 422]);
    }
    found
}

fn problem(status: u16) -> Response {
    let about = match status {
        400 => "The request cannot be read.",
        401 => "No token, or one that is not known or over.",
        403 => "The caller may not.",
        404 => "It is not there, or the caller may not see it.",
        408 => "The body did not come in time.",
        409 => "It does not fit what is there.",
        413 => "The request is too large.",
        422 => "Rules are broken; each is listed.",
        429 => "Too many requests; `Retry-After` says when to come again.",
        500 => "The server failed.",
        504 => "No answer in time.",
        _ => "The cluster cannot answer now; `Retry-After` says when to come again.",
    };
    let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
    ResponseBuilder::new().description(about).content(ring_api::problem::MEDIA_TYPE, Content::new(Some(schema))).build()
}

/// Errors have a media type of their own.
fn media_type(response: &mut RefOr<Response>) {
    let RefOr::T(response) = response else { return };
    let names_problem =
        |content: &Content| matches!(&content.schema, Some(RefOr::Ref(r)) if r.ref_location.ends_with("/Problem"));
    if response.content.get("application/json").is_some_and(names_problem)
        && let Some(content) = response.content.shift_remove("application/json")
    {
        response.content.insert(ring_api::problem::MEDIA_TYPE.to_owned(), content);
    }
}
