//! Which releases may read the log: commands and rows of a level are written when every control node speaks it.

use ring_types::{Level, Outcome, UnknownExit};

use crate::{Command, Refusal, RefusalCode, Row, State};

/// The level this release speaks. It grows with each release whose log entries or rows an earlier one would not understand:
///
/// 1. Everything before there were levels.
/// 2. Drains that end when the agent comes back: [`crate::Drain::until_return`]; instances that are stopped by an agent that is cut
///    off: [`ring_types::DeploymentSpec::stop_on_disconnect`]; virtual machines that are lost: [`UnknownExit::VmLost`].
/// 3. What comes late: a report says under which registration, [`Command::Report::epoch`], a node's silence does not begin before it
///    was in contact, [`REMEMBERS_CONTACT`], and a job that is over gets no instance, [`JOBS_STAY_OVER`].
pub const LEVEL: Level = Level(3);

/// From this level on a report says under which registration of its node it was made.
pub const REPORTS_SAY_EPOCH: Level = Level(3);

/// From this level on a node in contact carries when that was recorded. Applied by the level of the state, which is the same for all
/// who apply an entry.
pub(crate) const REMEMBERS_CONTACT: Level = Level(3);

/// From this level on no instance is made for a job that was told to be over. By the level of the state, too.
pub(crate) const JOBS_STAY_OVER: Level = Level(3);

/// The row of the cluster's level. There is one, from level 2 on: a release before that does not know the table, and so opens no
/// data it would not understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterLevel {
    /// The level.
    pub level: Level,
}

impl Command {
    /// The level at which a cluster has to be for this to be written into its log, and what for, in words.
    pub fn needs(&self) -> (Level, &'static str) {
        match self {
            Self::Audited(audited) => audited.command.needs(),
            Self::UpdateNode(update) if update.until_return => (Level(2), "a drain that ends when the agent comes back"),
            Self::Apply { deployments, .. } if deployments.iter().any(|one| one.spec.stop_on_disconnect.is_some()) => {
                (Level(2), "stop_on_disconnect")
            }
            Self::RegisterNode { info, .. } => (info.level.min(Level(2)), "an agent's level"),
            Self::SetNodeStatus { changes } if changes.iter().any(|change| change.silent_since.is_some()) => {
                (Level(2), "since when a node is silent")
            }
            Self::Report { epoch: Some(_), .. } => (REPORTS_SAY_EPOCH, "under which registration a report was made"),
            Self::Report { reports, .. } if reports.iter().any(|report| report.cut_off) => {
                (Level(2), "that an agent stopped an instance since it was cut off")
            }
            Self::Report { reports, .. }
                if reports.iter().any(|report| report.outcome() == Some(&Outcome::Unknown(UnknownExit::VmLost))) =>
            {
                (Level(2), "that a virtual machine was lost")
            }
            _ => (Level::FIRST, ""),
        }
    }
}

impl State {
    /// The level the cluster is at.
    pub fn level(&self) -> Level {
        self.level
    }

    /// There is none at the first level.
    pub(crate) fn level_row(&self) -> Option<Row> {
        (self.level > Level::FIRST).then_some(Row::Level(ClusterLevel { level: self.level }))
    }

    /// Why a command cannot be written into the log yet; None when it can.
    pub fn too_early(&self, command: &Command) -> Option<Refusal> {
        let (needed, what) = command.needs();
        (needed > self.level).then(|| {
            let message = format!(
                "{what} needs a cluster at level {needed}, and this one is at level {}: install this release on every control node; \
                 `ring cluster status` names those that do not have it",
                self.level
            );
            Refusal::new(RefusalCode::Conflict, message)
        })
    }
}
