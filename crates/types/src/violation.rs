//! A broken rule, and the stable codes of all of them.

use serde::{Deserialize, Serialize};

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Violation {
    /// Where: `deployments.web.ports[1].published`.
    pub property_path: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Stable code, the field and the rule: `deployment.ports.published.duplicate`.
    pub code: String,
}

impl Violation {
    /// A violation at `path`; `field` is the same place as codes name it, without labels and numbers.
    pub fn new(path: impl Into<String>, field: &str, rule: Rule, message: impl Into<String>) -> Self {
        Self { property_path: path.into(), message: message.into(), code: format!("{field}.{}", rule.as_str()) }
    }
}

macro_rules! rules {
    ($($rule:ident = $word:literal: $meaning:literal, $next:literal;)+) => {
        /// What can be wrong with a field: the last word of a violation's code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Rule {
            $(#[doc = $meaning] $rule,)+
        }

        impl Rule {
            /// All of them, by their words.
            pub const ALL: &[Self] = &[$(Self::$rule),+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$rule => $word),+ }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$rule => $meaning),+ }
            }

            /// What to do next.
            pub const fn next_step(self) -> &'static str {
                match self { $(Self::$rule => $next),+ }
            }
        }
    };
}

rules! {
    AboveLimit = "above_limit": "A request is above its limit.", "Lower the request or raise the limit.";
    Absolute = "absolute": "A path that has to be absolute is not.", "Begin it with `/`.";
    Ambiguous = "ambiguous": "Several fields say different things where one may.", "Keep one of them.";
    Cycle = "cycle": "Deployments wait for each other in a circle.", "Take one `depends_on` of the circle away.";
    Duplicate = "duplicate": "The same thing is there twice.", "Remove or rename one of them.";
    Empty = "empty": "A name is empty.", "Give it a name.";
    Invalid = "invalid": "A value is not one the field takes.", "Write what the message says is wanted.";
    Job = "job": "The field is for workers, and this is a job.", "Remove the field, or make it a worker.";
    Length = "length": "A text is too short or too long.", "Keep to the length the message gives.";
    Max = "max": "The upper bound is below the lower one.", "Raise `max` or lower `min`.";
    Min = "min": "The lower bound is too low.", "Use at least 1.";
    Mismatch = "mismatch": "The field contradicts the object it names.", "Do what the message says.";
    Nodes = "nodes": "More replicas publish the port than nodes can take them: a port is published once on a node.",
        "Lower `replicas`, add nodes, widen `placement`, or publish no port.";
    NotInlined = "not_inlined": "A config was sent with `files`, which only the command line reads.",
        "Send the contents as `data`, or use `ring apply`.";
    NotOfType = "not_of_type": "The field belongs to another `type` of the same object.", "Remove it, or change `type`.";
    Ports = "ports": "Ports cannot be published with network mode `host`: the instance has the host's ports.",
        "Remove `ports`, or use mode `bridge`.";
    Range = "range": "A number is out of its range.", "Use one between the bounds of the message.";
    Replicas = "replicas": "Only one replica is possible with the other fields of this deployment.",
        "Set `replicas` to 1, or change the field the code names.";
    Required = "required": "A field that has to be there is missing.", "Add it.";
    TargetCpu = "target_cpu": "The aim of the autoscaling is no share of a processor.",
        "Use a number above 0 and below 100.";
    TooLarge = "too_large": "A value is larger than is possible.", "Keep to the size the message gives.";
    TooMany = "too_many": "There are more of these than are allowed.", "Keep to the number the message gives.";
    Type = "type": "The value is of another kind: a list where a map is wanted, and the like.",
        "Write it as the message says.";
    Unknown = "unknown": "There is no such word.", "Use one of those the message names.";
    UnknownField = "unknown_field": "There is no such field.", "Correct its name: the message gives the nearest.";
    Unset = "unset": "A variable in a name, namespace, image or map key has no value.",
        "Set it in the environment or in `--env-file`, or write `${NAME:-default}`.";
    Worker = "worker": "The field is for jobs, and this is a worker.", "Remove the field, or make it a job.";
    Zero = "zero": "A number that has to be above zero is not.", "Use at least 1.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_single_and_in_order() {
        let words: Vec<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
        assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
        assert!(words.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '_')), "{words:?}");
    }

    #[test]
    fn a_code_is_the_field_and_the_rule() {
        let violation = Violation::new("deployments.web.image", "deployment.image", Rule::Required, "image is required");
        assert_eq!(violation.code, "deployment.image.required");
    }
}
