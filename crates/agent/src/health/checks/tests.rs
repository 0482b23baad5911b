//! Tables of what probes add up to, and what holds for any probes.

use proptest::prelude::*;
use ring_types::{CheckAction, CheckKind};

use super::*;

fn spec(readiness: bool) -> HealthCheck {
    HealthCheck {
        kind: CheckKind::Tcp { port: 1 },
        interval: Span::seconds(2),
        timeout: Span::seconds(1),
        threshold: 3,
        on_failure: CheckAction::Restart,
        readiness,
        min_healthy_time: Span::seconds(10),
        start_period: Span::ZERO,
    }
}

fn held(ready: bool, failing: &[u32]) -> Health {
    let failing = failing.iter().map(|check| FailingCheck { check: *check, message: "before".into() });
    Health { ready, failing: failing.collect() }
}

fn seen(healthy: bool) -> Seen {
    Seen { healthy, message: if healthy { "well" } else { "refused" }.into() }
}

/// One probe of check 0 that takes no time.
fn probe(checks: &mut Checks, at: u64, healthy: bool) -> Health {
    let at = Span(at);
    checks.saw(0, (at, at), &seen(healthy));
    checks.health(at)
}

fn fails(health: &Health) -> Vec<u32> {
    health.failing.iter().map(|failing| failing.check).collect()
}

#[test]
fn the_threshold_counts_failures_in_a_row() {
    let mut checks = Checks::new(&[spec(false)], Span::ZERO, None);
    let said: Vec<_> = [false, false, true, false, false, false, false, true]
        .into_iter()
        .enumerate()
        .map(|(n, healthy)| !probe(&mut checks, n as u64 * 2_000, healthy).failing.is_empty())
        .collect();
    assert_eq!(said, [false, false, false, false, false, true, true, false]);
}

#[test]
fn the_first_failure_that_counts_is_what_is_told() {
    let mut checks = Checks::new(&[spec(false)], Span::ZERO, None);
    for message in ["one", "two", "three", "four"] {
        checks.saw(0, (Span::ZERO, Span::ZERO), &Seen { healthy: false, message: message.into() });
    }
    assert_eq!(checks.health(Span::ZERO).failing, [FailingCheck { check: 0, message: "three".into() }]);
}

#[test]
fn failures_that_began_in_the_start_period_do_not_count() {
    let check = HealthCheck { start_period: Span::seconds(5), threshold: 2, ..spec(false) };
    let mut checks = Checks::new(&[check], Span::ZERO, None);
    for at in [0, 2_000, 4_999] {
        assert_eq!(fails(&probe(&mut checks, at, false)), [0; 0], "at {at}");
    }
    // It began in time, however late it failed.
    checks.saw(0, (Span(4_999), Span(7_000)), &seen(false));
    assert_eq!(fails(&probe(&mut checks, 7_000, false)), [0; 0]);
    assert_eq!(fails(&probe(&mut checks, 9_000, false)), [0]);
}

#[test]
fn the_start_period_does_not_keep_what_is_not_fit_for_use_ready() {
    let check = HealthCheck { start_period: Span::seconds(100), min_healthy_time: Span::ZERO, ..spec(true) };
    let mut checks = Checks::new(&[check], Span::ZERO, None);
    assert!(probe(&mut checks, 1_000, true).ready);
    for (at, ready) in [(2_000, true), (3_000, true), (4_000, false)] {
        let health = probe(&mut checks, at, false);
        assert_eq!((health.ready, fails(&health).len()), (ready, 0), "at {at}");
    }
}

#[test]
fn readiness_needs_health_without_a_break() {
    let mut checks = Checks::new(&[spec(true)], Span::ZERO, None);
    assert!(!probe(&mut checks, 1_000, true).ready);
    assert_eq!(checks.wake(), Some(Span::seconds(1)), "the first probe has not been taken");
    assert!(!probe(&mut checks, 9_000, false).ready);
    assert!(!probe(&mut checks, 10_000, true).ready, "it began anew");
    assert!(!checks.health(Span(19_999)).ready);
    assert!(checks.health(Span(20_000)).ready, "no probe is needed for it");
}

#[test]
fn readiness_is_lost_at_the_threshold_and_won_back() {
    let check = HealthCheck { min_healthy_time: Span::seconds(3), ..spec(true) };
    let mut checks = Checks::new(&[check], Span::ZERO, None);
    probe(&mut checks, 0, true);
    assert!(checks.health(Span(3_000)).ready);
    let said: Vec<_> = [4_000, 6_000, 8_000].map(|at| probe(&mut checks, at, false).ready).into();
    assert_eq!(said, [true, true, false]);
    assert_eq!(fails(&checks.health(Span(8_000))), [0]);
    let back = probe(&mut checks, 10_000, true);
    assert_eq!((back.ready, fails(&back).len()), (false, 0));
    assert!(checks.health(Span(13_000)).ready);
}

#[test]
fn every_readiness_check_has_to_pass_and_others_do_not_matter() {
    let mut checks = Checks::new(&[spec(true), spec(true), spec(false)], Span::ZERO, None);
    for place in [0, 1] {
        assert!(!checks.health(Span::seconds(100)).ready);
        checks.saw(place, (Span::ZERO, Span::ZERO), &seen(true));
    }
    for _ in 0..3 {
        checks.saw(2, (Span::ZERO, Span::ZERO), &seen(false));
    }
    let health = checks.health(Span::seconds(10));
    assert_eq!((health.ready, fails(&health)), (true, vec![2]));
}

#[test]
fn what_was_told_holds_until_probes_say_otherwise() {
    let specs = [spec(true), spec(false)];
    let now = Span::seconds(1_000);
    let mut checks = Checks::new(&specs, now, Some(&held(true, &[1])));
    assert_eq!(checks.health(now), held(true, &[1]));
    let once = |checks: &mut Checks, place, healthy| {
        checks.saw(place, (now, now), &seen(healthy));
        checks.health(now)
    };
    assert!(once(&mut checks, 0, false).ready);
    assert!(once(&mut checks, 0, false).ready);
    assert_eq!(fails(&once(&mut checks, 1, true)), [0; 0]);
    assert!(!once(&mut checks, 0, false).ready);
    // And the other way round.
    let mut checks = Checks::new(&specs, now, Some(&held(false, &[])));
    assert!(!once(&mut checks, 0, true).ready);
}

#[test]
fn each_check_has_its_own_interval_and_one_probe_at_a_time() {
    let slow = HealthCheck { interval: Span::seconds(30), ..spec(false) };
    let quick = HealthCheck { interval: Span(250), ..spec(false) };
    let mut checks = Checks::new(&[slow, quick], Span::ZERO, None);
    assert_eq!((checks.due(Span::ZERO), checks.wake()), (vec![], Some(Span(250))));
    assert_eq!(checks.due(Span(250)), [1]);
    assert_eq!((checks.due(Span(900)), checks.wake()), (vec![], Some(Span(1_000))), "one is under way");
    assert_eq!(checks.due(Span(1_000)), [0]);
    assert_eq!(checks.wake(), None);
    checks.done(1, Span(250), Span(1_300));
    assert_eq!(checks.due(Span(1_300)), [1], "a probe longer than the interval is followed by the next");
    checks.done(1, Span(1_300), Span(1_310));
    assert_eq!(checks.wake(), Some(Span(1_550)), "the interval is from begin to begin");
    checks.hurry(1, Span(1_400));
    assert_eq!(checks.due(Span(1_400)), [1]);
    checks.hurry(1, Span(1_500));
    assert_eq!(checks.due(Span(1_500)), [0; 0], "not while one is under way");
}

#[test]
fn a_runtime_that_probes_by_itself_is_believed() {
    let mut checks = Checks::new(&[spec(true)], Span::ZERO, Some(&held(true, &[])));
    checks.condemned(0, "exit code 1");
    assert_eq!(
        checks.health(Span::ZERO),
        Health { ready: false, failing: vec![FailingCheck { check: 0, message: "exit code 1".into() }] }
    );
    assert_eq!(fails(&probe(&mut checks, 1_000, true)), [0; 0]);
}

proptest! {
    /// Against the definition: a check fails when the last `threshold` probes that count failed and nothing passed since.
    #[test]
    fn any_probes_add_up_as_defined(
        threshold in 1..5_u32,
        start_period in 0..20_000_u64,
        min_healthy_time in 0..10_000_u64,
        probes in prop::collection::vec((1..3_000_u64, any::<bool>()), 1..60),
    ) {
        let spec = HealthCheck {
            threshold,
            start_period: Span(start_period),
            min_healthy_time: Span(min_healthy_time),
            ..spec(true)
        };
        let mut checks = Checks::new(&[spec], Span::ZERO, None);
        let (mut at, mut past, mut was_ready) = (0, Vec::new(), false);
        for (pause, healthy) in probes {
            // What time alone brought about before this probe.
            at += pause;
            was_ready = checks.health(Span(at - 1)).ready || was_ready;
            past.push((at, healthy));
            let health = probe(&mut checks, at, healthy);
            let streak: Vec<_> = past.iter().rev().take_while(|(_, healthy)| !healthy).collect();
            let counted = streak.iter().filter(|(at, _)| *at >= start_period).count();
            prop_assert_eq!(!health.failing.is_empty(), counted >= threshold as usize);
            let healthy_for = past.iter().rev().take_while(|(_, healthy)| *healthy).last().map(|(since, _)| at - since);
            let expected = if healthy {
                was_ready || healthy_for.is_some_and(|time| time >= min_healthy_time)
            } else {
                was_ready && streak.len() < threshold as usize
            };
            prop_assert_eq!(health.ready, expected);
            was_ready = health.ready;
        }
    }

    /// However probes take their time, a check has one under way at most, and begins no two closer than its interval.
    #[test]
    fn probes_of_a_check_never_overlap(interval in 1..5_000_u64, took in prop::collection::vec(0..9_000_u64, 1..40)) {
        let mut checks = Checks::new(&[HealthCheck { interval: Span(interval), ..spec(false) }], Span::ZERO, None);
        let mut last: Option<(u64, u64)> = None;
        for took in took {
            let begun = checks.wake().expect("none is under way");
            prop_assert_eq!(checks.due(begun), vec![0]);
            prop_assert_eq!((checks.wake(), checks.due(Span(begun.0 + took))), (None, vec![]));
            if let Some((before, ended)) = last {
                prop_assert_eq!(begun.0, ended.max(before + interval.max(SHORTEST.0)));
            }
            last = Some((begun.0, begun.0 + took));
            checks.done(0, begun, Span(begun.0 + took));
        }
    }
}
