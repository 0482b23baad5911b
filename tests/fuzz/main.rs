//! The fuzz targets of `fuzz/` without a fuzzer: the corpus, and bounded changes of it at random. What fails is written to a file
//! whose path is told. `RING_FUZZ_SECONDS=N` changes for so long per target instead of the usual time, `RING_FUZZ_SEED=N` in another
//! way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

#[allow(unreachable_pub, reason = "a library of its own in fuzz/")]
#[path = "../../fuzz/src/lib.rs"]
mod targets;

/// Of changes per target.
const USUAL: Duration = Duration::from_secs(2);
/// An input gets no longer by changing it.
const LONGEST: usize = 16 << 10;
/// Pieces that mean something to one of the readers.
const PIECES: [&[u8]; 24] = [
    b"&a ",
    b"*a",
    b"<<: ",
    b"${A:-",
    b"}",
    b"$$",
    b"!!binary ",
    b"? ",
    b"|\n",
    b"- ",
    b"[",
    b"{",
    b"\": ",
    b"1e400",
    b"-0",
    b"\xff\xff\xff\xff\x0f",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    b"\0",
    b"\xed\xa0\x80",
    b"==",
    b"!=",
    b"99999999999999999999",
    b"---\n",
    b"\t",
];

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn change(rng: &mut StdRng, all: &[Vec<u8>], input: &mut Vec<u8>) {
    let at = rng.random_range(0..=input.len());
    match rng.random_range(0..7) {
        0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
        1 if at < input.len() => input[at] = rng.random(),
        2 => drop(input.splice(at..at, PIECES.choose(rng).unwrap().iter().copied())),
        3 => input.truncate(at),
        4 => drop(input.drain(at..(at + rng.random_range(0..16)).min(input.len()))),
        5 => {
            let end = (at + rng.random_range(0..64)).min(input.len());
            let piece = input[at..end].to_vec();
            let to = rng.random_range(0..=input.len());
            input.splice(to..to, piece);
        }
        _ => {
            let other = all.choose(rng).unwrap();
            let from = rng.random_range(0..=other.len());
            let end = (from + rng.random_range(0..256)).min(other.len());
            input.splice(at..at, other[from..end].iter().copied());
        }
    }
    input.truncate(LONGEST);
}

/// Runs a target on an input; the panic of one that fails names the file the input was written to.
fn run(name: &str, target: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let file = std::env::temp_dir().join(format!("ring-fuzz-{name}-{}", std::process::id()));
        std::fs::write(&file, input).unwrap();
        let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        panic!("{name} fails with {}: {said:.2000}", file.display());
    }
}

fn fuzz(name: &str) {
    let (_, target) = targets::TARGETS.into_iter().find(|(known, _)| *known == name).unwrap();
    let all = corpus(name);
    assert!(!all.is_empty(), "no corpus");
    for input in &all {
        run(name, target, input);
    }
    let mut rng = StdRng::seed_from_u64(number("RING_FUZZ_SEED").unwrap_or(1));
    let time = number("RING_FUZZ_SECONDS").map_or(USUAL, Duration::from_secs);
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < time {
        let mut input = all.choose(&mut rng).unwrap().clone();
        for _ in 0..rng.random_range(1..8) {
            change(&mut rng, &all, &mut input);
        }
        run(name, target, &input);
        count += 1;
    }
    ring_testkit::report::line(&format!("{name}: {} inputs of the corpus, {count} changed ones", all.len()));
    assert!(count > 50, "{count} inputs are none");
}

#[test]
fn every_target_has_a_test_and_a_corpus() {
    let fuzzed = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/main.rs")).unwrap();
    for (name, _) in targets::TARGETS {
        assert!(fuzzed.contains(&format!(" {name},")), "{name} has no test");
        let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../fuzz/fuzz_targets/{name}.rs"));
        assert!(bin.exists(), "{} is missing", bin.display());
        assert!(!corpus(name).is_empty(), "{name}");
    }
}

macro_rules! tests {
    ($($name:ident,)*) => {$(
        #[test]
        fn $name() {
            fuzz(stringify!($name));
        }
    )*};
}

tests! { manifest, json, interpolation, quantities, selectors, commands, rows, session, orders, raft, }
