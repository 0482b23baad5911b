//! The deterministic simulation: many histories with faults, each of which has to keep every promise and to heal.
//!
//! A failing history prints its seed and what went before; `RING_SIM_SEED=N` replays one. `RING_SIM_SEEDS=N` simulates so many
//! instead of the usual number, beginning with seed `RING_SIM_FIRST`. `RING_SIM_HOURS=24` makes each a day long instead of a
//! minute, `RING_SIM_PACE=20` has as many times fewer faults and requests in it. Long ones want `--release`.

// Figures are for whoever runs the tests, and helpers of tests print them too.
#![allow(clippy::print_stdout)]

use ring_testkit::sim::{Mutation, Options, Summary, run};
use ring_types::Span;

/// Histories of an ordinary run.
const SEEDS: u64 = 1000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// For how long faults and clients act.
fn chaos() -> Span {
    number("RING_SIM_HOURS").map_or(Options::of(0).chaos, |hours| Span::seconds(3600 * hours))
}

fn pace() -> u64 {
    number("RING_SIM_PACE").unwrap_or(1).max(1)
}

/// Simulates histories on all processors; panics with the first violation.
fn simulate(seeds: &[u64]) -> Vec<Summary> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(seeds.len());
    let one = |seed: &u64| match run(Options { chaos: chaos(), pace: pace(), ..Options::of(*seed) }) {
        Ok(summary) => summary,
        Err(violation) => panic!("{violation}\nreplay with RING_SIM_SEED={seed}"),
    };
    std::thread::scope(|scope| {
        let part = |n: usize| scope.spawn(move || seeds.iter().skip(n).step_by(threads).map(one).collect::<Vec<_>>());
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

#[test]
fn every_history_keeps_every_promise_and_heals() {
    let some = || {
        let first = number("RING_SIM_FIRST").unwrap_or(0);
        (first..first + number("RING_SIM_SEEDS").unwrap_or(SEEDS)).collect()
    };
    let seeds: Vec<u64> = number("RING_SIM_SEED").map_or_else(some, |seed| vec![seed]);
    let all = simulate(&seeds);
    let sum = |count: fn(&Summary) -> u64| all.iter().map(count).sum::<u64>();
    let (entries, starts, elections) = (sum(|s| s.entries), sum(|s| s.starts), sum(|s| s.elections));
    let (crashes, lost) = (sum(|s| s.crashes), sum(|s| s.lost));
    let (retries, timeouts) = (sum(|s| s.retries), sum(|s| s.timeouts));
    let (updated, failed) = (sum(|s| s.updated), sum(|s| s.update_failed));
    let (scaled, released, drained, moved) = (sum(|s| s.scaled), sum(|s| s.released), sum(|s| s.drained), sum(|s| s.moved));
    let (given_up, cut_off) = (sum(|s| s.given_up), sum(|s| s.cut_off));
    println!(
        "{} histories: {entries} entries, {starts} starts, {elections} elections, {crashes} crashes, {lost} nodes lost, \
         {retries} retries, {timeouts} timeouts, {updated} updates done, {failed} not, {scaled} scaled by load, {released} begun after \
         what they depend on, {drained} instances drained, {moved} moved for an even spread, {cut_off} stopped by an agent that was cut off, {given_up} of \
         their kind given up",
        all.len()
    );
    // A history in which nothing happens proves nothing.
    if seeds.len() >= 100 && pace() == 1 {
        let each = seeds.len() as u64;
        assert!(updated > each && failed > each);
        assert!(starts > 20 * each && elections > 2 * each && crashes > 2 * each && lost > each / 2);
        assert!(retries > each && timeouts > each / 2, "{retries} {timeouts}");
        assert!(scaled > each / 2 && released > each / 2, "{scaled} {released}");
        assert!(drained > each, "{drained}");
        assert!(moved > each / 10, "{moved} moved");
        assert!(given_up > each / 100 && cut_off > each / 5, "{given_up} given up, {cut_off} stopped");
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    let options = Options::of(42);
    assert_eq!(run(options).ok(), run(options).ok());
}

/// Simulates until a fault that was built in is found.
fn finds(mutation: Mutation, expected: &str) {
    let mut others = std::collections::BTreeSet::new();
    let found = (0..1000).find_map(|seed| {
        let violation = run(Options { mutation: Some(mutation), ..Options::of(seed) }).err()?;
        // One fault may break several promises.
        let what: String = violation.what.chars().take(200).collect();
        let expected = violation.what.contains(expected);
        if !expected {
            others.insert(what.clone());
        }
        expected.then_some(what)
    });
    println!(
        "{mutation:?}: {}",
        found.unwrap_or_else(|| panic!("{mutation:?} was not found in 1000 histories, but {others:#?}"))
    );
}

#[test]
fn an_agent_that_starts_before_its_claim_is_committed_is_found() {
    finds(Mutation::StartBeforeClaim, "before its claim was committed");
}

#[test]
fn an_agent_that_takes_sent_for_committed_is_found() {
    finds(Mutation::AckOnSend, "does not heal");
}

#[test]
fn an_agent_that_guesses_an_exit_status_is_found() {
    finds(Mutation::GuessExit, "is recorded with Code(0)");
}

#[test]
fn an_agent_that_believes_any_generation_is_found() {
    finds(Mutation::BelieveAnyGeneration, "believes an older generation");
}

#[test]
fn an_agent_that_loses_its_ledger_silently_is_found() {
    finds(Mutation::NoLedger, "its end is known");
}

#[test]
fn what_gives_way_before_another_serves_is_found() {
    finds(Mutation::GiveWayUnready, "gave way");
}

#[test]
fn an_update_that_makes_too_many_at_once_is_found() {
    finds(Mutation::TooManyAtOnce, "may run");
}

#[test]
fn an_update_that_is_completed_early_is_found() {
    finds(Mutation::CompleteEarly, "an update is completed with");
}

#[test]
fn an_update_that_is_never_over_is_found() {
    finds(Mutation::NeverOver, "an update is not over");
}

#[test]
fn what_begins_before_what_it_depends_on_is_found() {
    finds(Mutation::DependenciesForgotten, "begins before");
}

#[test]
fn a_load_that_leads_beyond_its_bounds_is_found() {
    finds(Mutation::ScaleBeyondBounds, "beyond");
}

#[test]
fn finds_what_runs_on_without_contact() {
    finds(Mutation::RunOnCutOff, "is given up while it still runs");
}
