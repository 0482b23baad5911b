//! How an execution ended, as people and programs see it.

use ring_types::{Outcome, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The recorded end of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExitStatus {
    /// The code; 128 plus the signal when a signal ended it; null when it never ran or nobody knows.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel ended it for using more memory than it was allowed.
    pub oom_killed: bool,
    /// When its process started.
    #[schema(value_type = Option<String>)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>)]
    pub finished_at: Option<Timestamp>,
    /// Name of the node it ran on.
    pub node: Option<String>,
    /// Why there is no code: `node_lost`, `image_not_found` and the like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the runtime said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ExitStatus {
    /// The view of `exit`, which happened on the node called `node`.
    pub fn new(exit: &ring_types::ExitStatus, node: Option<String>) -> Self {
        let mut view = Self {
            code: exit.code(),
            signal: None,
            oom_killed: false,
            started_at: exit.started_at,
            finished_at: Some(exit.finished_at),
            node,
            reason: None,
            message: None,
        };
        match &exit.outcome {
            Outcome::Code(_) => {}
            Outcome::Signal { signal, oom_killed } => {
                view.signal = Some(*signal);
                view.oom_killed = *oom_killed;
            }
            Outcome::NotStarted { cause, message } => {
                view.reason = Some(cause.as_str().to_owned());
                view.message = Some(message.clone());
            }
            Outcome::Unknown(why) => view.reason = Some(why.as_str().to_owned()),
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use ring_types::{NodeId, UnknownExit};

    use super::*;

    fn exit(outcome: Outcome) -> ring_types::ExitStatus {
        ring_types::ExitStatus { outcome, started_at: Some(Timestamp(0)), finished_at: Timestamp(1000), node: NodeId(uuid()) }
    }

    fn uuid() -> uuid::Uuid {
        uuid::Uuid::nil()
    }

    #[test]
    fn a_signal_has_the_code_a_shell_shows() {
        let view = ExitStatus::new(&exit(Outcome::Signal { signal: 9, oom_killed: true }), Some("n1".into()));
        assert_eq!((view.code, view.signal, view.oom_killed), (Some(137), Some(9), true));
    }

    #[test]
    fn an_unknown_end_has_no_code_and_a_reason() {
        let view = ExitStatus::new(&exit(Outcome::Unknown(UnknownExit::NodeLost)), None);
        assert_eq!((view.code, view.reason.as_deref()), (None, Some("node_lost")));
        let json = serde_json::to_value(&view).unwrap();
        assert!(json["code"].is_null());
    }
}
