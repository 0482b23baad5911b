//! Slots of a worker: which are in use, by what, and which are to go.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use ring_types::{Goal, InstanceState, StopCause};

use crate::reconcile::{Turn, Wanted};
use crate::view::{self, View};

/// One slot. Indexes are into the views.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) number: u32,
    pub(super) standing: Standing,
    /// The newest instance of it that ended and is to be kept.
    pub(super) ended: Option<usize>,
    /// Something that is to go is still alive in it.
    pub(super) stopping: bool,
}

/// What a slot is to the deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// This instance is wanted and alive, or lost with nothing to take its place.
    Live(usize),
    /// Its instance ended; another is to follow.
    Dead,
    /// A health check had this instance stopped; none follows.
    Stopped(usize),
    /// Not in use.
    Free,
}

impl Slot {
    pub(super) fn live(&self) -> Option<usize> {
        match self.standing {
            Standing::Live(index) => Some(index),
            _ => None,
        }
    }

    /// The ended instance of it that is kept.
    pub(super) fn kept(&self) -> Option<usize> {
        match self.standing {
            Standing::Stopped(index) => Some(index),
            _ => self.ended,
        }
    }

    pub(super) fn in_use(&self) -> bool {
        self.standing != Standing::Free
    }
}

/// The slots that have instances, by number.
pub(super) fn slots(views: &[View<'_>]) -> Vec<Slot> {
    let mut slots: Vec<Slot> = Vec::new();
    for (index, view) in views.iter().enumerate().filter(|(_, view)| !view.forgotten) {
        let number = view.slot;
        let position = slots.binary_search_by_key(&number, |slot| slot.number).unwrap_or_else(|position| {
            slots.insert(position, Slot { number, standing: Standing::Free, ended: None, stopping: false });
            position
        });
        let slot = &mut slots[position];
        let wanted = view.goal == Goal::Run;
        if view.was_stopped_by_check() {
            slot.standing = Standing::Stopped(index);
        } else if view.has_ended() {
            slot.ended = if wanted || view.was_unhealthy() { Some(index) } else { slot.ended };
        } else if wanted {
            slot.standing = Standing::Live(index);
        } else {
            slot.stopping |= view.is_live();
        }
    }
    for slot in slots.iter_mut().filter(|slot| slot.standing == Standing::Free) {
        if slot.ended.is_some() && !slot.stopping {
            slot.standing = Standing::Dead;
        }
    }
    slots
}

/// Takes slots out of use until no more are in use than wanted: ended ones first, then those that do not run, those
/// that are not ready, and the highest. An ended one beyond the wanted number cannot be started again in its place and goes in any case.
pub(super) fn trim(turn: &mut Turn<'_, '_>, cause: StopCause) {
    let wanted = turn.wanted;
    let slots = slots(&turn.views);
    let mut used: Vec<_> = slots.iter().filter(|slot| slot.in_use()).collect();
    used.sort_by_key(|slot| (rank(turn, slot), Reverse(slot.number)));
    let surplus = used.len().saturating_sub(wanted as usize);
    let dead_beyond = |slot: &&&Slot| slot.standing == Standing::Dead && slot.number >= wanted;
    let mut going: BTreeSet<u32> = used[..surplus].iter().map(|slot| slot.number).collect();
    going.extend(used[surplus..].iter().filter(dead_beyond).map(|slot| slot.number));
    let idle_beyond = |slot: &&Slot| !slot.in_use() && slot.number >= wanted;
    going.extend(slots.iter().filter(idle_beyond).map(|slot| slot.number));
    for view in turn.views.iter_mut().filter(|view| going.contains(&view.slot)) {
        view::set_goal(view, Goal::Remove, cause, turn.out);
    }
}

/// What goes first has the lowest.
fn rank(turn: &Turn<'_, '_>, slot: &Slot) -> u8 {
    match slot.standing {
        Standing::Live(index) => {
            let view = &turn.views[index];
            let runs = view.state == InstanceState::Running && view::node_is_ready(turn.state, view.node);
            let ready = view.record.is_some_and(|record| record.is_ready(&turn.deployment.spec));
            1 + u8::from(runs) + u8::from(runs && ready)
        }
        Standing::Dead | Standing::Stopped(_) | Standing::Free => 0,
    }
}

/// Instances for slots below `wanted` that are free, as many as there are slots in use too few. A slot something is still
/// ending in is free once it has ended.
pub(super) fn vacancies(views: &[View<'_>], wanted: u32) -> Vec<Wanted> {
    let slots = slots(views);
    let used = slots.iter().filter(|slot| slot.in_use()).count() as u32;
    let taken: BTreeSet<u32> = slots.iter().filter(|slot| slot.in_use()).map(|slot| slot.number).collect();
    let short = wanted.saturating_sub(used) as usize;
    let stopping: BTreeSet<u32> = slots.iter().filter(|slot| slot.stopping).map(|slot| slot.number).collect();
    let free = (0..wanted).filter(|number| !taken.contains(number)).take(short).filter(|number| !stopping.contains(number));
    free.map(|slot| Wanted { slot, attempt: next_attempt(views, slot), restart: false }).collect()
}

fn next_attempt(views: &[View<'_>], slot: u32) -> u32 {
    let first = views.partition_point(|view| view.slot < slot);
    views[first..].iter().take_while(|view| view.slot == slot).map(|view| view.attempt + 1).max().unwrap_or(1)
}
