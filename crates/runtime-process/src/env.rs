//! The order a supervisor gets, and the environment a workload gets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::Record;
use crate::vault::Content;

/// Where programs are looked for when the workload's environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a supervisor reads from its standard input: never on disk and never on a command line, as the environment may hold
/// secrets.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) record: Record,
    pub(crate) environment: BTreeMap<String, String>,
    /// Contents of its files.
    #[serde(default)]
    pub(crate) files: Vec<Content>,
}

/// What a supervisor answers on its standard output, one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// The workload has been executed, or the attempt ended; the records say how.
    Done,
    /// It was executed before, by another supervisor.
    Already,
    /// It was not executed, for certain: the records could not be made.
    Refused(String),
}

/// The environment of the workload: its own, over a `PATH` and a `HOME`. Nothing of the agent's.
pub(crate) fn complete(own: &BTreeMap<String, String>, home: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([("PATH".to_owned(), PATH.to_owned()), ("HOME".to_owned(), home.to_owned())]);
    all.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workload_has_the_last_word_on_its_environment() {
        let own = BTreeMap::from([("PATH".to_owned(), "/opt".to_owned()), ("A".to_owned(), "1".to_owned())]);
        let all = complete(&own, "/home");
        assert_eq!(all.get("PATH").unwrap(), "/opt");
        assert_eq!(all.get("HOME").unwrap(), "/home");
        assert_eq!(all.len(), 3);
    }
}
