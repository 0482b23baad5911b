//! What is kept on this host: directories, the configuration file, tokens, the secret key.

mod credentials;
pub(crate) mod edit;
mod file;
mod paths;
mod private;
mod reference;
mod secret_key;

pub use credentials::{Credential, Credentials};
pub use file::{
    AgentSection, ApiSection, CloudHypervisorSection, ConfigFile, ContextSection, DashboardSection, DockerSection,
    GuestImagesSection, GuestNetworkSection, LimitsSection, MembersSection, RuntimeSection, SchedulerSection, ServerSection,
    TelemetrySection, TelemetrySignal, TlsMode, TlsSection, UpgradeSection, WebhooksSection,
};
pub use paths::Paths;
pub use private::write_private;
pub use reference::configuration_reference;
pub use secret_key::{SecretKeyError, create_secret_key, read_secret_key};
