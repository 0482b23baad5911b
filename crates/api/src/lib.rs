//! What crosses the REST interface: its objects, the manifest, and the client.
//!
//! One definition for both ends: the command line reads a manifest with the same code as the server, and every reply has a
//! type here. This crate knows neither the replicated state nor how the server works.

#[cfg(feature = "client")]
pub mod client;
pub mod errors;
pub mod exec;
pub mod manifest;
pub mod model;
pub mod problem;
pub mod query;
#[cfg(feature = "tls")]
pub mod tls;

/// Request header with which a repeated POST, PUT or DELETE is recognised: a UUID, made once per intended change.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Reply header: the instances whose output is not in the reply, as JSON ([`model::LogGaps`]).
pub const LOGS_INCOMPLETE: &str = "ring-logs-incomplete";

/// Reply header: the revision a read reflects.
pub const REVISION: &str = "ring-revision";

/// Reply header of a stale read: milliseconds since the answering node last knew that it was up to date.
pub const STALE_AGE: &str = "ring-stale-age";

/// Reply header: the name of the control node that answered.
pub const SERVED_BY: &str = "ring-served-by";

/// Largest request body the server reads, bytes.
pub const MAX_BODY: usize = 4 << 20;

/// Port of the REST interface.
pub const API_PORT: u16 = 3030;

/// Port nodes speak to each other on.
pub const CLUSTER_PORT: u16 = 3031;
