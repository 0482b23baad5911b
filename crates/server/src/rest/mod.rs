//! The REST API. Handlers parse, the table of [`auth`] decides who may, and one request is one command is one log entry.

mod app;
mod audit;
mod auth;
mod body;
mod error;
mod limit;
mod openapi;
mod pace;
mod prometheus;
mod read;
mod router;
mod routes;
mod view;
mod write;

pub use app::{App, AppParts};
pub use audit::Recorder;
pub use auth::Uses;
pub(crate) use auth::hash_password;
pub(crate) use error::plain_refused;
pub use limit::CallerLimits;
pub use openapi::rest_reference;
pub use router::Api;
pub(crate) use routes::join_tokens::{join_command, record as join_token_record};
