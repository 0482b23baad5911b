//! What webhooks are told of, and which of it one asks for.

use std::fmt;
use std::str::FromStr;

use crate::status::words;

/// What a webhook can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookKind {
    /// A deployment was made, or its status is another.
    StatusChanged,
    /// A health check of an instance began to fail.
    HealthCheckFailed,
    /// A rolling update began, was done, failed or was called off.
    RollingUpdate,
    /// A deployment is to have another number of instances.
    Scaled,
    /// A deployment got a status that says that something is wrong.
    Error,
    /// A host that runs work joined, was removed, or its contact changed.
    NodeStatusChanged,
    /// Another control node leads.
    LeaderChanged,
    /// Somebody asked for a delivery to try a webhook.
    Test,
}

words!(HookKind {
    StatusChanged = "deployment.status_changed",
    HealthCheckFailed = "deployment.health_check_failed",
    RollingUpdate = "deployment.rolling_update",
    Scaled = "deployment.scaled",
    Error = "deployment.error",
    NodeStatusChanged = "node.status_changed",
    LeaderChanged = "cluster.leader_changed",
    Test = "webhook.test",
});

impl HookKind {
    /// The word before the point: `deployment`, `node`, `cluster` or `webhook`.
    pub fn family(self) -> &'static str {
        self.as_str().split('.').next().unwrap_or_default()
    }

    /// Those a webhook can ask for. A test goes to the webhook it is of, whatever that asks for.
    pub fn offered() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|kind| *kind != Self::Test)
    }
}

/// Which kinds a webhook asks for: one, a family, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventFilter {
    /// `*`
    All,
    /// `family.*`, with any kind of that family.
    Family(&'static str),
    /// One kind.
    Kind(HookKind),
}

impl EventFilter {
    /// Does it ask for this kind?
    pub fn takes(self, kind: HookKind) -> bool {
        match self {
            Self::All => true,
            Self::Family(family) => kind.family() == family,
            Self::Kind(only) => kind == only,
        }
    }

    /// Every filter there is, as it is written.
    pub fn known() -> Vec<String> {
        let mut families: Vec<_> = HookKind::offered().map(|kind| format!("{}.*", kind.family())).collect();
        families.dedup();
        let kinds = HookKind::offered().map(|kind| kind.as_str().to_owned());
        kinds.chain(families).chain(["*".to_owned()]).collect()
    }
}

impl fmt::Display for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Family(family) => write!(f, "{family}.*"),
            Self::Kind(kind) => f.write_str(kind.as_str()),
        }
    }
}

impl FromStr for EventFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        let family = text.strip_suffix(".*");
        let found = match family {
            Some(family) => HookKind::offered().map(HookKind::family).find(|known| *known == family).map(Self::Family),
            None => HookKind::offered().find(|kind| kind.as_str() == text).map(Self::Kind),
        };
        found.ok_or_else(|| format!("'{text}' is not one of {}", Self::known().join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_what_it_says() {
        let takes = |filter: &str, kind| filter.parse::<EventFilter>().unwrap().takes(kind);
        for kind in HookKind::offered() {
            assert!(takes("*", kind) && takes(kind.as_str(), kind), "{kind}");
            assert_eq!(takes("deployment.*", kind), kind.as_str().starts_with("deployment."), "{kind}");
            assert_eq!(takes("node.*", kind), kind == HookKind::NodeStatusChanged, "{kind}");
            assert_eq!(takes("deployment.scaled", kind), kind == HookKind::Scaled, "{kind}");
        }
    }

    #[test]
    fn every_filter_reads_back_and_nothing_else_does() {
        for text in EventFilter::known() {
            assert_eq!(text.parse::<EventFilter>().unwrap().to_string(), text);
        }
        for text in ["", "deployment", "deployment.", "**", "*.scaled", "webhook.*", "webhook.test", "deploy.*", "Deployment.*"] {
            assert!(text.parse::<EventFilter>().is_err(), "{text}");
        }
    }
}
