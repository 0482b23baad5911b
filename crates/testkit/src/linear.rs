//! Whether one order explains what several clients saw of one register: the search of Wing and Gong with the memory of Lowe,
//! as `todc-utils` has it.
//!
//! A write nobody knows the end of may have been done at any moment after it was sent, or never. Here it ends after everything
//! else, where it explains nothing that was seen before; and one whose value nobody ever saw is left out, since in a register
//! of which every value is written once it cannot matter.

use std::collections::BTreeSet;

use todc_utils::linearizability::history::Action::{Call, Response};
use todc_utils::linearizability::{WGLChecker, history::History};
use todc_utils::specifications::Specification;

/// What was done, with what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// A value no other write has.
    Write(u64),
    /// The value that was read.
    Read(u64),
}

/// An operation of a client, timed by one clock all clients share.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// When it was sent.
    pub call: u64,
    /// When it was answered; none for a write nobody knows the end of.
    pub answer: Option<u64>,
    /// What it was.
    pub deed: Deed,
}

struct Register;

impl Specification for Register {
    type State = Option<u64>;
    type Operation = Deed;

    fn init() -> Self::State {
        None
    }

    fn apply(deed: &Deed, state: &Self::State) -> (bool, Self::State) {
        match deed {
            Deed::Write(value) => (true, Some(*value)),
            Deed::Read(value) => (*state == Some(*value), *state),
        }
    }
}

/// Whether one order explains all operations on one register. The first is the write that made it.
pub fn explained(operations: &[Operation]) -> bool {
    let seen: BTreeSet<u64> =
        operations.iter().filter_map(|one| if let Deed::Read(v) = one.deed { Some(v) } else { None }).collect();
    let counts = |one: &&Operation| match one.deed {
        Deed::Write(value) => one.answer.is_some() || seen.contains(&value),
        Deed::Read(_) => one.answer.is_some(),
    };
    let mut steps = Vec::new();
    for (client, one) in operations.iter().filter(counts).enumerate() {
        // At the same moment a call stands before an answer: that allows more orders, not fewer.
        steps.push(((one.call, 0), client, Call(one.deed)));
        steps.push(((one.answer.unwrap_or(u64::MAX), 1), client, Response(one.deed)));
    }
    steps.sort_by_key(|(at, ..)| *at);
    let actions: Vec<_> = steps.into_iter().map(|(_, client, action)| (client, action)).collect();
    actions.is_empty() || WGLChecker::<Register>::is_linearizable(History::from_actions(actions))
}

#[cfg(test)]
mod tests {
    use super::Deed::{Read, Write};
    use super::*;

    fn history(all: &[(u64, u64, Deed)]) -> Vec<Operation> {
        let one = |&(call, answer, deed)| Operation { call, answer: (answer > 0).then_some(answer), deed };
        all.iter().map(one).collect()
    }

    /// Each as (sent, answered or 0, what).
    #[test]
    fn what_one_order_explains_is_accepted() {
        let good: [&[(u64, u64, Deed)]; 6] = [
            &[(0, 1, Write(1)), (2, 3, Read(1))],
            // At once: either order, and each reader sees one that fits.
            &[(0, 1, Write(1)), (2, 9, Write(2)), (3, 4, Read(1)), (5, 6, Read(2))],
            &[(0, 1, Write(1)), (2, 9, Write(2)), (2, 9, Write(3)), (3, 4, Read(3)), (5, 6, Read(2)), (10, 11, Read(2))],
            // The end of the second write is not known: it was done, late.
            &[(0, 1, Write(1)), (2, 0, Write(2)), (3, 4, Read(1)), (50, 51, Read(2))],
            // Not done, or seen by nobody.
            &[(0, 1, Write(1)), (2, 0, Write(2)), (3, 4, Read(1)), (50, 51, Read(1))],
            &[],
        ];
        for operations in good {
            assert!(explained(&history(operations)), "{operations:?}");
        }
    }

    #[test]
    fn what_no_order_explains_is_rejected() {
        type Said = (&'static str, &'static [(u64, u64, Deed)]);
        let bad: [Said; 6] = [
            ("a stale read", &[(0, 1, Write(1)), (2, 3, Write(2)), (4, 5, Read(1))]),
            ("a lost write", &[(0, 1, Write(1)), (2, 3, Write(2)), (4, 5, Read(2)), (6, 7, Read(1))]),
            ("new, then old again", &[(0, 1, Write(1)), (2, 9, Write(2)), (3, 4, Read(2)), (5, 6, Read(1))]),
            ("a value from before it was sent", &[(0, 1, Write(1)), (2, 3, Read(2)), (4, 5, Write(2))]),
            ("an unknown write that goes away", &[(0, 1, Write(1)), (2, 0, Write(2)), (3, 4, Read(2)), (5, 6, Read(1))]),
            (
                "two readers, two orders",
                &[(0, 1, Write(1)), (2, 20, Write(2)), (2, 20, Write(3)), (3, 4, Read(2)), (5, 6, Read(3)), (7, 8, Read(2))],
            ),
        ];
        for (what, operations) in bad {
            assert!(!explained(&history(operations)), "{what}");
        }
    }

    #[test]
    fn a_long_history_is_judged() {
        let mut long: Vec<_> = (0..200_u64).map(|n| (n * 10, n * 10 + 25, Write(n))).collect();
        long.extend((2..200_u64).map(|n| (n * 10 + 6, n * 10 + 9, Read(n))));
        assert!(explained(&history(&long)));
        long.push((3000, 3001, Read(5)));
        assert!(!explained(&history(&long)));
    }
}
