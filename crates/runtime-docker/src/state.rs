//! From what an engine says of a container to what is observed.

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, EndpointSettings};
use ring_runtime::Observed;
use ring_types::{Outcome, Timestamp, UnknownExit};

use crate::outages::Outages;

/// Signals that end a process unless it handles them.
const FATAL: [i32; 24] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, 34];

/// An engine that was killed between a process's end and writing it down finds nothing of the process when it comes up, and closes
/// its books with this code and the time of its own start. A process that ended with it meanwhile looks the same.
const MADE_UP: i32 = 255;

/// What else is known when a container is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The time of day.
    pub(crate) now: Timestamp,
    /// When the engine's host was started; None when that is not known.
    pub(crate) boot: Option<Timestamp>,
    /// When the engine did not answer.
    pub(crate) outages: Outages,
}

/// How a container is.
pub(crate) fn observed(container: &ContainerInspectResponse, moment: Moment) -> Observed {
    let Some(state) = &container.state else { return Observed::Absent };
    let started_at = time(state.started_at.as_deref());
    if state.running == Some(true) || state.paused == Some(true) || state.restarting == Some(true) {
        return Observed::Running { started_at: started_at.unwrap_or(moment.now), address: address(container) };
    }
    match (started_at, refused(state)) {
        (None, Some(code)) => Observed::Exited { outcome: Outcome::Code(code), started_at: None, finished_at: moment.now },
        (None, None) => Observed::Created,
        (Some(started), _) => {
            let finished = time(state.finished_at.as_deref());
            let outcome = outcome(state, started, finished, moment);
            // The start is noted a moment after it happened: a process that ends at once has then ended before it.
            Observed::Exited { outcome, started_at, finished_at: finished.unwrap_or(moment.now).max(started) }
        }
    }
}

/// Was this container ever started? One that was must not be started again.
pub(crate) fn was_started(state: &ContainerState) -> bool {
    let alive = state.running == Some(true) || state.paused == Some(true) || state.restarting == Some(true);
    let over = matches!(state.status, Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD));
    alive || over || time(state.started_at.as_deref()).is_some()
}

/// The code of a command that could not be executed: the engine keeps it although nothing was started.
pub(crate) fn refused(state: &ContainerState) -> Option<i32> {
    let failed = state.error.as_deref().is_some_and(|error| !error.is_empty());
    state.exit_code.filter(|code| failed && matches!(code, 126 | 127)).and_then(|code| i32::try_from(code).ok())
}

fn outcome(state: &ContainerState, started: Timestamp, finished: Option<Timestamp>, moment: Moment) -> Outcome {
    let code = state.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(255);
    if matches!(code, 0 | 255) && ended_unseen(started, finished, moment.boot) {
        return Outcome::Unknown(UnknownExit::HostRestarted);
    }
    if code == MADE_UP && finished.is_none_or(|finished| moment.outages.cover(finished)) {
        return Outcome::Unknown(UnknownExit::InstanceVanished);
    }
    match code - 128 {
        9 if state.oom_killed == Some(true) => Outcome::Signal { signal: 9, oom_killed: true },
        signal if FATAL.contains(&signal) => Outcome::Signal { signal, oom_killed: false },
        _ => Outcome::Code(code),
    }
}

/// An engine that comes up after the host went down under it closes its books on what ran with a code of its own, 0 or 255,
/// which is not how the process ended. It shows in the times: begun before the host's start, ended after it.
fn ended_unseen(started: Timestamp, finished: Option<Timestamp>, boot: Option<Timestamp>) -> bool {
    boot.is_some_and(|boot| started < boot && finished.is_none_or(|finished| finished >= boot))
}

/// Its address in the network of its namespace.
fn address(container: &ContainerInspectResponse) -> Option<String> {
    let networks = container.network_settings.as_ref()?.networks.as_ref()?;
    let of = |settings: &EndpointSettings| settings.ip_address.clone().filter(|address| !address.is_empty());
    let ring = networks.iter().find(|(name, _)| name.starts_with("ring_")).and_then(|(_, settings)| of(settings));
    ring.or_else(|| networks.values().find_map(of))
}

/// A time of the engine, which writes the year 1 for "never".
pub(crate) fn time(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok().filter(|time: &Timestamp| time.0 > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outages::Watched;

    const MOMENT: Moment = Moment { now: Timestamp(9_000_000_000_000), boot: None, outages: Outages::NONE };
    const NEVER: &str = "0001-01-01T00:00:00Z";
    const STARTED: &str = "2026-04-12T13:20:00.123456789Z";
    const FINISHED: &str = "2026-04-12T13:20:05Z";

    fn container(status: ContainerStateStatusEnum, code: i64, started: &str, finished: &str) -> ContainerInspectResponse {
        let state = ContainerState {
            status: Some(status),
            running: Some(status == ContainerStateStatusEnum::RUNNING),
            exit_code: Some(code),
            started_at: Some(started.to_owned()),
            finished_at: Some(finished.to_owned()),
            ..ContainerState::default()
        };
        ContainerInspectResponse { state: Some(state), ..ContainerInspectResponse::default() }
    }

    fn ended(code: i64, oom: bool, moment: Moment) -> Outcome {
        let mut container = container(ContainerStateStatusEnum::EXITED, code, STARTED, FINISHED);
        container.state.as_mut().unwrap().oom_killed = Some(oom);
        let Observed::Exited { outcome, .. } = observed(&container, moment) else { panic!("not ended") };
        outcome
    }

    #[test]
    fn codes_and_signals_are_told_apart_as_documented() {
        let signal = |signal, oom_killed| Outcome::Signal { signal, oom_killed };
        let cases = [
            (0, false, Outcome::Code(0)),
            (0, true, Outcome::Code(0)),
            (1, false, Outcome::Code(1)),
            (125, false, Outcome::Code(125)),
            (127, false, Outcome::Code(127)),
            (128, false, Outcome::Code(128)),
            (134, false, signal(6, false)),
            (137, false, signal(9, false)),
            (137, true, signal(9, true)),
            (139, false, signal(11, false)),
            (143, false, signal(15, false)),
            (147, false, Outcome::Code(147)),
            (255, false, Outcome::Code(255)),
        ];
        for (code, oom, expected) in cases {
            assert_eq!(ended(code, oom, MOMENT), expected, "code {code}, oom {oom}");
        }
    }

    #[test]
    fn an_end_that_the_host_did_not_survive_is_unknown() {
        let boot = |text: &str| Moment { boot: Some(text.parse().unwrap()), ..MOMENT };
        let between = boot("2026-04-12T13:20:03Z");
        assert_eq!(ended(255, false, between), Outcome::Unknown(UnknownExit::HostRestarted));
        assert_eq!(ended(0, false, between), Outcome::Unknown(UnknownExit::HostRestarted));
        assert_eq!(ended(7, false, between), Outcome::Code(7));
        assert_eq!(ended(0, false, boot("2026-04-12T13:00:00Z")), Outcome::Code(0));
        assert_eq!(ended(0, false, boot("2026-04-12T14:00:00Z")), Outcome::Code(0));
    }

    #[test]
    fn a_code_that_an_engine_makes_up_when_it_comes_back_is_unknown() {
        let watched = Watched::default();
        watched.silent("2026-04-12T13:20:03Z".parse().unwrap());
        watched.back("2026-04-12T13:20:06Z".parse().unwrap());
        let outage = Moment { outages: watched.so_far(), ..MOMENT };
        assert_eq!(ended(255, false, outage), Outcome::Unknown(UnknownExit::InstanceVanished));
        assert_eq!(ended(7, false, outage), Outcome::Code(7), "kept for the engine by its helpers");
        let later = Watched::default();
        later.silent("2026-04-12T14:00:00Z".parse().unwrap());
        assert_eq!(ended(255, false, Moment { outages: later.so_far(), ..MOMENT }), Outcome::Code(255), "ended before");
    }

    #[test]
    fn a_container_that_never_started_is_created_unless_its_command_was_refused() {
        let mut made = container(ContainerStateStatusEnum::CREATED, 0, NEVER, NEVER);
        assert_eq!(observed(&made, MOMENT), Observed::Created);
        assert!(!was_started(made.state.as_ref().unwrap()));
        let state = made.state.as_mut().unwrap();
        (state.exit_code, state.error) = (Some(128), Some("port is already allocated".to_owned()));
        assert_eq!(observed(&made, MOMENT), Observed::Created);
        made.state.as_mut().unwrap().exit_code = Some(127);
        let expected = Observed::Exited { outcome: Outcome::Code(127), started_at: None, finished_at: MOMENT.now };
        assert_eq!(observed(&made, MOMENT), expected);
    }

    #[test]
    fn times_are_the_engines() {
        let ended = container(ContainerStateStatusEnum::EXITED, 0, STARTED, FINISHED);
        let (started, finished) = (STARTED.parse().unwrap(), FINISHED.parse().unwrap());
        let expected = Observed::Exited { outcome: Outcome::Code(0), started_at: Some(started), finished_at: finished };
        assert_eq!(observed(&ended, MOMENT), expected);
        assert!(was_started(ended.state.as_ref().unwrap()));
        let running = container(ContainerStateStatusEnum::RUNNING, 0, STARTED, NEVER);
        assert_eq!(observed(&running, MOMENT), Observed::Running { started_at: started, address: None });
    }
}
