//! The health check that Docker makes by itself: asked for with the container, read from what the engine says of it.

use bollard::models::{ContainerInspectResponse, Health, HealthConfig, HealthStatusEnum, HealthcheckResult};
use ring_runtime::{NativeHealth, NativeProbe, NativeVerdict};
use ring_types::{CheckKind, DeploymentSpec, RuntimeKind, Span};

use crate::state::time;

/// The check of a container. Podman makes its checks with timers of systemd, which a host may not have: there is none there,
/// and the agent runs the command itself.
pub(crate) fn config(spec: &DeploymentSpec) -> Option<HealthConfig> {
    let (_, check) = spec.native_check().filter(|_| spec.runtime == RuntimeKind::Docker)?;
    let CheckKind::Command { command } = &check.kind else { return None };
    Some(HealthConfig {
        test: Some(vec!["CMD-SHELL".to_owned(), command.clone()]),
        interval: nanoseconds(check.interval),
        timeout: nanoseconds(check.timeout),
        retries: Some(check.threshold.into()),
        start_period: nanoseconds(check.start_period),
        start_interval: None,
    })
}

fn nanoseconds(span: Span) -> Option<i64> {
    i64::try_from(span.0).ok()?.checked_mul(1_000_000)
}

/// What the engine says; None when it checks nothing.
pub(crate) fn native(container: &ContainerInspectResponse) -> Option<NativeHealth> {
    let Health { status, log, .. } = container.state.as_ref()?.health.clone()?;
    let verdict = match status? {
        HealthStatusEnum::HEALTHY => NativeVerdict::Healthy,
        HealthStatusEnum::UNHEALTHY => NativeVerdict::Unhealthy,
        HealthStatusEnum::STARTING => NativeVerdict::Starting,
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => return None,
    };
    Some(NativeHealth { verdict, probes: log.unwrap_or_default().into_iter().filter_map(probe).collect() })
}

fn probe(result: HealthcheckResult) -> Option<NativeProbe> {
    let started_at = time(result.start.as_deref())?;
    Some(NativeProbe {
        started_at,
        finished_at: time(result.end.as_deref()).unwrap_or(started_at),
        code: result.exit_code.and_then(|code| i32::try_from(code).ok()).unwrap_or(-1),
        output: result.output.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerState;
    use ring_types::{CheckAction, HealthCheck, Kind, Name};

    use super::*;

    fn spec(runtime: RuntimeKind, readiness: bool) -> DeploymentSpec {
        let name = |text| Name::new(text).unwrap();
        let check = HealthCheck {
            kind: CheckKind::Command { command: "curl -f localhost".to_owned() },
            interval: Span(1_500),
            timeout: Span::seconds(2),
            threshold: 4,
            on_failure: CheckAction::Restart,
            readiness,
            min_healthy_time: Span::seconds(10),
            start_period: Span::seconds(30),
        };
        let spec = DeploymentSpec::new(name("shop"), name("api"), Kind::Worker, runtime, "app:1");
        DeploymentSpec { health_checks: vec![check], ..spec }
    }

    #[test]
    fn a_readiness_command_is_the_engines_to_run() {
        let config = config(&spec(RuntimeKind::Docker, true)).unwrap();
        assert_eq!(config.test.unwrap(), ["CMD-SHELL", "curl -f localhost"]);
        assert_eq!((config.interval, config.timeout), (Some(1_500_000_000), Some(2_000_000_000)));
        assert_eq!((config.retries, config.start_period), (Some(4), Some(30_000_000_000)));
        assert_eq!(super::config(&spec(RuntimeKind::Docker, false)), None);
        assert_eq!(super::config(&spec(RuntimeKind::Podman, true)), None);
    }

    #[test]
    fn what_the_engine_says_is_read() {
        let inspected = |health| ContainerInspectResponse {
            state: Some(ContainerState { health, ..ContainerState::default() }),
            ..ContainerInspectResponse::default()
        };
        let says = |status, log| native(&inspected(Some(Health { status: Some(status), failing_streak: None, log })));
        assert_eq!(native(&inspected(None)), None);
        assert_eq!(says(HealthStatusEnum::NONE, None), None);
        let starting = NativeHealth { verdict: NativeVerdict::Starting, probes: Vec::new() };
        assert_eq!(says(HealthStatusEnum::STARTING, None), Some(starting));
        let result = HealthcheckResult {
            start: Some("2026-04-12T13:20:00.5+02:00".to_owned()),
            end: Some("2026-04-12T13:20:00.75+02:00".to_owned()),
            exit_code: Some(1),
            output: Some("no\n".to_owned()),
        };
        let started_at = "2026-04-12T11:20:00.5Z".parse().unwrap();
        let probe = NativeProbe { started_at, finished_at: started_at + Span(250), code: 1, output: "no\n".to_owned() };
        let unhealthy = NativeHealth { verdict: NativeVerdict::Unhealthy, probes: vec![probe] };
        assert_eq!(says(HealthStatusEnum::UNHEALTHY, Some(vec![result])), Some(unhealthy));
    }
}
